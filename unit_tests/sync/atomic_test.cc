#include "hermes_shm/sync/atomic.h"

#include <cstring>
#include <thread>
#include <vector>

#include "support/catch.h"

using hshm::Atomic;

namespace {
constexpr int kThreads = 4;
constexpr int kRounds = 20000;

template <typename Body>
void RunThreads(Body body) {
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) threads.emplace_back(body, i);
  for (std::thread& thread : threads) thread.join();
}
}  // namespace

static_assert(!std::is_copy_constructible_v<Atomic<int>>);
static_assert(!std::is_copy_assignable_v<Atomic<int>>);
static_assert(noexcept(std::declval<Atomic<int>&>().fetch_add(1)));
[[maybe_unused]] constinit Atomic<uint64_t> made_at_compile_time{7};

TEMPLATE_TEST_CASE("Atomic counts every addition of every thread", "", uint8_t, uint16_t, uint32_t,
                   uint64_t) {
  Atomic<TestType> counter;
  RunThreads([&](int) {
    for (int i = 0; i < kRounds; ++i) counter.fetch_add(3);
    for (int i = 0; i < kRounds; ++i) counter.fetch_sub(2);
  });
  CHECK(counter.load() == static_cast<TestType>(kThreads * kRounds));
}

TEST_CASE("Atomic over zeroed memory is 0") {
  alignas(8) unsigned char zeros[8] = {};
  CHECK(reinterpret_cast<Atomic<uint64_t>*>(zeros)->load() == 0);
  CHECK(Atomic<uint32_t>().load() == 0);
}

TEST_CASE("Atomic compare_exchange stores on a match and reports what it found otherwise") {
  Atomic<uint32_t> word(5);
  uint32_t expected = 4;
  CHECK_FALSE(word.compare_exchange_strong(expected, 9));
  CHECK(expected == 5);
  CHECK(word.compare_exchange_strong(expected, 9, std::memory_order_acq_rel,  // pairs with itself
                                     std::memory_order_relaxed));             // relaxed: one thread
  CHECK(word.load() == 9);
  expected = 9;
  while (!word.compare_exchange_weak(expected, 10)) {}
  CHECK(word.exchange(11) == 10);
  CHECK(word.load() == 11);
}

TEST_CASE("Atomic fetch_or and fetch_and change the named bits and return the former ones") {
  Atomic<uint16_t> bits(0b0110);
  CHECK(bits.fetch_or(0b0001) == 0b0110);
  CHECK(bits.fetch_and(0b0101) == 0b0111);
  CHECK(bits.load() == 0b0101);
}

TEST_CASE("Atomic holds enums, and structs of up to 8 bytes") {
  enum class Colour : uint8_t { kRed, kGreen };
  Atomic<Colour> colour;
  CHECK(colour.load() == Colour::kRed);
  colour.store(Colour::kGreen);
  CHECK(colour.load() == Colour::kGreen);
  struct Pair {
    uint32_t low_;
    uint32_t high_;
  };
  Atomic<Pair> pair(Pair{1, 2});
  CHECK(pair.exchange(Pair{3, 4}).high_ == 2);
  CHECK(pair.load().low_ == 3);
  Pair expected{3, 5};
  CHECK_FALSE(pair.compare_exchange_strong(expected, Pair{7, 8}));
  CHECK(expected.high_ == 4);
  CHECK(pair.compare_exchange_strong(expected, Pair{7, 8}));
  pair.store(Pair{pair.load().high_, 9});
  CHECK(pair.load().low_ == 8);
  CHECK(pair.load().high_ == 9);
}

TEST_CASE("Atomic release and acquire hand a plain value over") {
  int value = 0;
  Atomic<uint32_t> ready;
  std::thread writer([&] {
    value = 42;
    ready.store(1, std::memory_order_release);  // pairs with the load below
  });
  while (ready.load(std::memory_order_acquire) == 0) {  // pairs with the store above
    std::this_thread::yield();
  }
  CHECK(value == 42);
  writer.join();
}
