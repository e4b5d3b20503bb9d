#ifndef HSHM_INTRUSIVE_LIST_H_
#define HSHM_INTRUSIVE_LIST_H_

#include <concepts>
#include <cstdint>
#include <iterator>
#include <type_traits>

#include "hermes_shm/base/check.h"
#include "hermes_shm/base/types.h"
#include "hermes_shm/intrusive/chain.h"
#include "hermes_shm/sync/program_order.h"

namespace hshm::ipc {

/** Base of whatever lies in a list. In one list at a time. */
struct list_node {
  Offset next_ = kNullOffset;   // [owner] of the list
  Offset prior_ = kNullOffset;  // [owner] of the list
};
static_assert(std::is_standard_layout_v<list_node>);
static_assert(sizeof(list_node) == 16);

namespace pre {

/**
 * A doubly linked list of nodes that its user provides, all in one region; the list itself may lie
 * there too. Links are offsets, so every call takes the base of the region in this process. Zeroed
 * memory is an empty list. All calls take constant time, but those for after a death.
 *
 * One writer at a time, and no reader meanwhile. The chain from the front is the truth, and one
 * store puts an element in or takes it out; the links back, the end and the size are caches. A
 * writer that dies inside a call leaves the chain whole, and its successor calls Rebuild, which may
 * be cut itself.
 */
template <typename T>
class list {
 public:
  using element_type = T;
  using node_type = list_node;
  using iterator = ChainIterator<T, list_node>;
  using range = ChainRange<T, list_node>;

  list() noexcept { static_assert(std::derived_from<T, list_node>); }
  list(const list&) = delete;
  list& operator=(const list&) = delete;

  HSHM_CROSS_FUN bool empty() const noexcept { return head_ == kNullOffset; }
  HSHM_CROSS_FUN uint64_t size() const noexcept { return size_; }
  HSHM_CROSS_FUN range elements(char* base) const noexcept { return {iterator(base, head_)}; }

  /** Null when the list is empty, as for back and both pops. */
  HSHM_CROSS_FUN T* front(char* base) const noexcept {
    return empty() ? nullptr : ElementAt(base, head_);
  }
  HSHM_CROSS_FUN T* back(char* base) const noexcept {
    return empty() ? nullptr : ElementAt(base, tail_);
  }

  HSHM_CROSS_FUN void push_front(char* base, T* element) noexcept {
    Link(base, element, kNullOffset, head_);
  }
  HSHM_CROSS_FUN void push_back(char* base, T* element) noexcept {
    Link(base, element, tail_, kNullOffset);
  }

  /** Puts an element in front of another one of this list; at the end for null. */
  HSHM_CROSS_FUN void insert(char* base, Offset next, T* element) noexcept {
    Link(base, element, PriorOf(base, next), next);
  }

  HSHM_CROSS_FUN T* pop_front(char* base) noexcept { return Pop(base, head_); }
  HSHM_CROSS_FUN T* pop_back(char* base) noexcept { return Pop(base, tail_); }

  /** Takes an element of this list out, wherever it is. Its neighbours must know it. */
  HSHM_CROSS_FUN void erase(char* base, T* element) noexcept {
    list_node* node = element;
    Offset* from_prior = LinkTo(base, node->prior_);
    Offset* from_next = LinkBackTo(base, node->next_);
    HSHM_CHECK(size_ != 0);
    HSHM_CHECK(*from_prior == OffsetOfNode(base, node));
    HSHM_CHECK(*from_next == OffsetOfNode(base, node));
    *from_prior = node->next_;  // the commit
    KeepProgramOrder();
    *from_next = node->prior_;
    --size_;
  }

  /** Null for an empty list. */
  HSHM_CROSS_FUN Offset first() const noexcept { return head_; }
  HSHM_CROSS_FUN static Offset NextOf(char* base, Offset at) noexcept {
    return NodeAt<list_node>(base, at)->next_;
  }
  /** The last one for null; null in front of the first. */
  HSHM_CROSS_FUN Offset PriorOf(char* base, Offset at) const noexcept {
    return at == kNullOffset ? tail_ : NodeAt<list_node>(base, at)->prior_;
  }

  /** Makes the links back, the end and the size anew, from the chain. O(size). */
  HSHM_CROSS_FUN void Rebuild(char* base) noexcept {
    Offset prior = kNullOffset;
    uint64_t count = 0;
    for (Offset at = head_; at != kNullOffset; at = NextOf(base, at)) {
      NodeAt<list_node>(base, at)->prior_ = prior;
      prior = at;
      ++count;
    }
    tail_ = prior;
    size_ = count;
  }
  /** Whether the chain has this very element. O(size). */
  HSHM_CROSS_FUN bool IsInChain(char* base, Offset element) const noexcept {
    Offset at = head_;
    while (at != kNullOffset && at != element) at = NextOf(base, at);
    return at != kNullOffset;
  }
  /** Whether the links back, the end and the size agree with the chain. O(size). */
  HSHM_CROSS_FUN bool Check(char* base) const noexcept {
    Offset prior = kNullOffset;
    uint64_t count = 0;
    for (Offset at = head_; at != kNullOffset; at = NextOf(base, at)) {
      if (++count > size_ || NodeAt<list_node>(base, at)->prior_ != prior) return false;
      prior = at;
    }
    return tail_ == prior && size_ == count;
  }

 private:
  HSHM_CROSS_FUN static T* ElementAt(char* base, Offset at) noexcept {
    return static_cast<T*>(NodeAt<list_node>(base, at));
  }

  /** The word that names what follows `prior`, which may be the front of the list. */
  HSHM_CROSS_FUN Offset* LinkTo(char* base, Offset prior) noexcept {
    return prior == kNullOffset ? &head_ : &NodeAt<list_node>(base, prior)->next_;
  }
  /** The word that names what precedes `next`, which may be the end of the list. */
  HSHM_CROSS_FUN Offset* LinkBackTo(char* base, Offset next) noexcept {
    return next == kNullOffset ? &tail_ : &NodeAt<list_node>(base, next)->prior_;
  }

  HSHM_CROSS_FUN void Link(char* base, T* element, Offset prior, Offset next) noexcept {
    list_node* node = element;
    node->prior_ = prior;
    node->next_ = next;
    KeepProgramOrder();
    *LinkTo(base, prior) = OffsetOfNode(base, node);  // the commit
    KeepProgramOrder();
    *LinkBackTo(base, next) = OffsetOfNode(base, node);
    ++size_;
  }

  HSHM_CROSS_FUN T* Pop(char* base, Offset at) noexcept {
    if (at == kNullOffset) return nullptr;
    T* element = ElementAt(base, at);
    erase(base, element);
    return element;
  }

  Offset head_ = kNullOffset;  // [owner]
  Offset tail_ = kNullOffset;  // [owner]
  uint64_t size_ = 0;          // [owner]
};
static_assert(std::is_standard_layout_v<list<list_node>>);
static_assert(sizeof(list<list_node>) == 24);
static_assert(std::forward_iterator<list<list_node>::iterator>);

}  // namespace pre
}  // namespace hshm::ipc

#endif  // HSHM_INTRUSIVE_LIST_H_
