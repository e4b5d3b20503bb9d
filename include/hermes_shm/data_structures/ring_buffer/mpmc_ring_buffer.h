#ifndef HSHM_DATA_STRUCTURES_RING_BUFFER_MPMC_RING_BUFFER_H_
#define HSHM_DATA_STRUCTURES_RING_BUFFER_MPMC_RING_BUFFER_H_

#include <cstdint>

#include "hermes_shm/data_structures/ring_buffer/ring_base.h"

namespace hshm::ipc {

/** A cell that somebody holds, and the word that says who. No word: nobody is in the way. */
struct RingObstacle {
  uint64_t index_ = 0;
  uint64_t word_ = 0;
};

/**
 * A bounded queue from any number of threads to any number of threads, of any ranks. Each element
 * is popped once. What one producer pushes is popped in its order; consumers may finish in another.
 *
 *     cell word {lap, state, who}:   free(l) -CAS-> claimed(l, producer) -> full(l)
 *                                      |                |                      | CAS
 *                                      +-CAS-> sealed(l)|              taken(l, consumer) -> free(l
 * + 1)
 *                                                       +- CAS, dead ----------+- CAS, dead ----^
 *
 * As in mpsc_ring_view the CAS that claims or takes a cell says for whom, and tail_ and head_ only
 * tell where to look first: anyone moves them on past a cell that is claimed, or taken. So a
 * producer or consumer that dies blocks nobody.
 *
 * Invariant  Index i is claimed only once tail_ has been i, and taken or left out only once head_
 *            has been i; they become i + 1 only once it is. A cell is written or read by whom its
 *            word names, and by nobody else.
 * Ordering   full is released after the element and acquired by who takes it; free(l + 1) is
 *            released after the element was read and acquired by the next claim.
 * ABA        A word comes back after 2^30 laps; a CAS that slept that long would act out of order.
 * Crash      A producer dead before its claim: nothing happened. Between claim and full: its
 *            element is lost, a consumer asks whether it lives and frees the cell. After full:
 *            pushed. A consumer dead before it took: nothing happened. Between taken and
 *            free(l + 1): the element is gone with it, a producer that comes round to the cell, or
 * a consumer, asks whether it lives and frees the cell.
 *
 * A producer that is stopped between claim and full holds up the consumers; a consumer that is
 * stopped between taken and free holds up the producers once they come round. So does a kernel that
 * broke off there, for good: such a ring has to be destroyed.
 */
template <typename T>
class mpmc_ring_view : public RingView<MpscCell<T>> {
 public:
  using RingView<MpscCell<T>>::RingView;

  /** Any lane of any kernel. kDone, kFull or kClosed. */
  HSHM_CROSS_FUN RingResult try_push(const T& element) noexcept {
    RingObstacle obstacle;
    return TryPushAs(CellWord::kKernel, element, &obstacle);
  }
  /** Any lane of any kernel. kDone, kEmpty or kClosed. */
  HSHM_CROSS_FUN RingResult try_pop(T& element) noexcept {
    RingObstacle obstacle;
    return TryPopAs(CellWord::kKernel, element, &obstacle);
  }

  /**
   * try_push in the name of `holder`: what CellWord::Holder made of a process, or kKernel. When the
   * ring is full because somebody still holds the cell that comes next, it goes to
   * `obstacle`, which is left alone otherwise.
   */
  HSHM_CROSS_FUN RingResult TryPushAs(uint64_t holder, const T& element,
                                      RingObstacle* obstacle) noexcept {
    RingHeader& ring = *this->header_;
    while (!this->is_closed()) {
      const uint64_t tail = ring.tail_.load(std::memory_order_relaxed);  // relaxed: where to look
      MpscCell<T>& cell = this->CellAt(tail);
      uint64_t word = cell.word_.load(std::memory_order_acquire);  // pairs with Free
      if (LapsAhead(word, tail) == kOneBehind) {
        if (CellWord::State(word) == CellState::kTaken) *obstacle = {tail, word};
        return RingResult::kFull;
      }
      if (word == CellWord::Make(LapOf(tail), CellState::kFree)) {
        const uint64_t claimed = CellWord::Make(LapOf(tail), CellState::kClaimed, holder);
        if (!cell.word_.compare_exchange_strong(word, claimed,
                                                std::memory_order_acquire,   // pairs with Free
                                                std::memory_order_relaxed))  // relaxed: retried
          continue;
        MoveOn(ring.tail_, tail);
        cell.element_ = element;
        cell.word_.store(CellWord::Make(LapOf(tail), CellState::kFull),
                         std::memory_order_release);  // pairs with TryPopAs
        return RingResult::kDone;
      }
      if (CellWord::State(word) == CellState::kSealed) break;
      MoveOn(ring.tail_, tail);
    }
    return RingResult::kClosed;
  }

  /** try_pop in the name of `holder`; `obstacle` as in TryPushAs, with kEmpty. */
  HSHM_CROSS_FUN RingResult TryPopAs(uint64_t holder, T& element, RingObstacle* obstacle) noexcept {
    RingHeader& ring = *this->header_;
    for (;;) {
      const uint64_t head = ring.head_.load(std::memory_order_relaxed);  // relaxed: where to look
      MpscCell<T>& cell = this->CellAt(head);
      uint64_t word = cell.word_.load(std::memory_order_acquire);  // pairs with TryPushAs
      const uint64_t laps_ahead = LapsAhead(word, head);
      if (laps_ahead == kOneBehind) {  // not even free for this lap: nobody can have pushed
        *obstacle = {head, word};
        return RingResult::kEmpty;
      }
      if (laps_ahead != 0) {
        MoveOn(ring.head_, head);
        continue;
      }
      switch (CellWord::State(word)) {
        case CellState::kFull:
          if (!cell.word_.compare_exchange_strong(
                  word, CellWord::Make(LapOf(head), CellState::kTaken, holder),
                  std::memory_order_acquire,   // pairs with TryPushAs
                  std::memory_order_relaxed))  // relaxed: retried
            break;
          MoveOn(ring.head_, head);
          element = cell.element_;
          cell.word_.store(CellWord::Make(LapOf(head) + 1, CellState::kFree),
                           std::memory_order_release);  // pairs with TryPushAs
          return RingResult::kDone;
        case CellState::kTaken:
          MoveOn(ring.head_, head);
          break;
        case CellState::kClaimed:
          *obstacle = {head, word};
          return RingResult::kEmpty;
        case CellState::kSealed:
          return RingResult::kClosed;
        case CellState::kFree:
          if (!this->is_closed()) return RingResult::kEmpty;
          // A producer that looked before the closing may still claim it: the CAS decides.
          cell.word_.compare_exchange_strong(word, CellWord::Make(LapOf(head), CellState::kSealed),
                                             std::memory_order_acq_rel,   // pairs with TryPushAs
                                             std::memory_order_relaxed);  // relaxed: looks again
          break;
      }
    }
  }

  /** Frees a cell whose holder is dead. */
  HSHM_CROSS_FUN void FreeOfDead(const RingObstacle& obstacle) noexcept {
    MpscCell<T>& cell = this->CellAt(obstacle.index_);
    uint64_t word = obstacle.word_;
    const uint64_t freed = CellWord::Make(CellWord::Lap(word) + 1, CellState::kFree);
    // Its last act may have been to fill or to free the cell, or another was faster: then no more
    // is to be done. acq_rel: pairs with TryPushAs, and with IsDead for what it read or wrote.
    cell.word_.compare_exchange_strong(word, freed, std::memory_order_acq_rel,
                                       std::memory_order_relaxed);  // relaxed: as above
  }

 private:
  static constexpr uint64_t kOneBehind = CellWord::kLapMask;

  HSHM_CROSS_FUN uint64_t LapOf(uint64_t index) const noexcept {
    return (index >> this->header_->capacity_log2_) & CellWord::kLapMask;
  }
  HSHM_CROSS_FUN uint64_t LapsAhead(uint64_t word, uint64_t index) const noexcept {
    return (CellWord::Lap(word) - LapOf(index)) & CellWord::kLapMask;
  }

  /** Index `seen` is done with. Whoever is first moves the hint; the others need not. */
  HSHM_CROSS_FUN static void MoveOn(Atomic<uint64_t>& hint, uint64_t seen) noexcept {
    hint.compare_exchange_strong(seen, seen + 1,
                                 std::memory_order_relaxed);  // relaxed: the cells' words order all
  }
};
static_assert(std::is_trivially_copyable_v<mpmc_ring_view<uint64_t>>);

/** The handle of an MPMC ring: mpmc_ring_view with a life cycle, names of processes and waiting. */
template <Shareable T, typename AllocT>
class mpmc_ring_buffer
    : public RingBase<mpmc_ring_buffer<T, AllocT>, T, AllocT, mpmc_ring_view<T>, kMpmcMagic> {
 public:
  /** Any thread of any rank. kDone, kFull or kClosed. */
  RingResult try_push(const T& element) noexcept {
    const LockIdentity me = this->Identity();
    for (;;) {
      RingObstacle obstacle;
      const RingResult result = this->view().TryPushAs(CellWord::Holder(me), element, &obstacle);
      if (result == RingResult::kDone) this->WakeIfWanted(this->header().data_wanted_);
      if (obstacle.word_ == 0 || !IsHolderDead(me, obstacle.word_)) return result;
      this->view().FreeOfDead(obstacle);
    }
  }

  /** As many try_push as succeed; others may push in between. @return how many */
  uint64_t try_push_n(const T* elements, uint64_t count) noexcept {
    uint64_t pushed = 0;
    while (pushed < count && try_push(elements[pushed]) == RingResult::kDone) ++pushed;
    return pushed;
  }

  /** Any thread of any rank. kDone, kEmpty (also while the first element is being written) or
   * kClosed. */
  RingResult try_pop(T& element) noexcept {
    const LockIdentity me = this->Identity();
    for (;;) {
      RingObstacle obstacle;
      const RingResult result = this->view().TryPopAs(CellWord::Holder(me), element, &obstacle);
      if (result == RingResult::kDone) this->WakeIfWanted(this->header().room_wanted_);
      if (obstacle.word_ == 0 || !IsHolderDead(me, obstacle.word_)) return result;
      this->view().FreeOfDead(obstacle);
      this->WakeIfWanted(this->header().room_wanted_);
    }
  }

  /** As many try_pop as succeed; others may pop in between. @return how many */
  uint64_t try_pop_n(T* elements, uint64_t max_count) noexcept {
    uint64_t popped = 0;
    while (popped < max_count && try_pop(elements[popped]) == RingResult::kDone) ++popped;
    return popped;
  }

 private:
  static bool IsHolderDead(const LockIdentity& me, uint64_t word) noexcept {
    if (CellWord::IsKernel(word)) return false;
    return me.peers_->IsDead(CellWord::Slot(word), CellWord::Generation(word));
  }
};

}  // namespace hshm::ipc

#endif  // HSHM_DATA_STRUCTURES_RING_BUFFER_MPMC_RING_BUFFER_H_
