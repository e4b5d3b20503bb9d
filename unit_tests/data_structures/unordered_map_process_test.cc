#include <sched.h>

#include <random>
#include <string>
#include <vector>

#include "data_structures/map_worker.h"
#include "data_structures/shared_segment.h"
#include "hermes_shm/memory/allocator/multi_process_allocator.h"
#include "hermes_shm/memory/allocator/stack_allocator.h"
#include "support/catch.h"
#include "support/child_process.h"
#include "support/seed.h"

using hshm::ipc::MapResult;
using hshm::ipc::MemContext;
using hshm::ipc::MultiProcessAllocator;
using hshm::ipc::OffsetPtr;
using hshm::ipc::StackAllocator;
using hshm::test::AttachedSegment;
using hshm::test::Board;
using hshm::test::ChildProcess;
using hshm::test::MapWorker;
using hshm::test::SharedSegment;

namespace {

constexpr uint64_t kSegmentBytes = uint64_t{32} << 20;

/** A map that children find on the board. */
template <typename AllocT>
struct SharedMap {
  using Map = hshm::ipc::unordered_map<uint64_t, uint64_t, AllocT>;

  explicit SharedMap(const typename Map::Options& options) : segment_(kSegmentBytes) {
    map_.shm_init(segment_.alloc(), options);
    const auto board = segment_.alloc()->template NewObj<Board>(MemContext());
    board->map_ = map_.offset().load();
    board_ = board.ptr_;
    HSHM_CHECK(segment_.alloc()->SetRoot("board", board));
  }

  SharedSegment<AllocT> segment_;
  Map map_;
  Board* board_ = nullptr;
};

/** Forwards to an allocator, and dies at a chosen call. */
enum class At { kNever, kBeforeTable, kAfterTable, kBeforeFree, kAfterFree };

template <typename AllocT>
struct DyingAllocator {
  const hshm::ipc::Region& GetRegion() const { return alloc_->GetRegion(); }
  hshm::ipc::Membership& GetMembership() { return alloc_->GetMembership(); }
  size_t GetCurrentlyAllocatedSize() { return alloc_->GetCurrentlyAllocatedSize(); }

  OffsetPtr<> AllocateOffset(const MemContext& ctx, size_t size) noexcept {
    return alloc_->AllocateOffset(ctx, size);
  }
  OffsetPtr<> AlignedAllocateOffset(const MemContext& ctx, size_t size, size_t align) noexcept {
    DieAt(At::kBeforeTable);
    const OffsetPtr<> made = alloc_->AlignedAllocateOffset(ctx, size, align);
    DieAt(At::kAfterTable);
    return made;
  }
  void FreeOffsetNoNullCheck(const MemContext& ctx, OffsetPtr<> offset) noexcept {
    DieAt(At::kBeforeFree);
    alloc_->FreeOffsetNoNullCheck(ctx, offset);
    DieAt(At::kAfterFree);
  }
  void DieAt(At place) const {
    if (place == at_) kill(getpid(), SIGKILL);
  }

  AllocT* alloc_ = nullptr;
  At at_ = At::kNever;
};

void AwaitProgress(const Board& board, uint32_t worker, uint64_t steps, const ChildProcess& child) {
  while (board.progress_[worker].load() < steps && child.IsRunning()) sched_yield();
}

}  // namespace

TEMPLATE_TEST_CASE("unordered_map is one map through two mappings of its segment", "",
                   StackAllocator, MultiProcessAllocator) {
  SharedMap<TestType> shared({.expected_entries_ = 0, .stripes_ = 4});
  const AttachedSegment<TestType> second(shared.segment_.url());
  REQUIRE(second.alloc()->GetRegion().base_ != shared.segment_.alloc()->GetRegion().base_);
  typename SharedMap<TestType>::Map other;
  other.shm_attach(second.alloc(), shared.map_.offset());
  for (uint64_t i = 0; i < 5000; ++i) {
    auto& writer = i % 2 == 0 ? shared.map_ : other;
    auto& reader = i % 2 == 0 ? other : shared.map_;
    REQUIRE(writer.insert(i, i * i) == MapResult::kInserted);
    REQUIRE(reader.find(i) == i * i);
    if (i % 3 == 0) REQUIRE(reader.erase(i));
  }
  REQUIRE(other.size() == shared.map_.size());
  REQUIRE(shared.map_.Check());
  REQUIRE(other.Check());
  other.shm_destroy();
}

TEST_CASE("unordered_map is one map for processes that were started on their own") {
  constexpr uint64_t kSteps = 5000;
  SharedMap<StackAllocator> shared({.expected_entries_ = 0, .stripes_ = 2});
  std::vector<ChildProcess> children;
  for (uint32_t i = 0; i < Board::kWorkers; ++i) {
    children.emplace_back([&] {
      const std::string worker = std::to_string(i);
      const std::string steps = std::to_string(kSteps);
      execl(HSHM_PROGRAM_MAP_WORKER, "map_worker", shared.segment_.url().c_str(), worker.c_str(),
            steps.c_str(), nullptr);
      return 127;
    });
  }
  for (ChildProcess& child : children) REQUIRE(child.Wait() == 0);
  REQUIRE(shared.map_.Check());
  for (uint32_t i = 0; i < Board::kWorkers; ++i) {
    REQUIRE(MapWorker<StackAllocator>::HoldsStepsOf(shared.map_, i, kSteps));
  }
  REQUIRE(MapWorker<StackAllocator>::CommonCount(shared.map_) == Board::kWorkers * kSteps);
  REQUIRE(shared.map_.size() == Board::kWorkers * MapWorker<StackAllocator>::kWindow +
                                    MapWorker<StackAllocator>::kCommonKeys);
}

TEMPLATE_TEST_CASE("unordered_map survives the kill of a process at work, 100 times, whole", "",
                   StackAllocator, MultiProcessAllocator) {
  const uint64_t seed = hshm::test::PrintedSeed("unordered_map kills");
  std::mt19937_64 random(seed);
  constexpr uint64_t kSteps = 3000;
  for (int round = 0; round < 100; ++round) {
    SharedMap<TestType> shared({.expected_entries_ = 0, .stripes_ = random() % 2 == 0 ? 1U : 4U});
    std::vector<ChildProcess> children;
    for (uint32_t i = 0; i < Board::kWorkers; ++i) {
      children.emplace_back([&] {
        const AttachedSegment<TestType> segment(shared.segment_.url());
        return MapWorker<TestType>(segment.alloc(), i).Run(kSteps) ? 0 : 1;
      });
    }
    AwaitProgress(*shared.board_, 0, random() % kSteps, children[0]);
    children[0].Kill();
    REQUIRE(children[1].Wait() == 0);
    REQUIRE(children[2].Wait() == 0);
    REQUIRE(shared.map_.Check());
    const uint64_t steps = shared.board_->progress_[0].load();
    REQUIRE(MapWorker<TestType>::HoldsStepsOf(shared.map_, 0, steps));
    REQUIRE(MapWorker<TestType>::HoldsStepsOf(shared.map_, 1, kSteps));
    REQUIRE(MapWorker<TestType>::HoldsStepsOf(shared.map_, 2, kSteps));
    const uint64_t common = MapWorker<TestType>::CommonCount(shared.map_);
    REQUIRE(common >= 2 * kSteps + steps);
    REQUIRE(common <= 2 * kSteps + steps + 1);
    REQUIRE(shared.segment_.alloc()->Check());
  }
}

TEMPLATE_TEST_CASE(
    "unordered_map is taken over from a process that was killed while it held the lock", "",
    StackAllocator, MultiProcessAllocator) {
  SharedMap<TestType> shared({.expected_entries_ = 0, .stripes_ = 1});
  REQUIRE(shared.map_.insert(1, 10) == MapResult::kInserted);
  ChildProcess child([&] {
    const AttachedSegment<TestType> segment(shared.segment_.url());
    typename SharedMap<TestType>::Map map;
    map.shm_attach(segment.alloc(), shared.map_.offset());
    map.update(1, [](uint64_t& n) {
      n = 11;
      kill(getpid(), SIGKILL);
    });
    return 0;
  });
  REQUIRE(child.Wait() == -SIGKILL);
  REQUIRE(shared.map_.find(1) == 10);  // the store had not happened
  REQUIRE(shared.map_.Check());
  REQUIRE(shared.map_.insert(2, 20) == MapResult::kInserted);
}

TEMPLATE_TEST_CASE("unordered_map is whole after a process that was killed at any call of a growth",
                   "", StackAllocator, MultiProcessAllocator) {
  for (const At at : {At::kBeforeTable, At::kAfterTable, At::kBeforeFree, At::kAfterFree}) {
    SharedMap<TestType> shared({.expected_entries_ = 0, .stripes_ = 1});
    for (uint64_t i = 0; i < 6; ++i) shared.map_.insert(i, i);
    ChildProcess child([&] {
      DyingAllocator<TestType> alloc{shared.segment_.alloc(), At::kNever};
      hshm::ipc::unordered_map<uint64_t, uint64_t, DyingAllocator<TestType>> map;
      map.shm_attach(&alloc, shared.map_.offset());
      alloc.at_ = at;
      map.insert(6, 6);
      return 0;
    });
    REQUIRE(child.Wait() == -SIGKILL);
    REQUIRE(shared.map_.size() == 6);
    REQUIRE(shared.map_.Check());
    for (uint64_t i = 0; i < 1000; ++i) shared.map_.upsert(i, [](uint64_t& n) { ++n; });
    REQUIRE(shared.map_.size() == 1000);
    REQUIRE(shared.map_.Check());
  }
}
