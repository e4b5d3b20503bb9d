#include "hermes_shm/platform/cancellation.h"

#include <pthread.h>

namespace hshm {

int DisableCancellation() noexcept {
  int former = PTHREAD_CANCEL_ENABLE;
  pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &former);
  return former;
}

void RestoreCancellation(int former) noexcept { pthread_setcancelstate(former, nullptr); }

}  // namespace hshm
