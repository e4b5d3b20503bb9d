#include <map>
#include <random>

#include "multi_process/heap.h"
#include "support/seed.h"

/** Several handles, each a process of its own, in one thread: a shadow map knows what is right. */
namespace hshm::test {
namespace {

template <typename Alloc>
class Crowd {
 public:
  Crowd(PrivateHeap<Alloc>* heap, uint64_t seed, uint64_t max_bytes)
      : heap_(heap), random_(seed), max_bytes_(max_bytes) {
    handles_.push_back(heap->first());
    while (handles_.size() < 4) handles_.push_back(heap->Attach());
  }

  /** False when a block overlaps another or its bytes have changed. */
  bool Step() {
    const uint64_t what = random_() % 100;
    if (what == 0) return Leave();
    if (what < 45 || blocks_.empty()) return Allocate();
    auto it = blocks_.lower_bound(random_() % handles_[0]->GetRegion().size_bytes_);
    if (it == blocks_.end()) it = blocks_.begin();
    if (!HasPattern(BytesAt(it->first), it->second.size_, it->second.size_, it->second.owner_)) {
      return false;
    }
    if (what < 60) return Resize(it->first, it->second);
    Any()->FreeOffset(kCtx, OffsetPtr<>(it->first));
    blocks_.erase(it);
    return true;
  }
  void FreeEverything() {
    for (const auto& [offset, block] : blocks_) Any()->FreeOffset(kCtx, OffsetPtr<>(offset));
    blocks_.clear();
  }
  bool Check() { return Any()->Check(); }

 private:
  struct Block {
    uint64_t size_;
    uint64_t owner_;
  };

  Alloc* Any() { return handles_[random_() % handles_.size()]; }
  char* BytesAt(Offset offset) { return BytesOf(handles_[0], OffsetPtr<>(offset)); }
  uint64_t Size() {
    const uint64_t limit = uint64_t{1} << (random_() % 21);
    return random_() % (std::min(limit, max_bytes_) + 1);
  }
  bool Keep(OffsetPtr<> got, uint64_t size) {
    const Offset offset = got.load();
    const auto next = blocks_.lower_bound(offset);
    if (next != blocks_.end() && next->first < offset + size) return false;
    if (next != blocks_.begin()) {
      const auto before = std::prev(next);
      if (before->first + std::max<uint64_t>(before->second.size_, 1) > offset) return false;
    }
    blocks_[offset] = {size, ++owner_};
    FillPattern(BytesAt(offset), size, owner_);
    return true;
  }
  bool Allocate() {
    const uint64_t size = Size();
    const uint64_t alignment = uint64_t{1} << (random_() % 16);
    const OffsetPtr<> got = random_() % 4 == 0 ? Any()->AlignedAllocateOffset(kCtx, size, alignment)
                                               : Any()->AllocateOffset(kCtx, size);
    if (!got.IsNull()) return Keep(got, size);
    FreeEverything();
    return true;
  }
  bool Resize(Offset offset, Block block) {
    const uint64_t size = Size();
    const OffsetPtr<> got = Any()->ReallocateOffset(kCtx, OffsetPtr<>(offset), size);
    if (got.IsNull()) return HasPattern(BytesAt(offset), block.size_, block.size_, block.owner_);
    blocks_.erase(offset);
    const uint64_t kept = std::min(size, block.size_);
    return HasPattern(BytesAt(got.load()), block.size_, kept, block.owner_) && Keep(got, size);
  }
  /** One goes and another comes; what it had allocated stays. */
  bool Leave() {
    const size_t which = 1 + random_() % (handles_.size() - 1);
    heap_->Destroy(handles_[which]);
    handles_[which] = heap_->Attach();
    return true;
  }

  PrivateHeap<Alloc>* heap_;
  std::mt19937_64 random_;
  uint64_t max_bytes_;
  std::vector<Alloc*> handles_;
  std::map<Offset, Block> blocks_;
  uint64_t owner_ = 0;
};

template <typename Alloc>
void RunCrowd(uint64_t region_bytes, uint64_t max_bytes, int steps) {
  const uint64_t seed = PrintedSeed("handles");
  CAPTURE(seed, region_bytes);
  PrivateHeap<Alloc> heap(region_bytes);
  const uint64_t at_first = heap.first()->GetCurrentlyAllocatedSize();
  Crowd<Alloc> crowd(&heap, seed, max_bytes);
  for (int step = 0; step < steps; ++step) {
    if (!crowd.Step() || (step % 500 == 0 && !crowd.Check())) {
      CAPTURE(step);
      FAIL("a block is not what it was, or the region is not in order");
    }
  }
  REQUIRE(crowd.Check());
  crowd.FreeEverything();
  REQUIRE(crowd.Check());
  REQUIRE(heap.first()->GetCurrentlyAllocatedSize() == at_first);
}

TEST_CASE("Handles that allocate, free, resize, come and go agree with a shadow map") {
  RunCrowd<MultiProcessAllocator>(16 << 20, 1 << 20, 8000);
}

TEST_CASE("Handles of small pages that come and go agree with a shadow map") {
  RunCrowd<SmallMultiProcessAllocator>(2 << 20, 60000, 8000);
}

TEST_CASE("Handles in the smallest region agree with a shadow map while it is mostly full") {
  RunCrowd<SmallMultiProcessAllocator>(384 << 10, 8000, 8000);
}

TEST_CASE("Three allocators serve one thread, each from its own region") {
  PrivateHeap<MultiProcessAllocator> heaps[] = {PrivateHeap<MultiProcessAllocator>(4 << 20),
                                                PrivateHeap<MultiProcessAllocator>(4 << 20),
                                                PrivateHeap<MultiProcessAllocator>(4 << 20)};
  std::vector<OffsetPtr<>> blocks[3];
  for (uint64_t i = 0; i < 300; ++i) {
    MultiProcessAllocator* alloc = heaps[i % 3].first();
    blocks[i % 3].push_back(alloc->AllocateOffset(kCtx, 100 + i));
    FillPattern(BytesOf(alloc, blocks[i % 3].back()), 100 + i, i);
  }
  for (uint64_t i = 0; i < 300; ++i) {
    MultiProcessAllocator* alloc = heaps[i % 3].first();
    const OffsetPtr<> block = blocks[i % 3][i / 3];
    REQUIRE(HasPattern(BytesOf(alloc, block), 100 + i, 100 + i, i));
    alloc->FreeOffset(kCtx, block);
  }
  for (auto& heap : heaps) {
    REQUIRE(heap.first()->GetCurrentlyAllocatedSize() == 0);
    REQUIRE(heap.first()->Check());
  }
}

TEST_CASE("More allocators than a thread remembers at once still serve it") {
  std::vector<std::unique_ptr<PrivateHeap<SmallMultiProcessAllocator>>> heaps;
  for (int i = 0; i < 20; ++i) {
    heaps.push_back(std::make_unique<PrivateHeap<SmallMultiProcessAllocator>>(256 << 10));
  }
  for (int round = 0; round < 3; ++round) {
    for (auto& heap : heaps) {
      const OffsetPtr<> block = heap->first()->AllocateOffset(kCtx, 100);
      REQUIRE_FALSE(block.IsNull());
      heap->first()->FreeOffset(kCtx, block);
    }
  }
  for (auto& heap : heaps) REQUIRE(heap->first()->GetCurrentlyAllocatedSize() == 0);
}

}  // namespace
}  // namespace hshm::test
