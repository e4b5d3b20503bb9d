/** What a stopped holder of a lock costs those who allocate and free. */
#include <fcntl.h>
#include <sys/resource.h>

#include <csignal>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "allocator/stopped_holder.h"
#include "backend/error_code.h"
#include "hermes_shm/memory/allocator/buddy_allocator.h"
#include "hermes_shm/memory/allocator/scalable_page_allocator.h"
#include "hermes_shm/memory/allocator/stack_allocator.h"
#include "hermes_shm/platform/byte_lock.h"
#include "hermes_shm/platform/futex.h"
#include "support/catch.h"

namespace hshm::ipc::test {
namespace {

using hshm::test::ChildProcess;

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

TEST_CASE("A heap whose lock has a stopped holder keeps its idle runs, and waits once in a call") {
  Heap<HeapOfStopped> heap;
  HeapOfStopped& alloc = *heap.alloc_;
  std::vector<Offset> runs;
  const auto allocate = [&] {
    const Offset run = alloc.AllocateOffset(HSHM_DEFAULT_MEM_CTX, 100'000).load();
    if (run != 0) runs.push_back(run);
    return run != 0;
  };
  for (int i = 0; i < 90; ++i) REQUIRE(allocate());
  const std::set<Offset> idle(runs.end() - 30, runs.end());  // as many as half of those in use
  runs.clear();
  for (const Offset run : idle) alloc.FreeOffset(HSHM_DEFAULT_MEM_CTX, OffsetPtr<>(run));
  ChildProcess holder = StoppedHolder<HeapOfStopped>(
      heap.segment_.url(), [](PosixShmMmap& backend) { return HeapLockOf(0, backend); });
  {
    const FastClock fast;
    while (allocate()) {  // what a class slot lists
    }
    const auto waited_in = [](auto call) {
      const uint64_t start_us = MonotonicUs();
      call();
      return MonotonicUs() - start_us;
    };
    bool has_got_one = true;
    REQUIRE(waited_in([&] { has_got_one = allocate(); }) < 20'000'000);
    REQUIRE_FALSE(has_got_one);
    REQUIRE(waited_in([&] { alloc.Trim(); }) < 20'000'000);
  }
  REQUIRE(Continue(&holder) == 0);
  while (runs.size() < idle.size()) REQUIRE(allocate());
  REQUIRE(std::set<Offset>(runs.begin(), runs.end()) == idle);
  REQUIRE(alloc.Check());
}

/** Blocks of many classes, three pages of each, are freed but for what class slots list: of two
 * pages of a class the last block. */
void ListLastBlocks(HeapOfStopped* alloc) {
  using multi_process::ClassBytes;
  using Config = multi_process::LargePages;
  const uint32_t end = multi_process::ClassOf(Config::kMaxNarrowBytes) + 1;
  for (uint32_t size_class = multi_process::ClassOf(1100); size_class < end; ++size_class) {
    const uint64_t bytes = ClassBytes(size_class);
    std::map<uint64_t, std::vector<Offset>> by_page;
    for (uint64_t i = 0; i < 3 * (Config::kPageBytes / bytes); ++i) {
      const Offset block = alloc->AllocateOffset(HSHM_DEFAULT_MEM_CTX, bytes).load();
      by_page[block / Config::kPageBytes].push_back(block);
    }
    for (size_t round = 0; round < 2; ++round) {
      for (auto& [page, blocks] : by_page) {
        while (!blocks.empty()) {
          alloc->FreeOffset(HSHM_DEFAULT_MEM_CTX, OffsetPtr<>(blocks.back()));
          blocks.pop_back();
          if (round == 0) break;
        }
      }
    }
  }
}

TEST_CASE("A thread that ends while its heap's lock has a stopped holder waits once") {
  Heap<HeapOfStopped> heap;
  ListLastBlocks(heap.alloc_);
  ChildProcess holder = StoppedHolder<HeapOfStopped>(
      heap.segment_.url(), [](PosixShmMmap& backend) { return HeapLockOf(0, backend); });
  {
    const FastClock fast;
    const uint64_t start_us = MonotonicUs();
    heap.alloc_->FreeTls(MemContext());
    const uint64_t waited_us = MonotonicUs() - start_us;
    REQUIRE(waited_us >= 30'000'000);
    REQUIRE(waited_us < 45'000'000);
  }
  REQUIRE(Continue(&holder) == 0);
  REQUIRE_FALSE(heap.alloc_->Allocate<char>(HSHM_DEFAULT_MEM_CTX, 5000).IsNull());
  REQUIRE(heap.alloc_->Check());
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

TEST_CASE("A name that a stopped process is replacing is refused, and to be had once it has gone") {
  TestSegment segment;
  PosixShmMmap().shm_init(MemoryBackendId(9), 1_MiB, segment.url());
  ChildProcess replacer([&] {
    const int file = open(segment.path().c_str(), O_RDWR | O_CLOEXEC);
    HeldByte presence;
    if (presence.Hold(file, PosixShmMmap::kPresenceByte) != 0) return 1;
    raise(SIGSTOP);
    return 0;
  });
  replacer.AwaitStop();
  const auto create = [&] {
    return ThrownBy([&] { PosixShmMmap().shm_init(MemoryBackendId(8), 1_MiB, segment.url()); });
  };
  {
    const FastClock fast;
    const Thrown thrown = create();
    REQUIRE(thrown.code_ == ErrorCode::kAlreadyExists);
    REQUIRE(thrown.Says("has been replacing " + segment.path() + " for 5 seconds"));
    const Thrown late = ThrownBy([&] { PosixShmMmap().shm_attach(segment.url()); });
    REQUIRE(late.code_ == ErrorCode::kNotReady);
  }
  REQUIRE(Continue(&replacer) == 0);
  REQUIRE(create().code_ == ErrorCode::kNone);
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
