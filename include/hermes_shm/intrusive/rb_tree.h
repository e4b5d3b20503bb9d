#ifndef HSHM_INTRUSIVE_RB_TREE_H_
#define HSHM_INTRUSIVE_RB_TREE_H_

#include <concepts>
#include <cstdint>
#include <iterator>
#include <type_traits>

#include "hermes_shm/base/bits.h"
#include "hermes_shm/base/check.h"
#include "hermes_shm/base/types.h"
#include "hermes_shm/intrusive/chain.h"
#include "hermes_shm/sync/program_order.h"

namespace hshm::ipc {

/** Base of whatever lies in an rb_tree. In one tree at a time; at an even offset. */
struct rb_node {
  Offset next_ = kNullOffset;              // [owner] of the tree: the next larger element
  Offset children_[2] = {0, 0};            // [owner] of the tree: smaller, larger
  Offset parent_and_color_ = kNullOffset;  // [owner] of the tree: parent, + 1 when red
};
static_assert(std::is_standard_layout_v<rb_node>);
static_assert(sizeof(rb_node) == 32);

namespace pre {

/**
 * An ordered set of nodes that its user provides, all in one region; the tree itself may lie there
 * too. A red-black tree (L. Guibas, R. Sedgewick, "A dichromatic framework for balanced trees",
 * 1978) whose nodes are also chained in their order:
 *
 *     first_ -> a -> b -> c -> d        the truth: one store puts an element in or takes it out
 *                  b
 *                a   c                  a cache for finding things
 *                      d
 *
 * Links are offsets, so every call takes the base of the region in this process. Zeroed memory is
 * an empty tree. It never allocates. Finding, inserting and erasing take O(log size), a step
 * onwards 1.
 *
 * LessT is made where it is needed: bool operator()(a, b) for elements and for whatever keys they
 * are sought by, in both orders.
 *
 * One writer at a time, and no reader meanwhile. A writer that dies inside a call leaves the chain
 * whole, with the element or without it: Rebuild makes the tree anew from it, and may be cut
 * itself.
 */
template <typename T, typename LessT>
class rb_tree {
 public:
  using element_type = T;
  using node_type = rb_node;
  using iterator = ChainIterator<T, rb_node>;
  using range = ChainRange<T, rb_node>;

  /** Where an element with a key is, or where it would go. */
  struct Place {
    Offset found_;   // null when there is none
    Offset parent_;  // of an element to be linked
    Offset prior_;   // the next smaller element
    uint32_t side_;  // of the parent
  };

  rb_tree() noexcept { static_assert(std::derived_from<T, rb_node>); }
  rb_tree(const rb_tree&) = delete;
  rb_tree& operator=(const rb_tree&) = delete;

  HSHM_CROSS_FUN bool empty() const noexcept { return first_ == kNullOffset; }
  HSHM_CROSS_FUN uint64_t size() const noexcept { return size_; }
  /** In ascending order. */
  HSHM_CROSS_FUN range elements(char* base) const noexcept { return {iterator(base, first_)}; }
  /** Null when the tree is empty. */
  HSHM_CROSS_FUN Offset first() const noexcept { return first_; }
  HSHM_CROSS_FUN Offset last(char* base) const noexcept { return Farthest(base, root_, kLarger); }
  /** The next larger element; null behind the last. */
  HSHM_CROSS_FUN static Offset NextOf(char* base, Offset at) noexcept { return At(base, at).next_; }
  /** The next smaller one; the last for null; null in front of the first. */
  HSHM_CROSS_FUN Offset PriorOf(char* base, Offset at) const noexcept;

  // ---- finding ---------------------------------------------------------------------------------

  template <typename Key>
  HSHM_CROSS_FUN Place Find(char* base, const Key& key) const noexcept;
  /** The smallest element that is not less than the key; null when all are. */
  template <typename Key>
  HSHM_CROSS_FUN Offset LowerBound(char* base, const Key& key) const noexcept {
    return FirstThat(base, [&](const T& element) { return !LessT()(element, key); });
  }
  /** The smallest element that is greater than the key; null when none is. */
  template <typename Key>
  HSHM_CROSS_FUN Offset UpperBound(char* base, const Key& key) const noexcept {
    return FirstThat(base, [&](const T& element) { return LessT()(key, element); });
  }

  // ---- changing --------------------------------------------------------------------------------

  /** The element that is equal to this one, which stays out; null when it was put in. */
  HSHM_CROSS_FUN T* insert(char* base, T* element) noexcept {
    const Place place = Find(base, *element);
    if (place.found_ != kNullOffset) return ElementAt(base, place.found_);
    Link(base, place, element);
    return nullptr;
  }
  /** Puts an element where Find said that it would go; nothing has changed since. */
  HSHM_CROSS_FUN void Link(char* base, const Place& place, T* element) noexcept;
  /** Takes an element of this tree out. */
  HSHM_CROSS_FUN void erase(char* base, T* element) noexcept;
  /** Puts another element in the place of an equal one. */
  HSHM_CROSS_FUN void Replace(char* base, T* old_element, T* new_element) noexcept;
  /** Takes the first element off the chain and leaves the tree as it is, unfit for use until the
   * chain is empty or Rebuild was called: the way to take all out. Null when it is empty. */
  HSHM_CROSS_FUN T* DropFirst(char* base) noexcept;

  // ---- after a death ---------------------------------------------------------------------------

  /** Makes the tree and the size anew, from the chain. O(size). */
  HSHM_CROSS_FUN void Rebuild(char* base) noexcept;
  /** Whether the chain has this very element. O(size). */
  HSHM_CROSS_FUN bool IsInChain(char* base, Offset element) const noexcept {
    Offset at = first_;
    while (at != kNullOffset && at != element) at = At(base, at).next_;
    return at != kNullOffset;
  }
  /** Walks everything: order, colours, balance, links in both directions, chain and size. */
  HSHM_CROSS_FUN bool Check(char* base) const noexcept;

 private:
  static constexpr uint32_t kSmaller = 0;
  static constexpr uint32_t kLarger = 1;
  static constexpr Offset kRed = 1;

  HSHM_CROSS_FUN static rb_node& At(char* base, Offset at) noexcept {
    return *NodeAt<rb_node>(base, at);
  }
  HSHM_CROSS_FUN static T* ElementAt(char* base, Offset at) noexcept {
    return static_cast<T*>(NodeAt<rb_node>(base, at));
  }
  HSHM_CROSS_FUN static Offset& Child(char* base, Offset at, uint32_t side) noexcept {
    return At(base, at).children_[side];
  }
  HSHM_CROSS_FUN static Offset Parent(char* base, Offset at) noexcept {
    return At(base, at).parent_and_color_ & ~kRed;
  }
  HSHM_CROSS_FUN static bool IsRed(char* base, Offset at) noexcept {
    return at != kNullOffset && (At(base, at).parent_and_color_ & kRed) != 0;
  }
  HSHM_CROSS_FUN static void SetParent(char* base, Offset at, Offset parent) noexcept {
    Offset& word = At(base, at).parent_and_color_;
    word = parent | (word & kRed);
  }
  HSHM_CROSS_FUN static void SetRed(char* base, Offset at, bool is_red) noexcept {
    Offset& word = At(base, at).parent_and_color_;
    word = is_red ? word | kRed : word & ~kRed;
  }
  HSHM_CROSS_FUN static Offset Farthest(char* base, Offset at, uint32_t side) noexcept {
    if (at == kNullOffset) return at;
    while (Child(base, at, side) != kNullOffset) at = Child(base, at, side);
    return at;
  }

  template <typename Pred>
  HSHM_CROSS_FUN Offset FirstThat(char* base, const Pred& pred) const noexcept {
    Offset best = kNullOffset;
    for (Offset at = root_; at != kNullOffset;) {
      const bool holds = pred(*ElementAt(base, at));
      if (holds) best = at;
      at = Child(base, at, holds ? kSmaller : kLarger);
    }
    return best;
  }

  /** The word of the chain that names what follows `prior`. */
  HSHM_CROSS_FUN Offset& LinkBehind(char* base, Offset prior) noexcept {
    return prior == kNullOffset ? first_ : At(base, prior).next_;
  }
  /** The commit of every change: before and behind it the program's order is kept. */
  HSHM_CROSS_FUN void SetLinkBehind(char* base, Offset prior, Offset next) noexcept {
    KeepProgramOrder();
    LinkBehind(base, prior) = next;
    KeepProgramOrder();
  }

  HSHM_CROSS_FUN void ReplaceChild(char* base, Offset parent, Offset child, Offset by) noexcept;
  HSHM_CROSS_FUN void Rotate(char* base, Offset at, uint32_t side) noexcept;
  HSHM_CROSS_FUN void BalanceAfterInsert(char* base, Offset at) noexcept;
  HSHM_CROSS_FUN void TakeOutOfTree(char* base, Offset at) noexcept;
  HSHM_CROSS_FUN void BalanceAfterErase(char* base, Offset at, Offset parent) noexcept;
  HSHM_CROSS_FUN static Offset Build(char* base, Offset* cursor, uint64_t count,
                                     uint32_t black_levels) noexcept;
  HSHM_CROSS_FUN int64_t CheckedBlackHeight(char* base, Offset at, Offset parent,
                                            Offset* chain) const noexcept;

  Offset root_ = kNullOffset;   // [owner]
  Offset first_ = kNullOffset;  // [owner]
  uint64_t size_ = 0;           // [owner]
};

}  // namespace pre
}  // namespace hshm::ipc

#include "hermes_shm/intrusive/rb_tree_implementation.h"

#endif  // HSHM_INTRUSIVE_RB_TREE_H_
