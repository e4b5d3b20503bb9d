/** Lists of a heap that died between any two instructions of what changes them. */
#include <algorithm>
#include <array>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "hermes_shm/memory/allocator/multi_process/pending_frees.h"
#include "multi_process/bare_pages.h"
#include "support/stepped_call.h"

namespace hshm::ipc::multi_process {
namespace {

using Config = SmallPages;
using hshm::test::SteppedCall;

constexpr uint64_t kBlockBytes = 256;  // of a mixed class
constexpr size_t kPosted = 3;
constexpr size_t kInHeap = 5;

/** A page of which kPosted blocks are on its remote list, posted one by one, kInHeap others are a
 * neighbour's of the same process, and the rest is somebody's. */
class CutHeap {
 public:
  CutHeap() : page_(pages_.OpenClassPage()), slot_(&Record()->free_[ClassOf(kBlockBytes)]) {
    REQUIRE(ClassOf(kBlockBytes) >= Config::kFirstMixedSlot);
    pages_.CarveAll(page_);
    blocks_ = pages_.TakeAll(page_);
    pages_->SetKeys(page_, Pages::kId);
    for (size_t i = 0; i < kPosted; ++i) pages_->Push(page_, blocks_[i]);
    Record()->id_.Set(Pages::kId + 1);
    REQUIRE(SlotOf(Pages::kId + 1) == SlotOf(Pages::kId));
    REQUIRE(frees_.Reserve(Pages::kCount) == 0);
    frees_.Use(Record());
  }

  /** The heap's blocks wait in a run. */
  void FreeToRun() {
    for (size_t i = kPosted; i < kPosted + kInHeap; ++i) {
      REQUIRE((frees_.TryExtend(blocks_[i]) || frees_.Begin(blocks_[i])));
    }
  }
  /** Its class slot lists them. */
  void FreeToSlot() {
    for (size_t i = kPosted; i < kPosted + kInHeap; ++i) {
      pages_->SetLink(blocks_[i], slot_->Get());
      slot_->Set(blocks_[i]);
    }
  }
  uint32_t TakeBack() { return frees_.TakeBack(ClassOf(kBlockBytes)); }
  /** As the sweep does it. */
  void Settle() { PendingFrees<Config>::Settle(*pages_.operator->(), Record()); }

  /** What the region is like after each instruction of the call at which something changed. */
  std::vector<std::string> Cuts(const std::function<void()>& call) {
    std::vector<std::string> images = {Image()};
    SteppedCall::Run(call, [&] {
      if (!IsAs(images.back())) images.push_back(Image());
      return true;
    });
    return images;
  }
  void Restore(const std::string& image) {
    const char* from = image.data();
    for (const Part& part : Parts()) {
      std::memcpy(part.begin_, from, part.bytes_);
      from += part.bytes_;
    }
  }

  /** Sweeps the page as well. Stops unless it lists blocks once, which were posted or the heap's.
   * @return how many of these it does not list */
  size_t SweepAndCountLost() {
    Settle();
    pages_->RecountOfDead(page_);
    std::vector<Offset> listed = pages_.LocalOf(page_);
    std::sort(listed.begin(), listed.end());
    REQUIRE(std::adjacent_find(listed.begin(), listed.end()) == listed.end());
    std::vector<Offset> free(blocks_.begin(), blocks_.begin() + kPosted + kInHeap);
    std::sort(free.begin(), free.end());
    REQUIRE(std::includes(free.begin(), free.end(), listed.begin(), listed.end()));
    REQUIRE(pages_[page_]->used_.Get() == blocks_.size() - listed.size());
    REQUIRE(PageTable<Config>::Pending(pages_[page_]) == 0);
    return free.size() - listed.size();
  }

 private:
  struct Part {
    char* begin_;
    size_t bytes_;
  };

  char* BytesOf(uint32_t page) const { return pages_.BytesOf(PageTable<Config>::OffsetOf(page)); }
  HeapRecord<Config>* Record() const {
    return reinterpret_cast<HeapRecord<Config>*>(BytesOf(page_ + 1));
  }
  /** What the calls change: the page, its entry and the heap's record. */
  std::array<Part, 3> Parts() const {
    return {{{BytesOf(page_), Config::kPageBytes},
             {BytesOf(page_ + 1), sizeof(HeapRecord<Config>)},
             {reinterpret_cast<char*>(pages_[page_]), sizeof(PageEntry)}}};
  }
  std::string Image() const {
    std::string image;
    for (const Part& part : Parts()) image.append(part.begin_, part.bytes_);
    return image;
  }
  bool IsAs(const std::string& image) const {
    const char* from = image.data();
    for (const Part& part : Parts()) {
      if (std::memcmp(part.begin_, from, part.bytes_) != 0) return false;
      from += part.bytes_;
    }
    return true;
  }

  Pages pages_;
  uint32_t page_;
  OwnedWord<uint64_t>* slot_;
  std::vector<Offset> blocks_;
  PendingFrees<Config> frees_{*pages_.operator->(), LockIdentity(), SlotOf(Pages::kId)};
};

TEST_CASE("A death anywhere in taking a run back loses no block, nor one that was posted before") {
  CutHeap heap;
  heap.FreeToRun();
  uint32_t taken = 0;
  const std::vector<std::string> cuts = heap.Cuts([&] { taken = heap.TakeBack(); });
  REQUIRE(taken == kInHeap);
  REQUIRE(cuts.size() > 3);  // the links, the class slot, the run's word
  for (size_t cut = 0; cut < cuts.size(); ++cut) {
    CAPTURE(cut);
    heap.Restore(cuts[cut]);
    REQUIRE(heap.SweepAndCountLost() == 0);
  }
}

TEST_CASE("A death anywhere in giving a dead heap's mixed slot back loses one block at most") {
  CutHeap heap;
  heap.FreeToSlot();
  const std::vector<std::string> cuts = heap.Cuts([&] { heap.Settle(); });
  REQUIRE(cuts.size() > 2 * kInHeap);  // of each block the slot, and its push
  for (size_t cut = 0; cut < cuts.size(); ++cut) {
    CAPTURE(cut);
    heap.Restore(cuts[cut]);
    REQUIRE(heap.SweepAndCountLost() <= 1);
  }
}

TEST_CASE("A death anywhere in giving a dead heap's run back loses that run at most") {
  CutHeap heap;
  heap.FreeToRun();
  const std::vector<std::string> cuts = heap.Cuts([&] { heap.Settle(); });
  REQUIRE(cuts.size() > 2);
  for (size_t cut = 0; cut < cuts.size(); ++cut) {
    CAPTURE(cut);
    heap.Restore(cuts[cut]);
    const size_t lost = heap.SweepAndCountLost();
    REQUIRE((lost == 0 || lost == kInHeap));
  }
}

}  // namespace
}  // namespace hshm::ipc::multi_process
