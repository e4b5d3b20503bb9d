#include <sys/mman.h>

#include <algorithm>
#include <csignal>
#include <memory>

#include "multi_process/heap.h"
#include "support/child_process.h"
#include "support/passed_services.h"

/** On which NUMA node a process's units are asked for, when, and for how long. */
namespace hshm::test {
namespace {

using ipc::kAnyNode;

constexpr uint64_t kRegion = 16 << 20;
constexpr uint64_t kUnit = 1 << 20;
constexpr uint64_t kPage = 4096;

/** Of one system page. Shared with forked children. */
struct PageNotes {
  uint32_t wish_;       // node + 1; 0: none
  uint32_t at_commit_;  // the wish when the page was committed first since its last hole
  bool is_committed_;
};

/** The services of a region, and what was asked of them for each page. */
class Recorder : public PassedServices {
 public:
  explicit Recorder(const ipc::Region& region)
      : PassedServices(region.services_), page_count_(region.size_bytes_ / kPage) {
    void* notes = mmap(nullptr, page_count_ * sizeof(PageNotes), PROT_READ | PROT_WRITE,
                       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    REQUIRE(notes != MAP_FAILED);
    notes_ = static_cast<PageNotes*>(notes);
  }
  ~Recorder() override { munmap(notes_, page_count_ * sizeof(PageNotes)); }

  void Refuse() { is_refusing_ = true; }
  /** The process dies when it commits bytes from `offset` on. */
  void KillAt(Offset offset) { kill_offset_ = offset; }
  uint64_t binds() const { return binds_; }

  /** Pages of the range whose memory was not asked for on this node before it was taken. */
  uint64_t Misplaced(Offset offset, uint64_t size_bytes, uint32_t node) const {
    return CountPages(offset, size_bytes, [&](const PageNotes& page) {
      return !page.is_committed_ || page.at_commit_ != node + 1 || page.wish_ != node + 1;
    });
  }
  uint64_t Wishes() const {
    return CountPages(0, page_count_ * kPage,
                      [](const PageNotes& page) { return page.wish_ != 0; });
  }

  bool Commit(Offset offset, uint64_t size_bytes) noexcept override {
    if (offset >= kill_offset_) raise(SIGKILL);
    ForEachPage(offset, size_bytes, [](PageNotes& page) {
      if (!page.is_committed_) page.at_commit_ = page.wish_;
      page.is_committed_ = true;
    });
    return PassedServices::Commit(offset, size_bytes);
  }
  void Decommit(Offset offset, uint64_t size_bytes) noexcept override {
    ForEachPage(offset, size_bytes, [](PageNotes& page) { page.is_committed_ = false; });
    PassedServices::Decommit(offset, size_bytes);
  }
  bool Bind(Offset offset, uint64_t size_bytes, uint32_t node) noexcept override {
    ++binds_;
    if (is_refusing_) return false;
    // kAnyNode + 1 is 0.
    ForEachPage(offset, size_bytes, [node](PageNotes& page) { page.wish_ = node + 1; });
    return true;
  }

 private:
  template <typename Visit>
  void ForEachPage(Offset offset, uint64_t size_bytes, Visit visit) const {
    for (uint64_t page = offset / kPage; page * kPage < offset + size_bytes; ++page) {
      visit(notes_[page]);
    }
  }
  template <typename Condition>
  uint64_t CountPages(Offset offset, uint64_t size_bytes, Condition condition) const {
    uint64_t count = 0;
    ForEachPage(offset, size_bytes, [&](const PageNotes& page) { count += condition(page); });
    return count;
  }

  uint64_t page_count_;
  PageNotes* notes_ = nullptr;
  uint64_t binds_ = 0;
  bool is_refusing_ = false;
  Offset kill_offset_ = ~Offset{0};
};

MultiProcessOptions OnNode(uint32_t node, uint64_t unit_bytes = kUnit) {
  MultiProcessOptions options;
  options.process_unit_bytes_ = unit_bytes;
  options.expected_processes_ = 4;
  options.numa_node_ = node;
  return options;
}

/** A recorded region in a segment without a name. */
class RecordedHeap {
 public:
  RecordedHeap() {
    backend_.shm_init(ipc::MemoryBackendId(1), kRegion,
                      "hshm-placement-" + std::to_string(getpid()));
    backend_.Unlink();
    region_ = backend_.region();
    recorder_ = std::make_unique<Recorder>(region_);
    region_.services_ = recorder_.get();
  }

  std::unique_ptr<MultiProcessAllocator> Make(const MultiProcessOptions& options) {
    auto alloc = std::make_unique<MultiProcessAllocator>();
    alloc->shm_init(kId, 0, region_, options);
    return alloc;
  }
  std::unique_ptr<MultiProcessAllocator> Attach(const MultiProcessOptions& options) {
    auto alloc = std::make_unique<MultiProcessAllocator>();
    alloc->shm_attach(region_, options);
    return alloc;
  }
  Recorder& recorder() { return *recorder_; }

 private:
  ipc::PosixShmMmap backend_;
  std::unique_ptr<Recorder> recorder_;
  ipc::Region region_;
};

/** Pages of the blocks that were not asked for on the node before they were taken. */
uint64_t MisplacedOf(RecordedHeap& heap, MultiProcessAllocator* alloc,
                     const std::vector<OffsetPtr<>>& blocks, uint32_t node) {
  uint64_t count = 0;
  for (const OffsetPtr<>& block : blocks) {
    count += heap.recorder().Misplaced(block.load(), alloc->GetUsableSize(block), node);
  }
  return count;
}

}  // namespace

TEST_CASE("Whatever a process is granted is asked for on its node before it is committed") {
  RecordedHeap heap;
  const auto a = heap.Make(OnNode(0));
  const auto b = heap.Attach(OnNode(3));
  std::vector<OffsetPtr<>> of_a;
  std::vector<OffsetPtr<>> of_b;
  for (int round = 0; round < 12; ++round) {
    for (uint64_t size : {16u, 3000u, 50000u, 200000u}) {
      of_a.push_back(a->AllocateOffset(kCtx, size));
      of_b.push_back(b->AllocateOffset(kCtx, size));
      REQUIRE_FALSE(of_a.back().IsNull());
      REQUIRE_FALSE(of_b.back().IsNull());
    }
  }
  of_a.push_back(a->AllocateOffset(kCtx, 2 * kUnit));  // large: from the root itself
  of_b.push_back(b->AllocateOffset(kCtx, 2 * kUnit));
  REQUIRE_FALSE(of_b.back().IsNull());
  CHECK(MisplacedOf(heap, a.get(), of_a, 0) == 0);
  CHECK(MisplacedOf(heap, b.get(), of_b, 3) == 0);
  CHECK(b->GetPlacement().node_ == 3);
  CHECK(b->GetPlacement().placed_bytes_ >= 4 * kUnit);
  CHECK(b->GetPlacement().refused_bytes_ == 0);
}

TEST_CASE("A large block that grows is placed throughout and what it leaves has no wish") {
  RecordedHeap heap;
  const auto alloc = heap.Make(OnNode(2));
  OffsetPtr<> block = alloc->AllocateOffset(kCtx, 2 * kUnit);
  const uint64_t others = heap.recorder().Wishes() - 2 * kUnit / kPage;  // the unit's
  const OffsetPtr<> grown = alloc->ReallocateOffset(kCtx, block, 4 * kUnit);
  REQUIRE(grown.load() == block.load());
  CHECK(heap.recorder().Misplaced(block.load(), 4 * kUnit, 2) == 0);
  REQUIRE(alloc->ReallocateOffset(kCtx, block, 3 * kUnit / 2).load() == block.load());
  CHECK(heap.recorder().Misplaced(block.load(), 3 * kUnit / 2, 2) == 0);
  CHECK(heap.recorder().Wishes() == others + 3 * kUnit / 2 / kPage);
  alloc->FreeOffset(kCtx, block);
  CHECK(heap.recorder().Wishes() == others);
}

TEST_CASE("A unit that goes back to the root has no wish any more") {
  RecordedHeap heap;
  const auto a = heap.Make(OnNode(kAnyNode));
  auto b = heap.Attach(OnNode(1));
  REQUIRE(heap.recorder().Wishes() > 0);
  const std::vector<OffsetPtr<>> blocks = FillUp(b.get(), {3000});
  SECTION("when its process trims") {
    FreeAll(b.get(), blocks);
    b->Trim();
    // What is left is in use: a unit with the records of the heap.
    CHECK(heap.recorder().Wishes() == kUnit / kPage);
    b->shm_detach();
  }
  SECTION("when its process leaves and deletes its blocks") { b->shm_detach(); }
  SECTION("when an heir without a node gives back what was left to it") {
    b->shm_detach(ipc::DetachMode::kKeepLive);
    REQUIRE(a->Recover() == 1);
    CHECK(heap.recorder().Wishes() > 8 * kUnit / kPage);  // as long as something is in use
    FreeAll(a.get(), blocks);
  }
  b.reset();
  a->Trim();
  a->Recover();
  CHECK(heap.recorder().Wishes() == 0);
}

TEST_CASE("What a killed process had has no wish once it is given back") {
  const auto on_death = GENERATE(ipc::OnDeath::kKeepLive, ipc::OnDeath::kReclaim);
  RecordedHeap heap;
  const auto alloc = heap.Make(OnNode(kAnyNode));
  ChildProcess child([&] {
    MultiProcessOptions options = OnNode(1);
    options.on_death_ = on_death;
    const auto own = heap.Attach(options);
    (void)own->AllocateOffset(kCtx, 3 * kUnit);  // a large block: its label outlives the death
    (void)own->AllocateOffset(kCtx, 1000);
    raise(SIGKILL);
    return 0;
  });
  REQUIRE(child.Wait() == -SIGKILL);
  REQUIRE(heap.recorder().Wishes() == 4 * kUnit / kPage);
  REQUIRE(alloc->Recover() == 1);
  if (on_death == ipc::OnDeath::kReclaim) {
    CHECK(heap.recorder().Wishes() == 0);
  } else {
    CHECK(heap.recorder().Wishes() == 4 * kUnit / kPage);
  }
}

TEST_CASE("A large block that a killed process made longer is as it was and its end without wish") {
  RecordedHeap heap;
  const auto alloc = heap.Make(OnNode(kAnyNode));
  const OffsetPtr<> gap = alloc->AllocateOffset(kCtx, 2 * kUnit);
  const OffsetPtr<> block = alloc->AllocateOffset(kCtx, 2 * kUnit);
  alloc->FreeOffset(kCtx, gap);  // for the other process's unit
  const uint64_t usable = alloc->GetUsableSize(block);
  const uint64_t free_bytes = alloc->GetStats().free_bytes_;
  FillPattern(BytesOf(alloc.get(), block), usable, 5);
  ChildProcess child([&] {
    const auto own = heap.Attach(OnNode(1));
    heap.recorder().KillAt(block.load() + usable);
    return own->ResizeInPlace(kCtx, block, 4 * kUnit) ? 1 : 2;
  });
  REQUIRE(child.Wait() == -SIGKILL);
  CHECK(alloc->GetUsableSize(block) == usable);
  CHECK(heap.recorder().Wishes() == 3 * kUnit / kPage);  // its unit's, and what it was to get
  REQUIRE(alloc->Recover() == 1);
  CHECK(heap.recorder().Wishes() == 0);
  CHECK(alloc->GetStats().free_bytes_ == free_bytes);
  CHECK(alloc->Check());
  REQUIRE(alloc->ResizeInPlace(kCtx, block, 4 * kUnit));
  CHECK(alloc->GetUsableSize(block) == 4 * kUnit);
  CHECK(HasPattern(BytesOf(alloc.get(), block), usable, usable, 5));
}

TEST_CASE("What a large block got from a process with a node goes without wish when it is freed") {
  RecordedHeap heap;
  const auto a = heap.Make(OnNode(kAnyNode));
  const auto b = heap.Attach(OnNode(1));
  const uint64_t of_unit = heap.recorder().Wishes();
  const OffsetPtr<> block = a->AllocateOffset(kCtx, 2 * kUnit);
  REQUIRE(heap.recorder().Wishes() == of_unit);
  REQUIRE(b->ResizeInPlace(kCtx, block, 4 * kUnit));
  CHECK(heap.recorder().Misplaced(block.load() + 2 * kUnit, 2 * kUnit, 1) == 0);
  CHECK(heap.recorder().Wishes() == of_unit + 2 * kUnit / kPage);
  a->FreeOffset(kCtx, block);
  CHECK(heap.recorder().Wishes() == of_unit);
}

TEST_CASE("The next process of a unit has it on its own node, or on any") {
  RecordedHeap heap;
  const auto a = heap.Make(OnNode(kAnyNode));
  for (uint32_t node : {1u, 0u, kAnyNode, 1u}) {
    CAPTURE(node);
    const auto b = heap.Attach(OnNode(node));
    std::vector<OffsetPtr<>> blocks;
    for (int i = 0; i < 100; ++i) blocks.push_back(b->AllocateOffset(kCtx, 50000));
    blocks.push_back(b->AllocateOffset(kCtx, 2 * kUnit));
    REQUIRE_FALSE(blocks.back().IsNull());
    CHECK(MisplacedOf(heap, b.get(), blocks, node) == 0);
    FreeAll(b.get(), blocks);
  }
  CHECK(a->GetPlacement().node_ == kAnyNode);
  CHECK(a->GetPlacement().placed_bytes_ == 0);
}

TEST_CASE("Processes that have no node ask the system for none") {
  RecordedHeap heap;
  const auto alloc = heap.Make(OnNode(kAnyNode));
  const OffsetPtr<> large = alloc->AllocateOffset(kCtx, 2 * kUnit);
  REQUIRE_FALSE(alloc->ReallocateOffset(kCtx, large, 3 * kUnit).IsNull());
  FreeAll(alloc.get(), FillUp(alloc.get(), {3000}));
  alloc->FreeOffset(kCtx, large);
  alloc->Trim();
  CHECK(heap.recorder().binds() == 0);
  CHECK(alloc->GetPlacement().Describe().empty());
}

TEST_CASE("A system that places nothing changes nothing else, and the process says so") {
  RecordedHeap heap;
  heap.recorder().Refuse();
  const auto alloc = heap.Make(OnNode(1));
  const auto blocks = FillUp(alloc.get(), {3000, 2 * kUnit});
  CHECK(blocks.size() > 500);
  CHECK(alloc->GetPlacement().placed_bytes_ == 0);
  CHECK(alloc->GetPlacement().refused_bytes_ >= 8 * kUnit);
  FreeAll(alloc.get(), blocks);
  CHECK(alloc->Check());
  CHECK(heap.recorder().binds() > 0);
}

TEST_CASE("What became of the wishes is told in one line") {
  ipc::UnitPlacement placement;
  CHECK(placement.Describe().empty());
  placement.node_ = 1;
  CHECK(placement.Describe().empty());
  placement.placed_bytes_ = 64 << 20;
  CHECK(placement.Describe() == "64 MiB placed on node 1");
  placement.refused_bytes_ = 1 << 20;
  CHECK(placement.Describe() == "64 MiB placed on node 1, 1 MiB not placed on node 1");
  placement.placed_bytes_ = 0;
  CHECK(placement.Describe() == "1 MiB not placed on node 1");
}

}  // namespace hshm::test
