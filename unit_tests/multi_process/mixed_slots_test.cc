#include <algorithm>
#include <random>
#include <set>
#include <thread>

#include "hermes_shm/memory/allocator/multi_process/root_tier.h"
#include "multi_process/heap.h"
#include "support/child_process.h"
#include "support/seed.h"

/** Blocks that threads of one process exchange: whose class slot lists them, and how many. */
namespace hshm::test {
namespace {

using Config = ipc::multi_process::LargePages;
using ipc::multi_process::ClassOf;
using ipc::multi_process::HeapId;
using ipc::multi_process::HeapRecord;
using ipc::multi_process::PageEntry;
using Alloc = MultiProcessAllocator;
using Root = ipc::multi_process::RootTier<Config>;

constexpr uint64_t kRegion = 64 << 20;
/** A slot lists no more blocks than that a 128th of the region could be the pages of. */
constexpr size_t kMostListed = kRegion / 128 / Config::kPageBytes;
/** A run of remote frees that a thread takes back is of one page, and becomes its empty list. */
constexpr size_t kMostTakenBack = ipc::multi_process::RunWord<Config>::kMaxBlocks;

Root RootOf(Alloc* alloc) {
  const ipc::Region& region = alloc->GetRegion();
  const Offset header = ipc::AllocatorOffsetFor(region.size_bytes_);
  return Root(region, region.At<ipc::AllocatorHeader>(header)->core_offset_, nullptr);
}

/** What one class slot of one heap lists. */
struct Listed {
  HeapId heap_;
  uint32_t slot_;
  std::vector<Offset> blocks_;
};

/** Of all heaps of a quiet region. */
std::vector<Listed> AllListed(Alloc* alloc) {
  std::vector<Listed> all;
  const Root root = RootOf(alloc);
  const ipc::Region& region = alloc->GetRegion();
  root.ForEachSpan([&](uint32_t page, uint32_t) {
    if (!root.pages().HoldsRecords(root.pages().Entry(page))) return;
    const auto* records = region.At<HeapRecord<Config>>(root.pages().OffsetOf(page));
    for (size_t i = 0; i < Config::kPageBytes / sizeof(HeapRecord<Config>); ++i) {
      for (uint32_t slot = Config::kFirstMixedSlot; slot < Config::kFirstRunSlot; ++slot) {
        Listed listed{records[i].id_.Get(), slot, {}};
        if (listed.heap_ == 0) break;
        for (Offset b = records[i].free_[slot].Get(); b != 0; b = root.pages().Link(b)) {
          listed.blocks_.push_back(b);
        }
        all.push_back(listed);
      }
    }
  });
  return all;
}

size_t LongestList(Alloc* alloc) {
  size_t longest = 0;
  for (const Listed& listed : AllListed(alloc)) {
    longest = std::max(longest, listed.blocks_.size());
  }
  return longest;
}

HeapId OwnerOf(Alloc* alloc, Offset block) {
  return RootOf(alloc).pages().EntryOf(block)->owner_.Get();
}

/** Blocks of the class of that size which are listed by another heap than their page's. */
size_t ListedOfOthers(Alloc* alloc, uint64_t size_bytes) {
  size_t count = 0;
  for (const Listed& listed : AllListed(alloc)) {
    if (listed.slot_ != ClassOf(size_bytes)) continue;
    for (const Offset block : listed.blocks_) count += OwnerOf(alloc, block) != listed.heap_;
  }
  return count;
}

std::vector<OffsetPtr<>> AllocateMany(Alloc* alloc, size_t count, uint64_t size_bytes) {
  std::vector<OffsetPtr<>> blocks;
  for (size_t i = 0; i < count; ++i) {
    blocks.push_back(alloc->AllocateOffset(kCtx, size_bytes));
    REQUIRE_FALSE(blocks.back().IsNull());
    FillPattern(BytesOf(alloc, blocks.back()), size_bytes, i);
  }
  return blocks;
}
bool AreIntact(Alloc* alloc, const std::vector<OffsetPtr<>>& blocks, uint64_t size_bytes) {
  for (size_t i = 0; i < blocks.size(); ++i) {
    if (!HasPattern(BytesOf(alloc, blocks[i]), size_bytes, size_bytes, i)) return false;
  }
  return true;
}
std::set<Offset> SetOf(const std::vector<OffsetPtr<>>& blocks) {
  std::set<Offset> set;
  for (const OffsetPtr<>& block : blocks) set.insert(block.load());
  return set;
}

/** A thread that is told what to do, and lives meanwhile. */
template <typename Work>
void OnThread(Work work) {
  std::thread(work).join();
}

TEST_CASE("What a thread frees of its neighbour it hands out itself, and no free is a remote one") {
  const uint64_t size = GENERATE(128u, 200u, 512u, 1000u, 1024u);
  CAPTURE(size);
  PrivateHeap<Alloc> heap(kRegion);
  Alloc* alloc = heap.first();
  const uint64_t at_first = alloc->GetCurrentlyAllocatedSize();
  const std::vector<OffsetPtr<>> blocks = AllocateMany(alloc, 6, size);
  const uint64_t live = alloc->GetCurrentlyAllocatedSize();
  OnThread([&] {
    FreeAll(alloc, blocks);
    REQUIRE(alloc->GetStats().remote_frees_ == 0);
    REQUIRE(alloc->GetCurrentlyAllocatedSize() == at_first);
    REQUIRE(ListedOfOthers(alloc, size) == blocks.size());
    REQUIRE(alloc->Check());
    const std::vector<OffsetPtr<>> again = AllocateMany(alloc, 6, size);
    REQUIRE(SetOf(again) == SetOf(blocks));
    REQUIRE(alloc->GetCurrentlyAllocatedSize() == live);
    FreeAll(alloc, again);
  });
  REQUIRE(ListedOfOthers(alloc, size) == 0);  // they went home with the thread
  REQUIRE(alloc->GetStats().remote_frees_ == blocks.size());
  REQUIRE(alloc->GetCurrentlyAllocatedSize() == at_first);
  alloc->Trim();
  REQUIRE(alloc->GetCurrentlyAllocatedSize() == at_first);
  REQUIRE(alloc->Check());
}

TEST_CASE("Smaller blocks go home: two threads do not write to one cache line for ever") {
  PrivateHeap<Alloc> heap(kRegion);
  Alloc* alloc = heap.first();
  const std::vector<OffsetPtr<>> blocks = AllocateMany(alloc, 10, 112);
  OnThread([&] {
    FreeAll(alloc, blocks);
    REQUIRE(alloc->GetStats().remote_frees_ == blocks.size());
    for (const OffsetPtr<>& block : AllocateMany(alloc, 10, 112)) {
      REQUIRE(SetOf(blocks).count(block.load()) == 0);
    }
  });
}

TEST_CASE("A mixed slot lists no more than its bound, whosever blocks are freed") {
  const uint64_t size = GENERATE(128u, 300u, 1000u, 4000u, 8000u);
  CAPTURE(size);
  constexpr size_t kMany = 600;
  PrivateHeap<Alloc> heap(kRegion);
  Alloc* alloc = heap.first();
  const uint64_t at_first = alloc->GetCurrentlyAllocatedSize();
  std::vector<OffsetPtr<>> blocks = AllocateMany(alloc, kMany, size);
  REQUIRE(LongestList(alloc) <= kMostListed);  // nor does a refill
  OnThread([&] {
    for (size_t i = 0; i < kMany; i += 2) {
      alloc->FreeOffset(kCtx, blocks[i]);
      REQUIRE(ListedOfOthers(alloc, size) <= kMostListed);
    }
    const size_t listed = ListedOfOthers(alloc, size);
    REQUIRE(listed > 1);
    REQUIRE(alloc->GetStats().remote_frees_ == kMany / 2 - listed);  // the others waited, or went
    const std::vector<OffsetPtr<>> own = AllocateMany(alloc, kMany, size);
    FreeAll(alloc, own);
    REQUIRE(LongestList(alloc) <= kMostListed);
    // Full again and again: the room is neither lost nor won.
    for (int round = 0; round < 20; ++round) {
      FreeAll(alloc, AllocateMany(alloc, kMany / 10, size));
      REQUIRE(LongestList(alloc) <= kMostListed);
    }
    REQUIRE(alloc->Check());
  });
  for (size_t i = 1; i < kMany; i += 2) alloc->FreeOffset(kCtx, blocks[i]);
  REQUIRE(LongestList(alloc) <= kMostListed);
  REQUIRE(alloc->GetCurrentlyAllocatedSize() == at_first);
  alloc->Trim();
  REQUIRE(LongestList(alloc) == 0);
  REQUIRE(alloc->GetCurrentlyAllocatedSize() == at_first);
  REQUIRE(alloc->Check());
}

TEST_CASE("A full slot keeps room for what is handed out, however often it was full") {
  constexpr uint64_t kBytes = 200;
  PrivateHeap<Alloc> heap(kRegion);
  Alloc* alloc = heap.first();
  const std::vector<OffsetPtr<>> blocks = AllocateMany(alloc, 2000, kBytes);
  OnThread([&] {
    for (size_t i = 0; i < 1000; ++i) alloc->FreeOffset(kCtx, blocks[i]);
    const size_t listed = ListedOfOthers(alloc, kBytes);
    REQUIRE(listed > 1);
    FreeAll(alloc, AllocateMany(alloc, listed, kBytes));
    REQUIRE(ListedOfOthers(alloc, kBytes) == listed);
  });
  FreeAll(alloc, {blocks.begin() + 1000, blocks.end()});
}

TEST_CASE("Counts stay exact from the first refill on, of new pages and of old ones") {
  const uint64_t size = GENERATE(128u, 500u, 1000u, 8000u, 9000u, 40000u);
  CAPTURE(size);
  PrivateHeap<Alloc> heap(kRegion);
  Alloc* alloc = heap.first();
  const uint64_t at_first = alloc->GetCurrentlyAllocatedSize();
  const uint64_t bytes = alloc->GetUsableSize(AllocateMany(alloc, 1, size)[0]);
  for (size_t count = 2; count <= 400; ++count) {
    AllocateMany(alloc, 1, size);
    REQUIRE(alloc->GetCurrentlyAllocatedSize() == at_first + count * bytes);
    if (count < 40 || count % 16 == 0) REQUIRE(alloc->Check());
  }
}

TEST_CASE("A page that its owner has emptied stays while a neighbour lists one of its blocks") {
  const uint64_t size = GENERATE(128u, 1000u, 8000u);
  CAPTURE(size);
  PrivateHeap<Alloc> heap(kRegion);
  Alloc* alloc = heap.first();
  const std::vector<OffsetPtr<>> blocks = AllocateMany(alloc, 3 * Config::kPageBytes / size, size);
  const Offset kept = blocks[blocks.size() / 2].load();
  const Offset gone = blocks.front().load();
  const HeapId owner = OwnerOf(alloc, kept);
  const Root root = RootOf(alloc);
  const PageEntry* entry = root.pages().EntryOf(kept);
  REQUIRE(entry != root.pages().EntryOf(gone));
  const Signpost listed;
  const Signpost emptied;
  const Signpost sent_home;
  const Signpost seen;
  std::thread neighbour([&] {
    alloc->FreeOffset(kCtx, OffsetPtr<>(kept));
    listed.Tell();
    emptied.Await();
    alloc->Trim();
    sent_home.Tell();
    seen.Await();
  });
  listed.Await();
  REQUIRE(ListedOfOthers(alloc, size) == 1);
  for (const OffsetPtr<>& block : blocks) {
    if (block.load() != kept) alloc->FreeOffset(kCtx, block);
  }
  alloc->Trim();
  CHECK(root.pages().EntryOf(gone)->owner_.Get() != owner);
  CHECK(entry->owner_.Get() == owner);
  CHECK(entry->used_.Get() == 1);
  CHECK(alloc->GetCurrentlyAllocatedSize() == 0);
  CHECK(alloc->Check());
  emptied.Tell();
  sent_home.Await();
  CHECK(ListedOfOthers(alloc, size) == 0);
  alloc->Trim();
  CHECK(entry->owner_.Get() != owner);
  CHECK(alloc->Check());
  seen.Tell();
  neighbour.join();
}

TEST_CASE("A thread ends while its neighbours list its blocks, and the next one has its heap") {
  const uint64_t size = GENERATE(128u, 1000u, 20000u);
  CAPTURE(size);
  PrivateHeap<Alloc> heap(kRegion);
  Alloc* alloc = heap.first();
  std::vector<OffsetPtr<>> blocks;
  HeapId owner = 0;
  OnThread([&] {
    blocks = AllocateMany(alloc, 12, size);
    owner = OwnerOf(alloc, blocks[0].load());
  });
  const size_t freed = size > Config::kMaxNarrowBytes ? 1 : 8;
  for (size_t i = 0; i < freed; ++i) alloc->FreeOffset(kCtx, blocks[i]);
  if (size <= Config::kMaxNarrowBytes) REQUIRE(ListedOfOthers(alloc, size) == freed);
  REQUIRE(alloc->Check());
  const std::vector<OffsetPtr<>> again = AllocateMany(alloc, freed, size);
  REQUIRE(SetOf(again) == SetOf({blocks.begin(), blocks.begin() + static_cast<ptrdiff_t>(freed)}));
  OnThread([&] {  // owns their pages
    for (size_t i = freed; i < blocks.size(); ++i) alloc->FreeOffset(kCtx, blocks[i]);
    const std::vector<OffsetPtr<>> own = AllocateMany(alloc, 12, size);
    if (size <= Config::kMaxNarrowBytes) REQUIRE(OwnerOf(alloc, own[0].load()) == owner);
    REQUIRE(alloc->Check());
    REQUIRE(AreIntact(alloc, own, size));
    FreeAll(alloc, own);
  });
  REQUIRE(AreIntact(alloc, again, size));
  FreeAll(alloc, again);
  alloc->Trim();
  REQUIRE(alloc->GetCurrentlyAllocatedSize() == 0);
  REQUIRE(alloc->Check());
}

TEST_CASE("A forked child leaves what its parent's slots list, and both free the parent's blocks") {
  constexpr uint64_t kBytes = 300;
  SharedHeap<Alloc> heap(kRegion);
  Alloc* alloc = heap.first();
  std::vector<OffsetPtr<>> blocks = AllocateMany(alloc, 40, kBytes);
  OnThread([&] {
    for (size_t i = 0; i < 8; ++i) alloc->FreeOffset(kCtx, blocks[i]);
    const size_t listed = ListedOfOthers(alloc, kBytes);
    REQUIRE(listed == 8);
    const uint64_t remote = alloc->GetStats().remote_frees_;
    ChildProcess child([&] {
      for (size_t i = 8; i < 16; ++i) alloc->FreeOffset(kCtx, blocks[i]);
      for (int i = 0; i < 30; ++i) {
        const Offset block = alloc->AllocateOffset(kCtx, kBytes).load();
        if (SetOf(blocks).count(block) != 0) return 1;  // a block of another process
      }
      if (!alloc->Check()) return 2;
      if (alloc->GetStats().remote_frees_ != remote + 8) return 3;
      alloc->shm_detach(ipc::DetachMode::kDelete);
      return 0;
    });
    REQUIRE(child.Wait() == 0);
    REQUIRE(ListedOfOthers(alloc, kBytes) == listed);
    REQUIRE(AllocateMany(alloc, 8, kBytes).size() == 8);
    REQUIRE(alloc->Check());
  });
  REQUIRE(alloc->GetStats().live_blocks_ == 32);
}

TEST_CASE("A later process in the slot of a dead one frees and lists what that one has left") {
  constexpr uint64_t kBytes = 300;
  SharedHeap<Alloc> heap(kRegion);
  Alloc* alloc = heap.first();
  const Signpost died;
  struct Left {
    uint64_t blocks_[40];
    uint32_t slot_;
  };
  auto* left = alloc->NewObj<Left>(kCtx).ptr_;
  const uint64_t at_first = alloc->GetCurrentlyAllocatedSize();
  const auto allocate = [&](Alloc* own) {
    for (uint64_t i = 0; i < 40; ++i) {
      const OffsetPtr<> block = own->AllocateOffset(kCtx, kBytes);
      FillPattern(BytesOf(own, block), kBytes, i);
      left->blocks_[i] = block.load();
    }
  };
  ChildProcess first([&] {
    Alloc* own = heap.Attach();
    left->slot_ = own->GetMembership().slot();
    allocate(own);
    OnThread([&] {
      for (int i = 0; i < 8; ++i) own->FreeOffset(kCtx, OffsetPtr<>(left->blocks_[i]));
      raise(SIGKILL);  // its slot lists them
    });
    return 1;
  });
  REQUIRE(first.Wait() == -SIGKILL);
  ChildProcess second([&] {
    Alloc* own = heap.Attach();
    if (own->GetMembership().slot() != left->slot_) return 1;
    if (!own->Check()) return 2;
    OnThread([&] {
      for (int i = 8; i < 16; ++i) own->FreeOffset(kCtx, OffsetPtr<>(left->blocks_[i]));
      if (ListedOfOthers(own, kBytes) != 8) _exit(3);
      if (!own->Check()) _exit(4);
    });
    for (uint64_t i = 16; i < 40; ++i) {
      const OffsetPtr<> block(left->blocks_[i]);
      if (!HasPattern(BytesOf(own, block), kBytes, kBytes, i)) return 5;
      own->FreeOffset(kCtx, block);
    }
    if (!own->Check()) return 6;
    own->shm_detach(ipc::DetachMode::kKeepLive);
    return 0;
  });
  REQUIRE(second.Wait() == 0);
  alloc->Recover();
  REQUIRE(alloc->GetCurrentlyAllocatedSize() == at_first);
  REQUIRE(alloc->Check());
}

/** A refill of the heap's slot by some of a page's list as a fork finds it after some of its
 * stores: 1 to 3; 4: all of them. */
void CutRefill(Alloc* alloc, Alloc::Heap* heap, uint64_t size_bytes, int stores) {
  const Root root = RootOf(alloc);
  const auto& pages = root.pages();
  std::vector<Offset> taken = {heap->Allocate(size_bytes)};
  const auto& slot = heap->record()->free_[ClassOf(size_bytes)];
  for (Offset block = slot.Get(); block != 0; block = pages.Link(block)) taken.push_back(block);
  PageEntry* entry = pages.EntryOf(taken[0]);
  const Offset rest = entry->local_.Get();
  REQUIRE(taken.size() > 1);
  REQUIRE(rest != 0);
  heap->record()->free_[ClassOf(size_bytes)].Set(taken[0]);
  if (stores < 4) entry->used_.Set(entry->used_.Get() - static_cast<uint32_t>(taken.size()));
  if (stores < 3) pages.SetLink(taken.back(), rest);
  if (stores < 2) entry->local_.Set(taken[0]);
}

TEST_CASE("Check finds a block that is in a class slot and in a run of remote frees at once") {
  PrivateHeap<Alloc> heap(kRegion);
  Alloc* const alloc = heap.first();
  constexpr uint64_t kBytes = 1000;
  std::vector<OffsetPtr<>> blocks;
  OnThread([&] { blocks = AllocateMany(alloc, 20, kBytes); });
  FreeAll(alloc, blocks);  // what the slot has no room for waits in a run
  REQUIRE(alloc->Check());
  const Root root = RootOf(alloc);
  ipc::multi_process::OwnedWord<uint64_t>* slot = nullptr;
  Offset listed = 0;
  root.ForEachSpan([&](uint32_t page, uint32_t) {
    if (!root.pages().HoldsRecords(root.pages().Entry(page))) return;
    auto* records = alloc->GetRegion().At<HeapRecord<Config>>(root.pages().OffsetOf(page));
    for (size_t i = 0; i < Config::kPageBytes / sizeof(HeapRecord<Config>); ++i) {
      for (const auto& word : records[i].pending_) {
        if (word.Get() == 0) continue;
        const Offset bearer = ipc::multi_process::RunWord<Config>::Bearer(word.Get());
        slot = &records[i].free_[ClassOf(kBytes)];
        listed = slot->Get();
        root.pages().SetLink(bearer, 0);  // as a list it is whole
        slot->Set(bearer);
      }
    }
  });
  REQUIRE(slot != nullptr);
  CHECK_FALSE(alloc->Check());
  slot->Set(listed);
  REQUIRE(alloc->Check());
}

TEST_CASE("A heap whose refill of a mixed slot was cut anywhere is settled, and loses no block") {
  const uint64_t size = GENERATE(128u, 200u, 240u);
  const int stores = GENERATE(1, 2, 3, 4);
  CAPTURE(size, stores);
  PrivateHeap<Alloc> region(kRegion);
  Alloc* alloc = region.first();
  Alloc::Heap* heap = alloc->AcquireHeap();
  REQUIRE(heap != nullptr);
  CutRefill(alloc, heap, size, stores);
  heap->SettleAll();
  REQUIRE(alloc->Check());
  REQUIRE(alloc->GetCurrentlyAllocatedSize() == 0);
  std::set<Offset> seen;
  for (int i = 0; i < 100; ++i) REQUIRE(seen.insert(heap->Allocate(size)).second);
  for (const Offset block : seen) heap->Free(block);
  alloc->ReleaseHeap(heap);
  alloc->Trim();
  REQUIRE(alloc->GetCurrentlyAllocatedSize() == 0);
  REQUIRE(alloc->Check());
}

TEST_CASE("Two threads that exchange blocks of any mixed class leave each of them once") {
  PrivateHeap<Alloc> heap(kRegion);
  Alloc* alloc = heap.first();
  std::mt19937_64 random(PrintedSeed("exchange of mixed blocks"));
  std::vector<std::pair<Offset, uint64_t>> blocks;
  const auto work = [&](int operations) {
    for (int i = 0; i < operations; ++i) {
      if (random() % 2 == 0 || blocks.empty()) {
        const uint64_t size = 100 + random() % (random() % 4 == 0 ? 30000 : 1000);
        const OffsetPtr<> block = alloc->AllocateOffset(kCtx, size);
        REQUIRE_FALSE(block.IsNull());
        FillPattern(BytesOf(alloc, block), size, block.load());
        blocks.push_back({block.load(), size});
      } else {
        std::swap(blocks[random() % blocks.size()], blocks.back());
        const auto [block, size] = blocks.back();
        REQUIRE(HasPattern(BytesOf(alloc, OffsetPtr<>(block)), size, size, block));
        alloc->FreeOffset(kCtx, OffsetPtr<>(block));
        blocks.pop_back();
      }
    }
    REQUIRE(alloc->GetStats().live_blocks_ == blocks.size());
    REQUIRE(LongestList(alloc) <= std::max(kMostListed, kMostTakenBack));
    REQUIRE(alloc->Check());
  };
  const Signpost to_neighbour;
  const Signpost back;
  constexpr int kTurns = 40;
  std::thread neighbour([&] {
    for (int i = 0; i < kTurns; ++i) {
      to_neighbour.Await();
      work(500);
      back.Tell();
    }
  });
  for (int i = 0; i < kTurns; ++i) {
    work(500);
    to_neighbour.Tell();
    back.Await();
  }
  neighbour.join();
  for (const auto& [block, size] : blocks) alloc->FreeOffset(kCtx, OffsetPtr<>(block));
  REQUIRE(alloc->GetCurrentlyAllocatedSize() == 0);
  alloc->Trim();
  REQUIRE(alloc->GetStats().live_blocks_ == 0);
  REQUIRE(alloc->Check());
}

}  // namespace
}  // namespace hshm::test
