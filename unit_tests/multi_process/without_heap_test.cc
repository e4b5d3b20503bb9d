/** Threads and forked children for which there is no heap: told no by each call, and never lost. */
#include <sys/resource.h>

#include <atomic>
#include <thread>
#include <vector>

#include "multi_process/heap.h"
#include "support/child_process.h"
#include "support/living_threads.h"

namespace hshm::test {
namespace {

/** What each call says to a thread that has no heap and gets none. 0, or the number of the call. */
template <typename Alloc>
int AskInVain(Alloc* alloc, OffsetPtr<> block) {
  if (!alloc->AllocateOffset(kCtx, 100).IsNull()) return 1;
  if (!alloc->AlignedAllocateOffset(kCtx, 100, 4096).IsNull()) return 2;
  if (!alloc->AllocateZeroed(kCtx, 100).IsNull()) return 3;
  if (!alloc->ReallocateOffset(kCtx, block, 5000).IsNull()) return 4;
  if (alloc->ResizeInPlace(kCtx, block, 90)) return 5;
  if (alloc->GetUsableSize(block) != 0) return 6;
  if (alloc->GetCurrentlyAllocatedSize() != 0) return 7;
  const ipc::UnitPlacement placement = alloc->GetPlacement();
  if (placement.placed_bytes_ + placement.refused_bytes_ != 0) return 8;
  if (alloc->GetStats().is_complete_) return 9;
  if (alloc->Check()) return 10;
  if (alloc->Recover() != 0) return 11;
  if (alloc->Reclaim(0, 1)) return 12;
  if (alloc->CreateTls(kCtx).IsValid()) return 13;
  alloc->Trim();
  alloc->FreeTls(kCtx);
  return 0;
}

TEST_CASE("A forked child for which there is no slot is told no by each call, and frees") {
  SharedHeap<MultiProcessAllocator> heap(16 << 20);
  MultiProcessAllocator* alloc = heap.first();
  const OffsetPtr<> block = alloc->AllocateOffset(kCtx, 100);
  FillPattern(BytesOf(alloc, block), 100, 1);
  const OffsetPtr<> freed = alloc->AllocateOffset(kCtx, 100);
  const size_t before = alloc->GetCurrentlyAllocatedSize();
  ChildProcess child([&] {
    const rlimit none = {0, 0};  // no descriptor, no slot
    setrlimit(RLIMIT_NOFILE, &none);
    if (const int call = AskInVain(alloc, block); call != 0) return call;
    if (alloc->SetRoot("name", block)) return 20;
    alloc->FreeOffset(kCtx, freed);
    return 0;
  });
  REQUIRE(child.Wait() == 0);
  REQUIRE(alloc->FindRoot<char>("name").IsNull());
  REQUIRE(HasPattern(BytesOf(alloc, block), 100, 100, 1));
  REQUIRE(alloc->GetCurrentlyAllocatedSize() == before - alloc->GetUsableSize(block));
  REQUIRE(alloc->Check());
}

/** A small region whose pages one thread has, so that another one's heap finds no room. */
struct FullHeap {
  FullHeap() : heap_(512 << 10) { blocks_ = FillUp(alloc(), {4096, 2000, 100, 16}); }
  SmallMultiProcessAllocator* alloc() { return heap_.first(); }
  /** What the allocation of a new thread gives. */
  bool CanThreadAllocate() {
    bool can = false;
    std::thread([&] {
      const OffsetPtr<> block = alloc()->AllocateOffset(kCtx, 100);
      can = !block.IsNull();
      if (can) alloc()->FreeOffset(kCtx, block);
    }).join();
    return can;
  }
  PrivateHeap<SmallMultiProcessAllocator> heap_;
  std::vector<OffsetPtr<>> blocks_;
};

TEST_CASE("A thread that comes when no page is left gets null, and a heap once there is one") {
  FullHeap full;
  std::vector<std::thread> living;
  std::atomic<bool> is_over{false};
  std::atomic<int> with_heap{0};
  std::atomic<int> arrived{0};
  for (int i = 0; i < 8; ++i) {  // more than one page has records for
    living.emplace_back([&] {
      if (full.alloc()->CreateTls(kCtx).IsValid()) ++with_heap;
      ++arrived;
      is_over.wait(false);
    });
  }
  while (arrived < 8) std::this_thread::yield();
  REQUIRE(with_heap < 8);
  REQUIRE_FALSE(full.CanThreadAllocate());
  REQUIRE_FALSE(full.CanThreadAllocate());  // and each time that it is asked
  FreeAll(full.alloc(), full.blocks_);
  full.alloc()->Trim();
  REQUIRE(full.CanThreadAllocate());
  is_over = true;
  is_over.notify_all();
  for (std::thread& thread : living) thread.join();
  REQUIRE(full.alloc()->GetCurrentlyAllocatedSize() == 0);
  REQUIRE(full.alloc()->Check());
}

TEST_CASE("A process that has given out all serials of its slot makes no heap more") {
  PrivateHeap<SmallMultiProcessAllocator> heap(4 << 20);
  SmallMultiProcessAllocator* alloc = heap.first();
  const ipc::Membership& members = alloc->GetMembership();
  auto& next_serial = members.entry(members.slot())->next_serial_;
  const OffsetPtr<> block = alloc->AllocateOffset(kCtx, 100);
  const uint32_t used = next_serial.load();
  bool can = true;
  next_serial.store(ipc::multi_process::kMaxSerial - 1);  // one id is left, and two are needed
  std::thread([&] {
    can = !alloc->AllocateOffset(kCtx, 100).IsNull();
    alloc->FreeOffset(kCtx, block);  // without a heap
  }).join();
  REQUIRE_FALSE(can);
  REQUIRE_FALSE(alloc->AllocateOffset(kCtx, 100).IsNull());  // who has one goes on
  next_serial.store(used);
  std::thread([&] { can = !alloc->AllocateOffset(kCtx, 100).IsNull(); }).join();
  REQUIRE(can);
  REQUIRE(alloc->Check());
}

TEST_CASE("A thread that got no record opens no page for it once the serials are given out") {
  FullHeap full;
  SmallMultiProcessAllocator* alloc = full.alloc();
  SmallMultiProcessAllocator* other = nullptr;
  const bool is_of_others = GENERATE(false, true);  // the page that is free then
  if (is_of_others) {
    FreeAll(alloc, full.blocks_);
    alloc->Trim();
    other = full.heap_.Attach();
    full.blocks_ = FillUp(other, {4096, 2000, 100, 16});
  }
  const LivingThreads living(alloc);
  REQUIRE_FALSE(full.CanThreadAllocate());  // its heap waits for a record
  const ipc::Membership& members = alloc->GetMembership();
  auto& next_serial = members.entry(members.slot())->next_serial_;
  const uint32_t used = next_serial.load();
  next_serial.store(ipc::multi_process::kMaxSerial);  // of which none is left for a page
  if (is_of_others) {
    for (size_t i = 0; i < full.blocks_.size(); ++i) {  // and keeps spans
      if (i % 12 != 0) other->FreeOffset(kCtx, full.blocks_[i]);
    }
  } else {
    FreeAll(alloc, full.blocks_);
    alloc->Trim();
  }
  REQUIRE_FALSE(full.CanThreadAllocate());
  REQUIRE(next_serial.load() == ipc::multi_process::kMaxSerial);
  next_serial.store(used);
  REQUIRE(full.CanThreadAllocate());
  REQUIRE(alloc->Check());
}

TEST_CASE("A thread whose page for its record another process has opened takes another page") {
  PrivateHeap<SmallMultiProcessAllocator> heap(512 << 10);
  SmallMultiProcessAllocator* alloc = heap.first();
  SmallMultiProcessAllocator* other = heap.Attach();
  FreeAll(alloc, FillUp(alloc, {4096}));        // its units are this process's
  const auto all = FillUp(other, {4096, 100});  // and their pages the other one's
  for (size_t i = 0; i < all.size(); ++i) FillPattern(BytesOf(other, all[i]), 100, i);
  std::vector<std::thread> living;
  std::atomic<bool> is_over{false};
  std::atomic<int> arrived{0};
  const auto start = [&] {
    living.emplace_back([&] {
      static_cast<void>(alloc->CreateTls(kCtx));
      ++arrived;
      is_over.wait(false);
    });
    while (arrived < static_cast<int>(living.size())) std::this_thread::yield();
  };
  for (int i = 0; i < 8; ++i) start();
  REQUIRE(alloc->Check());
  for (size_t i = 0; i < all.size(); ++i) {
    REQUIRE(HasPattern(BytesOf(other, all[i]), 100, 100, i));
  }
  FreeAll(other, all);
  other->Trim();
  for (int i = 0; i < 8; ++i) start();
  OffsetPtr<> block;
  std::thread([&] { block = alloc->AllocateOffset(kCtx, 100); }).join();
  REQUIRE_FALSE(block.IsNull());
  is_over = true;
  is_over.notify_all();
  for (std::thread& thread : living) thread.join();
  alloc->FreeOffset(kCtx, block);
  REQUIRE(alloc->GetCurrentlyAllocatedSize() == 0);
  REQUIRE(alloc->Check());
}

}  // namespace
}  // namespace hshm::test
