#include "hermes_shm/thread/pthread.h"

#include <unistd.h>

#include <atomic>
#include <thread>
#include <vector>

#include "hermes_shm/platform/futex.h"
#include "hermes_shm/thread/thread_model_manager.h"
#include "support/catch.h"

using hshm::ThreadId;
using hshm::ThreadLocalKey;
using hshm::thread::Pthread;

namespace {

/** Notes in which thread it ended, and how often. */
struct Noting {
  ThreadId ended_in_;
  int endings_ = 0;
  void destroy() noexcept {
    ended_in_ = HSHM_THREAD_MODEL->GetTid();
    ++endings_;
  }
};

struct Plain {
  int value_ = 5;
};

std::atomic<int> counted{0};
struct Counting {
  void destroy() noexcept { counted.fetch_add(1); }
};

/** More keys than a process can have at a time. */
constexpr int kManyKeys = 5000;

}  // namespace

static_assert(hshm::thread::ThreadModel<Pthread>);
static_assert(!hshm::thread::ThreadModel<int>);

TEST_CASE("Pthread tells threads apart, and processes from threads") {
  Pthread model;
  const ThreadId mine = model.GetTid();
  ThreadId other;
  std::thread([&] { other = model.GetTid(); }).join();
  CHECK(mine.tid_ == static_cast<uint64_t>(gettid()));
  CHECK(mine == model.GetTid());
  CHECK_FALSE(mine == other);
  CHECK_FALSE(other.IsNull());
  CHECK(ThreadId().IsNull());
}

TEST_CASE("Pthread SleepForUs sleeps at least as long as asked") {
  const uint64_t before_us = hshm::MonotonicUs();
  HSHM_THREAD_MODEL->SleepForUs(3000);
  CHECK(hshm::MonotonicUs() - before_us >= 3000);
  HSHM_THREAD_MODEL->SleepForUs(0);
  HSHM_THREAD_MODEL->Yield();
}

TEST_CASE("Thread-local data is each thread's own, and set for the creator at once") {
  Pthread model;
  ThreadLocalKey key;
  Plain mine;
  REQUIRE(model.CreateTls(key, &mine));
  CHECK(model.GetTls<Plain>(key) == &mine);
  std::thread([&] {
    if (model.GetTls<Plain>(key) != nullptr) std::abort();
    Plain own;
    if (!model.SetTls(key, &own)) std::abort();
    if (model.GetTls<Plain>(key) != &own) std::abort();
  }).join();
  CHECK(model.GetTls<Plain>(key) == &mine);
  CHECK(mine.value_ == 5);
  model.DestroyTls(key);
  CHECK(model.GetTls<Plain>(key) == nullptr);
  CHECK_FALSE(model.SetTls(key, &mine));
  model.DestroyTls(key);
}

TEST_CASE("Thread exit calls destroy once, in the thread that ends, and only where data is set") {
  Pthread model;
  ThreadLocalKey key;
  Noting mine;
  Noting others;
  REQUIRE(model.CreateTls(key, &mine));
  ThreadId other;
  std::thread([&] {
    other = model.GetTid();
    model.SetTls(key, &others);
  }).join();
  std::thread([] {}).join();
  CHECK(others.endings_ == 1);
  CHECK(others.ended_in_ == other);
  std::thread([&] {
    model.SetTls(key, &others);
    model.SetTls<Noting>(key, nullptr);
  }).join();
  CHECK(others.endings_ == 1);
  CHECK(mine.endings_ == 0);
  model.DestroyTls(key);
  CHECK(mine.endings_ == 0);
}

TEST_CASE("A key that was given back calls nobody's destroy") {
  Pthread model;
  Noting data;
  std::thread([&] {
    ThreadLocalKey key;
    if (!model.CreateTls(key, &data)) std::abort();
    model.DestroyTls(key);
  }).join();
  CHECK(data.endings_ == 0);
}

TEST_CASE("Keys are given back, and running out of them is a plain no") {
  Pthread model;
  Plain data;
  for (int i = 0; i < kManyKeys; ++i) {
    ThreadLocalKey key;
    REQUIRE(model.CreateTls(key, &data));
    model.DestroyTls(key);
  }
  std::vector<ThreadLocalKey> keys;
  for (ThreadLocalKey key; model.CreateTls(key, &data); key = ThreadLocalKey()) keys.push_back(key);
  CHECK(keys.size() < kManyKeys);
  ThreadLocalKey failed;
  CHECK_FALSE(model.CreateTls(failed, &data));
  CHECK_FALSE(failed.is_created_);
  CHECK(model.GetTls<Plain>(failed) == nullptr);
  for (ThreadLocalKey& key : keys) model.DestroyTls(key);
  CHECK(model.CreateTls(failed, &data));
  model.DestroyTls(failed);
}

TEST_CASE("100,000 short threads leak no key, and each one's data is told of its end") {
  constexpr int kThreads = 100000;
  Pthread model;
  ThreadLocalKey shared;
  Counting mine;
  REQUIRE(model.CreateTls(shared, &mine));
  counted = 0;
  for (int i = 0; i < kThreads; ++i) {
    Counting data;
    std::thread([&] {
      ThreadLocalKey own;
      if (!model.SetTls(shared, &data) || !model.CreateTls(own, &data)) std::abort();
      model.DestroyTls(own);
    }).join();
  }
  CHECK(counted == kThreads);
  model.DestroyTls(shared);
}

TEST_CASE("HSHM_THREAD_MODEL is one object for the whole process") {
  hshm::thread::DefaultThreadModel* seen = nullptr;
  std::thread([&] { seen = HSHM_THREAD_MODEL; }).join();
  CHECK(seen == HSHM_THREAD_MODEL);
}
