/** Regions and headers with which no allocator can work: each is refused with its own error. */
#include <algorithm>
#include <cstring>
#include <functional>
#include <set>
#include <string>
#include <vector>

#include "backend/error_code.h"
#include "hermes_shm/memory/allocator/buddy_allocator.h"
#include "hermes_shm/memory/allocator/multi_process_allocator.h"
#include "hermes_shm/memory/allocator/scalable_page_allocator.h"
#include "hermes_shm/memory/allocator/stack_allocator.h"
#include "hermes_shm/memory/backend/malloc_backend.h"
#include "support/catch.h"
#include "support/metered_services.h"

namespace hshm::ipc::test {
namespace {

using multi_process::LargePages;
using multi_process::RootHeader;
using ScalableHeader = scalable_page::ScalableHeader<LargePages>;

const MemContext kCtx = HSHM_DEFAULT_MEM_CTX;
constexpr uint64_t kReal = 1 << 20;

/** Memory of 1 MiB, of which an allocator is told another size. */
struct Memory {
  Memory() { backend_.shm_init(MemoryBackendId(1), kReal); }
  Region Of(uint64_t size_bytes) {
    Region region = backend_.region();
    region.size_bytes_ = size_bytes;
    return region;
  }
  /** What becomes of an allocator on a region of that size. */
  template <typename AllocT>
  Thrown Make(uint64_t size_bytes) {
    return ThrownBy([&] { AllocT().shm_init(AllocatorId(1, 0), 0, Of(size_bytes)); });
  }
  MallocBackend backend_;
};

template <typename AllocT>
size_t FillUp(AllocT* alloc, uint64_t size_bytes, Offset* end) {
  size_t count = 0;
  for (;;) {
    const OffsetPtr<> block = alloc->AllocateOffset(kCtx, size_bytes);
    if (block.IsNull()) return count;
    *end = std::max(*end, block.load() + size_bytes);
    ++count;
  }
}

TEST_CASE("A region in which only headers have room is refused by each allocator, with its size") {
  const auto refused = [](Thrown thrown, ErrorCode code, uint64_t size_bytes) {
    CAPTURE(size_bytes, thrown.text_);
    return thrown.code_ == code && thrown.Says(std::to_string(size_bytes) + " bytes");
  };
  for (const uint64_t size : {8800, 9000}) {  // no room for the nodes, and for one block
    REQUIRE(refused(Memory().Make<BuddyAllocator>(size), ErrorCode::kNoSpace, size));
  }
  REQUIRE(refused(Memory().Make<StackAllocator>(8784), ErrorCode::kNoSpace, 8784));
  const uint64_t page = LargePages::kPageBytes;
  REQUIRE(refused(Memory().Make<ScalablePageAllocator>(page), ErrorCode::kOutOfRange, page));
  REQUIRE(refused(Memory().Make<MultiProcessAllocator>(page), ErrorCode::kOutOfRange, page));
}

TEST_CASE("A region that is larger than an allocator can address is refused, with its size") {
  const uint64_t stacks = uint64_t{2} << 40;
  const Thrown stack = Memory().Make<StackAllocator>(stacks);
  REQUIRE(stack.code_ == ErrorCode::kOutOfRange);
  REQUIRE(stack.Says(std::to_string(stacks) + " bytes: 2 TiB is the most"));
  const Thrown pages = Memory().Make<SmallScalablePageAllocator>(uint64_t{4096} << 32);
  REQUIRE(pages.code_ == ErrorCode::kOutOfRange);
  REQUIRE(pages.Says("room for 1 to 4294967295 pages of 4096 bytes"));
}

TEST_CASE("A region of whatever size serves to its end, and no byte beyond it") {
  for (uint64_t size = 9100; size < 14000; size += 52) {
    CAPTURE(size);
    Offset end = 0;
    Memory for_buddy;
    BuddyAllocator buddy;
    buddy.shm_init(AllocatorId(1, 0), 0, for_buddy.Of(size));
    REQUIRE(FillUp(&buddy, 64, &end) > 0);
    REQUIRE(end <= size);
    REQUIRE(end + 2 * 64 + 12 > size);  // the last granule, and its node
    REQUIRE(buddy.Check());
    end = 0;
    Memory for_stack;
    StackAllocator stack;
    stack.shm_init(AllocatorId(1, 0), 0, for_stack.Of(size));
    REQUIRE(FillUp(&stack, 16, &end) > 0);
    REQUIRE(end <= size);
    REQUIRE(end + 2 * 16 + 15 > size);
    REQUIRE(stack.Check());
  }
}

/** The system refuses its memory at each step of making one, and then has some again. */
template <typename AllocT>
void RefuseEachCommit() {
  int refusals = 0;
  for (uint64_t commits = 0;; ++commits) {
    CAPTURE(commits);
    Memory memory;
    Region region = memory.Of(kReal);
    hshm::test::Meter meter(region.services_);
    region.services_ = &meter;
    AllocT alloc;
    meter.Allow(commits);
    const Thrown thrown = ThrownBy([&] { alloc.shm_init(AllocatorId(1, 0), 0, region); });
    if (thrown.code_ == ErrorCode::kNone) break;
    ++refusals;
    REQUIRE(thrown.code_ == ErrorCode::kNoSpace);
    REQUIRE_FALSE(alloc.IsAttached());
    meter.Allow(~uint64_t{0});
    alloc.shm_init(AllocatorId(1, 0), 0, region);
    REQUIRE_FALSE(alloc.AllocateOffset(kCtx, 1000).IsNull());
    REQUIRE(alloc.Check());
  }
  REQUIRE(refusals >= 2);  // of what all allocators have, and of its own header
}

TEST_CASE("Making an allocator without memory for a header is NoSpace, and works with it") {
  RefuseEachCommit<StackAllocator>();
  RefuseEachCommit<BuddyAllocator>();
  RefuseEachCommit<ScalablePageAllocator>();
  RefuseEachCommit<MultiProcessAllocator>();
}

/** Changes of an allocator's own header, each by itself. */
template <typename AllocT, typename Header>
void RefuseEach(ErrorCode code, const std::vector<std::function<void(Header*)>>& changes) {
  Memory memory;
  memory.backend_.MakeAlloc<AllocT>(AllocatorId(1, 0));
  const Region region = memory.backend_.region();
  const auto* common = region.At<AllocatorHeader>(AllocatorOffsetFor(kReal));
  auto* header = region.At<Header>(common->core_offset_);
  alignas(Header) char before[sizeof(Header)];
  std::memcpy(before, static_cast<const void*>(header), sizeof(before));
  for (size_t i = 0; i < changes.size(); ++i) {
    CAPTURE(i);
    changes[i](header);
    REQUIRE(CodeOf([&] { AllocT().shm_attach(region); }) == code);
    std::memcpy(static_cast<void*>(header), before, sizeof(before));
  }
  AllocT whole;
  whole.shm_attach(region);
  REQUIRE_FALSE(whole.AllocateOffset(kCtx, 100).IsNull());
  REQUIRE(whole.Check());
}

TEST_CASE("Each word of an allocator's own header that does not fit its region is Corrupt") {
  RefuseEach<StackAllocator, StackHeader>(
      ErrorCode::kCorrupt, {[](auto* h) { h->bottom_ += 16; }, [](auto* h) { h->end_ -= 16; }});
  RefuseEach<BuddyAllocator, BuddyHeader>(
      ErrorCode::kCorrupt, {[](auto* h) { h->granule_bytes_ *= 2; }, [](auto* h) { ++h->first_; },
                            [](auto* h) { --h->end_; }, [](auto* h) { h->nodes_offset_ += 64; }});
  RefuseEach<ScalablePageAllocator, ScalableHeader>(
      ErrorCode::kCorrupt,
      {[](auto* h) { ++h->page_shift_; }, [](auto* h) { --h->page_count_; },
       [](auto* h) { ++h->first_page_; }, [](auto* h) { h->table_offset_ += 64; },
       [](auto* h) { h->nodes_offset_ += 64; }, [](auto* h) { h->notes_offset_ += 64; },
       [](auto* h) { h->marks_offset_ += 64; },
       [](auto* h) { h->frontier_.store(h->first_page_ - 1); },
       [](auto* h) { h->frontier_.store(h->page_count_ + 1); }});
  RefuseEach<MultiProcessAllocator, RootHeader>(
      ErrorCode::kCorrupt,
      {[](auto* h) { ++h->page_shift_; }, [](auto* h) { --h->page_count_; },
       [](auto* h) { ++h->granule_pages_log2_; }, [](auto* h) { ++h->first_granule_; },
       [](auto* h) { --h->granule_end_; }, [](auto* h) { ++h->first_page_; },
       [](auto* h) { h->heads_offset_ += 64; }, [](auto* h) { h->nodes_offset_ += 64; },
       [](auto* h) { h->table_offset_ += 64; }});
}

TEST_CASE("An allocator's own header of another release is VersionMismatch") {
  RefuseEach<ScalablePageAllocator, ScalableHeader>(
      ErrorCode::kVersionMismatch,
      {[](auto* h) { ++h->layout_version_; }, [](auto* h) { --h->layout_version_; }});
  RefuseEach<MultiProcessAllocator, RootHeader>(
      ErrorCode::kVersionMismatch,
      {[](auto* h) { ++h->layout_version_; }, [](auto* h) { --h->layout_version_; }});
}

TEST_CASE("A heap's header in a region that has no room for a page is Corrupt, whatever it says") {
  constexpr uint64_t kOnePage = LargePages::kPageBytes;
  Memory memory;
  const Region region = memory.Of(kOnePage);
  StackAllocator stack;  // for a whole common header
  stack.shm_init(AllocatorId(1, 0), 0, region);
  auto* common = region.At<AllocatorHeader>(AllocatorOffsetFor(kOnePage));
  auto* root = region.At<RootHeader>(common->core_offset_);
  stack.shm_detach();
  std::memset(static_cast<void*>(root), 0, sizeof(*root));
  root->layout_version_ = multi_process::kMultiProcessLayoutVersion;
  root->page_shift_ = LargePages::kPageShift;
  root->page_count_ = 1;
  root->first_granule_ = 1;
  root->granule_end_ = 1;
  common->type_.store(static_cast<uint32_t>(MultiProcessAllocator::kType));
  REQUIRE(CodeOf([&] { MultiProcessAllocator().shm_attach(region); }) == ErrorCode::kCorrupt);
}

TEST_CASE("Each kind of allocator has a name of its own in messages") {
  std::set<std::string> names;
  uint32_t type = 0;
  for (; names.insert(AllocatorTypeName(static_cast<AllocatorType>(type))).second; ++type) {}
  const auto known = static_cast<uint32_t>(AllocatorType::kCheckedThreadLocal) + 1;
  REQUIRE(type == known + 1);  // the next one has the name of those that are unknown
  REQUIRE(AllocatorTypeName(static_cast<AllocatorType>(known + 7)) ==
          std::string("an unknown allocator"));
}

}  // namespace
}  // namespace hshm::ipc::test
