#include "hermes_shm/memory/allocator/allocator_report.h"

#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "hermes_shm/base/error.h"
#include "hermes_shm/memory/allocator/buddy_allocator.h"
#include "hermes_shm/memory/allocator/multi_process_allocator.h"
#include "hermes_shm/memory/allocator/scalable_page_allocator.h"
#include "hermes_shm/memory/backend/posix_mmap.h"
#include "support/catch.h"

namespace hshm::ipc {
namespace {

constexpr size_t kBytes = 8 << 20;
constexpr size_t kSize = 100;  // of blocks of 112 bytes

/** A copy of a region of this process, which may go on changing. */
class MemoryCopy final : public RegionCopy {
 public:
  explicit MemoryCopy(const Region& original)
      : original_(original),
        base_(static_cast<char*>(std::aligned_alloc(65536, original.size_bytes_))) {
    std::memcpy(base_.get(), original.base_, original.size_bytes_);
  }
  Region region() { return {base_.get(), original_.size_bytes_, this}; }
  uint64_t read_again_bytes() const { return read_again_bytes_; }

  bool ReadAgain(Offset offset, uint64_t size_bytes) override {
    read_again_bytes_ += size_bytes;
    char* const mine = base_.get() + offset;
    const bool is_same = std::memcmp(mine, original_.base_ + offset, size_bytes) == 0;
    std::memcpy(mine, original_.base_ + offset, size_bytes);
    return is_same;
  }
  void Forget(Offset, uint64_t) override {}
  bool Commit(Offset, uint64_t) noexcept override { return true; }
  void Decommit(Offset, uint64_t) noexcept override {}
  bool Bind(Offset, uint64_t, uint32_t) noexcept override { return true; }
  bool IsShared() const noexcept override { return true; }
  bool HoldSlot(uint32_t slot) noexcept override { return held_[slot] = true; }
  void ReleaseSlot(uint32_t slot) noexcept override { held_[slot] = false; }
  bool IsAlive(uint32_t slot) noexcept override { return held_[slot]; }

 private:
  struct Free {
    void operator()(char* memory) const { std::free(memory); }
  };
  Region original_;
  std::unique_ptr<char, Free> base_;
  std::vector<bool> held_ = std::vector<bool>(kMaxSlots);
  uint64_t read_again_bytes_ = 0;
};

/** A heap with a few blocks of several kinds, some of them freed. */
template <typename AllocT>
struct Heap {
  Heap() {
    backend_.shm_init(MemoryBackendId(1), kBytes);
    alloc_ = backend_.MakeAlloc<AllocT>(AllocatorId(1, 1));
    for (int i = 0; i < 1000; ++i) blocks_.push_back(Allocate(kSize));
    for (int i = 0; i < 100; ++i) Free(static_cast<size_t>(i));
    Allocate(100'000);
  }
  OffsetPtr<> Allocate(size_t bytes) {
    const OffsetPtr<> block = alloc_->AllocateOffset(HSHM_DEFAULT_MEM_CTX, bytes);
    REQUIRE(!block.IsNull());
    return block;
  }
  void Free(size_t i) { alloc_->FreeOffset(HSHM_DEFAULT_MEM_CTX, blocks_[i]); }
  /** The link of the block that was freed last. */
  uint64_t* LastLink() { return backend_.region().template At<uint64_t>(blocks_[99].load()); }

  PosixMmap backend_;
  AllocT* alloc_;
  std::vector<OffsetPtr<>> blocks_;
};

TEMPLATE_TEST_CASE("A copy is counted as its original is, and recovered without touching it", "",
                   FastMultiProcessAllocator, CheckedMultiProcessAllocator, BuddyAllocator,
                   ScalablePageAllocator) {
  Heap<TestType> heap;
  const AllocatorStats stats = heap.alloc_->GetStats();
  MemoryCopy copy(heap.backend_.region());
  MemoryCopy untouched(heap.backend_.region());
  const AllocatorStats counted = CountInCopy(copy.region());
  REQUIRE(counted.live_bytes_ == stats.live_bytes_);
  REQUIRE(counted.live_blocks_ == stats.live_blocks_);
  REQUIRE(counted.allocator_ == stats.allocator_);
  const RecoveryVerdict verdict = RecoverCopy(copy.region());
  REQUIRE(verdict.is_good_);
  REQUIRE(verdict.before_.live_blocks_ == stats.live_blocks_);
  REQUIRE(verdict.after_.live_blocks_ == stats.live_blocks_);
  REQUIRE(std::memcmp(untouched.region().base_, heap.backend_.region().base_, kBytes) == 0);
  REQUIRE(heap.alloc_->Check());
}

TEST_CASE("A copy of a heap whose process is dead tells what recovery adopts") {
  Heap<FastMultiProcessAllocator> heap;
  MemoryCopy copy(heap.backend_.region());
  const AllocatorStats counted = CountInCopy(copy.region());
  REQUIRE(counted.ranks_.size() == 1);
  REQUIRE(!counted.ranks_[0].is_alive_);
  REQUIRE(counted.ranks_[0].pages_ > 1);
  const RecoveryVerdict verdict = RecoverCopy(copy.region());
  REQUIRE(verdict.blocks_in_flight_ == 1);
  REQUIRE(verdict.adopted_pages_ > 0);
}

TEMPLATE_TEST_CASE("A broken list of a heap at work is found, and only if it stays as it is", "",
                   FastMultiProcessAllocator, CheckedMultiProcessAllocator) {
  Heap<TestType> heap;
  MemoryCopy good(heap.backend_.region());
  auto verdict = CheckChangingCopy(good.region(), &good);
  REQUIRE(verdict.has_value());
  REQUIRE(verdict->is_good_);
  REQUIRE(good.read_again_bytes() == 0);

  uint64_t* const link = heap.LastLink();
  const uint64_t right = *link;
  *link = 12345;
  MemoryCopy broken(heap.backend_.region());
  verdict = CheckChangingCopy(broken.region(), &broken);
  REQUIRE(!verdict->is_good_);

  MemoryCopy passing(heap.backend_.region());
  *link = right;  // it was but in the middle of something
  verdict = CheckChangingCopy(passing.region(), &passing);
  REQUIRE(verdict->is_good_);
  REQUIRE(passing.read_again_bytes() > 0);
}

TEST_CASE("Of a heap that is walked under its lock only the headers are checked at work") {
  Heap<BuddyAllocator> heap;
  MemoryCopy copy(heap.backend_.region());
  REQUIRE(!CheckChangingCopy(copy.region(), &copy).has_value());
}

TEST_CASE("A copy without an allocator, or with a header that was written over, is refused") {
  PosixMmap empty;
  empty.shm_init(MemoryBackendId(1), kBytes);
  MemoryCopy nothing(empty.region());
  REQUIRE_THROWS_AS(CountInCopy(nothing.region()), Error);

  Heap<FastMultiProcessAllocator> heap;
  MemoryCopy copy(heap.backend_.region());
  const auto* header = copy.region().At<AllocatorHeader>(AllocatorOffsetFor(kBytes));
  uint32_t* const words = copy.region().At<uint32_t>(header->core_offset_);
  for (int word : {1, 2, 3, 4, 5, 6}) {  // of the geometry
    ++words[word];
    CAPTURE(word);
    REQUIRE_THROWS_AS(CountInCopy(copy.region()), Error);
    REQUIRE_THROWS_AS(RecoverCopy(copy.region()), Error);
    --words[word];
  }
  REQUIRE(CountInCopy(copy.region()).live_blocks_ > 0);
}

}  // namespace
}  // namespace hshm::ipc
