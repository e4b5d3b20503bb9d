/** Death of others, leaving, statistics of a process. */
#include "hermes_shm/memory/allocator/multi_process/process_block.h"
#include "hermes_shm/memory/allocator/multi_process/sweeper.h"

namespace hshm::ipc::multi_process {

template <typename Config>
uint32_t ProcessBlock<Config>::Recover(Heap* heap) noexcept {
  const std::lock_guard hold(lock_);
  typename RootTier<Config>::Guard root(root_);
  return root.IsHeld() ? Sweeper<Config>(this, heap).Run(Sweeper<Config>::kOthersOnly) : 0;
}

template <typename Config>
bool ProcessBlock<Config>::Reclaim(Heap* heap, uint32_t slot, uint32_t generation) noexcept {
  if (slot >= membership_->slot_count() || !membership_->IsDead(slot, generation)) return false;
  const std::lock_guard hold(lock_);
  typename RootTier<Config>::Guard root(root_);
  if (!root.IsHeld()) return false;
  Sweeper<Config> sweeper(this, heap);
  // Asked under the mutex: who joins the slot meanwhile sweeps its label first.
  const bool is_found = !membership_->IsAlive(slot) &&
                        membership_->entry(slot)->generation_.load() == generation &&
                        sweeper.HasLabel(slot);
  return is_found && sweeper.DeleteSlot(slot);
}

template <typename Config>
void ProcessBlock<Config>::Trim() noexcept {
  FlushIdleHeaps();
  const std::lock_guard hold(lock_);
  PollLost(nullptr, true);
  GiveBackWholeUnits(0);
}

template <typename Config>
void ProcessBlock<Config>::Leave(DetachMode mode) noexcept {
  if (mode == DetachMode::kKeepLive) {
    {
      const std::lock_guard hold(lock_);
      for (uint32_t i = 0; i < heap_count_; ++i) idle_[i] = true;  // their threads are gone
      // Who sweeps what stays takes this for a death, but it is none.
      membership_->entry(slot())->on_death_ = static_cast<uint32_t>(OnDeath::kKeepLive);
    }
    SettleIdleHeaps();
    Trim();
    return;
  }
  const std::lock_guard hold(lock_);
  // What cannot be deleted now, because somebody is stopped with a lock, a later sweep deletes.
  membership_->entry(slot())->on_death_ = static_cast<uint32_t>(OnDeath::kReclaim);
  typename RootTier<Config>::Guard root(root_);
  if (root.IsHeld()) static_cast<void>(Sweeper<Config>(this, nullptr).DeleteSlot(slot()));
}

template <typename Config>
void ProcessBlock<Config>::HoldForFork() noexcept {
  lock_.lock();
  fork_hold_.emplace(root_);
}

template <typename Config>
void ProcessBlock<Config>::LetGoAfterFork() noexcept {
  fork_hold_.reset();
  lock_.unlock();
}

template <typename Config>
UnitPlacement ProcessBlock<Config>::Placement() noexcept {
  typename RootTier<Config>::Guard root(root_);
  return root.IsHeld() ? root_.placement() : UnitPlacement();
}

template <typename Config>
uint64_t ProcessBlock<Config>::LiveBytes() noexcept {
  const std::lock_guard hold(lock_);
  typename RootTier<Config>::Guard root(root_);
  if (!root.IsHeld()) return 0;
  uint64_t used = 0;
  uint64_t waiting = 0;
  constexpr uint32_t kPerPage = Config::kPageBytes / sizeof(HeapRecord<Config>);
  root_.ForEachSpan([&](uint32_t page, uint32_t) {
    const PageEntry* entry = pages().Entry(page);
    const PageKind kind = KindOf(entry->shape_.Get());
    if (kind == kKindClass || kind == kKindRun) {
      const uint32_t held = PageTable<Config>::Used(entry);
      const uint32_t pending = PageTable<Config>::Pending(entry);  // more, if some came in between
      used += (held > pending ? held - pending : 0) * pages().BlockBytes(page);
      return;
    }
    if (!PageTable<Config>::HoldsRecords(entry)) return;
    auto* records = region_.At<HeapRecord<Config>>(PageTable<Config>::OffsetOf(page));
    for (uint32_t i = 0; i < kPerPage; ++i) {
      if (records[i].id_.Get() == 0) continue;
      for (uint32_t c = 0; c < Config::kSlotCount; ++c) {
        // What waits in a heap's class slot counts as used in its page, but is nobody's.
        pages().WalkSlot(c, records[i].free_[c].Get(),
                         [&](uint32_t, Offset) { waiting += Config::SlotBlockBytes(c); });
      }
      PendingFrees<Config>::ForEach(records[i], [&](uint32_t head, uint64_t run) {
        waiting += RunWord<Config>::Count(run) * pages().BlockBytes(head);
      });
    }
  });
  root_.ForEachHead([&](uint32_t, uint32_t word) {
    if (HeadWord::KindOf(word) == HeadWord::kLarge && !HeadWord::IsFreed(word)) {
      used += HeadWord::Granules(word) * root_.granule_bytes();
    }
    return true;
  });
  return used > waiting ? used - waiting : 0;  // a death may have left one chain two names
}

template class ProcessBlock<LargePages>;
template class ProcessBlock<SmallPages>;
template class ProcessBlock<CheckedLargePages>;
template class ProcessBlock<CheckedSmallPages>;

}  // namespace hshm::ipc::multi_process
