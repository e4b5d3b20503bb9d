#ifndef HSHM_UNIT_TESTS_SUPPORT_HALTED_THREAD_H_
#define HSHM_UNIT_TESTS_SUPPORT_HALTED_THREAD_H_

#include <pthread.h>
#include <sched.h>

#include <atomic>
#include <csignal>
#include <cstdint>
#include <thread>

#include "hermes_shm/platform/futex.h"

namespace hshm::test {

/**
 * Halts other threads of the process between any two of their instructions, so that two steps that
 * lie a nanosecond apart are tested as if they were far apart. One at a time; uses SIGUSR1.
 */
class Halter {
 public:
  explicit Halter(uint64_t seed = 0) : random_(seed) {
    struct sigaction action = {};
    action.sa_handler = Halt;
    sigemptyset(&action.sa_mask);
    sigaction(SIGUSR1, &action, &former_);
  }
  ~Halter() { sigaction(SIGUSR1, &former_, nullptr); }
  Halter(const Halter&) = delete;
  Halter& operator=(const Halter&) = delete;

  /**
   * Calls body() while the thread, which must live, is halted. Before that the thread has counted
   * `laps` on since the last halt, so that it is not found where it was, and gone on for a random
   * while. False, and no call, when it does not halt within a second: a sanitizer may hold signals
   * back.
   */
  template <typename Body>
  bool While(std::thread& thread, const std::atomic<uint64_t>& laps, Body body) {
    while (laps == laps_at_last_halt_) sched_yield();
    random_ = random_ * 6364136223846793005 + 1442695040888963407;
    volatile uint64_t pause = random_ >> 55;
    while (pause != 0) pause = pause - 1;
    Step() = kAsked;
    pthread_kill(thread.native_handle(), SIGUSR1);
    const uint64_t deadline_us = MonotonicUs() + 1000 * 1000;
    while (Step() == kAsked && MonotonicUs() < deadline_us) sched_yield();
    int asked = kAsked;
    if (Step().compare_exchange_strong(asked, kRunning)) return false;
    body();
    laps_at_last_halt_ = laps;
    Step() = kRunning;
    return true;
  }

 private:
  enum : int { kRunning, kAsked, kHalted };

  static std::atomic<int>& Step() {
    static std::atomic<int> step{kRunning};
    return step;
  }
  static void Halt(int) {
    int asked = kAsked;  // else it comes too late, and nobody would let it go on
    if (!Step().compare_exchange_strong(asked, kHalted)) return;
    while (Step() == kHalted) sched_yield();
  }

  uint64_t laps_at_last_halt_ = 0;
  uint64_t random_;
  struct sigaction former_ = {};
};

}  // namespace hshm::test

#endif  // HSHM_UNIT_TESTS_SUPPORT_HALTED_THREAD_H_
