#include "hermes_shm/sync/patience.h"

#include <array>

#include "support/catch.h"

using hshm::LockResult;
using hshm::Mutex;
using hshm::Patience;

namespace {

/** Locks, and who has waited for them: no time passes. */
struct Fixture {
  std::array<Mutex, Patience::kLocks + 1> locks_;
  Patience patience_;

  bool IsShort(size_t lock) const {
    return patience_.TimeoutUs(locks_[lock]) == Patience::kAgainUs;
  }
  /** @return whether the wait was a full one */
  bool WaitInVain(size_t lock) {
    const bool is_full = patience_.TimeoutUs(locks_[lock]) == Patience::kTimeoutUs;
    patience_.Note(locks_[lock], LockResult::kTimeout);
    return is_full;
  }
  void Have(size_t lock, LockResult result) { patience_.Note(locks_[lock], result); }
};

}  // namespace

TEST_CASE("Waits for a lock are short after one in vain, until it is had again") {
  Fixture f;
  const LockResult had = GENERATE(LockResult::kLocked, LockResult::kOwnerDied);
  REQUIRE_FALSE(f.IsShort(0));
  f.Have(0, had);
  REQUIRE(f.WaitInVain(0));
  REQUIRE_FALSE(f.WaitInVain(0));
  REQUIRE(f.IsShort(0));
  REQUIRE_FALSE(f.IsShort(1));
  f.Have(1, had);
  REQUIRE(f.IsShort(0));
  f.Have(0, had);
  REQUIRE_FALSE(f.IsShort(0));
}

TEST_CASE("Locks that are waited for in turn, in vain, take one full wait each") {
  Fixture f;
  for (size_t lock = 0; lock < Patience::kLocks; ++lock) REQUIRE(f.WaitInVain(lock));
  for (int round = 0; round < 3; ++round) {
    for (size_t lock = 0; lock < Patience::kLocks; ++lock) REQUIRE_FALSE(f.WaitInVain(lock));
  }
  f.Have(1, LockResult::kLocked);
  REQUIRE_FALSE(f.IsShort(1));
  REQUIRE(f.IsShort(0));
  REQUIRE(f.WaitInVain(Patience::kLocks));  // it takes the word of the one that was had
  for (size_t lock = 0; lock <= Patience::kLocks; ++lock) REQUIRE(f.IsShort(lock) == (lock != 1));
}

TEST_CASE("Of more locks than patience knows, those that were waited for last are short") {
  Fixture f;
  for (size_t lock = 0; lock <= Patience::kLocks; ++lock) REQUIRE(f.WaitInVain(lock));
  for (size_t lock = 0; lock <= Patience::kLocks; ++lock) REQUIRE(f.IsShort(lock) == (lock != 0));
  REQUIRE(f.WaitInVain(0));
  REQUIRE(f.IsShort(0));
  for (size_t lock = 0; lock <= Patience::kLocks; ++lock) f.Have(lock, LockResult::kLocked);
  for (size_t lock = 0; lock <= Patience::kLocks; ++lock) REQUIRE_FALSE(f.IsShort(lock));
}
