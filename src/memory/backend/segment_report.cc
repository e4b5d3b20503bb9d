#include "hermes_shm/memory/backend/segment_report.h"

#include <algorithm>
#include <atomic>
#include <cerrno>

#include "hermes_shm/memory/backend/header_rules.h"
#include "hermes_shm/memory/backend/posix_shm_mmap.h"
#include "hermes_shm/platform/byte_lock.h"
#include "hermes_shm/platform/file_read.h"
#include "hermes_shm/platform/process.h"
#include "memory/backend/file_error.h"
#include "memory/backend/segment_file.h"
#include "memory/backend/unnamed_segment.h"

namespace hshm::ipc {
namespace {

std::vector<SlotHolder> HoldersOf(int fd) {
  std::vector<SlotHolder> holders;
  for (uint32_t slot = 0; slot < kMaxSlots; ++slot) {
    if (!ByteIsLocked(fd, slot)) continue;
    SlotEntry entry;
    const uint64_t at = kBackendHeaderBytes + slot * sizeof(SlotEntry);
    if (ReadFile(fd, at, &entry, sizeof(entry)) != 0) continue;
    holders.push_back({slot, entry.os_pid_, entry.start_time_, entry.pid_namespace_});
  }
  return holders;
}

bool IsFromThisBoot(const BackendHeader& header) {
  const std::string boot_id = BootId();
  // Where either could not read the id nothing is known.
  if (boot_id.empty() || header.boot_id_[0] == '\0') return true;
  return boot_id.compare(0, sizeof(header.boot_id_), header.boot_id_,
                         strnlen(header.boot_id_, sizeof(header.boot_id_))) == 0;
}

void Judge(const BackendHeader& header, const std::string& name, SegmentReport* report) {
  try {
    CheckHeader(header, header.type_, report->file_.size_bytes_, name);
  } catch (const Error& error) {
    report->defect_ = error.code();
    report->defect_sentence_ = error.what();
  }
}

}  // namespace

FileDescriptor OpenSegmentToRead(const std::string& where) {
  FileDescriptor file;
  const std::optional<UnnamedUrl> url = UnnamedUrl::Parse(where);
  const int error = OpenToRead(url.has_value() ? where.substr(0, where.find('#')) : where, &file);
  if (error != 0) throw FileError("Opening the segment " + where, error);
  FileStatus status;
  if (!url.has_value()) return file;
  if (StatusOfFile(file.get(), &status) == 0 && status.identity_ == url->identity_) return file;
  throw FileError("Opening the segment " + where + ", which that process has closed,", ENOENT);
}

std::string PathOfSegment(const std::string& name_or_path) {
  const bool is_path = name_or_path.find('/') != std::string::npos;
  return is_path ? name_or_path : SegmentPath(name_or_path);
}

std::optional<SegmentReport> ReadSegmentReport(int fd, const std::string& name) {
  BackendHeader header;
  if (CopyHeader(fd, &header) != 0 || header.magic_ != kBackendMagic) return std::nullopt;
  // Pairs with NoteGrowth: the file is at least as long as the copy says.
  std::atomic_thread_fence(std::memory_order_acquire);
  SegmentReport report;
  if (StatusOfFile(fd, &report.file_) != 0) return std::nullopt;
  report.type_ = header.type_;
  report.backend_id_ = header.backend_id_;
  report.layout_version_ = header.layout_version_;
  report.region_bytes_ = header.region_bytes_;
  report.is_growing_ = (header.flags_ & kGrowingFile) != 0;
  report.creator_pid_ = header.creator_pid_;
  report.creator_start_time_ = header.creator_start_time_;
  report.is_from_this_boot_ = IsFromThisBoot(header);
  Judge(header, name, &report);
  report.holders_ = HoldersOf(fd);
  report.is_alive_ = !report.holders_.empty() || ByteIsLocked(fd, PosixShmMmap::kPresenceByte);
  return report;
}

RemovalResult RemoveSegmentIfDead(const std::string& path, bool of_any_user) {
  FileDescriptor file;
  int error = OpenFile(path, &file);
  if (error == ENOENT) return RemovalResult::kNothingThere;
  if (error != 0) throw FileError("Opening the segment " + path, error);
  FileStatus status;
  if (!of_any_user) {
    status = JudgeFile(path, file.get(), SegmentAccess::kUser);
  } else if (StatusOfFile(file.get(), &status) != 0 || !status.is_regular_) {
    throw FileError("Looking at " + path, ENXIO);
  }
  BackendHeader header;
  error = CopyHeader(file.get(), &header);
  if (error != 0) throw FileError("Reading the header of " + path, error);
  if (header.magic_ != kBackendMagic) return RemovalResult::kNotASegment;
  if (header.type_ == MemoryBackendType::kPosixMmap) return RemovalResult::kPersistent;
  switch (UnlinkIfDead(path, file.get(), status.identity_)) {
    case Removal::kRemoved:
      return RemovalResult::kRemoved;
    case Removal::kInUse:
      return RemovalResult::kInUse;
    default:
      return RemovalResult::kBusy;
  }
}

}  // namespace hshm::ipc
