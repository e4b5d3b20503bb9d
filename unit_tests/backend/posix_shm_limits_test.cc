#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>

#include "backend/child.h"
#include "backend/error_code.h"
#include "backend/probe_allocator.h"
#include "backend/test_segment.h"
#include "hermes_shm/memory/backend/posix_shm_mmap.h"
#include "support/catch.h"
#include "support/child_process.h"
#include "support/own_mounts.h"
#include "support/skip.h"

namespace hshm::ipc::test {
namespace {

constexpr int kNotPermitted = 77;
constexpr size_t kSmallMount = 64 << 20;
const MemoryBackendId kId(6);

/** Runs the body where /dev/shm is a file system of 64 MiB of its own. -2 when not permitted. */
template <typename Body>
int RunOnSmallMount(Body body) {
  const int result = RunInChild([&] {
    if (unshare(CLONE_NEWNS) != 0) return kNotPermitted;
    if (mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return kNotPermitted;
    if (mount("tmpfs", "/dev/shm", "tmpfs", 0, "size=64m") != 0) return kNotPermitted;
    return body();
  });
  if (result == kNotPermitted) hshm::test::Skip("this user may not mount a file system");
  return result;
}

TEST_CASE("A file system that is too small gives the sentence that says what to do") {
  const int result = RunOnSmallMount([] {
    TestSegment segment;
    PosixShmMmap backend;
    const Thrown thrown = ThrownBy([&] { backend.shm_init(kId, size_t{1} << 30, segment.url()); });
    if (thrown.code_ != ErrorCode::kNoSpace) return 1;
    if (!thrown.Says("/dev/shm has 64 MB free of 64 MB, 1 GB was asked for: run the container "
                     "with --shm-size=2g, ask for less, or set HSHM_SHM_DIR to a larger tmpfs")) {
      return 2;
    }
    if (segment.Exists() || backend.IsOpen()) return 3;
    backend.shm_init(kId, 32 << 20, segment.url());
    return 0;
  });
  REQUIRE(result == 0);
}

TEST_CASE("A full file system commits nothing, kills nobody, and loses nothing") {
  const int result = RunOnSmallMount([] {
    TestSegment segment;
    PosixShmMmap backend;
    backend.shm_init(kId, size_t{1} << 30, segment.url(), {.allow_overcommit_ = true});
    const Region region = backend.region();
    constexpr uint64_t kStep = 1 << 20;
    Offset end = 8 * kStep;
    while (region.services_->Commit(end, kStep)) {
      std::memset(region.base_ + end, 0x5a, kStep);
      end += kStep;
      if (end > kSmallMount + 8 * kStep) return 1;
    }
    if (end < 60 * kStep) return 2;
    // The step that failed may have taken a part; page by page the rest can be had as well.
    uint64_t pages = 0;
    while (region.services_->Commit(end + pages * 4096, 4096)) ++pages;
    if (pages > kStep / 4096) return 3;
    for (Offset at = 8 * kStep; at < end; ++at) {
      if (region.base_[at] != 0x5a) return 4;
    }
    PosixShmMmap other;
    TestSegment second;
    if (CodeOf([&] { other.shm_init(kId, 1 << 20, second.url()); }) != ErrorCode::kNoSpace) {
      return 5;
    }
    const PosixShmOptions overcommit{.allow_overcommit_ = true};
    if (CodeOf([&] { other.shm_init(kId, 1 << 20, second.url(), overcommit); }) !=
        ErrorCode::kNoSpace) {
      return 6;
    }
    if (second.Exists()) return 7;
    region.services_->Decommit(8 * kStep, 4 * kStep);
    if (!region.services_->Commit(end, kStep)) return 8;
    return 0;
  });
  REQUIRE(result == 0);
}

TEST_CASE("The memory of a dead segment counts as free for the one that replaces it") {
  const int result = RunOnSmallMount([] {
    TestSegment segment;
    for (int i = 0; i < 2; ++i) {
      PosixShmMmap backend;
      backend.shm_init(kId, 40 << 20, segment.url());
      if (!backend.region().services_->Commit(0, 40 << 20)) return 1;
    }
    return 0;
  });
  REQUIRE(result == 0);
}

TEST_CASE("A limit of file sizes is an error, never a signal") {
  TestSegment segment;
  const int result = RunInChild([&] {
    const rlimit little = {1 << 20, 1 << 20};
    setrlimit(RLIMIT_FSIZE, &little);
    PosixShmMmap backend;
    if (CodeOf([&] { backend.shm_init(kId, 2 << 20, segment.url()); }) != ErrorCode::kNoSpace) {
      return 1;
    }
    if (segment.Exists()) return 2;
    backend.shm_init(kId, 1 << 20, segment.url());
    const rlimit less = {512 << 10, 512 << 10};
    setrlimit(RLIMIT_FSIZE, &less);
    return backend.region().services_->Commit(600 << 10, 4096) ? 3 : 0;
  });
  REQUIRE(result == 0);
}

TEST_CASE("A control group that allows less memory than the segment is warned of, not refused") {
  const hshm::test::Ending ending = hshm::test::RunInChild([] {
    if (!hshm::test::MountOwnTmpfs("/sys/fs/cgroup", "size=1m") ||
        mkdir("/sys/fs/cgroup/memory", 0755) != 0) {
      std::fputs("not permitted", stderr);
      return;
    }
    std::ofstream("/sys/fs/cgroup/memory.max") << (4 << 20) << "\n";
    std::ofstream("/sys/fs/cgroup/memory/memory.limit_in_bytes") << (4 << 20) << "\n";
    TestSegment segment;
    PosixShmMmap backend;
    backend.shm_init(kId, 4 << 20, segment.url());
    std::fputs("the first is made\n", stderr);
    backend.shm_destroy();
    backend.shm_init(kId, 1 << 20, segment.url(), {.max_size_bytes_ = 8 << 20});
    if (!backend.region().services_->Commit(0, 2 << 20)) std::abort();
    backend.shm_destroy();
  });
  if (ending.errors_ == "not permitted") {
    hshm::test::Skip("this user may not mount a file system");
  }
  CAPTURE(ending.errors_);
  REQUIRE(ending.status_ == 0);
  REQUIRE(ending.errors_.find("the first is made\nhshm: the control group allows 4 MB") == 0);
  REQUIRE(ending.errors_.find("may grow to 8 MB") != std::string::npos);
}

TEST_CASE("Too few addresses for the capacity is an error, and leaves no file") {
#if HSHM_TEST_HAS_SANITIZER
  hshm::test::Skip("a sanitizer needs its addresses");
#else
  TestSegment segment;
  const int result = RunInChild([&] {
    const rlimit little = {256 << 20, 256 << 20};
    setrlimit(RLIMIT_AS, &little);
    PosixShmMmap backend;
    if (CodeOf([&] {
          backend.shm_init(kId, size_t{1} << 30, segment.url(), {.allow_overcommit_ = true});
        }) != ErrorCode::kSystem) {
      return 1;
    }
    return segment.Exists() ? 2 : 0;
  });
  REQUIRE(result == 0);
#endif
}

TEST_CASE("HSHM_SHM_DIR moves the segments; a bad directory is named") {
  TestSegment directory;
  REQUIRE(mkdir(directory.path().c_str(), 0700) == 0);
  const int result = RunInChild([&] {
    setenv("HSHM_SHM_DIR", (directory.path() + "/").c_str(), 1);
    PosixShmMmap backend;
    backend.shm_init(kId, 1 << 20, "moved");
    if (access((directory.path() + "/moved").c_str(), F_OK) != 0) return 1;
    PosixShmMmap follower;
    follower.shm_attach("moved");
    backend.shm_destroy();
    setenv("HSHM_SHM_DIR", (directory.path() + "/none").c_str(), 1);
    const Thrown thrown = ThrownBy([&] { backend.shm_init(kId, 1 << 20, "moved"); });
    if (thrown.code_ != ErrorCode::kNotFound || !thrown.Says(directory.path() + "/none")) return 2;
    return 0;
  });
  REQUIRE(result == 0);
}

}  // namespace
}  // namespace hshm::ipc::test
