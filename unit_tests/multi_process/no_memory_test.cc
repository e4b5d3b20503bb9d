#include <memory>
#include <string>
#include <vector>

#include "hermes_shm/base/error.h"
#include "multi_process/heap.h"
#include "support/metered_services.h"

/** A system that runs out of memory in the middle: null, nothing lost, and on with what is there.
 */
namespace hshm::test {
namespace {

constexpr uint64_t kRegion = 32 << 20;

/** A metered region and a handle on it. */
struct MeteredHeap {
  MeteredHeap() {
    backend_.shm_init(ipc::MemoryBackendId(1), kRegion);
    region_ = backend_.region();
    meter_ = std::make_unique<Meter>(region_.services_);
    region_.services_ = meter_.get();
  }
  void Make(const MultiProcessOptions& options = {}) { alloc_.shm_init(kId, 0, region_, options); }

  ipc::MallocBackend backend_;
  std::unique_ptr<Meter> meter_;
  ipc::Region region_;
  MultiProcessAllocator alloc_;
};

TEST_CASE("Refused memory is null, loses nothing, and all is had when there is memory again") {
  const std::vector<uint64_t> sizes = GENERATE(
      std::vector<uint64_t>{1000}, std::vector<uint64_t>{40000}, std::vector<uint64_t>{200000},
      std::vector<uint64_t>{16, 3000, 50000, 100000, 2000000});
  MultiProcessOptions options;
  options.process_unit_bytes_ = 1 << 20;  // 2 MB is a large block
  size_t all = 0;
  {
    MeteredHeap whole;
    whole.Make(options);
    all = FillUp(&whole.alloc_, sizes).size();
  }
  for (uint64_t commits = 0; commits < 60; commits += commits < 12 ? 1 : 7) {
    CAPTURE(sizes, commits);
    MeteredHeap heap;
    heap.Make(options);
    heap.meter_->Allow(commits);
    const auto blocks = FillUp(&heap.alloc_, sizes);
    REQUIRE(heap.meter_->refused() > 0);
    REQUIRE(heap.alloc_.Check());
    for (size_t i = 0; i < blocks.size(); ++i) {
      FillPattern(BytesOf(&heap.alloc_, blocks[i]), std::min<uint64_t>(sizes[0], 1000), i);
    }
    FreeAll(&heap.alloc_, blocks);
    REQUIRE(heap.alloc_.GetCurrentlyAllocatedSize() == 0);
    heap.meter_->Allow(~uint64_t{0});
    REQUIRE(FillUp(&heap.alloc_, sizes).size() * 100 >= all * 97);
    REQUIRE(heap.alloc_.Check());
  }
}

#if HSHM_CHECKED
TEST_CASE("No page gets memory that nobody knows of when there is none for its marks") {
  MeteredHeap heap;
  heap.Make();
  const Offset core =
      heap.region_.At<ipc::AllocatorHeader>(ipc::AllocatorOffsetFor(kRegion))->core_offset_;
  const auto& root = *heap.region_.At<ipc::multi_process::RootHeader>(core);
  const Offset marks =
      root.table_offset_ + root.page_count_ * sizeof(ipc::multi_process::PageEntry);
  const Offset data = root.first_page_ * ipc::multi_process::LargePages::kPageBytes;
  heap.meter_->Refuse(marks, data);
  const uint64_t given = heap.meter_->GivenFrom(data);
  const uint64_t committed = heap.alloc_.GetStats().committed_bytes_;
  for (const uint64_t size : {uint64_t{3000}, uint64_t{50000}, uint64_t{200000}, kRegion / 2}) {
    REQUIRE(heap.alloc_.AllocateOffset(kCtx, size).IsNull());
  }
  REQUIRE(heap.meter_->refused() > 0);
  REQUIRE(heap.meter_->GivenFrom(data) == given);
  REQUIRE(heap.alloc_.GetStats().committed_bytes_ == committed);
  heap.meter_->Refuse(0, 0);
  REQUIRE_FALSE(heap.alloc_.AllocateOffset(kCtx, 200000).IsNull());
  REQUIRE(heap.alloc_.Check());
}
#endif

TEST_CASE("A reallocation that the system refuses leaves the block as it was") {
  MultiProcessOptions options;
  options.process_unit_bytes_ = 1 << 20;
  for (uint64_t size : {uint64_t{1000}, uint64_t{200000}, uint64_t{3} << 20}) {
    for (uint64_t commits = 0; commits < 3; ++commits) {
      CAPTURE(size, commits);
      MeteredHeap heap;
      heap.Make(options);
      const OffsetPtr<> block = heap.alloc_.AllocateOffset(kCtx, size);
      FillPattern(BytesOf(&heap.alloc_, block), size, 77);
      const uint64_t before = heap.alloc_.GetCurrentlyAllocatedSize();
      heap.meter_->Allow(commits);
      const OffsetPtr<> grown = heap.alloc_.ReallocateOffset(kCtx, block, size + (9 << 20));
      if (grown.IsNull()) REQUIRE(heap.alloc_.GetCurrentlyAllocatedSize() == before);
      const OffsetPtr<> now = grown.IsNull() ? block : grown;
      REQUIRE(HasPattern(BytesOf(&heap.alloc_, now), size, size, 77));
      REQUIRE(heap.alloc_.Check());
      heap.meter_->Allow(~uint64_t{0});
      heap.alloc_.FreeOffset(kCtx, now);
      REQUIRE(heap.alloc_.GetCurrentlyAllocatedSize() == 0);
      heap.alloc_.Trim();
      REQUIRE(LargestBlock(&heap.alloc_, 65536) >= kRegion / 10 * 9);
    }
  }
}

/** What resizing a block in vain must not change. */
void RequireSame(const ipc::AllocatorStats& now, const ipc::AllocatorStats& before) {
  REQUIRE(now.live_bytes_ == before.live_bytes_);
  REQUIRE(now.live_blocks_ == before.live_blocks_);
  REQUIRE(now.free_bytes_ == before.free_bytes_);
  REQUIRE(now.largest_free_bytes_ == before.largest_free_bytes_);
  REQUIRE(now.committed_bytes_ == before.committed_bytes_);
}

/** Two processes with units of 1 MiB, and a block of 3 MiB of the first with nothing behind it. */
struct LargeBlock : MeteredHeap {
  static constexpr uint64_t kSize = 3 << 20;
  LargeBlock() {
    MultiProcessOptions options;
    options.process_unit_bytes_ = 1 << 20;
    Make(options);
    other_.shm_attach(region_, options);
    block_ = alloc_.AllocateOffset(kCtx, kSize);
    FillPattern(BytesOf(&alloc_, block_), kSize, 77);
  }

  MultiProcessAllocator other_;
  OffsetPtr<> block_;
};

TEST_CASE("A large block for whose end there is no memory is as long as before") {
  LargeBlock heap;
  const uint64_t usable = heap.alloc_.GetUsableSize(heap.block_);
  const ipc::AllocatorStats before = heap.alloc_.GetStats();
  for (uint64_t commits = 0; commits < 2; ++commits) {  // of the page table, and then of pages
    CAPTURE(commits);
    heap.meter_->Allow(commits);
    REQUIRE_FALSE(heap.alloc_.ResizeInPlace(kCtx, heap.block_, LargeBlock::kSize + (9 << 20)));
    REQUIRE(heap.meter_->refused() == commits + 1);
    REQUIRE(heap.alloc_.GetUsableSize(heap.block_) == usable);
    REQUIRE(
        HasPattern(BytesOf(&heap.alloc_, heap.block_), LargeBlock::kSize, LargeBlock::kSize, 77));
    RequireSame(heap.alloc_.GetStats(), before);
    REQUIRE(heap.alloc_.Check());
  }
  heap.meter_->Allow(~uint64_t{0});
  REQUIRE(heap.alloc_.ResizeInPlace(kCtx, heap.block_, LargeBlock::kSize + (9 << 20)));
  REQUIRE(heap.alloc_.GetUsableSize(heap.block_) >= LargeBlock::kSize + (9 << 20));
}

TEST_CASE("While a large block's end gets its memory others work and see the block as it was") {
  LargeBlock heap;
  MultiProcessAllocator& other = heap.other_;
  const uint64_t usable = heap.alloc_.GetUsableSize(heap.block_);
  const uint64_t longer = LargeBlock::kSize + (9 << 20);
  const Offset end = heap.block_.load() + usable;
  bool is_called = false;
  heap.meter_->CallAt(end, [&] {  // where nothing may be thrown
    is_called = true;
    CHECK(other.GetUsableSize(heap.block_) == usable);
    const ipc::AllocatorStats now = other.GetStats();
    CHECK(now.live_bytes_ == usable);
    CHECK(now.live_blocks_ == 1);
    CHECK(now.free_bytes_ + longer <= now.capacity_bytes_);
    const OffsetPtr<> block = other.AllocateOffset(kCtx, 2 << 20);
    CHECK_FALSE(block.IsNull());
    const bool is_apart = block.load() >= heap.block_.load() + longer ||
                          block.load() + (2 << 20) <= heap.block_.load();
    CHECK(is_apart);
    if (!block.IsNull()) other.FreeOffset(kCtx, block);
    CHECK(other.Recover() == 0);
    CHECK(other.Check());
  });
  REQUIRE(heap.alloc_.ResizeInPlace(kCtx, heap.block_, longer));
  REQUIRE(is_called);
  REQUIRE(other.GetUsableSize(heap.block_) >= longer);
  REQUIRE(heap.alloc_.GetStats().live_blocks_ == 1);
  REQUIRE(heap.alloc_.Check());
}

TEST_CASE("Set-up that the system refuses says so, and works when there is memory again") {
  for (uint64_t commits = 0;; ++commits) {
    CAPTURE(commits);
    MeteredHeap heap;
    heap.meter_->Allow(commits);
    bool is_made = true;
    try {
      heap.Make();
    } catch (const Error& error) {
      REQUIRE(error.code() == ErrorCode::kNoSpace);
      is_made = false;
    }
    if (is_made) {
      REQUIRE(commits > 2);
      break;
    }
    heap.meter_->Allow(~uint64_t{0});
    heap.Make();
    REQUIRE(FillUp(&heap.alloc_, {1000}).size() * 1000 >= kRegion / 10 * 8);
    REQUIRE(heap.alloc_.Check());
  }
}

TEST_CASE("Joining that the system refuses says so, and leaves no trace") {
  MeteredHeap heap;
  heap.Make();
  for (uint64_t commits = 0;; ++commits) {
    CAPTURE(commits);
    heap.meter_->Allow(commits);
    MultiProcessAllocator late;
    bool is_joined = true;
    try {
      late.shm_attach(heap.region_);
    } catch (const Error& error) {
      REQUIRE(error.code() == ErrorCode::kNoSpace);
      REQUIRE_FALSE(late.IsAttached());
      is_joined = false;
    }
    heap.meter_->Allow(~uint64_t{0});
    REQUIRE(heap.alloc_.Check());
    if (is_joined) break;
    late.shm_attach(heap.region_);
    REQUIRE_FALSE(late.AllocateOffset(kCtx, 100).IsNull());
    late.shm_detach();
    REQUIRE(heap.alloc_.GetCurrentlyAllocatedSize() == 0);
  }
}

TEST_CASE("Set-up that is refused again, in clearing what a refused one left, says what for") {
  uint32_t of_the_table = 0;
  for (uint64_t commits = 0; commits < 12; ++commits) {
    for (uint64_t again = 0; again < 6; ++again) {
      CAPTURE(commits, again);
      MeteredHeap heap;
      const auto refused = [&](uint64_t allowed) {
        heap.meter_->Allow(allowed);
        try {
          heap.Make();
        } catch (const Error& error) {
          REQUIRE(error.code() == ErrorCode::kNoSpace);
          if (std::string(error.what()).find("page table") != std::string::npos) ++of_the_table;
          return true;
        }
        return false;
      };
      if (!refused(commits) || !refused(again)) continue;
      heap.meter_->Allow(~uint64_t{0});
      heap.Make();
      REQUIRE_FALSE(heap.alloc_.AllocateOffset(kCtx, 100000).IsNull());
      REQUIRE(heap.alloc_.Check());
    }
  }
  REQUIRE(of_the_table > 0);
}

constexpr uint64_t kPage = 64 << 10;

/** A process that has the whole region, of which few pages have memory, and those not the first. */
struct Sleeper : MeteredHeap {
  explicit Sleeper(uint64_t pages) {
    MultiProcessOptions options;
    options.expected_processes_ = 1;
    Make(options);
    if (pages == 0) return;
    const OffsetPtr<> run = alloc_.AlignedAllocateOffset(kCtx, pages * kPage, 16 * kPage);
    alloc_.FreeOffset(kCtx, run);
    alloc_.Trim();
  }
};

TEST_CASE("A rank for which the system has no memory takes pages of a sleeper that have theirs") {
  Sleeper heap(20);
  heap.meter_->Allow(0);
  MultiProcessAllocator late;
  late.shm_attach(heap.region_);
  REQUIRE(heap.meter_->refused() > 0);  // for pages that were nearer
  const auto blocks = FillUp(&late, {1000});
  REQUIRE(blocks.size() >= 10 * kPage / 1000);
  REQUIRE(blocks.size() <= 20 * kPage / 1000);
  for (size_t i = 0; i < blocks.size(); ++i) FillPattern(BytesOf(&late, blocks[i]), 1000, i);
  REQUIRE(late.Check());
  heap.meter_->Allow(~uint64_t{0});
  REQUIRE_FALSE(late.AllocateOffset(kCtx, 100 * kPage).IsNull());
  for (size_t i = 0; i < blocks.size(); ++i) {
    REQUIRE(HasPattern(BytesOf(&late, blocks[i]), 1000, 1000, i));
  }
  REQUIRE(heap.alloc_.Check());
}

TEST_CASE("A rank for which there is neither a page with memory, nor memory for one, is refused") {
  Sleeper heap(0);
  heap.meter_->Allow(0);
  MultiProcessAllocator late;
  REQUIRE_THROWS_AS(late.shm_attach(heap.region_), Error);
  REQUIRE_FALSE(late.IsAttached());
  heap.meter_->Allow(~uint64_t{0});
  late.shm_attach(heap.region_);
  REQUIRE_FALSE(late.AllocateOffset(kCtx, 1000).IsNull());
  REQUIRE(heap.alloc_.Check());
}

/** The sleeper opens that page itself, while its memory is fetched for another. */
struct WakesUp {
  static constexpr uint64_t kBytes = kPage / 8;  // of a class whose pages are opened one by one
  explicit WakesUp(Sleeper* heap) : heap_(heap) {
    const Offset core =
        heap->region_.At<ipc::AllocatorHeader>(ipc::AllocatorOffsetFor(kRegion))->core_offset_;
    const ipc::multi_process::RootTier<ipc::multi_process::LargePages> root(heap->region_, core,
                                                                            nullptr);
    do {
      entry_ = root.pages().Entry(page_ == 0 ? page_ = root.header().first_page_ : ++page_);
    } while (entry_->owner_.Get() != ipc::multi_process::kFreePage ||
             entry_->committed_.Get() != 0);
    heap->meter_->CallAt(page_ * kPage, [this] {
      while (entry_->owner_.Get() == ipc::multi_process::kFreePage && blocks_.size() < 4000) {
        blocks_.push_back(heap_->alloc_.AllocateOffset(kCtx, kBytes));
      }
    });
  }
  bool HasOpened() const {
    return entry_->owner_.Get() != ipc::multi_process::kFreePage && !blocks_.empty();
  }

  Sleeper* heap_;
  uint32_t page_ = 0;
  ipc::multi_process::PageEntry* entry_ = nullptr;
  std::vector<OffsetPtr<>> blocks_;
};

TEST_CASE("A page that its process opens while it is fetched for another's record is its own") {
  Sleeper heap(0);
  WakesUp wakes(&heap);
  MultiProcessAllocator late;
  late.shm_attach(heap.region_);
  REQUIRE(wakes.HasOpened());
  for (size_t i = 0; i < wakes.blocks_.size(); ++i) {
    FillPattern(BytesOf(&heap.alloc_, wakes.blocks_[i]), WakesUp::kBytes, i);
  }
  REQUIRE_FALSE(late.AllocateOffset(kCtx, 1000).IsNull());
  REQUIRE(late.Check());
  for (size_t i = 0; i < wakes.blocks_.size(); ++i) {
    REQUIRE(
        HasPattern(BytesOf(&heap.alloc_, wakes.blocks_[i]), WakesUp::kBytes, WakesUp::kBytes, i));
  }
}

TEST_CASE("A page that its process opens while it is fetched for a taker is its own") {
  Sleeper heap(0);
  MultiProcessAllocator late;
  late.shm_attach(heap.region_);
  WakesUp wakes(&heap);
  std::vector<OffsetPtr<>> taken;
  while (!wakes.HasOpened() && taken.size() < 640) {
    taken.push_back(late.AllocateOffset(kCtx, WakesUp::kBytes));
    REQUIRE_FALSE(taken.back().IsNull());
    FillPattern(BytesOf(&late, taken.back()), WakesUp::kBytes, taken.size());
  }
  REQUIRE(wakes.HasOpened());
  for (size_t i = 0; i < wakes.blocks_.size(); ++i) {
    FillPattern(BytesOf(&heap.alloc_, wakes.blocks_[i]), WakesUp::kBytes, 100 + i);
  }
  for (size_t i = 0; i < taken.size(); ++i) {
    REQUIRE(HasPattern(BytesOf(&late, taken[i]), WakesUp::kBytes, WakesUp::kBytes, i + 1));
  }
  REQUIRE(heap.alloc_.Check());
}

}  // namespace
}  // namespace hshm::test
