#ifndef HSHM_DATA_STRUCTURES_RING_BUFFER_RING_VIEW_H_
#define HSHM_DATA_STRUCTURES_RING_BUFFER_RING_VIEW_H_

#include <cstdint>
#include <type_traits>

#include "hermes_shm/base/bits.h"
#include "hermes_shm/data_structures/ring_buffer/layout.h"

namespace hshm::ipc {

/**
 * A ring as one address space sees it: where its header and its cells lie. A value without owner or
 * allocator, so that it goes to a kernel as an argument; the ring must outlive it. The handles of
 * the host are built on the views. Nothing in a view waits, sleeps or wakes anybody: a lane that
 * waited for another one of its warp could wait for ever.
 *
 * Between a kernel and the host every word of the header is written by one side, so an SPSC ring
 * works in both directions on any memory that both see; so does an MPSC ring whose producers are
 * all on one side, if nobody but the producers' side closes it. Sleepers on the host look at a ring
 * that a kernel serves every RingBase::kSliceUs.
 */
template <typename CellT>
class RingView {
 public:
  static constexpr uint64_t kCellBytes = sizeof(CellT);

  RingView() = default;
  /** header may be an address that only kernels can use; the cells lie behind it. */
  HSHM_CROSS_FUN RingView(RingHeader* header, uint64_t capacity) noexcept
      : header_(header), cells_(reinterpret_cast<CellT*>(header + 1)), mask_(capacity - 1) {}

  HSHM_CROSS_FUN RingHeader* header() const noexcept { return header_; }
  HSHM_CROSS_FUN uint64_t capacity() const noexcept { return mask_ + 1; }

  /** Elements in the ring, claimed ones included; a guess while others push and pop. */
  HSHM_CROSS_FUN uint64_t size() const noexcept {
    const uint64_t head = header_->head_.load(std::memory_order_relaxed);  // relaxed: a guess
    const uint64_t tail = header_->tail_.load(std::memory_order_relaxed);  // relaxed: a guess
    const auto count = static_cast<int64_t>(tail - head);  // negative where a dead one left tail_
    return count < 0 ? 0 : bits::Min(static_cast<uint64_t>(count), capacity());
  }
  HSHM_CROSS_FUN bool empty() const noexcept { return size() == 0; }

  /** No push succeeds any more once it has begun after this; what is in the ring can be popped. */
  HSHM_CROSS_FUN void close() noexcept {
    header_->closed_.store(1, std::memory_order_release);  // pairs with is_closed
  }
  HSHM_CROSS_FUN bool is_closed() const noexcept {
    return header_->closed_.load(std::memory_order_acquire) != 0;  // pairs with close
  }

 protected:
  HSHM_CROSS_FUN CellT& CellAt(uint64_t index) const noexcept { return cells_[index & mask_]; }

  RingHeader* header_ = nullptr;
  CellT* cells_ = nullptr;
  uint64_t mask_ = 0;
};

}  // namespace hshm::ipc

#endif  // HSHM_DATA_STRUCTURES_RING_BUFFER_RING_VIEW_H_
