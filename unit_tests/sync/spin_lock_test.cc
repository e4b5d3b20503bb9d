#include "hermes_shm/sync/spin_lock.h"

#include <thread>
#include <vector>

#include "hermes_shm/sync/mutex.h"
#include "support/catch.h"

using hshm::SpinGuard;
using hshm::SpinLock;

namespace {
struct WithSpinLock {
  int value_;
  SpinLock lock_;
};
struct Nested {
  WithSpinLock inner_;
};
}  // namespace
static_assert(!hshm::SharedLayout<WithSpinLock>);
static_assert(!hshm::SharedLayout<Nested>, "it is contagious");
static_assert(hshm::SharedLayout<hshm::Mutex>);
static_assert(!hshm::SharedLayout<int*>);

TEST_CASE("SpinLock lets one thread in at a time") {
  constexpr int kThreads = 4;
  constexpr int kRounds = 20000;
  SpinLock lock;
  int count = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&] {
      for (int round = 0; round < kRounds; ++round) {
        const SpinGuard guard(lock);
        ++count;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(count == kThreads * kRounds);
}

TEST_CASE("SpinLock TryLock fails while it is held and succeeds afterwards") {
  SpinLock lock;
  {
    const SpinGuard guard(lock);
    CHECK_FALSE(lock.TryLock());
  }
  CHECK(lock.TryLock());
  lock.Unlock();
}
