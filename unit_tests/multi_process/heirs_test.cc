#include <atomic>
#include <csignal>
#include <thread>

#include "multi_process/heap.h"
#include "support/child_process.h"

/** What becomes of a dead process's blocks, and what its heirs may do with them. */
namespace hshm::test {
namespace {

constexpr uint64_t kRegion = 16 << 20;
using Shared = SharedHeap<MultiProcessAllocator>;

MultiProcessOptions Reclaiming() {
  MultiProcessOptions options;
  options.on_death_ = ipc::OnDeath::kReclaim;
  return options;
}

/** Allocates until null; each block begins with the offset of the one before. The last one. */
uint64_t FillUpChained(MultiProcessAllocator* alloc, uint64_t size) {
  uint64_t last = 0;
  for (;;) {
    const OffsetPtr<> block = alloc->AllocateOffset(kCtx, size);
    if (block.IsNull()) return last;
    std::memcpy(BytesOf(alloc, block), &last, sizeof last);
    last = block.load();
  }
}
uint64_t FreeChained(MultiProcessAllocator* alloc, uint64_t last) {
  uint64_t count = 0;
  for (; last != 0; ++count) {
    const OffsetPtr<> block(last);
    std::memcpy(&last, BytesOf(alloc, block), sizeof last);
    alloc->FreeOffset(kCtx, block);
  }
  return count;
}

TEST_CASE("on_death kReclaim holds when the next process of the slot finds the death") {
  Shared heap(kRegion);
  MultiProcessAllocator* alloc = heap.first();
  auto* slot = alloc->NewObj<std::atomic<uint32_t>>(kCtx, 0u).ptr_;
  const uint64_t at_first = alloc->GetCurrentlyAllocatedSize();
  ChildProcess child([&] {
    MultiProcessAllocator* own = heap.Attach(Reclaiming());
    (void)FillUp(own, {3000, 100 << 10});
    slot->store(own->GetMembership().slot());
    raise(SIGKILL);
    return 0;
  });
  REQUIRE(child.Wait() == -SIGKILL);
  MultiProcessAllocator* next = heap.Attach();
  REQUIRE(next->GetMembership().slot() == slot->load());
  REQUIRE(alloc->GetCurrentlyAllocatedSize() == at_first);
  REQUIRE(alloc->Check());
}

TEST_CASE("Blocks kept at shm_detach stay, whatever was to happen on a death") {
  Shared heap(kRegion);
  MultiProcessAllocator* alloc = heap.first();
  MultiProcessAllocator* leaving = heap.Attach(Reclaiming());
  const OffsetPtr<> block = leaving->AllocateOffset(kCtx, 5000);
  FillPattern(BytesOf(leaving, block), 5000, 3);
  leaving->shm_detach(ipc::DetachMode::kKeepLive);
  SECTION("found by another process") { REQUIRE(alloc->Recover() == 1); }
  SECTION("found by the next process of the slot") { heap.Attach(); }
  REQUIRE(HasPattern(BytesOf(alloc, block), 5000, 5000, 3));
  REQUIRE(alloc->GetUsableSize(block) >= 5000);
  alloc->FreeOffset(kCtx, block);
  REQUIRE(alloc->Check());
}

TEST_CASE(
    "A large block of the dead belongs to nobody, through every later sweep, until its free") {
  Shared heap(kRegion);
  MultiProcessAllocator* alloc = heap.first();
  const auto report = alloc->NewObj<std::atomic<uint64_t>>(kCtx, 0u);
  for (int death = 0; death < 2; ++death) {
    ChildProcess child([&] {
      MultiProcessOptions options;
      options.process_unit_bytes_ = 1 << 20;
      options.on_death_ = death == 0 ? ipc::OnDeath::kKeepLive : ipc::OnDeath::kReclaim;
      MultiProcessAllocator* own = heap.Attach(options);
      const OffsetPtr<> block = own->AllocateOffset(kCtx, 3 << 20);
      if (death == 0) FillPattern(BytesOf(own, block), 3 << 20, 5);
      if (death == 0) report.ptr_->store(block.load());
      raise(SIGKILL);
      return 0;
    });
    REQUIRE(child.Wait() == -SIGKILL);
    REQUIRE(alloc->Recover() == 1);
    const OffsetPtr<> block(report.ptr_->load());
    REQUIRE(HasPattern(BytesOf(alloc, block), 3 << 20, 3 << 20, 5));
    REQUIRE(alloc->GetUsableSize(block) >= 3 << 20);
  }
  const uint64_t held = alloc->GetCurrentlyAllocatedSize();
  alloc->FreeOffset(kCtx, OffsetPtr<>(report.ptr_->load()));
  REQUIRE(held - alloc->GetCurrentlyAllocatedSize() >= 3 << 20);
  REQUIRE(alloc->Check());
}

TEST_CASE("A rank inherits, from a dead one, pages that were its own before they were taken") {
  const uint64_t size = GENERATE(1024, 40 << 10, 100 << 10);
  const bool with_idle_heap = GENERATE(false, true);
  CAPTURE(size, with_idle_heap);
  Shared heap(kRegion);
  MultiProcessAllocator* alloc = heap.first();
  auto* first = alloc->NewObj<std::atomic<uint64_t>>(kCtx, 0u).ptr_;
  auto* second = alloc->NewObj<std::atomic<uint64_t>>(kCtx, 0u).ptr_;
  const uint64_t at_first = alloc->GetCurrentlyAllocatedSize();
  if (with_idle_heap) {
    std::thread([&] { first->store(FillUpChained(alloc, size)); }).join();
  } else {
    first->store(FillUpChained(alloc, size));
  }
  ChildProcess child([&] {
    (void)FreeChained(alloc, first->load());
    second->store(FillUpChained(alloc, size));
    raise(SIGKILL);
    return 0;
  });
  REQUIRE(child.Wait() == -SIGKILL);
  REQUIRE(alloc->Recover() == 1);
  REQUIRE(alloc->Check());
  REQUIRE(FreeChained(alloc, second->load()) * size > kRegion / 10 * 5);
  REQUIRE(alloc->GetCurrentlyAllocatedSize() == at_first);
  const uint64_t again = FillUpChained(alloc, size);
  REQUIRE(alloc->Check());
  REQUIRE(FreeChained(alloc, again) * size > kRegion / 10 * 7);
  REQUIRE(alloc->GetCurrentlyAllocatedSize() == at_first);
  REQUIRE(alloc->Check());
}

TEST_CASE("A block is shrunk where it is when there is no room to move it") {
  PrivateHeap<MultiProcessAllocator> heap(kRegion);
  MultiProcessAllocator* alloc = heap.first();
  const OffsetPtr<> run = alloc->AllocateOffset(kCtx, 200 << 10);
  FillPattern(BytesOf(alloc, run), 30 << 10, 1);
  (void)FillUp(alloc, {100 << 10, 30 << 10, 1024});
  const OffsetPtr<> shrunk = alloc->ReallocateOffset(kCtx, run, 30 << 10);
  REQUIRE(shrunk.load() == run.load());
  REQUIRE(HasPattern(BytesOf(alloc, run), 30 << 10, 30 << 10, 1));
  REQUIRE(alloc->Check());
}

}  // namespace
}  // namespace hshm::test
