/** One call that fails with an error of its own, or before which another process does something. */
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <new>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "backend/error_code.h"
#include "backend/failing_calls.h"
#include "backend/test_segment.h"
#include "hermes_shm/memory/allocator/multi_process_allocator.h"
#include "hermes_shm/memory/backend/posix_mmap.h"
#include "hermes_shm/memory/backend/posix_shm_mmap.h"
#include "hermes_shm/platform/byte_lock.h"
#include "support/catch.h"

namespace hshm::ipc::test {
namespace {

constexpr size_t kBytes = 1 << 20;

/** The next so-called call of the library fails with an error, or comes behind an action. */
void FailNext(int countdown, int os_errno) { fault = {countdown, os_errno, "", "", nullptr}; }
void BeforeNext(const char* call, std::function<void()> action) {
  fault = {0, 0, "", call, std::move(action)};
}
/** The next of these calls fails. */
void FailThe(const char* call, int os_errno) {
  BeforeNext(call, [os_errno] {
    fault.countdown_ = 1;
    fault.os_errno_ = os_errno;
  });
}
struct NoFault {
  ~NoFault() {
    fault = Fault();
    news_until_fault = 0;
  }
};

Thrown AttachTo(const std::string& url, uint64_t timeout_ms = 0) {
  return ThrownBy([&] { PosixShmMmap().shm_attach(url, {.timeout_ms_ = timeout_ms}); });
}
Thrown Create(const std::string& url) {
  return ThrownBy([&] { PosixShmMmap().shm_init(MemoryBackendId(2), kBytes, url); });
}

/** A segment whose creator has gone. */
struct LeftBehind : TestSegment {
  LeftBehind() { PosixShmMmap().shm_init(MemoryBackendId(1), kBytes, url()); }
};

TEST_CASE("Each errno of opening a segment has its code, and stands in the error") {
  const NoFault afterwards;
  LeftBehind segment;
  const std::pair<int, ErrorCode> expected[] = {
      {ENOENT, ErrorCode::kNotFound},        {ENOTDIR, ErrorCode::kNotFound},
      {EACCES, ErrorCode::kPermission},      {EPERM, ErrorCode::kPermission},
      {EROFS, ErrorCode::kPermission},       {ELOOP, ErrorCode::kIsSymlink},
      {EMFILE, ErrorCode::kFdLimit},         {ENFILE, ErrorCode::kFdLimit},
      {EISDIR, ErrorCode::kNotRegularFile},  {ENXIO, ErrorCode::kNotRegularFile},
      {ENOSPC, ErrorCode::kNoSpace},         {EFBIG, ErrorCode::kNoSpace},
      {EDQUOT, ErrorCode::kNoSpace},         {ENAMETOOLONG, ErrorCode::kBadName},
      {EOPNOTSUPP, ErrorCode::kUnsupported}, {EIO, ErrorCode::kSystem}};
  for (const auto& [os_errno, code] : expected) {
    CAPTURE(os_errno);
    FailNext(1, os_errno);
    try {
      PosixShmMmap().shm_attach(segment.url(), {.timeout_ms_ = 0});
      FAIL("attached");
    } catch (const Error& error) {
      REQUIRE(error.code() == code);
      REQUIRE(error.os_errno() == os_errno);
      REQUIRE(std::string(error.what()).find(segment.path()) != std::string::npos);
    }
    REQUIRE(fault.call_ == "open");
  }
  REQUIRE(AttachTo(segment.url()).code_ == ErrorCode::kNone);
}

TEST_CASE("A segment whose name goes before its byte is locked is NotReady, or the next one's") {
  const NoFault afterwards;
  LeftBehind segment;
  BeforeNext("fcntl", [&] { static_cast<void>(!unlink(segment.path().c_str())); });
  const Thrown alone = AttachTo(segment.url());
  REQUIRE(alone.code_ == ErrorCode::kNotReady);
  REQUIRE(alone.Says("is being replaced"));

  LeftBehind second;
  const TestSegment next;
  PosixShmMmap().shm_init(MemoryBackendId(7), kBytes, next.url());
  BeforeNext("fcntl",
             [&] { static_cast<void>(!std::rename(next.path().c_str(), second.path().c_str())); });
  PosixShmMmap follower;
  follower.shm_attach(second.url());
  REQUIRE(follower.GetId() == MemoryBackendId(7));
}

TEST_CASE("A dead segment that others move or remove meanwhile is in nobody's way") {
  const NoFault afterwards;
  LeftBehind moved;
  const TestSegment elsewhere;
  BeforeNext("fcntl", [&] {
    static_cast<void>(!std::rename(moved.path().c_str(), elsewhere.path().c_str()));
  });
  REQUIRE(Create(moved.url()).code_ == ErrorCode::kNone);
  REQUIRE(moved.Exists());
  REQUIRE(elsewhere.Exists());  // it was not taken for the one of that name

  LeftBehind replaced;
  const TestSegment live;
  PosixShmMmap next;
  next.shm_init(MemoryBackendId(7), kBytes, live.url());
  BeforeNext("fcntl", [&] {
    static_cast<void>(!std::rename(live.path().c_str(), replaced.path().c_str()));
  });
  REQUIRE(Create(replaced.url()).code_ == ErrorCode::kAlreadyExists);
  REQUIRE(replaced.Exists());

  LeftBehind removed;
  BeforeNext("unlink", [&] { syscall(SYS_unlink, removed.path().c_str()); });
  REQUIRE(Create(removed.url()).code_ == ErrorCode::kNone);
  REQUIRE(removed.Exists());
}

TEST_CASE("A dead segment that cannot be removed is an error that names it, and stays") {
  const NoFault afterwards;
  LeftBehind segment;
  FailThe("unlink", EACCES);
  const Thrown thrown = Create(segment.url());
  REQUIRE(fault.call_ == "unlink");
  REQUIRE(thrown.code_ == ErrorCode::kPermission);
  REQUIRE(thrown.Says("Removing the dead segment " + segment.path()));
  REQUIRE(AttachTo(segment.url()).code_ == ErrorCode::kNone);
}

TEST_CASE("Room that the system does not tell is an error that names the directory") {
  const NoFault afterwards;
  const TestSegment segment;
  FailThe("statvfs", EIO);
  const Thrown thrown = Create(segment.url());
  REQUIRE(fault.call_ == "statvfs");
  REQUIRE(thrown.code_ == ErrorCode::kSystem);
  REQUIRE(thrown.Says("Looking at /dev/shm failed"));
  REQUIRE_FALSE(segment.Exists());
}

TEST_CASE("A process that ends while its segment without a name is joined has gone") {
  const NoFault afterwards;
  PosixShmMmap made;
  made.shm_init(MemoryBackendId(1), kBytes, "unnamed", {.naming_ = Naming::kUnnamed});
  const std::string url = made.GetUrl();
  FailNext(1, ESRCH);
  const Thrown gone = AttachTo(url);
  REQUIRE(fault.call_ == "stat");
  REQUIRE(gone.code_ == ErrorCode::kNotFound);
  REQUIRE(gone.Says("has gone or has closed it"));
  FailNext(1, EACCES);
  REQUIRE(AttachTo(url).code_ == ErrorCode::kPermission);
  REQUIRE(AttachTo(url).code_ == ErrorCode::kNone);
}

TEST_CASE("HeldByte asks again when a signal comes, and takes either errno for another holder") {
  const NoFault afterwards;
  const int file = static_cast<int>(syscall(SYS_memfd_create, "hshm_failing", MFD_CLOEXEC));
  REQUIRE(file >= 0);
  for (const int os_errno : {EINTR, EACCES, EAGAIN, ENOLCK}) {
    CAPTURE(os_errno);
    int call = 0;
    int result = -1;
    do {
      HeldByte byte;
      FailNext(++call, os_errno);
      result = byte.Hold(file, 0);
      REQUIRE(fault.countdown_ == 0);
      if (fault.call_ == "fcntl") REQUIRE(byte.IsHeld() == (os_errno == EINTR));
    } while (fault.call_ != "fcntl");
    REQUIRE(result == (os_errno == EINTR ? 0 : os_errno == ENOLCK ? ENOLCK : EAGAIN));
  }
  close(file);
}

TEST_CASE("A machine without a descriptor to spare is FdLimit to who joins an allocator") {
  const NoFault afterwards;
  TestSegment segment;
  PosixShmMmap backend;
  backend.shm_init(MemoryBackendId(1), kBytes, segment.url());
  backend.MakeAlloc<MultiProcessAllocator>(AllocatorId(1, 0));
  for (const int os_errno : {EMFILE, ENFILE, EIO}) {
    CAPTURE(os_errno);
    FailThe("open", os_errno);
    const Thrown thrown = ThrownBy([&] { backend.AttachAlloc<MultiProcessAllocator>(); });
    REQUIRE(fault.call_ == "open");
    REQUIRE(thrown.code_ == (os_errno == EIO ? ErrorCode::kSystem : ErrorCode::kFdLimit));
    REQUIRE(thrown.Says("process slot"));
  }
}

/** A named heap, and a second handle on it that sees whether all is whole. */
struct Heap {
  Heap() {
    backend_.shm_init(MemoryBackendId(1), 4 << 20, segment_.url());
    alloc_ = backend_.MakeAlloc<MultiProcessAllocator>(AllocatorId(1, 0));
  }
  TestSegment segment_;
  PosixShmMmap backend_;
  MultiProcessAllocator* alloc_ = nullptr;
};

TEST_CASE("A thread whose heap cannot be noted down gets null, and has one at the next call") {
  const NoFault afterwards;
  Heap heap;
  bool is_null = false;
  bool is_served = false;
  std::thread([&] {
    FailThe("pthread_setspecific", ENOMEM);
    is_null = heap.alloc_->AllocateOffset(HSHM_DEFAULT_MEM_CTX, 100).IsNull();
    is_null = is_null && fault.call_ == "pthread_setspecific";
    fault = Fault();
    is_served = !heap.alloc_->AllocateOffset(HSHM_DEFAULT_MEM_CTX, 100).IsNull();
  }).join();
  REQUIRE(is_null);
  REQUIRE(is_served);
  REQUIRE(heap.alloc_->Check());
}

TEST_CASE("A thread for whose notes there is no memory gets null, and has a heap afterwards") {
  const NoFault afterwards;
  Heap heap;
  bool is_null = false;
  bool is_served = false;
  std::thread([&] {
    news_until_fault = 1;
    is_null = heap.alloc_->AllocateOffset(HSHM_DEFAULT_MEM_CTX, 100).IsNull();
    news_until_fault = 0;
    is_served = !heap.alloc_->AllocateOffset(HSHM_DEFAULT_MEM_CTX, 100).IsNull();
  }).join();
  REQUIRE(is_null);
  REQUIRE(is_served);
  REQUIRE(heap.alloc_->Check());
}

TEST_CASE("Joining is refused at whichever allocation malloc has no memory, and leaves nothing") {
  const NoFault afterwards;
  Heap heap;
  int refused = 0;
  for (int which = 1;; ++which) {
    CAPTURE(which);
    bool is_refused = false;
    news_until_fault = which;
    try {
      heap.backend_.AttachAlloc<MultiProcessAllocator>();
    } catch (const std::bad_alloc&) {
      is_refused = true;
    } catch (const Error& error) {
      is_refused = error.code() == ErrorCode::kSystem;
    }
    const bool has_come = news_until_fault == 0;
    news_until_fault = 0;
    if (!has_come) break;
    REQUIRE(is_refused);
    REQUIRE_FALSE(heap.alloc_->GetMembership().IsAlive(1));
    ++refused;
  }
  REQUIRE(refused > 2);
  REQUIRE(heap.alloc_->Check());
}

TEST_CASE("Without a thread-local key to spare joining is System, and works when one is free") {
  Heap heap;
  std::vector<pthread_key_t> keys;
  for (pthread_key_t key; pthread_key_create(&key, nullptr) == 0;) keys.push_back(key);
  const Thrown thrown = ThrownBy([&] { heap.backend_.AttachAlloc<MultiProcessAllocator>(); });
  for (const pthread_key_t key : keys) pthread_key_delete(key);
  REQUIRE(thrown.code_ == ErrorCode::kSystem);
  REQUIRE(thrown.Says("No thread-local key"));
  REQUIRE_FALSE(heap.alloc_->GetMembership().IsAlive(1));
  REQUIRE_FALSE(heap.backend_.AttachAlloc<MultiProcessAllocator>()
                    ->AllocateOffset(HSHM_DEFAULT_MEM_CTX, 100)
                    .IsNull());
}

TEST_CASE("A forked child whose private memory is refused gets null, and joins at the next call") {
  Heap heap;
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    news_until_fault = 1;
    const bool is_null = heap.alloc_->AllocateOffset(HSHM_DEFAULT_MEM_CTX, 100).IsNull();
    news_until_fault = 0;
    const bool is_served = !heap.alloc_->AllocateOffset(HSHM_DEFAULT_MEM_CTX, 100).IsNull();
    _exit(is_null && is_served ? 0 : 1);
  }
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  REQUIRE(status == 0);
  heap.alloc_->Recover();
  REQUIRE(heap.alloc_->Check());
}

/** Runs in the executed child of the next test alone: before any byte is held. */
TEST_CASE("Without handlers of forks no byte is held", "[.child]") {
  const int file = static_cast<int>(syscall(SYS_memfd_create, "hshm_failing", MFD_CLOEXEC));
  HeldByte byte;
  REQUIRE(byte.Hold(file, 0) == ENOMEM);
  REQUIRE_FALSE(byte.IsHeld());
  REQUIRE(Create("hshm_failing_moments").code_ == ErrorCode::kSystem);
}

TEST_CASE("A process that can have no handlers of forks holds no byte, and so makes no segment") {
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    setenv(kNoForkHandlers, "1", 1);
    execl("/proc/self/exe", "failing moments child", "Without handlers of forks no byte is held",
          static_cast<char*>(nullptr));
    _exit(127);
  }
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  REQUIRE(status == 0);
}

}  // namespace
}  // namespace hshm::ipc::test
