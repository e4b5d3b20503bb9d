#ifndef HSHM_DATA_STRUCTURES_LIST_IMPLEMENTATION_H_
#define HSHM_DATA_STRUCTURES_LIST_IMPLEMENTATION_H_

/** The longer members of list; included by list.h alone. */
#include "hermes_shm/data_structures/list.h"

namespace hshm::ipc {

// ---- life cycle --------------------------------------------------------------------------------

template <Shareable T, typename AllocT>
void list<T, AllocT>::shm_init(AllocT* alloc, const MemContext& ctx) {
  RequireEmptyHandle(header_.get(), kKind);
  const OffsetPtr<> block = AllocateObject(*alloc, ctx, sizeof(Header), kKind.name_);
  auto* header = ObjectAt<Header>(*alloc, block);
  std::memset(static_cast<void*>(header), 0, sizeof(Header));
  Use(alloc, header);
  PublishObject(header->tag_, kKind);
}

template <Shareable T, typename AllocT>
void list<T, AllocT>::shm_destroy(const MemContext& ctx) noexcept {
  if (header_.get() == nullptr) return;
  HSHM_CHECK(RetireObject(header_->tag_, kKind));
  clear(ctx);
  alloc_->FreeOffsetNoNullCheck(ctx, offset());
  *this = list();
}

/** A note is there as long as order_ is set, so whoever asks the notes misses neither. */
template <Shareable T, typename AllocT>
void list<T, AllocT>::Recover(const MemContext& ctx) noexcept {
  if (!InOrder()) {
    // relaxed: as in InOrder
    header_->chain_.TakeOrder(base_, header_->order_.load(std::memory_order_relaxed));
    SetOrder(kNullOffset);
  }
  header_->in_hand_.Settle(header_->chain_, *alloc_, ctx);
}

// ---- elements ----------------------------------------------------------------------------------

template <Shareable T, typename AllocT>
auto list<T, AllocT>::insert(const_iterator pos, const T& value, const MemContext& ctx) noexcept
    -> iterator {
  Mend(ctx);
  const OffsetPtr<> made = AllocateElements(*alloc_, ctx, sizeof(Node), alignof(Node));
  if (HSHM_UNLIKELY(made.IsNull())) return end();
  header_->in_hand_.Note(0, made.load());
  auto* const node = ::new (static_cast<void*>(base_ + made.load())) Node(value);
  header_->chain_.insert(base_, pos.offset(), node);
  header_->in_hand_.Note(0, kNullOffset);
  return At(made.load());
}

template <Shareable T, typename AllocT>
auto list<T, AllocT>::erase(const_iterator pos, const MemContext& ctx) noexcept -> iterator {
  const Offset erased = pos.offset();
  HSHM_CHECK(erased != kNullOffset);
  Mend(ctx);
  const iterator next = At(Chain::NextOf(base_, erased));
  header_->in_hand_.Note(0, erased);
  header_->chain_.erase(base_, NodeOf(erased));
  header_->in_hand_.Note(0, kNullOffset);
  alloc_->FreeOffsetNoNullCheck(ctx, OffsetPtr<>(erased));
  return next;
}

template <Shareable T, typename AllocT>
template <typename Pred>
auto list<T, AllocT>::remove_if(Pred&& pred, const MemContext& ctx) -> size_type {
  Mend(ctx);
  const size_type before = size();
  for (const_iterator it = cbegin(); it != cend();) {
    const bool goes = pred(*it);
    it = goes ? const_iterator(erase(it, ctx)) : std::next(it);
  }
  return before - size();
}

template <Shareable T, typename AllocT>
template <typename Equal>
auto list<T, AllocT>::unique(Equal equal, const MemContext& ctx) -> size_type {
  Mend(ctx);
  const size_type before = size();
  const_iterator kept = cbegin();
  for (const_iterator it = kept; it != cend();) {
    const bool goes = it != kept && equal(*kept, *it);
    if (!goes) kept = it;
    it = goes ? const_iterator(erase(it, ctx)) : std::next(it);
  }
  return before - size();
}

// ---- another order -----------------------------------------------------------------------------

/** The links back are complete, and a note is there. */
template <Shareable T, typename AllocT>
void list<T, AllocT>::TakeOrder(Offset last) noexcept {
  SetOrder(last);  // the commit
  header_->chain_.TakeOrder(base_, last);
  SetOrder(kNullOffset);
  header_->in_hand_.Note(0, kNullOffset);
}

/** The first element is noted, which stays in the chain: so a death makes the links back anew. */
template <Shareable T, typename AllocT>
template <typename Less>
void list<T, AllocT>::sort(Less less, const MemContext& ctx) noexcept {
  Mend(ctx);
  if (size() < 2) return;
  header_->in_hand_.Note(0, header_->chain_.first());
  TakeOrder(header_->chain_.SortBack(
      base_, [&](const Node& a, const Node& b) { return less(a.value_, b.value_); }));
}

template <Shareable T, typename AllocT>
void list<T, AllocT>::reverse(const MemContext& ctx) noexcept {
  Mend(ctx);
  if (size() < 2) return;
  header_->in_hand_.Note(0, header_->chain_.first());
  TakeOrder(header_->chain_.ReverseBack(base_));
}

/** From first up to `behind`, which does not move with them. */
template <Shareable T, typename AllocT>
void list<T, AllocT>::MoveWithin(Offset next, Offset first, Offset behind) noexcept {
  if (first == behind || next == first || next == behind) return;
  header_->in_hand_.Note(0, first);
  header_->chain_.Move(base_, next, first, behind, [this](Offset last) { SetOrder(last); });
  SetOrder(kNullOffset);
  header_->in_hand_.Note(0, kNullOffset);
}

/** One list's note ends before the other's begins: a node in both would be freed twice. */
template <Shareable T, typename AllocT>
void list<T, AllocT>::MoveFrom(list& other, Offset next, Offset moved) noexcept {
  other.header_->in_hand_.Note(0, moved);
  other.header_->chain_.erase(base_, NodeOf(moved));
  other.header_->in_hand_.Note(0, kNullOffset);
  header_->in_hand_.Note(0, moved);
  header_->chain_.insert(base_, next, NodeOf(moved));
  header_->in_hand_.Note(0, kNullOffset);
}

template <Shareable T, typename AllocT>
void list<T, AllocT>::splice(const_iterator pos, list& other, const_iterator first,
                             const_iterator last, const MemContext& ctx) noexcept {
  HSHM_CHECK(base_ == other.base_);
  Mend(ctx);
  other.Mend(ctx);
  if (header_.get() == other.header_.get()) {
    MoveWithin(pos.offset(), first.offset(), last.offset());
    return;
  }
  while (first != last) {
    const Offset moved = first.offset();
    ++first;
    MoveFrom(other, pos.offset(), moved);
  }
}

template <Shareable T, typename AllocT>
template <typename Less>
void list<T, AllocT>::merge(list& other, Less less, const MemContext& ctx) {
  if (header_.get() == other.header_.get()) return;
  Mend(ctx);
  other.Mend(ctx);
  for (const_iterator it = cbegin(); it != cend() && !other.empty();) {
    if (less(other.front(), *it)) {
      splice(it, other, other.cbegin(), ctx);
    } else {
      ++it;
    }
  }
  splice(cend(), other, ctx);
}

}  // namespace hshm::ipc

#endif  // HSHM_DATA_STRUCTURES_LIST_IMPLEMENTATION_H_
