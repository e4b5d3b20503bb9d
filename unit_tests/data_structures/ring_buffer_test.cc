#include "hermes_shm/data_structures/ring_buffer.h"

#include <atomic>
#include <deque>
#include <random>
#include <thread>
#include <vector>

#include "data_structures/test_allocator.h"
#include "hermes_shm/base/error.h"
#include "support/catch.h"
#include "support/child_process.h"
#include "support/seed.h"

using hshm::ipc::CellState;
using hshm::ipc::CellWord;
using hshm::ipc::MpscCell;
using hshm::ipc::RingHeader;
using hshm::ipc::RingKind;
using hshm::ipc::RingResult;
using hshm::test::TestAllocator;

namespace {

using Spsc = hshm::ipc::ring_buffer<uint64_t, TestAllocator, RingKind::kSpsc>;
using Mpsc = hshm::ipc::ring_buffer<uint64_t, TestAllocator, RingKind::kMpsc>;
using Mpmc = hshm::ipc::ring_buffer<uint64_t, TestAllocator, RingKind::kMpmc>;

/** As if `index` elements had gone through the empty ring already. */
template <typename Ring>
void StartAt(TestAllocator& alloc, Ring& ring, uint64_t index) {
  auto* header = alloc.GetRegion().At<RingHeader>(ring.offset().load());
  header->head_.store(index);
  header->tail_.store(index);
  header->seen_head_ = index;
  header->seen_tail_ = index;
  if constexpr (!std::is_same_v<Ring, Spsc>) {
    auto* cells = reinterpret_cast<MpscCell<uint64_t>*>(header + 1);
    for (uint64_t n = 0; n < ring.capacity(); ++n) {
      const uint64_t i = index + n;
      cells[i % ring.capacity()].word_.store(
          CellWord::Make(i >> header->capacity_log2_, CellState::kFree));
    }
  }
}

}  // namespace

TEMPLATE_TEST_CASE(
    "ring_buffer answers random operations like a bounded deque, also where its "
    "indices and laps wrap",
    "", Spsc, Mpsc, Mpmc) {
  std::mt19937_64 random(hshm::test::PrintedSeed("ring_buffer model"));
  TestAllocator alloc;
  const uint64_t starts[] = {0, (uint64_t{1} << 32) - 50, (uint64_t{1} << 34) - 50,
                             ~uint64_t{0} - 50};
  for (const uint64_t capacity : {1, 2, 7, 64}) {
    for (const uint64_t start : starts) {
      TestType ring;
      ring.shm_init(&alloc, capacity);
      REQUIRE(ring.capacity() == std::bit_ceil(capacity));
      StartAt(alloc, ring, start);
      std::deque<uint64_t> model;
      for (uint64_t i = 0; i < 3000; ++i) {
        uint64_t popped = 0;
        if (random() % 2 == 0) {
          REQUIRE((ring.try_push(i) == RingResult::kDone) == (model.size() < ring.capacity()));
          if (model.size() < ring.capacity()) model.push_back(i);
        } else if (model.empty()) {
          REQUIRE(ring.try_pop(popped) == RingResult::kEmpty);
        } else {
          REQUIRE(ring.try_pop(popped) == RingResult::kDone);
          REQUIRE(popped == model.front());
          model.pop_front();
        }
        REQUIRE(ring.size() == model.size());
      }
      ring.shm_destroy();
    }
  }
  REQUIRE(alloc.live_blocks() == 0);
}

TEMPLATE_TEST_CASE("ring_buffer pushes and pops batches as far as they fit", "", Spsc, Mpsc, Mpmc) {
  TestAllocator alloc;
  TestType ring;
  ring.shm_init(&alloc, 8);
  const uint64_t in[] = {1, 2, 3, 4, 5, 6};
  uint64_t out[8] = {};
  REQUIRE(ring.try_push_n(in, 6) == 6);
  REQUIRE(ring.try_push_n(in, 6) == 2);
  REQUIRE(ring.try_push_n(in, 6) == 0);
  REQUIRE(ring.try_pop_n(out, 7) == 7);
  REQUIRE(std::vector<uint64_t>(out, out + 7) == std::vector<uint64_t>{1, 2, 3, 4, 5, 6, 1});
  REQUIRE(ring.try_pop_n(out, 7) == 1);
  REQUIRE(out[0] == 2);
  REQUIRE(ring.try_pop_n(out, 7) == 0);
}

TEMPLATE_TEST_CASE("ring_buffer that is closed gives out what is in it and takes nothing", "", Spsc,
                   Mpsc, Mpmc) {
  TestAllocator alloc;
  TestType ring;
  ring.shm_init(&alloc, 2);
  REQUIRE(ring.try_push(1) == RingResult::kDone);
  REQUIRE(ring.try_emplace(2U) == RingResult::kDone);
  REQUIRE(ring.try_push(3) == RingResult::kFull);
  ring.close();
  REQUIRE(ring.is_closed());
  REQUIRE(ring.try_push(3) == RingResult::kClosed);
  REQUIRE(ring.push(3, 1000000) == RingResult::kClosed);
  uint64_t out = 0;
  REQUIRE(ring.try_pop(out) == RingResult::kDone);
  REQUIRE(ring.pop(out, 0) == RingResult::kDone);
  REQUIRE(out == 2);
  REQUIRE(ring.try_pop(out) == RingResult::kClosed);
  REQUIRE(ring.pop(out, 1000000) == RingResult::kClosed);
  REQUIRE(ring.try_push(3) == RingResult::kClosed);
}

TEMPLATE_TEST_CASE("ring_buffer waits as long as it was told", "", Spsc, Mpsc, Mpmc) {
  TestAllocator alloc;
  TestType ring;
  ring.shm_init(&alloc, 1);
  uint64_t out = 0;
  const uint64_t start_us = hshm::MonotonicUs();
  REQUIRE(ring.pop(out, 20000) == RingResult::kTimeout);
  REQUIRE(ring.push(1, 0) == RingResult::kDone);
  REQUIRE(ring.push(2, 20000) == RingResult::kTimeout);
  REQUIRE(hshm::MonotonicUs() - start_us >= 40000);
}

TEMPLATE_TEST_CASE("ring_buffer cannot be made without room or with an impossible capacity", "",
                   Spsc, Mpsc, Mpmc) {
  TestAllocator alloc(1 << 20);
  TestType ring;
  REQUIRE_THROWS_AS(ring.shm_init(&alloc, 0), hshm::Error);
  REQUIRE_THROWS_AS(ring.shm_init(&alloc, ~uint64_t{0}), hshm::Error);
  REQUIRE_THROWS_AS(ring.shm_init(&alloc, 1 << 20), hshm::Error);
  REQUIRE(alloc.live_blocks() == 0);
  ring.shm_init(&alloc, 4);
  hshm::ipc::ring_buffer<uint32_t, TestAllocator> other;
  REQUIRE_THROWS_AS(other.shm_attach(&alloc, ring.offset()), hshm::Error);
}

TEST_CASE("spsc_ring_buffer hands everything over in order between two threads") {
  TestAllocator alloc;
  Spsc ring;
  ring.shm_init(&alloc, 16);
  constexpr uint64_t kCount = 100000;
  std::thread producer([&] {
    for (uint64_t i = 0; i < kCount; ++i) ring.push(i);
    ring.close();
  });
  uint64_t expected = 0;
  uint64_t element = 0;
  bool in_order = true;
  while (ring.pop(element) == RingResult::kDone) {
    in_order = in_order && element == expected++;
  }
  producer.join();
  REQUIRE(in_order);
  REQUIRE(expected == kCount);
}

TEST_CASE("mpsc_ring_buffer hands over each element once and in its producer's order") {
  TestAllocator alloc;
  Mpsc ring;
  ring.shm_init(&alloc, 16);
  constexpr uint64_t kProducers = 4;
  constexpr uint64_t kCount = 20000;
  std::vector<std::thread> producers;
  for (uint64_t p = 0; p < kProducers; ++p) {
    producers.emplace_back([&, p] {
      for (uint64_t i = 0; i < kCount; ++i) ring.push(p << 32 | i);
    });
  }
  uint64_t next[kProducers] = {};
  bool in_order = true;
  uint64_t element = 0;
  for (uint64_t i = 0; i < kProducers * kCount; ++i) {
    in_order = in_order && ring.pop(element) == RingResult::kDone;
    in_order = in_order && (element & 0xffffffff) == next[element >> 32]++;
  }
  for (std::thread& producer : producers) producer.join();
  REQUIRE(in_order);
  REQUIRE(ring.try_pop(element) == RingResult::kEmpty);
}

TEST_CASE("mpsc_ring_buffer loses nothing that was pushed while it was closed") {
  for (int round = 0; round < 300; ++round) {
    TestAllocator alloc(1 << 20);
    Mpsc ring;
    ring.shm_init(&alloc, 8);
    std::atomic<uint64_t> pushed = 0;
    std::vector<std::thread> producers;
    for (int p = 0; p < 3; ++p) {
      producers.emplace_back([&] {
        while (ring.push(1) == RingResult::kDone) ++pushed;
      });
    }
    uint64_t popped = 0;
    uint64_t element = 0;
    while (popped < 20 && ring.pop(element) == RingResult::kDone) ++popped;
    ring.close();
    while (ring.pop(element) == RingResult::kDone) ++popped;
    for (std::thread& producer : producers) producer.join();
    REQUIRE(popped == pushed);
  }
}

TEST_CASE("mpsc_ring_buffer skips the cell of a producer that died in it, and waits for a living") {
  constexpr uint32_t kOther = 5;
  TestAllocator alloc;
  Mpsc ring;
  ring.shm_init(&alloc, 4);
  auto* header = alloc.GetRegion().At<RingHeader>(ring.offset().load());
  auto* cells = reinterpret_cast<MpscCell<uint64_t>*>(header + 1);
  const uint64_t holder = CellWord::Holder({kOther, 1, nullptr});
  cells[0].word_.store(CellWord::Make(0, CellState::kClaimed, holder));  // and tail_ still 0
  for (uint64_t i = 1; i < 4; ++i) REQUIRE(ring.try_push(i) == RingResult::kDone);
  REQUIRE(ring.try_push(4) == RingResult::kFull);
  uint64_t element = 0;
  REQUIRE(ring.try_pop(element) == RingResult::kEmpty);
  alloc.GetMembership().dead_slot_.store(kOther);
  for (uint64_t i = 1; i < 4; ++i) {
    REQUIRE(ring.try_pop(element) == RingResult::kDone);
    REQUIRE(element == i);
  }
  REQUIRE(ring.try_pop(element) == RingResult::kEmpty);
  REQUIRE(ring.try_push(5) == RingResult::kDone);
}

TEST_CASE("mpsc_ring_buffer keeps what a producer pushed before it was known to be dead") {
  TestAllocator alloc;
  Mpsc ring;
  ring.shm_init(&alloc, 4);
  auto* header = alloc.GetRegion().At<RingHeader>(ring.offset().load());
  auto* cells = reinterpret_cast<MpscCell<uint64_t>*>(header + 1);
  const uint64_t claim = CellWord::Make(0, CellState::kClaimed, CellWord::Holder({5, 1, nullptr}));
  cells[0].word_.store(claim);
  auto view = ring.View();
  uint64_t element = 0;
  uint64_t claimed = 0;
  REQUIRE(view.TryPop(element, &claimed) == RingResult::kEmpty);
  REQUIRE(claimed == claim);
  cells[0].element_ = 7;  // its last act, before the consumer asks whether it lives
  cells[0].word_.store(CellWord::Make(0, CellState::kFull));
  view.SkipClaimed(claimed);
  REQUIRE(ring.try_pop(element) == RingResult::kDone);
  REQUIRE(element == 7);
}

TEST_CASE("mpsc_ring_buffer stops at a word that only a ring for many consumers has") {
  TestAllocator alloc;
  Mpsc ring;
  ring.shm_init(&alloc, 4);
  auto* header = alloc.GetRegion().At<RingHeader>(ring.offset().load());
  auto* cells = reinterpret_cast<MpscCell<uint64_t>*>(header + 1);
  cells[0].word_.store(CellWord::Make(0, CellState::kTaken));
  uint64_t element = 0;
  const auto ending = hshm::test::RunInChild([&] { (void)ring.try_pop(element); });
  REQUIRE(ending.status_ == -SIGABRT);
  REQUIRE(ending.errors_.find("hshm: CHECK failed") == 0);
}

TEST_CASE("mpsc_ring_buffer goes on after a consumer that died between cell and head") {
  TestAllocator alloc;
  Mpsc ring;
  ring.shm_init(&alloc, 4);
  for (uint64_t i = 0; i < 4; ++i) REQUIRE(ring.try_push(i) == RingResult::kDone);
  uint64_t element = 0;
  REQUIRE(ring.try_pop(element) == RingResult::kDone);
  alloc.GetRegion().At<RingHeader>(ring.offset().load())->head_.store(0);  // not reached
  for (uint64_t i = 1; i < 4; ++i) {
    REQUIRE(ring.try_pop(element) == RingResult::kDone);
    REQUIRE(element == i);
  }
  REQUIRE(ring.try_pop(element) == RingResult::kEmpty);
}
