#ifndef HSHM_DATA_STRUCTURES_MAP_IMPLEMENTATION_H_
#define HSHM_DATA_STRUCTURES_MAP_IMPLEMENTATION_H_

/** The longer members of map; included by map.h alone. */
#include "hermes_shm/data_structures/map.h"

namespace hshm::ipc {

template <Shareable Key, Shareable T, typename AllocT, typename CompareT>
void map<Key, T, AllocT, CompareT>::shm_init(AllocT* alloc, const MemContext& ctx) {
  RequireEmptyHandle(header_.get(), kKind);
  const OffsetPtr<> block = AllocateObject(*alloc, ctx, sizeof(Header), kKind.name_);
  auto* header = ObjectAt<Header>(*alloc, block);
  std::memset(static_cast<void*>(header), 0, sizeof(Header));
  Use(alloc, header);
  PublishObject(header->tag_, kKind);
}

template <Shareable Key, Shareable T, typename AllocT, typename CompareT>
void map<Key, T, AllocT, CompareT>::shm_destroy(const MemContext& ctx) noexcept {
  if (header_.get() == nullptr) return;
  HSHM_CHECK(RetireObject(header_->tag_, kKind));
  clear(ctx);
  Free(offset().load(), ctx);
  *this = map();
}

template <Shareable Key, Shareable T, typename AllocT, typename CompareT>
auto map<Key, T, AllocT, CompareT>::NewNode(const Key& key, const T& value,
                                            const MemContext& ctx) noexcept -> Node* {
  const OffsetPtr<> made = AllocateElements(*alloc_, ctx, sizeof(Node), alignof(Node));
  if (HSHM_UNLIKELY(made.IsNull())) return nullptr;
  header_->in_hand_.Note(0, made.load());
  return ::new (static_cast<void*>(base_ + made.load())) Node(key, value);
}

template <Shareable Key, Shareable T, typename AllocT, typename CompareT>
template <typename Make>
auto map<Key, T, AllocT, CompareT>::Insert(const Key& key, const Make& make, const MemContext& ctx)
    -> std::pair<iterator, bool> {
  Mend(ctx);
  const typename Tree::Place place = header_->tree_.Find(base_, key);
  if (place.found_ != kNullOffset) return {At(place.found_), false};
  Node* const node = NewNode(key, make(), ctx);
  if (HSHM_UNLIKELY(node == nullptr)) return {end(), false};
  header_->tree_.Link(base_, place, node);
  header_->in_hand_.Clear();
  return {At(pre::OffsetOfNode<rb_node>(base_, node)), true};
}

template <Shareable Key, Shareable T, typename AllocT, typename CompareT>
auto map<Key, T, AllocT, CompareT>::insert_or_assign(const Key& key, const T& value,
                                                     const MemContext& ctx) noexcept
    -> std::pair<iterator, bool> {
  const auto [entry, is_new] = insert(value_type(key, value), ctx);
  if (is_new || entry == end()) return {entry, is_new};
  using Word = std::atomic_ref<T>;
  if constexpr (Word::is_always_lock_free && alignof(T) >= Word::required_alignment) {
    Word(entry->second).store(value, std::memory_order_release);  // pairs with the lock's take-over
    return {entry, false};
  } else {
    Node* const old_node = NodeOf(entry.offset());
    Node* const new_node = NewNode(key, value, ctx);
    if (HSHM_UNLIKELY(new_node == nullptr)) return {end(), false};
    header_->in_hand_.Note(1, entry.offset());
    header_->tree_.Replace(base_, old_node, new_node);
    header_->in_hand_.Clear();
    Free(entry.offset(), ctx);
    return {At(pre::OffsetOfNode<rb_node>(base_, new_node)), false};
  }
}

template <Shareable Key, Shareable T, typename AllocT, typename CompareT>
auto map<Key, T, AllocT, CompareT>::erase(const_iterator pos, const MemContext& ctx) noexcept
    -> iterator {
  const Offset erased = pos.offset();
  HSHM_CHECK(erased != kNullOffset);
  Mend(ctx);
  const iterator next = At(Tree::NextOf(base_, erased));
  header_->in_hand_.Note(0, erased);
  header_->tree_.erase(base_, NodeOf(erased));
  header_->in_hand_.Clear();
  Free(erased, ctx);
  return next;
}

/** A node is always noted, as the tree is unfit until the end: the first of the chain, or the one
 * that has just left it. */
template <Shareable Key, Shareable T, typename AllocT, typename CompareT>
void map<Key, T, AllocT, CompareT>::clear(const MemContext& ctx) noexcept {
  Mend(ctx);
  Tree& tree = header_->tree_;
  if (!tree.empty()) header_->in_hand_.Note(0, tree.first());
  while (!tree.empty()) {
    const Offset dropped = tree.first();
    tree.DropFirst(base_);
    header_->in_hand_.Note(0, tree.first());
    Free(dropped, ctx);
  }
}

}  // namespace hshm::ipc

#endif  // HSHM_DATA_STRUCTURES_MAP_IMPLEMENTATION_H_
