#ifndef HSHM_SRC_MALLOC_PROCESS_HEAP_H_
#define HSHM_SRC_MALLOC_PROCESS_HEAP_H_

#include <pthread.h>

#include <cstdint>
#include <new>
#include <utility>

#include "hermes_shm/memory/allocator/multi_process/process_block.h"
#include "hermes_shm/sync/atomic.h"
#include "hermes_shm/sync/spin_lock.h"
#include "malloc/heap_memory.h"
#include "malloc/runtime.h"

namespace hshm::malloc_library {

/** Room for an object that is made late and never destroyed. */
template <typename T>
class Late {
 public:
  template <typename... Arguments>
  void Make(Arguments&&... arguments) {
    new (bytes_) T(std::forward<Arguments>(arguments)...);
  }
  T* operator->() noexcept { return &**this; }
  T& operator*() noexcept { return *std::launder(reinterpret_cast<T*>(bytes_)); }
  const T& operator*() const noexcept { return *std::launder(reinterpret_cast<const T*>(bytes_)); }

 private:
  alignas(T) unsigned char bytes_[sizeof(T)] = {};
};

/**
 * Making the process's heap, its threads' heaps, and fork(). Constant-initialised, never destroyed.
 *
 * Order of locks: threads_, gates by index, the allocator's, OwnMemory's.
 */
template <typename Config>
class ProcessHeap {
 public:
  using Allocator = ipc::BasicMultiProcessAllocator<Config>;
  using Heap = typename Allocator::Heap;
  using Front = ipc::multi_process::HeapFront<Config>;

  constexpr ProcessHeap() noexcept = default;

  /** Makes it if it is not there yet. False before the program's environment is: whoever calls then
   * gets OwnMemory. Stops the program with a sentence when it cannot be made. */
  bool Start() noexcept;
  bool IsStarted() const noexcept {
    return state_.load(std::memory_order_acquire) == kReady;  // pairs with Start
  }

  Allocator& allocator() noexcept { return *allocator_; }
  HeapMemory& memory() noexcept { return *memory_; }
  /** Of threads without a heap; only through its gate. */
  Heap* shared() const noexcept { return shared_; }

  bool Contains(const void* address) const noexcept { return (*memory_).Contains(address); }

  /** The heap for a slow path of a thread that has none yet: its own from now on, or the shared
   * one; hold its gate while using it. Null when Start says no. */
  Heap* FindHeap(ThreadState<Config>& me) noexcept;
  SpinLock& GateOf(const Heap* heap) noexcept { return gates_[heap->index()].lock_; }

  /** Blocks freed by threads inside of a slow path; the next slow path frees them. */
  void Defer(void* block) noexcept;
  bool HasDeferred() const noexcept {
    return deferred_.load(std::memory_order_relaxed) != nullptr;  // relaxed: a hint
  }
  void FreeDeferred(Heap* heap) noexcept;

 private:
  enum State : uint32_t { kNew, kStarting, kReady };
  static constexpr uint32_t kMaxHeaps = ipc::multi_process::kMaxThreads;

  /** On a line of its own: two threads' slow paths do not meet in one. */
  struct alignas(64) Gate {
    SpinLock lock_;
  };
  struct Deferred {
    Deferred* next_;
  };

  void Make() noexcept;
  void MapMemory(const Settings& settings) noexcept;
  Heap* TakeHeap(ThreadState<Config>& me) noexcept;
  void EndThread(Heap* heap) noexcept;
  void PrepareFork() noexcept;
  void CloseGates() noexcept;
  void FinishForkInParent() noexcept;
  void FinishForkInChild() noexcept;
  void OpenGates() noexcept;
  void AdoptHeapsOfOthers(bool is_shm) noexcept;

  Atomic<uint32_t> state_{kNew};
  pthread_key_t key_ = 0;
  SpinLock threads_;             // guards users_, heap_end_
  Heap* users_[kMaxHeaps] = {};  // by index: heaps that a thread has
  uint32_t heap_end_ = 0;        // no heap has this index or a higher one
  Heap* shared_ = nullptr;       // of threads without one; several at a time, under its gate
  Gate gates_[kMaxHeaps] = {};
  std::atomic<Deferred*> deferred_{nullptr};
  Late<HeapMemory> memory_;
  Late<Allocator> allocator_;
};

extern constinit ProcessHeap<FastPages> fast_process_heap;
extern constinit ProcessHeap<CheckedPages> checked_process_heap;

/** One of them is never started. */
template <typename Config>
HSHM_INLINE ProcessHeap<Config>& ProcessHeapOf() noexcept {
  if constexpr (Config::kChecked) {
    return checked_process_heap;
  } else {
    return fast_process_heap;
  }
}

}  // namespace hshm::malloc_library

#endif  // HSHM_SRC_MALLOC_PROCESS_HEAP_H_
