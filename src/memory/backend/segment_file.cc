#include "memory/backend/segment_file.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <utility>
#include <vector>

#include "hermes_shm/platform/file_read.h"
#include "hermes_shm/platform/futex.h"
#include "hermes_shm/platform/process.h"

namespace hshm::ipc {
namespace {

/** Between two looks at a file that another process is about to let go. */
constexpr uint64_t kPollUs = 500;

/** More pids than this do not make a message clearer. */
constexpr size_t kMaxNamedPids = 16;

/** The pids of all whose slots are locked, as they wrote them down. */
std::vector<uint32_t> PidsInSlots(int fd) {
  std::vector<uint32_t> pids;
  for (uint32_t slot = 0; slot < kMaxSlots; ++slot) {
    if (!ByteIsLocked(fd, slot)) continue;
    SlotEntry entry;
    if (ReadFile(fd, kBackendHeaderBytes + slot * sizeof(SlotEntry), &entry, sizeof(entry)) == 0) {
      pids.push_back(entry.os_pid_);
    }
  }
  return pids;
}

bool AnySlotLocked(int fd) {
  for (uint32_t slot = 0; slot < kMaxSlots; ++slot) {
    if (ByteIsLocked(fd, slot)) return true;
  }
  return false;
}

Error StillInUse(const std::string& path, int fd, const BackendHeader& header) {
  std::vector<uint32_t> pids = PidsInSlots(fd);
  std::sort(pids.begin(), pids.end());
  pids.erase(std::unique(pids.begin(), pids.end()), pids.end());
  std::string names;
  for (size_t i = 0; i < pids.size() && i < kMaxNamedPids; ++i) {
    names += (i == 0 ? "" : ", ") + DescribeProcess(pids[i]);
  }
  if (pids.size() > kMaxNamedPids) names += ", ...";
  if (pids.empty()) names = "a process without an allocator";
  return Error(ErrorCode::kAlreadyExists, "The segment " + path + " is in use by " + names +
                                              "; it was created by " +
                                              DescribeProcess(header.creator_pid_) +
                                              ": end these processes, or choose another name.");
}

Error NoSegment(const std::string& path) {
  return Error(ErrorCode::kAlreadyExists,
               "The file " + path +
                   " has the name of the segment to create and is none itself, so it is left "
                   "alone: remove it, or choose another name.");
}

bool NameLeadsTo(const std::string& path, const FileIdentity& identity) {
  FileStatus named;
  return StatusOfPath(path, &named) == 0 && named.identity_ == identity;
}

enum class Lock { kTaken, kMember, kReplacer };

/** Tries to get the presence byte alone, and tells who is in the way: members share it, a replacer
 * does not. A forked child that has joined by itself holds a slot only. */
Lock LockForRemoval(const std::string& path, int fd, HeldByte* presence) {
  int error = presence->Hold(fd, PosixShmMmap::kPresenceByte);
  if (error == 0) return AnySlotLocked(fd) ? Lock::kMember : Lock::kTaken;
  if (error == EAGAIN) {
    error = presence->Hold(fd, PosixShmMmap::kPresenceByte, ByteLockMode::kShared);
    if (error == 0) return Lock::kMember;
    if (error == EAGAIN) return Lock::kReplacer;
  }
  throw FileError("Locking a byte of " + path, error);
}

}  // namespace

bool IsSegmentName(const std::string& url) {
  return !url.empty() && url.size() <= PosixShmMmap::kMaxNameBytes &&
         url.find('/') == std::string::npos && url.find('\0') == std::string::npos && url != "." &&
         url != "..";
}

std::string SegmentPath(const std::string& url) {
  if (!IsSegmentName(url)) {
    throw Error(ErrorCode::kBadName,
                "\"" + url.substr(0, PosixShmMmap::kMaxNameBytes) +
                    "\" cannot name a segment: use 1 to 200 bytes without '/', not \".\" or "
                    "\"..\".");
  }
  return SharedMemoryDirectory() + "/" + url;
}

std::string FilePath(const std::string& path) {
  const size_t slash = path.rfind('/');
  const std::string name = slash == std::string::npos ? path : path.substr(slash + 1);
  const bool is_good = IsSegmentName(name) && path.find('\0') == std::string::npos;
  std::error_code error;
  const std::string absolute =
      is_good ? std::filesystem::absolute(path, error).string() : std::string();
  if (is_good && !error) return absolute;
  throw Error(ErrorCode::kBadName,
              "\"" + path.substr(0, PosixShmMmap::kMaxNameBytes) +
                  "\" cannot be the path of a file: use DIRECTORY/NAME, with a name of 1 to 200 "
                  "bytes that is not \".\" or \"..\".");
}

int CopyHeader(int fd, BackendHeader* copy) {
  std::memset(static_cast<void*>(copy), 0, sizeof(*copy));
  const int error = ReadFile(fd, 0, copy, sizeof(*copy));
  if (error != 0) std::memset(static_cast<void*>(copy), 0, sizeof(*copy));
  return error == ENODATA ? 0 : error;  // ENODATA: the file ends before
}

FileStatus OpenSegmentFile(const std::string& path, SegmentAccess access, FileDescriptor* file) {
  const int error = OpenFile(path, file);
  if (error != 0) throw FileError("Opening the segment " + path, error);
  return JudgeFile(path, file->get(), access);
}

void PauseBeforeRetry() noexcept {
  const uint32_t never_woken = 0;
  FutexWait(&never_woken, 0, kPollUs);
}

SegmentFile JoinSegmentFile(const std::string& path, SegmentAccess access, uint64_t deadline_us) {
  for (;;) {
    SegmentFile segment;
    segment.path_ = path;
    FileStatus status = OpenSegmentFile(path, access, &segment.file_);
    segment.identity_ = status.identity_;
    JudgeMode(path, status, access);
    int error = segment.presence_.Hold(segment.file_.get(), PosixShmMmap::kPresenceByte,
                                       ByteLockMode::kShared);
    if (error != 0 && error != EAGAIN) throw FileError("Locking a byte of " + path, error);
    if (error == 0) {
      error = StatusOfFile(segment.file_.get(), &status);
      if (error != 0) throw FileError("Looking at the segment " + path, error);
      // Without a name it was replaced between the two steps: look again who has the name now.
      if (status.links_ > 0) return segment;
    }
    if (MonotonicUs() >= deadline_us) {
      throw Error(ErrorCode::kNotReady,
                  path + " is being replaced and has not been published in time: wait longer.");
    }
    PauseBeforeRetry();
  }
}

Removal UnlinkIfDead(const std::string& path, int fd, const FileIdentity& identity) {
  HeldByte presence;
  const Lock lock = LockForRemoval(path, fd, &presence);
  if (lock == Lock::kReplacer || !NameLeadsTo(path, identity)) return Removal::kTryAgain;
  if (lock == Lock::kMember) return Removal::kInUse;
  const int unlinked = UnlinkFile(path);
  if (unlinked != 0 && unlinked != ENOENT) {
    throw FileError("Removing the dead segment " + path, unlinked);
  }
  return Removal::kRemoved;
}

Removal RemoveDeadSegment(const std::string& path, IfExists if_exists, SegmentAccess access,
                          std::string* who) {
  FileDescriptor file;
  FileStatus status;
  try {
    status = OpenSegmentFile(path, access, &file);
  } catch (const Error& error) {
    if (error.code() == ErrorCode::kNotFound) return Removal::kNothingThere;
    throw;
  }
  BackendHeader header;
  const int error = CopyHeader(file.get(), &header);
  if (error != 0) throw FileError("Reading the header of " + path, error);
  if (header.magic_ != kBackendMagic) throw NoSegment(path);
  if (if_exists == IfExists::kFail) {
    throw Error(ErrorCode::kAlreadyExists,
                "The segment " + path +
                    " exists and replacing was not allowed: remove it, or "
                    "choose another name.");
  }
  const Removal result = UnlinkIfDead(path, file.get(), status.identity_);
  if (result == Removal::kInUse) throw StillInUse(path, file.get(), header);
  if (result != Removal::kRemoved) return result;
  *who = "pid " + std::to_string(header.creator_pid_);
  return Removal::kRemoved;
}

}  // namespace hshm::ipc
