#include <atomic>
#include <thread>
#include <vector>

#include "data_structures/test_allocator.h"
#include "hermes_shm/data_structures/ring_buffer.h"
#include "support/catch.h"

using hshm::ipc::CellState;
using hshm::ipc::CellWord;
using hshm::ipc::MpscCell;
using hshm::ipc::RingHeader;
using hshm::ipc::RingKind;
using hshm::ipc::RingResult;
using hshm::test::TestAllocator;

namespace {

using Mpmc = hshm::ipc::ring_buffer<uint64_t, TestAllocator, RingKind::kMpmc>;

/** A ring of four cells whose words a test sets as a process that died would have left them. */
struct Fixture {
  static constexpr uint32_t kOther = 5;
  TestAllocator alloc_;
  Mpmc ring_;

  Fixture() { ring_.shm_init(&alloc_, 4); }
  RingHeader& header() { return *alloc_.GetRegion().At<RingHeader>(ring_.offset().load()); }
  MpscCell<uint64_t>& cell(uint64_t index) {
    return reinterpret_cast<MpscCell<uint64_t>*>(&header() + 1)[index];
  }
  void HoldByOther(uint64_t index, uint64_t lap, CellState state) {
    cell(index).word_.store(CellWord::Make(lap, state, CellWord::Holder({kOther, 1, nullptr})));
  }
  void OtherDies() { alloc_.GetMembership().dead_slot_.store(kOther); }
};

}  // namespace

TEST_CASE("mpmc_ring_buffer gives each element to one consumer, each producer's in its order") {
  constexpr uint64_t kProducers = 3;
  constexpr uint64_t kConsumers = 3;
  constexpr uint64_t kCount = 20000;
  for (const uint64_t capacity : {1, 2, 64}) {
    TestAllocator alloc;
    Mpmc ring;
    ring.shm_init(&alloc, capacity);
    std::vector<std::atomic<uint32_t>> seen(kProducers * kCount);
    std::atomic<uint64_t> popped{0};
    std::atomic<uint64_t> disordered{0};
    std::vector<std::thread> threads;
    for (uint64_t p = 0; p < kProducers; ++p) {
      threads.emplace_back([&, p] {
        for (uint64_t i = 0; i < kCount; ++i) ring.push(p << 32 | i);
      });
    }
    for (uint64_t c = 0; c < kConsumers; ++c) {
      threads.emplace_back([&] {
        uint64_t least[kProducers] = {};
        uint64_t element = 0;
        while (ring.pop(element) == RingResult::kDone) {
          const uint64_t producer = element >> 32;
          const uint64_t number = element & 0xffffffff;
          if (number < least[producer]) ++disordered;
          least[producer] = number + 1;
          ++seen[producer * kCount + number];
          if (++popped == kProducers * kCount) ring.close();
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    uint64_t wrong = 0;
    for (const auto& count : seen) wrong += count != 1 ? 1 : 0;
    CHECK(wrong == 0);
    CHECK(disordered == 0);
    CHECK(popped == kProducers * kCount);
  }
}

TEST_CASE("mpmc_ring_buffer loses nothing that was pushed while it was closed") {
  for (int round = 0; round < 200; ++round) {
    TestAllocator alloc(1 << 20);
    Mpmc ring;
    ring.shm_init(&alloc, 8);
    std::atomic<uint64_t> pushed = 0;
    std::atomic<uint64_t> popped = 0;
    std::vector<std::thread> threads;
    for (int p = 0; p < 2; ++p) {
      threads.emplace_back([&] {
        while (ring.push(1) == RingResult::kDone) ++pushed;
      });
      threads.emplace_back([&] {
        uint64_t element = 0;
        while (ring.pop(element) == RingResult::kDone) {
          if (++popped == 20) ring.close();
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    REQUIRE(popped == pushed);
  }
}

TEST_CASE("mpmc_ring_buffer skips the cell of a producer that died in it, and waits for a living") {
  Fixture f;
  f.HoldByOther(0, 0, CellState::kClaimed);  // and tail_ still 0
  for (uint64_t i = 1; i < 4; ++i) REQUIRE(f.ring_.try_push(i) == RingResult::kDone);
  REQUIRE(f.ring_.try_push(4) == RingResult::kFull);
  uint64_t element = 0;
  REQUIRE(f.ring_.try_pop(element) == RingResult::kEmpty);
  f.OtherDies();
  for (uint64_t i = 1; i < 4; ++i) {
    REQUIRE(f.ring_.try_pop(element) == RingResult::kDone);
    REQUIRE(element == i);
  }
  REQUIRE(f.ring_.try_pop(element) == RingResult::kEmpty);
  REQUIRE(f.ring_.try_push(5) == RingResult::kDone);
}

TEST_CASE("mpmc_ring_buffer frees the cell of a consumer that died in it, and waits for a living") {
  Fixture f;
  for (uint64_t i = 0; i < 4; ++i) REQUIRE(f.ring_.try_push(i) == RingResult::kDone);
  f.HoldByOther(0, 0, CellState::kTaken);  // and head_ still 0
  uint64_t element = 0;
  for (uint64_t i = 1; i < 4; ++i) {  // nobody waits for it
    REQUIRE(f.ring_.try_pop(element) == RingResult::kDone);
    REQUIRE(element == i);
  }
  REQUIRE(f.ring_.try_pop(element) == RingResult::kEmpty);
  REQUIRE(f.ring_.try_push(4) == RingResult::kFull);  // until the producers come round to the cell
  f.OtherDies();
  for (uint64_t i = 4; i < 8; ++i) REQUIRE(f.ring_.try_push(i) == RingResult::kDone);
  for (uint64_t i = 4; i < 8; ++i) {
    REQUIRE(f.ring_.try_pop(element) == RingResult::kDone);
    REQUIRE(element == i);
  }
}

TEST_CASE("mpmc_ring_buffer that is closed ends though a consumer died in its last cell") {
  Fixture f;
  for (uint64_t i = 0; i < 4; ++i) REQUIRE(f.ring_.try_push(i) == RingResult::kDone);
  f.HoldByOther(0, 0, CellState::kTaken);
  f.ring_.close();
  uint64_t element = 0;
  for (uint64_t i = 1; i < 4; ++i) REQUIRE(f.ring_.try_pop(element) == RingResult::kDone);
  REQUIRE(f.ring_.try_pop(element) == RingResult::kEmpty);
  f.OtherDies();
  REQUIRE(f.ring_.try_pop(element) == RingResult::kClosed);
  REQUIRE(f.ring_.try_push(9) == RingResult::kClosed);
}

TEST_CASE("mpmc_ring_buffer goes on after deaths that left head and tail behind") {
  Fixture f;
  for (uint64_t i = 0; i < 4; ++i) REQUIRE(f.ring_.try_push(i) == RingResult::kDone);
  uint64_t element = 0;
  for (uint64_t i = 0; i < 2; ++i) REQUIRE(f.ring_.try_pop(element) == RingResult::kDone);
  f.header().head_.store(0);
  f.header().tail_.store(1);
  REQUIRE(f.ring_.size() == 1);
  f.header().head_.store(2);
  REQUIRE(f.ring_.size() == 0);  // and not 2^64 - 1, which would be the capacity
  f.header().head_.store(0);
  for (uint64_t i = 4; i < 6; ++i) REQUIRE(f.ring_.try_push(i) == RingResult::kDone);
  REQUIRE(f.ring_.try_push(6) == RingResult::kFull);
  for (uint64_t i = 2; i < 6; ++i) {
    REQUIRE(f.ring_.try_pop(element) == RingResult::kDone);
    REQUIRE(element == i);
  }
  REQUIRE(f.ring_.try_pop(element) == RingResult::kEmpty);
}
