#include <sched.h>

#include <random>
#include <vector>

#include "data_structures/map_worker.h"
#include "data_structures/shared_segment.h"
#include "hermes_shm/data_structures/ring_buffer.h"
#include "hermes_shm/data_structures/string.h"
#include "hermes_shm/memory/allocator/stack_allocator.h"
#include "support/catch.h"
#include "support/child_process.h"
#include "support/seed.h"

using hshm::ipc::CellState;
using hshm::ipc::CellWord;
using hshm::ipc::MpscCell;
using hshm::ipc::RingHeader;
using hshm::ipc::RingKind;
using hshm::ipc::RingResult;
using hshm::ipc::StackAllocator;
using hshm::test::AttachedSegment;
using hshm::test::Board;
using hshm::test::ChildProcess;
using hshm::test::SharedSegment;

namespace {

using Mpsc = hshm::ipc::ring_buffer<uint64_t, StackAllocator, RingKind::kMpsc>;
using Spsc = hshm::ipc::ring_buffer<uint64_t, StackAllocator, RingKind::kSpsc>;
constexpr uint64_t kSegmentBytes = uint64_t{1} << 20;
constexpr uint64_t kPatienceUs = 20 * 1000 * 1000;  // a test that waits longer has hung

/** A ring that children find on the board. */
template <typename Ring>
struct SharedRing {
  explicit SharedRing(uint64_t capacity) : segment_(kSegmentBytes) {
    ring_.shm_init(segment_.alloc(), capacity);
    board_ = segment_.alloc()->template NewObj<Board>(hshm::ipc::MemContext()).ptr_;
  }

  /** A child that has the ring, and the board, at addresses of its own. */
  template <typename Body>
  ChildProcess Child(Body body) {
    return ChildProcess([this, body] {
      const AttachedSegment<StackAllocator> segment(segment_.url());
      Ring ring;
      ring.shm_attach(segment.alloc(), ring_.offset());
      return body(segment.alloc(), ring);
    });
  }

  SharedSegment<StackAllocator> segment_;
  Ring ring_;
  Board* board_ = nullptr;
};

}  // namespace

TEST_CASE("mpsc_ring_buffer goes on when a producer is killed at work, 100 times") {
  std::mt19937_64 random(hshm::test::PrintedSeed("mpsc_ring_buffer kills"));
  constexpr uint64_t kCount = 2000;
  for (int round = 0; round < 100; ++round) {
    SharedRing<Mpsc> shared(8);
    std::vector<ChildProcess> producers;
    for (uint64_t p = 0; p < Board::kWorkers; ++p) {
      producers.push_back(shared.Child([&shared, p](StackAllocator*, Mpsc& ring) {
        for (uint64_t i = 0; i < kCount; ++i) {
          if (ring.push(p << 32 | i, kPatienceUs) != RingResult::kDone) return 1;
          shared.board_->progress_[p].store(i + 1);
        }
        return 0;
      }));
    }
    const uint64_t kill_after = random() % kCount;
    uint64_t next[Board::kWorkers] = {};
    bool in_order = true;
    bool killed = false;
    while (next[1] < kCount || next[2] < kCount || !killed) {
      if (!killed && (next[0] >= kill_after || next[0] == kCount)) {
        producers[0].Kill();
        killed = true;
      }
      uint64_t element = 0;
      if (next[1] == kCount && next[2] == kCount && killed) break;
      REQUIRE(shared.ring_.pop(element, kPatienceUs) == RingResult::kDone);
      in_order = in_order && (element & 0xffffffff) == next[element >> 32]++;
    }
    uint64_t element = 0;
    while (shared.ring_.try_pop(element) == RingResult::kDone) {
      in_order = in_order && (element & 0xffffffff) == next[element >> 32]++;
    }
    REQUIRE(in_order);
    REQUIRE(producers[1].Wait() == 0);
    REQUIRE(producers[2].Wait() == 0);
    REQUIRE(next[0] >= shared.board_->progress_[0].load());
    REQUIRE(next[0] <= shared.board_->progress_[0].load() + 1);
    REQUIRE(shared.ring_.try_pop(element) == RingResult::kEmpty);
  }
}

TEST_CASE("mpsc_ring_buffer skips what a process had claimed when it was killed") {
  SharedRing<Mpsc> shared(4);
  ChildProcess child = shared.Child([](StackAllocator* alloc, Mpsc& ring) {
    auto* header = alloc->GetRegion().At<RingHeader>(ring.offset().load());
    auto* cells = reinterpret_cast<MpscCell<uint64_t>*>(header + 1);
    const uint64_t me = CellWord::Holder(alloc->GetMembership().IdentityOrRejoin());
    cells[0].word_.store(CellWord::Make(0, CellState::kClaimed, me));
    return kill(getpid(), SIGKILL);
  });
  REQUIRE(child.Wait() == -SIGKILL);
  REQUIRE(shared.ring_.try_push(7) == RingResult::kDone);
  uint64_t element = 0;
  REQUIRE(shared.ring_.try_pop(element) == RingResult::kDone);
  REQUIRE(element == 7);
}

TEMPLATE_TEST_CASE("ring_buffer's consumer is followed by another when it is killed, 50 times", "",
                   Spsc, Mpsc) {
  std::mt19937_64 random(hshm::test::PrintedSeed("ring_buffer consumer kills"));
  constexpr uint64_t kCount = 3000;
  for (int round = 0; round < 50; ++round) {
    SharedRing<TestType> shared(8);
    ChildProcess producer = shared.Child([](StackAllocator*, TestType& ring) {
      for (uint64_t i = 0; i < kCount; ++i) {
        if (ring.push(i, kPatienceUs) != RingResult::kDone) return 1;
      }
      ring.close();
      return 0;
    });
    ChildProcess consumer = shared.Child([&shared](StackAllocator*, TestType& ring) {
      uint64_t element = 0;
      while (ring.pop(element, kPatienceUs) == RingResult::kDone) {
        shared.board_->progress_[0].store(element + 1);
      }
      return 0;
    });
    const uint64_t kill_after = random() % (kCount - 100);
    while (shared.board_->progress_[0].load() < kill_after) sched_yield();
    consumer.Kill();
    // The consumer may have popped one element that it had no time to note.
    uint64_t expected = shared.board_->progress_[0].load();
    uint64_t element = 0;
    bool first = true;
    bool in_order = true;
    while (shared.ring_.pop(element, kPatienceUs) == RingResult::kDone) {
      if (first && element == expected + 1) ++expected;
      first = false;
      in_order = in_order && element == expected++;
    }
    REQUIRE(in_order);
    REQUIRE((expected == kCount || (first && expected + 1 == kCount)));
    REQUIRE(producer.Wait() == 0);
  }
}

TEST_CASE("string is read through another mapping of its segment") {
  SharedSegment<StackAllocator> segment(kSegmentBytes);
  hshm::ipc::string<StackAllocator> text;
  text.shm_init(segment.alloc(), "short");
  const AttachedSegment<StackAllocator> second(segment.url());
  hshm::ipc::string<StackAllocator> other;
  other.shm_attach(second.alloc(), text.offset());
  REQUIRE(other == "short");
  REQUIRE(text.assign("long enough to need a block of its own"));
  REQUIRE(other == "long enough to need a block of its own");
  REQUIRE(other.data() != text.data());
  REQUIRE(other.append("!"));
  REQUIRE(text.view().back() == '!');
}
