/** Set-up of a process and its heaps. Units are in process_units.cc, leaving in process_leave.cc.
 */
#include "hermes_shm/memory/allocator/multi_process/process_block.h"

#include <algorithm>
#include <cstring>
#include <exception>
#include <string>

#include "hermes_shm/memory/allocator/multi_process/sweeper.h"
#include "hermes_shm/memory/allocator/multi_process/taker.h"

namespace hshm::ipc::multi_process {
namespace {

[[noreturn]] void ThrowNoSpace(const Region& region) {
  throw Error(ErrorCode::kNoSpace,
              "The region of " + std::to_string(region.size_bytes_) +
                  " bytes, or the system under it, has no room for this process's first pages: "
                  "free some blocks, make the region larger, or the shared-memory file system.");
}

[[noreturn]] void ThrowHolderStopped(RootHeader& header, Membership* membership) {
  throw Error(ErrorCode::kHolderStopped,
              "The root of the allocator has been locked for more than 30 s by " +
                  header.lock_.DescribeHolder(membership->identity()) +
                  ". Let that process go on (kill -CONT), or end it.");
}

[[noreturn]] void ThrowOverwritten(const Region& region) {
  throw Error(ErrorCode::kCorrupt,
              "In the region of " + std::to_string(region.size_bytes_) +
                  " bytes the words that say who has which memory were overwritten: create it "
                  "again, or go back to a copy.");
}

}  // namespace

Error NoNotes(uint64_t region_bytes, int os_errno) {
  return Error(ErrorCode::kSystem,
               "The system has no private memory for a process's notes on " +
                   std::to_string(region_bytes) +
                   " bytes of region: raise the limit of the address space (ulimit -v), or make "
                   "the region smaller.",
               os_errno);
}

template <typename Config>
ProcessBlock<Config>::ProcessBlock(const Region& region, Offset root_offset, Membership* membership,
                                   const MultiProcessOptions& options, Sharing sharing,
                                   uint32_t colour)
    : region_(region),
      membership_(membership),
      options_(options),
      sharing_(sharing),
      colour_(colour),
      root_(region, root_offset, membership, options.numa_node_) {
  const RootHeader& header = root_.header();
  const uint64_t data_pages = header.page_count_ - header.first_page_;
  uint64_t unit_pages = std::max<uint64_t>(options.process_unit_bytes_ / Config::kPageBytes, 1);
  const uint32_t expected = options.expected_processes_;
  unit_pages = std::min(unit_pages, std::max<uint64_t>(data_pages / std::max(expected, 1u), 1));
  max_unit_pages_ = static_cast<uint32_t>(unit_pages);
  options_.process_unit_bytes_ = unit_pages * Config::kPageBytes;
  const uint64_t thread_pages =
      std::min<uint64_t>(options.thread_unit_bytes_ / Config::kPageBytes, unit_pages / 16);
  thread_unit_log2_ = bits::FloorLog2(std::max<uint64_t>(thread_pages, 1));
  // Without a count the units start small, so that the first rank does not take everything.
  next_unit_pages_ =
      expected != 0 ? max_unit_pages_
                    : std::min<uint32_t>(max_unit_pages_,
                                         std::max<uint64_t>(thread_unit_pages(), data_pages / 64));
  next_unit_pages_ = std::max(next_unit_pages_, 1u);
  const uint64_t pages = header.page_count_;
  int error = nodes_.Reserve(pages);
  if (error == 0) error = holders_.Reserve(pages);
  if (error == 0) error = lost_notes_.Reserve(pages);
  if (error == 0) error = homes_.Reserve((pages >> thread_unit_log2_) + 1);
  if (error == 0) error = unit_of_.Reserve(header.granule_end_ + 1);
  if (error == 0) error = units_.Reserve(header.granule_end_ + 1);
  if (error != 0) throw NoNotes(region.size_bytes_, error);
}

template <typename Config>
ProcessBlock<Config>::~ProcessBlock() = default;

template <typename Config>
void ProcessBlock<Config>::Start(bool is_found) {
  const std::lock_guard hold(lock_);
  // An earlier attempt found no room, or did not get as far as the sweep.
  Heap* first = heap_count_ != 0 ? heaps_[0].get() : AddHeap(NewHeapId());
  {
    if (!root_.header().lock_.IsWhole()) ThrowOverwritten(region_);
    typename RootTier<Config>::Guard root(root_, typename RootTier<Config>::Newcomer());
    if (!root.IsHeld()) ThrowHolderStopped(root_.header(), membership_);
    if (!root_.HeadsFit() || !root_.HeadsAreApart()) ThrowOverwritten(region_);
    // A file that a crash of the machine left may be of several moments; lists are a cache.
    if (is_found && !root_.ListsFit()) root_.Rebuild();
    // Private memory is this process's alone; in a forked child's copy its parent only seems to be.
    if (sharing_ == Sharing::kOneProcess && region_.services_->IsShared()) RequireAlone();
    // Our slot may label what an earlier process of it left: swept before we have anything.
    Sweeper<Config>(this, first)
        .Run(is_slot_swept_ ? Sweeper<Config>::kOthersOnly : Sweeper<Config>::kAlsoOwnSlot);
    is_slot_swept_ = true;
    // Not before: until then it says what becomes of the earlier process's blocks.
    membership_->entry(slot())->on_death_ = static_cast<uint32_t>(options_.on_death_);
    // Without a unit a free page of another process will do; from there on sleepers' are taken.
    if (free_pages_.free_granules_ == 0) static_cast<void>(NewUnitFromRoot(1));
  }
  if (!MakeRecord(first)) ThrowNoSpace(region_);
  idle_[first->index()] = true;
}

/**
 * Root mutex held. Who has started labels a record page at least, and asked under the same mutex:
 * of several processes that come at once the first to get it stays.
 */
template <typename Config>
void ProcessBlock<Config>::RequireAlone() {
  const uint32_t other = Sweeper<Config>(this, nullptr).LivingStranger();
  if (other == Mutex::kNoSlot) return;
  throw Error(ErrorCode::kUnsupported,
              "This heap serves the threads of one process at a time, and " +
                  membership_->Describe(other) +
                  " has it: use a MultiProcessAllocator, or wait until that process has left.");
}

template <typename Config>
BuddyEngine ProcessBlock<Config>::Engine() noexcept {
  const RootHeader& header = root_.header();
  return BuddyEngine(nodes_.data(), &free_pages_, header.first_page_,
                     header.page_count_ - header.first_page_, 0, kBuddyMaxOrder);
}

/** lock_ held. Serials of a slot are never given twice; joiners avoid slots that have few left. */
template <typename Config>
HeapId ProcessBlock<Config>::NewHeapId() noexcept {
  Atomic<uint32_t>& next = membership_->entry(slot())->next_serial_;
  const uint32_t serial =
      std::max(next.load(std::memory_order_relaxed), kFirstSerial);  // relaxed: ours alone
  HSHM_CHECK(serial <= kMaxSerial);
  next.store(serial + 1, std::memory_order_release);  // pairs with the query of our death
  return MakeHeapId(slot(), serial);
}

template <typename Config>
bool ProcessBlock<Config>::HasSerials(uint32_t count) const noexcept {
  // relaxed: ours alone
  return membership_->entry(slot())->next_serial_.load(std::memory_order_relaxed) + count <=
         kMaxSerial;
}

template <typename Config>
ThreadHeap<Config>* ProcessBlock<Config>::AddHeap(HeapId id) {
  heaps_[heap_count_] = std::make_unique<Heap>(this, heap_count_, id);
  return heaps_[heap_count_++].get();
}

template <typename Config>
ThreadHeap<Config>* ProcessBlock<Config>::NewHeap(HeapId id) noexcept {
  if (heap_count_ == kMaxThreads) return nullptr;
  try {
    return AddHeap(id);
  } catch (const std::exception&) {
    return nullptr;  // no memory for its notes
  }
}

template <typename Config>
ThreadHeap<Config>* ProcessBlock<Config>::AcquireHeap() noexcept {
  const std::lock_guard hold(lock_);
  Heap* bare = nullptr;  // without a record: left from an attempt that found no room
  for (uint32_t i = 0; i < heap_count_; ++i) {
    if (!idle_[i]) continue;
    if (heaps_[i]->record_ == nullptr) {
      bare = heaps_[i].get();
      continue;
    }
    idle_[i] = false;
    return heaps_[i].get();
  }
  if (bare != nullptr) {
    if (!MakeRecord(bare)) return nullptr;
    idle_[bare->index()] = false;
    return bare;
  }
  if (!HasSerials(2)) return nullptr;
  Heap* heap = NewHeap(NewHeapId());
  if (heap == nullptr) return nullptr;
  if (!MakeRecord(heap)) {
    idle_[heap->index()] = true;
    return nullptr;
  }
  return heap;
}

template <typename Config>
void ProcessBlock<Config>::ReleaseHeap(Heap* heap) noexcept {
  heap->BeginCall();
  MakeIdle(heap);
}

/** In the call that had the heap: it waits no second time. */
template <typename Config>
void ProcessBlock<Config>::MakeIdle(Heap* heap) noexcept {
  heap->TrimLists();
  heap->PostPending();
  const std::lock_guard hold(lock_);
  idle_[heap->index()] = true;
}

/** lock_ held. The record's memory is zero before id_ names it, see OpenRecordPage. */
template <typename Config>
bool ProcessBlock<Config>::MakeRecord(Heap* heap) noexcept {
  HeapRecord<Config>* record = FindRecordSlot(heap);
  if (record == nullptr) return false;
  heap->UseRecord(record);
  record->id_.SetRelease(heap->id());  // pairs with PostRunsOfLiving
  return true;
}

/** From the place on that is this process block's colour. The records of allocators that a thread
 * uses in turn would otherwise lie at one place of a page, where a load waits for the stores to the
 * others that are under way: the processor tells them apart by the low 12 bits at first. No colour
 * begins where the page does: the epoch, which each call reads, is at the beginning of one. */
template <typename Config>
HeapRecord<Config>* ProcessBlock<Config>::FindRecordSlot(Heap* heap) noexcept {
  constexpr uint32_t kPerPage = Config::kPageBytes / sizeof(HeapRecord<Config>);
  for (uint32_t attempt = 0; attempt < 2; ++attempt) {
    if (record_page_ != kNoPage) {
      auto* records = region_.At<HeapRecord<Config>>(PageTable<Config>::OffsetOf(record_page_));
      for (uint32_t i = 0; i < kPerPage; ++i) {
        HeapRecord<Config>* record = &records[(colour_ + 1 + i) % kPerPage];
        if (record->id_.Get() == 0) return record;
      }
    }
    if (attempt == 0) record_page_ = OpenRecordPage(heap);
    if (record_page_ == kNoPage) return nullptr;
  }
  return nullptr;
}

/**
 * The page has an id of its own, so that it is no heap's; its words keep takers away. It is zero
 * before its kind says that records are here: takers, sweepers and statistics of others read them.
 *
 * Ordering  The kind is released and they acquire it. No test fails without: x86 keeps the order of
 *           stores as it is.
 */
template <typename Config>
uint32_t ProcessBlock<Config>::OpenRecordPage(Heap* heap) noexcept {
  for (;;) {
    uint32_t page = AllocateHint(kRecordsHolder, 1, 1);
    if (page == kNoPage && NewUnit(1)) page = AllocateHint(kRecordsHolder, 1, 1);
    if (page == kNoPage) {
      page = OpenPageOfLiving(heap);
      if (page == kNoPage) return kNoPage;
    } else if (!HasSerials(1) || !root_.CommitPages(page, 1)) {
      ListOrLose(page, 1);
      return kNoPage;
    } else if (!pages().OpenSpan(page, 1, NewHeapId())) {
      ListOrLose(page, 1);
      continue;
    }
    std::memset(region_.base_ + PageTable<Config>::OffsetOf(page), 0, Config::kPageBytes);
    PageEntry* entry = pages().Entry(page);
    entry->used_.Set(1);
    entry->shape_.SetRelease(MakeShape(kKindHeaps));  // pairs with HoldsRecords
    entry->carved_.Set(1);
    return page;
  }
}

/** For the records of a heap, which itself cannot take yet. */
template <typename Config>
uint32_t ProcessBlock<Config>::OpenPageOfLiving(Heap* heap) noexcept {
  typename RootTier<Config>::Guard root(root_);
  if (!root.IsHeld()) return kNoPage;
  for (;;) {
    const uint32_t page = Taker<Config>(this, heap).FreeOnePage();
    if (page == kNoPage || !HasSerials(1)) return kNoPage;
    if (!pages().OpenSpan(page, 1, NewHeapId())) continue;  // its own process was faster
    Claim(kRecordsHolder, page, 1);
    return page;
  }
}

template class ProcessBlock<LargePages>;
template class ProcessBlock<SmallPages>;
template class ProcessBlock<CheckedLargePages>;
template class ProcessBlock<CheckedSmallPages>;

}  // namespace hshm::ipc::multi_process
