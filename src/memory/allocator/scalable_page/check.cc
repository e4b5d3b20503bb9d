/** BasicScalablePageAllocator::Check: walks every word and list and says what is wrong. */
#include <algorithm>
#include <array>
#include <cstdio>
#include <optional>

#include "hermes_shm/memory/allocator/scalable_page_allocator.h"

namespace hshm::ipc {
namespace {

using multi_process::ClassOfShape;
using multi_process::KindOf;
using multi_process::kKindClass;
using multi_process::kKindRun;
using scalable_page::kFreePage;
using scalable_page::kInUse;
using scalable_page::kSpanInterior;
using scalable_page::PageEntry;

/** All locks held. */
template <typename Config>
class Checker {
 public:
  Checker(const scalable_page::PagePool<Config>& pool,
          const scalable_page::ClassBlocks<Config>& blocks)
      : pool_(pool), blocks_(blocks), pages_(pool.pages()) {}

  bool Run() {
    const uint32_t frontier = pool_.Frontier();
    Expect(pool_.Engine().Check(), "the lists of free pages are broken", 0);
    for (uint32_t page = pool_.header().first_page_; page < frontier;) {
      page += Entry(page, frontier);
    }
    // relaxed, all: the locks are held
    Expect(pool_.header().run_pages_.load(std::memory_order_relaxed) == run_pages_,
           "the pages of runs are counted wrong", 0);
    for (uint32_t c = 0; c < Config::kClassCount; ++c) {
      const scalable_page::ClassHeader& owner = pool_.header().classes_[c];
      Expect(owner.live_blocks_.load(std::memory_order_relaxed) == live_[c],  // relaxed: as above
             "the blocks of a class are counted wrong", c);
      Expect(owner.roomy_.size() == roomy_[c], "a class lists other pages than it has", c);
      Expect(empty_[c] <= 1 && (empty_[c] == 1) == (owner.spare_ != 0),
             "a class has empty pages beside the one that it knows of", c);
    }
    return is_good_;
  }

 private:
  void Expect(bool condition, const char* what, uint32_t place) {
    if (condition) return;
    is_good_ = false;
    std::fprintf(stderr, "hshm: Check: %s (page or class %u)\n", what, place);
  }

  /** @return pages of what begins here */
  uint32_t Entry(uint32_t page, uint32_t frontier) {
    const PageEntry* entry = pages_.Entry(page);
    if (entry->owner_.Get() == kFreePage) {
      Expect(pool_.Engine().IsFree(page), "a free page is in no list", page);
      Expect(entry->shape_.Get() == 0 && entry->used_.Get() == 0, "a free page is in use", page);
      Expect(blocks_.CountMarks(page) == 0, "a free page has marks", page);
      return 1;
    }
    Expect(entry->owner_.Get() == kInUse, "a page is marked as interior of no span", page);
    if (entry->owner_.Get() != kInUse) return 1;
    const uint32_t span = std::max(entry->span_.Get(), 1u);
    Expect(span <= frontier - page, "a span ends behind the pages in use", page);
    if (span > frontier - page) return frontier - page;
    for (uint32_t i = 0; i < span; ++i) {
      Expect(!pool_.Engine().IsFree(page + i), "a page in use is listed as free", page + i);
      if (i == 0) continue;
      Expect(pages_.Entry(page + i)->owner_.Get() == kSpanInterior, "a span is interrupted", page);
      Expect(pages_.HeadOf(page + i) == page, "a page of a span has lost its head", page + i);
    }
    if (KindOf(entry->shape_.Get()) == kKindRun) {
      run_pages_ += span;
      Expect(entry->used_.Get() == 1, "a run is not in use", page);
    } else {
      Expect(KindOf(entry->shape_.Get()) == kKindClass, "a span has no shape", page);
      Blocks(page);
    }
    return span;
  }

  void Blocks(uint32_t page) {
    const PageEntry* entry = pages_.Entry(page);
    const uint32_t size_class = ClassOfShape(entry->shape_.Get());
    Expect(size_class < Config::kClassCount, "a page has no class that there is", page);
    if (size_class >= Config::kClassCount) return;
    const uint32_t capacity = pages_.Capacity(page);
    const uint32_t used = blocks_.CountMarks(page);
    const auto* marks = pool_.MarksOf(page);
    for (uint32_t i = 0; i < scalable_page::PageMarks<Config>::kWords; ++i) {
      const uint64_t first = uint64_t{i} * 64;
      const uint64_t blocks = capacity > first ? std::min<uint64_t>(capacity - first, 64) : 0;
      const uint64_t outside = blocks == 64 ? 0 : ~uint64_t{0} << blocks;
      Expect((marks[i].Get() & outside) == 0, "a mark is set of no block", page);
      Expect(i >= entry->carved_.Get() || marks[i].Get() == ~uint64_t{0},
             "room is overlooked in a page", page);
    }
    Expect(entry->used_.Get() == used, "the marks of a page are counted wrong", page);
    for (uint32_t i = 0; i < entry->span_.Get(); ++i) {
      Expect(pages_.Entry(page + i)->committed_.Get() != 0, "a page of blocks lacks memory", page);
    }
    const bool is_listed = pool_.notes()[page].list_ != 0;
    Expect(is_listed == (used < capacity), "a page is listed and full, or neither", page);
    live_[size_class] += used;
    roomy_[size_class] += is_listed ? 1 : 0;
    empty_[size_class] += used == 0 ? 1 : 0;
  }

  const scalable_page::PagePool<Config>& pool_;
  const scalable_page::ClassBlocks<Config>& blocks_;
  const multi_process::PageTable<Config>& pages_;
  bool is_good_ = true;
  uint64_t run_pages_ = 0;
  std::array<uint64_t, Config::kClassCount> live_{};
  std::array<uint32_t, Config::kClassCount> roomy_{};
  std::array<uint32_t, Config::kClassCount> empty_{};
};

}  // namespace

template <typename Config>
bool BasicScalablePageAllocator<Config>::Check() noexcept {
  Require("Check");
  std::array<std::optional<typename scalable_page::ClassBlocks<Config>::Guard>, Config::kClassCount>
      classes;
  for (uint32_t c = 0; c < Config::kClassCount; ++c) {
    classes[c].emplace(blocks_, c);
    if (!classes[c]->IsHeld()) return false;
  }
  const typename scalable_page::PagePool<Config>::Guard pages(pool_);
  return pages.IsHeld() && Checker<Config>(pool_, blocks_).Run();
}

template bool BasicScalablePageAllocator<multi_process::LargePages>::Check() noexcept;
template bool BasicScalablePageAllocator<multi_process::SmallPages>::Check() noexcept;

}  // namespace hshm::ipc
