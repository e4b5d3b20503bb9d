#include "hermes_shm/memory/allocator/malloc_allocator.h"

#include <algorithm>
#include <new>
#include <string>

#include "hermes_shm/base/error.h"
#include "hermes_shm/platform/process.h"
#include "hermes_shm/platform/system_heap.h"

namespace hshm::ipc {
namespace {

/** No process has more addresses; some mallocs stop the program when they are asked for more. */
constexpr uint64_t kMaxBlockBytes = uint64_t{1} << 47;

uint64_t AddressOf(const Region& region) { return reinterpret_cast<uintptr_t>(region.base_); }

bool IsOfThisProcess(const MallocHeader& header) {
  const uint32_t pid = ProcessId();
  return header.os_pid_ == pid && header.start_time_ == StartTime(pid) &&
         header.pid_namespace_ == PidNamespace();
}

/** Threads count in turn, so that up to kMallocCounters of them have a line each. */
uint32_t CounterOfThread() {
  static Atomic<uint32_t> threads{0};
  thread_local uint32_t mine = 0;  // counter + 1; a constant at first, so it needs no guard
  // relaxed: only to tell threads apart
  if (HSHM_UNLIKELY(mine == 0)) {
    mine = threads.fetch_add(1, std::memory_order_relaxed) % kMallocCounters + 1;
  }
  return mine - 1;
}

}  // namespace

// ---- set-up
// --------------------------------------------------------------------------------------

MemContext MallocAllocator::Init(Offset core) {
  if (region_.services_->IsShared()) {
    throw Error(
        ErrorCode::kUnsupported,
        "A MallocAllocator cannot serve a region that several processes share: malloc's "
        "blocks are of one process alone. Use a MallocBackend or an ArrayBackend, or another "
        "allocator.");
  }
  if (region_.size_bytes_ < core + sizeof(MallocHeader) ||
      !region_.services_->Commit(core, sizeof(MallocHeader))) {
    throw Error(ErrorCode::kNoSpace,
                "Cannot make a MallocAllocator: there is no room for its header of " +
                    std::to_string(sizeof(MallocHeader)) + " bytes at offset " +
                    std::to_string(core) + " of a region of " +
                    std::to_string(region_.size_bytes_) + " bytes. Make the region larger.");
  }
  auto* header = new (region_.base_ + core) MallocHeader{};
  header->os_pid_ = ProcessId();
  header->start_time_ = StartTime(header->os_pid_);
  header->pid_namespace_ = PidNamespace();
  header->region_address_ = AddressOf(region_);
  malloc_ = header;
  return CreateTls(MemContext());
}

MemContext MallocAllocator::Attach(Offset core) {
  auto* header = region_.At<MallocHeader>(core);
  if (region_.services_->IsShared() || !IsOfThisProcess(*header)) {
    throw Error(ErrorCode::kUnsupported,
                "The MallocAllocator in this region belongs to process " +
                    std::to_string(header->os_pid_) +
                    ", whose malloc holds its blocks: no other process can join it. Use an "
                    "allocator that keeps its blocks in the region.");
  }
  if (header->region_address_ != AddressOf(region_)) {
    throw Error(ErrorCode::kUnsupported,
                "The MallocAllocator in this region was made at another address: its blocks count "
                "from there, so the region can be neither copied nor moved.");
  }
  malloc_ = header;
  return CreateTls(MemContext());
}

MemContext MallocAllocator::CreateTls(const MemContext& ctx) noexcept {
  Require("CreateTls");
  if (ctx.IsValid() && !ctx.IsArena()) return ctx;
  return MemContext(membership_.IsMember() ? membership_.slot() : MemContext::kNone, 0);
}

void MallocAllocator::FreeTls(const MemContext& /*there is nothing to free*/) noexcept {
  Require("FreeTls");
}

// ---- range and counters
// --------------------------------------------------------------------------

Atomic<uint64_t>& MallocAllocator::Counter() noexcept {
  return malloc_->counters_[CounterOfThread()].bytes_;
}

bool MallocAllocator::IsInRange(Offset offset) const noexcept {
  if (malloc_ == nullptr) return false;
  const auto place = static_cast<int64_t>(offset);
  // relaxed, both: who asks about a block got it in an order of the caller's
  return place >= malloc_->lowest_.load(std::memory_order_relaxed) &&
         place < malloc_->highest_.load(std::memory_order_relaxed) && !region_.Contains(offset);
}

bool MallocAllocator::Contains(const void* ptr) const noexcept {
  return ptr != nullptr && IsInRange(reinterpret_cast<uintptr_t>(ptr) - AddressOf(region_));
}

/** Widens the range, seldom after the first blocks. @return the block's offset */
Offset MallocAllocator::Note(void* block, uint64_t usable_bytes) noexcept {
  const Offset offset = reinterpret_cast<uintptr_t>(block) - AddressOf(region_);
  const auto begin = static_cast<int64_t>(offset);
  const int64_t end = begin + static_cast<int64_t>(usable_bytes);
  // relaxed, all of them: each word stands for itself
  int64_t lowest = malloc_->lowest_.load(std::memory_order_relaxed);
  while (HSHM_UNLIKELY(begin < lowest || lowest == 0) &&
         !malloc_->lowest_.compare_exchange_weak(lowest, begin, std::memory_order_relaxed)) {}
  int64_t highest = malloc_->highest_.load(std::memory_order_relaxed);  // relaxed: as above
  while (
      HSHM_UNLIKELY(end > highest || highest == 0) &&
      !malloc_->highest_.compare_exchange_weak(highest, end,
                                               std::memory_order_relaxed)) {  // relaxed: as above
  }
  return offset;
}

void* MallocAllocator::BlockAt(const char* operation, Offset offset) const noexcept {
  Require(operation);
  if (HSHM_UNLIKELY(!IsInRange(offset))) {
    defect::ForeignPointer(operation, offset, region_.size_bytes_);
  }
  return reinterpret_cast<void*>(AddressOf(region_) + offset);
}

// ---- operations
// ----------------------------------------------------------------------------------

OffsetPtr<> MallocAllocator::AllocateBlock(size_t size, size_t alignment) noexcept {
  Require("AllocateOffset");
  if (HSHM_UNLIKELY(!bits::IsPowerOfTwo(alignment))) {
    defect::BadAlignment("AlignedAllocateOffset", alignment);
  }
  if (HSHM_UNLIKELY(size > kMaxBlockBytes || alignment > kMaxBlockBytes)) return OffsetPtr<>();
  void* const block = SystemAllocate(std::max<size_t>(size, 1), alignment);
  if (HSHM_UNLIKELY(block == nullptr)) return OffsetPtr<>();
  const uint64_t usable = SystemUsableBytes(block);
  Counter().fetch_add(usable, std::memory_order_relaxed);  // relaxed: a sum, read at leisure
  return OffsetPtr<>(Note(block, usable));
}

void MallocAllocator::FreeBlock(OffsetPtr<> offset) noexcept {
  void* const block = BlockAt("FreeOffset", offset.load());
  // relaxed: a sum, read at leisure
  Counter().fetch_sub(SystemUsableBytes(block), std::memory_order_relaxed);
  SystemFree(block);
}

OffsetPtr<> MallocAllocator::ReallocateBlock(OffsetPtr<> offset, size_t size) noexcept {
  void* const block = BlockAt("ReallocateOffset", offset.load());
  if (HSHM_UNLIKELY(size > kMaxBlockBytes)) return OffsetPtr<>();
  const uint64_t before = SystemUsableBytes(block);
  void* const resized = SystemReallocate(block, std::max<size_t>(size, 1));
  if (HSHM_UNLIKELY(resized == nullptr)) return OffsetPtr<>();
  const uint64_t after = SystemUsableBytes(resized);
  // relaxed: a sum modulo 2^64, read at leisure
  Counter().fetch_add(after - before, std::memory_order_relaxed);
  return OffsetPtr<>(Note(resized, after));
}

/** The system's malloc cannot be asked to stay. */
bool MallocAllocator::ResizeBlock(OffsetPtr<> offset, size_t size) noexcept {
  const uint64_t usable = SystemUsableBytes(BlockAt("ResizeInPlace", offset.load()));
  return size <= usable && size >= usable / 2;
}

size_t MallocAllocator::GetUsableBytes(OffsetPtr<> offset) noexcept {
  return SystemUsableBytes(BlockAt("GetUsableSize", offset.load()));
}

size_t MallocAllocator::GetCurrentlyAllocatedSize() noexcept {
  Require("GetCurrentlyAllocatedSize");
  uint64_t sum = 0;
  for (const MallocCounter& counter : malloc_->counters_) {
    sum += counter.bytes_.load(std::memory_order_relaxed);  // relaxed: exact while nobody works
  }
  return sum;
}

/** The system's memory is the limit, and malloc does not tell how it lies. */
void MallocAllocator::AddStats(AllocatorStats* stats) {
  stats->live_bytes_ = GetCurrentlyAllocatedSize();
}

bool MallocAllocator::Check() noexcept {
  Require("Check");
  // relaxed, both: as in IsInRange
  const int64_t lowest = malloc_->lowest_.load(std::memory_order_relaxed);
  const int64_t highest = malloc_->highest_.load(std::memory_order_relaxed);
  const auto live = static_cast<int64_t>(GetCurrentlyAllocatedSize());
  return malloc_->region_address_ == AddressOf(region_) && live >= 0 && lowest <= highest &&
         live <= highest - lowest;
}

}  // namespace hshm::ipc
