#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>

#include "backend/child.h"
#include "backend/error_code.h"
#include "backend/probe_allocator.h"
#include "backend/test_segment.h"
#include "hermes_shm/base/units.h"
#include "hermes_shm/memory/backend/posix_shm_mmap.h"
#include "support/catch.h"

namespace hshm::ipc::test {
namespace {

const MemoryBackendId kId(6);
const PosixShmOptions kUnnamed{.naming_ = Naming::kUnnamed};

struct Unnamed {
  explicit Unnamed(uint64_t max_size = 0) {
    PosixShmOptions options = kUnnamed;
    options.max_size_bytes_ = max_size;
    backend_.shm_init(kId, 1_MiB, label_.url(), options);
    backend_.MakeAlloc<ProbeAllocator>(AllocatorId(1, 0));
  }
  TestSegment label_;
  PosixShmMmap backend_;
};

/** The descriptor of an unnamed segment: the number behind "/proc/PID/fd/". */
int DescriptorIn(const std::string& url) {
  const size_t at = url.find("/fd/") + 4;
  return std::stoi(url.substr(at));
}

TEST_CASE("A segment without a name is joined by the url of any process that has it") {
  Unnamed made;
  REQUIRE_FALSE(made.label_.Exists());
  const std::string url = made.backend_.GetUrl();
  REQUIRE(url.rfind("/proc/" + std::to_string(getpid()) + "/fd/", 0) == 0);
  std::strcpy(made.backend_.region().base_ + 512_KiB, "seen");
  const int result = RunInChild([&] {
    PosixShmMmap follower;
    follower.shm_attach(url);
    if (follower.GetId() != kId || follower.IsOwner()) return 1;
    auto* alloc = follower.AttachAlloc<ProbeAllocator>();
    if (std::string(follower.region().base_ + 512_KiB) != "seen") return 2;
    if (alloc->GetMembership().slot() != 1) return 3;
    if (!alloc->GetMembership().IsAlive(0) || !alloc->GetMembership().IsAlive(1)) return 4;
    // The grandchild attaches through the child.
    return RunInChild([&] {
      PosixShmMmap third;
      third.shm_attach(follower.GetUrl());
      return std::string(third.region().base_ + 512_KiB) == "seen" ? 0 : 5;
    });
  });
  REQUIRE(result == 0);
  REQUIRE_FALSE(made.label_.Exists());
}

TEST_CASE("Nobody can make a segment without a name shorter, longer, or unseal it") {
  Unnamed made(8_MiB);
  const int fd = DescriptorIn(made.backend_.GetUrl());
  struct stat status = {};
  REQUIRE(fstat(fd, &status) == 0);
  REQUIRE(status.st_size == off_t{8} << 20);  // its capacity at once
  REQUIRE((status.st_mode & 07777) == 0600);
  REQUIRE(ftruncate(fd, 4096) == -1);
  REQUIRE(errno == EPERM);
  REQUIRE(ftruncate(fd, off_t{9} << 20) == -1);
  REQUIRE(errno == EPERM);
  REQUIRE(fcntl(fd, F_GET_SEALS) >= (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL));
  REQUIRE(made.backend_.region().services_->Commit(7_MiB, 64_KiB));
  made.backend_.region().services_->Decommit(7_MiB, 64_KiB);
}

TEST_CASE("Joining a segment without a name that its process no longer has is NotFound") {
  std::string url;
  {
    Unnamed made;
    url = made.backend_.GetUrl();
  }
  const Thrown closed = ThrownBy([&] { PosixShmMmap().shm_attach(url); });
  REQUIRE(closed.code_ == ErrorCode::kNotFound);
  REQUIRE(closed.Says("has closed it"));
  REQUIRE(closed.Says("process " + std::to_string(getpid())));

  // The same descriptor again, for another file.
  const int wanted = DescriptorIn(url);
  const int other = memfd_create("other", MFD_CLOEXEC);
  if (other != wanted) REQUIRE(dup2(other, wanted) == wanted);
  const Thrown reused = ThrownBy([&] { PosixShmMmap().shm_attach(url); });
  close(other);
  if (other != wanted) close(wanted);
  REQUIRE(reused.code_ == ErrorCode::kNotFound);
  REQUIRE(reused.Says("another file"));

  int ends[2];
  REQUIRE(pipe(ends) == 0);
  LivingChild leader([&] {
    auto* made = new PosixShmMmap();
    made->shm_init(kId, 1_MiB, "gone", kUnnamed);
    const std::string its_url = made->GetUrl();
    if (write(ends[1], its_url.c_str(), its_url.size() + 1) < 0) throw 1;
  });
  REQUIRE(leader.is_ready());
  char text[256] = "";
  REQUIRE(read(ends[0], text, sizeof(text)) > 0);
  close(ends[0]);
  close(ends[1]);
  REQUIRE(CodeOf([&] { PosixShmMmap().shm_attach(text); }) == ErrorCode::kNone);
  leader.Kill();
  const Thrown dead = ThrownBy([&] { PosixShmMmap().shm_attach(text); });
  REQUIRE(dead.code_ == ErrorCode::kNotFound);
  REQUIRE(dead.Says("the unnamed segment gone"));
}

TEST_CASE("What is no url of a segment without a name is BadName, an unsealed file NotASegment") {
  const int fd = memfd_create("plain", MFD_CLOEXEC);
  REQUIRE(fchmod(fd, 0600) == 0);
  struct stat status = {};
  REQUIRE(fstat(fd, &status) == 0);
  const std::string front = "/proc/" + std::to_string(getpid()) + "/fd/" + std::to_string(fd);
  const std::string identity =
      "#" + std::to_string(status.st_dev) + ":" + std::to_string(status.st_ino) + ":";
  const auto attach = [](const std::string& url) {
    return CodeOf([&] { PosixShmMmap().shm_attach(url, {.timeout_ms_ = 0}); });
  };
  REQUIRE(attach(front + identity + "plain") == ErrorCode::kNotASegment);
  REQUIRE(fchmod(fd, 0666) == 0);
  REQUIRE(attach(front + identity + "plain") == ErrorCode::kUnsafeMode);
  REQUIRE(attach(front + identity) == ErrorCode::kBadName);
  REQUIRE(attach(front + identity + "a/b") == ErrorCode::kBadName);
  REQUIRE(attach(front) == ErrorCode::kBadName);
  REQUIRE(attach(front + identity.substr(0, identity.size() - 1)) == ErrorCode::kBadName);
  REQUIRE(attach("/proc/x/fd/3#1:2:plain") == ErrorCode::kBadName);
  REQUIRE(attach("/proc/1/fd/999999#1:2:plain") == ErrorCode::kNotFound);
  close(fd);
  PosixShmMmap backend;
  REQUIRE(CodeOf([&] { backend.shm_init(kId, 1_MiB, "a/b", kUnnamed); }) == ErrorCode::kBadName);
  REQUIRE(CodeOf([&] { backend.shm_init(kId, 1_MiB, "", kUnnamed); }) == ErrorCode::kBadName);
}

TEST_CASE("A segment without a name whose descriptor others have closed has no url") {
  const int result = RunInChild([] {
    Unnamed made;
    if (made.backend_.GetUrl().empty()) return 1;
    close(DescriptorIn(made.backend_.GetUrl()));
    if (!made.backend_.GetUrl().empty()) return 2;
    made.backend_.Unlink();  // there is no name
    RegionServices* services = made.backend_.region().services_;
    if (services->ClearWritten(0, 4096) || services->IsUnwritten(0, 4096)) return 4;
    return services->Commit(0, 4096) ? 3 : 0;
  });
  REQUIRE(result == 0);
}

TEST_CASE("A segment without a name needs no room in /dev/shm, but in the machine") {
  TestSegment label;
  PosixShmMmap backend;
  const Thrown thrown =
      ThrownBy([&] { backend.shm_init(kId, size_t{1} << 50, label.url(), kUnnamed); });
  REQUIRE(thrown.code_ == ErrorCode::kNoSpace);
  REQUIRE(thrown.Says("this machine's memory has "));
  REQUIRE(thrown.Says("1 PB was asked for"));
  const size_t odd = (size_t{12} << 50) + (size_t{300} << 40);
  REQUIRE(ThrownBy([&] {
            backend.shm_init(kId, odd, label.url(), kUnnamed);
          }).Says("12 PB was asked for"));
}

}  // namespace
}  // namespace hshm::ipc::test
