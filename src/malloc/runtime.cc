#include "malloc/runtime.h"

#if __has_include(<sys/single_threaded.h>)
#include <sys/single_threaded.h>
#endif

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <exception>
#include <limits>

#include "malloc/own_memory.h"
#include "malloc/process_heap.h"

namespace hshm::malloc_library {

HSHM_CONSTINIT thread_local ThreadState thread_state = {Front::Nobody(), nullptr, false,   false,
                                                        false,           0,       {-1, -1}};

namespace {

/** Whether no other thread can be here. Right for this thread: only it could start another. */
HSHM_INLINE bool IsOnlyThread() noexcept {
#if __has_include(<sys/single_threaded.h>)
  return __libc_single_threaded != 0;
#else
  return false;
#endif
}

/** Larger objects have differences of addresses that ptrdiff_t cannot hold. */
constexpr size_t kMaxBlockBytes = std::numeric_limits<ptrdiff_t>::max();

/** Zeroed by the system instead of by us: below, a page fault costs more than it saves. */
constexpr size_t kDropInsteadOfClearBytes = 1_MiB;

/**
 * This thread in a slow path, with the heap that serves it, whose gate it holds. Calls that come
 * from inside, by the system's library or a signal handler, find is_inside_ and Nobody.
 */
class SlowPath {
 public:
  HSHM_INLINE SlowPath() noexcept : me_(thread_state) {
    me_.is_inside_ = true;
    me_.heap_ = Front::Nobody();
    heap_ = HSHM_LIKELY(me_.own_ != nullptr) ? me_.own_ : process_heap.FindHeap(me_);
    // A process's only thread forks outside of its slow paths, so nobody asks for the gates then.
    if (heap_ == nullptr || IsOnlyThread()) return;
    gate_ = &process_heap.GateOf(heap_);
    gate_->Lock();
  }
  HSHM_INLINE ~SlowPath() {
    if (gate_ != nullptr) gate_->Unlock();
    me_.heap_ = me_.Own();
    me_.is_inside_ = false;
  }
  SlowPath(const SlowPath&) = delete;
  SlowPath& operator=(const SlowPath&) = delete;

  /** Null while the program has no environment yet. */
  Heap* heap() const noexcept { return heap_; }

 private:
  ThreadState& me_;
  Heap* heap_;
  SpinLock* gate_ = nullptr;
};

/** allocate(heap) in a slow path; OwnMemory when that cannot be. */
template <typename AllocateFrom>
void* AllocateFromHeap(size_t size_bytes, size_t alignment, AllocateFrom allocate) noexcept {
  void* block = nullptr;
  bool has_heap = false;
  if (size_bytes <= kMaxBlockBytes) {
    if (!thread_state.is_inside_) {
      const SlowPath slow;
      has_heap = slow.heap() != nullptr;
      if (HSHM_UNLIKELY(process_heap.HasDeferred())) process_heap.FreeDeferred(slow.heap());
      const ipc::Offset offset = has_heap ? allocate(slow.heap()) : 0;
      if (offset != 0) block = slow.heap()->AddressOf(offset);
    }
    if (!has_heap) block = own_memory.Allocate(size_bytes, alignment);
  }
  if (block == nullptr) errno = ENOMEM;
  return block;
}

/** The heap by which a block of any thread can be looked at: no list is changed through it. */
Heap* HeapToLook(const void* block, const char* operation) noexcept {
  if (!process_heap.IsStarted()) {
    defect::ForeignPointer(operation, reinterpret_cast<uintptr_t>(block), 0);
  }
  Heap* const own = thread_state.own_;
  Heap* const heap = own != nullptr ? own : process_heap.shared();
  heap->CheckBlock(operation, heap->OffsetOf(block));
  return heap;
}

}  // namespace

// ---- allocate ----------------------------------------------------------------------------------

void* AllocateSlow(size_t size_bytes) noexcept {
  Front* const front = thread_state.heap_;
  const ipc::Offset block = front->TryAllocateClass(size_bytes);
  if (HSHM_LIKELY(block != 0)) return front->AddressOf(block);
  return AllocateFromHeap(size_bytes, ipc::kDefaultAlignment,
                          [size_bytes](Heap* heap) { return heap->Allocate(size_bytes); });
}

void* AllocateAligned(size_t size_bytes, size_t alignment) noexcept {
  if (alignment <= ipc::kDefaultAlignment) return Allocate(size_bytes);
  return AllocateFromHeap(size_bytes, alignment, [size_bytes, alignment](Heap* heap) {
    if (alignment > process_heap.memory().max_alignment()) return ipc::Offset{0};
    return heap->AllocateAligned(size_bytes, alignment);
  });
}

void* AllocateZeroed(size_t size_bytes) noexcept {
  void* const block = Allocate(size_bytes);
  if (block == nullptr) return nullptr;
  const bool is_dropped = size_bytes >= kDropInsteadOfClearBytes &&
                          process_heap.memory().DropAndKeepCommitted(block, size_bytes);
  if (!is_dropped) std::memset(block, 0, size_bytes);
  return block;
}

// ---- free --------------------------------------------------------------------------------------

namespace {

/** Null, blocks of OwnMemory, frees of threads without a heap or inside of a slow path. */
HSHM_NOINLINE void FreeRare(void* block) noexcept {
  if (block == nullptr) return;
  if (own_memory.Contains(block)) return own_memory.Free(block);
  HeapToLook(block, "free");
  if (thread_state.is_inside_) return process_heap.Defer(block);
  const SlowPath slow;
  slow.heap()->Free(slow.heap()->OffsetOf(block));
}

}  // namespace

void FreeSlow(void* block) noexcept {
  const ThreadState& me = thread_state;
  if (me.own_ == nullptr || me.is_inside_ || !process_heap.Contains(block)) return FreeRare(block);
  // For blocks of other threads nothing private is changed: no gate is needed.
  if (me.own_->TryFreeAnywhere(me.own_->OffsetOf(block)) == Front::Freed::kPageWaits) {
    FinishFree(block);
  }
}

void FinishFree(void* block) noexcept {
  // The block was of this thread's own heap, which is at hand outside of slow paths only.
  Heap* const own = thread_state.own_;
  if (!own->HasToFinish(own->OffsetOf(block))) return;
  const SlowPath slow;
  own->FinishFree(own->OffsetOf(block));
}

// ---- blocks ------------------------------------------------------------------------------------

size_t UsableBytes(void* block) noexcept {
  if (own_memory.Contains(block)) return own_memory.UsableBytes(block);
  Heap* const heap = HeapToLook(block, "malloc_usable_size");
  return heap->UsableBytes(heap->OffsetOf(block));
}

namespace {

/** Whether the block has the new size from now on where it is. */
bool ResizeInPlace(void* block, size_t usable, size_t new_bytes) noexcept {
  if (own_memory.Contains(block)) return new_bytes <= usable;
  if (usable <= ipc::multi_process::LargePages::kMaxClassBytes) {
    return new_bytes <= usable && new_bytes >= usable / 2;
  }
  if (thread_state.is_inside_) return new_bytes <= usable;
  const SlowPath slow;
  return slow.heap()->ResizeInPlace(slow.heap()->OffsetOf(block), new_bytes);
}

}  // namespace

void* Reallocate(void* block, size_t new_bytes) noexcept {
  const size_t usable = UsableBytes(block);
  if (new_bytes > kMaxBlockBytes) {
    errno = ENOMEM;
    return nullptr;
  }
  if (ResizeInPlace(block, usable, new_bytes)) return block;
  const int former_errno = errno;
  void* const moved = Allocate(new_bytes);
  if (moved == nullptr) {
    if (new_bytes > usable) return nullptr;
    errno = former_errno;
    return block;  // shrinking needs no room
  }
  std::memcpy(moved, block, std::min(usable, new_bytes));
  Free(block);
  return moved;
}

// ---- the whole heap ----------------------------------------------------------------------------

bool Trim() noexcept {
  if (!process_heap.IsStarted() || thread_state.is_inside_) return false;
  const SlowPath slow;
  Heap* const heap = slow.heap();
  const uint64_t before = process_heap.memory().decommitted_bytes();
  heap->Flush();
  process_heap.allocator().Trim();
  process_heap.allocator().FreeTls(ipc::MemContext());  // Trim took a heap for this thread
  return process_heap.memory().decommitted_bytes() != before;
}

bool GetStats(ipc::AllocatorStats* stats) noexcept {
  if (!process_heap.IsStarted() || thread_state.is_inside_) return false;
  const SlowPath slow;
  try {
    *stats = process_heap.allocator().GetStats();
  } catch (const std::exception&) {
    return false;
  }
  process_heap.allocator().FreeTls(ipc::MemContext());  // GetStats took a heap for this thread
  return stats->is_complete_;
}

}  // namespace hshm::malloc_library
