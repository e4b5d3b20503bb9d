#ifndef HSHM_MEMORY_ALLOCATOR_SCALABLE_PAGE_CLASS_BLOCKS_H_
#define HSHM_MEMORY_ALLOCATOR_SCALABLE_PAGE_CLASS_BLOCKS_H_

#include "hermes_shm/memory/allocator/scalable_page/page_pool.h"

namespace hshm::ipc::scalable_page {

/**
 * The blocks of the size classes as one process sees them. A class at a time, under its lock.
 * Protocol: docs/protocols.md, F.
 *
 * Invariant  A block of a class page is somebody's if and only if its mark is set. The marks of a
 *            class's pages, and which pages are the class's, change under its lock alone; a page
 * that holds a block has its memory. Ordering   The mutex; for a dead holder's stores, its taker's
 * query. ABA        None: nothing is changed outside of the lock. Crash      Each operation is one
 * store of a word of marks. The next holder finds the class's pages by their shapes, counts their
 * marks, lists those with room and lets the empty ones go. Repeatable from any point.
 */
template <typename Config>
class HSHM_API ClassBlocks {
 public:
  ClassBlocks() = default;
  explicit ClassBlocks(PagePool<Config>* pool) : pool_(pool) {}

  static constexpr uint32_t PagesOf(uint32_t size_class) {
    return Config::PagesOf(multi_process::ClassBytes(size_class));
  }

  /** 0 when there is no page for the class. */
  Offset Allocate(uint32_t size_class) noexcept;

  /** A block of a class page, by its head. Stops with InvalidFree or DoubleFree when it is none. */
  void Free(uint32_t head, Offset block) noexcept;

  /** Bytes of the block. Stops as Free does. */
  uint64_t BytesAt(const char* operation, uint32_t head, Offset block) noexcept;

  /** Lets the empty page go that each class keeps, and repairs what the dead left in any class. */
  void ReleaseSpares() noexcept;

  /** A class's lock for a scope; its lists are right when it is held. */
  class Guard {
   public:
    Guard(ClassBlocks& blocks, uint32_t size_class) noexcept;
    bool IsHeld() const noexcept { return lock_.IsHeld(); }

   private:
    HeldLock lock_;
  };

  // ---- with the class's lock held ------------------------------------------------------------

  ClassHeader& ClassOf(uint32_t size_class) const noexcept {
    return pool_->header().classes_[size_class];
  }
  /** Marks that are set in a class page. */
  uint32_t CountMarks(uint32_t head) const noexcept;

 private:
  static constexpr uint32_t kRoomyList = 1;  // in PageNote::list_

  uint32_t RoomyPage(uint32_t size_class) noexcept;
  void RequirePage(uint32_t head, uint32_t size_class) const noexcept;
  uint32_t OpenPage(uint32_t size_class) noexcept;
  Offset TakeBlock(uint32_t head, uint32_t size_class) noexcept;
  bool ClosePage(uint32_t head, ClassHeader& owner) noexcept;
  uint32_t IndexAt(const char* operation, uint32_t head, uint32_t size_class,
                   Offset block) const noexcept;
  void Count(ClassHeader& owner, int64_t blocks) noexcept;
  void Rebuild(uint32_t size_class) noexcept;

  PagePool<Config>* pool_ = nullptr;
};

extern template class ClassBlocks<multi_process::LargePages>;
extern template class ClassBlocks<multi_process::SmallPages>;

}  // namespace hshm::ipc::scalable_page

#endif  // HSHM_MEMORY_ALLOCATOR_SCALABLE_PAGE_CLASS_BLOCKS_H_
