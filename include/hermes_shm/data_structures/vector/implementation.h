#ifndef HSHM_DATA_STRUCTURES_VECTOR_IMPLEMENTATION_H_
#define HSHM_DATA_STRUCTURES_VECTOR_IMPLEMENTATION_H_

/** The longer members of vector; included by vector.h alone. */
#include "hermes_shm/data_structures/vector.h"

namespace hshm::ipc {

// ---- life cycle --------------------------------------------------------------------------------

template <Shareable T, typename AllocT>
void vector<T, AllocT>::shm_init(AllocT* alloc, std::span<const T> elements,
                                 const MemContext& ctx) {
  RequireEmptyHandle(header_.get(), kKind);
  const OffsetPtr<> block = AllocateObject(*alloc, ctx, sizeof(Header), kKind.name_);
  auto* header = ObjectAt<Header>(*alloc, block);
  std::memset(static_cast<void*>(header), 0, sizeof(Header));
  Use(alloc, header);
  if (!append(elements, ctx)) {
    alloc->FreeOffsetNoNullCheck(ctx, block);
    *this = vector();
    ThrowNoSpace(kKind.name_, elements.size_bytes(), alloc->GetRegion().size_bytes_,
                 alloc->GetCurrentlyAllocatedSize());
  }
  PublishObject(header->tag_, kKind);
}

template <Shareable T, typename AllocT>
void vector<T, AllocT>::shm_destroy(const MemContext& ctx) noexcept {
  if (header_.get() == nullptr) return;
  HSHM_CHECK(RetireObject(header_->tag_, kKind));
  DropInactive(ctx);
  Put(header_->active_, 1 - Active());
  DropInactive(ctx);
  alloc_->FreeOffsetNoNullCheck(ctx, offset());
  *this = vector();
}

template <Shareable T, typename AllocT>
void vector<T, AllocT>::Recover(const MemContext& ctx) noexcept {
  if (State() == GapState::kOpening) {
    const uint64_t with_inserted = Get(header_->gap_.size_) + Get(header_->gap_.count_);
    const bool is_done = Get(header_->size_) == with_inserted;
    SetState(is_done ? GapState::kNone : GapState::kClosing);
  }
  if (State() == GapState::kClosing) CloseGap();
  DropInactive(ctx);
}

template <Shareable T, typename AllocT>
bool vector<T, AllocT>::Check() const noexcept {
  const uint64_t block = Get(header_->blocks_[Active()]);
  const uint64_t reach_bytes = ReachOf(*alloc_, OffsetPtr<>(block)).size_bytes_;
  if (Get(header_->tag_.magic_) != kKind.magic_) return false;
  if (State() != GapState::kNone) return false;
  if (Get(header_->blocks_[1 - Active()]) != 0) return false;
  if (size() > capacity() || (block == 0) != (capacity() == 0)) return false;
  return capacity() <= reach_bytes / sizeof(T) && block <= reach_bytes - capacity() * sizeof(T) &&
         (reinterpret_cast<uintptr_t>(base_) + block) % alignof(T) == 0;
}

// ---- memory ------------------------------------------------------------------------------------

template <Shareable T, typename AllocT>
Offset vector<T, AllocT>::AllocateBlock(uint64_t capacity, const MemContext& ctx) noexcept {
  if (capacity > max_size()) return kNullOffset;
  return AllocateElements(*alloc_, ctx, capacity * sizeof(T), alignof(T)).load();
}

/** Takes the note away before it frees: cut between, the block is lost; the other way round, it
 * would be freed twice. */
template <Shareable T, typename AllocT>
void vector<T, AllocT>::DropInactive(const MemContext& ctx) noexcept {
  Atomic<uint64_t>& note = header_->blocks_[1 - Active()];
  const Offset block = Get(note);
  if (block == kNullOffset) return;
  Put(note, 0);
  alloc_->FreeOffsetNoNullCheck(ctx, OffsetPtr<>(block));
}

/** The new block is noted as soon as it is there, and the old one stays noted until it is freed. */
template <Shareable T, typename AllocT>
bool vector<T, AllocT>::MoveTo(uint64_t capacity, const MemContext& ctx) noexcept {
  DropInactive(ctx);
  const Offset block = capacity == 0 ? kNullOffset : AllocateBlock(capacity, ctx);
  if (block == kNullOffset && capacity != 0) return false;
  const uint32_t next = 1 - Active();
  Put(header_->blocks_[next], block);
  Put(header_->capacities_[next], capacity);
  Copy(reinterpret_cast<T*>(base_ + block), Elements(), size());
  Put(header_->active_, next);  // the commit
  DropInactive(ctx);
  return true;
}

template <Shareable T, typename AllocT>
bool vector<T, AllocT>::GrowFor(uint64_t more, const MemContext& ctx) noexcept {
  const uint64_t count = size();
  if (more > max_size() - count) return false;
  if (count + more <= capacity()) return true;
  const uint64_t doubled = std::max({count + more, 2 * capacity(), kFirstCapacity});
  return MoveTo(doubled, ctx) || (doubled > count + more && MoveTo(count + more, ctx));
}

// ---- appending ---------------------------------------------------------------------------------

template <Shareable T, typename AllocT>
T* vector<T, AllocT>::AppendOne(const T& value, const MemContext& ctx) noexcept {
  Mend(ctx);
  const uint64_t index = Get(header_->size_);
  if (HSHM_UNLIKELY(index == capacity())) return AppendWithGrowth(value, ctx);
  T* const place = Elements() + index;
  ::new (static_cast<void*>(place)) T(value);
  Put(header_->size_, index + 1);
  return place;
}

/** The value may be an element, whose block goes with the growth. */
template <Shareable T, typename AllocT>
T* vector<T, AllocT>::AppendWithGrowth(const T& value, const MemContext& ctx) noexcept {
  const T copy = value;
  return GrowFor(1, ctx) ? AppendOne(copy, ctx) : nullptr;
}

template <Shareable T, typename AllocT>
bool vector<T, AllocT>::append(std::span<const T> elements, const MemContext& ctx) noexcept {
  Mend(ctx);
  const uint64_t before = size();
  const bool is_own = elements.data() >= begin() && elements.data() < end();
  const int64_t own_index = is_own ? elements.data() - begin() : 0;
  if (!GrowFor(elements.size(), ctx)) return false;
  Copy(Elements() + before, is_own ? Elements() + own_index : elements.data(), elements.size());
  Put(header_->size_, before + elements.size());
  return true;
}

template <Shareable T, typename AllocT>
bool vector<T, AllocT>::resize(size_type count, const T& value, const MemContext& ctx) noexcept {
  Mend(ctx);
  const uint64_t before = size();
  if (count > before) {
    const T copy = value;  // it may be an element, whose block goes with the growth
    if (!GrowFor(count - before, ctx)) return false;
    std::uninitialized_fill(Elements() + before, Elements() + count, copy);
  }
  Put(header_->size_, count);
  return true;
}

// ---- gaps --------------------------------------------------------------------------------------

template <Shareable T, typename AllocT>
void vector<T, AllocT>::BeginGap(GapState state, uint64_t cursor, uint64_t count,
                                 uint64_t size) noexcept {
  Put(header_->gap_.cursor_, cursor);
  Put(header_->gap_.count_, count);
  Put(header_->gap_.size_, size);
  SetState(state);
}

/**
 * Moves elements up until the gap begins at `index`. A step moves at most as many as fit into the
 * gap, so it overwrites none that has not been moved, and may be cut anywhere.
 */
template <Shareable T, typename AllocT>
void vector<T, AllocT>::OpenGap(uint64_t index) noexcept {
  const uint64_t count = Get(header_->gap_.count_);
  T* const elements = Elements();
  for (uint64_t cursor = Get(header_->gap_.cursor_); cursor > index;) {
    const uint64_t step = std::min(count, cursor - index);
    cursor -= step;
    Copy(elements + cursor + count, elements + cursor, step);
    Put(header_->gap_.cursor_, cursor);
  }
}

/** Moves what lies behind the gap down into it, in steps that may be cut and repeated. */
template <Shareable T, typename AllocT>
void vector<T, AllocT>::CloseGap() noexcept {
  const uint64_t count = Get(header_->gap_.count_);
  const uint64_t size = Get(header_->gap_.size_);
  T* const elements = Elements();
  for (uint64_t cursor = Get(header_->gap_.cursor_); cursor < size;) {
    const uint64_t step = std::min(count, size - cursor);
    Copy(elements + cursor, elements + cursor + count, step);
    cursor += step;
    Put(header_->gap_.cursor_, cursor);
  }
  Put(header_->size_, size);
  SetState(GapState::kNone);
}

template <Shareable T, typename AllocT>
template <typename Fill>
auto vector<T, AllocT>::InsertWith(const_iterator pos, uint64_t count, const Fill& fill,
                                   const MemContext& ctx) noexcept -> iterator {
  const uint64_t index = static_cast<uint64_t>(pos - begin());
  Mend(ctx);
  const uint64_t before = size();
  HSHM_CHECK(index <= before);
  if (count == 0) return begin() + index;
  if (!GrowFor(count, ctx)) return nullptr;
  BeginGap(GapState::kOpening, before, count, before);
  OpenGap(index);
  T* const place = Elements() + index;
  fill(place);
  Put(header_->size_, before + count);  // the commit
  SetState(GapState::kNone);
  return place;
}

template <Shareable T, typename AllocT>
auto vector<T, AllocT>::insert(const_iterator pos, std::span<const T> elements,
                               const MemContext& ctx) noexcept -> iterator {
  if (elements.size() == 1) return insert(pos, 1, elements.front(), ctx);  // it may be an element
  return InsertWith(
      pos, elements.size(), [&](T* gap) { Copy(gap, elements.data(), elements.size()); }, ctx);
}

/** Room is made first, so that without it all stays, and no death keeps both contents. Elements of
 * the vector itself are no more than it has room for, so they do not move before they are copied.
 */
template <Shareable T, typename AllocT>
template <typename Fill>
bool vector<T, AllocT>::AssignWith(uint64_t count, const Fill& fill,
                                   const MemContext& ctx) noexcept {
  if (!reserve(count, ctx)) return false;
  clear();
  fill(Elements());
  Put(header_->size_, count);
  return true;
}

template <Shareable T, typename AllocT>
auto vector<T, AllocT>::erase(const_iterator first, const_iterator last) noexcept -> iterator {
  const uint64_t index = static_cast<uint64_t>(first - begin());
  const uint64_t count = static_cast<uint64_t>(last - first);
  Mend();
  HSHM_CHECK(index <= size());
  HSHM_CHECK(count <= size() - index);
  if (count != 0) {
    BeginGap(GapState::kClosing, index, count, size() - count);  // the commit
    CloseGap();
  }
  return begin() + index;
}

}  // namespace hshm::ipc

#endif  // HSHM_DATA_STRUCTURES_VECTOR_IMPLEMENTATION_H_
