#ifndef HSHM_SRC_MALLOC_RUNTIME_H_
#define HSHM_SRC_MALLOC_RUNTIME_H_

#include <cstddef>
#include <cstdint>

#include "hermes_shm/base/macros.h"
#include "hermes_shm/memory/allocator/allocator_stats.h"
#include "hermes_shm/memory/allocator/multi_process_allocator.h"
#include "malloc/policy.h"

/**
 * The heap behind malloc: one MultiProcessAllocator of this process, made by the first call and
 * never taken down, for calls come before main and after the last destructor. Of which policy it is
 * says policy.h; what stands here in line is that of Fast.
 *
 *     malloc, free ...   the thread's front, ThreadState::heap_: two loads, no lock, no question
 *       when that does not do: a slow path, below
 *         of the thread's own heap, under its gate
 *         of the shared heap, for threads that have none: more than 1023 of them, or in their end
 *         OwnMemory, for calls from inside of a slow path, and before the environment is there
 *
 * A gate is a lock that the slow paths of one heap hold. fork() takes all gates, so that no private
 * list of the heap is half changed in the child; the fast paths hold nothing, may be cut anywhere,
 * and then lose one block, or one run, at most: see MultiProcessAllocator::HoldForFork.
 */
namespace hshm::malloc_library {

/** What a thread knows of itself, in the policy that is the program's; of the other's, nothing. */
template <typename Config>
struct ThreadState {
  using Front = ipc::multi_process::HeapFront<Config>;
  using Heap = ipc::multi_process::ThreadHeap<Config>;

  Front* heap_;          // for the fast path: own_, or Nobody while a slow path is under way
  Heap* own_;            // null: none yet, or no more
  bool is_inside_;       // of a slow path, or between fork()'s handlers
  bool has_ended_;       // its heap is given back: no other is taken
  bool holds_fork_;      // fork() is under way, and this thread has taken the gates for it
  uint32_t slow_calls_;  // without a heap of its own; every 64th asks for one again
  int copy_done_[2];     // pipe of a fork: the child closes its end when its copy is finished

  Front* Own() const noexcept { return own_ != nullptr ? own_ : Front::Nobody(); }
};

struct ThreadStates {
  ThreadState<FastPages> fast_;
  ThreadState<CheckedPages> checked_;
};
extern HSHM_CONSTINIT thread_local ThreadStates thread_states
    __attribute__((tls_model("initial-exec")));

template <typename Config>
HSHM_INLINE ThreadState<Config>& ThreadStateOf() noexcept {
  if constexpr (Config::kChecked) {
    return thread_states.checked_;
  } else {
    return thread_states.fast_;
  }
}

// ---- what the interface is made of ------------------------------------------------------------
// All noexcept; null with errno ENOMEM when there is no room, or the size is above PTRDIFF_MAX.

void* AllocateSlow(size_t size_bytes) noexcept;
/** alignment: a power of two. */
void* AllocateAligned(size_t size_bytes, size_t alignment) noexcept;
void* AllocateZeroed(size_t size_bytes) noexcept;
/** Grows or shrinks a block, not null, to a size that is not 0. */
void* Reallocate(void* block, size_t new_bytes) noexcept;
/** Whatever Free does not do at once: null, blocks that are not the heap's, threads without one. */
HSHM_NOINLINE void FreeSlow(void* block) noexcept;
/** Blocks of other threads, and pages that become empty. */
HSHM_NOINLINE void FreeOfOthers(void* block, ThreadState<FastPages>::Front* front) noexcept;
HSHM_NOINLINE void FinishFree(void* block) noexcept;
/** FreeSlow of what was allocated with this size, and alignment; Checked stops with WrongSize. */
HSHM_NOINLINE void FreeSizedSlow(void* block, size_t size_bytes, size_t alignment) noexcept;
size_t UsableBytes(void* block) noexcept;
/** Gives back what nobody uses. @return whether the process has less memory from the system now */
bool Trim() noexcept;
/** False when there is no heap yet, or no memory for the answer. */
bool GetStats(ipc::AllocatorStats* stats) noexcept;

HSHM_INLINE void* Allocate(size_t size_bytes) noexcept {
  auto* const front = thread_states.fast_.heap_;
  const ipc::Offset block = front->TryAllocate(size_bytes);
  return HSHM_LIKELY(block != 0) ? front->AddressOf(block) : AllocateSlow(size_bytes);
}

HSHM_INLINE void Free(void* block) noexcept {
  using Front = ThreadState<FastPages>::Front;
  Front* const front = thread_states.fast_.heap_;
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

/** Free by who knows what was asked for. */
HSHM_INLINE void FreeSized(void* block, size_t size_bytes,
                           size_t alignment = ipc::kDefaultAlignment) noexcept {
  using Front = ThreadState<FastPages>::Front;
  Front* const front = thread_states.fast_.heap_;
  switch (front->TryFreeAddress(block)) {
    case Front::Freed::kDone:
      return;
    case Front::Freed::kPageWaits:
      return FinishFree(block);
    case Front::Freed::kOthers:
      return FreeOfOthers(block, front);
    case Front::Freed::kNot:
      return FreeSizedSlow(block, size_bytes, alignment);
  }
}

}  // namespace hshm::malloc_library

#endif  // HSHM_SRC_MALLOC_RUNTIME_H_
