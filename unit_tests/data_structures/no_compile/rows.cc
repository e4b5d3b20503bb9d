/**
 * Containers and rings of addresses. One at a time, by HSHM_TEST_ROW: the test compiles this file
 * and expects the compiler to refuse.
 */
#include "hermes_shm/data_structures/list.h"
#include "hermes_shm/data_structures/map.h"
#include "hermes_shm/data_structures/ring_buffer/multi_ring_buffer.h"
#include "hermes_shm/data_structures/unordered_map.h"
#include "hermes_shm/data_structures/vector.h"
#include "hermes_shm/memory/allocator/multi_process_allocator.h"

namespace {

using Alloc = hshm::ipc::MultiProcessAllocator;
using hshm::ipc::RingKind;

/** Row 0, the control, has a value in each place; a row has an address in one of them. */
template <int kRow>
using ElementOf = std::conditional_t<kRow == HSHM_TEST_ROW, int*, int>;

void Use(Alloc* alloc) {
  hshm::ipc::vector<ElementOf<1>, Alloc> vector;
  vector.shm_init(alloc);
  hshm::ipc::list<ElementOf<2>, Alloc> list;
  list.shm_init(alloc);
  hshm::ipc::map<ElementOf<3>, ElementOf<4>, Alloc> map;
  map.shm_init(alloc);
  hshm::ipc::unordered_map<ElementOf<5>, ElementOf<6>, Alloc> table;
  table.shm_init(alloc);
  hshm::ipc::ring_buffer<ElementOf<7>, Alloc, RingKind::kSpsc> spsc;
  spsc.shm_init(alloc, 8);
  hshm::ipc::ring_buffer<ElementOf<8>, Alloc, RingKind::kMpsc> mpsc;
  mpsc.shm_init(alloc, 8);
  hshm::ipc::ring_buffer<ElementOf<9>, Alloc, RingKind::kMpmc> mpmc;
  mpmc.shm_init(alloc, 8);
  hshm::ipc::multi_ring_buffer<ElementOf<10>, Alloc> lanes;
  lanes.shm_init(alloc, 2, 8);
}

}  // namespace

int main() { Use(nullptr); }
