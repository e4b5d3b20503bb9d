/** Every allocator by the ids of the manager, in the guide's spelling. */
#include "backend/error_code.h"
#include "backend/test_segment.h"
#include "hermes_shm/memory/allocator/buddy_allocator.h"
#include "hermes_shm/memory/allocator/malloc_allocator.h"
#include "hermes_shm/memory/allocator/multi_process_allocator.h"
#include "hermes_shm/memory/allocator/scalable_page_allocator.h"
#include "hermes_shm/memory/allocator/stack_allocator.h"
#include "hermes_shm/memory/allocator/thread_local_allocator.h"
#include "hermes_shm/memory/memory_manager.h"
#include "support/catch.h"

namespace {

constexpr size_t kBytes = hshm::Unit<size_t>::Megabytes(4);
const hipc::MemoryBackendId kBackendId = hipc::MemoryBackendId::Get(0);
const hipc::AllocatorId kAllocId(1, 0);

struct CustomHeader {
  uint64_t value_;
};

TEMPLATE_TEST_CASE("Manager: every allocator is made, found and left by its id, in private memory",
                   "", hipc::StackAllocator, hipc::BuddyAllocator, hipc::MultiProcessAllocator,
                   hipc::ScalablePageAllocator, hipc::ThreadLocalAllocator, hipc::MallocAllocator) {
  auto* manager = HSHM_MEMORY_MANAGER;
  manager->CreateBackend<hipc::MallocBackend>(kBackendId, kBytes);
  auto* alloc = manager->CreateAllocator<TestType>(kBackendId, kAllocId, sizeof(CustomHeader));
  REQUIRE(manager->template GetAllocator<TestType>(kAllocId) == alloc);
  alloc->template GetCustomHeader<CustomHeader>()->value_ = 7;
  hipc::FullPtr<int> numbers = alloc->template AllocateObjs<int>(HSHM_DEFAULT_MEM_CTX, 100);
  REQUIRE_FALSE(numbers.IsNull());
  REQUIRE(alloc->SetRoot("numbers", numbers));
  alloc->DelObjs(HSHM_DEFAULT_MEM_CTX, alloc->template FindRoot<int>("numbers"), 100);
  manager->UnregisterAllocator(kAllocId);
  REQUIRE(manager->template GetAllocator<TestType>(kAllocId) == nullptr);
  manager->DestroyBackend(kBackendId);
}

TEMPLATE_TEST_CASE("Manager: every allocator that can be shared is found by a name", "",
                   hipc::StackAllocator, hipc::BuddyAllocator, hipc::MultiProcessAllocator,
                   hipc::ScalablePageAllocator, hipc::ThreadLocalAllocator) {
  hipc::test::TestSegment segment;
  hipc::MemoryManager creator;
  hipc::MemoryManager follower;  // of the same process, so that all of them may join
  creator.CreateBackend<hipc::PosixShmMmap>(kBackendId, kBytes, segment.url());
  auto* made = creator.CreateAllocator<TestType>(kBackendId, kAllocId, sizeof(CustomHeader));
  REQUIRE(made->SetRoot("number", made->template NewObj<int>(HSHM_DEFAULT_MEM_CTX, 42)));
  follower.AttachBackend(hipc::MemoryBackendType::kPosixShmMmap, segment.url());
  auto* found = follower.GetAllocator<TestType>(kAllocId);
  REQUIRE(found != nullptr);
  const auto number = found->template FindRoot<int>("number");
  REQUIRE(*number == 42);
  found->DelObj(HSHM_DEFAULT_MEM_CTX, number);
  REQUIRE(made->Check());
  follower.DestroyBackend(kBackendId);
  creator.DestroyBackend(kBackendId);
}

TEST_CASE("Manager: a MallocAllocator on shared memory is refused, and the ids stay free") {
  hipc::test::TestSegment segment;
  hipc::MemoryManager manager;
  manager.CreateBackend<hipc::PosixShmMmap>(kBackendId, kBytes, segment.url());
  REQUIRE(hipc::test::CodeOf([&] {
            manager.CreateAllocator<hipc::MallocAllocator>(kBackendId, kAllocId, 0);
          }) == hshm::ErrorCode::kUnsupported);
  REQUIRE(manager.CreateAllocator<hipc::BuddyAllocator>(kBackendId, kAllocId, 0) != nullptr);
  manager.DestroyBackend(kBackendId);
}

}  // namespace
