#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>

#include "backend/child.h"
#include "backend/error_code.h"
#include "backend/probe_allocator.h"
#include "backend/test_segment.h"
#include "hermes_shm/base/units.h"
#include "hermes_shm/memory/allocator/multi_process_allocator.h"
#include "hermes_shm/memory/backend/malloc_backend.h"
#include "hermes_shm/memory/backend/posix_mmap.h"
#include "hermes_shm/memory/backend/posix_shm_mmap.h"
#include "hermes_shm/platform/huge_pages.h"
#include "support/catch.h"
#include "support/own_directory.h"
#include "support/own_mounts.h"
#include "support/skip.h"

namespace hshm::ipc::test {
namespace {

using hshm::test::DiskDirectory;

const MemoryBackendId kId(6);
constexpr int kNotPermitted = 77;

bool Says(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

/** 0 passes; what this user may not try is skipped. */
void RequireDone(int result) {
  if (result == kNotPermitted) hshm::test::Skip("this user may not mount a file system");
  REQUIRE(result == 0);
}

TEST_CASE("The report says of every backend why it has no huge pages") {
  PosixMmap none;
  REQUIRE(Says(none.GetPageReport().why_not_, "no region"));
  MallocBackend by_malloc;
  by_malloc.shm_init(kId, 1_MiB);
  REQUIRE(by_malloc.GetPageReport().kind_ == PageKind::kSystem);
  REQUIRE(Says(by_malloc.GetPageReport().why_not_, "malloc"));
  PosixMmap own;
  own.shm_init(kId, 1_MiB);
  REQUIRE(Says(own.GetPageReport().why_not_, "not asked for"));
  TestSegment segment;
  PosixShmMmap shared;
  shared.shm_init(kId, 1_MiB, segment.url());
  const PageReport report = shared.GetPageReport();
  REQUIRE(report.kind_ == PageKind::kSystem);
  REQUIRE(report.page_bytes_ == static_cast<uint64_t>(sysconf(_SC_PAGESIZE)));
  REQUIRE(report.huge_bytes_ == 0);
  REQUIRE(Says(report.why_not_, "not asked for"));
  PosixShmMmap follower;
  follower.shm_attach(segment.url());
  REQUIRE(Says(follower.GetPageReport().why_not_, "creator"));
}

TEST_CASE("Private memory has huge pages where the system gives them, and else a sentence") {
  const HugePageSetting setting = PrivateHugePageSetting();
  PosixMmap backend;
  backend.shm_init(kId, 8_MiB, HugePages::kAdvise);
  const PageReport before = backend.GetPageReport();
  if (!setting.is_on_request_) {
    REQUIRE(Says(before.why_not_, setting.value_));
    REQUIRE(CodeOf([&] { PosixMmap().shm_init(kId, 8_MiB, HugePages::kRequire); }) ==
            ErrorCode::kUnsupported);
    return;
  }
  REQUIRE(before.kind_ == PageKind::kTransparentHuge);
  REQUIRE(before.page_bytes_ == TransparentPageBytes());
  REQUIRE(before.why_not_.empty());
  char* const base = backend.region().base_;
  REQUIRE(reinterpret_cast<uintptr_t>(base) % before.page_bytes_ == 0);
  std::memset(base, 1, 8_MiB);
  REQUIRE(backend.GetPageReport().huge_bytes_ >= before.page_bytes_);
  backend.region().services_->Decommit(4_MiB, 4_MiB);
  REQUIRE(base[5_MiB] == 0);
  REQUIRE(base[4_MiB - 1] == 1);
  backend.shm_detach();
  backend.shm_init(kId, 8_MiB, HugePages::kRequire);
  REQUIRE(backend.GetPageReport().huge_bytes_ >= before.page_bytes_);
}

/** A heap works, its memory comes and goes, and both mappings see it. @return 0 when it does */
int UseHugeSegment(PosixShmMmap* backend, const std::string& url, PageKind kind) {
  const PageReport report = backend->GetPageReport();
  if (report.kind_ != kind || !report.why_not_.empty()) return 10;
  const Region region = backend->region();
  if (!region.services_->Commit(9_MiB, 64_KiB)) return 11;
  std::memset(region.base_ + 9_MiB, 7, 64_KiB);
  if (backend->GetPageReport().huge_bytes_ < report.page_bytes_) return 12;
  PosixShmMmap follower;
  follower.shm_attach(url);
  if (follower.region().base_[9_MiB] != 7) return 13;
  if (follower.GetPageReport().kind_ != kind) return 14;
  // A part of a huge page must not become zero with the other part still in use.
  region.services_->Decommit(9_MiB, 4096);
  if (region.base_[9_MiB + 4096] != 7) return 15;
  region.services_->Decommit(8_MiB, 2_MiB);
  if (!region.services_->Commit(8_MiB, 2_MiB) || region.base_[9_MiB + 4096] != 0) return 16;
  auto* alloc = backend->MakeAlloc<MultiProcessAllocator>(AllocatorId(1, 0));
  auto* joined = follower.AttachAlloc<MultiProcessAllocator>();
  if (joined->GetMembership().slot() == alloc->GetMembership().slot()) return 17;
  const auto block = joined->Allocate<char>(HSHM_DEFAULT_MEM_CTX, 1_MiB);
  if (block.IsNull()) return 18;
  std::memset(block.ptr_, 1, 1_MiB);
  alloc->FreeOffset(HSHM_DEFAULT_MEM_CTX, OffsetPtr<>(block.shm_.off_.load()));
  follower.shm_detach();
  // Who has left holds nothing any more: on a hugetlbfs too the lock's page went with it.
  if (alloc->GetMembership().IsAlive(1)) return 19;
  return alloc->Check() ? 0 : 20;
}

TEST_CASE("A tmpfs mounted with huge=advise gives named segments huge pages") {
  const int result = RunInChild([] {
    if (!hshm::test::MountOwnTmpfs("/dev/shm", "size=64m,huge=advise")) return kNotPermitted;
    TestSegment segment;
    PosixShmMmap backend;
    backend.shm_init(kId, 32_MiB, segment.url(), {.huge_pages_ = HugePages::kRequire});
    return UseHugeSegment(&backend, segment.url(), PageKind::kTransparentHuge);
  });
  RequireDone(result);
}

TEST_CASE("A full tmpfs with huge pages gives null, not a signal") {
  const int result = RunInChild([] {
    if (!hshm::test::MountOwnTmpfs("/dev/shm", "size=16m,huge=advise")) return kNotPermitted;
    TestSegment segment;
    PosixShmMmap backend;
    backend.shm_init(kId, 8_MiB, segment.url(),
                     {.max_size_bytes_ = 64_MiB, .huge_pages_ = HugePages::kAdvise});
    const Region region = backend.region();
    uint64_t end = 2_MiB;
    while (end < 64_MiB && region.services_->Commit(end, 1_MiB)) {
      std::memset(region.base_ + end, 1, 1_MiB);
      end += 1_MiB;
    }
    return end >= 14_MiB && end < 20_MiB ? 0 : 1;
  });
  RequireDone(result);
}

TEST_CASE("Huge pages that a file system does not give are refused with the way to get them") {
  const int result = RunInChild([] {
    if (!hshm::test::MountOwnTmpfs("/dev/shm", "size=64m,huge=never")) return kNotPermitted;
    TestSegment segment;
    PosixShmMmap backend;
    const Thrown thrown = ThrownBy(
        [&] { backend.shm_init(kId, 8_MiB, segment.url(), {.huge_pages_ = HugePages::kRequire}); });
    if (thrown.code_ != ErrorCode::kUnsupported || segment.Exists()) return 1;
    if (!thrown.Says("/dev/shm gives none") || !thrown.Says("huge=advise")) return 2;
    backend.shm_init(kId, 8_MiB, segment.url(), {.huge_pages_ = HugePages::kAdvise});
    const PageReport report = backend.GetPageReport();
    return report.kind_ == PageKind::kSystem && Says(report.why_not_, "huge=advise") ? 0 : 3;
  });
  RequireDone(result);
}

TEST_CASE("A segment without a name has huge pages where the system gives them to such files") {
  const HugePageSetting setting = MemoryFileHugePageSetting();
  TestSegment label;
  PosixShmMmap backend;
  PosixShmOptions options{.huge_pages_ = HugePages::kRequire, .naming_ = Naming::kUnnamed};
  if (setting.is_on_request_) {
    backend.shm_init(kId, 32_MiB, label.url(), options);
    REQUIRE(UseHugeSegment(&backend, backend.GetUrl(), PageKind::kTransparentHuge) == 0);
    return;
  }
  const Thrown thrown = ThrownBy([&] { backend.shm_init(kId, 32_MiB, label.url(), options); });
  REQUIRE(thrown.code_ == ErrorCode::kUnsupported);
  REQUIRE(thrown.Says("/sys/kernel/mm/transparent_hugepage/shmem_enabled says " + setting.value_));
  options.huge_pages_ = HugePages::kAdvise;
  backend.shm_init(kId, 32_MiB, label.url(), options);
  REQUIRE(Says(backend.GetPageReport().why_not_, "write advise to it"));
}

TEST_CASE("A hugetlbfs gives huge pages from its pool, and says when that is empty") {
  DiskDirectory directory;
  const int result = RunInChild([&] {
    if (unshare(CLONE_NEWNS) != 0) return kNotPermitted;
    if (mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return kNotPermitted;
    if (mount("none", directory.path().c_str(), "hugetlbfs", 0, nullptr) != 0) return kNotPermitted;
    setenv("HSHM_SHM_DIR", directory.path().c_str(), 1);
    PosixShmMmap backend;
    if (FreePoolBytes(PoolPageBytes()) >= 32_MiB) {
      backend.shm_init(kId, 16_MiB + 1, "huge", {.max_size_bytes_ = 1_GiB});
      if (backend.size_bytes() != 1_GiB) return 1;
      return UseHugeSegment(&backend, "huge", PageKind::kHugePool);
    }
    const Thrown thrown = ThrownBy([&] { backend.shm_init(kId, 1_GiB, "huge"); });
    if (thrown.code_ != ErrorCode::kNoSpace || directory.Count() != 0) return 2;
    return thrown.Says("The pool of huge pages") && thrown.Says("nr_hugepages") ? 0 : 3;
  });
  RequireDone(result);
}

TEST_CASE("A hugetlbfs whose pool others have emptied meanwhile is refused, and leaves no file") {
  DiskDirectory directory;
  const int result = RunInChild([&] {
    const std::string told = "/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages";
    const std::string instead = directory.File("free_hugepages");
    const std::string mounted = directory.File("huge");
    std::ofstream(instead) << "1000\n";
    if (PoolPageBytes() != 2_MiB || FreePoolBytes(2_MiB) != 0) return 0;  // they are there
    if (unshare(CLONE_NEWNS) != 0) return kNotPermitted;
    if (mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return kNotPermitted;
    if (mkdir(mounted.c_str(), 0700) != 0) return 1;
    if (mount("none", mounted.c_str(), "hugetlbfs", 0, nullptr) != 0) return kNotPermitted;
    // From here on the system tells of pages that are gone when they are asked for.
    if (mount(instead.c_str(), told.c_str(), nullptr, MS_BIND, nullptr) != 0) return kNotPermitted;
    setenv("HSHM_SHM_DIR", mounted.c_str(), 1);
    const Thrown thrown = ThrownBy([&] { PosixShmMmap().shm_init(kId, 16_MiB, "huge"); });
    if (thrown.code_ != ErrorCode::kNoSpace) return 2;
    if (access((mounted + "/huge").c_str(), F_OK) == 0) return 3;
    return thrown.Says("The pool of huge pages") ? 0 : 4;
  });
  RequireDone(result);
}

}  // namespace
}  // namespace hshm::ipc::test
