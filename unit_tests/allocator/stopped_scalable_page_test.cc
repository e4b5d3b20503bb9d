/**
 * What a ScalablePageAllocator does without a lock: the holder is another member, alive, that does
 * not let go. What it keeps for that reason must be had again afterwards.
 */
#include <memory>
#include <vector>

#include "allocator/stopped_holder.h"
#include "hermes_shm/memory/allocator/scalable_page_allocator.h"
#include "hermes_shm/memory/backend/malloc_backend.h"
#include "support/catch.h"
#include "support/metered_services.h"

namespace hshm::ipc::test {
namespace {

using Config = multi_process::LargePages;
using Header = scalable_page::ScalableHeader<Config>;
using multi_process::ClassOf;
using multi_process::PageEntry;

const MemContext kCtx = HSHM_DEFAULT_MEM_CTX;
constexpr uint64_t kPage = Config::kPageBytes;
constexpr uint64_t kBlock = 1024;
constexpr uint64_t kRegion = 8 << 20;

struct SharedByMembers {
  SharedByMembers() {
    backend_.shm_init(MemoryBackendId(1), kRegion);
    region_ = backend_.region();
    meter_ = std::make_unique<hshm::test::Meter>(region_.services_);
    region_.services_ = meter_.get();
    heap_.shm_init(AllocatorId(1, 0), 0, region_);
    header_ = region_.At<Header>(HeaderOf(backend_)->core_offset_);
  }
  OffsetPtr<> Get(uint64_t size) { return heap_.AllocateOffset(kCtx, size); }
  std::vector<OffsetPtr<>> Get(uint64_t size, size_t count) {
    std::vector<OffsetPtr<>> blocks;
    while (blocks.size() < count) blocks.push_back(Get(size));
    REQUIRE_FALSE(blocks.back().IsNull());
    return blocks;
  }
  void Put(OffsetPtr<> block) { heap_.FreeOffset(kCtx, block); }
  Mutex* class_lock() { return &header_->classes_[ClassOf(kBlock)].lock_; }

  /** Everything is free: each page is in one block, once empty pages that could not go have gone.
   */
  void RequireAllThere() {
    for (int i = 0; i < 4; ++i) {
      Put(Get(kBlock));
      heap_.Trim();
    }
    REQUIRE(heap_.GetCurrentlyAllocatedSize() == 0);
    const OffsetPtr<> all = Get((header_->page_count_ - header_->first_page_) * kPage);
    REQUIRE_FALSE(all.IsNull());
    Put(all);
    REQUIRE(heap_.Check());
  }

  MallocBackend backend_;
  std::unique_ptr<hshm::test::Meter> meter_;
  Region region_;
  ScalablePageAllocator heap_;
  Header* header_ = nullptr;
};

/** A member that has a lock for as long as this object is there. */
class Holder {
 public:
  Holder(const Region& region, Mutex* lock) : me_(region), guard_(*lock, me_.identity(), 0) {
    REQUIRE(guard_.result() == LockResult::kLocked);
  }

 private:
  Membership me_;
  MutexGuard guard_;
};

/** A member that died with the lock. */
void DieWith(const Region& region, Mutex* lock) {
  Membership dead(region);
  REQUIRE(lock->Lock(dead.identity(), 0) == LockResult::kLocked);
}

TEST_CASE("Without the pages' lock runs stay as long as they are, and where they are") {
  SharedByMembers f;
  const OffsetPtr<> run = f.Get(3 * kPage);
  {
    const Holder holder(f.region_, &f.header_->pages_lock_);
    const FastClock fast;
    REQUIRE_FALSE(f.heap_.ResizeInPlace(kCtx, run, 5 * kPage));
    REQUIRE(f.heap_.ResizeInPlace(kCtx, run, 2 * kPage));  // it is long enough
    f.Put(run);
    REQUIRE(f.heap_.GetUsableSize(run) == 3 * kPage);
    REQUIRE(f.Get(3 * kPage).IsNull());
    REQUIRE_FALSE(f.heap_.Check());
  }
  REQUIRE(f.heap_.GetCurrentlyAllocatedSize() == 3 * kPage);
  REQUIRE(f.heap_.ResizeInPlace(kCtx, run, 5 * kPage));
  f.Put(run);
  f.RequireAllThere();
}

TEST_CASE("Without the pages' lock a class keeps its empty pages, and opens none") {
  SharedByMembers f;
  const auto blocks = f.Get(kBlock, 3 * kPage / kBlock);
  const auto once_more = f.Get(kBlock, 1);
  {
    const Holder holder(f.region_, &f.header_->pages_lock_);
    const FastClock fast;
    for (const OffsetPtr<> block : blocks) f.Put(block);
    f.heap_.Trim();
    REQUIRE(f.Get(5000).IsNull());                    // of another class
    const auto again = f.Get(kBlock, blocks.size());  // of the pages that could not go
    for (const OffsetPtr<> block : again) f.Put(block);
  }
  for (const OffsetPtr<> block : once_more) f.Put(block);
  f.RequireAllThere();
}

TEST_CASE("Without a class's lock its blocks stay, and their size is told") {
  SharedByMembers f;
  const OffsetPtr<> block = f.Get(kBlock);
  {
    const Holder holder(f.region_, f.class_lock());
    const FastClock fast;
    REQUIRE(f.heap_.GetUsableSize(block) == kBlock);
    f.Put(block);
    REQUIRE(f.Get(kBlock).IsNull());
    f.heap_.Trim();
    REQUIRE_FALSE(f.heap_.Check());
  }
  REQUIRE(f.heap_.GetCurrentlyAllocatedSize() == kBlock);
  f.Put(block);
  f.RequireAllThere();
}

TEST_CASE("A class whose lock's holder died has its pages again, with or without the pages' lock") {
  SharedByMembers f;
  const auto full = f.Get(kBlock, kPage / kBlock);
  const OffsetPtr<> other = f.Get(kBlock);  // in a page of its own, which will be empty
  f.Put(other);
  const bool has_memory = GENERATE(true, false);
  DieWith(f.region_, f.class_lock());
  auto* entry = f.region_.At<PageEntry>(f.header_->table_offset_) + other.load() / kPage;
  {
    const Holder holder(f.region_, &f.header_->pages_lock_);
    const FastClock fast;
    if (!has_memory) {  // as it dies in opening the page
      entry->committed_.Set(0);
      f.meter_->Allow(0);
    }
    // An empty page is listed if its memory is there.
    const OffsetPtr<> block = f.Get(kBlock);
    REQUIRE(block.IsNull() == !has_memory);
    if (has_memory) f.Put(block);
    f.meter_->Allow(~uint64_t{0});
  }
  for (const OffsetPtr<> block : full) f.Put(block);
  DieWith(f.region_, f.class_lock());  // so that the empty page is found again
  f.RequireAllThere();
}

}  // namespace
}  // namespace hshm::ipc::test
