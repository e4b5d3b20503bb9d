#ifndef HSHM_DATA_STRUCTURES_RING_BUFFER_SPSC_RING_BUFFER_H_
#define HSHM_DATA_STRUCTURES_RING_BUFFER_SPSC_RING_BUFFER_H_

#include <cstdint>

#include "hermes_shm/data_structures/ring_buffer/ring_base.h"

namespace hshm::ipc {

/**
 * A bounded queue from one thread of any rank to one thread of any rank (L. Lamport's, with each
 * side's view of the other kept on its own cache line).
 *
 * Invariant  Cells head_ .. tail_ - 1 hold elements; the consumer alone touches those, the producer
 *            alone the others. seen_head_ <= head_ and seen_tail_ <= tail_.
 * Ordering   tail_ is released after the element and acquired by the consumer; head_ the other way.
 * ABA        None: indices of 64 bits do not come back.
 * Crash      A push or pop happens by its one store of tail_ or head_. Dead before it: nothing
 *            happened. Another thread may take the dead one's side over, once it is sure of the
 *            death. An element that was read and whose pop did not happen is popped again.
 *
 * close() is for the producer, or for the consumer when it wants no more; an element that is pushed
 * while somebody else closes may be left in the ring.
 */
template <typename T>
class spsc_ring_view : public RingView<SpscCell<T>> {
 public:
  using RingView<SpscCell<T>>::RingView;

  /** Producer only. kDone, kFull or kClosed. */
  HSHM_CROSS_FUN RingResult try_push(const T& element) noexcept {
    return try_push_n(&element, 1) == 1 ? RingResult::kDone
           : this->is_closed()          ? RingResult::kClosed
                                        : RingResult::kFull;
  }

  /** Producer only. @return how many of the `count` elements were pushed: as many as fit */
  HSHM_CROSS_FUN uint64_t try_push_n(const T* elements, uint64_t count) noexcept {
    RingHeader& ring = *this->header_;
    if (this->is_closed()) return 0;
    const uint64_t tail = ring.tail_.load(std::memory_order_relaxed);  // relaxed: my own word
    if (this->capacity() - (tail - ring.seen_head_) < count) {
      ring.seen_head_ = ring.head_.load(std::memory_order_acquire);  // pairs with try_pop_n
    }
    const uint64_t pushed = bits::Min(count, this->capacity() - (tail - ring.seen_head_));
    if (pushed == 0) return 0;
    for (uint64_t i = 0; i < pushed; ++i) this->CellAt(tail + i).element_ = elements[i];
    ring.tail_.store(tail + pushed, std::memory_order_release);  // pairs with try_pop_n
    return pushed;
  }

  /** Consumer only. kDone, kEmpty or kClosed. */
  HSHM_CROSS_FUN RingResult try_pop(T& element) noexcept {
    const bool closed = this->is_closed();  // asked first: then no push comes after the look
    if (try_pop_n(&element, 1) == 1) return RingResult::kDone;
    return closed ? RingResult::kClosed : RingResult::kEmpty;
  }

  /** Consumer only. @return how many elements were popped, at most max_count */
  HSHM_CROSS_FUN uint64_t try_pop_n(T* elements, uint64_t max_count) noexcept {
    RingHeader& ring = *this->header_;
    const uint64_t head = ring.head_.load(std::memory_order_relaxed);  // relaxed: my own word
    if (ring.seen_tail_ - head < max_count) {
      ring.seen_tail_ = ring.tail_.load(std::memory_order_acquire);  // pairs with try_push_n
    }
    const uint64_t popped = bits::Min(max_count, ring.seen_tail_ - head);
    if (popped == 0) return 0;
    for (uint64_t i = 0; i < popped; ++i) elements[i] = this->CellAt(head + i).element_;
    ring.head_.store(head + popped, std::memory_order_release);  // pairs with try_push_n
    return popped;
  }
};
static_assert(std::is_trivially_copyable_v<spsc_ring_view<uint64_t>>);

/** The handle of an SPSC ring: spsc_ring_view with a life cycle, and with waiting. */
template <Shareable T, typename AllocT>
class spsc_ring_buffer
    : public RingBase<spsc_ring_buffer<T, AllocT>, T, AllocT, spsc_ring_view<T>, kSpscMagic> {
 public:
  /** As spsc_ring_view::try_push. */
  RingResult try_push(const T& element) noexcept {
    const RingResult result = this->view().try_push(element);
    if (result == RingResult::kDone) this->WakeIfWanted(this->header().data_wanted_);
    return result;
  }
  uint64_t try_push_n(const T* elements, uint64_t count) noexcept {
    const uint64_t pushed = this->view().try_push_n(elements, count);
    if (pushed != 0) this->WakeIfWanted(this->header().data_wanted_);
    return pushed;
  }

  /** As spsc_ring_view::try_pop. */
  RingResult try_pop(T& element) noexcept {
    const RingResult result = this->view().try_pop(element);
    if (result == RingResult::kDone) this->WakeIfWanted(this->header().room_wanted_);
    return result;
  }
  uint64_t try_pop_n(T* elements, uint64_t max_count) noexcept {
    const uint64_t popped = this->view().try_pop_n(elements, max_count);
    if (popped != 0) this->WakeIfWanted(this->header().room_wanted_);
    return popped;
  }
};

}  // namespace hshm::ipc

#endif  // HSHM_DATA_STRUCTURES_RING_BUFFER_SPSC_RING_BUFFER_H_
