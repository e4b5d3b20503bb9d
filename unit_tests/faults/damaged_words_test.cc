/**
 * Head words that were overwritten, of a MultiProcessAllocator: what a fuzzer has found, each by
 * itself. The region ends where nothing can be touched.
 */
#include <sys/mman.h>

#include <csignal>
#include <cstring>
#include <string>

#include "backend/error_code.h"
#include "hermes_shm/memory/allocator/allocator_report.h"
#include "hermes_shm/memory/allocator/multi_process_allocator.h"
#include "hermes_shm/memory/backend/array_backend.h"
#include "support/catch.h"
#include "support/child_process.h"

namespace hshm::ipc::test {
namespace {

using hshm::test::Ending;
using hshm::test::RunInChild;
using multi_process::HeadWord;
using multi_process::RootHeader;

constexpr uint64_t kBytes = 256 * 1024;
constexpr uint64_t kGuardBytes = 64 * 1024 * 1024;

/** What a dead process has left in a region, and its head words. */
struct LeftBehind {
  LeftBehind() {
    zone_ = static_cast<char*>(mmap(nullptr, kBytes + kGuardBytes, PROT_NONE,
                                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    REQUIRE(mprotect(zone_, kBytes, PROT_READ | PROT_WRITE) == 0);
    ArrayBackend backend;
    backend.shm_init(MemoryBackendId(6), kBytes, zone_);
    auto* const alloc = backend.MakeAlloc<SmallMultiProcessAllocator>(AllocatorId(1, 0));
    kept_ = alloc->AllocateOffset(HSHM_DEFAULT_MEM_CTX, 100);
    const Offset core =
        backend.region().At<AllocatorHeader>(AllocatorOffsetFor(kBytes))->core_offset_;
    root_ = backend.region().At<RootHeader>(core);
    head_ = backend.region().At<uint32_t>(root_->heads_offset_ +
                                          root_->first_granule_ * sizeof(uint32_t));
  }
  ~LeftBehind() { munmap(zone_, kBytes + kGuardBytes); }
  LeftBehind(const LeftBehind&) = delete;
  LeftBehind& operator=(const LeftBehind&) = delete;

  /** Writes into the lists that this granule is free. */
  void ListAsFree(uint32_t granule) const {
    BuddyEngine(reinterpret_cast<BuddyNode*>(zone_ + root_->nodes_offset_), &root_->lists_,
                root_->first_granule_, root_->granule_end_ - root_->first_granule_, 0,
                kBuddyMaxOrder)
        .Free(granule, 1);
  }

  char* zone_ = nullptr;
  RootHeader* root_ = nullptr;
  uint32_t* head_ = nullptr;  // of the first unit
  OffsetPtr<> kept_;
};

TEST_CASE("A head word with a slot that no region has is Corrupt to who attaches") {
  const LeftBehind left;
  *left.head_ |= 0x1fffu << 2;
  ArrayBackend backend;
  backend.shm_attach(left.zone_, kBytes);
  REQUIRE(CodeOf([&] { backend.AttachAlloc<SmallMultiProcessAllocator>(); }) ==
          ErrorCode::kCorrupt);
}

/** What who attaches to it is told. */
ErrorCode CodeOfAttaching(const LeftBehind& left) {
  ArrayBackend backend;
  backend.shm_attach(left.zone_, kBytes);
  return CodeOf([&] { backend.AttachAlloc<SmallMultiProcessAllocator>(); });
}

TEST_CASE("A root lock that is held for nobody is Corrupt to who attaches") {
  const LeftBehind left;
  *reinterpret_cast<uint32_t*>(&left.root_->lock_) = uint32_t{1} << 31;
  REQUIRE(CodeOfAttaching(left) == ErrorCode::kCorrupt);
}

TEST_CASE("Head words that do not fit are Corrupt also to who takes the lock of a dead holder") {
  const LeftBehind left;
  *left.head_ = HeadWord::Make(HeadWord::kUnit, 1, multi_process::kMaxGranules);
  *reinterpret_cast<uint32_t*>(&left.root_->lock_) = 1;  // of slot 0, in no generation
  REQUIRE(CodeOfAttaching(left) == ErrorCode::kCorrupt);
}

TEST_CASE("A head word inside of a unit is Corrupt to who attaches") {
  const LeftBehind left;
  REQUIRE(HeadWord::Granules(*left.head_) == 2);
  left.head_[1] = HeadWord::Make(HeadWord::kLarge, 0, 1);
  REQUIRE(CodeOfAttaching(left) == ErrorCode::kCorrupt);
}

TEST_CASE("Lists of free units that were overwritten are made anew by who attaches") {
  const LeftBehind left;
  BuddyLists& lists = left.root_->lists_;
  REQUIRE(lists.nonempty_ != 0);
  uint32_t& first = lists.heads_[bits::FloorLog2(lists.nonempty_)];
  auto* const nodes = reinterpret_cast<BuddyNode*>(left.zone_ + left.root_->nodes_offset_);
  switch (GENERATE(0, 1, 2, 3, 4, 5)) {
    case 0:
      first = ~uint32_t{0};
      break;
    case 1:
      nodes[first - 1].next_ = first;  // a ring
      break;
    case 2:
      nodes[first - 1].mark_.store(0);
      break;
    case 3:
      lists.nonempty_ |= uint64_t{1} << 63;
      break;
    case 4:
      left.ListAsFree(left.root_->first_granule_ + 1);
      break;
    default:  // as zeroed memory
      lists = BuddyLists{};
      for (uint32_t g = left.root_->first_granule_; g < left.root_->granule_end_; ++g) {
        nodes[g].mark_.store(0);
      }
  }
  ArrayBackend backend;
  backend.shm_attach(left.zone_, kBytes);
  auto* const alloc = backend.AttachAlloc<SmallMultiProcessAllocator>();
  REQUIRE(alloc->Check());
  while (!alloc->AllocateOffset(HSHM_DEFAULT_MEM_CTX, 4000).IsNull()) {}
  REQUIRE(alloc->GetStats().free_bytes_ < 2 * 4096);
  REQUIRE(alloc->Check());
}

TEST_CASE("Statistics of a copy count a unit that is longer than the region to the region's end") {
  const LeftBehind left;
  const auto kind = GENERATE(HeadWord::kUnit, HeadWord::kLarge);
  *left.head_ = HeadWord::Make(kind, 1, multi_process::kMaxGranules);
  ArrayBackend backend;
  backend.shm_attach(left.zone_, kBytes);
  const AllocatorStats stats = CountInCopy(backend.region());
  CHECK(stats.capacity_bytes_ < kBytes);
  REQUIRE(stats.live_bytes_ <= stats.capacity_bytes_);
}

TEST_CASE("Lists of free units that name one in use stop who would be given it") {
  const LeftBehind left;
  ArrayBackend backend;
  backend.shm_attach(left.zone_, kBytes);
  auto* const alloc = backend.AttachAlloc<SmallMultiProcessAllocator>();
  REQUIRE(HeadWord::Granules(*left.head_) == 2);
  const uint32_t granule = left.root_->first_granule_ + GENERATE(0u, 1u);
  const Ending ending = RunInChild([&] {
    if (alloc->AllocateOffset(HSHM_DEFAULT_MEM_CTX, 100).IsNull()) return 1;  // joins
    left.ListAsFree(granule);
    while (!alloc->AllocateOffset(HSHM_DEFAULT_MEM_CTX, 4000).IsNull()) {}
    return 0;
  });
  CHECK(ending.status_ == -SIGABRT);
  REQUIRE(ending.errors_.find("Corruption: a list of free units") != std::string::npos);
}

TEST_CASE("A unit's word that was made shorter stops its process when that gets the rest again") {
  const LeftBehind left;
  ArrayBackend backend;
  backend.shm_attach(left.zone_, kBytes);
  auto* const alloc = backend.AttachAlloc<SmallMultiProcessAllocator>();
  const uint64_t granule_bytes = 4096u << left.root_->granule_pages_log2_;
  const uint32_t granules = left.root_->granule_end_ - left.root_->first_granule_;
  const Ending ending = RunInChild([&] {
    const MemContext& ctx = HSHM_DEFAULT_MEM_CTX;
    if (alloc->AllocateOffset(ctx, 2 * granule_bytes).IsNull()) return 1;  // joins
    uint32_t last = 0;  // the last unit, which is this process's
    for (uint32_t i = 0; i < granules;
         i += left.head_[i] == 0 ? 1 : HeadWord::Granules(left.head_[i])) {
      if (left.head_[i] != 0) last = i;
    }
    const uint32_t slot_plus_one = HeadWord::SlotPlusOne(left.head_[last]);
    const uint32_t kept = HeadWord::Granules(left.head_[last]) - 1;
    if (slot_plus_one != alloc->GetMembership().slot() + 1 || kept == 0) return 2;
    left.head_[last] = HeadWord::Make(HeadWord::kUnit, slot_plus_one, kept);
    left.ListAsFree(left.root_->first_granule_ + last + kept);
    // All that the root has now: no other run is so long.
    return alloc->AllocateOffset(ctx, (granules - last - kept) * granule_bytes).IsNull() ? 3 : 4;
  });
  CAPTURE(ending.errors_);
  CHECK(ending.status_ == -SIGABRT);
  REQUIRE(ending.errors_.find("Corruption: the word of a unit or large block") !=
          std::string::npos);
}

TEST_CASE("A unit's word that was made shorter in a file gives nobody pages that are in use") {
  const LeftBehind left;
  const uint32_t word = *left.head_;
  REQUIRE(HeadWord::Granules(word) == 2);  // the records of its heap, and a page of blocks
  *left.head_ = HeadWord::Make(HeadWord::kUnit, HeadWord::SlotPlusOne(word), 1);
  ArrayBackend backend;
  backend.shm_attach(left.zone_, kBytes);
  const Ending ending = RunInChild([&] {
    auto* const alloc = backend.AttachAlloc<SmallMultiProcessAllocator>();  // makes lists anew
    const uint64_t kept = left.kept_.load() / 4096;
    for (;;) {
      const OffsetPtr<> block = alloc->AllocateOffset(HSHM_DEFAULT_MEM_CTX, 4000);
      if (block.IsNull()) return 0;
      if (block.load() / 4096 == kept) return 1;
    }
  });
  CAPTURE(ending.errors_);
#if HSHM_ENABLE_ASSERTS
  CHECK(ending.status_ == -SIGABRT);
  REQUIRE(ending.errors_.find("Corruption: a list of free units") != std::string::npos);
#else
  REQUIRE(ending.status_ == 0);  // who opens a page sees that another has it
#endif
}

TEST_CASE("Lists of free units that name one in use stop who makes a large block longer") {
  const LeftBehind left;
  ArrayBackend backend;
  backend.shm_attach(left.zone_, kBytes);
  MultiProcessOptions options;
  options.process_unit_bytes_ = 32 * 1024;
  auto* const alloc = backend.AttachAlloc<SmallMultiProcessAllocator>(options);
  const uint64_t granule_bytes = 4096u << left.root_->granule_pages_log2_;
  const uint32_t place = GENERATE(0u, 1u);
  const Ending ending = RunInChild([&] {
    const MemContext& ctx = HSHM_DEFAULT_MEM_CTX;
    const OffsetPtr<> block = alloc->AllocateOffset(ctx, 10 * granule_bytes);
    if (block.IsNull() || !alloc->ResizeInPlace(ctx, block, 11 * granule_bytes)) return 1;
    const uint64_t behind = block.load() / granule_bytes + 11 - left.root_->first_granule_;
    if (left.head_[behind + place] != 0) return 2;
    left.head_[behind + place] = HeadWord::Make(HeadWord::kLarge, 0, 1);  // nobody's
    return alloc->ResizeInPlace(ctx, block, 13 * granule_bytes) ? 3 : 4;
  });
  CHECK(ending.status_ == -SIGABRT);
  REQUIRE(ending.errors_.find("Corruption: a list of free units") != std::string::npos);
}

}  // namespace
}  // namespace hshm::ipc::test
