#ifndef HSHM_DATA_STRUCTURES_RING_BUFFER_H_
#define HSHM_DATA_STRUCTURES_RING_BUFFER_H_

#include <cstdint>

#include "hermes_shm/data_structures/ring_buffer/mpmc_ring_buffer.h"
#include "hermes_shm/data_structures/ring_buffer/mpsc_ring_buffer.h"
#include "hermes_shm/data_structures/ring_buffer/spsc_ring_buffer.h"

namespace hshm::ipc {

/** How many threads, of any ranks, may push, and how many may pop. */
enum class RingKind : uint32_t {
  kSpsc,  // one pushes, one pops
  kMpsc,  // any number push, one pops
  kMpmc,  // any number push, any number pop
};

namespace detail {
template <Shareable T, typename AllocT, RingKind kKind>
struct RingOfKind {
  using type = spsc_ring_buffer<T, AllocT>;
};
template <Shareable T, typename AllocT>
struct RingOfKind<T, AllocT, RingKind::kMpsc> {
  using type = mpsc_ring_buffer<T, AllocT>;
};
template <Shareable T, typename AllocT>
struct RingOfKind<T, AllocT, RingKind::kMpmc> {
  using type = mpmc_ring_buffer<T, AllocT>;
};
}  // namespace detail

template <Shareable T, typename AllocT, RingKind kKind = RingKind::kMpsc>
using ring_buffer = typename detail::RingOfKind<T, AllocT, kKind>::type;

}  // namespace hshm::ipc

#endif  // HSHM_DATA_STRUCTURES_RING_BUFFER_H_
