#ifndef HSHM_INTRUSIVE_SLIST_H_
#define HSHM_INTRUSIVE_SLIST_H_

#include <concepts>
#include <cstdint>
#include <iterator>
#include <type_traits>

#include "hermes_shm/base/check.h"
#include "hermes_shm/base/types.h"
#include "hermes_shm/intrusive/chain.h"

namespace hshm::ipc {

/** Base of whatever lies in a slist. In one list at a time. */
struct slist_node {
  Offset next_ = kNullOffset;  // [owner] of the list
};
static_assert(std::is_standard_layout_v<slist_node>);
static_assert(sizeof(slist_node) == 8);

namespace pre {

/**
 * A singly linked list of nodes that its user provides, all in one region; the list itself may lie
 * there too. Links are offsets, so every call takes the base of the region in this process. Zeroed
 * memory is an empty list.
 *
 * One writer at a time, and no reader meanwhile: it has no protocol of its own. A writer that dies
 * inside a call leaves a list that its successor must rebuild.
 */
template <typename T>
class slist {
 public:
  using iterator = ChainIterator<T, slist_node>;
  using range = ChainRange<T, slist_node>;

  slist() noexcept { static_assert(std::derived_from<T, slist_node>); }
  slist(const slist&) = delete;
  slist& operator=(const slist&) = delete;

  HSHM_CROSS_FUN bool empty() const noexcept { return head_ == kNullOffset; }
  HSHM_CROSS_FUN uint64_t size() const noexcept { return size_; }
  HSHM_CROSS_FUN range elements(char* base) const noexcept { return {iterator(base, head_)}; }

  /** Null when the list is empty. */
  HSHM_CROSS_FUN T* front(char* base) const noexcept {
    return empty() ? nullptr : ElementAt(base, head_);
  }

  HSHM_CROSS_FUN void push_front(char* base, T* element) noexcept {
    slist_node* node = element;
    node->next_ = head_;
    head_ = OffsetOfNode(base, node);
    ++size_;
  }

  /** Null when the list is empty. */
  HSHM_CROSS_FUN T* pop_front(char* base) noexcept {
    if (empty()) return nullptr;
    HSHM_CHECK(size_ != 0);
    slist_node* node = NodeAt<slist_node>(base, head_);
    head_ = node->next_;
    --size_;
    return static_cast<T*>(node);
  }

  /** Takes an element out, wherever it is: O(size). False when it is not in this list. */
  HSHM_CROSS_FUN bool erase(char* base, T* element) noexcept {
    slist_node* node = element;
    const Offset sought = OffsetOfNode(base, node);
    Offset* link = &head_;
    for (uint64_t left = size_; *link != kNullOffset; --left) {
      HSHM_CHECK(left != 0);  // a longer chain than elements: the links run in a circle
      if (*link == sought) {
        *link = node->next_;
        --size_;
        return true;
      }
      link = &NodeAt<slist_node>(base, *link)->next_;
    }
    return false;
  }

 private:
  HSHM_CROSS_FUN static T* ElementAt(char* base, Offset at) noexcept {
    return static_cast<T*>(NodeAt<slist_node>(base, at));
  }

  Offset head_ = kNullOffset;  // [owner]
  uint64_t size_ = 0;          // [owner]
};
static_assert(std::is_standard_layout_v<slist<slist_node>>);
static_assert(sizeof(slist<slist_node>) == 16);
static_assert(std::forward_iterator<slist<slist_node>::iterator>);

}  // namespace pre
}  // namespace hshm::ipc

#endif  // HSHM_INTRUSIVE_SLIST_H_
