#include "allocator/stopped_holder.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <ctime>

namespace {

uint64_t clock_factor = 1;

}  // namespace

extern "C" __attribute__((visibility("default"))) int clock_gettime(clockid_t clock,
                                                                    timespec* now) noexcept {
  constexpr uint64_t kSecond = 1'000'000'000;
  const auto result = static_cast<int>(syscall(SYS_clock_gettime, clock, now));
  if (result != 0 || clock != CLOCK_MONOTONIC || clock_factor == 1) return result;
  const uint64_t fast =
      (static_cast<uint64_t>(now->tv_sec) * kSecond + static_cast<uint64_t>(now->tv_nsec)) *
      clock_factor;
  now->tv_sec = static_cast<time_t>(fast / kSecond);
  now->tv_nsec = static_cast<long>(fast % kSecond);
  return result;
}

namespace hshm::ipc::test {

FastClock::FastClock() { clock_factor = 100; }
FastClock::~FastClock() { clock_factor = 1; }

}  // namespace hshm::ipc::test
