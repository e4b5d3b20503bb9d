#include "hermes_shm/memory/allocator/scalable_page/page_pool.h"

#include <algorithm>
#include <cstring>
#include <new>
#include <string>

#include "hermes_shm/base/error.h"
#include "hermes_shm/base/units.h"

namespace hshm::ipc::scalable_page {

using multi_process::KindOf;
using multi_process::kKindNone;
using multi_process::kKindRun;

namespace {

/** Pages that are described at a time: at first few, so that a small use of a large region stays
 * small; then few system calls. */
constexpr uint32_t kMinGrowth = 16;
constexpr uint32_t kMaxGrowth = 1024;
/** The memory of a run from this size on goes back to the system when the run is freed. */
constexpr uint64_t kReturnedBytes = 4_MiB;
/** What a run gets at a time when it grows in place: 4 ms of the system's work under the lock. */
constexpr uint64_t kLengthenedBytes = 16_MiB;

/** Where everything lies, from the size of the region alone. */
struct Geometry {
  uint64_t page_count_;
  Offset table_;
  Offset nodes_;
  Offset notes_;
  Offset marks_;
  Offset data_;
};

template <typename Config>
Geometry MakeGeometry(uint64_t region_bytes, Offset header_offset) {
  Geometry g;
  g.page_count_ = region_bytes >> Config::kPageShift;
  const auto behind = [&](Offset array, uint64_t item_bytes) {
    return bits::AlignUp(array + g.page_count_ * item_bytes, kCacheLineBytes);
  };
  g.table_ = bits::AlignUp(header_offset + sizeof(ScalableHeader<Config>), kCacheLineBytes);
  g.nodes_ = behind(g.table_, sizeof(PageEntry));
  g.notes_ = behind(g.nodes_, sizeof(BuddyNode));
  g.marks_ = behind(g.notes_, sizeof(PageNote));
  g.data_ = bits::AlignUp(behind(g.marks_, sizeof(PageMarks<Config>)), Config::kPageBytes);
  return g;
}

}  // namespace

// ---- set-up
// --------------------------------------------------------------------------------------

template <typename Config>
PagePool<Config>::PagePool(const Region& region, Header* header, Membership* members,
                           Patience* patience)
    : region_(region),
      header_(header),
      members_(members),
      patience_(patience),
      pages_(region, header->table_offset_),
      nodes_(region.At<BuddyNode>(header->nodes_offset_)),
      notes_(region.At<PageNote>(header->notes_offset_)),
      marks_(region.At<PageMarks<Config>>(header->marks_offset_)) {}

template <typename Config>
ScalableHeader<Config>* PagePool<Config>::Init(const Region& region, Offset header_offset) {
  const Geometry g = MakeGeometry<Config>(region.size_bytes_, header_offset);
  const uint64_t first_page = g.data_ >> Config::kPageShift;
  if (first_page >= g.page_count_ || g.page_count_ >= BuddyEngine::kNone) {
    throw Error(ErrorCode::kOutOfRange,
                "Cannot make a ScalablePageAllocator on a region of " +
                    std::to_string(region.size_bytes_) + " bytes: its headers take " +
                    std::to_string(g.data_) + ", and it has room for 1 to " +
                    std::to_string(BuddyEngine::kNone) + " pages of " +
                    std::to_string(Config::kPageBytes) + " bytes. Choose another size.");
  }
  if (!region.services_->Commit(header_offset, sizeof(Header))) {
    throw Error(ErrorCode::kNoSpace, "The system has no memory for the " +
                                         std::to_string(sizeof(Header)) +
                                         " bytes of the allocator's header: free some, or make the "
                                         "shared-memory file system larger.");
  }
  auto* header = new (region.base_ + header_offset) Header{};
  header->layout_version_ = kScalablePageLayoutVersion;
  header->page_shift_ = Config::kPageShift;
  header->page_count_ = static_cast<uint32_t>(g.page_count_);
  header->first_page_ = static_cast<uint32_t>(first_page);
  header->table_offset_ = g.table_;
  header->nodes_offset_ = g.nodes_;
  header->notes_offset_ = g.notes_;
  header->marks_offset_ = g.marks_;
  // relaxed: nobody sees the header before it is published
  header->frontier_.store(header->first_page_, std::memory_order_relaxed);
  return header;
}

template <typename Config>
bool PagePool<Config>::Fits(const Region& region, Offset header_offset) {
  const Geometry g = MakeGeometry<Config>(region.size_bytes_, header_offset);
  const auto* header = region.At<Header>(header_offset);
  const uint32_t frontier =
      header->frontier_.load(std::memory_order_acquire);  // pairs with CommitTo
  return header->page_shift_ == Config::kPageShift && header->page_count_ == g.page_count_ &&
         header->first_page_ == g.data_ >> Config::kPageShift &&
         header->table_offset_ == g.table_ && header->nodes_offset_ == g.nodes_ &&
         header->notes_offset_ == g.notes_ && header->marks_offset_ == g.marks_ &&
         frontier >= header->first_page_ && frontier <= header->page_count_;
}

// ---- the lock
// ------------------------------------------------------------------------------------

template <typename Config>
PagePool<Config>::Guard::Guard(PagePool& pool) noexcept
    : lock_(pool.header_->pages_lock_, *pool.members_, *pool.patience_) {
  if (lock_.OwnerDied()) pool.Rebuild();
}

template <typename Config>
BuddyEngine PagePool<Config>::Engine() const noexcept {
  return BuddyEngine(nodes_, &header_->lists_, header_->first_page_,
                     Frontier() - header_->first_page_, 0, kBuddyMaxOrder);
}

/** Makes lists and counts from the entries, and ends what the dead holder had begun. */
template <typename Config>
void PagePool<Config>::Rebuild() noexcept {
  BuddyEngine engine = Engine();
  engine.Reset();
  uint64_t run_pages = 0;
  uint32_t gap = header_->first_page_;
  const uint32_t frontier = Frontier();
  for (uint32_t page = gap; page < frontier;) {
    PageEntry* entry = pages_.Entry(page);
    const multi_process::PageKind kind = KindOf(entry->shape_.Get());
    if (entry->owner_.Get() <= kSpanInterior || kind == kKindNone) {
      if (entry->owner_.Get() == kSpanInterior) {
        entry->owner_.SetRelease(kFreePage);  // the page behind a span that was made longer
      } else if (entry->owner_.Get() != kFreePage) {
        pages_.Delete(page);  // a span that was opened or let go
      }
      ++page;
      continue;
    }
    const uint32_t span = std::max(entry->span_.Get(), 1u);
    if (span > frontier - page) defect::Corruption("the length of a span", Pages::OffsetOf(page));
    if (kind == kKindRun) run_pages += span;
    engine.Free(gap, page - gap);
    page += span;
    gap = page;
  }
  engine.Free(gap, frontier - gap);
  header_->run_pages_.store(run_pages, std::memory_order_relaxed);  // relaxed: a figure
}

template <typename Config>
void PagePool<Config>::CountRuns(int64_t pages) noexcept {
  // relaxed, both: changes under the lock, read as a figure
  const uint64_t before = header_->run_pages_.load(std::memory_order_relaxed);
  header_->run_pages_.store(before + static_cast<uint64_t>(pages), std::memory_order_relaxed);
}

// ---- memory
// --------------------------------------------------------------------------------------

template <typename Config>
bool PagePool<Config>::CommitArray(Offset array, uint64_t item_bytes, uint32_t first,
                                   uint32_t end) noexcept {
  const Offset begin = array + first * item_bytes;
  const uint64_t bytes = (end - first) * item_bytes;
  if (!region_.services_->Commit(begin, bytes)) return false;
  // A maker of another allocator that died before it published may have left words here.
  std::memset(region_.base_ + begin, 0, bytes);
  return true;
}

template <typename Config>
bool PagePool<Config>::CommitTo(uint32_t new_frontier) noexcept {
  const uint32_t old = Frontier();
  if (!CommitArray(header_->table_offset_, sizeof(PageEntry), old, new_frontier) ||
      !CommitArray(header_->nodes_offset_, sizeof(BuddyNode), old, new_frontier) ||
      !CommitArray(header_->notes_offset_, sizeof(PageNote), old, new_frontier) ||
      !CommitArray(header_->marks_offset_, sizeof(PageMarks<Config>), old, new_frontier)) {
    return false;
  }
  header_->frontier_.store(new_frontier, std::memory_order_release);  // pairs with Frontier
  Engine().Free(old, new_frontier - old);
  return true;
}

/** Describes pages up to needed_frontier, and some more when the system has the memory. */
template <typename Config>
bool PagePool<Config>::GrowTo(uint64_t needed_frontier) noexcept {
  const uint32_t old = Frontier();
  if (needed_frontier <= old) return true;
  if (needed_frontier > header_->page_count_) return false;
  const uint32_t step = std::clamp(old - header_->first_page_, kMinGrowth, kMaxGrowth);
  const uint64_t wanted =
      std::clamp<uint64_t>(uint64_t{old} + step, needed_frontier, header_->page_count_);
  return CommitTo(static_cast<uint32_t>(wanted)) ||
         CommitTo(static_cast<uint32_t>(needed_frontier));
}

template <typename Config>
bool PagePool<Config>::Commit(uint32_t first, uint32_t pages) const noexcept {
  for (uint32_t page = first; page < first + pages;) {
    uint32_t run = page;
    while (run < first + pages && pages_.Entry(run)->committed_.Get() == 0) ++run;
    if (run > page) {
      if (!region_.services_->Commit(Pages::OffsetOf(page),
                                     uint64_t{run - page} * Config::kPageBytes)) {
        return false;
      }
      for (uint32_t i = page; i < run; ++i) pages_.Entry(i)->committed_.Set(1);
    }
    page = run + 1;
  }
  return true;
}

/** The marks go before the memory: a cut in between leaves memory that is committed twice. */
template <typename Config>
void PagePool<Config>::Decommit(uint32_t first, uint32_t pages) const noexcept {
  for (uint32_t page = first; page < first + pages;) {
    uint32_t run = page;
    while (run < first + pages && pages_.Entry(run)->committed_.Get() != 0) {
      pages_.Entry(run++)->committed_.Set(0);
    }
    if (run > page) {
      region_.services_->Decommit(Pages::OffsetOf(page), uint64_t{run - page} * Config::kPageBytes);
    }
    page = run + 1;
  }
}

template <typename Config>
void PagePool<Config>::Trim() noexcept {
  const Guard guard(*this);
  if (!guard.IsHeld()) return;
  Engine().ForEachFree([&](uint32_t first, uint32_t order) {
    Decommit(first, uint32_t{1} << order);
    return true;
  });
}

// ---- spans
// ---------------------------------------------------------------------------------------

template <typename Config>
uint32_t PagePool<Config>::HeadAt(const char* operation, Offset block) const noexcept {
  const Offset begin = Pages::OffsetOf(header_->first_page_);
  const Offset end = Pages::OffsetOf(header_->page_count_);
  if (block < begin || block >= end) defect::ForeignPointer(operation, block, end);
  const uint32_t page = Pages::PageOf(block);
  if (page >= Frontier()) defect::InvalidFree(operation, block);
  const uint32_t head = pages_.HeadOf(page);
  if (head > page || head < header_->first_page_) defect::InvalidFree(operation, block);
  if (KindOf(pages_.Entry(head)->shape_.Get()) == kKindNone) defect::InvalidFree(operation, block);
  return head;
}

/** A run of free pages off the lists, or from behind the frontier. */
template <typename Config>
uint32_t PagePool<Config>::Take(uint32_t pages, uint32_t alignment) noexcept {
  const uint32_t got = Engine().Allocate(pages, alignment);
  const uint32_t frontier = Frontier();
  if (got != BuddyEngine::kNone || frontier == header_->page_count_) return got;
  uint32_t start = frontier;  // where the free pages before the frontier begin
  uint32_t order = 0;
  for (;;) {
    const uint32_t before = Engine().FreeBlockAt(start - 1, &order);
    if (before == BuddyEngine::kNone) break;
    start = before;
  }
  const uint64_t aligned = bits::AlignUp(start, alignment);
  if (!GrowTo(aligned + pages)) return BuddyEngine::kNone;
  const bool taken = Engine().TakeRange(static_cast<uint32_t>(aligned), pages);
  if (!taken)
    defect::Corruption("a list of free pages", Pages::OffsetOf(static_cast<uint32_t>(aligned)));
  return static_cast<uint32_t>(aligned);
}

template <typename Config>
uint32_t PagePool<Config>::Open(uint32_t pages, uint32_t alignment, uint32_t shape) noexcept {
  const Guard guard(*this);
  if (!guard.IsHeld()) return kNoPage;
  const uint32_t head = Take(pages, alignment);
  if (head == BuddyEngine::kNone) return kNoPage;
  if (!pages_.OpenSpan(head, pages, kInUse)) {
    defect::Corruption("the owner of a free page", Pages::OffsetOf(head));
  }
  PageEntry* entry = pages_.Entry(head);
  if (KindOf(shape) == kKindRun) {
    entry->used_.Set(1);
    CountRuns(pages);
  }
  entry->shape_.Set(shape);  // commit
  return head;
}

/** Lock held. The span's shape goes first, which is the commit; then its pages, one by one. */
template <typename Config>
void PagePool<Config>::Release(uint32_t head) noexcept {
  const uint32_t pages = std::max(pages_.Entry(head)->span_.Get(), 1u);
  pages_.Delete(head);
  if (pages * Config::kPageBytes >= kReturnedBytes) Decommit(head, pages);
  Engine().Free(head, pages);
}

template <typename Config>
bool PagePool<Config>::Close(uint32_t head) noexcept {
  const Guard guard(*this);
  if (guard.IsHeld()) Release(head);
  return guard.IsHeld();
}

template <typename Config>
void PagePool<Config>::CloseRun(Offset block) noexcept {
  const Guard guard(*this);
  if (!guard.IsHeld()) return;                        // a stopped holder: the block stays
  const uint32_t head = HeadAt("FreeOffset", block);  // again: now nobody else changes it
  const PageEntry* entry = pages_.Entry(head);
  if (KindOf(entry->shape_.Get()) != kKindRun || block != Pages::OffsetOf(head)) {
    defect::InvalidFree("FreeOffset", block);
  }
  CountRuns(-int64_t{entry->span_.Get()});
  Release(head);
}

/**
 * Up to kLengthenedBytes more of the way to `pages`, if all of it can be had. The memory comes
 * first: a survivor may move the block, and so read it to its end. The system takes a quarter of a
 * second per GiB, hence the steps.
 */
template <typename Config>
bool PagePool<Config>::Lengthen(uint32_t head, uint32_t pages) noexcept {
  const Guard guard(*this);
  if (!guard.IsHeld()) return false;
  const uint32_t present = pages_.Entry(head)->span_.Get();
  const uint32_t next = head + present;
  const uint32_t more = pages - present;
  if (!GrowTo(uint64_t{head} + pages) || !Engine().TakeRange(next, more)) return false;
  const auto step =
      static_cast<uint32_t>(std::min<uint64_t>(more, kLengthenedBytes / Config::kPageBytes));
  Engine().Free(next + step, more - step);
  if (!Commit(next, step)) {
    Engine().Free(next, step);
    return false;
  }
  if (!pages_.ExtendSpan(head, present + step)) {
    defect::Corruption("the owner of a free page", Pages::OffsetOf(next));
  }
  CountRuns(step);
  return true;
}

template <typename Config>
void PagePool<Config>::Shorten(uint32_t head, uint32_t pages) noexcept {
  const Guard guard(*this);
  if (!guard.IsHeld()) return;  // a stopped holder: the run stays longer
  const uint32_t present = pages_.Entry(head)->span_.Get();
  CountRuns(int64_t{pages} - present);
  pages_.ShrinkSpan(head, pages);
  Engine().Free(head + pages, present - pages);
}

template <typename Config>
bool PagePool<Config>::ResizeRun(uint32_t head, uint32_t pages) noexcept {
  const uint32_t present = pages_.Entry(head)->span_.Get();
  while (pages_.Entry(head)->span_.Get() < pages) {
    if (Lengthen(head, pages)) continue;
    if (pages_.Entry(head)->span_.Get() > present) Shorten(head, present);
    return false;
  }
  if (pages_.Entry(head)->span_.Get() > pages) Shorten(head, pages);
  return true;
}

template class PagePool<multi_process::LargePages>;
template class PagePool<multi_process::SmallPages>;

}  // namespace hshm::ipc::scalable_page
