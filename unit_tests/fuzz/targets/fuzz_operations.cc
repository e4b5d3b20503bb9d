/**
 * Any sequence of correct calls on a MultiProcessAllocator: several processes, each with several
 * threads' heaps, that come, leave and are killed between two calls. What was handed out is whole
 * until it is freed, nothing overlaps, no defect is met, and in the end all room is there again.
 *
 *   input: operation, who, and what it needs ...
 */
#include <algorithm>
#include <array>
#include <cstdint>
#include <iterator>
#include <memory>
#include <vector>

#include "crash/heap_walk.h"
#include "fuzz/targets/guarded_memory.h"
#include "fuzz/targets/input.h"
#include "fuzz/targets/made_up_system.h"
#include "fuzz/targets/shadow_heap.h"
#include "hermes_shm/base/error.h"
#include "hermes_shm/memory/backend/array_backend.h"

namespace hshm::fuzz {
namespace {

using ipc::MemContext;
using ipc::Offset;
using ipc::OffsetPtr;
using ipc::crash::HeapWalk;
using ipc::multi_process::DetachMode;

constexpr uint64_t kBytes = 320 * 1024;
constexpr uint32_t kProcesses = 3;
constexpr uint32_t kHeaps = 3;  // of a process: the calling thread's, and two of threads elsewhere
constexpr uint64_t kFillBytes = 512;
constexpr uint64_t kFillsPerPage = ipc::crash::Config::kPageBytes / kFillBytes;

/** A handle that can be let go without leaving, as by a death between two calls. */
class Handle : public ipc::crash::Allocator {
 public:
  void Abandon() noexcept { this->EndAttachment(); }
};

struct Process {
  std::unique_ptr<Handle> handle_;             // null: nobody
  std::array<Handle::Heap*, kHeaps> heaps_{};  // 0 stays null: the handle's own calls
  MemContext arena_;
  uint32_t number_ = 0;  // of all that there ever were
  std::vector<Offset> in_arena_;
};

class World {
 public:
  explicit World(Input* input) : input_(input), shadow_(Memory().base(), kBytes) {
    backend_.shm_init(ipc::MemoryBackendId(1), kBytes, Memory().base());
    region_ = backend_.region();
    BeginWaits(&region_);
    processes_[0].handle_ = std::make_unique<Handle>();
    processes_[0].handle_->shm_init(ipc::AllocatorId(1, 0), 0, region_);
  }
  ~World() { BeginWaits(nullptr); }

  void Step();
  void End();

 private:
  static GuardedMemory& Memory() {
    static GuardedMemory memory(kBytes);
    return memory;
  }

  Process& Who(uint8_t byte) { return processes_[byte % kProcesses]; }
  uint64_t TakeSize();
  /** A block that is nobody's arena's; 0 when there is none. */
  Offset TakeBlock();

  void Allocate(Process& who, Handle::Heap* heap, uint32_t how);
  void Free(Process& who, Handle::Heap* heap);
  void Reallocate(Process& who);
  void Arena(Process& who);
  void PopArena(Process& who);
  void Threads(Process& who, uint32_t heap);
  void Come(Process& who);
  void Go(Process& who, uint32_t how);
  void LetHeapsGo(Process& who);
  void CheckNull(const Process& who, uint64_t size_bytes);
  void CheckLive();
  void CheckRoom(Handle* last);

  Input* input_;
  ShadowHeap shadow_;
  ipc::ArrayBackend backend_;
  ipc::Region region_;
  std::array<Process, kProcesses> processes_;
  uint32_t came_ = 0;
  bool is_exact_ = true;  // nothing lives that nobody knows
};

uint64_t World::TakeSize() {
  const auto word = input_->Take<uint16_t>();
  switch (word >> 14) {
    case 0:
      return word % 129;
    case 1:
      return word % 1025;
    case 2:
      return word % 12289;
    default:
      return uint64_t{word} % 4096 * 32;
  }
}

Offset World::TakeBlock() {
  const auto which = input_->Take<uint16_t>();
  const ShadowHeap::Blocks& blocks = shadow_.blocks();
  if (blocks.empty()) return 0;
  auto found = blocks.lower_bound(uint64_t{which} * (kBytes >> 16));
  for (size_t i = 0; i < blocks.size(); ++i, ++found) {
    if (found == blocks.end()) found = blocks.begin();
    const auto is_in_arena = [&](const Process& who) {
      return std::find(who.in_arena_.begin(), who.in_arena_.end(), found->first) !=
             who.in_arena_.end();
    };
    if (std::none_of(processes_.begin(), processes_.end(), is_in_arena)) return found->first;
  }
  return 0;
}

void World::Allocate(Process& who, Handle::Heap* heap, uint32_t how) {
  const uint64_t size_bytes = TakeSize();
  const MemContext ctx;
  Offset block = 0;
  switch (how) {
    case 0: {
      const uint64_t alignment = uint64_t{1} << input_->Take<uint8_t>() % 14;
      block = heap != nullptr
                  ? heap->AllocateAligned(size_bytes, alignment)
                  : who.handle_->AlignedAllocateOffset(ctx, size_bytes, alignment).load();
      if (block % alignment != 0) Fail("a block without its alignment");
      break;
    }
    case 1:
      block = heap != nullptr ? heap->AllocateZeroed(size_bytes)
                              : who.handle_->AllocateZeroedOffset(ctx, size_bytes).load();
      for (uint64_t i = 0; block != 0 && i < size_bytes; ++i) {
        if (region_.base_[block + i] != 0) Fail("a zeroed block is not zero");
      }
      break;
    default:
      block = heap != nullptr ? heap->Allocate(size_bytes)
                              : who.handle_->AllocateOffset(ctx, size_bytes).load();
      if (block == 0) CheckNull(who, size_bytes);
  }
  if (block == 0) return;
  if (who.handle_->GetUsableSize(OffsetPtr<>(block)) < size_bytes) Fail("a block is too small");
  shadow_.Add(block, size_bytes, who.number_);
}

/** In a region of which nobody has anything, and where one thread works, there is a page. */
void World::CheckNull(const Process& who, uint64_t size_bytes) {
  if (!is_exact_ || !shadow_.blocks().empty() || size_bytes > ipc::crash::Config::kPageBytes / 8)
    return;
  for (const Process& other : processes_) {
    if (other.handle_ != nullptr && &other != &who) return;
    if (other.heaps_[1] != nullptr || other.heaps_[2] != nullptr) return;
  }
  if (who.arena_.IsValid()) return;
  Fail("no room in an empty region");
}

void World::Free(Process& who, Handle::Heap* heap) {
  const Offset block = TakeBlock();
  if (block == 0) return;
  shadow_.Remove(block);
  if (heap != nullptr) {
    heap->Free(block);
  } else {
    who.handle_->FreeOffset(MemContext(), OffsetPtr<>(block));
  }
}

void World::Reallocate(Process& who) {
  const Offset block = TakeBlock();
  const uint64_t size_bytes = TakeSize();
  if (block == 0) return;
  const Offset moved =
      who.handle_->ReallocateOffset(MemContext(), OffsetPtr<>(block), size_bytes).load();
  if (moved == 0) return;
  // In place it stays whose it was.
  const uint32_t owner = moved == block ? shadow_.blocks().at(block).handle_ : who.number_;
  shadow_.Move(block, moved, size_bytes, owner);
}

void World::Arena(Process& who) {
  const uint64_t size_bytes = TakeSize();
  if (!who.arena_.IsValid()) {
    who.arena_ = who.handle_->PushArena(MemContext(), size_bytes + 64);
    return;
  }
  if (size_bytes % 8 == 0) return PopArena(who);
  const Offset block = who.handle_->AllocateOffset(who.arena_, size_bytes).load();
  if (block == 0) return;
  shadow_.Add(block, size_bytes, who.number_);
  who.in_arena_.push_back(block);
}

void World::PopArena(Process& who) {
  for (const Offset block : who.in_arena_) shadow_.Remove(block);
  who.in_arena_.clear();
  who.handle_->PopArena(who.arena_);
  who.arena_ = MemContext();
}

/** A thread of the process makes its first call, or ends. */
void World::Threads(Process& who, uint32_t heap) {
  if (heap == 0) return;
  if (who.heaps_[heap] == nullptr) {
    who.heaps_[heap] = who.handle_->AcquireHeap();
  } else {
    who.handle_->ReleaseHeap(std::exchange(who.heaps_[heap], nullptr));
  }
}

void World::LetHeapsGo(Process& who) {
  for (Handle::Heap*& heap : who.heaps_) {
    if (heap != nullptr) who.handle_->ReleaseHeap(std::exchange(heap, nullptr));
  }
}

void World::Come(Process& who) {
  auto handle = std::make_unique<Handle>();
  try {
    ipc::MultiProcessOptions options;
    if (input_->Take<uint8_t>() % 8 == 0) options.process_unit_bytes_ = 64 * 1024;
    handle->shm_attach(region_, options);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kNoSpace) Fail("attach refuses:", error.what());
    return;
  }
  who.handle_ = std::move(handle);
  who.number_ = ++came_;
}

/** How a process ends: killed, or leaving with its blocks or without them. */
void World::Go(Process& who, uint32_t how) {
  const auto others = std::count_if(processes_.begin(), processes_.end(),
                                    [](const Process& one) { return one.handle_ != nullptr; });
  if (others < 2) return;
  if (how % 4 != 0) {
    if (who.arena_.IsValid()) PopArena(who);
    LetHeapsGo(who);
    // Blocks of its own on pages of the dead stay, and are nobody's then.
    const bool is_delete = how % 4 == 1;
    who.handle_->shm_detach(is_delete ? DetachMode::kDelete : DetachMode::kKeepLive);
    if (is_delete) {
      is_exact_ = false;
      shadow_.Forget([&](const auto& block) { return block.handle_ == who.number_; });
    }
  } else {
    if (who.arena_.IsValid()) is_exact_ = false;  // its chunks live, and nobody knows them
    const auto in_arena = std::exchange(who.in_arena_, {});
    for (const Offset block : in_arena) shadow_.Remove(block);
    who.handle_->Abandon();
  }
  who = Process();
}

void World::Step() {
  const auto operation = input_->Take<uint8_t>();
  const auto whose = input_->Take<uint8_t>();
  Process& who = Who(whose);
  if (who.handle_ == nullptr) return Come(who);
  const uint32_t heap = whose / kProcesses % kHeaps;
  const uint32_t what = operation % 32;
  if (what < 12) return Allocate(who, who.heaps_[heap], what);
  if (what < 24) return Free(who, who.heaps_[heap]);
  switch (what) {
    case 24:
    case 25:
      return Reallocate(who);
    case 26:
      return Arena(who);
    case 27:
      return Threads(who, heap);
    case 28:
      return Go(who, operation / 32);
    case 29:
      return who.handle_->Trim();
    case 30:
      static_cast<void>(who.handle_->Recover());
      return;
    default:
      if (!who.handle_->Check()) Fail("Check() says no");
      return CheckLive();
  }
}

void World::CheckLive() {
  shadow_.CheckAll();
  const HeapWalk walk(region_);
  if (!walk.complaint().empty()) Fail("the lists are broken:", walk.complaint().c_str());
  size_t known = 0;
  for (const ipc::crash::LiveBlock& live : walk.live()) {
    const auto block = shadow_.blocks().find(live.offset_);
    if (block == shadow_.blocks().end()) continue;
    if (block->second.size_bytes_ > live.bytes_) Fail("a live block has become smaller");
    ++known;
  }
  size_t in_arenas = 0;
  for (const Process& who : processes_) in_arenas += who.in_arena_.size();
  // An arena's first block may begin where its chunk does not.
  if (known + in_arenas < shadow_.blocks().size()) Fail("a live block is lost");
}

/** The last process frees everything, and has all pages. */
void World::End() {
  Process* last = nullptr;
  for (Process& who : processes_) {
    if (who.handle_ == nullptr) continue;
    if (last != nullptr) Go(*last, 2);
    last = &who;
  }
  if (last->arena_.IsValid()) PopArena(*last);
  LetHeapsGo(*last);
  CheckLive();
  while (!shadow_.blocks().empty()) {
    const Offset block = shadow_.blocks().begin()->first;
    shadow_.Remove(block);
    last->handle_->FreeOffset(MemContext(), OffsetPtr<>(block));
  }
  last->handle_->Recover();
  last->handle_->Trim();
  if (!last->handle_->Check()) Fail("Check() says no in the end");
  CheckRoom(last->handle_.get());
  last->handle_->shm_detach();
}

void World::CheckRoom(Handle* last) {
  const HeapWalk walk(region_);
  if (!walk.complaint().empty()) Fail("the lists are broken:", walk.complaint().c_str());
  if (walk.empty_pages() != 0) Fail("owned pages hold nothing");
  if (!is_exact_) return;
  if (!walk.live().empty()) Fail("blocks live that nobody knows");
  if (last->GetCurrentlyAllocatedSize() != 0) Fail("an empty region has live bytes");
  uint64_t count = 0;
  while (!last->AllocateOffset(MemContext(), kFillBytes).IsNull()) ++count;
  if (count != (walk.data_pages() - walk.record_pages()) * kFillsPerPage) {
    Fail("room is lost");
  }
}

}  // namespace
}  // namespace hshm::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  hshm::fuzz::Input input(bytes, size);
  hshm::fuzz::World world(&input);
  while (!input.IsEmpty()) world.Step();
  world.End();
  return 0;
}
