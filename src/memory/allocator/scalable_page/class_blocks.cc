#include "hermes_shm/memory/allocator/scalable_page/class_blocks.h"

#include <algorithm>
#include <bit>

#include "hermes_shm/base/defects.h"

namespace hshm::ipc::scalable_page {

using multi_process::ClassBytes;
using multi_process::ClassOfShape;
using multi_process::KindOf;
using multi_process::kKindClass;
using multi_process::MakeShape;

template <typename Config>
ClassBlocks<Config>::Guard::Guard(ClassBlocks& blocks, uint32_t size_class) noexcept
    : lock_(blocks.ClassOf(size_class).lock_, blocks.pool_->members(), blocks.pool_->patience()) {
  if (lock_.OwnerDied()) blocks.Rebuild(size_class);
}

template <typename Config>
void ClassBlocks<Config>::Count(ClassHeader& owner, int64_t blocks) noexcept {
  // relaxed, both: changes under the lock, read as a figure
  const uint64_t before = owner.live_blocks_.load(std::memory_order_relaxed);
  owner.live_blocks_.store(before + static_cast<uint64_t>(blocks), std::memory_order_relaxed);
}

template <typename Config>
uint32_t ClassBlocks<Config>::CountMarks(uint32_t head) const noexcept {
  const OwnedWord<uint64_t>* marks = pool_->MarksOf(head);
  uint32_t set = 0;
  for (uint32_t i = 0; i < PageMarks<Config>::kWords; ++i) {
    set += static_cast<uint32_t>(std::popcount(marks[i].Get()));
  }
  return set;
}

// ---- allocate
// ------------------------------------------------------------------------------------

template <typename Config>
Offset ClassBlocks<Config>::Allocate(uint32_t size_class) noexcept {
  const Guard guard(*this, size_class);
  if (!guard.IsHeld()) return 0;
  const uint32_t head = RoomyPage(size_class);
  return head == kNoPage ? 0 : TakeBlock(head, size_class);
}

/** A page with room; the empty one that is kept only when there is no other. */
template <typename Config>
uint32_t ClassBlocks<Config>::RoomyPage(uint32_t size_class) noexcept {
  ClassHeader& owner = ClassOf(size_class);
  if (HSHM_UNLIKELY(owner.roomy_.IsEmpty())) return OpenPage(size_class);
  RequirePage(owner.roomy_.front(), size_class);
  if (owner.roomy_.front() + 1 == owner.spare_ && owner.roomy_.size() > 1) {
    RequirePage(owner.roomy_.back(), size_class);
    return owner.roomy_.Rotate(pool_->notes());
  }
  return owner.roomy_.front();
}

/** The heads of lists lie in memory that anybody may have overwritten. */
template <typename Config>
void ClassBlocks<Config>::RequirePage(uint32_t head, uint32_t size_class) const noexcept {
  const bool is_page = head >= pool_->header().first_page_ && head < pool_->Frontier();
  if (is_page && pool_->pages().Entry(head)->shape_.Get() == MakeShape(kKindClass, size_class)) {
    return;
  }
  defect::Corruption("a list of pages with room, which names the page", head);
}

template <typename Config>
uint32_t ClassBlocks<Config>::OpenPage(uint32_t size_class) noexcept {
  ClassHeader& owner = ClassOf(size_class);
  const uint32_t pages = PagesOf(size_class);
  const uint32_t head = pool_->Open(pages, 1, MakeShape(kKindClass, size_class));
  if (head == kNoPage) return kNoPage;
  pool_->notes()[head] = PageNote{};  // a death may have left it listed
  if (!pool_->Commit(head, pages)) {
    static_cast<void>(pool_->Close(head));
    return kNoPage;
  }
  owner.roomy_.PushFront(pool_->notes(), head, kRoomyList);
  owner.spare_ = owner.spare_ == 0 ? head + 1 : owner.spare_;
  return head;
}

template <typename Config>
Offset ClassBlocks<Config>::TakeBlock(uint32_t head, uint32_t size_class) noexcept {
  ClassHeader& owner = ClassOf(size_class);
  PageEntry* entry = pool_->pages().Entry(head);
  OwnedWord<uint64_t>* marks = pool_->MarksOf(head);
  const uint32_t capacity = pool_->pages().Capacity(head);
  uint32_t word = entry->carved_.Get();
  while (word < PageMarks<Config>::kWords && marks[word].Get() == ~uint64_t{0}) ++word;
  const uint64_t seen = word < PageMarks<Config>::kWords ? marks[word].Get() : 0;
  const auto bit = static_cast<uint32_t>(std::countr_one(seen));
  const uint32_t index = word * 64 + bit;
  if (index >= capacity) {
    defect::Corruption("the marks of a page", PagePool<Config>::Pages::OffsetOf(head));
  }
  if (owner.spare_ == head + 1) owner.spare_ = 0;
  marks[word].Set(seen | uint64_t{1} << bit);  // commit
  entry->carved_.Set(word);
  const uint32_t used = entry->used_.Get() + 1;
  entry->used_.Set(used);
  if (used == capacity) owner.roomy_.Remove(pool_->notes(), head);
  Count(owner, 1);
  return PagePool<Config>::Pages::OffsetOf(head) + index * ClassBytes(size_class);
}

// ---- free
// ----------------------------------------------------------------------------------------

/** Lock held: nobody else changes the page. */
template <typename Config>
uint32_t ClassBlocks<Config>::IndexAt(const char* operation, uint32_t head, uint32_t size_class,
                                      Offset block) const noexcept {
  const PageEntry* entry = pool_->pages().Entry(head);
  const uint64_t place = block - PagePool<Config>::Pages::OffsetOf(head);
  const uint64_t bytes = ClassBytes(size_class);
  if (entry->shape_.Get() != MakeShape(kKindClass, size_class) || place % bytes != 0 ||
      place / bytes >= pool_->pages().Capacity(head)) {
    defect::InvalidFree(operation, block);
  }
  const auto index = static_cast<uint32_t>(place / bytes);
  if ((pool_->MarksOf(head)[index / 64].Get() >> index % 64 & 1) == 0) {
    defect::DoubleFree(operation, block);
  }
  return index;
}

template <typename Config>
uint64_t ClassBlocks<Config>::BytesAt(const char* operation, uint32_t head, Offset block) noexcept {
  const uint32_t size_class = ClassOfShape(pool_->pages().Entry(head)->shape_.Get());
  const Guard guard(*this, size_class);
  if (guard.IsHeld()) static_cast<void>(IndexAt(operation, head, size_class, block));
  return ClassBytes(size_class);
}

template <typename Config>
void ClassBlocks<Config>::Free(uint32_t head, Offset block) noexcept {
  PageEntry* entry = pool_->pages().Entry(head);
  const uint32_t size_class = ClassOfShape(entry->shape_.Get());
  const Guard guard(*this, size_class);
  if (!guard.IsHeld()) return;  // a stopped holder: the block stays
  ClassHeader& owner = ClassOf(size_class);
  const uint32_t index = IndexAt("FreeOffset", head, size_class, block);
  const uint32_t word = index / 64;
  OwnedWord<uint64_t>& marks = pool_->MarksOf(head)[word];
  marks.Set(marks.Get() & ~(uint64_t{1} << index % 64));  // commit
  entry->carved_.Set(std::min(entry->carved_.Get(), word));
  const uint32_t used = entry->used_.Get();
  entry->used_.Set(used - 1);
  Count(owner, -1);
  if (used == pool_->pages().Capacity(head)) {
    owner.roomy_.PushFront(pool_->notes(), head, kRoomyList);
  }
  if (used != 1) return;
  // One empty page stays, so that a block that comes and goes does not open a page each time.
  if (owner.spare_ == 0 || !ClosePage(head, owner)) owner.spare_ = head + 1;
}

/** Lock held, no mark set. False, and the page stays listed, when the pages' lock cannot be had. */
template <typename Config>
bool ClassBlocks<Config>::ClosePage(uint32_t head, ClassHeader& owner) noexcept {
  if (pool_->notes()[head].list_ != 0) owner.roomy_.Remove(pool_->notes(), head);
  if (pool_->Close(head)) return true;
  owner.roomy_.PushFront(pool_->notes(), head, kRoomyList);
  return false;
}

template <typename Config>
void ClassBlocks<Config>::ReleaseSpares() noexcept {
  for (uint32_t c = 0; c < Config::kClassCount; ++c) {
    const Guard guard(*this, c);
    if (!guard.IsHeld()) continue;
    ClassHeader& owner = ClassOf(c);
    if (owner.spare_ == 0) continue;
    RequirePage(owner.spare_ - 1, c);
    if (ClosePage(owner.spare_ - 1, owner)) owner.spare_ = 0;
  }
}

// ---- repair
// --------------------------------------------------------------------------------------

/** Lock held. Makes the class's list and counts from the shapes and marks of its pages. */
template <typename Config>
void ClassBlocks<Config>::Rebuild(uint32_t size_class) noexcept {
  ClassHeader& owner = ClassOf(size_class);
  owner.roomy_ = PageList{};
  owner.spare_ = 0;
  uint64_t live = 0;
  const uint32_t frontier = pool_->Frontier();
  for (uint32_t page = pool_->header().first_page_; page < frontier; ++page) {
    PageEntry* entry = pool_->pages().Entry(page);
    if (entry->shape_.Get() != MakeShape(kKindClass, size_class)) continue;
    pool_->notes()[page] = PageNote{};
    const uint32_t used = CountMarks(page);
    entry->used_.Set(used);
    entry->carved_.Set(0);
    live += used;
    // An empty page may still lack its memory: it goes, or else is listed with it or not at all.
    if (used == 0 && (pool_->Close(page) || !pool_->Commit(page, PagesOf(size_class)))) continue;
    if (used < pool_->pages().Capacity(page)) {
      owner.roomy_.PushFront(pool_->notes(), page, kRoomyList);
    }
  }
  owner.live_blocks_.store(live, std::memory_order_relaxed);  // relaxed: a figure
}

template class ClassBlocks<multi_process::LargePages>;
template class ClassBlocks<multi_process::SmallPages>;

}  // namespace hshm::ipc::scalable_page
