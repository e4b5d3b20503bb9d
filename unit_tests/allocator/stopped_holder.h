#ifndef HSHM_UNIT_TESTS_ALLOCATOR_STOPPED_HOLDER_H_
#define HSHM_UNIT_TESTS_ALLOCATOR_STOPPED_HOLDER_H_

#include <csignal>
#include <string>

#include "backend/test_segment.h"
#include "hermes_shm/base/units.h"
#include "hermes_shm/memory/allocator/multi_process_allocator.h"
#include "hermes_shm/memory/backend/posix_shm_mmap.h"
#include "support/child_process.h"

/**
 * Locks whose holders are stopped, not dead: they are never robbed, so whoever waits gives up after
 * 10 or 30 seconds. The library finds the clock of these tests before the system's; it goes a
 * hundred times as fast while one of them waits.
 */
namespace hshm::ipc::test {

struct FastClock {
  FastClock();
  ~FastClock();
  FastClock(const FastClock&) = delete;
  FastClock& operator=(const FastClock&) = delete;
};

inline AllocatorHeader* HeaderOf(const MemoryBackend& backend) {
  const Region region = backend.region();
  return region.At<AllocatorHeader>(AllocatorOffsetFor(region.size_bytes_));
}

/** The allocator's own header, behind the common one. */
template <typename Header>
Header* CoreOf(const MemoryBackend& backend) {
  return backend.region().At<Header>(HeaderOf(backend)->core_offset_);
}

inline constexpr size_t kLeftBlocks = 200;

/** Blocks of several pages, and another one that says where they are. */
template <typename AllocT>
void LeaveBlocks(AllocT* alloc, const char* name) {
  const auto list = alloc->template AllocateObjs<Offset>(HSHM_DEFAULT_MEM_CTX, kLeftBlocks);
  for (size_t i = 0; i < kLeftBlocks; ++i) {
    list.ptr_[i] = alloc->AllocateOffset(HSHM_DEFAULT_MEM_CTX, 3000).load();
  }
  alloc->SetRoot(name, list);
}

/** In the child: stops with the lock held. @return its exit status, once it goes on */
inline int StopWith(Mutex* lock, const LockIdentity& me) {
  if (lock->Lock(me, 1'000'000) != LockResult::kLocked) return 1;
  raise(SIGSTOP);
  lock->Unlock(me);
  return 0;
}

/** A process that joins, leaves blocks under a name if one is given, takes the lock that
 * `lock_of(backend)` finds, and stops. */
template <typename AllocT, typename LockOf>
hshm::test::ChildProcess StoppedHolder(const std::string& url, LockOf lock_of,
                                       const char* left = nullptr) {
  hshm::test::ChildProcess child([&] {
    PosixShmMmap backend;
    backend.shm_attach(url);
    auto* alloc = backend.AttachAlloc<AllocT>();
    const LockIdentity me = alloc->GetMembership().identity();
    if (left != nullptr) LeaveBlocks(alloc, left);
    return StopWith(lock_of(backend), me);
  });
  child.AwaitStop();
  return child;
}

inline int Continue(hshm::test::ChildProcess* child) {
  child->Signal(SIGCONT);
  return child->Wait();
}

/** A segment with an allocator in it. */
template <typename AllocT>
struct Heap {
  Heap() {
    backend_.shm_init(MemoryBackendId(9), 16_MiB, segment_.url());
    alloc_ = backend_.MakeAlloc<AllocT>(AllocatorId(1, 0));
  }
  TestSegment segment_;
  PosixShmMmap backend_;
  AllocT* alloc_ = nullptr;
};

using HeapOfStopped = BasicMultiProcessAllocator<multi_process::LargePages>;

/** The lock of the heap of the process in a slot. */
inline Mutex* HeapLockOf(uint32_t slot, const MemoryBackend& backend) {
  using Config = multi_process::LargePages;
  using Record = multi_process::HeapRecord<Config>;
  const Region region = backend.region();
  const multi_process::RootTier<Config> root(region, HeaderOf(backend)->core_offset_, nullptr);
  Mutex* found = nullptr;
  root.ForEachSpan([&](uint32_t page, uint32_t) {
    if (multi_process::KindOf(root.pages().Entry(page)->shape_.Get()) !=
        multi_process::kKindHeaps) {
      return;
    }
    auto* const records = region.At<Record>(uint64_t{page} << Config::kPageShift);
    for (size_t i = 0; i < Config::kPageBytes / sizeof(Record); ++i) {
      const multi_process::HeapId id = records[i].id_.Get();
      if (id != 0 && multi_process::SlotOf(id) == slot) found = &records[i].lock_;
    }
  });
  return found;
}

/** Of the process that joined second. */
inline Mutex* HeapLock(const PosixShmMmap& backend) { return HeapLockOf(1, backend); }

}  // namespace hshm::ipc::test

#endif  // HSHM_UNIT_TESTS_ALLOCATOR_STOPPED_HOLDER_H_
