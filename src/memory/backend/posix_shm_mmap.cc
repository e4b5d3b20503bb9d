#include "hermes_shm/memory/backend/posix_shm_mmap.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <memory>
#include <utility>

#include "hermes_shm/base/bits.h"
#include "hermes_shm/base/error.h"
#include "hermes_shm/memory/backend/header_rules.h"
#include "hermes_shm/platform/futex.h"
#include "hermes_shm/platform/memory_limit.h"
#include "hermes_shm/platform/page.h"
#include "hermes_shm/platform/process.h"
#include "memory/backend/segment_file.h"
#include "memory/backend/shm_memory.h"

namespace hshm::ipc {
namespace {

/** How long a creator waits for another that is replacing the same name, and may be stopped. */
constexpr uint64_t kReplaceTimeoutUs = 5 * 1000 * 1000;

/** A year: longer waits would not fit into microseconds. */
constexpr uint64_t kLongestTimeoutMs = uint64_t{365} * 24 * 3600 * 1000;

/** The region's header, its slots, and the first page of an allocator's header. */
uint64_t FirstCommitBytes(uint64_t size_bytes) {
  const uint64_t page = SystemPageBytes();
  return bits::AlignUp(AllocatorOffsetFor(size_bytes), page) + page;
}

Error NoRoom(uint64_t size_bytes) {
  const std::string directory = SharedMemoryDirectory();
  FileSystemRoom room;
  std::string text = directory + " is full";
  if (RoomOf(directory, &room) == 0) {
    text = directory + " has " + HumanBytes(room.free_bytes_) + " free of " +
           HumanBytes(room.total_bytes_);
  }
  const uint64_t wanted_gib = (size_bytes >> 30) + 1;
  return Error(ErrorCode::kNoSpace, text + ", " + HumanBytes(size_bytes) +
                                        " was asked for: run the container with --shm-size=" +
                                        std::to_string(wanted_gib) +
                                        "g, ask for less, or set HSHM_SHM_DIR to a larger tmpfs.");
}

void CheckRoom(uint64_t size_bytes) {
  FileSystemRoom room;
  const int error = RoomOf(SharedMemoryDirectory(), &room);
  if (error != 0) throw FileError("Looking at " + SharedMemoryDirectory(), error);
  if (room.total_bytes_ != 0 && size_bytes > room.free_bytes_) throw NoRoom(size_bytes);
}

void WarnOfMemoryLimit(const std::string& path, uint64_t size_bytes) {
  const uint64_t limit = MemoryLimitBytes();
  if (limit >= size_bytes) return;
  std::fprintf(stderr,
               "hshm: the control group allows %s of memory, the segment %s may grow to %s: a "
               "process that goes beyond is killed, not refused.\n",
               HumanBytes(limit).c_str(), path.c_str(), HumanBytes(size_bytes).c_str());
}

std::unique_ptr<ShmMemory> MapSegment(SegmentFile segment, uint64_t size_bytes, void* hint) {
  auto memory = std::make_unique<ShmMemory>(std::move(segment), size_bytes);
  const int error = memory->Map(hint);
  if (error == 0) return memory;
  throw Error(ErrorCode::kSystem,
              "Mapping " + HumanBytes(size_bytes) + " of " + memory->path() +
                  " failed: raise the limit of the address space (ulimit -v) or ask for less.",
              error);
}

/** A finished region in a file without a name, and this process present in it. */
std::unique_ptr<ShmMemory> MakeUnnamed(const std::string& path, MemoryBackendId id,
                                       uint64_t size_bytes, void* hint) {
  SegmentFile segment;
  segment.path_ = path;
  int error = CreateUnnamedFile(SharedMemoryDirectory(), &segment.file_);
  if (error != 0) throw FileError("Creating a segment in " + SharedMemoryDirectory(), error);
  const int fd = segment.file_.get();
  FileStatus status;
  error = StatusOfFile(fd, &status);
  if (error == 0) error = SetFileBytes(fd, size_bytes);
  if (error != 0) throw FileError("Giving " + path + " " + HumanBytes(size_bytes), error);
  segment.identity_ = status.identity_;
  // Before anything is touched: a page that the file system has no room for would be SIGBUS.
  error = CommitFile(fd, 0, FirstCommitBytes(size_bytes));
  if (error == ENOSPC) throw NoRoom(size_bytes);
  if (error != 0) throw FileError("Taking memory for " + path, error);
  error = segment.presence_.Hold(fd, PosixShmMmap::kPresenceByte, ByteLockMode::kShared);
  if (error != 0) throw FileError("Locking a byte of " + path, error);
  std::unique_ptr<ShmMemory> memory = MapSegment(std::move(segment), size_bytes, hint);
  auto* header = reinterpret_cast<BackendHeader*>(memory->base());
  FillHeader(header, PosixShmMmap::kType, id, size_bytes);
  header->ready_.store(1, std::memory_order_release);  // pairs with CheckHeader
  return memory;
}

/** CheckHeader on a private copy, again until the segment is published or the time is over. */
void CheckSegment(const SegmentFile& segment, const FileStatus& status, uint64_t deadline_us) {
  for (;;) {
    BackendHeader copy;
    CopyHeader(segment.file_.get(), status.size_bytes_, &copy);
    try {
      CheckHeader(copy, PosixShmMmap::kType, status.size_bytes_, segment.path_);
    } catch (const Error& error) {
      if (error.code() != ErrorCode::kNotReady || MonotonicUs() >= deadline_us) throw;
      PauseBeforeRetry();
      continue;
    }
    const std::string boot_id = BootId();
    if (!boot_id.empty() && boot_id != copy.boot_id_) {
      throw Error(
          ErrorCode::kStaleBoot,
          segment.path_ + " is from before the last start of this machine: create it again.");
    }
    return;
  }
}

/** Gives the segment its name; whoever has died under that name since is replaced. */
void PublishSegment(const ShmMemory& segment, IfExists if_exists, std::string* dead_creator) {
  const uint64_t deadline_us = MonotonicUs() + kReplaceTimeoutUs;
  for (;;) {
    const int error = PublishFile(segment.fd(), segment.path());
    if (error == 0) return;
    if (error != EEXIST) throw FileError("Naming the segment " + segment.path(), error);
    if (RemoveDeadSegment(segment.path(), if_exists, dead_creator) != Removal::kTryAgain) continue;
    if (MonotonicUs() >= deadline_us) {
      throw Error(ErrorCode::kAlreadyExists,
                  "Another process has been replacing " + segment.path() +
                      " for 5 seconds, perhaps stopped in it: end it, or choose another name.");
    }
    PauseBeforeRetry();
  }
}

}  // namespace

void PosixShmMmap::shm_init(MemoryBackendId id, size_t size, const std::string& url,
                            const PosixShmOptions& options) {
  RequireClosed("shm_init");
  const std::string path = SegmentPath(url);
  CheckRegionSize(size);
  const uint64_t size_bytes = bits::AlignUp(size, SystemPageBytes());
  std::string dead_creator;
  // First, because the memory of a dead segment may be what the new one needs.
  RemoveDeadSegment(path, options.if_exists_, &dead_creator);
  if (!options.allow_overcommit_) CheckRoom(size_bytes);
  std::unique_ptr<ShmMemory> made = MakeUnnamed(path, id, size_bytes, options.address_hint_);
  const ShmMemory& segment = *made;
  Open(std::move(made), true);
  try {
    PublishSegment(segment, options.if_exists_, &dead_creator);
  } catch (...) {
    shm_detach();
    throw;
  }
  if (!dead_creator.empty()) {
    std::fprintf(stderr, "hshm: replaced the stale segment %s of %s: nobody lives in it.\n",
                 path.c_str(), dead_creator.c_str());
  }
  WarnOfMemoryLimit(path, size_bytes);
}

void PosixShmMmap::shm_attach(const std::string& url, const PosixShmAttachOptions& options) {
  RequireClosed("shm_attach");
  const std::string path = SegmentPath(url);
  const uint64_t timeout_ms = std::min(options.timeout_ms_, kLongestTimeoutMs);
  const uint64_t deadline_us = MonotonicUs() + timeout_ms * 1000;
  FileStatus status;
  SegmentFile segment = JoinSegmentFile(path, deadline_us, &status);
  CheckSegment(segment, status, deadline_us);
  Open(MapSegment(std::move(segment), status.size_bytes_, options.address_hint_), false);
}

void PosixShmMmap::Unlink() noexcept {
  if (IsOpen()) memory()->Unlink();
}

}  // namespace hshm::ipc
