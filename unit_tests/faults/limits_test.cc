/** Set-up and use under the limits of a process, and what its core dumps have. */
#include <sys/mount.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>

#include "backend/child.h"
#include "backend/error_code.h"
#include "hermes_shm/memory/allocator/multi_process_allocator.h"
#include "hermes_shm/memory/backend/posix_mmap.h"
#include "hermes_shm/memory/backend/posix_shm_mmap.h"
#include "support/catch.h"
#include "support/own_directory.h"
#include "support/own_mounts.h"
#include "support/skip.h"

namespace hshm::ipc::test {
namespace {

using hshm::test::SegmentDirectory;

constexpr size_t kBytes = 16 << 20;
constexpr int kWorked = 100;

/** Creates, attaches, uses and leaves a heap. @return kWorked, or the code of the Error */
int LiveOnce(const PosixShmOptions& options) {
  try {
    PosixShmMmap creator;
    creator.shm_init(MemoryBackendId(1), kBytes, "heap", options);
    const struct Destroy {
      MemoryBackend& of_;
      ~Destroy() { of_.shm_destroy(); }
    } destroy{creator};
    auto* const made = creator.MakeAlloc<MultiProcessAllocator>(AllocatorId(1, 0));
    PosixShmMmap follower;
    follower.shm_attach(creator.GetUrl(), {.timeout_ms_ = 0});
    auto* const joined = follower.AttachAlloc<MultiProcessAllocator>();
    for (auto* const alloc : {made, joined}) {
      const auto block = alloc->Allocate<char>(HSHM_DEFAULT_MEM_CTX, 1 << 20);
      if (block.IsNull()) continue;
      block.ptr_[(1 << 20) - 1] = 1;
      alloc->Free(HSHM_DEFAULT_MEM_CTX, block);
    }
    return joined->Check() ? kWorked : 101;
  } catch (const Error& error) {
    return static_cast<int>(error.code());
  }
}

TEST_CASE("However few descriptors there are, a heap is set up or refused with FdLimit") {
  const SegmentDirectory directory;
  for (const Naming naming : {Naming::kNamed, Naming::kUnnamed}) {
    int worked_from = -1;
    for (rlim_t descriptors = 3; descriptors < 40; ++descriptors) {
      const int result = RunInChild([&] {
        const rlimit limit = {descriptors, descriptors};
        setrlimit(RLIMIT_NOFILE, &limit);
        return LiveOnce({.naming_ = naming});
      });
      INFO(descriptors << " descriptors");
      REQUIRE((result == kWorked || result == static_cast<int>(ErrorCode::kFdLimit)));
      REQUIRE(directory.Count() == 0);
      if (result == kWorked && worked_from < 0) worked_from = static_cast<int>(descriptors);
      REQUIRE((worked_from < 0) == (result != kWorked));
    }
    REQUIRE(worked_from > 3);
  }
}

TEST_CASE("However few addresses there are, a heap is set up or refused, and no file stays") {
#if HSHM_TEST_HAS_SANITIZER
  hshm::test::Skip("a sanitizer needs its addresses");
#else
  const SegmentDirectory directory;
  std::ifstream statm("/proc/self/statm");
  rlim_t pages = 0;
  statm >> pages;
  bool has_worked = false;
  // The whole process: from what it has to what two mappings and the notes on them need.
  for (rlim_t more = 0; more <= 64 << 20; more += 2 << 20) {
    const int result = RunInChild([&] {
      const rlimit limit = {pages * 4096 + more, pages * 4096 + more};
      setrlimit(RLIMIT_AS, &limit);
      return LiveOnce({});
    });
    INFO(more << " bytes more");
    has_worked = result == kWorked;
    REQUIRE((has_worked || result == static_cast<int>(ErrorCode::kSystem)));
    REQUIRE(directory.Count() == 0);
  }
  REQUIRE(has_worked);
#endif
}

TEST_CASE("A shared-memory directory that is read-only is Permission, one that is gone NotFound") {
  const SegmentDirectory directory;
  const int result = RunInChild([&] {
    if (!hshm::test::MountOwnTmpfs(directory.path().c_str(), "size=1m")) return 77;
    if (mount(nullptr, directory.path().c_str(), nullptr, MS_REMOUNT | MS_RDONLY, nullptr) != 0) {
      return 77;
    }
    return LiveOnce({});
  });
  REQUIRE(RunInChild([&] {
            setenv("HSHM_SHM_DIR", directory.File("none").c_str(), 1);
            return LiveOnce({});
          }) == static_cast<int>(ErrorCode::kNotFound));
  if (result == 77) hshm::test::Skip("this user may not mount a file system");
  REQUIRE(static_cast<ErrorCode>(result) == ErrorCode::kPermission);
}

/** Whether a core dump of this process would leave out what lies at the address: proc(5), smaps. */
bool IsLeftOut(const void* address) {
  std::ifstream mappings("/proc/self/smaps");
  const auto where = reinterpret_cast<uintptr_t>(address);
  bool is_inside = false;
  for (std::string line; std::getline(mappings, line);) {
    unsigned long long begin = 0;
    unsigned long long end = 0;
    if (std::sscanf(line.c_str(), "%llx-%llx ", &begin, &end) == 2) {
      is_inside = begin <= where && where < end;
    } else if (is_inside && line.rfind("VmFlags:", 0) == 0) {
      return line.find(" dd") != std::string::npos;
    }
  }
  FAIL("smaps has no such mapping");
  return false;
}

TEST_CASE("Core dumps leave a segment out of every process that did not ask for it") {
  const SegmentDirectory directory;
  for (const bool is_asked : {false, true}) {
    for (const Naming naming : {Naming::kNamed, Naming::kUnnamed}) {
      PosixShmMmap creator;
      creator.shm_init(MemoryBackendId(1), kBytes, "heap",
                       {.naming_ = naming, .in_core_dumps_ = is_asked});
      REQUIRE(IsLeftOut(creator.region().base_) == !is_asked);
      REQUIRE(IsLeftOut(creator.region().base_ + kBytes - 1) == !is_asked);
      PosixShmMmap follower;
      follower.shm_attach(creator.GetUrl(), {.in_core_dumps_ = !is_asked});
      REQUIRE(IsLeftOut(follower.region().base_) == is_asked);
      creator.shm_destroy();
    }
    PosixMmap file;
    file.shm_init(MemoryBackendId(1), kBytes, directory.File("file"), {.in_core_dumps_ = is_asked});
    REQUIRE(IsLeftOut(file.region().base_) == !is_asked);
    file.shm_destroy();
  }
}

}  // namespace
}  // namespace hshm::ipc::test
