/** Views of ring buffers for kernels, run by threads of the host: the same functions. */
#include <thread>
#include <vector>

#include "data_structures/test_allocator.h"
#include "hermes_shm/data_structures/ring_buffer.h"
#include "support/catch.h"

using hshm::ipc::RingKind;
using hshm::ipc::RingResult;
using hshm::test::TestAllocator;

namespace {

using Spsc = hshm::ipc::ring_buffer<uint64_t, TestAllocator, RingKind::kSpsc>;
using Mpsc = hshm::ipc::ring_buffer<uint64_t, TestAllocator, RingKind::kMpsc>;
using Mpmc = hshm::ipc::ring_buffer<uint64_t, TestAllocator, RingKind::kMpmc>;

}  // namespace

TEMPLATE_TEST_CASE("A view of a ring pushes what the handle pops, and the other way", "", Spsc,
                   Mpsc) {
  TestAllocator alloc(1 << 20);
  TestType ring;
  ring.shm_init(&alloc, 4);
  auto view = ring.View();
  const uint64_t numbers[] = {1, 2, 3, 4, 5};
  CHECK(view.try_push_n(numbers, 1) == 1);
  CHECK(view.try_push_n(numbers + 1, 4) == 3);
  CHECK(view.try_push(5) == RingResult::kFull);
  CHECK(ring.size() == 4);
  uint64_t element = 0;
  for (uint64_t expected = 1; expected <= 4; ++expected) {
    REQUIRE(ring.try_pop(element) == RingResult::kDone);
    CHECK(element == expected);
  }
  CHECK(view.try_pop(element) == RingResult::kEmpty);
  REQUIRE(ring.try_push(6) == RingResult::kDone);
  uint64_t popped[2] = {0, 0};
  REQUIRE(view.try_pop_n(popped, 2) == 1);
  CHECK(popped[0] == 6);
  REQUIRE(ring.try_push_n(numbers, 2) == 2);
  REQUIRE(view.try_pop_n(popped, 1) == 1);
  REQUIRE(view.try_pop_n(popped, 1) == 1);
  CHECK(popped[0] == 2);
  view.close();
  CHECK(ring.try_push(7) == RingResult::kClosed);
  CHECK(view.try_pop(element) == RingResult::kClosed);
}

TEMPLATE_TEST_CASE("A view of a ring at another base works on a copy of the region there", "", Spsc,
                   Mpsc) {
  constexpr uint64_t kBytes = 1 << 20;
  TestAllocator alloc(kBytes);
  TestType ring;
  ring.shm_init(&alloc, 16);
  std::vector<char> copy(kBytes + 64);
  char* base = copy.data() + (64 - reinterpret_cast<uintptr_t>(copy.data()) % 64) % 64;
  std::memcpy(base, alloc.GetRegion().base_, kBytes);
  auto view = ring.View(base);
  CHECK(view.capacity() == 16);
  CHECK(view.try_push(1) == RingResult::kDone);
  CHECK(view.size() == 1);
  CHECK(ring.empty());
}

TEMPLATE_TEST_CASE("The handle of a ring waits for a cell that a kernel claimed", "", Mpsc, Mpmc) {
  TestAllocator alloc(1 << 20);
  alloc.GetMembership().dead_slot_.store(hshm::ipc::CellWord::Slot(hshm::ipc::CellWord::kKernel));
  TestType ring;
  ring.shm_init(&alloc, 4);
  // What a lane between its claim and its element has done.
  auto* header = alloc.GetRegion().At<hshm::ipc::RingHeader>(ring.offset().load());
  auto* cells = reinterpret_cast<hshm::ipc::MpscCell<uint64_t>*>(header + 1);
  using hshm::ipc::CellState;
  using hshm::ipc::CellWord;
  cells[0].word_.store(CellWord::Make(0, CellState::kClaimed, CellWord::kKernel));
  uint64_t element = 0;
  CHECK(ring.try_pop(element) == RingResult::kEmpty);
  CHECK(ring.try_push(2) == RingResult::kDone);
  CHECK(ring.try_pop(element) == RingResult::kEmpty);
  cells[0].element_ = 1;
  cells[0].word_.store(CellWord::Make(0, CellState::kFull));
  CHECK(ring.try_pop(element) == RingResult::kDone);
  CHECK(element == 1);
  CHECK(ring.try_pop(element) == RingResult::kDone);
  CHECK(element == 2);
}

TEST_CASE("Many lanes push through a ring with fewer cells, each element once") {
  constexpr uint64_t kLanes = 8;
  constexpr uint64_t kEach = 2000;
  TestAllocator alloc(1 << 20);
  Mpsc ring;
  ring.shm_init(&alloc, 4);
  std::vector<std::thread> lanes;
  for (uint64_t lane = 0; lane < kLanes; ++lane) {
    lanes.emplace_back([view = ring.View(), lane]() mutable {
      for (uint64_t i = 0; i < kEach;) {
        if (view.try_push(lane * kEach + i) == RingResult::kDone) {
          ++i;
        } else {
          std::this_thread::yield();
        }
      }
    });
  }
  std::vector<uint32_t> seen(kLanes * kEach, 0);
  for (uint64_t i = 0; i < kLanes * kEach; ++i) {
    uint64_t element = 0;
    REQUIRE(ring.pop(element) == RingResult::kDone);
    ++seen[element];
  }
  for (std::thread& lane : lanes) lane.join();
  for (const uint32_t times : seen) REQUIRE(times == 1);
}
