#include <dirent.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstdarg>
#include <fstream>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "backend/error_code.h"
#include "backend/test_segment.h"
#include "hermes_shm/base/units.h"
#include "hermes_shm/memory/allocator/multi_process_allocator.h"
#include "hermes_shm/memory/backend/posix_mmap.h"
#include "hermes_shm/memory/backend/posix_shm_mmap.h"
#include "hermes_shm/platform/byte_lock.h"
#include "support/catch.h"
#include "support/instead_of_system.h"

/**
 * Each system call of setting up and using a heap fails once, for each of some reasons. What comes
 * of it is an Error, null, or nothing at all; and nothing half-made: the same step, taken again,
 * succeeds, and no file, descriptor or mapping stays.
 */
namespace {

struct Fault {
  int countdown_ = 0;  // 0: none will come
  int os_errno_ = 0;
  std::string call_;  // that failed

  bool Comes(const char* call) {
    if (countdown_ == 0 || --countdown_ != 0) return false;
    call_ = call;
    errno = os_errno_;
    return true;
  }
} fault;

}  // namespace

HSHM_TEST_INSTEAD int open(const char* path, int flags, ...) {
  if (fault.Comes("open")) return -1;
  va_list rest;
  va_start(rest, flags);
  const int fd = hshm::test::SystemOpen(path, flags, rest);
  va_end(rest);
  return fd;
}
HSHM_TEST_INSTEAD int fcntl(int fd, int command, ...) {
  va_list rest;
  va_start(rest, command);
  void* const argument = va_arg(rest, void*);
  va_end(rest);
  if (fault.Comes("fcntl")) return -1;
  return static_cast<int>(syscall(SYS_fcntl, fd, command, argument));
}
HSHM_TEST_INSTEAD int fallocate(int fd, int mode, off_t offset, off_t length) {
  if (fault.Comes("fallocate")) return -1;
  return static_cast<int>(syscall(SYS_fallocate, fd, mode, offset, length));
}
HSHM_TEST_INSTEAD int ftruncate(int fd, off_t length) noexcept {
  if (fault.Comes("ftruncate")) return -1;
  return static_cast<int>(syscall(SYS_ftruncate, fd, length));
}
HSHM_TEST_INSTEAD int fchmod(int fd, mode_t mode) noexcept {
  if (fault.Comes("fchmod")) return -1;
  return static_cast<int>(syscall(SYS_fchmod, fd, mode));
}
HSHM_TEST_INSTEAD int linkat(int from_fd, const char* from, int to_fd, const char* to,
                             int flags) noexcept {
  if (fault.Comes("linkat")) return -1;
  return static_cast<int>(syscall(SYS_linkat, from_fd, from, to_fd, to, flags));
}
HSHM_TEST_INSTEAD int memfd_create(const char* name, unsigned flags) noexcept {
  if (fault.Comes("memfd_create")) return -1;
  return static_cast<int>(syscall(SYS_memfd_create, name, flags));
}
HSHM_TEST_INSTEAD void* mmap(void* hint, size_t bytes, int access, int flags, int fd,
                             off_t offset) noexcept {
  if (fault.Comes("mmap")) return MAP_FAILED;
  return reinterpret_cast<void*>(syscall(SYS_mmap, hint, bytes, access, flags, fd, offset));
}
HSHM_TEST_INSTEAD int madvise(void* base, size_t bytes, int advice) noexcept {
  if (fault.Comes("madvise")) return -1;
  return static_cast<int>(syscall(SYS_madvise, base, bytes, advice));
}
HSHM_TEST_INSTEAD int fstat(int fd, struct stat* status) noexcept {
  if (fault.Comes("fstat")) return -1;
  return static_cast<int>(syscall(SYS_fstat, fd, status));
}
HSHM_TEST_INSTEAD int access(const char* path, int mode) noexcept {
  if (fault.Comes("access")) return -1;
  return static_cast<int>(syscall(SYS_access, path, mode));
}
HSHM_TEST_INSTEAD ssize_t pread(int fd, void* buffer, size_t bytes, off_t offset) {
  if (fault.Comes("pread")) return -1;
  return syscall(SYS_pread64, fd, buffer, bytes, offset);
}

namespace hshm::ipc::test {
namespace {

constexpr size_t kBytes = 4 << 20;

size_t OpenDescriptors() {
  size_t count = 0;
  DIR* const directory = opendir("/proc/self/fd");
  while (readdir(directory) != nullptr) ++count;
  closedir(directory);
  return count;
}

/** Mappings of files whose names say that they are this test's. */
size_t MappedSegments(const std::string& name) {
  std::ifstream maps("/proc/self/maps");
  size_t count = 0;
  for (std::string line; std::getline(maps, line);) count += line.find(name) != std::string::npos;
  return count;
}

/** How the backends of a job come about. */
struct Kind {
  std::function<std::unique_ptr<MemoryBackend>()> create_;
  std::function<std::unique_ptr<MemoryBackend>(const std::string& url)> attach_;
};

/** A creator and a follower, taken through their steps. */
struct Job {
  explicit Job(const Kind& kind) : kind_(kind) {}
  ~Job() {
    if (creator_ != nullptr) creator_->shm_destroy();
  }
  Job(const Job&) = delete;
  Job& operator=(const Job&) = delete;

  const Kind& kind_;
  std::unique_ptr<MemoryBackend> creator_;
  std::unique_ptr<MemoryBackend> follower_;
  MultiProcessAllocator* made_ = nullptr;
  MultiProcessAllocator* joined_ = nullptr;

  static constexpr int kSteps = 5;
  void Step(int step) {
    switch (step) {
      case 0:
        creator_ = kind_.create_();
        return;
      case 1:
        made_ = creator_->MakeAlloc<MultiProcessAllocator>(AllocatorId(1, 0));
        return;
      case 2:
        follower_ = kind_.attach_(creator_->GetUrl());
        return;
      case 3:
        joined_ = follower_->AttachAlloc<MultiProcessAllocator>();
        return;
      default:
        Use(made_);
        Use(joined_);
    }
  }
  static void Use(MultiProcessAllocator* alloc) {
    for (const size_t bytes : {100, 20'000, 700'000, 1'500'000}) {
      const auto block = alloc->Allocate<char>(HSHM_DEFAULT_MEM_CTX, bytes);
      if (block.IsNull()) continue;
      block.ptr_[0] = block.ptr_[bytes - 1] = 1;
      alloc->Free(HSHM_DEFAULT_MEM_CTX, block);
    }
    alloc->Trim();
  }
};

/** One trial. @return false when the step has fewer system calls than that */
bool TryWith(const Kind& kind, int faulty_step, int call, int os_errno) {
  Job job(kind);
  for (int step = 0; step < faulty_step; ++step) job.Step(step);
  fault = {call, os_errno, ""};
  const ErrorCode code = CodeOf([&] { job.Step(faulty_step); });
  const bool has_come = fault.countdown_ == 0;
  fault.countdown_ = 0;
  INFO("step " << faulty_step << ": " << fault.call_ << " failed with " << os_errno << ", so "
               << code);
  REQUIRE((has_come || code == ErrorCode::kNone));
  if (code != ErrorCode::kNone) job.Step(faulty_step);
  for (int step = faulty_step + 1; step < Job::kSteps; ++step) job.Step(step);
  REQUIRE(job.made_->GetCurrentlyAllocatedSize() == 0);
  REQUIRE(job.made_->Check());
  REQUIRE(job.joined_->Check());
  return has_come;
}

/** `count` tells what this test has left behind. */
void FailEachCall(const Kind& kind, const std::string& name,
                  const std::function<size_t()>& count_files) {
  const size_t descriptors = OpenDescriptors();
  int trials = 0;
  for (const int os_errno : {ENOMEM, ENOSPC, EMFILE}) {
    for (int step = 0; step < Job::kSteps; ++step) {
      for (int call = 1;; ++call, ++trials) {
        CAPTURE(os_errno, step, call);
        const bool has_come = TryWith(kind, step, call, os_errno);
        REQUIRE(count_files() == 0);
        REQUIRE(MappedSegments(name) == 0);
        REQUIRE(OpenDescriptors() == descriptors);
        if (!has_come) break;
      }
    }
  }
  REQUIRE(trials > 200);  // the library does come by here
}

template <typename BackendT>
std::unique_ptr<MemoryBackend> Attached(const std::string& url) {
  auto backend = std::make_unique<BackendT>();
  backend->shm_attach(url, {.timeout_ms_ = 0});
  return backend;
}

TEST_CASE("Whichever system call fails, a named segment that grows leaves nothing half-made") {
  TestSegment segment;
  const Kind kind{[&] {
                    auto backend = std::make_unique<PosixShmMmap>();
                    backend->shm_init(MemoryBackendId(1), 1_MiB, segment.url(),
                                      {.max_size_bytes_ = kBytes});
                    return backend;
                  },
                  Attached<PosixShmMmap>};
  FailEachCall(kind, segment.url(), [&] { return segment.Exists() ? 1u : 0u; });
}

TEST_CASE("Whichever system call fails, a segment without a name leaves nothing half-made") {
  TestSegment segment;
  const Kind kind{[&] {
                    auto backend = std::make_unique<PosixShmMmap>();
                    backend->shm_init(MemoryBackendId(1), kBytes, segment.url(),
                                      {.naming_ = Naming::kUnnamed});
                    return backend;
                  },
                  Attached<PosixShmMmap>};
  FailEachCall(kind, segment.url(), [] { return 0u; });
}

TEST_CASE("Whichever system call fails, a file leaves nothing half-made") {
  TestSegment segment;  // on a tmpfs: thousands of files are made
  const std::string path = segment.path();
  const Kind kind{[&] {
                    auto backend = std::make_unique<PosixMmap>();
                    backend->shm_init(MemoryBackendId(1), kBytes, path);
                    return backend;
                  },
                  Attached<PosixMmap>};
  FailEachCall(kind, path, [&] { return segment.Exists() ? 1u : 0u; });
}

TEST_CASE("HeldByte takes no refused mapping, and no leased file, for another holder") {
  const int file = static_cast<int>(syscall(SYS_memfd_create, "hshm_failing_calls", MFD_CLOEXEC));
  REQUIRE(file >= 0);
  size_t refused = 0;
  for (int call = 1;; ++call) {
    HeldByte byte;
    fault = {call, EAGAIN, ""};
    const int error = byte.Hold(file, 0);
    const bool has_come = fault.countdown_ == 0;
    fault.countdown_ = 0;
    if (!has_come) break;
    if (fault.call_ != "mmap" && fault.call_ != "madvise" && fault.call_ != "open") continue;
    INFO(fault.call_);
    REQUIRE((error != 0 && error != EAGAIN));
    REQUIRE_FALSE(byte.IsHeld());
    ++refused;
  }
  REQUIRE(refused == 3);
  close(file);
}

}  // namespace
}  // namespace hshm::ipc::test
