#include "hermes_shm/platform/futex.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <ctime>

#include "hermes_shm/base/check.h"

namespace hshm {

void FutexWait(const void* word, uint32_t expected, uint64_t timeout_us) noexcept {
  const timespec timeout = {static_cast<time_t>(timeout_us / 1000000),
                            static_cast<long>(timeout_us % 1000000) * 1000};
  const int saved_errno = errno;
  // Not FUTEX_WAIT_PRIVATE: the word is shared.
  if (syscall(SYS_futex, word, FUTEX_WAIT, expected, &timeout, nullptr, 0) != 0) {
    HSHM_CHECK(errno == EAGAIN || errno == EINTR || errno == ETIMEDOUT);
  }
  errno = saved_errno;
}

void FutexWake(const void* word, uint32_t count) noexcept {
  const int saved_errno = errno;
  const uint32_t sleepers = std::min<uint32_t>(count, INT_MAX);
  syscall(SYS_futex, word, FUTEX_WAKE, sleepers, nullptr, nullptr, 0);
  errno = saved_errno;  // a wake cannot fail in a way that a caller could cure
}

uint64_t MonotonicUs() noexcept {
  timespec now = {};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1000000 + static_cast<uint64_t>(now.tv_nsec) / 1000;
}

}  // namespace hshm
