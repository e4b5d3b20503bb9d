#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <csignal>
#include <ctime>
#include <string>
#include <vector>

#include "backend/error_code.h"
#include "backend/test_segment.h"
#include "hermes_shm/base/units.h"
#include "hermes_shm/memory/allocator/buddy_allocator.h"
#include "hermes_shm/memory/allocator/multi_process_allocator.h"
#include "hermes_shm/memory/allocator/scalable_page_allocator.h"
#include "hermes_shm/memory/allocator/stack_allocator.h"
#include "hermes_shm/memory/backend/posix_shm_mmap.h"
#include "hermes_shm/platform/futex.h"
#include "support/catch.h"
#include "support/child_process.h"

/**
 * Locks whose holders are stopped, not dead: they are never robbed, so whoever waits gives up after
 * 10 or 30 seconds. The library finds this clock before the system's; it goes a hundred times as
 * fast while one of these tests waits.
 */
namespace {

uint64_t clock_factor = 1;

struct FastClock {
  FastClock() { clock_factor = 100; }
  ~FastClock() { clock_factor = 1; }
};

}  // namespace

extern "C" __attribute__((visibility("default"))) int clock_gettime(clockid_t clock,
                                                                    timespec* now) noexcept {
  constexpr uint64_t kSecond = 1'000'000'000;
  const auto result = static_cast<int>(syscall(SYS_clock_gettime, clock, now));
  if (result != 0 || clock != CLOCK_MONOTONIC || clock_factor == 1) return result;
  const uint64_t fast =
      (static_cast<uint64_t>(now->tv_sec) * kSecond + static_cast<uint64_t>(now->tv_nsec)) *
      clock_factor;
  now->tv_sec = static_cast<time_t>(fast / kSecond);
  now->tv_nsec = static_cast<long>(fast % kSecond);
  return result;
}

namespace hshm::ipc::test {
namespace {

using hshm::test::ChildProcess;

AllocatorHeader* HeaderOf(const MemoryBackend& backend) {
  const Region region = backend.region();
  return region.At<AllocatorHeader>(AllocatorOffsetFor(region.size_bytes_));
}

/** The allocator's own header, behind the common one. */
template <typename Header>
Header* CoreOf(const MemoryBackend& backend) {
  return backend.region().At<Header>(HeaderOf(backend)->core_offset_);
}

constexpr size_t kLeftBlocks = 200;

/** Blocks of several pages, and another one that says where they are. */
template <typename AllocT>
void LeaveBlocks(AllocT* alloc, const char* name) {
  const auto list = alloc->template AllocateObjs<Offset>(HSHM_DEFAULT_MEM_CTX, kLeftBlocks);
  for (size_t i = 0; i < kLeftBlocks; ++i) {
    list.ptr_[i] = alloc->AllocateOffset(HSHM_DEFAULT_MEM_CTX, 3000).load();
  }
  alloc->SetRoot(name, list);
}

/** A process that joins, leaves blocks under a name if one is given, takes the lock that
 * `lock_of(backend)` finds, and stops. */
template <typename AllocT, typename LockOf>
ChildProcess StoppedHolder(const std::string& url, LockOf lock_of, const char* left = nullptr) {
  ChildProcess child([&] {
    PosixShmMmap backend;
    backend.shm_attach(url);
    auto* alloc = backend.AttachAlloc<AllocT>();
    const LockIdentity me = alloc->GetMembership().identity();
    if (left != nullptr) LeaveBlocks(alloc, left);
    Mutex& lock = *lock_of(backend);
    if (lock.Lock(me, 1'000'000) != LockResult::kLocked) return 1;
    raise(SIGSTOP);
    lock.Unlock(me);
    return 0;
  });
  child.AwaitStop();
  return child;
}

int Continue(ChildProcess* child) {
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

TEST_CASE("Joining a heap whose root a stopped process holds is HolderStopped, and names it") {
  Heap<MultiProcessAllocator> heap;
  ChildProcess holder = StoppedHolder<MultiProcessAllocator>(
      heap.segment_.url(),
      [](PosixShmMmap& backend) { return &CoreOf<multi_process::RootHeader>(backend)->lock_; });
  PosixShmMmap follower;
  follower.shm_attach(heap.segment_.url());
  {
    const FastClock fast;
    const uint64_t start_us = MonotonicUs();
    const Thrown thrown = ThrownBy([&] { follower.AttachAlloc<MultiProcessAllocator>(); });
    REQUIRE(thrown.code_ == ErrorCode::kHolderStopped);
    REQUIRE(thrown.Says("pid " + std::to_string(holder.pid())));
    REQUIRE_FALSE(heap.alloc_->GetStats().is_complete_);
    REQUIRE(heap.alloc_->Allocate<char>(HSHM_DEFAULT_MEM_CTX, 12_MiB).IsNull());
    REQUIRE_FALSE(heap.alloc_->Check());
    // The handle has waited once in full, the others of its waits were short.
    const uint64_t waited_us = MonotonicUs() - start_us;
    REQUIRE(waited_us >= 60'000'000);
    REQUIRE(waited_us < 90'000'000);
  }
  REQUIRE(Continue(&holder) == 0);
  REQUIRE_FALSE(follower.AttachAlloc<MultiProcessAllocator>()
                    ->Allocate<char>(HSHM_DEFAULT_MEM_CTX, 64)
                    .IsNull());
  const AllocatorStats stats = heap.alloc_->GetStats();
  REQUIRE(stats.is_complete_);
  REQUIRE(stats.ranks_.size() == 2);  // what was refused has left nothing
  REQUIRE(heap.alloc_->Check());
}

using HeapOfStopped = BasicMultiProcessAllocator<multi_process::LargePages>;

/** The lock of the heap of the process that joined second. */
Mutex* HeapLock(const PosixShmMmap& backend) {
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
      if (id != 0 && multi_process::SlotOf(id) == 1) found = &records[i].lock_;
    }
  });
  return found;
}

/** Frees what the stopped one has left, and allocates and frees of its own: nobody is asked. */
void WorkBeside(HeapOfStopped* alloc) {
  const uint64_t start_us = MonotonicUs();
  const auto theirs = alloc->FindRoot<Offset>("theirs");
  for (size_t i = 0; i < kLeftBlocks; ++i) {
    alloc->FreeOffset(HSHM_DEFAULT_MEM_CTX, OffsetPtr<>(theirs.ptr_[i]));
  }
  alloc->Free(HSHM_DEFAULT_MEM_CTX, theirs);
  for (int round = 0; round < 3; ++round) {
    std::vector<FullPtr<char>> blocks;
    for (int i = 0; i < 2000; ++i) {
      blocks.push_back(alloc->Allocate<char>(HSHM_DEFAULT_MEM_CTX, i % 7 * 50));
      REQUIRE_FALSE(blocks.back().IsNull());
    }
    for (const auto& block : blocks) alloc->Free(HSHM_DEFAULT_MEM_CTX, block);
  }
  REQUIRE(MonotonicUs() - start_us < 2'000'000);
}

TEST_CASE("A rank whose peer is stopped with the root's lock goes on with what it has, at once") {
  Heap<HeapOfStopped> heap;
  // What the rounds below need: its process has the unit, and its thread the pages.
  const auto first = heap.alloc_->Allocate<char>(HSHM_DEFAULT_MEM_CTX, 900'000);
  heap.alloc_->Free(HSHM_DEFAULT_MEM_CTX, first);
  ChildProcess holder = StoppedHolder<HeapOfStopped>(
      heap.segment_.url(),
      [](PosixShmMmap& backend) { return &CoreOf<multi_process::RootHeader>(backend)->lock_; },
      "theirs");
  WorkBeside(heap.alloc_);
  REQUIRE(Continue(&holder) == 0);
  REQUIRE(heap.alloc_->Check());
}

TEST_CASE("A rank whose peer is stopped inside of its heap waits for nothing, not even for null") {
  Heap<HeapOfStopped> heap;
  ChildProcess holder = StoppedHolder<HeapOfStopped>(heap.segment_.url(), HeapLock, "theirs");
  WorkBeside(heap.alloc_);
  const uint64_t start_us = MonotonicUs();
  const auto fill = [&] {
    std::vector<FullPtr<char>> blocks;
    do {
      blocks.push_back(heap.alloc_->Allocate<char>(HSHM_DEFAULT_MEM_CTX, 60'000));
    } while (!blocks.back().IsNull());
    blocks.pop_back();
    for (const auto& block : blocks) heap.alloc_->Free(HSHM_DEFAULT_MEM_CTX, block);
    return blocks.size();
  };
  const size_t beside = fill();
  REQUIRE(beside > 0);
  REQUIRE(MonotonicUs() - start_us < 2'000'000);
  REQUIRE(Continue(&holder) == 0);
  REQUIRE(fill() > beside);  // and what the other kept
  REQUIRE(heap.alloc_->Check());
}

/** A process that has a block of 100,000 bytes under the name "theirs", and dies. */
void LeaveDead(const std::string& url, OnDeath on_death) {
  ChildProcess child([&] {
    PosixShmMmap backend;
    backend.shm_attach(url);
    MultiProcessOptions options;
    options.on_death_ = on_death;
    auto* alloc = backend.AttachAlloc<HeapOfStopped>(options);
    alloc->SetRoot("theirs", alloc->Allocate<char>(HSHM_DEFAULT_MEM_CTX, 100'000));
    raise(SIGKILL);
    return 0;
  });
  REQUIRE(child.Wait() == -SIGKILL);
}

/** A process that joins and stops; it goes on to take the root's lock, and stops again. Who joins
 * finds those that died before, so a test that leaves somebody dead has this one join first. */
ChildProcess JoinedHolder(const std::string& url) {
  ChildProcess child([&] {
    PosixShmMmap backend;
    backend.shm_attach(url);
    const LockIdentity me = backend.AttachAlloc<HeapOfStopped>()->GetMembership().identity();
    raise(SIGSTOP);
    Mutex& lock = CoreOf<multi_process::RootHeader>(backend)->lock_;
    if (lock.Lock(me, 1'000'000) != LockResult::kLocked) return 1;
    raise(SIGSTOP);
    lock.Unlock(me);
    return 0;
  });
  child.AwaitStop();
  return child;
}

TEST_CASE("Recovery that a stopped holder of the root keeps waiting is a no, and is made up for") {
  Heap<HeapOfStopped> heap;
  HeapOfStopped& alloc = *heap.alloc_;
  PosixShmMmap other;
  other.shm_attach(heap.segment_.url());
  auto* leaving = other.AttachAlloc<HeapOfStopped>();
  const OffsetPtr<> kept = leaving->AllocateOffset(HSHM_DEFAULT_MEM_CTX, 200'000);
  ChildProcess holder = JoinedHolder(heap.segment_.url());
  LeaveDead(heap.segment_.url(), OnDeath::kKeepLive);
  const uint32_t dead = leaving->GetMembership().slot() + 2;
  const uint32_t generation = alloc.GetMembership().entry(dead)->generation_.load();
  const size_t held = alloc.GetCurrentlyAllocatedSize();
  holder.Signal(SIGCONT);
  holder.AwaitStop();
  {
    const FastClock fast;
    REQUIRE(alloc.Recover() == 0);
    REQUIRE_FALSE(alloc.Reclaim(dead, generation));
    REQUIRE(alloc.GetCurrentlyAllocatedSize() == 0);
    leaving->shm_detach();  // nothing of its can be deleted now: it is as after a death
  }
  REQUIRE(Continue(&holder) == 0);
  REQUIRE(alloc.GetCurrentlyAllocatedSize() >= held);
  alloc.Recover();
  alloc.FreeOffset(HSHM_DEFAULT_MEM_CTX, kept);
  alloc.Free(HSHM_DEFAULT_MEM_CTX, alloc.FindRoot<char>("theirs"));
  REQUIRE(alloc.Check());
}

TEST_CASE("A forked child that a stopped holder kept from joining takes no dead one's blocks") {
  Heap<HeapOfStopped> heap;
  HeapOfStopped& alloc = *heap.alloc_;
  ChildProcess holder = JoinedHolder(heap.segment_.url());
  LeaveDead(heap.segment_.url(), OnDeath::kKeepLive);
  const uint32_t dead = alloc.GetMembership().slot() + 2;
  holder.Signal(SIGCONT);
  holder.AwaitStop();
  ChildProcess child([&] {
    {
      const FastClock fast;
      if (!alloc.Allocate<char>(HSHM_DEFAULT_MEM_CTX, 64).IsNull()) return 1;
    }
    raise(SIGSTOP);
    if (alloc.Allocate<char>(HSHM_DEFAULT_MEM_CTX, 64).IsNull()) return 2;
    if (alloc.GetMembership().slot() != dead) return 3;
    alloc.shm_detach(DetachMode::kDelete);  // its own blocks
    return 0;
  });
  child.AwaitStop();
  REQUIRE(Continue(&holder) == 0);
  REQUIRE(Continue(&child) == 0);
  const auto theirs = alloc.FindRoot<char>("theirs");
  REQUIRE_FALSE(theirs.IsNull());
  REQUIRE(alloc.GetCurrentlyAllocatedSize() >= 100'000);
  alloc.Recover();  // what the child had adopted is as after a death
  alloc.Free(HSHM_DEFAULT_MEM_CTX, theirs);
  REQUIRE(alloc.GetCurrentlyAllocatedSize() == 0);
  REQUIRE(alloc.Check());
}

TEST_CASE("What a heap with a stopped holder may still name is adopted, not deleted") {
  Heap<HeapOfStopped> heap;
  HeapOfStopped& alloc = *heap.alloc_;
  ChildProcess holder = StoppedHolder<HeapOfStopped>(heap.segment_.url(), HeapLock, "held");
  const bool by_death = GENERATE(true, false);
  const FastClock fast;
  if (by_death) {
    LeaveDead(heap.segment_.url(), OnDeath::kReclaim);
    REQUIRE(alloc.Recover() == 1);
  } else {
    PosixShmMmap other;
    other.shm_attach(heap.segment_.url());
    auto* leaving = other.AttachAlloc<HeapOfStopped>();
    leaving->SetRoot("theirs", leaving->Allocate<char>(HSHM_DEFAULT_MEM_CTX, 100'000));
    leaving->shm_detach();
    alloc.Recover();
  }
  const auto theirs = alloc.FindRoot<char>("theirs");
  REQUIRE(alloc.GetCurrentlyAllocatedSize() >= 100'000);
  alloc.Free(HSHM_DEFAULT_MEM_CTX, theirs);  // a live block still
  REQUIRE(Continue(&holder) == 0);
  REQUIRE(alloc.Check());
}

TEST_CASE("A region in which a stopped process makes an allocator is HolderStopped for others") {
  TestSegment segment;
  PosixShmMmap backend;
  backend.shm_init(MemoryBackendId(9), 1_MiB, segment.url());
  ChildProcess maker([&] {
    PosixShmMmap mine;
    mine.shm_attach(segment.url());
    Membership me(mine.region());
    static_cast<void>(HeaderOf(mine)->roots_lock_.Lock(me.identity(), 0));
    raise(SIGSTOP);
    return 0;
  });
  maker.AwaitStop();
  {
    const FastClock fast;
    const Thrown thrown = ThrownBy([&] { backend.MakeAlloc<StackAllocator>(AllocatorId(1, 0)); });
    REQUIRE(thrown.code_ == ErrorCode::kHolderStopped);
    REQUIRE(thrown.Says("pid " + std::to_string(maker.pid())));
  }
  maker.Kill();
  REQUIRE(backend.MakeAlloc<StackAllocator>(AllocatorId(1, 0))->GetMembership().slot() == 0);
}

TEST_CASE("SetRoot is false when the roots' lock has a stopped holder, and works afterwards") {
  Heap<StackAllocator> heap;
  const auto block = heap.alloc_->Allocate<char>(HSHM_DEFAULT_MEM_CTX, 64);
  ChildProcess holder = StoppedHolder<StackAllocator>(
      heap.segment_.url(), [](PosixShmMmap& backend) { return &HeaderOf(backend)->roots_lock_; });
  {
    const FastClock fast;
    REQUIRE_FALSE(heap.alloc_->SetRoot("a", block));
    REQUIRE(heap.alloc_->FindRoot<char>("a").IsNull());
  }
  REQUIRE(Continue(&holder) == 0);
  REQUIRE(heap.alloc_->SetRoot("a", block));
}

TEST_CASE("A stopped holder of a BuddyAllocator's lock leaves null, and blocks where they are") {
  Heap<BuddyAllocator> heap;
  BuddyAllocator& alloc = *heap.alloc_;
  const auto block = alloc.Allocate<char>(HSHM_DEFAULT_MEM_CTX, 64);
  ChildProcess holder = StoppedHolder<BuddyAllocator>(
      heap.segment_.url(),
      [](PosixShmMmap& backend) { return &CoreOf<BuddyHeader>(backend)->lock_; });
  const FastClock fast;
  const uint64_t start_us = MonotonicUs();
  REQUIRE(alloc.Allocate<char>(HSHM_DEFAULT_MEM_CTX, 64).IsNull());
  REQUIRE(alloc.Reallocate(HSHM_DEFAULT_MEM_CTX, block, 4096).IsNull());
  alloc.Free(HSHM_DEFAULT_MEM_CTX, block);
  REQUIRE_FALSE(alloc.GetStats().is_complete_);
  REQUIRE_FALSE(alloc.Check());
  REQUIRE(MonotonicUs() - start_us < 60'000'000);
  REQUIRE(Continue(&holder) == 0);
  REQUIRE(alloc.GetStats().live_blocks_ == 1);
  alloc.Free(HSHM_DEFAULT_MEM_CTX, block);
  REQUIRE(alloc.GetStats().live_blocks_ == 0);
  REQUIRE(alloc.Check());
}

TEST_CASE("A block that a forked child without a process slot frees in a BuddyAllocator stays") {
  Heap<BuddyAllocator> heap;
  const auto block = heap.alloc_->Allocate<char>(HSHM_DEFAULT_MEM_CTX, 64);
  ChildProcess child([&] {
    const rlimit none = {0, 0};  // no descriptor, no slot
    setrlimit(RLIMIT_NOFILE, &none);
    heap.alloc_->Free(HSHM_DEFAULT_MEM_CTX, block);
    return heap.alloc_->Allocate<char>(HSHM_DEFAULT_MEM_CTX, 64).IsNull() ? 0 : 1;
  });
  REQUIRE(child.Wait() == 0);
  REQUIRE(heap.alloc_->GetStats().live_blocks_ == 1);
  REQUIRE(heap.alloc_->Check());
}

TEST_CASE("A stopped holder of a ScalablePageAllocator's lock costs its class, and no more") {
  using scalable_page::ScalableHeader;
  using Header = ScalableHeader<multi_process::LargePages>;
  Heap<ScalablePageAllocator> heap;
  ScalablePageAllocator& alloc = *heap.alloc_;
  const auto small = alloc.Allocate<char>(HSHM_DEFAULT_MEM_CTX, 16);
  const size_t live = alloc.GetCurrentlyAllocatedSize();
  ChildProcess of_class = StoppedHolder<ScalablePageAllocator>(
      heap.segment_.url(),
      [](PosixShmMmap& backend) { return &CoreOf<Header>(backend)->classes_[0].lock_; });
  const FastClock fast;
  const uint64_t start_us = MonotonicUs();
  REQUIRE(alloc.Allocate<char>(HSHM_DEFAULT_MEM_CTX, 16).IsNull());
  REQUIRE(MonotonicUs() - start_us >= 30'000'000);
  REQUIRE(MonotonicUs() - start_us < 45'000'000);
  alloc.Free(HSHM_DEFAULT_MEM_CTX, small);  // stays: nobody can be told
  REQUIRE(alloc.GetCurrentlyAllocatedSize() == live);
  const auto other = alloc.Allocate<char>(HSHM_DEFAULT_MEM_CTX, 5000);
  REQUIRE_FALSE(other.IsNull());
  alloc.Free(HSHM_DEFAULT_MEM_CTX, other);
  REQUIRE(alloc.GetStats().is_complete_);
  REQUIRE(Continue(&of_class) == 0);
  alloc.Free(HSHM_DEFAULT_MEM_CTX, small);
  ChildProcess of_pages = StoppedHolder<ScalablePageAllocator>(
      heap.segment_.url(),
      [](PosixShmMmap& backend) { return &CoreOf<Header>(backend)->pages_lock_; });
  REQUIRE_FALSE(alloc.GetStats().is_complete_);
  REQUIRE(alloc.Allocate<char>(HSHM_DEFAULT_MEM_CTX, 1_MiB).IsNull());
  REQUIRE(Continue(&of_pages) == 0);
  REQUIRE(alloc.GetStats().is_complete_);
  REQUIRE(alloc.GetStats().live_bytes_ == 0);
  REQUIRE(alloc.Check());
}

}  // namespace
}  // namespace hshm::ipc::test
