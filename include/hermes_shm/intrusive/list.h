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
 * memory is an empty list. All calls take constant time, but those that bring all elements into
 * another order and those for after a death.
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

  // ---- another order ---------------------------------------------------------------------------
  // SortBack and ReverseBack write the new order into the links back alone, and the chain stays the
  // truth: a death leaves all as it was, for Rebuild. They return the new last element, from which
  // on the links back are a list of their own. TakeOrder makes it the truth: who keeps a note of
  // that last element, until it is done, can have the successor of a dead one call it again.

  /** Stable; merges runs of 1, 2, 4, ... elements. less(const T&, const T&). O(size log(size)). */
  template <typename Less>
  HSHM_CROSS_FUN Offset SortBack(char* base, const Less& less) noexcept {
    Offset chain = tail_;
    for (uint64_t run = 1; run < size_; run *= 2) {
      Offset rest = chain;
      Offset* end = &chain;
      while (rest != kNullOffset) {
        const Offset later = rest;
        const Offset earlier = CutBack(base, later, run);
        rest = CutBack(base, earlier, run);
        end = MergeBack(base, later, earlier, less, end);
      }
    }
    return chain;
  }
  HSHM_CROSS_FUN Offset ReverseBack(char* base) noexcept {
    for (Offset at = head_; at != kNullOffset; at = NextOf(base, at)) {
      NodeAt<list_node>(base, at)->prior_ = NextOf(base, at);
    }
    return head_;
  }
  /** Makes the chain anew from the links back, whose last element this is. O(size). */
  HSHM_CROSS_FUN void TakeOrder(char* base, Offset last) noexcept {
    Offset next = kNullOffset;
    for (Offset at = last; at != kNullOffset; at = NodeAt<list_node>(base, at)->prior_) {
      NodeAt<list_node>(base, at)->next_ = next;
      next = at;
    }
    head_ = next;
    tail_ = last;
  }
  /**
   * Moves the elements from first up to `behind` in front of `next`, which is none of these; null
   * stands for the end. commit(last) is called between the links back and the chain:
   * TakeOrder(last) does the rest as well.
   */
  template <typename Commit>
  HSHM_CROSS_FUN void Move(char* base, Offset next, Offset first, Offset behind,
                           const Commit& commit) noexcept {
    const Offset last = PriorOf(base, behind);
    const Offset before = PriorOf(base, first);
    const Offset prior = PriorOf(base, next);
    *LinkBackTo(base, behind) = before;
    *LinkBackTo(base, first) = prior;
    *LinkBackTo(base, next) = last;
    commit(tail_);
    *LinkTo(base, before) = behind;
    *LinkTo(base, prior) = first;
    NodeAt<list_node>(base, last)->next_ = next;
  }

  // ---- after a death ---------------------------------------------------------------------------

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

  /** Ends a chain of links back after `count` elements. @return what followed */
  HSHM_CROSS_FUN static Offset CutBack(char* base, Offset at, uint64_t count) noexcept {
    if (at == kNullOffset) return kNullOffset;
    while (--count != 0 && NodeAt<list_node>(base, at)->prior_ != kNullOffset) {
      at = NodeAt<list_node>(base, at)->prior_;
    }
    const Offset rest = NodeAt<list_node>(base, at)->prior_;
    NodeAt<list_node>(base, at)->prior_ = kNullOffset;
    return rest;
  }
  /** Two sorted chains of links back become one behind *end; of equal ones those in `later` come
   * first, as seen from the back. @return where the next one goes */
  template <typename Less>
  HSHM_CROSS_FUN static Offset* MergeBack(char* base, Offset later, Offset earlier,
                                          const Less& less, Offset* end) noexcept {
    while (later != kNullOffset || earlier != kNullOffset) {
      const bool takes_earlier =
          later == kNullOffset ||
          (earlier != kNullOffset && less(*ElementAt(base, later), *ElementAt(base, earlier)));
      Offset& from = takes_earlier ? earlier : later;
      *end = from;
      end = &NodeAt<list_node>(base, from)->prior_;
      from = *end;
    }
    return end;
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
