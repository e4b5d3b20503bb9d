/** Recovery and leaving while a lock's holder is stopped. */
#include <algorithm>
#include <atomic>
#include <csignal>
#include <string>
#include <thread>

#include "allocator/stopped_holder.h"
#include "hermes_shm/platform/futex.h"
#include "support/catch.h"

namespace hshm::ipc::test {
namespace {

using hshm::test::ChildProcess;

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
    return StopWith(&CoreOf<multi_process::RootHeader>(backend)->lock_, me);
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
  REQUIRE_FALSE(leaving->AllocateOffset(HSHM_DEFAULT_MEM_CTX, 200'000).IsNull());
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
    REQUIRE(alloc.GetPlacement().placed_bytes_ == 0);
    leaving->shm_detach();  // nothing of its can be deleted now
  }
  REQUIRE(Continue(&holder) == 0);
  REQUIRE(alloc.GetCurrentlyAllocatedSize() >= held);
  alloc.Recover();
  alloc.Free(HSHM_DEFAULT_MEM_CTX, alloc.FindRoot<char>("theirs"));
  REQUIRE(alloc.GetCurrentlyAllocatedSize() == 0);
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

TEST_CASE("What a heap with a stopped holder may still name is deleted when it goes on") {
  Heap<HeapOfStopped> heap;
  HeapOfStopped& alloc = *heap.alloc_;
  ChildProcess holder = StoppedHolder<HeapOfStopped>(heap.segment_.url(), HeapLock, "held");
  const size_t before = alloc.GetCurrentlyAllocatedSize();
  const bool by_death = GENERATE(true, false);
  const FastClock fast;
  if (by_death) {
    LeaveDead(heap.segment_.url(), OnDeath::kReclaim);
    REQUIRE(alloc.Recover() == 1);
    REQUIRE(alloc.Recover() == 1);
    REQUIRE(alloc.GetStats().deaths_.processes_ == 0);  // it is told of when it is done
  } else {
    PosixShmMmap other;
    other.shm_attach(heap.segment_.url());
    auto* leaving = other.AttachAlloc<HeapOfStopped>();
    leaving->SetRoot("theirs", leaving->Allocate<char>(HSHM_DEFAULT_MEM_CTX, 100'000));
    leaving->shm_detach();
    alloc.Recover();
  }
  REQUIRE(alloc.GetCurrentlyAllocatedSize() >= before + 100'000);
  REQUIRE(alloc.FindRoot<char>("theirs").IsNull());  // nobody finds what is about to go
  REQUIRE(alloc.Check());
  REQUIRE(Continue(&holder) == 0);
  alloc.Recover();
  if (by_death) REQUIRE(alloc.GetStats().deaths_.processes_ == 2);  // and the holder has ended
  REQUIRE(alloc.GetCurrentlyAllocatedSize() == before);
  REQUIRE(alloc.FindRoot<char>("theirs").IsNull());
  REQUIRE(alloc.Check());
}

TEST_CASE(
    "Blocks that were to be deleted and could not be are deleted by who joins in their slot") {
  Heap<HeapOfStopped> heap;
  HeapOfStopped& alloc = *heap.alloc_;
  ChildProcess holder = StoppedHolder<HeapOfStopped>(heap.segment_.url(), HeapLock);
  LeaveDead(heap.segment_.url(), OnDeath::kReclaim);
  REQUIRE(alloc.Recover() == 1);
  REQUIRE(Continue(&holder) == 0);
  PosixShmMmap next;
  next.shm_attach(heap.segment_.url());
  const Membership other(next.region());  // in the slot of who has gone on; sweeps nothing
  REQUIRE(next.AttachAlloc<HeapOfStopped>()->GetMembership().slot() == 2);
  REQUIRE(alloc.GetCurrentlyAllocatedSize() == 0);
  REQUIRE(alloc.Check());
}

TEST_CASE("Who joins in the slot of the dead beside a stopped heap adopts what was to be deleted") {
  Heap<HeapOfStopped> heap;
  HeapOfStopped& alloc = *heap.alloc_;
  ChildProcess holder = StoppedHolder<HeapOfStopped>(heap.segment_.url(), HeapLock);
  const size_t before = alloc.GetCurrentlyAllocatedSize();
  LeaveDead(heap.segment_.url(), OnDeath::kReclaim);
  const OffsetPtr<> theirs = alloc.FindRootOffset("theirs");
  PosixShmMmap next;
  next.shm_attach(heap.segment_.url());
  const uint64_t start_us = MonotonicUs();
  auto* joined = next.AttachAlloc<HeapOfStopped>();
  CHECK(MonotonicUs() - start_us < 2'000'000);
  REQUIRE(joined->GetMembership().slot() == 2);
  REQUIRE(alloc.GetCurrentlyAllocatedSize() >= before + 100'000);
  REQUIRE(alloc.FindRootOffset("theirs").load() == theirs.load());  // it is to be found, and freed
  REQUIRE(Continue(&holder) == 0);
  alloc.Recover();
  REQUIRE(alloc.GetCurrentlyAllocatedSize() >= before + 100'000);  // the joiner's now
  joined->FreeOffset(HSHM_DEFAULT_MEM_CTX, theirs);
  REQUIRE(alloc.GetCurrentlyAllocatedSize() == before);
  REQUIRE(alloc.Check());
}

TEST_CASE("Reclaiming beside a heap with a stopped holder is a no, and a yes when it has gone on") {
  Heap<HeapOfStopped> heap;
  HeapOfStopped& alloc = *heap.alloc_;
  ChildProcess holder = StoppedHolder<HeapOfStopped>(heap.segment_.url(), HeapLock);
  LeaveDead(heap.segment_.url(), OnDeath::kKeepLive);
  const uint32_t dead = alloc.GetMembership().slot() + 2;
  const uint32_t generation = alloc.GetMembership().entry(dead)->generation_.load();
  const size_t before = alloc.GetCurrentlyAllocatedSize();
  REQUIRE(before >= 100'000);
  REQUIRE_FALSE(alloc.Reclaim(dead, generation));
  REQUIRE(alloc.GetCurrentlyAllocatedSize() == before);
  REQUIRE_FALSE(alloc.FindRoot<char>("theirs").IsNull());
  REQUIRE(Continue(&holder) == 0);
  REQUIRE(alloc.Reclaim(dead, generation));
  REQUIRE(alloc.GetCurrentlyAllocatedSize() <= before - 100'000);
  REQUIRE(alloc.FindRoot<char>("theirs").IsNull());
  REQUIRE(alloc.Check());
}

TEST_CASE("Who joins where one is dead, beside a stopped heap, leaves another's to be deleted") {
  Heap<HeapOfStopped> heap;
  HeapOfStopped& alloc = *heap.alloc_;
  const size_t before = alloc.GetCurrentlyAllocatedSize();
  ChildProcess first = JoinedHolder(heap.segment_.url());  // in slot 1
  ChildProcess holder = StoppedHolder<HeapOfStopped>(
      heap.segment_.url(), [](PosixShmMmap& backend) { return HeapLockOf(2, backend); });
  LeaveDead(heap.segment_.url(), OnDeath::kReclaim);
  first.Kill();
  PosixShmMmap next;
  next.shm_attach(heap.segment_.url());
  const uint64_t start_us = MonotonicUs();
  auto* joined = next.AttachAlloc<HeapOfStopped>();
  CHECK(MonotonicUs() - start_us < 2'000'000);
  REQUIRE(joined->GetMembership().slot() == 1);
  REQUIRE(alloc.GetCurrentlyAllocatedSize() >= before + 100'000);
  REQUIRE(Continue(&holder) == 0);
  alloc.Recover();
  REQUIRE(alloc.GetCurrentlyAllocatedSize() == before);
  REQUIRE(alloc.Check());
}

/** A process whose thread wants the root again and again: for blocks larger than its units. */
class Bystander {
 public:
  explicit Bystander(const std::string& url) {
    backend_.shm_attach(url);
    MultiProcessOptions options;
    options.process_unit_bytes_ = 1_MiB;
    alloc_ = backend_.AttachAlloc<HeapOfStopped>(options);
  }
  void Start() {
    thread_ = std::thread([this] {
      while (!is_over_) {
        const uint64_t start_us = MonotonicUs();
        const auto large = alloc_->Allocate<char>(HSHM_DEFAULT_MEM_CTX, 2_MiB);
        if (large.IsNull()) std::abort();
        alloc_->Free(HSHM_DEFAULT_MEM_CTX, large);
        longest_us_ = std::max(longest_us_, MonotonicUs() - start_us);
        ++rounds_;
      }
    });
    while (rounds_ == 0) std::this_thread::yield();
  }
  /** @return how long it took at most */
  uint64_t Stop() {
    is_over_ = true;
    thread_.join();
    return longest_us_;
  }

 private:
  PosixShmMmap backend_;
  HeapOfStopped* alloc_;
  std::thread thread_;
  std::atomic<uint32_t> rounds_{0};
  std::atomic<bool> is_over_{false};
  uint64_t longest_us_ = 0;
};

TEST_CASE("Who deletes blocks beside a heap with a stopped holder is soon done with the root") {
  Heap<HeapOfStopped> heap;
  ChildProcess holder = StoppedHolder<HeapOfStopped>(heap.segment_.url(), HeapLock);
  PosixShmMmap other;
  other.shm_attach(heap.segment_.url());
  auto* deleting = other.AttachAlloc<HeapOfStopped>();
  const auto kept = deleting->AllocateOffset(HSHM_DEFAULT_MEM_CTX, 100'000);
  const bool by_death = GENERATE(true, false);
  Bystander bystander(heap.segment_.url());  // before the death, which it would find
  if (by_death) LeaveDead(heap.segment_.url(), OnDeath::kReclaim);
  bystander.Start();
  const uint64_t start_us = MonotonicUs();
  if (by_death) {
    deleting->Recover();
  } else {
    deleting->shm_detach();
  }
  const uint64_t took_us = MonotonicUs() - start_us;
  const uint64_t longest_us = bystander.Stop();
  CHECK(took_us >= 100'000);  // a thread that has only lost the processor goes on meanwhile
  CHECK(took_us < 2'000'000);
  CHECK(longest_us < 2'000'000);
  const uint64_t again_us = MonotonicUs();
  for (int i = 0; by_death && i < 20; ++i) CHECK(deleting->Recover() == 1);
  CHECK(MonotonicUs() - again_us < 2'000'000);  // it has waited once
  REQUIRE(Continue(&holder) == 0);
  heap.alloc_->Recover();
  const size_t left = by_death ? heap.alloc_->GetUsableSize(kept) : 0;
  REQUIRE(heap.alloc_->GetCurrentlyAllocatedSize() == left);
  REQUIRE(heap.alloc_->Check());
}

}  // namespace
}  // namespace hshm::ipc::test
