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

HSHM_CONSTINIT thread_local ThreadStates thread_states = {
    {ThreadState<FastPages>::Front::Nobody(), nullptr, false, false, false, 0, {-1, -1}},
    {ThreadState<CheckedPages>::Front::Nobody(), nullptr, false, false, false, 0, {-1, -1}}};

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

/**
 * This thread in a slow path, with the heap that serves it, whose gate it holds. Calls that come
 * from inside, by the system's library or a signal handler, find is_inside_ and Nobody.
 */
template <typename Config>
class SlowPath {
  using Heap = typename ThreadState<Config>::Heap;

 public:
  HSHM_INLINE SlowPath() noexcept : me_(ThreadStateOf<Config>()) {
    me_.is_inside_ = true;
    me_.heap_ = ThreadState<Config>::Front::Nobody();
    heap_ = HSHM_LIKELY(me_.own_ != nullptr) ? me_.own_ : ProcessHeapOf<Config>().FindHeap(me_);
    // A process's only thread forks outside of its slow paths, so nobody asks for the gates then.
    if (heap_ == nullptr || IsOnlyThread()) return;
    gate_ = &ProcessHeapOf<Config>().GateOf(heap_);
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
  ThreadState<Config>& me_;
  Heap* heap_;
  SpinLock* gate_ = nullptr;
};

/** What the interface is made of, over one of the two heaps. */
template <typename Config>
struct Runtime {
  using Heap = typename ThreadState<Config>::Heap;
  using Front = typename ThreadState<Config>::Front;

  static ThreadState<Config>& me() noexcept { return ThreadStateOf<Config>(); }
  static ProcessHeap<Config>& process_heap() noexcept { return ProcessHeapOf<Config>(); }

  // What Fast has in line.
  static void* Allocate(size_t size_bytes) noexcept;
  static void Free(void* block) noexcept;

  static void* AllocateSlow(size_t size_bytes) noexcept;
  static void* AllocateAligned(size_t size_bytes, size_t alignment) noexcept;
  static void* AllocateZeroed(size_t size_bytes) noexcept;
  static void* Reallocate(void* block, size_t new_bytes) noexcept;
  static void FreeRare(void* block) noexcept;
  static void FreeOfOthers(void* block, Front* front) noexcept;
  static void FreeFar(void* block) noexcept;
  static void FreeSlow(void* block) noexcept;
  static void FinishFree(void* block) noexcept;
  static void FinishFreeInLine(void* block) noexcept;
  static void RequireSize(void* block, size_t size_bytes, size_t alignment) noexcept;
  static size_t UsableBytes(void* block, const char* operation) noexcept;
  static bool ResizeInPlace(void* block, size_t usable, size_t new_bytes) noexcept;
  static bool Trim() noexcept;
  static bool GetStats(ipc::AllocatorStats* stats) noexcept;

  template <typename AllocateFrom>
  static void* AllocateFromHeap(size_t size_bytes, size_t alignment,
                                AllocateFrom allocate) noexcept;
  static Heap* HeapToLook(const void* block, const char* operation) noexcept;
};

/** allocate(heap) in a slow path; OwnMemory when that cannot be. */
template <typename Config>
template <typename AllocateFrom>
void* Runtime<Config>::AllocateFromHeap(size_t size_bytes, size_t alignment,
                                        AllocateFrom allocate) noexcept {
  void* block = nullptr;
  bool has_heap = false;
  if (size_bytes <= kMaxBlockBytes) {
    if (!me().is_inside_) {
      const SlowPath<Config> slow;
      has_heap = slow.heap() != nullptr;
      if (HSHM_UNLIKELY(process_heap().HasDeferred())) process_heap().FreeDeferred(slow.heap());
      const ipc::Offset offset = has_heap ? allocate(slow.heap()) : 0;
      if (offset != 0) block = slow.heap()->AddressOf(offset);
    }
    if (!has_heap) block = own_memory.Allocate(size_bytes, alignment);
  }
  if (block == nullptr) errno = ENOMEM;
  return block;
}

/** The heap by which a block of any thread can be looked at: no list is changed through it. */
template <typename Config>
typename Runtime<Config>::Heap* Runtime<Config>::HeapToLook(const void* block,
                                                            const char* operation) noexcept {
  if (!process_heap().IsStarted()) {
    defect::ForeignPointer(operation, reinterpret_cast<uintptr_t>(block), 0);
  }
  Heap* const own = me().own_;
  Heap* const heap = own != nullptr ? own : process_heap().shared();
  heap->CheckBlock(operation, heap->OffsetOf(block));
  return heap;
}

// ---- allocate ----------------------------------------------------------------------------------

template <typename Config>
HSHM_INLINE void* Runtime<Config>::Allocate(size_t size_bytes) noexcept {
  Front* const front = me().heap_;
  const ipc::Offset block = front->TryAllocate(size_bytes);
  return HSHM_LIKELY(block != 0) ? front->AddressOf(block) : AllocateSlow(size_bytes);
}

template <typename Config>
void* Runtime<Config>::AllocateSlow(size_t size_bytes) noexcept {
  Front* const front = me().heap_;
  const ipc::Offset block = front->TryRefill(size_bytes);
  if (HSHM_LIKELY(block != 0)) return front->AddressOf(block);
  return AllocateFromHeap(size_bytes, ipc::kDefaultAlignment,
                          [size_bytes](Heap* heap) { return heap->AllocateSlow(size_bytes); });
}

template <typename Config>
void* Runtime<Config>::AllocateAligned(size_t size_bytes, size_t alignment) noexcept {
  if (alignment <= ipc::kDefaultAlignment) return Allocate(size_bytes);
  return AllocateFromHeap(size_bytes, alignment, [size_bytes, alignment](Heap* heap) {
    if (alignment > process_heap().memory().max_alignment()) return ipc::Offset{0};
    return heap->AllocateAligned(size_bytes, alignment);
  });
}

template <typename Config>
void* Runtime<Config>::AllocateZeroed(size_t size_bytes) noexcept {
  if (size_bytes <= Config::kMaxClassBytes) {
    void* const block = Allocate(size_bytes);
    if (block != nullptr) std::memset(block, 0, size_bytes);
    return block;
  }
  bool is_zero = false;  // from OwnMemory it is not
  void* const block = AllocateFromHeap(size_bytes, ipc::kDefaultAlignment, [&](Heap* heap) {
    is_zero = true;
    return heap->AllocateZeroed(size_bytes);
  });
  if (block != nullptr && !is_zero) std::memset(block, 0, size_bytes);
  return block;
}

// ---- free --------------------------------------------------------------------------------------

template <typename Config>
HSHM_INLINE void Runtime<Config>::Free(void* block) noexcept {
  Front* const front = me().heap_;
  switch (front->TryFreeAddress(block)) {
    case Front::Freed::kDone:
      return;
    case Front::Freed::kPageWaits:
      return FinishFree(block);
    case Front::Freed::kOthers:
      return FreeOfOthers(block, front);
    case Front::Freed::kNot:
      return FreeSlow(block);
  }
}

/** Null, blocks of OwnMemory, frees of threads without a heap or inside of a slow path. */
template <typename Config>
HSHM_NOINLINE void Runtime<Config>::FreeRare(void* block) noexcept {
  if (block == nullptr) return;
  if (own_memory.Contains(block)) return own_memory.Free(block);
  HeapToLook(block, "free");
  if (me().is_inside_) return process_heap().Defer(block);
  const SlowPath<Config> slow;
  slow.heap()->Free(slow.heap()->OffsetOf(block));
}

/** The front has said so, which is this thread's own heap then. No list that a refill, or a free of
 * its own, may be in the middle of is changed: no gate is needed. */
template <typename Config>
HSHM_INLINE void Runtime<Config>::FreeOfOthers(void* block, Front* front) noexcept {
  Heap* const own = static_cast<Heap*>(front);
  if (!own->TryFreeToRun(own->OffsetOf(block))) FreeFar(block);
}
template <typename Config>
HSHM_NOINLINE void Runtime<Config>::FreeFar(void* block) noexcept {
  Heap* const own = me().own_;
  if (own->FreeFar(own->OffsetOf(block)) == Front::Freed::kPageWaits) FinishFree(block);
}

template <typename Config>
HSHM_INLINE void Runtime<Config>::FreeSlow(void* block) noexcept {
  const ThreadState<Config>& state = me();
  Heap* const own = state.own_;
  if (own == nullptr || state.is_inside_ || !process_heap().Contains(block)) return FreeRare(block);
  if (own->TryFreeAnywhere(own->OffsetOf(block)) == Front::Freed::kPageWaits) FinishFree(block);
}

template <typename Config>
HSHM_INLINE void Runtime<Config>::FinishFreeInLine(void* block) noexcept {
  // The block was of this thread's own heap, which is at hand outside of slow paths only.
  Heap* const own = me().own_;
  if (!own->HasToFinish(own->OffsetOf(block))) return;
  const SlowPath<Config> slow;
  own->FinishFree(own->OffsetOf(block));
}

template <typename Config>
HSHM_NOINLINE void Runtime<Config>::FinishFree(void* block) noexcept {
  FinishFreeInLine(block);
}

/** Null and what is not of the heap go their way through free. */
template <typename Config>
void Runtime<Config>::RequireSize(void* block, size_t size_bytes, size_t alignment) noexcept {
  if (!process_heap().IsStarted() || !process_heap().Contains(block)) return;
  Heap* const heap = HeapToLook(block, "operator delete");
  heap->RequireSize("operator delete", heap->OffsetOf(block), size_bytes, alignment);
}

// ---- blocks ------------------------------------------------------------------------------------

template <typename Config>
size_t Runtime<Config>::UsableBytes(void* block, const char* operation) noexcept {
  if (own_memory.Contains(block)) return own_memory.UsableBytes(block);
  Heap* const heap = HeapToLook(block, operation);
  return heap->UsableBytes(heap->OffsetOf(block));
}

/** Whether the block has the new size from now on where it is. */
template <typename Config>
bool Runtime<Config>::ResizeInPlace(void* block, size_t usable, size_t new_bytes) noexcept {
  if (own_memory.Contains(block)) return new_bytes <= usable;
  if (usable <= Config::kMaxClassBytes) {
    return new_bytes <= usable && new_bytes >= usable / 2;
  }
  if (me().is_inside_) return new_bytes <= usable;
  const SlowPath<Config> slow;
  return slow.heap()->ResizeInPlace(slow.heap()->OffsetOf(block), new_bytes);
}

template <typename Config>
void* Runtime<Config>::Reallocate(void* block, size_t new_bytes) noexcept {
  const size_t usable = UsableBytes(block, "realloc");
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

template <typename Config>
bool Runtime<Config>::Trim() noexcept {
  if (!process_heap().IsStarted() || me().is_inside_) return false;
  const SlowPath<Config> slow;
  Heap* const heap = slow.heap();
  const uint64_t before = process_heap().memory().decommitted_bytes();
  heap->Flush();
  process_heap().allocator().Trim();
  process_heap().allocator().FreeTls(ipc::MemContext());  // Trim took a heap for this thread
  return process_heap().memory().decommitted_bytes() != before;
}

template <typename Config>
bool Runtime<Config>::GetStats(ipc::AllocatorStats* stats) noexcept {
  if (!process_heap().IsStarted() || me().is_inside_) return false;
  const SlowPath<Config> slow;
  try {
    *stats = process_heap().allocator().GetStats();
  } catch (const std::exception&) {
    return false;
  }
  process_heap().allocator().FreeTls(ipc::MemContext());  // GetStats took a heap for this thread
  return stats->is_complete_;
}

using Fast = Runtime<FastPages>;
using Checked = Runtime<CheckedPages>;

}  // namespace

// ---- the one that is the program's -------------------------------------------------------------

namespace {

// Not in line, so that who goes on in one of the two heaps has no register to save for another.
HSHM_NOINLINE void* AllocateSlowInFast(size_t size_bytes) noexcept {
  return Fast::AllocateSlow(size_bytes);
}
HSHM_NOINLINE void* AllocateSlowInChecked(size_t size_bytes) noexcept {
  return Checked::AllocateSlow(size_bytes);
}
HSHM_NOINLINE void* AllocateInChecked(size_t size_bytes) noexcept {
  return Checked::Allocate(size_bytes);
}
HSHM_NOINLINE void FreeOfOthersInChecked(void* block,
                                         ThreadState<CheckedPages>::Front* front) noexcept {
  Checked::FreeOfOthers(block, front);
}
HSHM_NOINLINE void* AllocateFirst(size_t size_bytes) noexcept {
  return FindPolicy() == Policy::kChecked ? Checked::AllocateSlow(size_bytes)
                                          : Fast::AllocateSlow(size_bytes);
}
HSHM_NOINLINE void FreeSlowInFast(void* block) noexcept { Fast::FreeSlow(block); }
HSHM_NOINLINE void FreeWithoutHeap(void* block) noexcept {
  IsChecked() ? Checked::FreeSlow(block) : Fast::FreeRare(block);
}

}  // namespace

void* AllocateSlow(size_t size_bytes) noexcept {
  const Policy policy = KnownPolicy();
  if (policy == Policy::kFast) return AllocateSlowInFast(size_bytes);
  if (policy != Policy::kChecked) return AllocateFirst(size_bytes);
  if (size_bytes > CheckedPages::kMaxClassBytes) return AllocateInChecked(size_bytes);
  auto* const front = thread_states.checked_.heap_;
  const ipc::Offset block = front->TryAllocate(size_bytes);
  return HSHM_LIKELY(block != 0) ? front->AddressOf(block) : AllocateSlowInChecked(size_bytes);
}

void* AllocateAligned(size_t size_bytes, size_t alignment) noexcept {
  return IsChecked() ? Checked::AllocateAligned(size_bytes, alignment)
                     : Fast::AllocateAligned(size_bytes, alignment);
}

void* AllocateZeroed(size_t size_bytes) noexcept {
  return IsChecked() ? Checked::AllocateZeroed(size_bytes) : Fast::AllocateZeroed(size_bytes);
}

void* Reallocate(void* block, size_t new_bytes) noexcept {
  return IsChecked() ? Checked::Reallocate(block, new_bytes) : Fast::Reallocate(block, new_bytes);
}

void FinishFree(void* block) noexcept { Fast::FinishFreeInLine(block); }

void FreeOfOthers(void* block, ThreadState<FastPages>::Front* front) noexcept {
  Fast::FreeOfOthers(block, front);
}

void FreeSlow(void* block) noexcept {
  // Under Checked no thread has a heap of Fast: this is where its frees turn.
  if (thread_states.fast_.own_ != nullptr) return FreeSlowInFast(block);
  using Front = ThreadState<CheckedPages>::Front;
  Front* const front = thread_states.checked_.heap_;
  const Front::Freed freed = front->TryFreeAddress(block);
  if (HSHM_LIKELY(freed == Front::Freed::kDone)) return;
  if (freed == Front::Freed::kPageWaits) return Checked::FinishFree(block);
  if (freed == Front::Freed::kOthers) return FreeOfOthersInChecked(block, front);
  FreeWithoutHeap(block);
}

void FreeSizedSlow(void* block, size_t size_bytes, size_t alignment) noexcept {
  if (thread_states.fast_.own_ != nullptr || !IsChecked()) return Fast::FreeSlow(block);
  Checked::RequireSize(block, size_bytes, alignment);
  Checked::Free(block);
}

size_t UsableBytes(void* block) noexcept {
  return IsChecked() ? Checked::UsableBytes(block, "malloc_usable_size")
                     : Fast::UsableBytes(block, "malloc_usable_size");
}

bool Trim() noexcept { return IsChecked() ? Checked::Trim() : Fast::Trim(); }

bool GetStats(ipc::AllocatorStats* stats) noexcept {
  return IsChecked() ? Checked::GetStats(stats) : Fast::GetStats(stats);
}

}  // namespace hshm::malloc_library
