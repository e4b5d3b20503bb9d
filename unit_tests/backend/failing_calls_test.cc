#include <dirent.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <fstream>
#include <functional>
#include <memory>
#include <string>

#include "backend/error_code.h"
#include "backend/failing_calls.h"
#include "backend/test_segment.h"
#include "hermes_shm/base/units.h"
#include "hermes_shm/memory/allocator/multi_process_allocator.h"
#include "hermes_shm/memory/backend/posix_mmap.h"
#include "hermes_shm/memory/backend/posix_shm_mmap.h"
#include "hermes_shm/platform/byte_lock.h"
#include "support/catch.h"

/**
 * Each system call of setting up and using a heap fails once, for each of some reasons. What comes
 * of it is an Error, null, or nothing at all; and nothing half-made: the same step, taken again,
 * succeeds, and no file, descriptor or mapping stays.
 */
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
  /** What is there before the creator comes; null: nothing. */
  std::function<void()> prepare_ = nullptr;
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
  if (kind.prepare_ != nullptr) kind.prepare_();
  for (int step = 0; step < faulty_step; ++step) job.Step(step);
  fault = {call, os_errno, "", "", nullptr};
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
        // In between it asks for each slot of the dead segment, one as the other.
        if (kind.prepare_ != nullptr && call == 60) call = int{kMaxSlots} - 10;
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

std::unique_ptr<PosixShmMmap> Growing(const TestSegment& segment) {
  auto backend = std::make_unique<PosixShmMmap>();
  backend->shm_init(MemoryBackendId(1), 1_MiB, segment.url(), {.max_size_bytes_ = kBytes});
  return backend;
}

TEST_CASE("Whichever system call fails, a named segment that grows leaves nothing half-made") {
  TestSegment segment;
  const Kind kind{[&] { return Growing(segment); }, Attached<PosixShmMmap>};
  FailEachCall(kind, segment.url(), [&] { return segment.Exists() ? 1u : 0u; });
}

/** Each replaced segment is told of, which is not what is tested here. */
struct QuietErrors {
  QuietErrors() : saved_(dup(STDERR_FILENO)) {
    std::fflush(stderr);
    static_cast<void>(std::freopen("/dev/null", "w", stderr));
  }
  ~QuietErrors() {
    std::fflush(stderr);
    dup2(saved_, STDERR_FILENO);
    close(saved_);
  }
  QuietErrors(const QuietErrors&) = delete;
  QuietErrors& operator=(const QuietErrors&) = delete;
  int saved_;
};

TEST_CASE("Whichever system call fails, a dead segment is replaced, or stays as it is") {
  const QuietErrors quiet;
  TestSegment segment;
  const Kind kind{[&] { return Growing(segment); }, Attached<PosixShmMmap>,
                  [&] {
                    if (segment.Exists()) return;
                    PosixShmMmap().shm_init(MemoryBackendId(2), 1_MiB, segment.url());
                  }};
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
    fault = {call, EAGAIN, "", "", nullptr};
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
