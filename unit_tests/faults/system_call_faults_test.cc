/**
 * Each system call that setting up, growing, giving back and leaving a heap makes fails once, with
 * each error of its manual page. What comes of it is an Error, null, or nothing at all, and never
 * something half-made: the process holds what it held before, the same step taken again succeeds,
 * and the peer in the same segment goes on.
 *
 * Which calls there are is not written down here: the supervisor sees all of them, those of the C++
 * and the C library too. A call that is not in the table of system_calls.cc fails the test.
 */
#include <sys/syscall.h>

#include <functional>
#include <memory>
#include <string>

#include "faults/fault_trials.h"
#include "hermes_shm/base/units.h"
#include "hermes_shm/memory/backend/posix_mmap.h"
#include "hermes_shm/memory/backend/posix_shm_mmap.h"
#include "support/catch.h"
#include "support/child_process.h"
#include "support/own_directory.h"
#include "support/own_mounts.h"
#include "support/skip.h"

namespace hshm::ipc::test {
namespace {

using hshm::test::SegmentDirectory;

constexpr size_t kBytes = 16 << 20;

template <typename BackendT, SegmentAccess kAccess = SegmentAccess::kUser>
std::unique_ptr<MemoryBackend> Attached(const std::string& url) {
  auto backend = std::make_unique<BackendT>();
  backend->shm_attach(url, {.timeout_ms_ = 0, .access_ = kAccess});
  return backend;
}

std::unique_ptr<MemoryBackend> CreatedShm(const PosixShmOptions& options, size_t bytes = kBytes) {
  auto backend = std::make_unique<PosixShmMmap>();
  backend->shm_init(MemoryBackendId(1), bytes, "heap", options);
  return backend;
}

/** A file at this path. */
std::function<std::unique_ptr<MemoryBackend>()> CreatedFile(const std::string& path,
                                                            const PosixMmapOptions& options,
                                                            size_t bytes = kBytes) {
  return [=] {
    auto backend = std::make_unique<PosixMmap>();
    backend->shm_init(MemoryBackendId(1), bytes, path, options);
    return backend;
  };
}

TEST_CASE("Whichever call fails with whatever error, a named segment is whole or not there") {
  const SegmentDirectory directory;
  FailEachCall({"named", [] { return CreatedShm({}); }, Attached<PosixShmMmap>}, directory.path());
}

TEST_CASE("Whichever call fails with whatever error, a segment that grows is whole or not there") {
  const SegmentDirectory directory;
  FailEachCall({"growing", [] { return CreatedShm({.max_size_bytes_ = kBytes}, 1_MiB); },
                Attached<PosixShmMmap>},
               directory.path());
}

TEST_CASE("Whichever call fails with whatever error, an unnamed segment is whole or not there") {
  const SegmentDirectory directory;
  FailEachCall(
      {"unnamed", [] { return CreatedShm({.naming_ = Naming::kUnnamed}); }, Attached<PosixShmMmap>},
      directory.path());
}

TEST_CASE("Whichever call fails with whatever error, a dead segment is replaced whole or not") {
  const SegmentDirectory directory;
  Kind kind{"replacing", [] { return CreatedShm({}); }, Attached<PosixShmMmap>};
  kind.is_replacing_ = true;
  FailEachCall(kind, directory.path());
}

TEST_CASE("Whichever call fails with whatever error, no hidden name of a segment stays") {
  const SegmentDirectory directory;
  Kind kind{"hidden", [] { return CreatedShm({}); }, Attached<PosixShmMmap>};
  kind.has_unnamed_files_ = false;
  FailEachCall(kind, directory.path());
}

TEST_CASE("Whichever call fails with whatever error, a file is whole or not there") {
  const SegmentDirectory directory;
  const auto sync = [](MemoryBackend* backend) { static_cast<PosixMmap*>(backend)->Sync(); };
  FailEachCall({"file", CreatedFile(directory.File("heap"), {.if_exists_ = IfExists::kReplaceDead}),
                Attached<PosixMmap>, sync},
               directory.path());
}

/** Private memory: no peer, no file. */
Kind PrivateKind(const char* name, HugePages huge_pages) {
  const auto create = [huge_pages] {
    auto backend = std::make_unique<PosixMmap>();
    backend->shm_init(MemoryBackendId(1), kBytes, huge_pages);
    return backend;
  };
  return {name, create, nullptr};
}

void RequireMount(const char* kind, const std::string& path, const char* options = "") {
  const bool may = hshm::test::RunInChild([&] {
                     return hshm::test::MountOwn(kind, path.c_str(), options) ? 0 : 1;
                   }).status_ == 0;
  if (may) return;
  hshm::test::Skip(std::string("this user may not mount a ") + kind + " " + options);
}

TEST_CASE("Whichever call fails with whatever error, private memory is whole or not there") {
  const SegmentDirectory directory;
  FailEachCall(PrivateKind("private", HugePages::kNever), directory.path());
}

TEST_CASE("Whichever call fails with whatever error, private huge pages are whole or not there") {
  const SegmentDirectory directory;
  FailEachCall(PrivateKind("private, huge", HugePages::kAdvise), directory.path());
  Kind required = PrivateKind("private, huge required", HugePages::kRequire);
  required.may_be_refused_ = true;
  FailEachCall(required, directory.path());
}

TEST_CASE("Whichever call fails with whatever error, a group's segment is whole or not there") {
  const SegmentDirectory directory;
  Kind segment{"group", [] { return CreatedShm({.access_ = SegmentAccess::kGroup}); },
               Attached<PosixShmMmap, SegmentAccess::kGroup>};
  segment.only_set_up_ = true;
  FailEachCall(segment, directory.path());
  const PosixMmapOptions options{.if_exists_ = IfExists::kReplaceDead,
                                 .max_size_bytes_ = kBytes,
                                 .access_ = SegmentAccess::kGroup};
  Kind file{"group's growing file", CreatedFile(directory.File("heap"), options, 1_MiB),
            Attached<PosixMmap, SegmentAccess::kGroup>};
  file.only_set_up_ = true;
  FailEachCall(file, directory.path());
}

TEST_CASE("Whichever call fails with whatever error, a segment of huge pages is whole or not") {
  for (const HugePages huge_pages : {HugePages::kAdvise, HugePages::kRequire}) {
    const SegmentDirectory directory;
    constexpr const char* kOptions = "size=256m,huge=advise";
    RequireMount("tmpfs", directory.path(), kOptions);
    const bool is_required = huge_pages == HugePages::kRequire;
    Kind kind{is_required ? "huge pages required" : "huge pages",
              [=] { return CreatedShm({.huge_pages_ = huge_pages}); }, Attached<PosixShmMmap>};
    kind.file_system_ = "tmpfs";
    kind.mount_options_ = kOptions;
    kind.may_be_refused_ = kind.only_set_up_ = is_required;
    FailEachCall(kind, directory.path());
  }
}

TEST_CASE("Whichever call fails with whatever error, huge pages that are not there leave nothing") {
  const SegmentDirectory directory;
  const Naming naming = GENERATE(Naming::kNamed, Naming::kUnnamed);
  const std::string name = naming == Naming::kNamed ? "named" : "unnamed";
  for (const HugePages huge_pages : {HugePages::kAdvise, HugePages::kRequire}) {
    const bool is_required = huge_pages == HugePages::kRequire;
    Kind kind{name + (is_required ? ", huge required" : ", huge if there"),
              [=] { return CreatedShm({.huge_pages_ = huge_pages, .naming_ = naming}); },
              Attached<PosixShmMmap>};
    kind.only_set_up_ = true;
    kind.may_be_refused_ = is_required;
    FailEachCall(kind, directory.path());
  }
}

TEST_CASE("Whichever call fails with whatever error, a hugetlbfs' segment is whole or not there") {
  const SegmentDirectory directory;
  RequireMount("hugetlbfs", directory.path());
  Kind kind{"hugetlbfs", [] { return CreatedShm({}); }, Attached<PosixShmMmap>};
  kind.file_system_ = "hugetlbfs";
  kind.may_be_refused_ = true;
  FailEachCall(kind, directory.path());
}

TEST_CASE("Whichever call fails with whatever error, memory placed on a node is whole or not") {
  const SegmentDirectory directory;
  Kind kind{"placed", [] { return CreatedShm({}); }, Attached<PosixShmMmap>};
  kind.alloc_options_.numa_node_ = 0;
  // The others are those of a named segment, and thousands by which hwloc reads the machine: of
  // these it leaves descriptors and plugins behind where they fail.
  kind.only_calls_ = {SYS_mbind, SYS_get_mempolicy};
  FailEachCall(kind, directory.path());
}

}  // namespace
}  // namespace hshm::ipc::test
