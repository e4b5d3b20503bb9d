#include <random>
#include <vector>

#include "data_structures/shared_segment.h"
#include "hermes_shm/data_structures/ring_buffer/multi_ring_buffer.h"
#include "hermes_shm/memory/allocator/stack_allocator.h"
#include "support/catch.h"
#include "support/child_process.h"
#include "support/seed.h"

using hshm::Atomic;
using hshm::ipc::RingKind;
using hshm::ipc::RingResult;
using hshm::ipc::StackAllocator;
using hshm::test::AttachedSegment;
using hshm::test::ChildProcess;
using hshm::test::SharedSegment;

namespace {

using Mpmc = hshm::ipc::ring_buffer<uint64_t, StackAllocator, RingKind::kMpmc>;
using MultiRing = hshm::ipc::multi_ring_buffer<uint64_t, StackAllocator>;
constexpr uint64_t kSegmentBytes = uint64_t{1} << 20;
constexpr uint64_t kPatienceUs = 20 * 1000 * 1000;  // a test that waits longer has hung
constexpr uint64_t kWorkers = 3;
constexpr uint64_t kCount = 1000;

/** What producers have pushed for sure, and who popped what how often. */
struct Ledger {
  Atomic<uint64_t> pushed_[kWorkers];
  Atomic<uint32_t> popped_[kWorkers][kCount + 1];
};

/** Runs body(ring, ledger) in a child that has both at addresses of its own. */
template <typename Ring, typename Body>
ChildProcess Child(SharedSegment<StackAllocator>& segment, hshm::ipc::OffsetPtr<> ring_offset,
                   hshm::ipc::OffsetPtr<Ledger> ledger_offset, Body body) {
  return ChildProcess([&segment, ring_offset, ledger_offset, body] {
    const AttachedSegment<StackAllocator> mine(segment.url());
    Ring ring;
    ring.shm_attach(mine.alloc(), ring_offset);
    return body(ring, *mine.alloc()->Convert(ledger_offset));
  });
}

}  // namespace

TEST_CASE("mpmc_ring_buffer goes on when producers and consumers are killed at work, 60 times") {
  std::mt19937_64 random(hshm::test::PrintedSeed("mpmc_ring_buffer kills"));
  for (int round = 0; round < 60; ++round) {
    SharedSegment<StackAllocator> segment(kSegmentBytes);
    Mpmc ring;
    ring.shm_init(segment.alloc(), 8);
    const auto ledger = segment.alloc()->template NewObj<Ledger>(hshm::ipc::MemContext());
    const hshm::ipc::OffsetPtr<Ledger> at(ledger.shm_.off_.load());
    std::vector<ChildProcess> producers;
    std::vector<ChildProcess> consumers;
    for (uint64_t p = 0; p < kWorkers; ++p) {
      producers.push_back(Child<Mpmc>(segment, ring.offset(), at, [p](Mpmc& mine, Ledger& book) {
        for (uint64_t i = 0; i < kCount; ++i) {
          if (mine.push(p << 32 | i, kPatienceUs) != RingResult::kDone) return 1;
          book.pushed_[p].store(i + 1);
        }
        return 0;
      }));
      consumers.push_back(Child<Mpmc>(segment, ring.offset(), at, [](Mpmc& mine, Ledger& book) {
        uint64_t element = 0;
        RingResult result = RingResult::kDone;
        while ((result = mine.pop(element, kPatienceUs)) == RingResult::kDone) {
          book.popped_[element >> 32][element & 0xffffffff].fetch_add(1);
        }
        return result == RingResult::kClosed ? 0 : 1;
      }));
    }
    const uint64_t first = random() % kCount;
    while (ledger->pushed_[0].load() < first) sched_yield();
    producers[0].Kill();
    const uint64_t second = random() % kCount;
    while (ledger->pushed_[1].load() < second) sched_yield();
    consumers[0].Kill();
    REQUIRE(producers[1].Wait() == 0);
    REQUIRE(producers[2].Wait() == 0);
    ring.close();
    REQUIRE(consumers[1].Wait() == 0);
    REQUIRE(consumers[2].Wait() == 0);
    uint64_t lost = 0;
    uint64_t twice = 0;
    for (uint64_t p = 0; p < kWorkers; ++p) {
      for (uint64_t i = 0; i < kCount; ++i) {
        const uint32_t count = ledger->popped_[p][i].load();
        twice += count > 1 ? 1 : 0;
        lost += count == 0 && i < ledger->pushed_[p].load() ? 1 : 0;
      }
    }
    CHECK(twice == 0);
    CHECK(lost <= 1);  // what the killed consumer had in its hand
  }
}

TEST_CASE("multi_ring_buffer's lane of a killed producer is claimed and used by another") {
  SharedSegment<StackAllocator> segment(kSegmentBytes);
  MultiRing rings;
  rings.shm_init(segment.alloc(), 2, 8);
  const auto ledger = segment.alloc()->template NewObj<Ledger>(hshm::ipc::MemContext());
  const hshm::ipc::OffsetPtr<Ledger> at(ledger.shm_.off_.load());
  REQUIRE(rings.claim_lane() == 0);
  for (int round = 0; round < 20; ++round) {
    ChildProcess child =
        Child<MultiRing>(segment, rings.offset(), at, [](MultiRing& mine, Ledger& book) {
          const uint32_t lane = mine.claim_lane();
          for (uint64_t i = 0; lane == 1; ++i) {
            if (mine.push(lane, i, kPatienceUs) != RingResult::kDone) return 1;
            book.pushed_[0].store(i + 1);
          }
          return 2;
        });
    uint64_t element = 0;
    for (uint64_t i = 0; i < 100; ++i) {
      REQUIRE(rings.pop(element, kPatienceUs) == RingResult::kDone);
      REQUIRE(element == i);
    }
    REQUIRE(rings.claim_lane() == MultiRing::kNoLane);
    REQUIRE(child.IsRunning());
    child.Kill();
    while (rings.try_pop(element) == RingResult::kDone) {}
  }
  REQUIRE(rings.claim_lane() == 1);
}
