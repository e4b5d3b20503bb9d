#include "malloc/process_heap.h"

#include <fcntl.h>
#include <sched.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <exception>

#include "hermes_shm/base/error.h"
#include "hermes_shm/memory/backend/header_rules.h"
#include "hermes_shm/platform/cancellation.h"
#include "malloc/keep_errno.h"
#include "malloc/own_memory.h"

namespace hshm::malloc_library {

constinit ProcessHeap<FastPages> fast_process_heap;
constinit ProcessHeap<CheckedPages> checked_process_heap;

// ---- start -------------------------------------------------------------------------------------

namespace {

[[noreturn]] void StopForMemory(uint64_t size_bytes, int error) noexcept {
  char sentence[320];
  std::snprintf(sentence, sizeof(sentence),
                "A heap of %llu MiB was asked for and the system refused it (%s): set "
                "HSHM_MALLOC_SIZE to less, or raise the limit of the address space (ulimit -v) or "
                "of files (ulimit -f).",
                static_cast<unsigned long long>(size_bytes >> 20), strerror(error));
  StopProgram(sentence);
}

}  // namespace

template <typename Config>
bool ProcessHeap<Config>::Start() noexcept {
  if (IsStarted()) return true;
  if (!HasEnvironment()) return false;
  uint32_t expected = kNew;
  if (!state_.compare_exchange_strong(expected, kStarting,
                                      std::memory_order_acquire,     // pairs with the store below
                                      std::memory_order_acquire)) {  // pairs with the store below
    while (!IsStarted()) sched_yield();
    return true;
  }
  Make();
  state_.store(kReady, std::memory_order_release);  // pairs with IsStarted
  return true;
}

template <typename Config>
void ProcessHeap<Config>::MapMemory(const Settings& settings) noexcept {
  uint64_t size_bytes = settings.size_bytes_;
  if (size_bytes == 0) size_bytes = DefaultHeapBytes(settings.backend_);
  for (;;) {
    const int error = memory_->Map(settings.backend_, size_bytes);
    if (error == 0) return;
    if (settings.size_bytes_ != 0 || size_bytes / 2 < kMinHeapBytes) {
      StopForMemory(size_bytes, error);
    }
    size_bytes /= 2;  // nobody asked for that much: the limits of this process are lower
  }
}

template <typename Config>
void ProcessHeap<Config>::Make() noexcept {
  const NoCancellation no_cancellation;
  const Settings settings = ReadSettings();
  try {
    memory_.Make();
    MapMemory(settings);
    const ipc::Region region = memory_->region();
    const auto type = settings.backend_ == Backend::kShm ? ipc::MemoryBackendType::kPosixShmMmap
                                                         : ipc::MemoryBackendType::kPosixMmap;
    if (!memory_->Commit(0, ipc::AllocatorOffsetFor(region.size_bytes_))) {
      StopForMemory(region.size_bytes_, ENOMEM);
    }
    auto* header = reinterpret_cast<ipc::BackendHeader*>(region.base_);
    ipc::FillHeader(header, type, ipc::MemoryBackendId(0), region.size_bytes_);
    header->ready_.store(1, std::memory_order_release);  // pairs with CheckHeader
    allocator_.Make();
    ipc::MultiProcessOptions options;
    options.expected_processes_ = 1;
    const ipc::MemContext context =
        allocator_->shm_init(ipc::AllocatorId(1, 0), 0, region, options);
    allocator_->FreeTls(context);  // threads keep their heaps here
    shared_ = allocator_->AcquireHeap();
    if (shared_ == nullptr) StopProgram("The heap has no room for its first pages.");
    heap_end_ = shared_->index() + 1;
  } catch (const std::exception& error) {
    StopProgram(error.what());
  }
  const auto at_end = [](void* heap) {
    ProcessHeapOf<Config>().EndThread(static_cast<Heap*>(heap));
  };
  const int no_key = pthread_key_create(&key_, at_end);
  const int no_handlers = pthread_atfork([] { ProcessHeapOf<Config>().PrepareFork(); },
                                         [] { ProcessHeapOf<Config>().FinishForkInParent(); },
                                         [] { ProcessHeapOf<Config>().FinishForkInChild(); });
  if (no_key != 0 || no_handlers != 0) {
    StopProgram("The system has no thread-local key, or no memory for fork handlers.");
  }
}

// ---- threads -----------------------------------------------------------------------------------

template <typename Config>
typename ProcessHeap<Config>::Heap* ProcessHeap<Config>::FindHeap(
    ThreadState<Config>& me) noexcept {
  const KeepErrno keep_errno;
  if (!Start()) return nullptr;
  if (me.has_ended_ || me.slow_calls_++ % 64 != 0) return shared_;
  Heap* heap = TakeHeap(me);
  return heap != nullptr ? heap : shared_;
}

template <typename Config>
typename ProcessHeap<Config>::Heap* ProcessHeap<Config>::TakeHeap(
    ThreadState<Config>& me) noexcept {
  Heap* heap = nullptr;
  {
    const SpinGuard guard(threads_);
    heap = allocator_->AcquireHeap();
    if (heap == nullptr) return nullptr;
    users_[heap->index()] = heap;
    if (heap->index() >= heap_end_) heap_end_ = heap->index() + 1;
  }
  me.own_ = heap;
  // May allocate, from OwnMemory: this thread is inside.
  if (pthread_setspecific(key_, heap) != 0) {
    EndThread(heap);  // nobody would give it back later
    return nullptr;
  }
  return heap;
}

/** Called when a thread ends, before the destructors of keys that were made later: their calls, and
 * the system's last ones for the thread, are served by the shared heap. */
template <typename Config>
void ProcessHeap<Config>::EndThread(Heap* heap) noexcept {
  ThreadState<Config>& me = ThreadStateOf<Config>();
  me.heap_ = Front::Nobody();
  me.own_ = nullptr;
  me.has_ended_ = true;
  const SpinGuard guard(threads_);
  users_[heap->index()] = nullptr;
  allocator_->ReleaseHeap(heap);
}

// ---- frees from inside -------------------------------------------------------------------------

template <typename Config>
void ProcessHeap<Config>::Defer(void* block) noexcept {
  auto* mine = static_cast<Deferred*>(block);
  mine->next_ = deferred_.load(std::memory_order_relaxed);  // relaxed: the CAS re-reads it
  while (!deferred_.compare_exchange_weak(mine->next_, mine,
                                          std::memory_order_release,     // pairs with FreeDeferred
                                          std::memory_order_relaxed)) {  // failure reads only
  }
}

/** Gate held. Takes the whole list, so no block can come back to it meanwhile. */
template <typename Config>
void ProcessHeap<Config>::FreeDeferred(Heap* heap) noexcept {
  Deferred* block = deferred_.exchange(nullptr, std::memory_order_acquire);  // pairs with Defer
  while (block != nullptr) {
    Deferred* const next = block->next_;
    heap->Free(heap->OffsetOf(block));
    block = next;
  }
}

// ---- fork --------------------------------------------------------------------------------------

/**
 * The last of all prepare handlers, for ours were registered first. From here to the end of the
 * handlers this thread's own calls go to OwnMemory, its frees are deferred. Where a signal handler
 * forks that has interrupted a slow path, its thread holds locks already: they stay as they are.
 */
template <typename Config>
void ProcessHeap<Config>::PrepareFork() noexcept {
  ThreadState<Config>& me = ThreadStateOf<Config>();
  me.holds_fork_ = !me.is_inside_;
  if (me.holds_fork_) CloseGates();
  // Not before: another thread's child would have it open too.
  if (memory_->backend() == Backend::kShm && pipe2(me.copy_done_, O_CLOEXEC) != 0) {
    me.copy_done_[0] = me.copy_done_[1] = -1;
  }
}

template <typename Config>
void ProcessHeap<Config>::CloseGates() noexcept {
  ThreadStateOf<Config>().is_inside_ = true;
  ThreadStateOf<Config>().heap_ = Front::Nobody();
  threads_.Lock();
  for (uint32_t i = 0; i < heap_end_; ++i) gates_[i].lock_.Lock();
  allocator_->HoldForFork();
  own_memory.Lock();
}

template <typename Config>
void ProcessHeap<Config>::OpenGates() noexcept {
  own_memory.Unlock();
  allocator_->LetGoAfterFork();
  for (uint32_t i = 0; i < heap_end_; ++i) gates_[i].lock_.Unlock();
  threads_.Unlock();
  ThreadState<Config>& me = ThreadStateOf<Config>();
  me.holds_fork_ = false;
  me.is_inside_ = false;
  me.heap_ = me.Own();
}

template <typename Config>
void ProcessHeap<Config>::FinishForkInParent() noexcept {
  const KeepErrno keep_errno;
  ThreadState<Config>& me = ThreadStateOf<Config>();
  if (memory_->backend() == Backend::kShm && me.copy_done_[0] >= 0) {
    // Until the child has its copy, or is dead: what it copies must stay as it was at the fork.
    close(me.copy_done_[1]);
    char byte = 0;
    while (read(me.copy_done_[0], &byte, 1) < 0 && errno == EINTR) {}
    close(me.copy_done_[0]);
  }
  if (me.holds_fork_) OpenGates();
}

template <typename Config>
void ProcessHeap<Config>::FinishForkInChild() noexcept {
  const KeepErrno keep_errno;
  ThreadState<Config>& me = ThreadStateOf<Config>();
  const bool is_shm = memory_->backend() == Backend::kShm;
  if (is_shm) {
    const int error = me.copy_done_[0] < 0 ? EMFILE : memory_->ReplaceByCopy();
    if (error != 0) {
      StopProgram(
          "A forked child of a program on HSHM_MALLOC_BACKEND=shm needs a copy of the heap, and "
          "there is no memory or descriptor for it: use HSHM_MALLOC_BACKEND=private.");
    }
    close(me.copy_done_[0]);
    close(me.copy_done_[1]);
  }
  allocator_->GoOnAsParent();
  if (me.holds_fork_) {
    OpenGates();
    AdoptHeapsOfOthers(is_shm);
  }
}

/** The parent's other threads are not here: whoever comes next takes their heaps over. Not from a
 * copy that was made while they went on: its lists may be of two moments. */
template <typename Config>
void ProcessHeap<Config>::AdoptHeapsOfOthers(bool is_shm) noexcept {
  const SpinGuard guard(threads_);
  for (uint32_t i = 0; i < heap_end_; ++i) {
    Heap* const heap = users_[i];
    if (heap == nullptr || heap == ThreadStateOf<Config>().own_) continue;
    users_[i] = nullptr;
    if (is_shm) continue;
    heap->SettleAll();  // its thread may have been cut in the middle of TryRefill
    allocator_->ReleaseHeap(heap);
  }
}

template class ProcessHeap<FastPages>;
template class ProcessHeap<CheckedPages>;

}  // namespace hshm::malloc_library
