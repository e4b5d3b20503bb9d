#include "hermes_shm/platform/byte_lock.h"

#include <sys/resource.h>

#include <atomic>
#include <cerrno>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "hermes_shm/platform/futex.h"
#include "hermes_shm/platform/process.h"
#include "support/catch.h"
#include "support/child_process.h"
#include "support/memory_file.h"
#include "support/own_mounts.h"

using hshm::ByteIsLocked;
using hshm::ByteLockMode;
using hshm::HeldByte;
using hshm::test::ChildProcess;
using hshm::test::MemoryFile;
using hshm::test::RunInChild;
using hshm::test::Signpost;

namespace {

constexpr int kNotPermitted = 77;

/** Exec drops the lock a moment before or after it closes descriptors. */
bool FallsSoon(int fd, uint64_t byte) {
  const uint64_t deadline_us = hshm::MonotonicUs() + 10 * 1000 * 1000;
  while (ByteIsLocked(fd, byte)) {
    if (hshm::MonotonicUs() > deadline_us) return false;
    sched_yield();
  }
  return true;
}

/** Where this process keeps the page of its held byte, from the system's list of its mappings. */
void* InaccessiblePageOfTestFile() {
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    if (line.find("---s") == std::string::npos) continue;
    if (line.find("hshm_unit_test") == std::string::npos) continue;
    return reinterpret_cast<void*>(std::stoull(line, nullptr, 16));
  }
  return nullptr;
}

void CloseAllDescriptorsBut(int kept) {
  for (int fd = 3; fd < 1024; ++fd) {
    if (fd != kept) close(fd);
  }
}

}  // namespace

TEST_CASE("HeldByte is seen by its own process, and is gone after Release") {
  MemoryFile file(4096);
  CHECK_FALSE(ByteIsLocked(file.fd(), 3));
  HeldByte held;
  REQUIRE(held.Hold(file.fd(), 3) == 0);
  CHECK(held.IsHeld());
  CHECK(ByteIsLocked(file.fd(), 3));
  CHECK_FALSE(ByteIsLocked(file.fd(), 2));
  CHECK_FALSE(ByteIsLocked(file.fd(), 4));
  held.Release();
  CHECK_FALSE(held.IsHeld());
  CHECK_FALSE(ByteIsLocked(file.fd(), 3));
}

TEST_CASE("HeldByte has one exclusive holder, or several shared ones") {
  MemoryFile file(4096);
  constexpr uint64_t kBeyondTheFile = 1 << 20;
  HeldByte first;
  HeldByte second;
  REQUIRE(first.Hold(file.fd(), kBeyondTheFile, ByteLockMode::kShared) == 0);
  REQUIRE(second.Hold(file.fd(), kBeyondTheFile, ByteLockMode::kShared) == 0);
  HeldByte third;
  CHECK(third.Hold(file.fd(), kBeyondTheFile) == EAGAIN);
  first.Release();
  CHECK(ByteIsLocked(file.fd(), kBeyondTheFile));
  second.Release();
  CHECK_FALSE(ByteIsLocked(file.fd(), kBeyondTheFile));
  CHECK(third.Hold(file.fd(), kBeyondTheFile) == 0);
  CHECK(first.Hold(file.fd(), kBeyondTheFile) == EAGAIN);
  CHECK(first.Hold(file.fd(), kBeyondTheFile, ByteLockMode::kShared) == EAGAIN);
}

TEST_CASE("HeldByte moves with its object, and lets the former one go") {
  MemoryFile file(4096);
  HeldByte target;
  REQUIRE(target.Hold(file.fd(), 1) == 0);
  HeldByte source;
  REQUIRE(source.Hold(file.fd(), 2) == 0);
  target = std::move(source);
  CHECK_FALSE(ByteIsLocked(file.fd(), 1));
  CHECK(ByteIsLocked(file.fd(), 2));
  {
    const HeldByte moved(std::move(target));
    CHECK(moved.IsHeld());
  }
  CHECK_FALSE(ByteIsLocked(file.fd(), 2));
}

TEST_CASE("HeldByte survives the closing of every descriptor") {
  MemoryFile file(4096);
  Signpost closed;
  ChildProcess child([&] {
    HeldByte held;
    if (held.Hold(file.fd(), 0) != 0) return 1;
    CloseAllDescriptorsBut(closed.write_end());
    closed.Tell();
    for (;;) pause();
  });
  closed.Await();
  CHECK(ByteIsLocked(file.fd(), 0));
  child.KillWithoutReaping();
  CHECK_FALSE(ByteIsLocked(file.fd(), 0));  // the holder is a zombie: dead
}

TEST_CASE("HeldByte of a stopped process stays locked") {
  MemoryFile file(4096);
  ChildProcess child([&] {
    HeldByte held;
    if (held.Hold(file.fd(), 0) != 0) return 1;
    raise(SIGSTOP);
    return 0;
  });
  child.AwaitStop();
  CHECK(ByteIsLocked(file.fd(), 0));
}

TEST_CASE("HeldByte is not inherited by a forked child, and not released by it") {
  MemoryFile file(4096);
  Signpost forked;
  HeldByte held;
  REQUIRE(held.Hold(file.fd(), 0) == 0);
  ChildProcess child([&]() -> int {
    held.Release();  // must not unmap what lies at that address here, nor end the parent's lock
    forked.Tell();
    for (;;) pause();
  });
  forked.Await();
  CHECK(ByteIsLocked(file.fd(), 0));
  held.Release();
  CHECK_FALSE(ByteIsLocked(file.fd(), 0));
  CHECK(child.IsRunning());
}

TEST_CASE("HeldByte Release in a forked child leaves alone what lies there by now") {
  MemoryFile file(4096);
  HeldByte held;
  REQUIRE(held.Hold(file.fd(), 0) == 0);
  void* const page = InaccessiblePageOfTestFile();
  REQUIRE(page != nullptr);
  ChildProcess child([&]() -> int {
    void* mapped = mmap(page, 4096, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    if (mapped != page) return 1;
    held.Release();
    *static_cast<volatile char*>(mapped) = 1;
    return 0;
  });
  CHECK(child.Wait() == 0);
}

TEST_CASE("HeldByte is never copied by a fork in the middle of Hold") {
  constexpr uint64_t kByte = 5;
  MemoryFile file(4096);
  std::atomic<bool> done{false};
  std::thread holder([&] {
    while (!done) {
      HeldByte held;
      if (held.Hold(file.fd(), kByte) != 0) std::abort();
    }
  });
  std::vector<ChildProcess> children;
  for (int i = 0; i < 150; ++i) {
    children.emplace_back([]() -> int {
      for (;;) pause();
    });
  }
  done = true;
  holder.join();
  CHECK_FALSE(ByteIsLocked(file.fd(), kByte));  // while all the children live
  for (const ChildProcess& child : children) CHECK(child.IsRunning());
}

TEST_CASE("HeldByte is released by exec") {
  MemoryFile file(4096);
  Signpost held_now;
  ChildProcess child([&] {
    HeldByte held;
    if (held.Hold(file.fd(), 0) != 0) return 1;
    held_now.Tell();
    execlp("sleep", "sleep", "1000", static_cast<char*>(nullptr));
    return 2;
  });
  held_now.Await();
  CHECK(FallsSoon(file.fd(), 0));
  CHECK(child.IsRunning());
}

TEST_CASE("HeldByte Hold reports what is wrong and holds nothing") {
  MemoryFile file(4096);
  HeldByte held;
  CHECK(held.Hold(-1, 0) == EBADF);
  CHECK_FALSE(held.IsHeld());

  const auto without_descriptors = RunInChild([&] {
    const rlimit none = {0, 0};
    setrlimit(RLIMIT_NOFILE, &none);
    HeldByte late;
    _exit(late.Hold(file.fd(), 0) == EMFILE && !late.IsHeld() ? 0 : 1);
  });
  CHECK(without_descriptors.status_ == 0);

  const auto without_proc = RunInChild([&] {
    if (!hshm::test::MountOwnTmpfs("/proc", nullptr)) _exit(kNotPermitted);
    HeldByte late;
    _exit(late.Hold(file.fd(), 0) == ENOSYS && !late.IsHeld() ? 0 : 1);
  });
  if (without_proc.status_ == kNotPermitted) {
    WARN("this user may not mount, so a missing /proc was not tried");
  } else {
    CHECK(without_proc.status_ == 0);
  }
}

TEST_CASE("ByteIsLocked calls nobody dead when it cannot ask") { CHECK(ByteIsLocked(-1, 0)); }
