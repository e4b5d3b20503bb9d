/** What is refused in the middle: one system call, or the memory of a text, at each in turn. */
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <new>
#include <string>

#include "backend/child.h"
#include "backend/error_code.h"
#include "backend/failing_calls.h"
#include "backend/test_segment.h"
#include "hermes_shm/base/units.h"
#include "hermes_shm/memory/allocator/multi_process_allocator.h"
#include "hermes_shm/memory/backend/posix_mmap.h"
#include "hermes_shm/memory/backend/posix_shm_mmap.h"
#include "support/catch.h"
#include "support/own_directory.h"
#include "support/own_mounts.h"
#include "support/skip.h"

namespace hshm::ipc::test {
namespace {

constexpr size_t kBytes = 1 << 20;
constexpr int kNotPermitted = 77;

void FailNext(int countdown, int os_errno) { fault = {countdown, os_errno, "", "", nullptr}; }
/** The next of these calls fails. */
void FailThe(const char* call, int os_errno) {
  fault = {0, 0, "", call, [os_errno] {
             fault.countdown_ = 1;
             fault.os_errno_ = os_errno;
           }};
}
/** After so many of them. */
void FailAfter(int others, const char* call, int os_errno) {
  if (others == 0) return FailThe(call, os_errno);
  fault = {0, 0, "", call, [=] { FailAfter(others - 1, call, os_errno); }};
}
struct NoFault {
  ~NoFault() {
    fault = Fault();
    news_until_fault = 0;
  }
};

TEST_CASE("A group's segment whose file cannot be opened to the group is refused, and not there") {
  const NoFault afterwards;
  TestSegment segment;
  FailAfter(1, "fchmod", EPERM);  // the first makes it the user's
  const Thrown thrown = ThrownBy([&] {
    PosixShmMmap().shm_init(MemoryBackendId(1), kBytes, segment.url(),
                            {.access_ = SegmentAccess::kGroup});
  });
  REQUIRE(fault.call_ == "fchmod");
  REQUIRE(thrown.code_ == ErrorCode::kPermission);
  REQUIRE(thrown.Says("to the group"));
  REQUIRE_FALSE(segment.Exists());
}

TEST_CASE("Whichever call fails, a segment in use stays, and so does who uses it") {
  const NoFault afterwards;
  TestSegment segment;
  PosixShmMmap member;
  member.shm_init(MemoryBackendId(1), kBytes, segment.url());
  const auto inode = segment.Status().st_ino;
  // Most of the calls ask who has one of the slots, one after the other.
  for (int which = 1;; which += which < 64 ? 1 : 97) {
    CAPTURE(which);
    FailNext(which, ENOLCK);
    const Thrown thrown =
        ThrownBy([&] { PosixShmMmap().shm_init(MemoryBackendId(2), kBytes, segment.url()); });
    const bool has_come = fault.countdown_ == 0;
    fault = Fault();
    REQUIRE(thrown.code_ != ErrorCode::kNone);
    REQUIRE(segment.Status().st_ino == inode);
    if (!has_come) {
      REQUIRE(thrown.code_ == ErrorCode::kAlreadyExists);
      break;
    }
  }
  PosixShmMmap follower;
  follower.shm_attach(segment.url());
  REQUIRE(follower.GetId() == MemoryBackendId(1));
}

TEST_CASE("A file that cannot be written to its storage, or its directory, says so, and is there") {
  const NoFault afterwards;
  hshm::test::DiskDirectory directory;
  PosixMmap file;
  file.shm_init(MemoryBackendId(1), kBytes, directory.File("heap"));
  for (const char* call : {"msync", "open"}) {
    FailThe(call, EIO);
    const Thrown thrown = ThrownBy([&] { file.Sync(); });
    REQUIRE(fault.call_ == call);
    REQUIRE(thrown.code_ == ErrorCode::kSystem);
    REQUIRE(thrown.Says("to its storage failed"));
  }
  REQUIRE_NOTHROW(file.Sync());
}

/** In a /dev/shm of its own, where files have huge pages. @return of the body, or kNotPermitted */
template <typename Body>
int WithHugePages(Body body) {
  return RunInChild([&] {
    if (!hshm::test::MountOwnTmpfs("/dev/shm", "size=64m,huge=advise")) return kNotPermitted;
    return body();
  });
}

TEST_CASE("An old system that cannot populate huge pages gives a file's memory in another way") {
  const int result = WithHugePages([] {
    TestSegment segment;
    PosixShmMmap backend;
    backend.shm_init(MemoryBackendId(1), 32_MiB, segment.url(),
                     {.huge_pages_ = HugePages::kAdvise});
    if (backend.GetPageReport().kind_ != PageKind::kTransparentHuge) return 0;  // no such system
    const Region region = backend.region();
    FailThe("madvise", EINVAL);
    if (!region.services_->Commit(8_MiB, 1_MiB) || fault.call_ != "madvise") return 1;
    std::memset(region.base_ + 8_MiB, 7, 1_MiB);
    FailThe("madvise", ENOMEM);
    return region.services_->Commit(16_MiB, 1_MiB) ? 2 : 0;
  });
  if (result == kNotPermitted) hshm::test::Skip("this user may not mount a file system");
  REQUIRE(result == 0);
}

TEST_CASE("Room that is gone when a huge page is touched is NoSpace, and leaves no file") {
  const int result = WithHugePages([] {
    TestSegment segment;
    for (int others = 0; others < 20; ++others) {
      FailAfter(others, "madvise", EFAULT);
      const Thrown thrown = ThrownBy([&] {
        PosixShmMmap().shm_init(MemoryBackendId(1), 8_MiB, segment.url(),
                                {.huge_pages_ = HugePages::kAdvise});
      });
      const bool has_come = fault.call_ == "madvise";
      fault = Fault();
      if (!has_come) return 1;
      if (thrown.code_ == ErrorCode::kNoSpace) return segment.Exists() ? 2 : 0;
    }
    return 3;
  });
  CAPTURE(result);
  if (result == kNotPermitted) hshm::test::Skip("this user may not mount a file system");
  REQUIRE(result == 0);
}

/** Does the call with the memory of each allocation in turn refused, until all is had. */
template <typename Call, typename Check>
int RefuseEachNew(Call call, Check check) {
  int refused = 0;
  for (int which = 1;; ++which) {
    CAPTURE(which);
    bool is_out_of_memory = false;
    news_until_fault = which;
    try {
      call();
    } catch (const std::bad_alloc&) {
      is_out_of_memory = true;
    } catch (const Error&) {}
    const bool has_come = news_until_fault == 0;
    news_until_fault = 0;
    check();
    if (!has_come) return refused;
    refused += is_out_of_memory ? 1 : 0;
  }
}

TEST_CASE("Attaching is refused at whichever text malloc has no memory, and leaves nothing") {
  const NoFault afterwards;
  TestSegment segment;
  PosixShmMmap creator;
  creator.shm_init(MemoryBackendId(1), kBytes, segment.url());
  const auto is_alive = [&] { REQUIRE(segment.Exists()); };
  const auto attach = [&] { PosixShmMmap().shm_attach(segment.url(), {.timeout_ms_ = 0}); };
  REQUIRE(RefuseEachNew(attach, is_alive) > 2);
  // As a file it is another backend's.
  const std::string path = segment.path();
  REQUIRE(RefuseEachNew([&] { PosixMmap().shm_attach(path, {.timeout_ms_ = 0}); }, is_alive) > 2);
  REQUIRE(RefuseEachNew([&] { PosixShmMmap().shm_attach("hshm_no_such", {.timeout_ms_ = 0}); },
                        is_alive) > 2);
  for (const char* no_descriptor : {"0", "999999"}) {  // another file, and none
    const std::string url =
        "/proc/" + std::to_string(getpid()) + "/fd/" + no_descriptor + "#1:2:a-label-of-its-own";
    REQUIRE(RefuseEachNew([&] { PosixShmMmap().shm_attach(url); }, is_alive) > 2);
  }
  PosixShmMmap follower;
  follower.shm_attach(segment.url());
  REQUIRE(follower.GetId() == MemoryBackendId(1));
}

TEST_CASE("Creating is refused at whichever text malloc has no memory, and leaves no file") {
  const NoFault afterwards;
  TestSegment segment;
  const auto create = [&] { PosixShmMmap().shm_init(MemoryBackendId(1), kBytes, segment.url()); };
  REQUIRE(RefuseEachNew(create, [&] { unlink(segment.path().c_str()); }) > 2);
  REQUIRE_NOTHROW(create());
}

TEST_CASE("A handle whose first thread cannot be noted down joins at the next attempt") {
  const NoFault afterwards;
  TestSegment segment;
  PosixShmMmap backend;
  backend.shm_init(MemoryBackendId(1), 4 << 20, segment.url());
  auto* alloc = backend.MakeAlloc<MultiProcessAllocator>(AllocatorId(1, 0));
  MultiProcessAllocator late;
  FailThe("pthread_setspecific", ENOMEM);
  REQUIRE(ThrownBy([&] { late.shm_attach(backend.region()); }).code_ == ErrorCode::kSystem);
  REQUIRE(fault.call_ == "pthread_setspecific");
  FailAfter(1, "pthread_setspecific", ENOMEM);  // its key is there
  REQUIRE(ThrownBy([&] { late.shm_attach(backend.region()); }).code_ == ErrorCode::kNoSpace);
  REQUIRE(fault.call_ == "pthread_setspecific");
  fault = Fault();
  REQUIRE_FALSE(late.IsAttached());
  late.shm_attach(backend.region());
  REQUIRE_FALSE(late.AllocateOffset(HSHM_DEFAULT_MEM_CTX, 100).IsNull());
  late.shm_detach();
  REQUIRE(alloc->GetCurrentlyAllocatedSize() == 0);
  REQUIRE(alloc->Check());
}

}  // namespace
}  // namespace hshm::ipc::test
