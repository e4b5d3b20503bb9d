#include "hermes_shm/memory/allocator/buddy/buddy_engine.h"

#include "hermes_shm/memory/allocator/buddy/buddy_engine_impl.h"

namespace hshm::ipc {

bool BuddyEngine::CheckList(uint32_t order, uint64_t* blocks, uint64_t* granules) const noexcept {
  uint32_t prev = 0;
  uint32_t link = lists_->heads_[order];
  if ((link != 0) != ((lists_->nonempty_ >> order & 1) != 0)) return false;
  if (link != 0 && order > max_order_) return false;
  for (; link != 0; link = NodeAt(link - 1)->next_) {
    const uint32_t head = link - 1;
    if (head < first_ || uint64_t{head} + Granules(order) > end_) return false;
    if ((head & (Granules(order) - 1)) != 0) return false;
    if (MarkOf(head) != FreeMark(order)) return false;
    if (NodeAt(head)->prev_ != prev) return false;
    prev = link;
    *granules += Granules(order);
    if (++*blocks > end_ - first_) return false;  // a cycle
  }
  return true;
}

/** Walks all nodes: as many heads as the lists have, none inside another, no buddies unmerged. */
bool BuddyEngine::CheckMarks(uint64_t blocks) const noexcept {
  uint64_t covered = first_;
  uint64_t heads = 0;
  for (uint32_t at = first_; at < end_; ++at) {
    if (!IsHead(at)) continue;
    const uint32_t order = MarkedOrder(at);
    if (order > max_order_ || at < covered) return false;
    covered = uint64_t{at} + Granules(order);
    ++heads;
    const uint32_t buddy = at ^ Granules(order);
    const bool could_merge =
        order < max_order_ && buddy >= first_ && uint64_t{buddy} + Granules(order) <= end_;
    if (could_merge && MarkOf(buddy) == FreeMark(order)) return false;
  }
  return heads == blocks;
}

bool BuddyEngine::Check() const noexcept {
  uint64_t blocks = 0;
  uint64_t granules = 0;
  if (lists_->nonempty_ >> kBuddyOrders != 0) return false;
  for (uint32_t order = 0; order < kBuddyOrders; ++order) {
    if (!CheckList(order, &blocks, &granules)) return false;
  }
  return granules == lists_->free_granules_ && CheckMarks(blocks);
}

void BuddyEngine::Reset() noexcept {
  *lists_ = BuddyLists{};
  for (uint32_t at = first_; at < end_; ++at) {
    if (IsHead(at)) SetMark(at, 0);
  }
}

}  // namespace hshm::ipc
