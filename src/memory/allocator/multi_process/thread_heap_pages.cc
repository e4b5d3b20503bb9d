/** Pages of a thread's heap: opening, returning, growing in place. */
#include <algorithm>
#include <cstring>

#include "hermes_shm/memory/allocator/multi_process/process_block.h"
#include "hermes_shm/memory/allocator/multi_process/thread_heap.h"

namespace hshm::ipc::multi_process {
namespace {

/** Memory made usable at a time, at most: larger steps make pages resident that no one uses. */
constexpr uint64_t kMaxCommitBytes = 512 * 1024;

/** A heap joins free pages before it asks for another thread unit when so much of one is free. */
constexpr uint32_t kIdleUnitPart = 4;

}  // namespace

template <typename Config>
uint32_t ThreadHeap<Config>::OpenPages(PageKind kind, uint32_t pages, uint32_t alignment,
                                       Effort effort) noexcept {
  is_out_of_memory_ = false;
  if (effort == Effort::kPressure) {
    Flush();
    process_->Scavenge(this);
  }
  const bool from_root = effort >= Effort::kRoot;
  while (!is_out_of_memory_) {
    uint32_t first = BuddyEngine::kNone;
    if (IsWorthJoining(pages, alignment, effort)) first = Engine().Allocate(pages, alignment);
    if (first == BuddyEngine::kNone) {
      if (effort < Effort::kProcess) return kNoPage;
      bool gave_unit = false;
      first = process_->HintFor(this, pages, alignment, from_root, &gave_unit);
      if (gave_unit) continue;
      if (first == kNoPage) break;
    }
    const uint32_t head = OpenHint(kind, first, pages);
    if (head != kNoPage) return head;
  }
  if (effort < Effort::kTake) return kNoPage;
  PostPending();     // a page of others of whose blocks we had the last can be taken then
  is_zero_ = false;  // a sleeper had them
  const uint32_t head = process_->TakeFor(this, pages, alignment);
  if (head != kNoPage) ++opened_spans_;
  return head;
}

/**
 * Whether the free pages of its units are to be asked. When no single block will do, joining
 * several reads all of them: that waits until a good part of a unit would lie idle otherwise, or
 * until the root would have to give more.
 */
template <typename Config>
bool ThreadHeap<Config>::IsWorthJoining(uint32_t pages, uint32_t alignment,
                                        Effort effort) const noexcept {
  if (free_pages_.nonempty_ >> bits::CeilLog2(std::max(pages, alignment)) != 0) return true;
  if (effort >= Effort::kRoot) return true;
  return effort == Effort::kProcess &&
         free_pages_.free_granules_ >= process_->thread_unit_pages() / kIdleUnitPart;
}

/** The hint is off all lists. Another may have opened its pages, or there is no memory for them. */
template <typename Config>
uint32_t ThreadHeap<Config>::OpenHint(PageKind kind, uint32_t first, uint32_t pages) noexcept {
  bool is_open = false;
  const bool is_wide = kind == kKindClass && pages > 1;
  if (is_wide ? process_->root().CommitPages(first, 1) : CommitFor(first, pages)) {
    const SlowPath lock(*this);
    is_out_of_memory_ = !lock.IsHeld();  // somebody stopped in the middle of taking from us
    if (lock.IsHeld() && pages_.OpenSpan(first, pages, id_, &is_zero_)) {
      pages_.Entry(first)->used_.Set(1);  // nobody takes it until its first block is out
      is_open = true;
    }
  } else {
    is_out_of_memory_ = true;
  }
  if (!is_open) {
    ReturnPages(first, pages);
    return kNoPage;
  }
  NoteOwned(first, pages);
  ++opened_spans_;
  return first;
}

template <typename Config>
bool ThreadHeap<Config>::CommitFor(uint32_t first, uint32_t pages) noexcept {
  const RootTier<Config>& root = process_->root();
  if (pages == 1 && pages_.Entry(first)->committed_.Get() != kNotCommitted) return true;
  if (pages == 1 && process_->HomeOf(first) == index_ + 1) {
    const uint32_t unit_pages = process_->thread_unit_pages();
    const uint32_t unit_end = (first / unit_pages + 1) * unit_pages;
    const uint32_t ahead = std::min(commit_pages_, unit_end - first);
    if (root.CommitPages(first, ahead)) {
      commit_pages_ = std::min<uint32_t>(2 * commit_pages_, kMaxCommitBytes / Config::kPageBytes);
      return true;
    }
  }
  return root.CommitPages(first, pages);
}

/** The blocks of a wide page are few and large: its memory is asked for as they are listed. */
template <typename Config>
bool ThreadHeap<Config>::CarveMore(uint32_t head, uint32_t size_class) noexcept {
  if (pages_.Entry(head)->span_.Get() > 1) {
    const auto [place, count] = pages_.NextToCarve(head, kCarveBytes);
    const auto begin = static_cast<uint32_t>(place / Config::kPageBytes);
    const auto end = static_cast<uint32_t>(
        bits::DivideUp(place + count * ClassBytes(size_class), Config::kPageBytes));
    if (!process_->root().CommitPages(head + begin, end - begin)) return false;
  }
  return pages_.Carve(head, kCarveBytes);
}

template <typename Config>
void ThreadHeap<Config>::ReturnPages(uint32_t first, uint32_t pages) noexcept {
  const uint32_t unit_pages = process_->thread_unit_pages();
  const uint32_t end = first + pages;
  while (first < end) {
    // One thread unit at a time: each page goes back to where it is at home.
    const uint32_t part = std::min(end, (first / unit_pages + 1) * unit_pages) - first;
    if (process_->HomeOf(first) == index_ + 1) {
      FreeToUnit(first, part);
    } else {
      process_->ReturnPages(this, first, part);
    }
    first += part;
  }
}

template <typename Config>
void ThreadHeap<Config>::FreeToUnit(uint32_t first, uint32_t pages) noexcept {
  BuddyEngine engine = Engine();
  uint32_t order = 0;
  const uint32_t end = first + pages;
  for (uint32_t page = first; page < end;) {
    const uint32_t listed = engine.FirstFreeIn(page, end);  // a hint that we had all along
    while (page < listed) {
      uint32_t run = page;
      while (run < listed && pages_.Entry(run)->owner_.Get() == kFreePage) ++run;
      if (run != page) engine.Free(page, run - page);
      // Somebody opened it: lost until it is free again.
      if (run < listed) process_->ReturnPages(this, run++, 1);
      page = run;
    }
    while (page < end && engine.IsFree(page)) ++page;
  }
  // One whole thread unit may stay; a second one goes back, so that others can use it.
  const uint32_t unit_pages = process_->thread_unit_pages();
  if (engine.free_granules() >= 2 * uint64_t{unit_pages} &&
      engine.FreeBlockAt(first, &order) != BuddyEngine::kNone &&
      order == process_->thread_unit_log2_) {
    process_->ReturnThreadUnit(this, first);
  }
}

// ---- zeroed ----------------------------------------------------------------------------------

template <typename Config>
Offset ThreadHeap<Config>::AllocateZeroed(uint64_t size_bytes) noexcept {
  is_zero_ = false;  // of a run that was idle, or a sleeper's, nothing is known
  const Offset block = Allocate(size_bytes);
  if (block == 0) return 0;
  if (size_bytes <= Config::kMaxClassBytes) {
    std::memset(this->AddressOf(block), 0, size_bytes);  // its page is not its own
  } else if (!is_zero_) {
    pages_.region().Clear(block, size_bytes);
  }
  return block;
}

// ---- in place --------------------------------------------------------------------------------

template <typename Config>
uint64_t ThreadHeap<Config>::UsableBytes(Offset block) const noexcept {
  const uint32_t page = PageTable<Config>::PageOf(block);
  if (pages_.Entry(page)->owner_.Get() != kFreePage) {
    return pages_.BlockBytes(pages_.HeadOf(page));
  }
  const RootTier<Config>& root = process_->root();
  const uint32_t word = root.Head(root.GranuleOf(page));
  if (HeadWord::KindOf(word) != HeadWord::kLarge || HeadWord::IsFreed(word) ||
      block % root.granule_bytes() != 0) {
    process_->StopForLarge("Reallocate", block);
  }
  return HeadWord::Granules(word) * root.granule_bytes();
}

template <typename Config>
void ThreadHeap<Config>::RequireSize(const char* operation, Offset block, uint64_t size_bytes,
                                     uint64_t alignment) const noexcept {
  const uint64_t usable = UsableBytes(block);
  const uint64_t size = std::max<uint64_t>(size_bytes, 1);
  const uint64_t rounded = alignment > kDefaultAlignment ? bits::AlignUp(size, alignment) : size;
  // A request of a class may have got pages of its own, where no page of the class was to be had.
  const uint64_t of_class =
      rounded <= Config::kMaxClassBytes ? ClassBytes(ClassOf(rounded)) : ~uint64_t{0};
  const uint64_t step = size <= process_->process_unit_bytes() ? Config::kPageBytes
                                                               : process_->root().granule_bytes();
  const bool is_right = usable == of_class || usable == bits::AlignUp(size, step) ||
                        usable == bits::AlignUp(size, Config::kPageBytes) ||
                        usable == bits::AlignUp(of_class, Config::kPageBytes);
  if (!is_right) defect::WrongSize(operation, block, size_bytes, usable);
}

template <typename Config>
bool ThreadHeap<Config>::ResizeInPlace(Offset block, uint64_t new_bytes) noexcept {
  const uint32_t page = PageTable<Config>::PageOf(block);
  if (pages_.Entry(page)->owner_.Get() == kFreePage) return process_->ResizeLarge(block, new_bytes);
  const uint32_t head = pages_.HeadOf(page);
  PageEntry* entry = pages_.Entry(head);
  const uint64_t usable = pages_.BlockBytes(head);
  if (KindOf(entry->shape_.Get()) == kKindClass) {
    return new_bytes <= usable && new_bytes >= usable / 2;
  }
  if (new_bytes <= Config::kMaxClassBytes) return false;  // a class block is enough
  if (new_bytes > data_bytes_) return false;
  const auto pages = static_cast<uint32_t>(bits::DivideUp(new_bytes, Config::kPageBytes));
  const uint32_t present = entry->span_.Get();
  if (pages == present) return true;
  if (entry->owner_.Get() != id_) {
    return pages < present && 2 * pages >= present;  // only its owner may change the span
  }
  // No moment of a death, or of a fork, leaves the run to the slot of longer ones.
  entry->key_.Set(page_key_);
  entry->shape_.Set(MakeShape(kKindRun) | (entry->shape_.Get() & kAdopted));
  const bool is_resized = ResizeRun(head, present, pages);
  const uint32_t slot = Config::RunSlot(is_resized ? pages : present);
  entry->shape_.Set(MakeShape(kKindRun, slot) | (entry->shape_.Get() & kAdopted));
  pages_.SetKeys(head, id_);
  return is_resized;
}

/** Of a run of this heap, in which somebody has its block. */
template <typename Config>
bool ThreadHeap<Config>::ResizeRun(uint32_t head, uint32_t present, uint32_t pages) noexcept {
  if (pages < present) {
    pages_.ShrinkSpan(head, pages);
    NoteSpan(head, pages);
    ReturnPages(head + pages, present - pages);
    return true;
  }
  const uint32_t next = head + present;
  const uint32_t more = pages - present;
  if (next + more > process_->root().header().page_count_) return false;
  if (!Engine().TakeRange(next, more) && !process_->TakeFreePages(this, next, more)) return false;
  if (process_->root().CommitPages(next, more) && pages_.ExtendSpan(head, pages)) {
    NoteSpan(head, pages);
    return true;
  }
  pages_.ShrinkSpan(head, present);
  ReturnPages(next, more);
  return false;
}

template class ThreadHeap<LargePages>;
template class ThreadHeap<SmallPages>;
template class ThreadHeap<CheckedLargePages>;
template class ThreadHeap<CheckedSmallPages>;

}  // namespace hshm::ipc::multi_process
