/** What `hshm doctor` sees of memory: where segments lie, how much there is, of which pages. */
#include <sys/vfs.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <system_error>
#include <utility>

#include "find_segments.h"
#include "finding.h"
#include "hermes_shm/base/config.h"
#include "hermes_shm/base/error.h"
#include "hermes_shm/memory/backend/backend_header.h"
#include "hermes_shm/platform/byte_lock.h"
#include "hermes_shm/platform/huge_pages.h"
#include "hermes_shm/platform/memory_limit.h"
#include "hermes_shm/platform/shared_memory.h"
#include "hermes_shm/platform/topology.h"
#include "text.h"

namespace hshm::tool {
namespace {

constexpr uint64_t kMiB = uint64_t{1} << 20;
constexpr uint64_t kContainerDefault = 64 * kMiB;  // what Docker and Podman give /dev/shm
constexpr uint64_t kUnlimited = ~uint64_t{0};

constexpr const char* kMoreRoom =
    "run the container with --shm-size=2g, remount the tmpfs with a larger size, or set "
    "HSHM_SHM_DIR to a larger tmpfs";

std::string Reason(int error) { return std::error_code(error, std::generic_category()).message(); }

std::string KindOfFileSystem(const std::string& directory) {
  constexpr int64_t kTmpfsMagic = 0x01021994;  // statfs(2)
  constexpr int64_t kHugetlbfsMagic = 0x958458f6;
  struct statfs found = {};
  if (statfs(directory.c_str(), &found) != 0) return "";
  if (found.f_type == kTmpfsMagic) return "tmpfs";
  return found.f_type == kHugetlbfsMagic ? "hugetlbfs" : "other";
}

Finding Room(const std::string& directory) {
  Finding finding{"shared memory", Level::kOk, directory, ""};
  FileSystemRoom room;
  if (const int error = RoomOf(directory, &room); error != 0) {
    finding.level_ = Level::kBad;
    finding.what_ += " cannot be used: " + Reason(error);
    finding.advice_ = "mount a tmpfs there, or set HSHM_SHM_DIR to a directory on a tmpfs";
    return finding;
  }
  if (room.total_bytes_ == 0) {
    finding.what_ += " has no limit of its own";
    return finding;
  }
  finding.what_ += " has " + Human(room.free_bytes_) + " free of " + Human(room.total_bytes_);
  if (room.total_bytes_ < kContainerDefault || room.free_bytes_ < ipc::kMinRegionBytes) {
    finding.level_ = Level::kBad;
  } else if (room.total_bytes_ == kContainerDefault || room.free_bytes_ < room.total_bytes_ / 10) {
    finding.level_ = Level::kWarn;
  }
  if (room.total_bytes_ == kContainerDefault) finding.what_ += ", as a container has it by default";
  if (finding.level_ != Level::kOk) finding.advice_ = kMoreRoom;
  return finding;
}

Finding FileSystem(const std::string& directory) {
  Finding finding{"file system", Level::kOk, KindOfFileSystem(directory), ""};
  if (finding.what_ != "other") return finding;
  finding.level_ = Level::kWarn;
  finding.what_ =
      directory + " is neither a tmpfs nor a hugetlbfs, so segments are written to disk";
  finding.advice_ = "set HSHM_SHM_DIR to a directory on a tmpfs";
  return finding;
}

/** @return what of making and locking a file there fails; empty when nothing does */
std::string TryToMake(const std::string& directory) {
  FileDescriptor file;
  int error = CreateUnnamedFile(directory, &file);
  if (error == EOPNOTSUPP || error == EISDIR) return "";  // hidden names are used instead
  if (error != 0) return "making a file in " + directory + ": " + Reason(error);
  error = SetFileBytes(file.get(), ipc::kMinRegionBytes);
  if (error == 0) error = CommitFile(file.get(), 0, ipc::kMinRegionBytes);
  if (error != 0) return "taking " + Human(ipc::kMinRegionBytes) + " of memory: " + Reason(error);
  HeldByte held;
  error = held.Hold(file.get(), 0);
  if (error != 0) return "locking a byte of a file (is /proc mounted?): " + Reason(error);
  return ByteIsLocked(file.get(), 0) && !ByteIsLocked(file.get(), 1)
             ? ""
             : "asking whether a byte is locked: the file system tells something wrong";
}

/** Shows what would happen to the smallest segment; leaves nothing behind. */
Finding Making(const std::string& directory) {
  Finding finding{"making segments", Level::kOk, "a file was made, given memory and locked", ""};
  const std::string failure = TryToMake(directory);
  if (failure.empty()) return finding;
  finding.level_ = Level::kBad;
  finding.what_ = "fails at " + failure;
  finding.advice_ = "see that " + directory + " is writable, has room, and that /proc is mounted";
  return finding;
}

}  // namespace

std::vector<Finding> LookAtSharedMemory() {
  const std::string directory = SharedMemoryDirectory();
  return {Room(directory), FileSystem(directory), Making(directory)};
}

std::vector<Finding> LookAtStaleSegments() {
  Finding finding{"stale segments", Level::kOk, "", ""};
  uint64_t living = 0;
  uint64_t dead = 0;
  uint64_t bytes = 0;
  for (const FoundSegment& segment : FindNamedSegments(false)) {
    if (segment.report_.is_alive_) {
      ++living;
    } else if (segment.kind_ == SegmentKind::kNamed) {
      ++dead;
      bytes += segment.report_.file_.committed_bytes_;
    }
  }
  finding.what_ = std::to_string(living) + " living, " + std::to_string(dead) + " dead";
  if (dead == 0) return {finding};
  finding.level_ = Level::kWarn;
  finding.what_ += " that keep " + Human(bytes);
  finding.advice_ = "hshm clean";
  return {finding};
}

std::vector<Finding> LookAtMemory() {
  const MachineMemory memory = MemoryOfMachine();
  Finding machine{"memory", Level::kOk,
                  Human(memory.available_bytes_) + " available of " + Human(memory.total_bytes_),
                  ""};
  if (memory.available_bytes_ < memory.total_bytes_ / 20) {
    machine.level_ = Level::kWarn;
    machine.advice_ = "end what uses it: segments take memory as they are used";
  }
  const uint64_t limit = MemoryLimitBytes();
  Finding group{"control group", Level::kOk, "no limit below the machine's memory", ""};
  if (limit != kUnlimited && limit < memory.total_bytes_) {
    group.level_ = Level::kWarn;
    group.what_ = "allows " + Human(limit) + " of memory, segments included";
    group.advice_ =
        "keep segments and private memory of all ranks together below it, or ask the scheduler or "
        "container for more: a process that goes beyond is killed, not refused";
  }
  return {machine, group};
}

std::vector<Finding> LookAtHugePages() {
  const HugePageSetting setting = MemoryFileHugePageSetting();
  Finding transparent{"huge pages", Level::kOk, "", ""};
  if (setting.is_on_request_) {
    transparent.what_ = "segments without a name get them (" + setting.value_ + ")";
  } else if (setting.os_errno_ != 0 && setting.os_errno_ != ENOENT) {
    transparent.level_ = Level::kWarn;
    transparent.what_ = "not known: " + setting.place_ + " cannot be read";
  } else {
    transparent.level_ = Level::kWarn;
    transparent.what_ = setting.value_.empty()
                            ? "the kernel has no transparent huge pages for shared memory"
                            : "segments get none: " + setting.place_ + " says " + setting.value_;
    transparent.advice_ = "as root: echo advise > " +
                          (setting.place_.empty() ? "shmem_enabled" : setting.place_) +
                          ", then create with huge_pages_ and Naming::kUnnamed";
  }
  Finding named{"... named", Level::kOk, "", ""};
  FileDescriptor file;
  if (CreateUnnamedFile(SharedMemoryDirectory(), &file) == 0) {
    const HugePageSetting mount = MountHugePageSetting(file.get());
    named.what_ = mount.is_on_request_ ? "segments with a name get them (" + mount.value_ + ")"
                                       : "segments with a name get none, as is usual";
    if (!mount.is_on_request_) named.advice_ = "only where wanted: a tmpfs mounted huge=advise";
  } else {
    named.what_ = "not looked at: no file can be made in " + SharedMemoryDirectory();
  }
  Finding pool{"huge page pool", Level::kOk, "none, and none is needed", ""};
  if (const uint64_t page_bytes = PoolPageBytes(); page_bytes != 0) {
    const uint64_t free_bytes = FreePoolBytes(page_bytes);
    if (free_bytes != 0) {
      pool.what_ = Human(free_bytes) + " free in pages of " + Human(page_bytes);
    }
  }
  return {transparent, named, pool};
}

std::vector<Finding> LookAtNumaNodes() {
  Finding finding{"NUMA nodes", Level::kOk, "", ""};
#if !HSHM_HAVE_HWLOC
  finding.level_ = Level::kWarn;
  finding.what_ = "not looked at: this hshm was built without hwloc, and places no memory";
  finding.advice_ = "build hshm with hwloc (libhwloc-dev)";
#else
  try {
    const Topology topology = DiscoverTopology();
    const uint32_t usable = topology.usable_nodes_.Count();
    finding.what_ = std::to_string(topology.node_count_) + ", of which this process may run on " +
                    std::to_string(usable);
    if (topology.is_simulated_) {
      finding.level_ = Level::kWarn;
      finding.what_ += "; simulated";
      finding.advice_ = "unset HWLOC_SYNTHETIC and HWLOC_XMLFILE: they show another machine";
    }
  } catch (const Error& error) {
    finding.level_ = Level::kWarn;
    finding.what_ = error.what();
    finding.advice_ = "see that /sys is mounted";
  }
#endif
  return {finding};
}

}  // namespace hshm::tool
