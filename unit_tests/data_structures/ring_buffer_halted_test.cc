/** Ring buffers with their steps drawn apart: the producer is halted anywhere in its pushes. */
#include <atomic>
#include <thread>

#include "data_structures/test_allocator.h"
#include "hermes_shm/data_structures/ring_buffer.h"
#include "support/catch.h"
#include "support/halted_thread.h"

using hshm::ipc::RingKind;
using hshm::ipc::RingResult;
using hshm::test::TestAllocator;

namespace {

using Spsc = hshm::ipc::ring_buffer<uint64_t, TestAllocator, RingKind::kSpsc>;
using Mpsc = hshm::ipc::ring_buffer<uint64_t, TestAllocator, RingKind::kMpsc>;
using Mpmc = hshm::ipc::ring_buffer<uint64_t, TestAllocator, RingKind::kMpmc>;

}  // namespace

TEMPLATE_TEST_CASE("ring_buffer never shows a half-pushed element, wherever its producer is halted",
                   "", Spsc, Mpsc, Mpmc) {
  constexpr int kRounds = 4000;
  TestAllocator alloc(8 << 20);
  TestType ring;
  ring.shm_init(&alloc, 1 << 16);  // never full for long
  std::atomic<bool> stop{false};
  std::atomic<uint64_t> laps{0};
  std::thread producer([&] {
    for (uint64_t next = 0; !stop; ++laps) {
      if (ring.try_push(next) == RingResult::kDone) ++next;
    }
  });
  hshm::test::Halter halter;
  bool is_halted = true;
  uint64_t expected = 0;
  uint64_t wrong = 0;
  for (int round = 0; round < kRounds && is_halted; ++round) {
    is_halted = halter.While(producer, laps, [&] {
      uint64_t element = 0;
      while (ring.try_pop(element) == RingResult::kDone) wrong += element != expected++ ? 1 : 0;
    });
  }
  stop = true;
  producer.join();
  if (!is_halted) WARN("signals come too late here");
  CHECK(wrong == 0);
}

TEMPLATE_TEST_CASE(
    "ring_buffer for many loses nothing that is pushed while it is closed, wherever its producer "
    "is halted",
    "", Mpsc, Mpmc) {
  constexpr int kRounds = 1000;
  bool is_halted = true;
  for (int round = 0; round < kRounds && is_halted; ++round) {
    hshm::test::Halter halter(static_cast<uint64_t>(round));
    TestAllocator alloc(1 << 20);
    TestType ring;
    ring.shm_init(&alloc, 4096);
    std::atomic<uint64_t> pushed{0};
    std::atomic<bool> stop{false};
    std::thread producer([&] {
      for (;;) {
        const RingResult result = ring.try_push(1);
        if (result == RingResult::kDone) ++pushed;
        if (result == RingResult::kClosed) break;
      }
      while (!stop) sched_yield();
    });
    uint64_t popped = 0;
    const auto pop_all = [&] {
      uint64_t element = 0;
      RingResult result = RingResult::kDone;
      while ((result = ring.try_pop(element)) == RingResult::kDone) ++popped;
      return result;
    };
    RingResult last = RingResult::kEmpty;
    is_halted = halter.While(producer, pushed, [&] {
      ring.close();
      last = pop_all();  // kEmpty when the producer is halted in a cell that it has claimed
    });
    ring.close();
    stop = true;
    producer.join();
    if (last != RingResult::kClosed) last = pop_all();
    CHECK(last == RingResult::kClosed);
    REQUIRE(popped == pushed);
  }
  if (!is_halted) WARN("signals come too late here");
}
