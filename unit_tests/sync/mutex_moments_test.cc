/** What holds at moments of a Mutex that threads left to themselves hardly ever meet in. */
#include <linux/filter.h>
#include <linux/futex.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include <atomic>
#include <csignal>
#include <cstddef>
#include <iterator>

#include "hermes_shm/sync/mutex.h"
#include "support/catch.h"
#include "support/child_process.h"
#include "support/test_peers.h"

using hshm::LockIdentity;
using hshm::LockResult;
using hshm::Mutex;
using hshm::test::MemoryFile;
using hshm::test::TestPeers;

namespace {

std::atomic_ref<uint32_t> WordOf(Mutex& mutex) {
  return std::atomic_ref<uint32_t>(*reinterpret_cast<uint32_t*>(&mutex));
}

Mutex* watched = nullptr;
uint32_t wakes = 0;
uint32_t word_at_wake = 0;

void OnWake(int) {
  ++wakes;
  word_at_wake = WordOf(*watched).load();
}

/** From now on FUTEX_WAKE raises SIGSYS in place of what it does. False when that is not allowed.
 * For a child made for it: nothing takes the filter away. */
bool TrapWakes() {
  const auto op = static_cast<uint32_t>(offsetof(seccomp_data, args[1]));
  sock_filter filter[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_futex, 0, 4),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, op),
      BPF_STMT(BPF_ALU | BPF_AND | BPF_K, static_cast<uint32_t>(FUTEX_CMD_MASK)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, FUTEX_WAKE, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog program = {static_cast<unsigned short>(std::size(filter)), filter};
  struct sigaction action = {};
  action.sa_handler = OnWake;
  return sigaction(SIGSYS, &action, nullptr) == 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

}  // namespace

TEST_CASE("Mutex is free by the time that Unlock wakes a sleeper") {
  constexpr int kNotPermitted = 77;
  hshm::test::ChildProcess child([] {
    MemoryFile file(4096);
    TestPeers me(file);
    me.Join();
    Mutex mutex;
    watched = &mutex;
    if (mutex.Lock(me.identity()) != LockResult::kLocked) return 1;
    WordOf(mutex) |= uint32_t{1} << 31;  // somebody sleeps
    if (!TrapWakes()) return kNotPermitted;
    mutex.Unlock(me.identity());
    if (wakes != 1) return 2;
    return word_at_wake == 0 ? 0 : 3;
  });
  const int result = child.Wait();
  if (result == kNotPermitted) WARN("seccomp filters are not allowed here");
  CHECK((result == 0 || result == kNotPermitted));
}

namespace {

/** A member that is slow to act on an answer: another takes the dead one's lock over meanwhile. */
class SlowTaker final : public hshm::LockPeers {
 public:
  SlowTaker(TestPeers& me, TestPeers& other, Mutex& mutex)
      : me_(me), other_(other), mutex_(mutex) {}

  LockIdentity identity() {
    LockIdentity identity = me_.identity();
    identity.peers_ = this;
    return identity;
  }
  bool IsDead(uint32_t slot, uint32_t generation) noexcept override {
    const bool is_dead = me_.IsDead(slot, generation);
    if (is_dead) others_result_ = mutex_.TryLock(other_.identity());
    return is_dead;
  }
  std::string Describe(uint32_t slot) override { return me_.Describe(slot); }

  LockResult others_result_ = LockResult::kTimeout;

 private:
  TestPeers& me_;
  TestPeers& other_;
  Mutex& mutex_;
};

}  // namespace

TEST_CASE("Mutex taker that asked first and comes second robs nobody") {
  MemoryFile file(4096);
  TestPeers dead(file), me(file), other(file);
  dead.Join();
  me.Join();
  other.Join();
  Mutex mutex;
  SlowTaker slow(me, other, mutex);
  REQUIRE(mutex.Lock(dead.identity()) == LockResult::kLocked);
  dead.Leave();
  SECTION("by TryLock") { CHECK(mutex.TryLock(slow.identity()) == LockResult::kTimeout); }
  SECTION("by Lock") { CHECK(mutex.Lock(slow.identity(), 30 * 1000) == LockResult::kTimeout); }
  CHECK(slow.others_result_ == LockResult::kOwnerDied);
  CHECK(mutex.HolderSlot() == other.identity().slot_);
}
