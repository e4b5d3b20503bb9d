#include "crash/heap_walk.h"

#include <algorithm>
#include <cstddef>
#include <set>

namespace hshm::ipc::crash {

using multi_process::CarveOrder;
using multi_process::HeadWord;
using multi_process::HeapRecord;
using multi_process::KindOf;
using multi_process::kSpanInterior;
using multi_process::PageEntry;
using multi_process::PageKind;
using multi_process::RemoteWord;
using multi_process::RootHeader;
using Pages = multi_process::PageTable<Config>;
using Run = multi_process::RunWord<Config>;

namespace {

constexpr uint32_t kRecordsPerPage = Config::kPageBytes / sizeof(HeapRecord<Config>);

AllocatorHeader* HeaderOf(const Region& region) {
  return region.At<AllocatorHeader>(AllocatorOffsetFor(region.size_bytes_));
}

/** Calls visit(record) for each that a heap has. */
template <typename Visit>
void ForEachRecord(const Region& region, const Root& root, Visit visit) {
  root.ForEachSpan([&](uint32_t page, uint32_t) {
    if (KindOf(root.pages().Entry(page)->shape_.Get()) != PageKind::kKindHeaps) return;
    const auto* records = region.At<HeapRecord<Config>>(Pages::OffsetOf(page));
    for (uint32_t i = 0; i < kRecordsPerPage; ++i) {
      if (records[i].id_.Get() != 0) visit(records[i]);
    }
  });
}

}  // namespace

Offset CoreOffset(const Region& region) { return HeaderOf(region)->core_offset_; }
Offset RootOffset(uint64_t region_bytes) {
  return bits::AlignUp(AllocatorOffsetFor(region_bytes) + sizeof(AllocatorHeader), kCacheLineBytes);
}

HeapWalk::HeapWalk(const Region& region)
    : region_(region), root_(region, CoreOffset(region), nullptr) {
  const RootHeader& header = root_.header();
  data_pages_ = (header.granule_end_ - header.first_granule_) * root_.granule_pages();
  CollectHeapLists();
  uint32_t covered = header.first_granule_;
  root_.ForEachHead([&](uint32_t granule, uint32_t word) {
    if (granule < covered) Complain("two units overlap", granule);
    covered = granule + HeadWord::Granules(word);
    if (covered > header.granule_end_) Complain("a unit ends behind the region", granule);
    const uint32_t first = root_.FirstPageOf(granule);
    if (HeadWord::KindOf(word) == HeadWord::kUnit) {
      WalkUnit(first, root_.FirstPageOf(covered));
    } else if (HeadWord::KindOf(word) == HeadWord::kExtension) {
      Complain("what a large block was to grow by is kept", granule);
    } else if (HeadWord::IsFreed(word)) {
      Complain("a large block that was freed is kept", granule);
    } else {
      const uint32_t pages = root_.FirstPageOf(covered) - first;
      live_.push_back({Pages::OffsetOf(first), pages * Config::kPageBytes, first, pages});
      live_pages_ += pages;
    }
    return complaint_.empty();
  });
  std::sort(live_.begin(), live_.end(),
            [](const LiveBlock& a, const LiveBlock& b) { return a.offset_ < b.offset_; });
}

uint64_t HeapWalk::LiveBytes() const {
  uint64_t sum = 0;
  for (const LiveBlock& block : live_) sum += block.bytes_;
  return sum;
}

void HeapWalk::Complain(const char* what, uint64_t where) {
  if (complaint_.empty()) complaint_ = std::string(what) + " (" + std::to_string(where) + ")";
}

/** What waits in the class slots of heaps, by the page that it belongs to. */
void HeapWalk::CollectHeapLists() {
  ForEachRecord(region_, root_, [&](const HeapRecord<Config>& record) {
    for (uint32_t slot = 0; slot < Config::kSlotCount; ++slot) {
      const uint64_t first = record.free_[slot].Get();
      if (first == 0) continue;
      if (slot < Config::kFirstMixedSlot) {
        heap_lists_[root_.pages().HeadOf(Pages::PageOf(first))].push_back(first);
        continue;
      }
      uint32_t length = 0;
      for (uint64_t block = first; block != 0; block = *region_.At<uint64_t>(block)) {
        if (!region_.Contains(block) || ++length > Config::kMaxListLength) {
          return Complain("the list of a mixed class slot is broken", slot);
        }
        heap_blocks_[root_.pages().HeadOf(Pages::PageOf(block))].push_back(block);
      }
    }
    for (const auto& word : record.pending_) {
      if (word.Get() != 0) runs_[Run::Page(word.Get())].push_back(word.Get());
    }
  });
}

void HeapWalk::WalkUnit(uint32_t first, uint32_t end) {
  for (uint32_t page = first; page < end && complaint_.empty();) {
    const uint32_t owner = root_.pages().Entry(page)->owner_.Get();
    if (owner > kSpanInterior) {
      page += WalkSpan(page);
      continue;
    }
    // An interior page here is of a span that began in the unit before, or of none at all.
    const bool is_inside = owner == kSpanInterior && !live_.empty() &&
                           page < live_.back().first_page_ + live_.back().pages_;
    if (owner == kSpanInterior && !is_inside) ++empty_pages_;
    ++page;
  }
}

uint32_t HeapWalk::WalkSpan(uint32_t page) {
  const PageEntry* entry = root_.pages().Entry(page);
  const uint32_t span = std::max(entry->span_.Get(), 1u);
  for (uint32_t i = 1; i < span; ++i) {
    const PageEntry* interior = root_.pages().Entry(page + i);
    if (interior->owner_.Get() != kSpanInterior) Complain("a span is interrupted", page + i);
    if (interior->back_.Get() != i) Complain("an interior page has lost its head", page + i);
  }
  const size_t before = live_.size();
  switch (KindOf(entry->shape_.Get())) {
    case PageKind::kKindHeaps:
      record_pages_ += span;
      return span;
    case PageKind::kKindClass:
    case PageKind::kKindRun:
      WalkBlocks(page, span);
      break;
    case PageKind::kKindNone:
      break;
  }
  (live_.size() > before ? live_pages_ : empty_pages_) += span;
  return span;
}

void HeapWalk::WalkBlocks(uint32_t page, uint32_t span) {
  const PageEntry* entry = root_.pages().Entry(page);
  const uint32_t carved = entry->carved_.Get();
  const uint64_t bytes = root_.pages().BlockBytes(page);
  if (carved > root_.pages().Capacity(page)) return Complain("too many blocks are carved", page);
  std::vector<bool> free(carved, false);
  StrikeChain(page, entry->local_.Get(), carved, &free);
  const uint64_t word = entry->remote_.load();
  const uint32_t pending = RemoteWord::Pushed(word) - entry->drained_.Get();
  const auto strike = [&](uint32_t index) {
    Strike(page, Pages::OffsetOf(page) + index * bytes, &free);
    return complaint_.empty();
  };
  if (root_.pages().WalkPosted(page, strike) != pending) {
    return Complain("the remote list is too short", page);
  }
  for (const uint64_t first : heap_lists_[page]) StrikeChain(page, first, carved, &free);
  for (const uint64_t block : heap_blocks_[page]) Strike(page, block, &free);
  for (const uint64_t run : runs_[page]) {
    const uint32_t blocks = Run::Count(run);
    if (root_.pages().WalkRun(page, Run::Bearer(run), blocks, strike) != blocks) {
      return Complain("a run of remote frees is too short", page);
    }
  }
  const CarveOrder order = root_.pages().OrderOf(page);
  for (uint32_t i = 0; i < carved; ++i) {
    if (free[i]) continue;
    live_.push_back({Pages::OffsetOf(page) + order.BlockAt(i) * bytes, bytes, page, span});
  }
}

/** Follows at most `limit` links. @return blocks struck out */
uint32_t HeapWalk::StrikeChain(uint32_t page, uint64_t first, uint32_t limit,
                               std::vector<bool>* free) {
  uint32_t length = 0;
  for (uint64_t block = first; block != 0 && length < limit; ++length) {
    Strike(page, block, free);
    if (!complaint_.empty()) return length;
    block = *region_.At<uint64_t>(block);
  }
  return length;
}

void HeapWalk::Strike(uint32_t page, uint64_t block, std::vector<bool>* free) {
  const uint64_t begin = Pages::OffsetOf(page);
  const uint64_t bytes = root_.pages().BlockBytes(page);
  const uint64_t index = (block - begin) / bytes;
  const CarveOrder order = root_.pages().OrderOf(page);
  if (block < begin || index >= root_.pages().Capacity(page) || (block - begin) % bytes != 0 ||
      order.TurnOf(static_cast<uint32_t>(index)) >= free->size()) {
    return Complain("a list leads to what is no carved block of its page", block);
  }
  const uint32_t turn = order.TurnOf(static_cast<uint32_t>(index));
  if ((*free)[turn]) return Complain("a block is listed twice", block);
  (*free)[turn] = true;
}

namespace {

std::string PageField(uint64_t place) {
  struct Name {
    uint64_t offset_;
    const char* name_;
  };
  static constexpr Name kNames[] = {{offsetof(PageEntry, owner_), "owner_/shape_"},
                                    {offsetof(PageEntry, span_), "span_/back_"},
                                    {offsetof(PageEntry, local_), "local_"},
                                    {offsetof(PageEntry, drained_), "drained_/carved_"},
                                    {offsetof(PageEntry, used_), "used_/committed_"},
                                    {offsetof(PageEntry, remote_), "remote_"},
                                    {offsetof(PageEntry, former_), "former_"},
                                    {offsetof(PageEntry, key_), "key_"}};
  for (const Name& name : kNames) {
    if (place / 8 == name.offset_ / 8) return name.name_;
  }
  return "a reserved word of a page";
}

std::string RecordField(uint64_t place) {
  using Record = HeapRecord<Config>;
  static_assert(offsetof(Record, free_) == 0);
  if (place >= offsetof(Record, id_)) return "heap id_/lock_";
  if (place >= offsetof(Record, pending_)) return "heap pending_";
  const uint64_t slot = place / sizeof(uint64_t);
  if (slot < Config::kFirstMixedSlot) return "heap free_";
  return slot < Config::kFirstRunSlot ? "heap mixed free_" : "heap free_ of runs";
}

/** Whether a class slot's list leads to the first block of the page's own list: a refill that took
 * some of it is under way, or was cut. */
bool IsRunInto(const Region& region, const Root& root, const PageEntry& entry) {
  bool is_run_into = false;
  const uint32_t slot = multi_process::ClassOfShape(entry.shape_.Get());
  const uint64_t first = entry.local_.Get();
  if (KindOf(entry.shape_.Get()) != PageKind::kKindClass || first == 0) return false;
  ForEachRecord(region, root, [&](const HeapRecord<Config>& record) {
    if (record.id_.Get() != entry.owner_.Get()) return;
    uint64_t block = record.free_[slot].Get();
    for (uint32_t i = 0; block != 0 && region.Contains(block) && i < Config::kMaxListLength; ++i) {
      block = *region.At<uint64_t>(block);
      is_run_into = is_run_into || block == first;
    }
  });
  return is_run_into;
}

/** Whether a mixed class slot of a record begins with a block of another heap's page. */
bool IsOfAnother(const Region& region, const Root& root, uint64_t offset) {
  const uint64_t place = offset % Config::kPageBytes % sizeof(HeapRecord<Config>);
  const auto* record = region.At<HeapRecord<Config>>(offset - place);
  const uint64_t block = *region.At<uint64_t>(offset);
  if (block == 0) return false;
  const uint32_t page = root.pages().HeadOf(Pages::PageOf(block));
  return root.pages().Entry(page)->owner_.Get() != record->id_.Get();
}

std::string RootField(uint64_t place) {
  if (place >= offsetof(RootHeader, lists_)) return "root lists";
  if (place / 8 == offsetof(RootHeader, lock_) / 8) return "root lock_";
  if (place / 8 == offsetof(RootHeader, pressure_) / 8) return "pressure_/peak_granules_";
  return "root header";
}

/** Two head words, of which one was stored to. */
std::string HeadField(const Region& region, uint64_t offset) {
  const auto* words = region.At<uint32_t>(offset);
  const bool is_extension = HeadWord::KindOf(words[0]) == HeadWord::kExtension ||
                            HeadWord::KindOf(words[1]) == HeadWord::kExtension;
  return is_extension ? "head word of an extension" : "head word";
}

/** Of a block that somebody has. */
std::string KeyComplaintOf(const Root& root, uint64_t offset) {
  const uint64_t key = root.pages().EntryOf(offset)->key_.Get();
  const PageEntry* head = root.pages().Entry(root.pages().HeadOf(Pages::PageOf(offset)));
  if (head->owner_.Get() == multi_process::kFreePage) return {};  // a large block
  const bool is_of_class = KindOf(head->shape_.Get()) == PageKind::kKindClass;
  const bool was_adopted = (head->shape_.Get() & multi_process::kAdopted) != 0;
  if (key == 0) return is_of_class && was_adopted ? "" : "a live block's page has no key";
  const bool is_owners = multi_process::FreeKey::Id(key) == head->owner_.Get();
  return is_of_class && !is_owners ? "a live block's page has the key of another heap" : "";
}

}  // namespace

std::string KeyComplaint(const Region& region, const std::vector<uint64_t>& offsets) {
  const Root root(region, CoreOffset(region), nullptr);
  std::string complaint;
  ForEachRecord(region, root, [&](const HeapRecord<Config>& record) {
    for (uint32_t slot = Config::kFirstRunSlot; slot < Config::kSlotCount; ++slot) {
      uint64_t block = record.free_[slot].Get();
      for (uint32_t i = 0; block != 0 && region.Contains(block) && i < Config::kMaxListLength;
           ++i) {
        if (root.pages().EntryOf(block)->key_.Get() != 0) {
          complaint = "a listed run has a key, at offset " + std::to_string(block);
        }
        block = *region.At<uint64_t>(block);
      }
    }
  });
  for (const uint64_t offset : offsets) {
    const std::string fault = KeyComplaintOf(root, offset);
    if (!fault.empty()) complaint = fault + ", at offset " + std::to_string(offset);
  }
  return complaint;
}

std::string MemoryComplaint(const Region& region, const std::vector<uint64_t>& offsets) {
  const Root root(region, CoreOffset(region), nullptr);
  const auto has_memory = [&](uint32_t page) {
    return root.pages().Entry(page)->committed_.Get() != multi_process::kNotCommitted;
  };
  for (const uint64_t offset : offsets) {
    const uint32_t first = Pages::PageOf(offset);
    const uint32_t word = root.Head(root.GranuleOf(first));
    const bool is_large = root.pages().Entry(first)->owner_.Get() == multi_process::kFreePage &&
                          HeadWord::KindOf(word) == HeadWord::kLarge &&
                          root.FirstPageOf(root.GranuleOf(first)) == first;
    if (!is_large || !has_memory(first)) continue;
    for (uint32_t i = 1; i < HeadWord::Granules(word) * root.granule_pages(); ++i) {
      if (!has_memory(first + i)) {
        return "a large block is longer than its memory, at offset " + std::to_string(offset);
      }
    }
  }
  return {};
}

std::vector<uint32_t> LabelingSlots(const Region& region) {
  if (HeaderOf(region)->type_.load() == 0) return {};
  const Root root(region, CoreOffset(region), nullptr);
  std::set<uint32_t> slots = {root.header().lock_.HolderSlot()};
  root.ForEachHead([&](uint32_t, uint32_t word) {
    slots.insert(HeadWord::Slot(word));
    return true;
  });
  root.ForEachSpan([&](uint32_t page, uint32_t) {
    slots.insert(multi_process::SlotOf(root.pages().Entry(page)->owner_.Get()));
  });
  // Of a lock that is free, and of a head word that names nobody, it is none.
  slots.erase(slots.lower_bound(SlotCountFor(region.size_bytes_)), slots.end());
  return {slots.begin(), slots.end()};
}

std::string FieldAt(const Region& region, uint64_t offset) {
  const uint64_t allocator = AllocatorOffsetFor(region.size_bytes_);
  if (offset < kBackendHeaderBytes) return "backend header";
  if (offset < allocator) return "slot";
  if (offset < allocator + sizeof(AllocatorHeader)) return "allocator header";
  const uint64_t core = CoreOffset(region);
  if (core == 0 || offset < core) return "custom header";
  const auto* header = region.At<RootHeader>(core);
  if (offset < core + sizeof(RootHeader)) return RootField(offset - core);
  if (header->table_offset_ == 0 || offset < header->nodes_offset_)
    return HeadField(region, offset);
  if (offset < header->table_offset_) return "root lists";
  const uint64_t entry = (offset - header->table_offset_) / sizeof(PageEntry);
  const Root root(region, core, nullptr);
  if (entry < header->page_count_) {
    const uint64_t place = (offset - header->table_offset_) % sizeof(PageEntry);
    const bool is_local = place / 8 == offsetof(PageEntry, local_) / 8;
    const bool is_run_into =
        is_local && IsRunInto(region, root, *root.pages().Entry(static_cast<uint32_t>(entry)));
    return is_run_into ? "local_ that a slot's list runs into" : PageField(place);
  }
  if (offset < Pages::EndOf(header->table_offset_, header->page_count_)) return "marks";
  const uint32_t page = root.pages().HeadOf(Pages::PageOf(offset));
  if (KindOf(root.pages().Entry(page)->shape_.Get()) != PageKind::kKindHeaps) return "link";
  const std::string field = RecordField(offset % Config::kPageBytes % sizeof(HeapRecord<Config>));
  const bool is_of_another = field == "heap mixed free_" && IsOfAnother(region, root, offset);
  return is_of_another ? "heap mixed free_ of another's block" : field;
}

}  // namespace hshm::ipc::crash
