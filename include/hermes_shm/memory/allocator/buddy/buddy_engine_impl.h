#ifndef HSHM_MEMORY_ALLOCATOR_BUDDY_BUDDY_ENGINE_IMPL_H_
#define HSHM_MEMORY_ALLOCATOR_BUDDY_BUDDY_ENGINE_IMPL_H_

#include "hermes_shm/memory/allocator/buddy/buddy_engine.h"

/** The operations of BuddyEngine, see HSHM_KERNEL_COPY. */
namespace hshm::ipc {

HSHM_KERNEL_COPY BuddyEngine::BuddyEngine(uintptr_t node_zero, BuddyLists* lists,
                                          uint32_t first_granule, uint32_t granule_count,
                                          uint16_t tag, uint32_t max_order) noexcept
    : nodes_(node_zero),
      lists_(lists),
      first_(first_granule),
      end_(first_granule + granule_count),
      tag_bits_((uint32_t{tag} << 16) | (kFreeState << 8)),
      max_order_(max_order) {
  HSHM_ASSERT(tag < kBuddyTags);
  HSHM_ASSERT(max_order <= kBuddyMaxOrder);
  HSHM_ASSERT(uint64_t{first_granule} + granule_count < kNone);
}

// ---- lists
// ---------------------------------------------------------------------------------------

HSHM_KERNEL_COPY void BuddyEngine::Push(uint32_t head, uint32_t order) noexcept {
  BuddyNode* node = NodeAt(head);
  const uint32_t old = lists_->heads_[order];
  node->next_ = old;
  node->prev_ = 0;
  if (old != 0) NodeAt(old - 1)->prev_ = head + 1;
  lists_->heads_[order] = head + 1;
  lists_->nonempty_ |= uint64_t{1} << order;
  lists_->free_granules_ += Granules(order);
  SetMark(head, FreeMark(order));
}

HSHM_KERNEL_COPY void BuddyEngine::Remove(uint32_t head, uint32_t order) noexcept {
  const BuddyNode* node = NodeAt(head);
  if (HSHM_UNLIKELY(MarkOf(head) != FreeMark(order))) StopAt(head);
  if (node->next_ != 0) NodeAt(node->next_ - 1)->prev_ = node->prev_;
  if (node->prev_ != 0) {
    NodeAt(node->prev_ - 1)->next_ = node->next_;
  } else {
    lists_->heads_[order] = node->next_;
    if (node->next_ == 0) lists_->nonempty_ &= ~(uint64_t{1} << order);
  }
  lists_->free_granules_ -= Granules(order);
  SetMark(head, 0);
}

HSHM_KERNEL_COPY void BuddyEngine::PushMerged(uint32_t head, uint32_t order) noexcept {
  while (order < max_order_) {
    const uint32_t buddy = head ^ Granules(order);
    if (buddy < first_ || uint64_t{buddy} + Granules(order) > end_) break;
    if (MarkOf(buddy) != FreeMark(order)) break;
    Remove(buddy, order);
    head = bits::Min(head, buddy);
    ++order;
  }
  Push(head, order);
}

/**
 * Puts what is left of a split block back. Nothing can merge: the buddy of each piece holds a
 * granule of the part that was taken.
 */
HSHM_KERNEL_COPY void BuddyEngine::PushRest(uint32_t first, uint32_t end) noexcept {
  while (first < end) {
    const uint32_t order = LargestOrderAt(first, end);
    Push(first, order);
    first += Granules(order);
  }
}

// ---- operations
// ----------------------------------------------------------------------------------

HSHM_KERNEL_COPY uint32_t BuddyEngine::Allocate(uint32_t granules, uint32_t alignment) noexcept {
  HSHM_ASSERT(granules != 0);
  HSHM_ASSERT(bits::IsPowerOfTwo(alignment));
  if (granules > lists_->free_granules_) return kNone;
  const uint32_t order = bits::CeilLog2(bits::Max(granules, alignment));
  const uint64_t fitting = order < kBuddyOrders ? lists_->nonempty_ >> order << order : 0;
  if (fitting == 0) return AllocateJoined(granules, alignment);
  const uint32_t found = bits::TrailingZeros(fitting);
  if (HSHM_UNLIKELY(found >= kBuddyOrders)) StopAt(first_);
  const uint32_t head = lists_->heads_[found] - 1;
  if (alignment == 1 && !bits::IsPowerOfTwo(granules)) {
    const uint32_t start = RunBefore(head);
    const bool taken = TakeRange(start, granules);
    if (HSHM_UNLIKELY(!taken)) StopAt(start);
    return start;
  }
  Remove(head, found);
  PushRest(head + granules, head + Granules(found));
  return head;
}

/**
 * Where the free granules that end at this free block begin. Requests that are no power of two
 * begin there: equal ones then lie end to end, where the trimmed tails of a split alone (99 of 256
 * granules for 157) would stay unused until smaller requests come. Only blocks smaller than this
 * one are joined, so there are at most two of each order.
 */
HSHM_KERNEL_COPY uint32_t BuddyEngine::RunBefore(uint32_t head) const noexcept {
  const uint32_t limit = OrderOf(head);
  uint32_t start = head;
  while (start > first_) {
    uint32_t order = 0;
    const uint32_t before = FreeBlockAt(start - 1, &order);
    if (before == kNone || order >= limit) break;
    start = before;
  }
  return start;
}

HSHM_KERNEL_COPY void BuddyEngine::Free(uint32_t first, uint32_t granules) noexcept {
  HSHM_ASSERT(first >= first_);
  HSHM_ASSERT(uint64_t{first} + granules <= end_);
  const uint32_t end = first + granules;
  while (first < end) {
#if HSHM_IS_HOST  // as in NodeAt
    if (HSHM_UNLIKELY(IsFree(first))) StopAt(first);
#endif
    const uint32_t order = bits::Min(LargestOrderAt(first, end), max_order_);
    PushMerged(first, order);
    first += Granules(order);
  }
}

HSHM_KERNEL_COPY bool BuddyEngine::TakeRange(uint32_t first, uint32_t granules) noexcept {
  const uint64_t end = uint64_t{first} + granules;
  if (granules == 0) return true;
  if (first < first_ || end > end_) return false;
  uint32_t order = 0;
  const uint32_t start = FreeBlockAt(first, &order);
  if (start == kNone) return false;
  uint64_t covered = uint64_t{start} + Granules(order);
  while (covered < end) {
    const uint32_t next = static_cast<uint32_t>(covered);
    if (!IsHead(next)) return false;
    covered += Granules(OrderOf(next));
  }
  for (uint32_t at = start; at < end;) {
    const uint32_t order_here = OrderOf(at);
    Remove(at, order_here);
    at += Granules(order_here);
  }
  PushRest(start, first);
  PushRest(static_cast<uint32_t>(end), static_cast<uint32_t>(covered));
  return true;
}

HSHM_KERNEL_COPY uint32_t BuddyEngine::FreeBlockAt(uint32_t granule,
                                                   uint32_t* order) const noexcept {
  if (granule < first_ || granule >= end_) return kNone;
  for (uint32_t k = 0; k <= max_order_; ++k) {
    const uint32_t head = granule & ~(Granules(k) - 1);
    if (head < first_) break;
    if (!IsHead(head)) continue;
    *order = MarkedOrder(head);
    return *order >= k && CouldBe(head, *order) ? head : kNone;
  }
  return kNone;
}

HSHM_KERNEL_COPY uint32_t BuddyEngine::FirstFreeIn(uint32_t first, uint32_t end) const noexcept {
  // One that covers a later granule and not this one begins behind it.
  if (first == end || IsFree(first)) return first;
  uint32_t granule = first + 1;
  while (granule < end && !IsHead(granule)) ++granule;
  return granule;
}

// ---- runs of several blocks
// ----------------------------------------------------------------------

/** First granule of a fitting run that begins in the free block at head, which begins the run. */
HSHM_KERNEL_COPY uint32_t BuddyEngine::RunInFrom(uint32_t head, uint32_t granules,
                                                 uint32_t alignment) const noexcept {
  const uint64_t start = bits::AlignUp(head, alignment);
  uint64_t end = head;
  while (end < end_ && end < start + granules) {
    const uint32_t next = static_cast<uint32_t>(end);
    if (!IsHead(next)) break;
    end += Granules(OrderOf(next));
  }
  return start + granules <= end ? static_cast<uint32_t>(start) : kNone;
}

/**
 * A run of 2^(k+1) - 1 granules or more has an aligned block of 2^k in it, which is free as one or
 * as part of a larger one. So only blocks of that order and above are looked at: few, where memory
 * is in many small pieces.
 */
HSHM_KERNEL_COPY uint32_t BuddyEngine::AllocateJoined(uint32_t granules,
                                                      uint32_t alignment) noexcept {
  const auto half = static_cast<uint32_t>((uint64_t{granules} + 1) / 2);
  uint32_t start = kNone;
#if HSHM_IS_HOST  // as in NodeAt
  uint32_t looked_at = 0;
#endif
  for (uint32_t order = bits::Min(bits::FloorLog2(half), max_order_);
       order < kBuddyOrders && start == kNone; ++order) {
    for (uint32_t link = lists_->heads_[order]; link != 0 && start == kNone;
         link = NodeAt(link - 1)->next_) {
#if HSHM_IS_HOST
      // A list that was overwritten may be a ring.
      if (HSHM_UNLIKELY(looked_at++ >= end_ - first_)) StopAt(link - 1);
#endif
      uint32_t begin = link - 1;  // of the run that the block lies in
      uint32_t ignored = 0;
      for (uint32_t before = begin; before != kNone;
           before = begin > first_ ? FreeBlockAt(begin - 1, &ignored) : kNone) {
        begin = before;
      }
      start = RunInFrom(begin, granules, alignment);
    }
  }
  if (start == kNone) return kNone;
  const bool taken = TakeRange(start, granules);
  if (HSHM_UNLIKELY(!taken)) StopAt(start);
  return start;
}

}  // namespace hshm::ipc

#endif  // HSHM_MEMORY_ALLOCATOR_BUDDY_BUDDY_ENGINE_IMPL_H_
