#include <string>
#include <vector>

#include "contract/harness.h"
#include "data_structures/containers.h"
#include "hermes_shm/base/error.h"
#include "hermes_shm/data_structures/allocator.h"
#include "hermes_shm/data_structures/ring_buffer/multi_ring_buffer.h"
#include "hermes_shm/memory/allocator/buddy_allocator.h"
#include "hermes_shm/memory/allocator/malloc_allocator.h"
#include "hermes_shm/memory/allocator/multi_process_allocator.h"
#include "hermes_shm/memory/allocator/scalable_page_allocator.h"
#include "hermes_shm/memory/allocator/stack_allocator.h"
#include "hermes_shm/memory/allocator/thread_local_allocator.h"
#include "support/catch.h"

using contract::TestBackend;
using hshm::ipc::AllocatorId;
using hshm::ipc::BuddyAllocator;
using hshm::ipc::MallocAllocator;
using hshm::ipc::MultiProcessAllocator;
using hshm::ipc::ScalablePageAllocator;
using hshm::ipc::StackAllocator;
using hshm::ipc::ThreadLocalAllocator;
using hshm::test::Containers;

namespace {

/** A region with an allocator in it: private, or of a kind of contract::TestBackend. */
template <typename AllocT>
struct Heap {
  explicit Heap(uint64_t bytes = uint64_t{64} << 20, int kind = TestBackend::kMalloc)
      : backend_(kind, bytes), alloc_(backend_->MakeAlloc<AllocT>(AllocatorId(1, 0))) {}
  TestBackend backend_;
  AllocT* alloc_;
};

/** Two handles of each container make, fill, change and end it. */
template <typename AllocT>
void RequireContainersWork(AllocT* alloc) {
  using Numbers = std::vector<uint64_t, hshm::allocator<uint64_t, AllocT>>;
  const size_t before = alloc->GetCurrentlyAllocatedSize();
  {
    Containers<AllocT> containers;
    containers.Make(alloc);
    REQUIRE(containers.Fill(0, Containers<AllocT>::kFilled));
    REQUIRE(containers.IsFilled());
    Containers<AllocT> others;
    others.Attach(alloc);
    REQUIRE(others.Change());
    REQUIRE(containers.IsChanged());
    Numbers numbers(containers.vector_.begin(), containers.vector_.end(), alloc);
    REQUIRE(alloc->Contains(numbers.data()));
    REQUIRE(numbers.back() == Containers<AllocT>::kChanged - 1);
    containers.Destroy();
  }
  REQUIRE(alloc->GetCurrentlyAllocatedSize() == before);
  REQUIRE(alloc->Check());
}

}  // namespace

TEMPLATE_TEST_CASE("All containers work over every allocator whose blocks lie in its region", "",
                   StackAllocator, BuddyAllocator, MultiProcessAllocator, ScalablePageAllocator,
                   ThreadLocalAllocator) {
  for (const int kind : {TestBackend::kMalloc, TestBackend::kShm, TestBackend::kFile}) {
    INFO(TestBackend::KindName(kind));
    Heap<TestType> heap(uint64_t{64} << 20, kind);
    RequireContainersWork(heap.alloc_);
  }
}

TEST_CASE("Containers over malloc work as well, but for unordered_map, which says why not") {
  Heap<MallocAllocator> heap(uint64_t{1} << 20);
  hshm::ipc::vector<uint64_t, MallocAllocator> vector;
  hshm::ipc::list<uint64_t, MallocAllocator> list;
  hshm::ipc::map<uint64_t, uint64_t, MallocAllocator> map;
  hshm::ipc::string<MallocAllocator> text;
  vector.shm_init(heap.alloc_);
  list.shm_init(heap.alloc_);
  map.shm_init(heap.alloc_);
  text.shm_init(heap.alloc_, "a text that does not fit inside of its string");
  hshm::ipc::map<uint64_t, uint64_t, MallocAllocator> same_map;
  same_map.shm_attach(heap.alloc_, map.offset());
  for (uint64_t i = 0; i < 1000; ++i) {
    REQUIRE(vector.push_back(i));
    REQUIRE(list.push_front(i));
    REQUIRE(same_map.insert({i, i}).second);
  }
  REQUIRE(vector.back() == list.front());
  REQUIRE(vector.Check());
  REQUIRE(map.lower_bound(500)->second == 500);
  REQUIRE(map.Check());
  REQUIRE(list.Check());
  hshm::ipc::string<MallocAllocator> same_text;
  same_text.shm_attach(heap.alloc_, text.offset());
  REQUIRE(same_text.view().ends_with("string"));
  const hshm::ipc::OffsetPtr<> nowhere(uint64_t{1} << 60);
  decltype(map) stray_map;
  REQUIRE_THROWS_AS(stray_map.shm_attach(heap.alloc_, nowhere), hshm::Error);
  try {
    hshm::ipc::unordered_map<uint64_t, uint64_t, MallocAllocator> table;
    table.shm_init(heap.alloc_);
    FAIL("unordered_map over malloc was made");
  } catch (const hshm::Error& error) {
    REQUIRE(error.code() == hshm::ErrorCode::kUnsupported);
  }
  vector.shm_destroy();
  list.shm_destroy();
  map.shm_destroy();
  text.shm_destroy();
  REQUIRE(heap.alloc_->GetCurrentlyAllocatedSize() == 0);
}

TEMPLATE_TEST_CASE("Rings work over every allocator, malloc included", "", StackAllocator,
                   BuddyAllocator, MultiProcessAllocator, MallocAllocator, ScalablePageAllocator,
                   ThreadLocalAllocator) {
  using hshm::ipc::RingResult;
  Heap<TestType> heap;
  hshm::ipc::ring_buffer<uint64_t, TestType, hshm::ipc::RingKind::kMpmc> ring;
  hshm::ipc::multi_ring_buffer<uint64_t, TestType> lanes;
  ring.shm_init(heap.alloc_, 16);
  lanes.shm_init(heap.alloc_, 3, 16);
  auto same_ring = decltype(ring)();
  auto same_lanes = decltype(lanes)();
  same_ring.shm_attach(heap.alloc_, ring.offset());
  same_lanes.shm_attach(heap.alloc_, lanes.offset());
  REQUIRE(same_ring.try_push(5) == RingResult::kDone);
  REQUIRE(same_lanes.try_push(2, 6) == RingResult::kDone);
  uint64_t element = 0;
  REQUIRE(ring.try_pop(element) == RingResult::kDone);
  REQUIRE(element == 5);
  REQUIRE(lanes.try_pop(element) == RingResult::kDone);
  REQUIRE(element == 6);
  const hshm::ipc::OffsetPtr<> nowhere(uint64_t{1} << 60);
  decltype(ring) stray_ring;
  REQUIRE_THROWS_AS(stray_ring.shm_attach(heap.alloc_, nowhere), hshm::Error);
  ring.shm_destroy();
  lanes.shm_destroy();
  REQUIRE(heap.alloc_->Check());
}

TEMPLATE_TEST_CASE("All containers say that there is no room in the end, and are whole then", "",
                   StackAllocator, BuddyAllocator, MultiProcessAllocator, ScalablePageAllocator,
                   ThreadLocalAllocator) {
  Heap<TestType> heap(uint64_t{8} << 20);
  Containers<TestType> containers;
  containers.Make(heap.alloc_);
  uint64_t filled = 0;
  while (containers.Fill(filled, filled + 100)) filled += 100;
  REQUIRE(filled != 0);
  REQUIRE(containers.vector_.Check());
  REQUIRE(containers.list_.Check());
  REQUIRE(containers.map_.Check());
  REQUIRE(containers.table_.Check());
  for (uint64_t i = 0; i < filled; ++i) {
    REQUIRE(containers.vector_[i] == i);
    REQUIRE(containers.map_.find(i)->second == 2 * i);
    REQUIRE(containers.table_.find(i) == 3 * i);
  }
  containers.Destroy();
  REQUIRE(heap.alloc_->Check());
}
