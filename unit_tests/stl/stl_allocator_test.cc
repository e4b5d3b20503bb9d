#include <algorithm>
#include <cstdint>
#include <memory>
#include <memory_resource>
#include <new>
#include <scoped_allocator>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "hermes_shm/data_structures/memory_resource.h"
#include "hermes_shm/memory/allocator/buddy_allocator.h"
#include "hermes_shm/memory/allocator/malloc_allocator.h"
#include "hermes_shm/memory/allocator/scalable_page_allocator.h"
#include "hermes_shm/memory/allocator/stack_allocator.h"
#include "hermes_shm/memory/allocator/thread_local_allocator.h"
#include "hermes_shm/memory/backend/malloc_backend.h"
#include "stl/rows.h"
#include "support/catch.h"
#include "support/child_process.h"

using hshm::ipc::AttachedAllocator;
using hshm::ipc::BuddyAllocator;
using hshm::ipc::MallocAllocator;
using hshm::ipc::MemContext;
using hshm::ipc::MultiProcessAllocator;
using hshm::ipc::ScalablePageAllocator;
using hshm::ipc::StackAllocator;
using hshm::ipc::ThreadLocalAllocator;
using hshm::test::Contents;
using hshm::test::Ending;
using hshm::test::MakeContainer;
using hshm::test::Rows;
using hshm::test::RunInChild;

namespace {

/** A private region with an allocator in it. */
template <typename AllocT>
struct Heap {
  explicit Heap(uint64_t bytes = uint64_t{64} << 20) {
    backend_.shm_init(hshm::ipc::MemoryBackendId(1), bytes);
    alloc_ = backend_.MakeAlloc<AllocT>(hshm::ipc::AllocatorId(1, 0));
  }
  hshm::ipc::MallocBackend backend_;
  AllocT* alloc_ = nullptr;
};

template <typename AllocT>
using Numbers = std::vector<int, hshm::allocator<int, AllocT>>;

}  // namespace

TEMPLATE_TEST_CASE("Shared containers work over every allocator", "", StackAllocator,
                   BuddyAllocator, MultiProcessAllocator, MallocAllocator, ScalablePageAllocator,
                   ThreadLocalAllocator) {
  Heap<TestType> heap;
  Rows<TestType>::ForEachOfStd([&]<typename Container>(const char* name) {
    INFO(name);
    auto* const container = MakeContainer<Container>(heap.alloc_, name);
    Contents<Container>::Fill(*container);
    REQUIRE(Contents<Container>::IsFilled(*container));
    Contents<Container>::Change(*container);
    REQUIRE(Contents<Container>::IsChanged(*container));
    heap.alloc_->DelObj(MemContext(), heap.alloc_->template FindRoot<Container>(name));
  });
  REQUIRE(heap.alloc_->Check());
}

TEST_CASE("Containers of containers hand their allocator down") {
  using Inner = Numbers<StackAllocator>;
  using Alloc = std::scoped_allocator_adaptor<hshm::allocator<Inner, StackAllocator>>;
  Heap<StackAllocator> heap;
  const auto outer =
      heap.alloc_->NewObj<std::vector<Inner, Alloc>>(MemContext(), Alloc(heap.alloc_));
  for (int i = 0; i < 20; ++i) outer.ptr_->emplace_back(100, i);
  for (int i = 0; i < 20; ++i) {
    REQUIRE(heap.alloc_->Contains((*outer.ptr_)[static_cast<size_t>(i)].data()));
    REQUIRE((*outer.ptr_)[static_cast<size_t>(i)][99] == i);
  }
  heap.alloc_->DelObj(MemContext(), outer);
}

TEST_CASE("hshm::allocator throws bad_alloc when there is no room, and the container stays whole") {
  Heap<StackAllocator> heap(uint64_t{1} << 20);
  Numbers<StackAllocator> numbers(heap.alloc_);
  numbers.assign(100, 7);
  REQUIRE_THROWS_AS(numbers.reserve(1 << 20), std::bad_alloc);
  REQUIRE(std::count(numbers.begin(), numbers.end(), 7) == 100);
  hshm::allocator<int, StackAllocator> alloc(heap.alloc_);
  REQUIRE_THROWS_AS(alloc.allocate(~size_t{0} / 2), std::bad_array_new_length);
}

TEST_CASE("hshm::allocator aligns as its type asks, and is equal in one region only") {
  struct alignas(256) Wide {
    char bytes_[256];
  };
  Heap<StackAllocator> one;
  Heap<StackAllocator> other;
  std::vector<Wide, hshm::allocator<Wide, StackAllocator>> wide(one.alloc_);
  wide.resize(5);
  REQUIRE(reinterpret_cast<uintptr_t>(wide.data()) % 256 == 0);
  const hshm::allocator<int, StackAllocator> a(one.alloc_);
  const hshm::allocator<char, StackAllocator> b(a);
  REQUIRE(a == b);
  REQUIRE(a != hshm::allocator<int, StackAllocator>(other.alloc_));
  REQUIRE(b.Handle() == one.alloc_);
  Numbers<StackAllocator> from({1, 2, 3}, one.alloc_);
  Numbers<StackAllocator> to(other.alloc_);
  to = std::move(from);  // another region: the elements move, not the block
  REQUIRE(other.alloc_->Contains(to.data()));
  REQUIRE(to.size() == 3);
}

TEST_CASE("A handle serves containers from its attachment to its end, and no longer") {
  Heap<StackAllocator> heap;
  const void* const base = heap.alloc_->GetRegion().base_;
  REQUIRE(AttachedAllocator::Find(base) == heap.alloc_);
  auto* const second = heap.backend_.AttachAlloc<StackAllocator>();
  heap.backend_.DestroyAlloc(heap.alloc_);
  REQUIRE(AttachedAllocator::Find(base) == second);
  second->shm_detach();
  REQUIRE(AttachedAllocator::Find(base) == nullptr);
  REQUIRE(AttachedAllocator::Find(&heap) == nullptr);
  auto* const third = heap.backend_.AttachAlloc<StackAllocator>();
  REQUIRE(AttachedAllocator::Find(base) == third);
  const Ending ending = RunInChild([&] {
    Numbers<StackAllocator> numbers(third);
    third->shm_detach();
    numbers.push_back(1);
  });
  REQUIRE(ending.status_ == -SIGABRT);
  REQUIRE(ending.errors_.find("NotAttached") != std::string::npos);
}

TEST_CASE("Threads find their handles while others attach and leave") {
  Heap<StackAllocator> heap;
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([&heap, t] {
      for (int i = 0; i < 300; ++i) {
        if (t == 0) {
          Heap<StackAllocator> mine(uint64_t{1} << 20);
          HSHM_CHECK(AttachedAllocator::Find(mine.alloc_->GetRegion().base_) == mine.alloc_);
        } else {
          Numbers<StackAllocator> numbers(heap.alloc_);
          numbers.assign(10, t);
          HSHM_CHECK(numbers[9] == t);
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEMPLATE_TEST_CASE("std::pmr containers of one process take their memory from the heap", "",
                   StackAllocator, BuddyAllocator, MultiProcessAllocator, MallocAllocator,
                   ScalablePageAllocator, ThreadLocalAllocator) {
  Heap<TestType> heap;
  const size_t before = heap.alloc_->GetCurrentlyAllocatedSize();
  {
    hshm::memory_resource resource(heap.alloc_);
    std::pmr::unordered_map<int, std::pmr::string> names(&resource);
    for (int i = 0; i < 1000; ++i)
      names[i] = "a name that does not fit inside, number " + std::to_string(i);
    REQUIRE(names[999].ends_with("999"));
    REQUIRE(heap.alloc_->Contains(&*names.find(17)));
    REQUIRE(heap.alloc_->Contains(names[17].data()));
    REQUIRE(heap.alloc_->GetCurrentlyAllocatedSize() > before + 40000);
  }
  REQUIRE(heap.alloc_->GetCurrentlyAllocatedSize() == before);
}

TEST_CASE(
    "memory_resource throws bad_alloc without room, aligns, and is equal in one region only") {
  Heap<StackAllocator> heap(uint64_t{1} << 20);
  Heap<StackAllocator> other(uint64_t{1} << 20);
  hshm::memory_resource resource(heap.alloc_);
  hshm::memory_resource same(heap.alloc_);
  hshm::memory_resource foreign(other.alloc_);
  REQUIRE(resource.is_equal(same));
  REQUIRE_FALSE(resource.is_equal(foreign));
  REQUIRE_FALSE(resource.is_equal(*std::pmr::new_delete_resource()));
  REQUIRE_THROWS_AS(resource.allocate(size_t{1} << 30), std::bad_alloc);
  void* const wide = resource.allocate(100, 4096);
  REQUIRE(reinterpret_cast<uintptr_t>(wide) % 4096 == 0);
  same.deallocate(wide, 100, 4096);
}

TEMPLATE_TEST_CASE("memory_resource aligns addresses beyond what the region's base is aligned to",
                   "", StackAllocator, BuddyAllocator, MultiProcessAllocator, MallocAllocator,
                   ScalablePageAllocator) {
  Heap<TestType> heap(uint64_t{64} << 20);
  hshm::memory_resource resource(heap.alloc_);
  const size_t before = heap.alloc_->GetCurrentlyAllocatedSize();
  for (size_t alignment = 32; alignment <= size_t{4} << 20; alignment *= 2) {
    char* const block = static_cast<char*>(resource.allocate(100, alignment));
    REQUIRE(reinterpret_cast<uintptr_t>(block) % alignment == 0);
    std::fill(block, block + 100, 'x');
    resource.deallocate(block, 100, alignment);
  }
  REQUIRE(heap.alloc_->GetCurrentlyAllocatedSize() == before);
  const volatile size_t beyond_all = ~size_t{0} - 10;  // no compiler is to know
  REQUIRE_THROWS_AS(resource.allocate(beyond_all, size_t{4} << 20), std::bad_alloc);
  REQUIRE(heap.alloc_->Check());
}

TEST_CASE(
    "memory_resource refuses to lie in its own region, where others would take it for shared") {
  Heap<StackAllocator> heap(uint64_t{1} << 20);
  using Resource = hshm::memory_resource<StackAllocator>;
  const Ending ending =
      RunInChild([&] { (void)heap.alloc_->NewObj<Resource>(MemContext(), heap.alloc_); });
  REQUIRE(ending.status_ == -SIGABRT);
}
