#include <random>
#include <string>
#include <vector>

#include "data_structures/shared_segment.h"
#include "hermes_shm/data_structures/vector.h"
#include "hermes_shm/memory/allocator/multi_process_allocator.h"
#include "hermes_shm/memory/allocator/stack_allocator.h"
#include "support/catch.h"
#include "support/child_process.h"
#include "support/seed.h"

using hshm::ipc::MultiProcessAllocator;
using hshm::ipc::StackAllocator;
using hshm::test::AttachedSegment;
using hshm::test::ChildProcess;
using hshm::test::SharedSegment;
using hshm::test::Signpost;

namespace {

constexpr uint64_t kSegmentBytes = uint64_t{32} << 20;

template <typename AllocT>
using Vector = hshm::ipc::vector<uint64_t, AllocT>;

/** Appends and erases, under the lock, for ever; the elements always count up from some number. */
template <typename AllocT>
void KeepChanging(Vector<AllocT>& vector, const Signpost& started) {
  for (uint64_t i = 0;; ++i) {
    const auto guard = vector.Lock();
    const uint64_t next = vector.empty() ? 0 : vector.back() + 1;
    HSHM_CHECK(vector.push_back(next));
    if (vector.size() > 500) vector.erase(vector.begin(), vector.begin() + 300);
    if (i == 1000) started.Tell();
  }
}

}  // namespace

TEMPLATE_TEST_CASE("vector is one vector through two mappings of its segment", "", StackAllocator,
                   MultiProcessAllocator) {
  SharedSegment<TestType> segment(kSegmentBytes);
  const AttachedSegment<TestType> second(segment.url());
  REQUIRE(second.alloc()->GetRegion().base_ != segment.alloc()->GetRegion().base_);
  Vector<TestType> vector;
  vector.shm_init(segment.alloc());
  Vector<TestType> other;
  other.shm_attach(second.alloc(), vector.offset());
  for (uint64_t i = 0; i < 5000; ++i) {
    REQUIRE((i % 2 == 0 ? vector : other).push_back(i));
    REQUIRE((i % 2 == 0 ? other : vector)[i] == i);
  }
  REQUIRE(other == vector);
  REQUIRE(other.Check());
  other.shm_destroy();
}

TEMPLATE_TEST_CASE("vector survives the kill of a process at work, 60 times, whole", "",
                   StackAllocator, MultiProcessAllocator) {
  std::mt19937_64 random(hshm::test::PrintedSeed("vector kills"));
  SharedSegment<TestType> segment(kSegmentBytes);
  Vector<TestType> vector;
  vector.shm_init(segment.alloc());
  for (int round = 0; round < 60; ++round) {
    const Signpost started;
    ChildProcess child([&] {
      const AttachedSegment<TestType> mine(segment.url());
      Vector<TestType> own;
      own.shm_attach(mine.alloc(), vector.offset());
      KeepChanging(own, started);
      return 0;
    });
    started.Await();
    for (uint64_t spin = random() % 100000; spin > 0; --spin) __builtin_ia32_pause();
    REQUIRE(child.Kill() == -SIGKILL);
    const auto guard = vector.Lock();
    REQUIRE(vector.Check());
    REQUIRE(!vector.empty());
    for (uint64_t i = 0; i < vector.size(); ++i) REQUIRE(vector[i] == vector[0] + i);
  }
}
