/** Words of a heap at moments that hardly ever come, or as only a mistake could leave them. */
#include <csignal>
#include <string>
#include <vector>

#include "backend/error_code.h"
#include "hermes_shm/memory/allocator/thread_local_allocator.h"
#include "hermes_shm/memory/backend/posix_mmap.h"
#include "multi_process/heap.h"
#include "support/child_process.h"

namespace hshm::test {
namespace {

using Config = ipc::multi_process::LargePages;
using Root = ipc::multi_process::RootTier<Config>;
using ipc::multi_process::DetachMode;
using ipc::multi_process::HeapId;
using ipc::multi_process::HeapRecord;
using ipc::multi_process::MakeHeapId;
using ipc::multi_process::PageEntry;
using ipc::multi_process::SlotOf;

constexpr uint64_t kRegion = 8 << 20;
constexpr uint64_t kPage = Config::kPageBytes;

Root RootOf(MultiProcessAllocator* alloc) {
  const ipc::Region& region = alloc->GetRegion();
  const auto* header = region.At<ipc::AllocatorHeader>(ipc::AllocatorOffsetFor(region.size_bytes_));
  return Root(region, header->core_offset_, nullptr);
}
PageEntry* EntryOf(MultiProcessAllocator* alloc, OffsetPtr<> block) {
  const Root root = RootOf(alloc);
  const auto page = static_cast<uint32_t>(block.load() / kPage);
  return root.pages().Entry(root.pages().HeadOf(page));
}
/** The record of the only heap of a process. */
HeapRecord<Config>* RecordOf(MultiProcessAllocator* alloc) {
  const Root root = RootOf(alloc);
  const uint32_t slot = alloc->GetMembership().slot();
  HeapRecord<Config>* found = nullptr;
  root.ForEachSpan([&](uint32_t page, uint32_t) {
    if (!ipc::multi_process::PageTable<Config>::HoldsRecords(root.pages().Entry(page))) return;
    auto* records = alloc->GetRegion().At<HeapRecord<Config>>(page * kPage);
    for (size_t i = 0; i < kPage / sizeof(*records); ++i) {
      const HeapId id = records[i].id_.Get();
      if (id != 0 && SlotOf(id) == slot) found = &records[i];
    }
  });
  return found;
}

TEST_CASE("Bytes that live are counted as none of a page into which more was pushed than it has") {
  PrivateHeap<MultiProcessAllocator> heap(kRegion);
  MultiProcessAllocator* owner = heap.first();
  MultiProcessAllocator* other = heap.Attach();
  const OffsetPtr<> kept = owner->AllocateOffset(kCtx, 1000);
  const OffsetPtr<> block = owner->AllocateOffset(kCtx, 64);
  other->FreeOffset(kCtx, block);
  other->Trim();  // it is pushed
  const size_t before = owner->GetCurrentlyAllocatedSize();
  REQUIRE(before == owner->GetUsableSize(kept));
  PageEntry* entry = EntryOf(owner, block);
  const uint32_t used = entry->used_.Get();
  entry->used_.Set(0);  // as who reads the two words a moment apart may see them
  REQUIRE(owner->GetCurrentlyAllocatedSize() <= before);
  entry->used_.Set(used);
  REQUIRE(owner->Check());
}

TEST_CASE("A free into a run of another process's page waits for no lock, and is not lost") {
  PrivateHeap<MultiProcessAllocator> heap(64 << 20);
  MultiProcessAllocator* owner = heap.first();
  MultiProcessAllocator* freer = heap.Attach();
  std::vector<OffsetPtr<>> blocks;  // of more pages than there are places for runs
  for (uint32_t i = 0; i < 100 * kPage / 64; ++i) {
    blocks.push_back(owner->AllocateOffset(kCtx, 64));
  }
  const size_t live = owner->GetCurrentlyAllocatedSize();
  HeapRecord<Config>* record = RecordOf(freer);
  REQUIRE(record != nullptr);
  ipc::Membership taker(heap.backend().region());
  REQUIRE(record->lock_.Lock(taker.identity(), 0) == LockResult::kLocked);
  size_t freed = 0;
  for (size_t i = 0; i < blocks.size(); i += kPage / 64) {
    freer->FreeOffset(kCtx, blocks[i]);
    ++freed;
  }
  REQUIRE(owner->GetCurrentlyAllocatedSize() == live - freed * 64);
  record->lock_.Unlock(taker.identity());
  REQUIRE(freer->Check());
  for (size_t i = 0; i < blocks.size(); ++i) {
    if (i % (kPage / 64) != 0) freer->FreeOffset(kCtx, blocks[i]);
  }
  REQUIRE(owner->GetCurrentlyAllocatedSize() == 0);
  REQUIRE(owner->Check());
}

TEST_CASE("A free from afar where no block begins is InvalidFree, whoever has freed there before") {
  PrivateHeap<MultiProcessAllocator> heap(kRegion);
  MultiProcessAllocator* owner = heap.first();
  MultiProcessAllocator* freer = heap.Attach();
  const OffsetPtr<> first = owner->AllocateOffset(kCtx, 64);
  const OffsetPtr<> block = owner->AllocateOffset(kCtx, 64);
  const auto fails = [&](uint64_t offset) {
    const Ending ending = RunInChild([&] { freer->FreeOffset(kCtx, OffsetPtr<>(offset)); });
    return ending.status_ == -SIGABRT &&
           ending.errors_.find("hshm: InvalidFree: Free") != std::string::npos;
  };
  for (const uint64_t inside : {8, 16, 40, 48}) REQUIRE(fails(block.load() + inside));
  freer->FreeOffset(kCtx, first);  // a run of the page waits
  for (const uint64_t inside : {8, 16, 40, 48}) REQUIRE(fails(block.load() + inside));
  freer->FreeOffset(kCtx, block);
  REQUIRE(owner->GetCurrentlyAllocatedSize() == 0);
  const OffsetPtr<> large = owner->AllocateOffset(kCtx, 3000);
  const uint64_t bytes = owner->GetUsableSize(large);
  REQUIRE(kPage % bytes != 0);
  REQUIRE(fails(large.load() / kPage * kPage + kPage / bytes * bytes));  // behind the last block
  owner->FreeOffset(kCtx, large);
  REQUIRE(owner->Check());
}

TEST_CASE("A free from afar of a run that its owner has freed, and lists, is InvalidFree") {
  PrivateHeap<MultiProcessAllocator> heap(kRegion);
  MultiProcessAllocator* owner = heap.first();
  MultiProcessAllocator* other = heap.Attach();
  const OffsetPtr<> run = owner->AllocateOffset(kCtx, 3 * kPage);
  owner->FreeOffset(kCtx, run);
  REQUIRE(EntryOf(owner, run)->key_.Get() == 0);
  const Ending ending = RunInChild([&] { other->FreeOffset(kCtx, run); });
  CAPTURE(ending.errors_);
  REQUIRE(ending.status_ == -SIGABRT);
  REQUIRE(ending.errors_.find("InvalidFree") != std::string::npos);
}

TEST_CASE("Frees of a dead process's blocks that wait stay good when their adopter leaves") {
  SharedHeap<MultiProcessAllocator> heap(kRegion);
  MultiProcessAllocator* alloc = heap.first();
  auto* left = reinterpret_cast<uint64_t*>(
      BytesOf(alloc, alloc->AllocateOffset(kCtx, 40 * sizeof(uint64_t))));
  const size_t at_first = alloc->GetCurrentlyAllocatedSize();
  MultiProcessAllocator* adopter = nullptr;
  ChildProcess child([&] {
    MultiProcessAllocator* own = heap.Attach();
    for (int i = 0; i < 40; ++i) {
      const OffsetPtr<> block = own->AllocateOffset(kCtx, 64);
      FillPattern(BytesOf(own, block), 64, static_cast<uint64_t>(i));
      left[i] = block.load();
    }
    raise(SIGKILL);
    return 0;
  });
  REQUIRE(child.Wait() == -SIGKILL);
  adopter = heap.Attach();
  for (int i = 0; i < 5; ++i) alloc->FreeOffset(kCtx, OffsetPtr<>(left[i]));  // they wait
  adopter->shm_detach(DetachMode::kDelete);
  for (int i = 5; i < 40; ++i) {
    REQUIRE(HasPattern(BytesOf(alloc, OffsetPtr<>(left[i])), 64, 64, static_cast<uint64_t>(i)));
    alloc->FreeOffset(kCtx, OffsetPtr<>(left[i]));
  }
  alloc->Recover();
  REQUIRE(alloc->GetCurrentlyAllocatedSize() == at_first);
  REQUIRE(alloc->Check());
}

TEST_CASE("A dead process's blocks are not reclaimed once its slot has another process") {
  SharedHeap<MultiProcessAllocator> heap(kRegion);
  MultiProcessAllocator* alloc = heap.first();
  MultiProcessAllocator* dying = heap.Attach();
  const uint32_t slot = dying->GetMembership().slot();
  const uint32_t generation = dying->GetMembership().generation();
  const OffsetPtr<> kept = dying->AllocateOffset(kCtx, 5000);
  dying->shm_detach(DetachMode::kKeepLive);
  MultiProcessAllocator* next = heap.Attach();
  REQUIRE(next->GetMembership().slot() == slot);
  const OffsetPtr<> its = next->AllocateOffset(kCtx, 5000);
  REQUIRE_FALSE(alloc->Reclaim(slot, generation));
  REQUIRE(alloc->GetUsableSize(kept) >= 5000);
  REQUIRE(alloc->GetUsableSize(its) >= 5000);
  alloc->FreeOffset(kCtx, kept);
  next->FreeOffset(kCtx, its);
  REQUIRE(alloc->Check());
}

TEST_CASE("A page of a heap that nobody knows is left alone by who is in need") {
  PrivateHeap<MultiProcessAllocator> heap(kRegion);
  MultiProcessAllocator* sleeper = heap.first();
  MultiProcessAllocator* rank = heap.Attach();
  const auto blocks = FillUp(sleeper, {1000});
  std::vector<OffsetPtr<>> of_a_page;
  const uint64_t page = blocks[blocks.size() / 2].load() / kPage;
  for (const OffsetPtr<> block : blocks) {
    if (block.load() / kPage == page) of_a_page.push_back(block);
  }
  FreeAll(rank, blocks);
  rank->Trim();  // no block of the page is anybody's
  PageEntry* entry = EntryOf(sleeper, of_a_page[0]);
  const HeapId id = entry->owner_.Get();
  const uint32_t slot = sleeper->GetMembership().slot();
  entry->owner_.Set(MakeHeapId(slot, 999));  // as of one that died before it had a record
  bool is_given = false;
  for (const OffsetPtr<> block : FillUp(rank, {1000})) {
    is_given = is_given || block.load() / kPage == page;
  }
  REQUIRE_FALSE(is_given);
  REQUIRE(entry->owner_.Get() == MakeHeapId(slot, 999));
  entry->owner_.Set(id);
  REQUIRE(rank->Check());
}

TEST_CASE("A page that is open and not in use yet is counted for nobody") {
  PrivateHeap<MultiProcessAllocator> heap(kRegion);
  MultiProcessAllocator* alloc = heap.first();
  const OffsetPtr<> block = alloc->AllocateOffset(kCtx, 1000);
  const Root root = RootOf(alloc);
  const HeapId id = EntryOf(alloc, block)->owner_.Get();
  auto page = static_cast<uint32_t>(block.load() / kPage);
  while (root.pages().Entry(page)->owner_.Get() != ipc::multi_process::kFreePage) ++page;
  const size_t before = alloc->GetCurrentlyAllocatedSize();
  REQUIRE(root.pages().OpenSpan(page, 1, id));
  REQUIRE(alloc->GetCurrentlyAllocatedSize() == before);
  root.pages().Retire(page);
  REQUIRE(alloc->Check());
}

/** A heap with units of 1 MiB, and a large block. */
struct WithLarge {
  WithLarge() : heap_(kRegion, Options()) {
    block_ = alloc()->AllocateOffset(kCtx, 3 << 20);
    REQUIRE_FALSE(block_.IsNull());
  }
  static MultiProcessOptions Options() {
    MultiProcessOptions options;
    options.process_unit_bytes_ = 1 << 20;
    return options;
  }
  MultiProcessAllocator* alloc() const { return heap_.first(); }
  uint32_t* head() const {
    const Root root = RootOf(alloc());
    const uint32_t granule = root.GranuleOf(static_cast<uint32_t>(block_.load() / kPage));
    return alloc()->GetRegion().At<uint32_t>(root.header().heads_offset_) + granule;
  }
  PrivateHeap<MultiProcessAllocator> heap_;
  OffsetPtr<> block_;
};

TEST_CASE("A large block is nobody's from its freer's first store on, counted or not") {
  WithLarge f;
  using ipc::multi_process::HeadWord;
  const size_t live = f.alloc()->GetCurrentlyAllocatedSize();
  const size_t bytes = f.alloc()->GetUsableSize(f.block_);
  // As who frees it without the root leaves it in a death between its two stores.
  *f.head() = HeadWord::Make(HeadWord::kLarge, HeadWord::kFreed, HeadWord::Granules(*f.head()));
  REQUIRE(f.alloc()->GetCurrentlyAllocatedSize() == live - bytes);
  REQUIRE_FALSE(*f.head() == 0);
  f.alloc()->Recover();
  REQUIRE(*f.head() == 0);
  REQUIRE(f.alloc()->AllocateOffset(kCtx, 3 << 20).load() == f.block_.load());
  REQUIRE(f.alloc()->Check());
}

TEST_CASE("A large block stays as it is when it is asked for its length, or for more than all") {
  WithLarge f;
  const size_t bytes = f.alloc()->GetUsableSize(f.block_);
  const uint32_t word = *f.head();
  REQUIRE(f.alloc()->ResizeInPlace(kCtx, f.block_, bytes));
  REQUIRE_FALSE(f.alloc()->ResizeInPlace(kCtx, f.block_, kRegion));
  REQUIRE_FALSE(f.alloc()->ResizeInPlace(kCtx, f.block_, ~uint64_t{0} / 2));
  REQUIRE(*f.head() == word);
  REQUIRE(f.alloc()->GetUsableSize(f.block_) == bytes);
  REQUIRE(f.alloc()->Check());
}

TEST_CASE("A large block that has been freed cannot change its length") {
  const Ending ending = RunInChild([] {
    WithLarge f;
    f.alloc()->FreeOffset(kCtx, f.block_);
    f.alloc()->ResizeInPlace(kCtx, f.block_, kRegion);
  });
  CAPTURE(ending.errors_);
  REQUIRE(ending.status_ == -SIGABRT);
  REQUIRE(ending.errors_.find("Reallocate") != std::string::npos);
}

TEST_CASE("Only a large block in use, or an extension, can be left for the root's next holder") {
  WithLarge f;
  Root root = RootOf(f.alloc());
  const uint32_t large = root.GranuleOf(static_cast<uint32_t>(f.block_.load() / kPage));
  const OffsetPtr<> small = f.alloc()->AllocateOffset(kCtx, 1000);
  uint32_t unit = root.GranuleOf(static_cast<uint32_t>(small.load() / kPage));
  while (root.Head(unit) == 0) --unit;
  const uint32_t word = root.Head(unit);
  REQUIRE_FALSE(root.LeaveFreed(unit));
  REQUIRE(root.Head(unit) == word);
  REQUIRE_FALSE(root.LeaveFreed(large + 1));  // within the block
  REQUIRE(root.LeaveFreed(large));
  REQUIRE_FALSE(root.LeaveFreed(large));  // who is second
  REQUIRE(f.alloc()->GetCurrentlyAllocatedSize() == f.alloc()->GetUsableSize(small));
  REQUIRE(root.Head(large) == 0);  // who asked has had the root
  REQUIRE(f.alloc()->Check());
}

TEST_CASE("A run of a dead heap that names a page that nobody ever had is forgotten") {
  SharedHeap<MultiProcessAllocator> heap(kRegion);
  MultiProcessAllocator* alloc = heap.first();
  ChildProcess child([&] {
    MultiProcessAllocator* own = heap.Attach();
    const Root root = RootOf(own);
    const uint32_t page = root.FirstPageOf(root.header().granule_end_) - 1;
    if (root.pages().Entry(page)->span_.Get() != 0) return 1;
    RecordOf(own)->pending_[0].Set(ipc::multi_process::RunWord<Config>::Make(page * kPage));
    raise(SIGKILL);
    return 0;
  });
  REQUIRE(child.Wait() == -SIGKILL);
  REQUIRE(alloc->Recover() == 1);
  const Root root = RootOf(alloc);
  const uint32_t page = root.FirstPageOf(root.header().granule_end_) - 1;
  REQUIRE(root.pages().Entry(page)->remote_.load() == 0);
  REQUIRE(alloc->Check());
}

TEST_CASE("A run that was being taken back in a death is the class slot's, and not posted") {
  using Run = ipc::multi_process::RunWord<Config>;
  SharedHeap<MultiProcessAllocator> heap(kRegion);
  MultiProcessAllocator* alloc = heap.first();
  constexpr uint64_t kBytes = 1000;
  auto* left = reinterpret_cast<uint64_t*>(
      BytesOf(alloc, alloc->AllocateOffset(kCtx, 2 * sizeof(uint64_t))));
  const size_t at_first = alloc->GetCurrentlyAllocatedSize();
  ChildProcess child([&] {
    MultiProcessAllocator* own = heap.Attach();
    const OffsetPtr<> kept = own->AllocateOffset(kCtx, kBytes);
    const OffsetPtr<> bearer = own->AllocateOffset(kCtx, kBytes);
    const OffsetPtr<> other = own->AllocateOffset(kCtx, kBytes);
    left[0] = kept.load();
    HeapRecord<Config>* record = RecordOf(own);
    const auto size_class = ipc::multi_process::ClassOf(kBytes);
    while (record->free_[size_class].Get() != 0) {
      if (own->AllocateOffset(kCtx, kBytes).IsNull()) return 1;
      ++left[1];
    }
    // As if another thread of the process had the page: a run of two, taken back by half.
    const Root root = RootOf(own);
    root.pages().NumbersOf(bearer.load())[0].store(
        ipc::multi_process::PageTable<Config>::NumberOf(other.load()));
    record->pending_[3].Set(Run::Make(bearer.load()) + 1);
    root.pages().SetLink(root.pages().LinkRun(bearer.load(), 1), 0);
    record->free_[size_class].Set(bearer.load());
    raise(SIGKILL);
    return 0;
  });
  REQUIRE(child.Wait() == -SIGKILL);
  REQUIRE(alloc->Recover() == 1);
  REQUIRE(alloc->Check());
  // What it had but for those two is there still.
  const uint64_t block_bytes = alloc->GetUsableSize(OffsetPtr<>(left[0]));
  REQUIRE(alloc->GetCurrentlyAllocatedSize() == at_first + (1 + left[1]) * block_bytes);
  const PageEntry* entry = EntryOf(alloc, OffsetPtr<>(left[0]));
  REQUIRE(ipc::multi_process::RemoteWord::Pushed(entry->remote_.load()) == 2);  // each once
}

TEST_CASE("A heap for one process tells a process of another container by more than its number") {
  SharedHeap<ipc::ThreadLocalAllocator> heap(kRegion);
  const ipc::Membership& members = heap.first()->GetMembership();
  ipc::SlotEntry* entry = members.entry(members.slot());
  heap.Destroy(heap.Attach());  // this process may have it twice
  const auto refused = [&] { return ipc::test::ThrownBy([&] { heap.Attach(); }); };
  ++entry->start_time_;  // one that had the same number, as processes of containers do
  REQUIRE(refused().code_ == ErrorCode::kUnsupported);
  --entry->start_time_;
  entry->pid_namespace_ ^= 1;
  const ipc::test::Thrown elsewhere = refused();
  REQUIRE(elsewhere.code_ == ErrorCode::kUnsupported);
  REQUIRE(elsewhere.Says("of another container"));
  entry->pid_namespace_ ^= 1;
  heap.Destroy(heap.Attach());
  REQUIRE(heap.first()->Check());
}

TEST_CASE("What lies behind the last granule of a region is in no unit") {
  using Small = ipc::multi_process::SmallPages;
  constexpr uint64_t kPages = ipc::multi_process::kMaxGranules + 3;  // granules of two pages
  ipc::PosixMmap backend;
  backend.shm_init(ipc::MemoryBackendId(1), kPages * Small::kPageBytes);
  auto* alloc = backend.MakeAlloc<SmallMultiProcessAllocator>(kId);
  const ipc::Region& region = alloc->GetRegion();
  const auto* header = region.At<ipc::AllocatorHeader>(ipc::AllocatorOffsetFor(region.size_bytes_));
  const ipc::multi_process::RootTier<Small> root(region, header->core_offset_, nullptr);
  REQUIRE(root.FirstPageOf(root.header().granule_end_) < root.header().page_count_);
  REQUIRE_FALSE(root.IsInUnit(root.FirstPageOf(root.header().granule_end_)));
  REQUIRE_FALSE(root.IsInUnit(root.header().page_count_));
  REQUIRE_FALSE(root.IsInLargeBlock(root.header().page_count_ - 1));
  REQUIRE(alloc->Check());
}

}  // namespace
}  // namespace hshm::test
