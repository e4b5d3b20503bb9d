/** Pages that change hands: an owner halted anywhere, frees by others, pages that come home. */
#include <array>
#include <atomic>
#include <thread>
#include <vector>

#include "multi_process/heap.h"
#include "support/halted_thread.h"

namespace hshm::test {
namespace {

constexpr uint64_t kPage = 64 << 10;
constexpr uint64_t kRegion = 8 << 20;

/** As many blocks as can be had, each with its own pattern. */
template <typename Alloc>
std::vector<OffsetPtr<>> Grab(Alloc* alloc, uint64_t bytes) {
  const std::vector<OffsetPtr<>> blocks = FillUp(alloc, {bytes});
  for (size_t i = 0; i < blocks.size(); ++i) FillPattern(BytesOf(alloc, blocks[i]), bytes, i);
  return blocks;
}
template <typename Alloc>
bool AreIntact(Alloc* alloc, const std::vector<OffsetPtr<>>& blocks, uint64_t bytes) {
  for (size_t i = 0; i < blocks.size(); ++i) {
    if (!HasPattern(BytesOf(alloc, blocks[i]), bytes, bytes, i)) return false;
  }
  return true;
}

template <typename Alloc>
const ipc::multi_process::RootHeader& RootOf(Alloc* alloc) {
  const ipc::Region& region = alloc->GetRegion();
  const ipc::Offset header = ipc::AllocatorOffsetFor(region.size_bytes_);
  const ipc::Offset root = region.At<ipc::AllocatorHeader>(header)->core_offset_;
  return *region.At<ipc::multi_process::RootHeader>(root);
}

/** Pages of its heaps that are wholly free, or not: a span counts by its first page. */
template <typename Alloc>
uint64_t CountPages(Alloc* alloc) {
  using ipc::multi_process::PageEntry;
  const auto& root = RootOf(alloc);
  const auto* table = alloc->GetRegion().template At<PageEntry>(root.table_offset_);
  uint64_t count = 0;
  for (uint32_t page = root.first_page_; page < root.page_count_; ++page) {
    const ipc::multi_process::HeapId owner = table[page].owner_.GetAcquire();
    const bool has_owner = owner > ipc::multi_process::kSpanInterior;
    count += has_owner && ipc::multi_process::SlotOf(owner) == alloc->GetMembership().slot();
  }
  return count;
}

/** Whether the handle's process holds the root mutex: whoever is halted there is waited for. */
template <typename Alloc>
bool HoldsRoot(Alloc* alloc) {
  return RootOf(alloc).lock_.HolderSlot() == alloc->GetMembership().slot();
}

/** Hands blocks of three pages over in each lap, and frees what nobody has fetched of the last. It
 * gets no private memory meanwhile, whose lock another thread may need while this one is halted. */
class Owner {
 public:
  static constexpr uint64_t kBytes = 480;
  static constexpr size_t kBlocks = 24;  // three pages; the one in hand is not to be had

  explicit Owner(SmallMultiProcessAllocator* alloc) : alloc_(alloc) {
    thread_ = std::thread([this] {
      while (!stop_) Lap();
    });
  }
  ~Owner() { Stop(); }
  Owner(const Owner&) = delete;
  Owner& operator=(const Owner&) = delete;

  /** Frees through another handle what was handed over. */
  void FreeThrough(SmallMultiProcessAllocator* other) {
    for (size_t i = 0; i < kBlocks; ++i) Free(other, handed_[i].exchange(0), i);
    other->Trim();  // what waits in runs is posted
  }
  void Stop() {
    stop_ = true;
    if (thread_.joinable()) thread_.join();
  }
  std::thread& thread() { return thread_; }
  const std::atomic<uint64_t>& laps() const { return laps_; }
  uint64_t wrong() const { return wrong_; }

 private:
  void Lap() {
    bool has_all = true;
    for (size_t i = 0; i < kBlocks; ++i) {
      const OffsetPtr<> block = alloc_->AllocateOffset(kCtx, kBytes);
      has_all = has_all && !block.IsNull();
      if (block.IsNull()) continue;  // the taker has everything
      FillPattern(BytesOf(alloc_, block), kBytes, i);
      Free(alloc_, handed_[i].exchange(block.load()), i);
    }
    if (has_all) ++laps_;
  }
  void Free(SmallMultiProcessAllocator* alloc, Offset offset, size_t number) {
    if (offset == 0) return;
    const OffsetPtr<> block(offset);
    if (!HasPattern(BytesOf(alloc, block), kBytes, kBytes, number)) ++wrong_;
    alloc->FreeOffset(kCtx, block);
  }

  SmallMultiProcessAllocator* alloc_;
  std::array<std::atomic<uint64_t>, kBlocks> handed_{};
  std::atomic<bool> stop_{false};
  std::atomic<uint64_t> laps_{0};
  std::atomic<uint64_t> wrong_{0};
  std::thread thread_;
};

TEST_CASE("A rank takes pages of another that is halted anywhere, and both keep their blocks") {
  constexpr int kRounds = 700;
  constexpr uint64_t kTakers = 2000;
  PrivateHeap<SmallMultiProcessAllocator> heap(384 << 10);
  SmallMultiProcessAllocator* alloc = heap.first();
  SmallMultiProcessAllocator* taker = heap.Attach();
  Owner owner(alloc);
  Halter halter;
  bool is_halted = true;
  uint64_t wrong = 0;
  uint64_t taken = 0;
  for (int round = 0; round < kRounds && is_halted && wrong == 0; ++round) {
    std::vector<OffsetPtr<>> blocks;
    is_halted = halter.While(owner.thread(), owner.laps(), [&] {
      if (HoldsRoot(alloc)) return;
      owner.FreeThrough(taker);
      const uint64_t pages = CountPages(alloc);
      blocks = Grab(taker, kTakers);
      taken += pages - CountPages(alloc);
    });
    const uint64_t before = owner.laps();
    for (int i = 0; i < 20 && owner.laps() == before; ++i) sched_yield();  // it goes on meanwhile
    if (!AreIntact(taker, blocks, kTakers)) ++wrong;
    FreeAll(taker, blocks);
    taker->Trim();
  }
  owner.Stop();
  owner.FreeThrough(alloc);
  if (!is_halted) WARN("signals come too late here");
  CHECK(wrong + owner.wrong() == 0);
  REQUIRE((taken >= kRounds || !is_halted));
  REQUIRE(taker->Check());
}

TEST_CASE("A rank takes pages whatever was written into their free blocks") {
  constexpr uint64_t kBytes = 1000;
  PrivateHeap<MultiProcessAllocator> heap(kRegion);
  MultiProcessAllocator* sleeper = heap.first();
  MultiProcessAllocator* rank = heap.Attach();
  const std::vector<OffsetPtr<>> blocks = FillUp(sleeper, {kBytes});
  FreeAll(rank, blocks);
  rank->Trim();  // all are pushed
  for (const OffsetPtr<> block : blocks) std::memset(BytesOf(rank, block), 0xff, kBytes);
  const std::vector<OffsetPtr<>> taken = Grab(rank, kBytes);
  REQUIRE(taken.size() + kPage / kBytes >= blocks.size());  // but for the page in hand
  REQUIRE(AreIntact(rank, taken, kBytes));
}

TEST_CASE("What others free is had again by the thread that allocates, and needs no more room") {
  PrivateHeap<MultiProcessAllocator> heap(kRegion);
  MultiProcessAllocator* producer = heap.first();
  MultiProcessAllocator* consumer = heap.Attach();
  constexpr uint64_t kBytes = 1000;
  const uint64_t half = kRegion / kBytes / 2;
  const OffsetPtr<> kept = consumer->AllocateOffset(kCtx, kBytes);
  for (int round = 0; round < 20; ++round) {
    CAPTURE(round);
    std::vector<OffsetPtr<>> blocks;
    for (uint64_t i = 0; i < half; ++i) blocks.push_back(producer->AllocateOffset(kCtx, kBytes));
    for (const OffsetPtr<> block : blocks) REQUIRE_FALSE(block.IsNull());
    FreeAll(consumer, blocks);
  }
  consumer->FreeOffset(kCtx, kept);
  REQUIRE(producer->Check());
}

TEST_CASE("Runs that were trimmed in place leave no page behind") {
  PrivateHeap<MultiProcessAllocator> heap(kRegion);
  MultiProcessAllocator* alloc = heap.first();
  MultiProcessAllocator* other = heap.Attach();
  alloc->Trim();
  const uint64_t at_first = LargestBlock(other, kPage);
  std::vector<FullPtr<>> runs;
  for (int i = 0; i < 5; ++i) {
    runs.push_back(alloc->Allocate(kCtx, 10 * kPage));
    REQUIRE_FALSE(runs.back().IsNull());
    const FullPtr<> trimmed = alloc->Reallocate(kCtx, runs.back(), 2 * kPage);
    REQUIRE(trimmed.ptr_ == runs.back().ptr_);
  }
  for (const FullPtr<>& run : runs) alloc->Free(kCtx, run);
  alloc->Trim();
  CHECK(LargestBlock(other, kPage) >= at_first);
}

TEST_CASE("Pages that another rank had for a while come home, and their unit is whole again") {
  PrivateHeap<MultiProcessAllocator> heap(kRegion);
  MultiProcessAllocator* a = heap.first();
  MultiProcessAllocator* b = heap.Attach();
  b->Trim();
  a->Trim();
  const uint64_t at_first = LargestBlock(a, kPage);
  for (const uint64_t size : {1000, 5000, 100000}) {
    CAPTURE(size);
    FreeAll(a, FillUp(a, {size}));  // the units are a's
    FreeAll(b, FillUp(b, {size}));  // b takes their pages
    b->Trim();
    a->Trim();
    CHECK(LargestBlock(a, kPage) >= at_first);
    REQUIRE(a->Check());
  }
}

/** Blocks that another thread can have when the first one has let its pages go, of which another
 * process was just opening two, and then did not get the next one. */
uint64_t CountBesideRun(bool with_opener) {
  using ipc::multi_process::PageEntry;
  constexpr uint64_t kSmallPage = 4096;
  constexpr uint32_t kOpenersId = 77;
  MultiProcessOptions options;
  options.expected_processes_ = 1;  // so that there is room for a thread unit at once
  PrivateHeap<SmallMultiProcessAllocator> heap(4 << 20, options);
  SmallMultiProcessAllocator* alloc = heap.first();
  const FullPtr<> run = alloc->Allocate(kCtx, 4 * kSmallPage);
  REQUIRE(alloc->Reallocate(kCtx, run, 2 * kSmallPage).ptr_ == run.ptr_);
  // Of the four pages of the run the last two are free, and say still how far its head is.
  auto* const entries = alloc->GetRegion().template At<PageEntry>(RootOf(alloc).table_offset_);
  PageEntry* const first = entries + run.shm_.off_.load() / kSmallPage;
  REQUIRE((first[2].owner_.Get() == 0 && first[3].owner_.Get() == 0 && first[3].back_.Get() == 3));
  if (with_opener) {
    REQUIRE(first[2].owner_.CasFrom(0, kOpenersId));
    REQUIRE(first[3].owner_.CasFrom(0, ipc::multi_process::kSpanInterior));
  }
  alloc->Trim();
  if (with_opener) {
    first[3].owner_.SetRelease(0);
    first[2].owner_.SetRelease(0);
  }
  uint64_t count = 0;
  std::thread([&] { count = FillUp(alloc, {kSmallPage / 8}).size(); }).join();
  return count;
}

TEST_CASE("A page that another process is opening while its thread unit is given up comes home") {
  CHECK(CountBesideRun(true) == CountBesideRun(false));
}

TEST_CASE("A page is taken from a sleeper whose unit lies behind a large block") {
  constexpr uint64_t kMiB = 1 << 20;
  MultiProcessOptions options;
  options.process_unit_bytes_ = kMiB;
  PrivateHeap<MultiProcessAllocator> heap(32 * kMiB, options);
  MultiProcessAllocator* rank = heap.first();
  const OffsetPtr<> large = rank->AllocateOffset(kCtx, 3 * kMiB);
  REQUIRE_FALSE(large.IsNull());
  MultiProcessAllocator* sleeper = heap.Attach(options);
  const auto blocks = Grab(sleeper, 1000);
  REQUIRE(blocks.front().load() > large.load());
  Grab(rank, 1000);
  FreeAll(rank, blocks);
  rank->Trim();  // the sleeper has not looked at them
  REQUIRE_FALSE(rank->AllocateOffset(kCtx, 1000).IsNull());
  REQUIRE(sleeper->Check());
}

}  // namespace
}  // namespace hshm::test
