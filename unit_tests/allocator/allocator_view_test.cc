/** Views for kernels, run by threads of the host: the same functions, each thread a lane. */
#include "hermes_shm/memory/allocator/allocator_view.h"

#include <atomic>
#include <cstring>
#include <thread>
#include <vector>

#include "allocator/limited_services.h"
#include "hermes_shm/memory/allocator/buddy_allocator.h"
#include "hermes_shm/memory/allocator/stack_allocator.h"
#include "hermes_shm/memory/backend/array_backend.h"
#include "hermes_shm/memory/backend/malloc_backend.h"
#include "support/catch.h"

using namespace hshm::ipc;  // NOLINT: a test of this namespace

namespace {

const MemContext kCtx = HSHM_DEFAULT_MEM_CTX;
constexpr uint64_t kRegionBytes = 1 << 20;

template <typename AllocT>
struct Made {
  explicit Made(uint64_t region_bytes = kRegionBytes) {
    backend_.shm_init(MemoryBackendId(1), region_bytes);
    alloc_ = backend_.MakeAlloc<AllocT>(AllocatorId(1, 7));
  }
  MallocBackend backend_;
  AllocT* alloc_;
};

struct alignas(64) Line {
  Line(uint64_t first, uint64_t second) noexcept : first_(first), second_(second) {}
  uint64_t first_;
  uint64_t second_;
};

/** The word of the lock, which lies at the front of the header. */
hshm::Mutex& LockOf(BuddyAllocator* alloc, const MemoryBackend& backend) {
  const auto* common = alloc->GetRegion().At<AllocatorHeader>(backend.header()->allocator_offset_);
  return alloc->GetRegion().At<BuddyHeader>(common->core_offset_)->lock_;
}

}  // namespace

TEMPLATE_TEST_CASE("A view allocates what the handle frees, and the other way", "", StackAllocator,
                   BuddyAllocator) {
  Made<TestType> made;
  const auto view = made.alloc_->View();
  const FullPtr<char> mine = made.alloc_->template Allocate<char>(kCtx, 100);
  const FullPtr<char> its = view.template Allocate<char>(kCtx, 100);
  REQUIRE_FALSE(its.IsNull());
  CHECK(its.shm_.alloc_id_ == AllocatorId(1, 7));
  CHECK(made.alloc_->Convert(its.shm_) == its.ptr_);
  CHECK(view.ToOffset(mine.ptr_).load() == mine.shm_.off_.load());
  CHECK(view.Contains(its.ptr_));
  CHECK(view.GetCurrentlyAllocatedSize() == made.alloc_->GetCurrentlyAllocatedSize());
  made.alloc_->Free(kCtx, its);
  view.Free(kCtx, mine);
  CHECK(made.alloc_->Check());
  CHECK(made.alloc_->GetCurrentlyAllocatedSize() == 0);
}

TEMPLATE_TEST_CASE("A view reallocates, aligns, and constructs as the handle does", "",
                   StackAllocator, BuddyAllocator) {
  Made<TestType> made;
  const auto view = made.alloc_->View();
  FullPtr<char> grown = view.template Reallocate<char>(kCtx, FullPtr<char>(), 20);
  const FullPtr<char> behind = view.template Allocate<char>(kCtx, 64);
  std::memset(grown.ptr_, 'x', 20);
  grown = view.Reallocate(kCtx, grown, 5000);
  REQUIRE_FALSE(grown.IsNull());
  CHECK(std::string(grown.ptr_, 20) == std::string(20, 'x'));
  const FullPtr<char> aligned = view.AlignedAllocate(kCtx, 10, 4096);
  CHECK(aligned.shm_.off_.load() % 4096 == 0);
  const FullPtr<Line> lines = view.template NewObjs<Line>(kCtx, 3, 1u, 2u);
  REQUIRE_FALSE(lines.IsNull());
  CHECK(lines.shm_.off_.load() % alignof(Line) == 0);
  CHECK(lines.ptr_[2].second_ == 2);
  CHECK(view.template AllocateObjs<Line>(kCtx, ~size_t{0} / 2).IsNull());
  CHECK(view.template Allocate<char>(kCtx, kRegionBytes).IsNull());
  view.DelObjs(kCtx, lines, 3);
  for (const FullPtr<char>& block : {aligned, behind, grown}) view.Free(kCtx, block);
  CHECK(made.alloc_->Check());
  CHECK(made.alloc_->GetCurrentlyAllocatedSize() == 0);
}

TEMPLATE_TEST_CASE("A view at another base works on a copy of the region there", "", StackAllocator,
                   BuddyAllocator) {
  alignas(64) static char array[kRegionBytes];
  alignas(64) static char copy[kRegionBytes];
  ArrayBackend backend;
  backend.shm_init(MemoryBackendId(1), kRegionBytes, array);
  auto* alloc = backend.MakeAlloc<TestType>(AllocatorId(1, 0));
  std::memcpy(copy, array, kRegionBytes);
  const auto view = alloc->View(copy);
  const FullPtr<char> block = view.template Allocate<char>(kCtx, 300);
  REQUIRE_FALSE(block.IsNull());
  CHECK(block.ptr_ >= copy);
  CHECK(block.ptr_ < copy + kRegionBytes);
  CHECK(alloc->GetCurrentlyAllocatedSize() == 0);
  std::memcpy(array, copy, kRegionBytes);
  CHECK(alloc->Check());
  alloc->FreeOffset(kCtx, OffsetPtr<>(block.shm_.off_.load()));
  CHECK(alloc->GetCurrentlyAllocatedSize() == 0);
}

TEMPLATE_TEST_CASE("Lanes of a view take blocks of their own at once", "", StackAllocator,
                   BuddyAllocator) {
  constexpr int kLanes = 4;
  constexpr int kRounds = 2000;
  // room for all blocks: a stack takes back what is freed only when it lies on top
  Made<TestType> made(uint64_t{kLanes} * kRounds * 1024);
  const auto view = made.alloc_->View();
  std::atomic<uint64_t> wrong{0};
  std::vector<std::thread> lanes;
  for (int lane = 0; lane < kLanes; ++lane) {
    lanes.emplace_back([&, lane] {
      for (int round = 0; round < kRounds; ++round) {
        const size_t size = 16 + static_cast<size_t>(round * 7 + lane) % 500;
        const FullPtr<char> block = view.template Allocate<char>(kCtx, size);
        if (block.IsNull()) {
          ++wrong;
          continue;
        }
        std::memset(block.ptr_, 'a' + lane, size);
        for (size_t i = 0; i < size; ++i) wrong += block.ptr_[i] != 'a' + lane ? 1 : 0;
        view.Free(kCtx, block);
      }
    });
  }
  for (std::thread& lane : lanes) lane.join();
  CHECK(wrong == 0);
  CHECK(made.alloc_->Check());
  CHECK(made.alloc_->GetCurrentlyAllocatedSize() == 0);
}

TEMPLATE_TEST_CASE("A view commits memory on the host, and has no room when the system has none",
                   "", StackAllocator, BuddyAllocator) {
  LimitedRegion limited(kRegionBytes, kRegionBytes / 2);
  TestType alloc;
  alloc.shm_init(AllocatorId(1, 0), 0, limited.region());
  const auto view = alloc.View();
  uint64_t taken = 0;
  for (FullPtr<char> block; !(block = view.template Allocate<char>(kCtx, 4000)).IsNull();) {
    REQUIRE(limited.IsCommitted(block.shm_.off_.load(), 4000));
    taken += 4000;
  }
  CHECK(taken > kRegionBytes / 4);
  CHECK(taken <= kRegionBytes / 2);
  alloc.shm_detach();
}

TEST_CASE("A process repairs what kernels left that broke off inside of the buddy's lock") {
  Made<BuddyAllocator> made;
  const OffsetPtr<> kept = made.alloc_->View().AllocateOffset(kCtx, 1000);
  REQUIRE(LockOf(made.alloc_, made.backend_).TryLockInKernel());
  CHECK_FALSE(LockOf(made.alloc_, made.backend_).TryLockInKernel());
  const OffsetPtr<> next = made.alloc_->AllocateOffset(kCtx, 1000);  // finds its holder dead
  REQUIRE_FALSE(next.IsNull());
  CHECK(made.alloc_->Check());
  made.alloc_->FreeOffset(kCtx, next);
  made.alloc_->FreeOffset(kCtx, kept);
  CHECK(made.alloc_->GetCurrentlyAllocatedSize() == 0);
  CHECK(LockOf(made.alloc_, made.backend_).TryLockInKernel());
  LockOf(made.alloc_, made.backend_).UnlockInKernel();
}
