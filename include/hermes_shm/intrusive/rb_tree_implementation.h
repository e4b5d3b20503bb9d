#ifndef HSHM_INTRUSIVE_RB_TREE_IMPLEMENTATION_H_
#define HSHM_INTRUSIVE_RB_TREE_IMPLEMENTATION_H_

/** The longer members of rb_tree; included by rb_tree.h alone. */
#include "hermes_shm/intrusive/rb_tree.h"

namespace hshm::ipc::pre {

// ---- finding -----------------------------------------------------------------------------------

template <typename T, typename LessT>
template <typename Key>
HSHM_CROSS_FUN auto rb_tree<T, LessT>::Find(char* base, const Key& key) const noexcept -> Place {
  Place place = {kNullOffset, kNullOffset, kNullOffset, kSmaller};
  for (Offset at = root_; at != kNullOffset;) {
    const T& element = *ElementAt(base, at);
    if (LessT()(key, element)) {
      place.side_ = kSmaller;
    } else if (LessT()(element, key)) {
      place.side_ = kLarger;
      place.prior_ = at;
    } else {
      place.found_ = at;
      break;
    }
    place.parent_ = at;
    at = Child(base, at, place.side_);
  }
  return place;
}

template <typename T, typename LessT>
HSHM_CROSS_FUN Offset rb_tree<T, LessT>::PriorOf(char* base, Offset at) const noexcept {
  if (at == kNullOffset) return last(base);
  const Offset smaller = Child(base, at, kSmaller);
  if (smaller != kNullOffset) return Farthest(base, smaller, kLarger);
  Offset parent = Parent(base, at);
  while (parent != kNullOffset && Child(base, parent, kSmaller) == at) {
    at = parent;
    parent = Parent(base, at);
  }
  return parent;
}

// ---- changing ----------------------------------------------------------------------------------

template <typename T, typename LessT>
HSHM_CROSS_FUN void rb_tree<T, LessT>::Link(char* base, const Place& place, T* element) noexcept {
  rb_node* const node = element;
  const Offset at = OffsetOfNode(base, node);
  HSHM_ASSERT(at % 2 == 0);
  node->next_ = LinkBehind(base, place.prior_);
  node->children_[kSmaller] = kNullOffset;
  node->children_[kLarger] = kNullOffset;
  node->parent_and_color_ = place.parent_ | kRed;
  SetLinkBehind(base, place.prior_, at);
  if (place.parent_ == kNullOffset) {
    root_ = at;
  } else {
    Child(base, place.parent_, place.side_) = at;
  }
  ++size_;
  BalanceAfterInsert(base, at);
}

template <typename T, typename LessT>
HSHM_CROSS_FUN void rb_tree<T, LessT>::erase(char* base, T* element) noexcept {
  rb_node* const node = element;
  const Offset at = OffsetOfNode(base, node);
  const Offset prior = PriorOf(base, at);
  HSHM_CHECK(size_ != 0);
  HSHM_CHECK(LinkBehind(base, prior) == at);
  SetLinkBehind(base, prior, node->next_);
  TakeOutOfTree(base, at);
  --size_;
}

template <typename T, typename LessT>
HSHM_CROSS_FUN void rb_tree<T, LessT>::Replace(char* base, T* old_element,
                                               T* new_element) noexcept {
  rb_node* const old_node = old_element;
  rb_node* const new_node = new_element;
  const Offset old_at = OffsetOfNode(base, old_node);
  const Offset new_at = OffsetOfNode(base, new_node);
  const Offset prior = PriorOf(base, old_at);
  HSHM_CHECK(LinkBehind(base, prior) == old_at);
  *new_node = *old_node;
  SetLinkBehind(base, prior, new_at);
  ReplaceChild(base, Parent(base, old_at), old_at, new_at);
  for (const Offset child : new_node->children_) {
    if (child != kNullOffset) SetParent(base, child, new_at);
  }
}

template <typename T, typename LessT>
HSHM_CROSS_FUN T* rb_tree<T, LessT>::DropFirst(char* base) noexcept {
  if (first_ == kNullOffset) return nullptr;
  T* const dropped = ElementAt(base, first_);
  SetLinkBehind(base, kNullOffset, At(base, first_).next_);
  if (first_ == kNullOffset) {
    root_ = kNullOffset;
    size_ = 0;
  }
  return dropped;
}

// ---- balance: the textbook's cases, both sides in one ------------------------------------------

template <typename T, typename LessT>
HSHM_CROSS_FUN void rb_tree<T, LessT>::ReplaceChild(char* base, Offset parent, Offset child,
                                                    Offset by) noexcept {
  if (parent == kNullOffset) {
    root_ = by;
  } else {
    Child(base, parent, Child(base, parent, kSmaller) == child ? kSmaller : kLarger) = by;
  }
}

/** The child on the other side comes up; `at` goes down on this side. */
template <typename T, typename LessT>
HSHM_CROSS_FUN void rb_tree<T, LessT>::Rotate(char* base, Offset at, uint32_t side) noexcept {
  const Offset up = Child(base, at, 1 - side);
  const Offset moved = Child(base, up, side);
  Child(base, at, 1 - side) = moved;
  if (moved != kNullOffset) SetParent(base, moved, at);
  const Offset parent = Parent(base, at);
  ReplaceChild(base, parent, at, up);
  SetParent(base, up, parent);
  Child(base, up, side) = at;
  SetParent(base, at, up);
}

template <typename T, typename LessT>
HSHM_CROSS_FUN void rb_tree<T, LessT>::BalanceAfterInsert(char* base, Offset at) noexcept {
  for (Offset parent = Parent(base, at); IsRed(base, parent); parent = Parent(base, at)) {
    const Offset grandparent = Parent(base, parent);  // a red one is not the root
    const uint32_t side = Child(base, grandparent, kSmaller) == parent ? kSmaller : kLarger;
    const Offset uncle = Child(base, grandparent, 1 - side);
    if (IsRed(base, uncle)) {
      SetRed(base, parent, false);
      SetRed(base, uncle, false);
      SetRed(base, grandparent, true);
      at = grandparent;
      continue;
    }
    if (Child(base, parent, 1 - side) == at) {
      Rotate(base, parent, side);
      at = parent;
      parent = Parent(base, at);
    }
    SetRed(base, parent, false);
    SetRed(base, grandparent, true);
    Rotate(base, grandparent, 1 - side);
  }
  SetRed(base, root_, false);
}

/** The next larger element, if there are two children, takes the place and the colour. */
template <typename T, typename LessT>
HSHM_CROSS_FUN void rb_tree<T, LessT>::TakeOutOfTree(char* base, Offset at) noexcept {
  const Offset smaller = Child(base, at, kSmaller);
  const Offset larger = Child(base, at, kLarger);
  const bool has_both = smaller != kNullOffset && larger != kNullOffset;
  const Offset removed = has_both ? At(base, at).next_ : at;  // from where a level goes
  const Offset child = has_both                 ? Child(base, removed, kLarger)
                       : smaller != kNullOffset ? smaller
                                                : larger;
  const bool was_red = IsRed(base, removed);
  Offset parent = Parent(base, removed);
  ReplaceChild(base, parent, removed, child);
  if (child != kNullOffset) SetParent(base, child, parent);
  if (has_both) {
    if (parent == at) parent = removed;
    rb_node& heir = At(base, removed);
    heir.parent_and_color_ = At(base, at).parent_and_color_;
    for (const uint32_t side : {kSmaller, kLarger}) {
      heir.children_[side] = Child(base, at, side);
      if (heir.children_[side] != kNullOffset) SetParent(base, heir.children_[side], removed);
    }
    ReplaceChild(base, Parent(base, at), at, removed);
  }
  if (!was_red) BalanceAfterErase(base, child, parent);
}

/** The paths through `at`, which may be null, have one black node too few. */
template <typename T, typename LessT>
HSHM_CROSS_FUN void rb_tree<T, LessT>::BalanceAfterErase(char* base, Offset at,
                                                         Offset parent) noexcept {
  while (at != root_ && !IsRed(base, at)) {
    const uint32_t side = Child(base, parent, kSmaller) == at ? kSmaller : kLarger;
    Offset sibling = Child(base, parent, 1 - side);
    if (IsRed(base, sibling)) {
      SetRed(base, sibling, false);
      SetRed(base, parent, true);
      Rotate(base, parent, side);
      sibling = Child(base, parent, 1 - side);
    }
    if (!IsRed(base, Child(base, sibling, kSmaller)) &&
        !IsRed(base, Child(base, sibling, kLarger))) {
      SetRed(base, sibling, true);
      at = parent;
      parent = Parent(base, at);
      continue;
    }
    if (!IsRed(base, Child(base, sibling, 1 - side))) {
      SetRed(base, Child(base, sibling, side), false);
      SetRed(base, sibling, true);
      Rotate(base, sibling, 1 - side);
      sibling = Child(base, parent, 1 - side);
    }
    SetRed(base, sibling, IsRed(base, parent));
    SetRed(base, parent, false);
    SetRed(base, Child(base, sibling, 1 - side), false);
    Rotate(base, parent, side);
    at = root_;
  }
  if (at != kNullOffset) SetRed(base, at, false);
}

// ---- after a death -----------------------------------------------------------------------------

template <typename T, typename LessT>
HSHM_CROSS_FUN void rb_tree<T, LessT>::Rebuild(char* base) noexcept {
  uint64_t count = 0;
  for (Offset at = first_; at != kNullOffset; at = At(base, at).next_) ++count;
  Offset cursor = first_;
  root_ = Build(base, &cursor, count, bits::FloorLog2(count + 1));
  if (root_ != kNullOffset) SetParent(base, root_, kNullOffset);
  size_ = count;
}

/** A tree of the next `count` elements. Only the lowest level may be incomplete, and it is red. */
template <typename T, typename LessT>
HSHM_CROSS_FUN Offset rb_tree<T, LessT>::Build(char* base, Offset* cursor, uint64_t count,
                                               uint32_t black_levels) noexcept {
  if (count == 0) return kNullOffset;
  const bool is_red = black_levels == 0;
  const uint32_t levels_below = is_red ? 0 : black_levels - 1;
  const uint64_t smaller_count = (count - 1) / 2;
  const Offset smaller = Build(base, cursor, smaller_count, levels_below);
  const Offset at = *cursor;
  *cursor = At(base, at).next_;
  const Offset larger = Build(base, cursor, count - 1 - smaller_count, levels_below);
  rb_node& node = At(base, at);
  node.children_[kSmaller] = smaller;
  node.children_[kLarger] = larger;
  node.parent_and_color_ = is_red ? kRed : 0;
  if (smaller != kNullOffset) SetParent(base, smaller, at);
  if (larger != kNullOffset) SetParent(base, larger, at);
  return at;
}

template <typename T, typename LessT>
HSHM_CROSS_FUN bool rb_tree<T, LessT>::Check(char* base) const noexcept {
  uint64_t count = 0;
  Offset prior = kNullOffset;
  for (Offset at = first_; at != kNullOffset; at = At(base, at).next_) {
    if (++count > size_) return false;
    if (prior != kNullOffset && !LessT()(*ElementAt(base, prior), *ElementAt(base, at))) {
      return false;
    }
    prior = at;
  }
  Offset chain = first_;
  return count == size_ && !IsRed(base, root_) &&
         CheckedBlackHeight(base, root_, kNullOffset, &chain) >= 0 && chain == kNullOffset;
}

/** Black nodes on every path down; -1 when a rule is broken. Walks the chain along. */
template <typename T, typename LessT>
HSHM_CROSS_FUN int64_t rb_tree<T, LessT>::CheckedBlackHeight(char* base, Offset at, Offset parent,
                                                             Offset* chain) const noexcept {
  if (at == kNullOffset) return 0;
  if (Parent(base, at) != parent) return -1;
  if (IsRed(base, at) && IsRed(base, parent)) return -1;
  const int64_t smaller = CheckedBlackHeight(base, Child(base, at, kSmaller), at, chain);
  if (*chain != at) return -1;
  *chain = At(base, at).next_;
  const int64_t larger = CheckedBlackHeight(base, Child(base, at, kLarger), at, chain);
  if (smaller < 0 || smaller != larger) return -1;
  return smaller + (IsRed(base, at) ? 0 : 1);
}

}  // namespace hshm::ipc::pre

#endif  // HSHM_INTRUSIVE_RB_TREE_IMPLEMENTATION_H_
