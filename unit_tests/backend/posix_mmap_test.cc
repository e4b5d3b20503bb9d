#include "hermes_shm/memory/backend/posix_mmap.h"

#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <string>
#include <vector>

#include "backend/child.h"
#include "backend/error_code.h"
#include "backend/probe_allocator.h"
#include "hermes_shm/base/units.h"
#include "hermes_shm/memory/allocator/multi_process_allocator.h"
#include "hermes_shm/memory/memory_manager.h"
#include "support/catch.h"
#include "support/own_directory.h"
#include "support/own_mounts.h"
#include "support/skip.h"

namespace hshm::ipc::test {
namespace {

using hshm::test::DiskDirectory;
using hshm::test::StatusOf;

constexpr size_t kBytes = 1 << 20;
const MemoryBackendId kId(6);

uint64_t ResidentBytes(const char* begin, uint64_t size) {
  std::vector<unsigned char> pages(size / 4096);
  REQUIRE(mincore(const_cast<char*>(begin), size, pages.data()) == 0);
  uint64_t bytes = 0;
  for (unsigned char page : pages) bytes += (page & 1) * uint64_t{4096};
  return bytes;
}

// ---- private

TEST_CASE("A private region has whole pages, costs what is touched, and is nobody else's") {
  PosixMmap backend;
  backend.shm_init(kId, size_t{64} << 30 | 1);
  REQUIRE(backend.size_bytes() == (size_t{64} << 30) + 4096);
  REQUIRE(backend.IsOwner());
  REQUIRE(backend.GetId() == kId);
  const Region region = backend.region();
  REQUIRE_FALSE(region.services_->IsShared());
  REQUIRE(region.services_->Commit(32_GiB, 1_MiB));
  std::memset(region.base_ + 32_GiB, 1, 1_MiB);
  REQUIRE(ResidentBytes(region.base_ + 32_GiB, 2_MiB) == 1_MiB);
  REQUIRE_FALSE(region.services_->Commit(region.size_bytes_, 1));
  REQUIRE_FALSE(region.services_->Commit(~Offset{0}, 1));
}

TEST_CASE(
    "What a private region gives back leaves memory at once, in whole pages, and reads as zero") {
  PosixMmap backend;
  backend.shm_init(kId, 64_MiB);
  const Region region = backend.region();
  char* const at = region.base_ + 16_MiB;
  std::memset(at, 7, 8_MiB);
  region.services_->Decommit(16_MiB + 1, 8_MiB - 2);
  REQUIRE(ResidentBytes(at, 8_MiB) == 2 * 4096);
  REQUIRE(at[0] == 7);
  REQUIRE(at[8_MiB - 1] == 7);
  REQUIRE(region.services_->Commit(16_MiB, 8_MiB));
  REQUIRE(at[4096] == 0);
  REQUIRE(at[4_MiB] == 0);
}

TEST_CASE("A private region refuses bad sizes, two at once, and Sync") {
  PosixMmap backend;
  REQUIRE(CodeOf([&] { backend.shm_init(kId, 0); }) == ErrorCode::kOutOfRange);
  REQUIRE(CodeOf([&] { backend.shm_init(kId, kMinRegionBytes - 1); }) == ErrorCode::kOutOfRange);
  REQUIRE(CodeOf([&] { backend.shm_init(kId, ~size_t{0}); }) == ErrorCode::kOutOfRange);
  REQUIRE(CodeOf([&] { backend.Sync(); }) == ErrorCode::kUnsupported);
  REQUIRE_FALSE(backend.IsOpen());
  backend.shm_init(kId, kBytes);
  REQUIRE(CodeOf([&] { backend.shm_init(kId, kBytes); }) == ErrorCode::kBackendInUse);
  REQUIRE(CodeOf([&] { backend.shm_attach("/tmp/x"); }) == ErrorCode::kBackendInUse);
  REQUIRE(CodeOf([&] { backend.Sync(); }) == ErrorCode::kUnsupported);
}

TEST_CASE("A private region that the address space has no room for is NoSpace") {
#if HSHM_TEST_HAS_SANITIZER
  hshm::test::Skip("a sanitizer needs its addresses");
#else
  const int result = RunInChild([] {
    const rlimit little = {256 << 20, 256 << 20};
    setrlimit(RLIMIT_AS, &little);
    PosixMmap backend;
    return static_cast<int>(CodeOf([&] { backend.shm_init(kId, size_t{1} << 30); }));
  });
  REQUIRE(static_cast<ErrorCode>(result) == ErrorCode::kNoSpace);
#endif
}

TEST_CASE("A forked child goes on in its own copy of a private heap, and the parent in its own") {
  PosixMmap backend;
  backend.shm_init(kId, 8_MiB);
  auto* alloc = backend.MakeAlloc<MultiProcessAllocator>(AllocatorId(1, 0));
  const auto block = alloc->Allocate(HSHM_DEFAULT_MEM_CTX, 1000);
  std::memset(block.ptr_, 1, 1000);
  const size_t before = alloc->GetCurrentlyAllocatedSize();
  const int result = RunInChild([&] {
    if (block.ptr_[999] != 1) return 1;
    std::memset(block.ptr_, 2, 1000);
    alloc->Free(HSHM_DEFAULT_MEM_CTX, block);
    for (int i = 0; i < 100; ++i) {
      const auto own = alloc->Allocate(HSHM_DEFAULT_MEM_CTX, 5000);
      if (own.IsNull()) return 2;
      std::memset(own.ptr_, 3, 5000);
    }
    return alloc->Check() ? 0 : 3;
  });
  REQUIRE(result == 0);
  REQUIRE(block.ptr_[0] == 1);
  REQUIRE(block.ptr_[999] == 1);
  REQUIRE(alloc->GetCurrentlyAllocatedSize() == before);
  REQUIRE(alloc->Check());
}

// ---- file-backed

TEST_CASE("A file is private to its user, sparse, and appears finished under its path") {
  DiskDirectory directory;
  PosixMmap backend;
  backend.shm_init(kId, size_t{64} << 30 | 1, directory.File("heap"), {.allow_overcommit_ = true});
  const struct stat status = StatusOf(directory.File("heap"));
  REQUIRE((status.st_mode & 07777) == 0600);
  REQUIRE(static_cast<size_t>(status.st_size) == (size_t{64} << 30) + 4096);
  REQUIRE(status.st_blocks * 512 <= 1 << 20);
  REQUIRE(status.st_nlink == 1);
  REQUIRE(directory.Count() == 1);
  REQUIRE(backend.IsOwner());
  REQUIRE(backend.region().services_->IsShared());
}

TEST_CASE("What was written is there after detaching, and after all processes have died") {
  DiskDirectory directory;
  const std::string path = directory.File("heap");
  {
    PosixMmap backend;
    backend.shm_init(kId, kBytes, path);
    auto* alloc = backend.MakeAlloc<ProbeAllocator>(AllocatorId(1, 0));
    const auto text = alloc->Allocate<char>(HSHM_DEFAULT_MEM_CTX, 64);
    std::strcpy(text.ptr_, "written");
    REQUIRE(alloc->SetRoot("text", text));
    backend.shm_detach();
  }
  LivingChild child([&] {
    auto* backend = new PosixMmap();
    backend->shm_attach(path);
    auto* alloc = backend->AttachAlloc<ProbeAllocator>();
    std::strcpy(alloc->FindRoot<char>("text").ptr_, "changed");
  });
  REQUIRE(child.is_ready());
  child.Kill();
  PosixMmap backend;
  backend.shm_attach(path);
  REQUIRE(backend.GetId() == kId);
  REQUIRE_FALSE(backend.IsOwner());
  auto* alloc = backend.AttachAlloc<ProbeAllocator>();
  REQUIRE(std::string(alloc->FindRoot<char>("text").ptr_) == "changed");
  REQUIRE(alloc->GetMembership().slot() == 0);  // who was in it is dead
  backend.Sync();
}

TEST_CASE("A file is kept by everybody but a creator that destroys it") {
  DiskDirectory directory;
  PosixMmap creator;
  creator.shm_init(kId, kBytes, directory.File("heap"));
  PosixMmap follower;
  follower.shm_attach(directory.File("heap"));
  follower.shm_destroy();
  REQUIRE(directory.Count() == 1);
  creator.shm_destroy();
  REQUIRE(directory.Count() == 0);
}

TEST_CASE(
    "Creating a file replaces nothing unless asked, and then only what is dead and a segment") {
  DiskDirectory directory;
  const std::string path = directory.File("heap");
  const auto create = [&](IfExists if_exists) {
    return CodeOf([&] {
      PosixMmap backend;
      backend.shm_init(kId, kBytes, path, {.if_exists_ = if_exists});
    });
  };
  REQUIRE(create(IfExists::kFail) == ErrorCode::kNone);
  REQUIRE(CodeOf([&] { PosixMmap().shm_init(kId, kBytes, path); }) == ErrorCode::kAlreadyExists);
  {
    PosixMmap living;
    living.shm_attach(path);
    REQUIRE(create(IfExists::kReplaceDead) == ErrorCode::kAlreadyExists);
  }
  {
    PosixMmap second;
    second.shm_init(MemoryBackendId(7), kBytes, path, {.if_exists_ = IfExists::kReplaceDead});
  }
  PosixMmap found;
  found.shm_attach(path);
  REQUIRE(found.GetId() == MemoryBackendId(7));
  found.shm_detach();
  REQUIRE(truncate(path.c_str(), 0) == 0);
  REQUIRE(create(IfExists::kReplaceDead) == ErrorCode::kAlreadyExists);
  REQUIRE(directory.Count() == 1);
}

TEST_CASE("A relative path means the same file after the working directory has changed") {
  DiskDirectory directory;
  const int result = RunInChild([&] {
    if (chdir(directory.path().c_str()) != 0) return 1;
    PosixMmap backend;
    backend.shm_init(kId, kBytes, "heap");
    if (chdir("/") != 0 || directory.Count() != 1) return 2;
    backend.Sync();
    backend.shm_destroy();
    return directory.Count() == 0 ? 0 : 3;
  });
  REQUIRE(result == 0);
}

TEST_CASE("A relative path where there is no working directory is BadName") {
  DiskDirectory directory;
  const std::string gone = directory.File("gone");
  const int result = RunInChild([&] {
    if (mkdir(gone.c_str(), 0700) != 0 || chdir(gone.c_str()) != 0 || rmdir(gone.c_str()) != 0) {
      return 1;
    }
    PosixMmap backend;
    return static_cast<int>(CodeOf([&] { backend.shm_init(kId, kBytes, "heap"); }));
  });
  REQUIRE(static_cast<ErrorCode>(result) == ErrorCode::kBadName);
}

TEST_CASE("A path that ends in its middle is BadName, whichever part of it does") {
  DiskDirectory directory;
  for (const std::string& path : {directory.path() + std::string("\0/heap", 6),
                                  directory.path() + std::string("/he\0ap", 6)}) {
    REQUIRE(CodeOf([&] { PosixMmap().shm_init(kId, kBytes, path); }) == ErrorCode::kBadName);
  }
  REQUIRE(directory.Count() == 0);
}

TEST_CASE("A file on a full file system is refused with what to do, and is not there") {
  DiskDirectory directory;
  const int result = RunInChild([&] {
    if (!hshm::test::MountOwnTmpfs(directory.path().c_str(), "size=1m")) return 77;
    const Thrown thrown =
        ThrownBy([&] { PosixMmap().shm_init(kId, 4 * kBytes, directory.File("heap")); });
    if (thrown.code_ != ErrorCode::kNoSpace || directory.Count() != 0) return 1;
    return thrown.Says("choose a file system with more room") ? 0 : 2;
  });
  if (result == 77) hshm::test::Skip("this user may not mount a file system");
  REQUIRE(result == 0);
}

TEST_CASE("The manager joins a file by its path") {
  DiskDirectory directory;
  {
    PosixMmap backend;
    backend.shm_init(kId, kBytes, directory.File("heap"));
    backend.MakeAlloc<ProbeAllocator>(AllocatorId(5, 1));
  }
  MemoryManager manager;
  MemoryBackend* const joined =
      manager.AttachBackend(MemoryBackendType::kPosixMmap, directory.File("heap"));
  REQUIRE(joined == manager.GetBackend(kId));
  REQUIRE(manager.GetAllocator<ProbeAllocator>(AllocatorId(5, 1)) != nullptr);
  REQUIRE(CodeOf([&] {
            manager.AttachBackend(MemoryBackendType::kPosixMmap, directory.File("none"));
          }) == ErrorCode::kNotFound);
  manager.DestroyBackend(kId);
  REQUIRE(directory.Count() == 1);
}

}  // namespace
}  // namespace hshm::ipc::test
