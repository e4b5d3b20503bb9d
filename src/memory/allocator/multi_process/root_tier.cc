#include "hermes_shm/memory/allocator/multi_process/root_tier.h"

#include <algorithm>
#include <cstring>
#include <string>

#include "hermes_shm/base/defects.h"
#include "hermes_shm/base/error.h"
#include "hermes_shm/platform/page.h"

namespace hshm::ipc::multi_process {
namespace {

/** Where everything lies, from the size of the region alone. */
struct Geometry {
  uint64_t page_count;
  uint64_t granule_pages_log2;
  uint64_t granule_end;
  Offset heads;
  Offset nodes;
  Offset table;
  Offset data;
};

template <typename Config>
Geometry MakeGeometry(uint64_t region_bytes, Offset header_offset) {
  constexpr uint32_t page_shift = Config::kPageShift;
  Geometry g;
  g.page_count = region_bytes >> page_shift;
  const uint64_t pages_per_granule = bits::DivideUp(g.page_count, kMaxGranules);
  g.granule_pages_log2 = bits::CeilLog2(pages_per_granule);
  g.granule_end = g.page_count >> g.granule_pages_log2;
  g.heads = bits::AlignUp(header_offset + sizeof(RootHeader), kCacheLineBytes);
  g.nodes = bits::AlignUp(g.heads + g.granule_end * sizeof(uint32_t), kCacheLineBytes);
  g.table = bits::AlignUp(g.nodes + g.granule_end * sizeof(BuddyNode), kCacheLineBytes);
  const uint64_t granule_bytes = uint64_t{1} << (page_shift + g.granule_pages_log2);
  g.data = bits::AlignUp(PageTable<Config>::EndOf(g.table, g.page_count), granule_bytes);
  return g;
}

bool IsZero(const Region& region, Offset begin, Offset end) {
  return std::all_of(region.At<uint64_t>(begin), region.At<uint64_t>(end),
                     [](uint64_t word) { return word == 0; });
}

/** A maker that died or failed before it published has left words behind; a new region has none,
 * and where the system says so it is not read, for that would make it resident. */
template <typename Config>
void ClearLeftovers(const Region& region, Offset header_offset, const Geometry& g) {
  const Offset next_page = bits::AlignUp(header_offset, SystemPageBytes());
  const bool is_unwritten =
      next_page < g.table && region.services_->IsUnwritten(next_page, g.table - next_page);
  if (IsZero(region, header_offset, is_unwritten ? next_page : g.table)) return;
  const uint64_t table_bytes = PageTable<Config>::EndOf(g.table, g.page_count) - g.table;
  if (!region.services_->Commit(g.table, table_bytes)) {
    throw Error(ErrorCode::kNoSpace,
                "The system has no memory for the " + std::to_string(table_bytes) +
                    " bytes of the page table: free some, or create the segment again.");
  }
  std::memset(region.base_ + header_offset, 0, g.table + table_bytes - header_offset);
}

}  // namespace

template <typename Config>
RootTier<Config>::RootTier(const Region& region, Offset header_offset, Membership* membership,
                           uint32_t node)
    : region_(region), header_(region.At<RootHeader>(header_offset)), membership_(membership) {
  placement_.node_ = node;
  heads_ = region.At<OwnedWord<uint32_t>>(header_->heads_offset_);
  nodes_ = region.At<BuddyNode>(header_->nodes_offset_);
  pages_ = PageTable<Config>(region, header_->table_offset_, header_->page_count_);
}

template <typename Config>
void RootTier<Config>::Init(const Region& region, Offset header_offset) {
  const Geometry g = MakeGeometry<Config>(region.size_bytes_, header_offset);
  const uint64_t granule_bytes = uint64_t{1} << (Config::kPageShift + g.granule_pages_log2);
  if (g.data / granule_bytes >= g.granule_end) {
    throw Error(ErrorCode::kOutOfRange,
                "The region of " + std::to_string(region.size_bytes_) +
                    " bytes has no room for a page behind its headers of " +
                    std::to_string(g.data) +
                    " bytes: make the backend larger, or the custom header smaller.");
  }
  if (!region.services_->Commit(header_offset, g.table - header_offset)) {
    throw Error(ErrorCode::kNoSpace, "The system has no memory for the " +
                                         std::to_string(g.table - header_offset) +
                                         " bytes of the allocator's header: free some, or make the "
                                         "shared-memory file system larger.");
  }
  ClearLeftovers<Config>(region, header_offset, g);
  auto* header = region.At<RootHeader>(header_offset);
  header->layout_version_ = kMultiProcessLayoutVersion;
  header->page_shift_ = Config::kPageShift;
  header->page_count_ = static_cast<uint32_t>(g.page_count);
  header->granule_pages_log2_ = static_cast<uint32_t>(g.granule_pages_log2);
  header->first_granule_ = static_cast<uint32_t>(g.data / granule_bytes);
  header->granule_end_ = static_cast<uint32_t>(g.granule_end);
  header->first_page_ = header->first_granule_ << g.granule_pages_log2;
  header->heads_offset_ = g.heads;
  header->nodes_offset_ = g.nodes;
  header->table_offset_ = g.table;
  // All words are zero, so nothing has to be cleared, nor its memory touched.
  RootTier root(region, header_offset, nullptr);
  root.Engine().Free(header->first_granule_, header->granule_end_ - header->first_granule_);
}

template <typename Config>
bool RootTier<Config>::FitsRegion(const Region& region, Offset header_offset) {
  const Geometry g = MakeGeometry<Config>(region.size_bytes_, header_offset);
  const uint64_t granule_bytes = uint64_t{1} << (Config::kPageShift + g.granule_pages_log2);
  const auto* const header = region.At<RootHeader>(header_offset);
  const uint32_t first_granule = header->first_granule_;
  return header->page_shift_ == Config::kPageShift && header->page_count_ == g.page_count &&
         header->granule_pages_log2_ == g.granule_pages_log2 &&
         first_granule == g.data / granule_bytes && first_granule < g.granule_end &&
         header->granule_end_ == g.granule_end &&
         header->first_page_ == first_granule << g.granule_pages_log2 &&
         header->heads_offset_ == g.heads && header->nodes_offset_ == g.nodes &&
         header->table_offset_ == g.table;
}

template <typename Config>
RootTier<Config>::Guard::Guard(RootTier& root, Newcomer)
    : guard_(root.header_->lock_, root.membership_->identity(),
             root.patience_.TimeoutUs(root.header_->lock_)) {
  root.patience_.Note(root.header_->lock_, guard_.result());
  if (guard_.result() == LockResult::kOwnerDied) root.Rebuild();
}

template <typename Config>
bool RootTier<Config>::LeaveFreed(uint32_t granule) {
  for (;;) {
    const uint32_t word = Head(granule);
    // Freed by another call meanwhile: it is nobody's, or its granule has another use.
    if (HeadWord::KindOf(word) <= HeadWord::kUnit || HeadWord::IsFreed(word)) return false;
    // The holder of the mutex may change the label: then once more.
    if (heads_[granule].CasFrom(word, Labelled(word, HeadWord::KindOf(word), HeadWord::kFreed))) {
      break;
    }
  }
  header_->freed_.fetch_add(1, std::memory_order_release);  // pairs with GiveBackFreed
  return true;
}

/** The count stays until all is given back: who dies in it leaves the rest to the next. */
template <typename Config>
void RootTier<Config>::GiveBackFreed() {
  if (!HeadsFit()) return;  // words that were overwritten are for others to say
  uint32_t seen = header_->freed_.load(std::memory_order_acquire);  // pairs with LeaveFreed
  ForEachHead([&](uint32_t granule, uint32_t word) {
    if (!HeadWord::IsFreed(word)) return true;
    static_cast<void>(heads_[granule].GetAcquire());  // pairs with LeaveFreed: counted or not
    if (HeadWord::KindOf(word) == HeadWord::kLarge) pages_.NoteFormerLarge(FirstPageOf(granule));
    GiveBack(granule);
    return true;
  });
  // relaxed: what is counted meanwhile, somebody else gives back
  header_->freed_.compare_exchange_strong(seen, 0, std::memory_order_relaxed);
}

template <typename Config>
void RootTier<Config>::Rebuild() {
  BuddyEngine engine = Engine();
  engine.Reset();
  header_->lists_ = BuddyLists{};
  if (!HeadsFit()) return;  // nobody knows what is free; others say it, as above
  uint32_t gap = header_->first_granule_;
  ForEachHead([&](uint32_t granule, uint32_t word) {
    if (granule > gap) engine.Free(gap, granule - gap);
    gap = granule + HeadWord::Granules(word);
    if (HeadWord::KindOf(word) == HeadWord::kLarge) ClearJoined(granule + 1, gap);
    return true;
  });
  if (header_->granule_end_ > gap) engine.Free(gap, header_->granule_end_ - gap);
}

/** What a large block was joined with by a holder who died before it cleared the word. */
template <typename Config>
void RootTier<Config>::ClearJoined(uint32_t granule, uint32_t end) {
  for (; granule < end; ++granule) {
    if (HeadWord::KindOf(Head(granule)) == HeadWord::kExtension) heads_[granule].Set(0);
  }
}

template <typename Config>
uint32_t RootTier<Config>::Grant(HeadWord::Kind kind, uint32_t granules, uint32_t alignment) {
  const uint32_t first = Engine().Allocate(granules, alignment);
  if (first == kNone) return kNone;
  if (KindAround(FirstPageOf(first)) != HeadWord::kNone) StopForLists(first);
  RequireNoHead(first, granules);
  return Label(kind, first, granules) ? first : kNone;
}

/** Of granules that were taken off the lists; without memory for their entries they go back. */
template <typename Config>
bool RootTier<Config>::Label(HeadWord::Kind kind, uint32_t first, uint32_t granules) {
  if (!CommitTable(first, granules)) {
    Engine().Free(first, granules);
    return false;
  }
  // Lists that were made from overwritten words have what a shortened unit still uses.
  if (HSHM_ENABLE_ASSERTS != 0 && !AllPagesFree(first, granules)) StopForLists(first);
  const uint32_t placed = placement_.node_ == kAnyNode ? 0 : HeadWord::kPlaced;
  heads_[first].Set(HeadWord::Make(kind, membership_->slot() + 1, granules) | placed);
  Place(first, granules);
  CountGranted(kind, first, granules);
  return true;
}

template <typename Config>
uint64_t RootTier<Config>::PushesIn(uint32_t granule, uint32_t granules) const {
  uint64_t sum = 0;
  const uint32_t end = FirstPageOf(granule + granules);
  for (uint32_t page = FirstPageOf(granule); page < end; ++page) {
    // relaxed: a count only
    sum += RemoteWord::Pushed(pages_.Entry(page)->remote_.load(std::memory_order_relaxed));
  }
  return sum;
}

/** For statistics. Entries outside of units may have no memory, so their pushes stand in the header
 * meanwhile; pages that were never in a unit that went back have none. */
template <typename Config>
void RootTier<Config>::CountGranted(HeadWord::Kind kind, uint32_t first, uint32_t granules) {
  const uint64_t all = header_->granule_end_ - header_->first_granule_;
  const auto granted = static_cast<uint32_t>(all - FreeGranules());
  header_->peak_granules_ = std::max(header_->peak_granules_, granted);
  const bool is_fresh =
      first >= header_->returned_end_ || first + granules <= header_->returned_begin_;
  if (kind == HeadWord::kUnit && !is_fresh) header_->returned_pushes_ -= PushesIn(first, granules);
}

template <typename Config>
void RootTier<Config>::CountReturned(uint32_t first, uint32_t granules) {
  const bool is_first = header_->returned_end_ == 0;
  header_->returned_begin_ = is_first ? first : std::min(header_->returned_begin_, first);
  header_->returned_end_ = std::max(header_->returned_end_, first + granules);
  header_->returned_pushes_ += PushesIn(first, granules);
}

template <typename Config>
void RootTier<Config>::GiveBack(uint32_t granule) {
  const uint32_t word = Head(granule);
  const uint32_t granules = HeadWord::Granules(word);
  DecommitPages(FirstPageOf(granule), FirstPageOf(granule + granules));
  if ((word & HeadWord::kPlaced) != 0) Unplace(granule, granules);
  heads_[granule].Set(0);
  if (HeadWord::KindOf(word) == HeadWord::kUnit) CountReturned(granule, granules);
  Engine().Free(granule, granules);
}

template <typename Config>
bool RootTier<Config>::GrantExtension(uint32_t granule, uint32_t more) {
  const uint32_t first = granule + HeadWord::Granules(Head(granule));
  if (first + more > header_->granule_end_ || !Engine().TakeRange(first, more)) return false;
  RequireNoHead(first, more);
  return Label(HeadWord::kExtension, first, more);
}

/** From the first store on the block covers the extension, whose word Rebuild clears if we do not.
 * The other way round nobody would know of its memory, nor of its wish. */
template <typename Config>
void RootTier<Config>::JoinExtension(uint32_t granule) {
  const uint32_t word = Head(granule);
  const uint32_t first = granule + HeadWord::Granules(word);
  HSHM_CHECK(first < header_->granule_end_);
  const uint32_t extension = Head(first);
  HSHM_CHECK(HeadWord::KindOf(extension) == HeadWord::kExtension);
  const uint32_t granules = HeadWord::Granules(word) + HeadWord::Granules(extension);
  heads_[granule].Set(HeadWord::Make(HeadWord::kLarge, HeadWord::SlotPlusOne(word), granules) |
                      ((word | extension) & HeadWord::kPlaced));
  heads_[first].Set(0);
}

template <typename Config>
void RootTier<Config>::ShortenLarge(uint32_t granule, uint32_t granules) {
  const uint32_t word = Head(granule);
  const uint32_t present = HeadWord::Granules(word);
  if (granules >= present) return;
  if ((word & HeadWord::kPlaced) != 0) Unplace(granule + granules, present - granules);
  heads_[granule].Set(HeadWord::Make(HeadWord::kLarge, HeadWord::SlotPlusOne(word), granules) |
                      (word & HeadWord::kPlaced));
  Engine().Free(granule + granules, present - granules);
  DecommitPages(FirstPageOf(granule + granules), FirstPageOf(granule + present));
}

template <typename Config>
HeadWord::Kind RootTier<Config>::KindAround(uint32_t page) const {
  if (page >= header_->page_count_ || GranuleOf(page) >= header_->granule_end_) {
    return HeadWord::kNone;
  }
  uint32_t granule = GranuleOf(page);
  while (granule > header_->first_granule_ && Head(granule) == 0) --granule;
  const uint32_t word = Head(granule);
  return word != 0 && GranuleOf(page) < granule + HeadWord::Granules(word) ? HeadWord::KindOf(word)
                                                                           : HeadWord::kNone;
}

template <typename Config>
void RootTier<Config>::RequireNoHead(uint32_t granule, uint32_t granules) const {
  for (uint32_t i = granule; i < granule + granules; ++i) {
    if (Head(i) != 0) StopForLists(i);
  }
}

/** Such a word would be a head as soon as the one that covers it is given back. */
template <typename Config>
bool RootTier<Config>::HasNoHeadInside(uint32_t granule, uint32_t granules) const {
  for (uint32_t i = granule + 1; i < granule + granules; ++i) {
    if (Head(i) != 0) return false;
  }
  return true;
}

template <typename Config>
bool RootTier<Config>::HeadsAreApart() const {
  bool are_apart = true;
  ForEachHead([&](uint32_t granule, uint32_t word) {
    are_apart = HasNoHeadInside(granule, HeadWord::Granules(word));
    return are_apart;
  });
  return are_apart;
}

template <typename Config>
bool RootTier<Config>::ListsFit() const {
  const BuddyEngine engine = Engine();
  if (!engine.Check()) return false;
  bool fits = true;
  uint64_t labelled = 0;
  ForEachHead([&](uint32_t granule, uint32_t word) {
    const uint32_t end = granule + HeadWord::Granules(word);
    labelled += end - granule;
    fits = engine.FirstFreeIn(granule, end) == end;
    return fits;
  });
  return fits && labelled + FreeGranules() == header_->granule_end_ - header_->first_granule_;
}

template <typename Config>
void RootTier<Config>::StopForHead(uint32_t granule) const {
  defect::Corruption("the word of a unit or large block",
                     header_->heads_offset_ + granule * sizeof(uint32_t));
}

template <typename Config>
void RootTier<Config>::StopForLists(uint32_t granule) const {
  defect::Corruption("a list of free units", PageTable<Config>::OffsetOf(FirstPageOf(granule)));
}

template <typename Config>
bool RootTier<Config>::AllPagesFree(uint32_t granule, uint32_t granules) const {
  const uint32_t end = FirstPageOf(granule + granules);
  for (uint32_t page = FirstPageOf(granule); page < end; ++page) {
    if (pages_.Entry(page)->owner_.GetAcquire() != kFreePage) return false;
  }
  return true;
}

/** The marks go before the memory: a cut in between leaves memory that is committed twice. */
template <typename Config>
void RootTier<Config>::DecommitPages(uint32_t first, uint32_t end) {
  for (uint32_t page = first; page < end;) {
    uint32_t run = page;
    while (run < end && pages_.Entry(run)->committed_.Get() != kNotCommitted) {
      pages_.Entry(run++)->committed_.Set(kNotCommitted);
    }
    if (run > page) {
      region_.services_->Decommit(PageTable<Config>::OffsetOf(page),
                                  uint64_t{run - page} * Config::kPageBytes);
    }
    page = run + 1;
  }
}

/** The head word says so already: whoever gives the granules back after our death knows. */
template <typename Config>
void RootTier<Config>::Place(uint32_t granule, uint32_t granules) {
  if (placement_.node_ == kAnyNode) return;
  const uint64_t bytes = granules * granule_bytes();
  const bool is_placed = region_.services_->Bind(PageTable<Config>::OffsetOf(FirstPageOf(granule)),
                                                 bytes, placement_.node_);
  (is_placed ? placement_.placed_bytes_ : placement_.refused_bytes_) += bytes;
}

/** While the head word still covers the granules: a cut leaves no wish that nobody knows of. */
template <typename Config>
void RootTier<Config>::Unplace(uint32_t granule, uint32_t granules) {
  // False where nothing was placed before.
  static_cast<void>(region_.services_->Bind(PageTable<Config>::OffsetOf(FirstPageOf(granule)),
                                            granules * granule_bytes(), kAnyNode));
}

template <typename Config>
bool RootTier<Config>::CommitTable(uint32_t granule, uint32_t granules) const {
  const Offset first = header_->table_offset_ + FirstPageOf(granule) * sizeof(PageEntry);
  return region_.services_->Commit(first, uint64_t{granules} * granule_pages() * sizeof(PageEntry));
}

template <typename Config>
bool RootTier<Config>::CommitPages(uint32_t first, uint32_t pages) const {
  return CommitAs(first, pages, region_.services_->CommitsZeroed() ? kCommittedZero : kCommitted);
}

template <typename Config>
bool RootTier<Config>::CommitLarge(uint32_t first, uint32_t pages, bool* is_zero) const {
  *is_zero = region_.services_->CommitsZeroed();
  for (uint32_t page = first; *is_zero && page < first + pages; ++page) {
    *is_zero = pages_.Entry(page)->committed_.Get() == kNotCommitted;
  }
  return CommitAs(first, pages, kCommitted);
}

/** Another may commit the same pages, open them and be done with them meanwhile: what it has left
 * in their words stays. Marks first: what was committed cannot be given back here, for another may
 * use it by now. Memory of marks stays anyway, that of pages would, without a word that says so. */
template <typename Config>
bool RootTier<Config>::CommitAs(uint32_t first, uint32_t pages, Committed mark) const {
  const uint32_t end = first + pages;
  for (uint32_t page = first; page < end;) {
    uint32_t run = page;
    while (run < end && pages_.Entry(run)->committed_.Get() == kNotCommitted) ++run;
    if (run > page) {
      if (!pages_.CommitMarks(page, run - page) ||
          !region_.services_->Commit(PageTable<Config>::OffsetOf(page),
                                     uint64_t{run - page} * Config::kPageBytes)) {
        return false;
      }
      for (uint32_t i = page; i < run; ++i) {
        pages_.Entry(i)->committed_.CasFrom(kNotCommitted, mark);
      }
    }
    page = run + 1;
  }
  return true;
}

template class RootTier<LargePages>;
template class RootTier<SmallPages>;
template class RootTier<CheckedLargePages>;
template class RootTier<CheckedSmallPages>;

}  // namespace hshm::ipc::multi_process
