/** Large blocks that go while the root's lock has a stopped holder. */
#include <sys/resource.h>

#include <csignal>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "allocator/stopped_holder.h"
#include "hermes_shm/memory/backend/malloc_backend.h"
#include "support/catch.h"
#include "support/passed_services.h"

namespace hshm::ipc::test {
namespace {

using hshm::test::ChildProcess;
using hshm::test::Ending;
using hshm::test::PassedServices;
using hshm::test::RunInChild;

/** So that a block of more than 1 MiB is a large one. */
MultiProcessOptions SmallUnits() {
  MultiProcessOptions options;
  options.process_unit_bytes_ = 1_MiB;
  return options;
}

Mutex* RootLock(const PosixShmMmap& backend) {
  return &CoreOf<multi_process::RootHeader>(backend)->lock_;
}

TEST_CASE("A large block that is freed beside a stopped holder of the root is the next one's") {
  Heap<HeapOfStopped> heap;
  PosixShmMmap mine;
  mine.shm_attach(heap.segment_.url());
  auto* alloc = mine.AttachAlloc<HeapOfStopped>(SmallUnits());
  const OffsetPtr<> block = alloc->AllocateOffset(HSHM_DEFAULT_MEM_CTX, 9_MiB);
  REQUIRE_FALSE(block.IsNull());
  ChildProcess holder = StoppedHolder<HeapOfStopped>(heap.segment_.url(), RootLock);
  const bool is_killed = GENERATE(false, true);
  {
    const FastClock fast;
    alloc->FreeOffset(HSHM_DEFAULT_MEM_CTX, block);
    const Ending ending = RunInChild([&] { alloc->FreeOffset(HSHM_DEFAULT_MEM_CTX, block); });
    CHECK(ending.status_ == -SIGABRT);
    CHECK(ending.errors_.find("DoubleFree") != std::string::npos);
  }
  if (is_killed) {
    holder.Kill();
  } else {
    REQUIRE(Continue(&holder) == 0);
  }
  const OffsetPtr<> next = alloc->AllocateOffset(HSHM_DEFAULT_MEM_CTX, 9_MiB);
  REQUIRE_FALSE(next.IsNull());
  REQUIRE(alloc->GetStats().live_blocks_ == 1);
  alloc->FreeOffset(HSHM_DEFAULT_MEM_CTX, next);
  REQUIRE(alloc->GetCurrentlyAllocatedSize() == 0);
  REQUIRE(alloc->Check());
}

TEST_CASE("Beside a stopped holder of the root no large block is had, and none grows") {
  Heap<HeapOfStopped> heap;
  PosixShmMmap mine;
  mine.shm_attach(heap.segment_.url());
  auto* alloc = mine.AttachAlloc<HeapOfStopped>(SmallUnits());
  const OffsetPtr<> block = alloc->AllocateOffset(HSHM_DEFAULT_MEM_CTX, 3_MiB);
  const uint64_t usable = alloc->GetUsableSize(block);
  ChildProcess holder = StoppedHolder<HeapOfStopped>(heap.segment_.url(), RootLock);
  {
    const FastClock fast;
    REQUIRE(alloc->AllocateOffset(HSHM_DEFAULT_MEM_CTX, 3_MiB).IsNull());
    REQUIRE_FALSE(alloc->ResizeInPlace(HSHM_DEFAULT_MEM_CTX, block, 5_MiB));
    REQUIRE(alloc->GetUsableSize(block) == usable);
  }
  REQUIRE(Continue(&holder) == 0);
  const OffsetPtr<> next = alloc->AllocateOffset(HSHM_DEFAULT_MEM_CTX, 5_MiB);
  REQUIRE_FALSE(next.IsNull());
  REQUIRE(alloc->ResizeInPlace(HSHM_DEFAULT_MEM_CTX, next, 3_MiB));
  REQUIRE(alloc->ResizeInPlace(HSHM_DEFAULT_MEM_CTX, next, 5_MiB));
  REQUIRE(alloc->Check());
}

TEST_CASE("Units that are empty stay beside a stopped holder of the root, and go back later") {
  Heap<HeapOfStopped> heap;
  PosixShmMmap mine;
  mine.shm_attach(heap.segment_.url());
  auto* alloc = mine.AttachAlloc<HeapOfStopped>(SmallUnits());
  std::vector<OffsetPtr<>> runs;  // of more pages than a heap keeps idle
  for (int i = 0; i < 12; ++i) runs.push_back(alloc->AllocateOffset(HSHM_DEFAULT_MEM_CTX, 512_KiB));
  for (const OffsetPtr<> run : runs) REQUIRE_FALSE(run.IsNull());
  ChildProcess holder = StoppedHolder<HeapOfStopped>(heap.segment_.url(), RootLock);
  {
    const FastClock fast;
    for (const OffsetPtr<> run : runs) alloc->FreeOffset(HSHM_DEFAULT_MEM_CTX, run);
    alloc->Trim();
    REQUIRE_FALSE(alloc->AllocateOffset(HSHM_DEFAULT_MEM_CTX, 512_KiB).IsNull());  // of its own
  }
  REQUIRE(Continue(&holder) == 0);
  REQUIRE(alloc->Check());
  alloc->Trim();
  // 12 MiB of the 16 in one piece: what was its units' is the root's.
  REQUIRE_FALSE(heap.alloc_->AllocateOffset(HSHM_DEFAULT_MEM_CTX, 10_MiB).IsNull());
  REQUIRE(alloc->Check());
}

TEST_CASE("A large block that a forked child without a process slot frees is gone") {
  Heap<HeapOfStopped> heap;
  PosixShmMmap mine;
  mine.shm_attach(heap.segment_.url());
  auto* alloc = mine.AttachAlloc<HeapOfStopped>(SmallUnits());
  const uint64_t free_bytes = alloc->GetStats().free_bytes_;
  const OffsetPtr<> block = alloc->AllocateOffset(HSHM_DEFAULT_MEM_CTX, 3_MiB);
  ChildProcess child([&] {
    const rlimit none = {0, 0};  // no descriptor, no slot
    setrlimit(RLIMIT_NOFILE, &none);
    alloc->FreeOffset(HSHM_DEFAULT_MEM_CTX, block);
    return 0;
  });
  REQUIRE(child.Wait() == 0);
  REQUIRE(alloc->GetCurrentlyAllocatedSize() == 0);
  REQUIRE(alloc->GetStats().free_bytes_ == free_bytes);  // who asks has had the root's lock
  REQUIRE(alloc->Check());
}

/** The services of a region, that call somebody within a Commit of bytes from an offset on. */
class Interceptor : public PassedServices {
 public:
  using PassedServices::PassedServices;
  void CallAt(Offset offset, std::function<void()> call) {
    offset_ = offset;
    call_ = std::move(call);
  }

  bool Commit(Offset offset, uint64_t size_bytes) noexcept override {
    if (call_ != nullptr && offset >= offset_) std::exchange(call_, nullptr)();
    return PassedServices::Commit(offset, size_bytes);
  }

 private:
  Offset offset_ = 0;
  std::function<void()> call_;
};

/** A heap with two handles and a large block that has room to grow. */
struct GrowingBlock {
  GrowingBlock() {
    backend_.shm_init(MemoryBackendId(1), 32_MiB);
    Region region = backend_.region();
    services_.emplace(region.services_);
    region.services_ = &*services_;
    alloc_.shm_init(AllocatorId(1, 0), 0, region, SmallUnits());
    other_.shm_attach(region, SmallUnits());
    block_ = alloc_.AllocateOffset(HSHM_DEFAULT_MEM_CTX, 3_MiB);
  }
  /** Once, while the block's new end gets its memory. */
  void CallWithin(std::function<void()> call) {
    services_->CallAt(block_.load() + alloc_.GetUsableSize(block_), std::move(call));
  }
  bool Grow() { return alloc_.ResizeInPlace(HSHM_DEFAULT_MEM_CTX, block_, 9_MiB); }

  MallocBackend backend_;
  std::optional<Interceptor> services_;
  HeapOfStopped alloc_;
  HeapOfStopped other_;
  OffsetPtr<> block_;
};

TEST_CASE("A large block that is freed while its end gets memory stops who makes it longer") {
  const Ending ending = RunInChild([] {
    GrowingBlock heap;
    heap.CallWithin([&] { heap.other_.FreeOffset(HSHM_DEFAULT_MEM_CTX, heap.block_); });
    heap.Grow();
  });
  CAPTURE(ending.errors_);
  CHECK(ending.status_ == -SIGABRT);
  CHECK(ending.errors_.find("Reallocate") != std::string::npos);
}

TEST_CASE("What a large block was to grow by, when the root's lock was lost, is the next one's") {
  GrowingBlock heap;
  const AllocatorStats before = heap.alloc_.GetStats();
  const LockIdentity holder = heap.other_.GetMembership().identity();
  Mutex& lock = CoreOf<multi_process::RootHeader>(heap.backend_)->lock_;
  heap.CallWithin([&] { static_cast<void>(lock.Lock(holder)); });
  {
    const FastClock fast;
    REQUIRE_FALSE(heap.Grow());
  }
  lock.Unlock(holder);
  const AllocatorStats after = heap.other_.GetStats();
  REQUIRE(after.free_bytes_ == before.free_bytes_);
  REQUIRE(after.live_bytes_ == before.live_bytes_);
  REQUIRE(after.committed_bytes_ == before.committed_bytes_);
  REQUIRE(heap.alloc_.Check());
  REQUIRE(heap.Grow());
}

}  // namespace
}  // namespace hshm::ipc::test
