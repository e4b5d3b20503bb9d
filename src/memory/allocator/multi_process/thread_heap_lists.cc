/** What a thread's heap keeps at hand: the lists of its mixed class slots, and idle runs. */
#include <algorithm>

#include "hermes_shm/memory/allocator/multi_process/process_block.h"
#include "hermes_shm/memory/allocator/multi_process/thread_heap.h"

namespace hshm::ipc::multi_process {
namespace {

/** Of the region, that a class slot lists at most; above this many MiB it is kMaxListedBytes. */
constexpr uint64_t kListedPart = 256;
/** Of the region, that the pages may be of which a class slot lists a block, if that is more than
 * one: were each block of another page, all classes of narrow pages together keep two fifths. */
constexpr uint64_t kPinnedPart = 128;
/** The same of all slots for runs together, or one run of two pages. */
constexpr uint64_t kListedRunsPart = 64;

/** Places that the list of a class slot for runs gets at a time. */
constexpr uint32_t kRunPlaces = 4;

/** Of a wide class's spans so many are looked at for the one that is refilled from. */
constexpr uint32_t kSpanChoices = 8;

}  // namespace

// ---- what wide classes refill from -----------------------------------------------------------

/** Of the next ones in turn that with the most blocks in use: the others lose theirs meanwhile, and
 * go back when they are empty. Not of an empty list. */
template <typename Config>
uint32_t ThreadHeap<Config>::FullestOf(PageList* list) noexcept {
  uint32_t fullest = list->Next(notes_.data());
  uint32_t most = InUse(fullest);
  for (uint32_t i = 1; i < kSpanChoices && i < list->size(); ++i) {
    const uint32_t page = list->Next(notes_.data());
    const uint32_t used = InUse(page);
    if (used <= most) continue;
    fullest = page;
    most = used;
  }
  return fullest;
}

/** A block of the next class, if that has one free, instead of more pages for a class that has
 * none: classes have their best times one after the other, and each would keep the pages of its
 * own. It is had one at a time, so a class that has no page yet gets one: it may be asked for in a
 * loop. */
template <typename Config>
Offset ThreadHeap<Config>::BorrowLonger(uint64_t size_bytes) noexcept {
  const uint32_t longer = Config::LongerClassOf(size_bytes);
  if (longer == Config::kClassCount || ListOf(kFull + longer - 1).IsEmpty()) return 0;
  if (record_->free_[longer].Get() == 0) {
    if (ListOf(kRoomy + longer).IsEmpty()) return 0;
    room_[longer] = max_listed_[longer];
    if (!RefillFromOwned(longer)) return 0;
  }
  return this->Pop(longer).offset_;
}

// ---- lists of mixed class slots --------------------------------------------------------------

/** Pages of free runs that class slots list, and, with their room, may list. */
template <typename Config>
typename ThreadHeap<Config>::RunPages ThreadHeap<Config>::CountRunPages() const noexcept {
  RunPages sum{};
  for (uint32_t i = 0; i < Config::kMaxSlotRunPages; ++i) {
    sum.listed_ += Listed(i) * (i + 1);
    sum.with_room_ += static_cast<uint32_t>(run_places_[i]) * (i + 1);
  }
  return sum;
}

/** The slot of runs of i + 1 pages has the places that its list needs. */
template <typename Config>
void ThreadHeap<Config>::TakeRoom(uint32_t i) noexcept {
  run_places_[i] = static_cast<int32_t>(Listed(i));
  room_[Config::kFirstRunSlot + i] = 0;
}

/**
 * A slot for runs that has no room gets a few places more, while all of them together list no more
 * than is in use, or than a small part of the region, and with their room twice as much. Else those
 * runs go that were freed first, of each length in turn, which loses its room, too.
 */
template <typename Config>
void ThreadHeap<Config>::MakeRoomForRuns(uint32_t slot) noexcept {
  const uint64_t part = data_bytes_ / Config::kPageBytes / kListedRunsPart;
  const uint64_t unit = std::min(process_->thread_unit_pages(), Config::kMaxListLength);
  const auto most = static_cast<uint32_t>(std::max<uint64_t>(2, std::min(unit, part)));
  const uint32_t in_use = run_pages_ - CountRunPages().listed_;
  const uint32_t limit = std::clamp(in_use, std::min(max_idle_pages_, most), most);
  const uint32_t pages = slot - Config::kFirstRunSlot + 1;
  TakeRoom(pages - 1);
  if (CountRunPages().with_room_ > 2 * limit) {  // much was allocated since
    for (uint32_t i = 0; i < Config::kMaxSlotRunPages; ++i) TakeRoom(i);
  }
  while (CountRunPages().listed_ > limit) {
    const uint32_t turn = trim_turn_;
    trim_turn_ = (trim_turn_ + 1) % Config::kMaxSlotRunPages;
    const uint32_t listed = Listed(turn);
    TrimList(Config::kFirstRunSlot + turn, listed / 2);
    TakeRoom(turn);
    // Whatever is written into a free run, what is not on the list is not counted for ever.
    if (run_places_[turn] > static_cast<int32_t>(listed / 2)) {
      run_places_[turn] = static_cast<int32_t>(listed / 2);
    }
  }
  const auto places =
      static_cast<int32_t>(std::min((limit - CountRunPages().listed_) / pages, kRunPlaces));
  room_[slot] += static_cast<uint32_t>(places);
  run_places_[pages - 1] += places;
}

/** Sleepers keep what they list from others: no more of a class than a small part of the region. */
template <typename Config>
uint32_t ThreadHeap<Config>::MaxListed(uint32_t size_class) const noexcept {
  const uint64_t block_bytes = ClassBytes(size_class);
  const uint64_t bytes = std::min(Config::kMaxListedBytes, data_bytes_ / kListedPart);
  // Each block may be of another page, which stays with it.
  const uint64_t span_bytes = Config::PagesOf(block_bytes) * Config::kPageBytes;
  const uint64_t spans = bits::DivideUp(data_bytes_ / kPinnedPart, span_bytes);
  const uint64_t blocks = std::min(bytes / block_bytes, spans);
  return static_cast<uint32_t>(std::clamp<uint64_t>(blocks, 1, Config::kMaxListedBlocks));
}

/** Of an empty list. */
template <typename Config>
void ThreadHeap<Config>::ResetRoom(uint32_t slot) noexcept {
  if (slot < Config::kFirstRunSlot) {
    room_[slot] = max_listed_[slot];
  } else {
    room_[slot] = 0;
    run_places_[slot - Config::kFirstRunSlot] = 0;
  }
}

/** Of a mixed slot's list the blocks that were freed last stay, the others go to their pages. */
template <typename Config>
void ThreadHeap<Config>::TrimList(uint32_t slot, uint32_t kept_blocks) noexcept {
  OwnedWord<uint64_t>& list = record_->free_[slot];
  Offset last = 0;
  for (uint32_t kept = 0; kept < kept_blocks; ++kept) {
    last = last == 0 ? list.Get() : pages_.NextListed(last);
    if (last != 0) continue;
    // It is short: where a user wrote into a listed block, what was behind it is gone.
    if (slot < Config::kFirstRunSlot) room_[slot] = max_listed_[slot] - kept;
    return;
  }
  // Each block is off the list before it is on its page's: a death in between loses that one.
  while (const Offset block = last == 0 ? list.Get() : pages_.NextListed(last)) {
    const Offset next = pages_.NextListed(block);
    last == 0 ? list.Set(next) : pages_.SetLink(last, next);
    ++room_[slot];
    SendHome(block);
  }
}

/** All of them. */
template <typename Config>
void ThreadHeap<Config>::TrimLists() noexcept {
  for (uint32_t slot = Config::kFirstMixedSlot; slot < Config::kSlotCount; ++slot) {
    TrimList(slot, 0);
  }
  for (uint32_t i = 0; i < Config::kMaxSlotRunPages; ++i) TakeRoom(i);
}

template <typename Config>
void ThreadHeap<Config>::SettleAll() noexcept {
  BeginCall();
  const SlowPath lock(*this);
  if (!lock.IsHeld()) return;
  for (uint32_t slot = Config::kFirstMixedSlot; slot < Config::kSlotCount; ++slot) {
    SettleMixed(slot);
    ResetRoom(slot);
  }
  for (uint32_t c = 0; c < Config::kClassCount; ++c) {
    const bool is_done = c >= Config::kFirstMixedSlot;
    const uint32_t settled = is_done ? kNoPage : pages_.Settle(&record_->free_[c]);
    if (settled != kNoPage) pages_.Recount(settled);
    if (in_hand_[c] == nullptr) continue;
    const auto page = static_cast<uint32_t>(in_hand_[c] - pages_.Entry(0));
    if (page != settled) pages_.Recount(page);
    in_hand_[c] = nullptr;
    ListRoom(page, c);
  }
}

/** Lock held: sends home what a mixed slot lists. Where a refill was cut, its page names the rest.
 */
template <typename Config>
void ThreadHeap<Config>::SettleMixed(uint32_t slot) noexcept {
  OwnedWord<uint64_t>& list = record_->free_[slot];
  const PageEntry* in_hand = slot < Config::kClassCount ? in_hand_[slot] : nullptr;
  if (in_hand != nullptr && in_hand->local_.Get() != 0) {
    pages_.EndListAt(&list, in_hand->local_.Get());
  }
  while (const Offset block = list.Get()) {
    list.Set(pages_.NextListed(block));
    const uint32_t page = GiveHome(block).page_;
    if (slot < Config::kFirstRunSlot && page != kNoPage) ListRoom(page, slot);
  }
}

/** A free block that no list has: onto that of its page. */
template <typename Config>
typename ThreadHeap<Config>::Home ThreadHeap<Config>::GiveHome(Offset block) noexcept {
  const uint32_t page = pages_.HeadOf(PageTable<Config>::PageOf(block));
  PageEntry* entry = pages_.Entry(page);
  pages_.RequireFree(page, block);
  if (entry->owner_.Get() != id_) {
    pages_.Push(page, block);
    return {kNoPage, false};
  }
  const Offset local = entry->local_.Get();
  pages_.SetLink(block, local);
  entry->local_.Set(block);
  const bool is_empty = entry->used_.LowerRelease();  // from here on others may take the page
  return {page, is_empty || local == 0};
}

template <typename Config>
void ThreadHeap<Config>::SendHome(Offset block) noexcept {
  const Home home = GiveHome(block);
  if (home.waits_) FinishPage(home.page_);
}

// ---- idle runs -------------------------------------------------------------------------------

/** The one block of a run is on its page's list: a refill of one block, straight to the user. */
template <typename Config>
Offset ThreadHeap<Config>::AllocateIdleRun(uint32_t pages) noexcept {
  const uint32_t end = bits::Min(pages + IdleSlack<Config>(pages), kMaxIdleRunPages) + 1;
  for (;;) {
    const uint32_t lengths = idle_lengths_ >> pages & ((1u << (end - pages)) - 1);
    if (lengths == 0) return 0;
    const SlowPath lock(*this);
    if (HSHM_UNLIKELY(!lock.IsHeld())) return 0;  // they stay for who has the lock again
    const uint32_t page = ListOf(kIdle + pages + bits::TrailingZeros(lengths)).front();
    Unlist(page);
    PageEntry* entry = pages_.Entry(page);
    if (entry->owner_.Get() != id_) {
      List(page, kGone);
      continue;
    }
    List(page, kRuns);
    if (entry->used_.Get() != 0 || entry->local_.Get() == 0) continue;
    entry->used_.Set(1);
    pages_.SetKeys(page, id_);
    entry->local_.Set(0);  // commit
    pages_.GiveRun(PageTable<Config>::OffsetOf(page));
    return PageTable<Config>::OffsetOf(page);
  }
}

/** A run that has become empty stays; of too many the one goes that was idle longest. */
template <typename Config>
bool ThreadHeap<Config>::KeepIdle(uint32_t page) noexcept {
  const uint32_t span = notes_[page].span_;
  if (notes_[page].list_ != kRuns || span > kMaxIdleRunPages) return false;
  Unlist(page);
  const uint32_t limit = std::max(max_idle_pages_, (run_pages_ - CountRunPages().listed_) / 2);
  uint32_t before = 0;
  while (idle_pages_ != before && idle_pages_ + span > limit) {
    before = idle_pages_;
    LetIdleGo();  // not when somebody stopped in the middle of taking from us
  }
  List(page, kIdle + span);
  idle_pages_ += span;
  idle_lengths_ |= 1u << span;
  return idle_pages_ <= limit;
}

/** Of each length in turn: what is asked for often comes back. */
template <typename Config>
void ThreadHeap<Config>::LetIdleGo() noexcept {
  if (idle_lengths_ == 0) return;
  const uint32_t later = idle_lengths_ >> idle_turn_ << idle_turn_;
  const uint32_t length = bits::TrailingZeros(later != 0 ? later : idle_lengths_);
  idle_turn_ = length + 1;
  Visit(ListOf(kIdle + length).back(), true);
}

template class ThreadHeap<LargePages>;
template class ThreadHeap<SmallPages>;
template class ThreadHeap<CheckedLargePages>;
template class ThreadHeap<CheckedSmallPages>;

}  // namespace hshm::ipc::multi_process
