#ifndef HSHM_DATA_STRUCTURES_RING_BUFFER_MPSC_RING_BUFFER_H_
#define HSHM_DATA_STRUCTURES_RING_BUFFER_MPSC_RING_BUFFER_H_

#include <cstdint>

#include "hermes_shm/data_structures/ring_buffer/ring_base.h"

namespace hshm::ipc {

/**
 * A bounded queue from any number of threads of any ranks to one thread of any rank. What one
 * producer pushes is popped in its order.
 *
 *     cell word {lap, state, producer}:   free(l) -CAS-> claimed(l, me) -> full(l) -> free(l + 1)
 *                                           |                |  consumer, when the   ^
 *                                           |                +- producer is dead ----+
 *                                           +-CAS-> sealed(l)    consumer, when closed
 *
 * The CAS that claims a cell also says for whom, so there is no moment at which an index is taken
 * and nobody knows by whom. tail_ only tells where to look first: anyone moves it on past a cell
 * that is claimed. So a producer that dies blocks nobody.
 *
 * Invariant  Cells are claimed in the order of indices: index i is claimed only once tail_ has been
 *            i, and tail_ becomes i + 1 only once i has been claimed.
 * Ordering   full is released after the element and acquired by the consumer; free(l + 1) is
 *            released after the element was read and acquired by the next claim.
 * ABA        A word comes back after 2^30 laps; a CAS that slept that long would claim out of
 * order. Crash      A producer dead before its claim: nothing happened. Between claim and full: its
 * element is lost, the consumer asks whether the producer lives and skips the cell. After full:
 *            pushed. A consumer dead between free(l + 1) and head_: the next one finds the cell a
 *            lap ahead and moves head_ on. Dead before free(l + 1): the element is popped again.
 *
 * A producer that is stopped between claim and full holds up the consumer, not the producers. So
 * does a kernel that broke off there, for good: such a ring has to be destroyed.
 */
template <typename T>
class mpsc_ring_view : public RingView<MpscCell<T>> {
 public:
  using RingView<MpscCell<T>>::RingView;

  /** Any lane of any kernel. kDone, kFull or kClosed. */
  HSHM_CROSS_FUN RingResult try_push(const T& element) noexcept {
    return TryPushAs(CellWord::kKernel, element);
  }

  /** As many try_push as succeed; others may push in between. @return how many */
  HSHM_CROSS_FUN uint64_t try_push_n(const T* elements, uint64_t count) noexcept {
    uint64_t pushed = 0;
    while (pushed < count && try_push(elements[pushed]) == RingResult::kDone) ++pushed;
    return pushed;
  }

  /** Consumer only. kDone, kEmpty (also while the first element is being written) or kClosed. */
  HSHM_CROSS_FUN RingResult try_pop(T& element) noexcept {
    uint64_t claimed = 0;
    return TryPop(element, &claimed);
  }

  /** Consumer only. @return how many elements were popped, at most max_count */
  HSHM_CROSS_FUN uint64_t try_pop_n(T* elements, uint64_t max_count) noexcept {
    uint64_t popped = 0;
    while (popped < max_count && try_pop(elements[popped]) == RingResult::kDone) ++popped;
    return popped;
  }

  /** try_push in the name of `holder`: what CellWord::Holder made of a process, or kKernel. */
  HSHM_INLINE_CROSS_FUN RingResult TryPushAs(uint64_t holder, const T& element) noexcept {
    RingHeader& ring = *this->header_;
    while (!this->is_closed()) {
      uint64_t tail = ring.tail_.load(std::memory_order_relaxed);  // relaxed: only where to look
      MpscCell<T>& cell = this->CellAt(tail);
      uint64_t word = cell.word_.load(std::memory_order_acquire);  // pairs with Free
      const CellState state = CellWord::State(word);
      if (CellWord::Lap(word) == CellWord::Lap(FreeFor(tail) - kOneLap)) {
        return RingResult::kFull;
      }
      if (word == FreeFor(tail)) {
        const uint64_t claimed = CellWord::Make(LapOf(tail), CellState::kClaimed, holder);
        if (!cell.word_.compare_exchange_strong(word, claimed,
                                                std::memory_order_acquire,   // pairs with Free
                                                std::memory_order_relaxed))  // relaxed: retried
          continue;
        MoveTail(tail);
        cell.element_ = element;
        cell.word_.store(CellWord::Make(LapOf(tail), CellState::kFull),
                         std::memory_order_release);  // pairs with TryPop
        return RingResult::kDone;
      }
      if (state == CellState::kSealed) break;
      MoveTail(tail);
    }
    return RingResult::kClosed;
  }

  /**
   * try_pop; when a claimed cell is in the way, kEmpty and its word in `claimed`, which is left
   * alone otherwise.
   */
  HSHM_INLINE_CROSS_FUN RingResult TryPop(T& element, uint64_t* claimed) noexcept {
    RingHeader& ring = *this->header_;
    for (;;) {
      const uint64_t head = ring.head_.load(std::memory_order_relaxed);  // relaxed: my own word
      MpscCell<T>& cell = this->CellAt(head);
      uint64_t word = cell.word_.load(std::memory_order_acquire);  // pairs with TryPushAs
      if (CellWord::Lap(word) != LapOf(head)) {
        MoveHead(head);  // the late consumer freed the cell and died
        continue;
      }
      switch (CellWord::State(word)) {
        case CellState::kFull:
          element = cell.element_;
          Free(cell, head);
          return RingResult::kDone;
        case CellState::kClaimed:
          *claimed = word;
          return RingResult::kEmpty;
        case CellState::kTaken:  // with many consumers only: no word of this ring
          HSHM_CHECK(CellWord::State(word) != CellState::kTaken);
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

  /** Consumer only: leaves the first cell out, whose late producer wrote this word into it. */
  HSHM_CROSS_FUN void SkipClaimed(uint64_t claimed) noexcept {
    const uint64_t head = this->header_->head_.load(std::memory_order_relaxed);  // relaxed: my own
    MpscCell<T>& cell = this->CellAt(head);
    // Its last act may have been to fill the cell: look once more, now that it is over.
    // acquire: pairs with TryPushAs
    if (cell.word_.load(std::memory_order_acquire) == claimed) Free(cell, head);
  }

 private:
  static constexpr uint64_t kOneLap = uint64_t{1} << CellWord::kLapShift;

  HSHM_CROSS_FUN uint64_t LapOf(uint64_t index) const noexcept {
    return (index >> this->header_->capacity_log2_) & CellWord::kLapMask;
  }
  HSHM_CROSS_FUN uint64_t FreeFor(uint64_t index) const noexcept {
    return CellWord::Make(LapOf(index), CellState::kFree);
  }

  /** Index `tail` has been claimed. Whoever is first moves the hint; the others need not. */
  HSHM_CROSS_FUN void MoveTail(uint64_t tail) noexcept {
    this->header_->tail_.compare_exchange_strong(
        tail, tail + 1, std::memory_order_relaxed);  // relaxed: the cells' words order all
  }
  HSHM_CROSS_FUN void MoveHead(uint64_t head) noexcept {
    this->header_->head_.store(head + 1, std::memory_order_relaxed);  // relaxed: as MoveTail
  }

  /** The commit of a pop, or of skipping what a dead producer claimed. */
  HSHM_CROSS_FUN void Free(MpscCell<T>& cell, uint64_t head) noexcept {
    cell.word_.store(FreeFor(head) + kOneLap, std::memory_order_release);  // pairs with TryPushAs
    MoveHead(head);
  }
};
static_assert(std::is_trivially_copyable_v<mpsc_ring_view<uint64_t>>);

/** The handle of an MPSC ring: mpsc_ring_view with a life cycle, names of processes and waiting. */
template <Shareable T, typename AllocT>
class mpsc_ring_buffer
    : public RingBase<mpsc_ring_buffer<T, AllocT>, T, AllocT, mpsc_ring_view<T>, kMpscMagic> {
 public:
  /** Any thread of any rank. kDone, kFull or kClosed. */
  RingResult try_push(const T& element) noexcept {
    const LockIdentity me = this->Identity();
    const RingResult result = this->view().TryPushAs(CellWord::Holder(me), element);
    if (result == RingResult::kDone) this->WakeIfWanted(this->header().data_wanted_);
    return result;
  }

  /** As many try_push as succeed; others may push in between. @return how many */
  uint64_t try_push_n(const T* elements, uint64_t count) noexcept {
    uint64_t pushed = 0;
    while (pushed < count && try_push(elements[pushed]) == RingResult::kDone) ++pushed;
    return pushed;
  }

  /** Consumer only. kDone, kEmpty (also while the first element is being written) or kClosed. */
  RingResult try_pop(T& element) noexcept {
    for (;;) {
      uint64_t claimed = 0;
      const RingResult result = this->view().TryPop(element, &claimed);
      if (result == RingResult::kDone) {
        this->WakeIfWanted(this->header().room_wanted_);
        return result;
      }
      if (claimed == 0 || !IsHolderDead(claimed)) return result;
      this->view().SkipClaimed(claimed);
      this->WakeIfWanted(this->header().room_wanted_);
    }
  }

  /** Consumer only. @return how many elements were popped, at most max_count */
  uint64_t try_pop_n(T* elements, uint64_t max_count) noexcept {
    uint64_t popped = 0;
    while (popped < max_count && try_pop(elements[popped]) == RingResult::kDone) ++popped;
    return popped;
  }

 private:
  bool IsHolderDead(uint64_t word) const noexcept {
    if (CellWord::IsKernel(word)) return false;
    return this->Identity().peers_->IsDead(CellWord::Slot(word), CellWord::Generation(word));
  }
};

}  // namespace hshm::ipc

#endif  // HSHM_DATA_STRUCTURES_RING_BUFFER_MPSC_RING_BUFFER_H_
