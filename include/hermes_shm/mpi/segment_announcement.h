#ifndef HSHM_MPI_SEGMENT_ANNOUNCEMENT_H_
#define HSHM_MPI_SEGMENT_ANNOUNCEMENT_H_

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <random>
#include <string>
#include <system_error>
#include <type_traits>

#include "hermes_shm/base/bits.h"
#include "hermes_shm/base/error.h"
#include "hermes_shm/memory/backend/backend_header.h"
#include "hermes_shm/platform/memory_limit.h"
#include "hermes_shm/platform/process.h"
#include "hermes_shm/platform/shared_memory.h"

/** How a node's leader tells the others which segment is meant, and how they make sure of it. */
namespace hshm::mpi {

/** What nobody else draws: 64 random bits. */
inline uint64_t DrawNonce() {
  std::random_device device;
  return (uint64_t{device()} << 32) | device();
}

/** The batch system's number of this job, or the pid, without characters that a name cannot have.
 */
inline std::string JobId() {
  for (const char* variable : {"SLURM_JOB_ID", "PBS_JOBID"}) {
    const char* value = std::getenv(variable);
    if (value == nullptr || *value == '\0') continue;
    std::string id = std::string(value).substr(0, 64);
    for (char& letter : id) {
      if (std::strchr("/ ", letter) != nullptr) letter = '_';
    }
    return id;
  }
  return std::to_string(ProcessId());
}

/** "hshm-USER-JOB-NONCE", a name that is new on every machine. */
inline std::string UniqueUrl(uint64_t nonce) {
  char digits[17];
  std::snprintf(digits, sizeof(digits), "%016llx", static_cast<unsigned long long>(nonce));
  return "hshm-" + std::to_string(UserId()) + "-" + JobId() + "-" + digits;
}

/** Half of so much, in a size that a heap can have. */
inline uint64_t UsableHalf(uint64_t free_bytes) {
  return std::max(bits::AlignDown(free_bytes / 2, ipc::kMinRegionBytes), ipc::kMinRegionBytes);
}

/**
 * Half of what the file system of a directory has free.
 * @throws Error kSystem when it does not tell, kOutOfRange when it has no limit
 */
inline uint64_t HalfOf(const std::string& directory) {
  FileSystemRoom room;
  if (const int os_errno = RoomOf(directory, &room); os_errno != 0) {
    throw Error(ErrorCode::kSystem,
                "The free space of " + directory +
                    " cannot be read: give capacity_bytes_, or set "
                    "HSHM_SHM_DIR to a tmpfs.",
                os_errno);
  }
  if (room.total_bytes_ == 0) {
    throw Error(ErrorCode::kOutOfRange, "The file system of " + directory +
                                            " has no size limit, so half of it is no size "
                                            "for a heap: give capacity_bytes_.");
  }
  return UsableHalf(room.free_bytes_);
}

/** Half of the memory that this machine has available. @throws Error kSystem when it does not tell
 */
inline uint64_t HalfOfMemory() {
  const MachineMemory memory = MemoryOfMachine();
  if (memory.total_bytes_ != 0) return UsableHalf(memory.available_bytes_);
  throw Error(ErrorCode::kSystem,
              "How much memory this machine has cannot be read: give capacity_bytes_.");
}

/** Which directory a process means by the shared-memory directory: "/dev/shm in mnt:[4026531841]".
 */
inline std::string SharedMemoryPlace() {
  std::error_code error;
  const auto mounts = std::filesystem::read_symlink("/proc/self/ns/mnt", error);
  return SharedMemoryDirectory() +
         (error ? std::string() : " in mount namespace " + mounts.string());
}

/** Tells two segments apart: the random backend id, who created it when, and the header's sum. */
struct SegmentStamp {
  uint32_t backend_id_ = 0;
  uint32_t creator_pid_ = 0;
  uint64_t creator_start_time_ = 0;
  uint64_t region_bytes_ = 0;
  uint32_t crc32c_ = 0;
  friend bool operator==(const SegmentStamp&, const SegmentStamp&) = default;

  static SegmentStamp Of(const ipc::BackendHeader& header) {
    return {header.backend_id_, header.creator_pid_, header.creator_start_time_,
            header.region_bytes_, header.crc32c_};
  }
};

/** What a leader sends to the ranks of its node. */
struct SegmentAnnouncement {
  char url_[4096] = "";   // PATH_MAX of Linux
  char place_[512] = "";  // the leader's SharedMemoryPlace(), cut when longer
  SegmentStamp stamp_;
  int32_t node_count_ = 1;
  ipc::MemoryBackendType type_ = ipc::MemoryBackendType::kPosixShmMmap;

  /** No url is longer: the backend has opened it. */
  void Fill(const std::string& url, const ipc::BackendHeader& header) {
    type_ = header.type_;
    std::snprintf(url_, sizeof(url_), "%s", url.c_str());
    std::snprintf(place_, sizeof(place_), "%s", SharedMemoryPlace().c_str());
    stamp_ = SegmentStamp::Of(header);
  }

  /** @throws Error kNotFound that says where the leader's segment is and where this rank looks */
  [[noreturn]] void ThrowNotTheSame(const char* what_is_there) const {
    throw Error(ErrorCode::kNotFound,
                std::string("the leader of this node created segment '") + url_ + "' in " + place_ +
                    ", but this rank looks in " + SharedMemoryPlace() + " and " + what_is_there +
                    ": the ranks of a node must see the same shared-memory directory. Let their "
                    "containers share it, or set HSHM_SHM_DIR to a tmpfs that all of them see.");
  }
};
static_assert(std::is_trivially_copyable_v<SegmentAnnouncement>);

}  // namespace hshm::mpi

#endif  // HSHM_MPI_SEGMENT_ANNOUNCEMENT_H_
