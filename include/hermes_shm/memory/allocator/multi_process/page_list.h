#ifndef HSHM_MEMORY_ALLOCATOR_MULTI_PROCESS_PAGE_LIST_H_
#define HSHM_MEMORY_ALLOCATOR_MULTI_PROCESS_PAGE_LIST_H_

#include <cstdint>

#include "hermes_shm/base/check.h"

namespace hshm::ipc::multi_process {

/**
 * What one heap notes of one page, in private memory. Zero: in none of its lists. These are hints:
 * whose the page is says its owner word alone.
 */
struct PageNote {
  uint32_t next_;  // page + 1 of the next in the list, 0 ends it
  uint32_t prev_;  // page + 1 of the one before, 0: the first
  uint32_t list_;  // number of the list that has the page, 0: none
  uint32_t span_;  // pages of the span that begins here, as this heap last saw it
};

/** A doubly linked list of page numbers over the notes of one heap. Not synchronised. */
class PageList {
 public:
  bool IsEmpty() const { return head_ == 0; }
  uint32_t size() const { return size_; }
  /** Only when not empty. */
  uint32_t front() const { return head_ - 1; }

  uint32_t back() const { return tail_ - 1; }

  void PushFront(PageNote* notes, uint32_t page, uint32_t list) {
    PageNote& note = notes[page];
    HSHM_ASSERT(note.list_ == 0);
    note = {head_, 0, list, note.span_};
    if (head_ != 0) {
      notes[head_ - 1].prev_ = page + 1;
    } else {
      tail_ = page + 1;
    }
    head_ = page + 1;
    ++size_;
  }
  void Remove(PageNote* notes, uint32_t page) {
    const PageNote note = notes[page];
    if (cursor_ == page + 1) cursor_ = note.next_;
    if (note.prev_ != 0) {
      notes[note.prev_ - 1].next_ = note.next_;
    } else {
      head_ = note.next_;
    }
    if (note.next_ != 0) {
      notes[note.next_ - 1].prev_ = note.prev_;
    } else {
      tail_ = note.prev_;
    }
    notes[page] = {0, 0, 0, note.span_};
    --size_;
  }
  /** The last becomes the first; so that a few a time are visited in turn. */
  uint32_t Rotate(PageNote* notes) {
    const uint32_t page = tail_ - 1;
    const uint32_t list = notes[page].list_;
    Remove(notes, page);
    PushFront(notes, page, list);
    return page;
  }
  /** One after the other, again and again; the newest are met in the next turn. Not when empty. */
  uint32_t Next(const PageNote* notes) {
    if (cursor_ == 0) cursor_ = head_;
    const uint32_t page = cursor_ - 1;
    cursor_ = notes[page].next_;
    return page;
  }
  /** Calls visit(page) for each; visit may remove the page it is given. */
  template <typename Visit>
  void ForEach(PageNote* notes, Visit visit) const {
    for (uint32_t link = head_; link != 0;) {
      const uint32_t next = notes[link - 1].next_;
      visit(link - 1);
      link = next;
    }
  }

 private:
  uint32_t head_ = 0;
  uint32_t tail_ = 0;
  uint32_t cursor_ = 0;  // page + 1 of what Next says next, 0: the first
  uint32_t size_ = 0;
};

}  // namespace hshm::ipc::multi_process

#endif  // HSHM_MEMORY_ALLOCATOR_MULTI_PROCESS_PAGE_LIST_H_
