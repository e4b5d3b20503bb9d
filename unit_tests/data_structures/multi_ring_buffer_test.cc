#include "hermes_shm/data_structures/ring_buffer/multi_ring_buffer.h"

#include <thread>
#include <vector>

#include "data_structures/test_allocator.h"
#include "hermes_shm/base/error.h"
#include "support/catch.h"
#include "support/child_process.h"

using hshm::ipc::LaneEntry;
using hshm::ipc::MultiRingHeader;
using hshm::ipc::RingKind;
using hshm::ipc::RingResult;
using hshm::test::TestAllocator;

namespace {

using Spsc = hshm::ipc::multi_ring_buffer<uint64_t, TestAllocator>;
using Mpsc = hshm::ipc::multi_ring_buffer<uint64_t, TestAllocator, RingKind::kMpsc>;

}  // namespace

TEMPLATE_TEST_CASE("multi_ring_buffer hands over all lanes, each in its order", "", Spsc, Mpsc) {
  constexpr uint32_t kLanes = 3;
  constexpr uint64_t kCount = 20000;
  TestAllocator alloc;
  TestType rings;
  rings.shm_init(&alloc, kLanes, 16);
  std::vector<std::thread> producers;
  for (uint32_t p = 0; p < kLanes; ++p) {
    producers.emplace_back([&] {
      TestType mine;
      mine.shm_attach(&alloc, rings.offset());
      const uint32_t lane = mine.claim_lane();
      for (uint64_t i = 0; i < kCount; ++i) mine.push(lane, uint64_t{lane} << 32 | i);
      mine.close_lane(lane);
    });
  }
  uint64_t next[kLanes] = {};
  uint64_t element = 0;
  bool in_order = true;
  while (rings.pop(element) == RingResult::kDone) {
    in_order = in_order && (element & 0xffffffff) == next[element >> 32]++;
  }
  for (std::thread& producer : producers) producer.join();
  REQUIRE(in_order);
  for (const uint64_t count : next) REQUIRE(count == kCount);
  rings.shm_destroy();
  REQUIRE(alloc.live_blocks() == 0);
}

TEST_CASE("multi_ring_buffer empties its lanes in turn, one by one or in batches") {
  TestAllocator alloc;
  Spsc rings;
  rings.shm_init(&alloc, 3, 4);
  for (uint32_t lane = 0; lane < 3; ++lane) {
    for (uint64_t i = 0; i < 4; ++i)
      REQUIRE(rings.try_push(lane, 10 * lane + i) == RingResult::kDone);
    REQUIRE(rings.try_push(lane, 99) == RingResult::kFull);
    REQUIRE(rings.push(lane, 99, 1000) == RingResult::kTimeout);
  }
  uint64_t element = 0;
  for (const uint64_t expected : {0, 10, 20, 1, 11}) {
    REQUIRE(rings.try_pop(element) == RingResult::kDone);
    REQUIRE(element == expected);
  }
  uint64_t batch[16] = {};
  REQUIRE(rings.try_pop_n(batch, 4) == 4);
  const uint64_t expected[] = {21, 22, 23, 2};
  for (int i = 0; i < 4; ++i) REQUIRE(batch[i] == expected[i]);
  REQUIRE(rings.try_pop_n(batch, 16) == 3);
  REQUIRE(rings.try_pop(element) == RingResult::kEmpty);
  REQUIRE(rings.pop(element, 3000) == RingResult::kTimeout);
  rings.close_lane(1);
  REQUIRE(rings.try_push(1, 7) == RingResult::kClosed);
  REQUIRE(rings.try_push(2, 7) == RingResult::kDone);
  rings.close();
  REQUIRE(rings.pop(element) == RingResult::kDone);
  REQUIRE(rings.pop(element) == RingResult::kClosed);
}

TEST_CASE("multi_ring_buffer gives a lane to one producer, and again when that one is dead") {
  TestAllocator alloc;
  Spsc rings;
  rings.shm_init(&alloc, 2, 4);
  REQUIRE(rings.claim_lane() == 0);
  alloc.GetMembership().slot_ = 3;
  REQUIRE(rings.claim_lane() == 1);
  REQUIRE(rings.try_push(1, 7) == RingResult::kDone);
  REQUIRE(rings.claim_lane() == Spsc::kNoLane);
  alloc.GetMembership().dead_slot_.store(3);
  alloc.GetMembership().slot_ = 4;
  REQUIRE(rings.claim_lane() == 1);
  REQUIRE(rings.try_push(1, 8) == RingResult::kDone);
  uint64_t batch[4] = {};
  REQUIRE(rings.try_pop_n(batch, 4) == 2);
  REQUIRE(batch[0] == 7);
  REQUIRE(batch[1] == 8);
  REQUIRE(rings.claim_lane() == Spsc::kNoLane);
  const auto robbed = hshm::test::RunInChild([&] { rings.release_lane(0); });
  REQUIRE(robbed.status_ == -SIGABRT);
  REQUIRE(robbed.errors_.find("hshm: NotTheHolder: multi_ring_buffer::release_lane") == 0);
  rings.release_lane(1);
  REQUIRE(rings.claim_lane() == 1);
}

TEST_CASE("multi_ring_buffer gives a dead producer's lane to one of two that claim it at once") {
  TestAllocator alloc;
  auto& peers = alloc.GetMembership();
  Spsc rings;
  rings.shm_init(&alloc, 2, 4);
  peers.slot_ = 3;
  REQUIRE(rings.claim_lane() == 0);
  peers.dead_slot_.store(3);
  uint32_t of_other = Spsc::kNoLane;
  peers.slot_ = 4;
  peers.when_asked_ = [&] {  // 4 has seen the dead one's word, and 5 is faster
    peers.slot_ = 5;
    of_other = rings.claim_lane();
  };
  REQUIRE(rings.claim_lane() == 1);
  REQUIRE(of_other == 0);
  REQUIRE(rings.claim_lane() == Spsc::kNoLane);
}

TEST_CASE("multi_ring_buffer cannot be made without room or lanes, and leaves nothing then") {
  TestAllocator small(1 << 20);
  Spsc rings;
  REQUIRE_THROWS_AS(rings.shm_init(&small, 1000, 1024), hshm::Error);
  REQUIRE(small.live_blocks() == 0);
  TestAllocator alloc;
  REQUIRE_THROWS_AS(rings.shm_init(&alloc, 0, 4), hshm::Error);
  REQUIRE_THROWS_AS(rings.shm_init(&alloc, hshm::ipc::kMaxLanes + 1, 4), hshm::Error);
  REQUIRE_THROWS_AS(rings.shm_init(&alloc, 2, 0), hshm::Error);
  REQUIRE(alloc.live_blocks() == 0);
  rings.shm_init(&alloc, 2, 4);
  hshm::ipc::multi_ring_buffer<uint32_t, TestAllocator> other;
  REQUIRE_THROWS_AS(other.shm_attach(&alloc, rings.offset()), hshm::Error);
  alloc.GetRegion().At<MultiRingHeader>(rings.offset().load())->lane_count_ = 60000;
  Spsc again;
  REQUIRE_THROWS_AS(again.shm_attach(&alloc, rings.offset()), hshm::Error);
}
