/** Each call of a BuddyAllocator without its lock, without a slot, and after a holder's death. */
#include <sys/resource.h>

#include <functional>
#include <vector>

#include "allocator/stopped_holder.h"
#include "hermes_shm/memory/allocator/buddy_allocator.h"
#include "hermes_shm/memory/allocator/scalable_page_allocator.h"
#include "hermes_shm/memory/allocator/stack_allocator.h"
#include "support/catch.h"

namespace hshm::ipc::test {
namespace {

using hshm::test::ChildProcess;

const MemContext kCtx = HSHM_DEFAULT_MEM_CTX;
constexpr size_t kBytes = 640;

/** Each call that takes the lock; true when it did what it is asked for. */
std::vector<std::function<bool()>> CallsOf(BuddyAllocator* alloc, OffsetPtr<> block) {
  return {[=] { return !alloc->AllocateOffset(kCtx, kBytes).IsNull(); },
          [=] { return !alloc->ReallocateOffset(kCtx, block, kBytes).IsNull(); },
          [=] { return alloc->ResizeInPlace(kCtx, block, kBytes); },
          [=] { return alloc->GetUsableSize(block) == kBytes; },
          [=] { return alloc->GetCurrentlyAllocatedSize() != 0; },
          [=] { return alloc->GetStats().is_complete_; },
          [=] { return alloc->Check(); }};
}

struct SharedBuddy : Heap<BuddyAllocator> {
  SharedBuddy() { block_ = alloc_->AllocateOffset(kCtx, kBytes); }
  Mutex* lock() { return &CoreOf<BuddyHeader>(backend_)->lock_; }
  OffsetPtr<> block_;
};

TEST_CASE("Each call of a BuddyAllocator whose lock is not let go says no, and works afterwards") {
  SharedBuddy heap;
  const auto calls = CallsOf(heap.alloc_, heap.block_);
  Membership other(heap.backend_.region());
  REQUIRE(heap.lock()->Lock(other.identity(), 0) == LockResult::kLocked);
  {
    const FastClock fast;
    for (size_t i = 0; i < calls.size(); ++i) {
      CAPTURE(i);
      REQUIRE_FALSE(calls[i]());
    }
    heap.alloc_->FreeOffset(kCtx, heap.block_);  // it stays
  }
  heap.lock()->Unlock(other.identity());
  for (size_t i = 0; i < calls.size(); ++i) {
    CAPTURE(i);
    REQUIRE(calls[i]());
  }
}

TEST_CASE("Each call of a BuddyAllocator repairs what a dead holder has left, and then works") {
  SharedBuddy heap;
  const auto die = [&] {
    Membership dead(heap.backend_.region());
    REQUIRE(heap.lock()->Lock(dead.identity(), 0) == LockResult::kLocked);
    CoreOf<BuddyHeader>(heap.backend_)->lists_ = BuddyLists{};
  };
  const auto calls = CallsOf(heap.alloc_, heap.block_);
  for (size_t i = 0; i < calls.size(); ++i) {
    CAPTURE(i);
    die();
    REQUIRE(calls[i]());
  }
  die();
  heap.alloc_->FreeOffset(kCtx, heap.block_);
  REQUIRE(heap.alloc_->Check());
}

TEST_CASE("Each call of a BuddyAllocator in a forked child without a slot says no") {
  SharedBuddy heap;
  ChildProcess child([&] {
    const rlimit none = {0, 0};  // no descriptor, no slot
    setrlimit(RLIMIT_NOFILE, &none);
    const auto calls = CallsOf(heap.alloc_, heap.block_);
    for (size_t i = 0; i < calls.size(); ++i) {
      if (calls[i]()) return static_cast<int>(i) + 1;
    }
    heap.alloc_->FreeOffset(kCtx, heap.block_);
    return 0;
  });
  REQUIRE(child.Wait() == 0);
  REQUIRE(heap.alloc_->GetUsableSize(heap.block_) == kBytes);
  REQUIRE(heap.alloc_->Check());
}

TEMPLATE_TEST_CASE("A context is kept, and one for a forked child's thread names no slot yet", "",
                   StackAllocator, BuddyAllocator, ScalablePageAllocator) {
  Heap<TestType> heap;
  const MemContext mine = heap.alloc_->CreateTls(kCtx);
  REQUIRE(mine.pid_ == heap.alloc_->GetMembership().slot());
  REQUIRE(heap.alloc_->CreateTls(mine).tid_ == mine.tid_);
  const MemContext arena = heap.alloc_->PushArena(kCtx);
  REQUIRE(heap.alloc_->CreateTls(arena).pid_ == mine.pid_);
  heap.alloc_->PopArena(arena);
  ChildProcess child([&] {
    const MemContext early = heap.alloc_->CreateTls(kCtx);
    if (early.pid_ != MemContext::kNone) return 1;
    return heap.alloc_->AllocateOffset(early, 100).IsNull() ? 2 : 0;
  });
  REQUIRE(child.Wait() == 0);
  REQUIRE(heap.alloc_->Check());
}

}  // namespace
}  // namespace hshm::ipc::test
