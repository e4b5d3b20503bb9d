/** Compiled by two tests with another LOCK each: a SpinLock must be refused, a Mutex accepted. */
#include "hermes_shm/sync/mutex.h"
#include "hermes_shm/sync/shared_layout.h"
#include "hermes_shm/sync/spin_lock.h"

struct SharedCounter {
  LOCK lock_;
  hshm::Atomic<uint64_t> count_;
};
static_assert(hshm::SharedLayout<SharedCounter>);
