#include "memory/backend/unnamed_segment.h"

#include <cerrno>
#include <cinttypes>
#include <cstdio>
#include <utility>

#include "hermes_shm/memory/backend/posix_shm_mmap.h"
#include "hermes_shm/platform/memory_file.h"
#include "hermes_shm/platform/process.h"
#include "memory/backend/segment_file.h"

namespace hshm::ipc {
namespace {

std::string NameInMessages(const std::string& label) { return "the unnamed segment " + label; }

void HoldPresence(SegmentFile* segment) {
  const int error = segment->presence_.Hold(segment->file_.get(), PosixShmMmap::kPresenceByte,
                                            ByteLockMode::kShared);
  if (error != 0) throw FileError("Locking a byte of " + segment->path_, error);
}

Error NotThere(const UnnamedUrl& url, int os_errno) {
  const std::string who = "process " + std::to_string(url.pid_);
  const std::string what = os_errno == ESTALE
                               ? " has another file under the descriptor " + std::to_string(url.fd_)
                               : ", as this process sees it, has gone or has closed it";
  return Error(ErrorCode::kNotFound,
               NameInMessages(url.label_) + " was to be had from " + who + ", but " + who + what +
                   ": attach while it lives and holds the segment, in the same container, or by "
                   "the GetUrl() of another process that has it.",
               os_errno);
}

}  // namespace

std::string UnnamedUrl::Text() const {
  char front[128];
  std::snprintf(front, sizeof(front), "/proc/%" PRIu32 "/fd/%d#%" PRIu64 ":%" PRIu64 ":", pid_, fd_,
                identity_.device_, identity_.inode_);
  return front + label_;
}

std::optional<UnnamedUrl> UnnamedUrl::Parse(const std::string& text) {
  UnnamedUrl url;
  int label_at = 0;
  const int fields =
      std::sscanf(text.c_str(), "/proc/%" SCNu32 "/fd/%d#%" SCNu64 ":%" SCNu64 ":%n", &url.pid_,
                  &url.fd_, &url.identity_.device_, &url.identity_.inode_, &label_at);
  if (fields != 4 || label_at == 0) return std::nullopt;
  url.label_ = text.substr(static_cast<size_t>(label_at));
  if (!IsSegmentName(url.label_)) return std::nullopt;
  return url;
}

SegmentFile MakeUnnamedFile(const std::string& label) {
  SegmentFile segment;
  segment.path_ = NameInMessages(label);
  segment.label_ = label;
  int error = CreateMemoryFile(label, &segment.file_);
  FileStatus status;
  if (error == 0) error = StatusOfFile(segment.file_.get(), &status);
  if (error != 0) throw FileError("Creating " + segment.path_, error);
  segment.identity_ = status.identity_;
  HoldPresence(&segment);
  return segment;
}

SegmentFile JoinUnnamedFile(const UnnamedUrl& url) {
  SegmentFile segment;
  segment.path_ = NameInMessages(url.label_);
  segment.label_ = url.label_;
  segment.identity_ = url.identity_;
  int error = OpenFileOfProcess(url.pid_, url.fd_, url.identity_, &segment.file_);
  if (error == ENOENT || error == ESRCH || error == ESTALE) throw NotThere(url, error);
  if (error != 0) throw FileError("Opening " + segment.path_, error);
  constexpr SegmentAccess kAccess = SegmentAccess::kUser;
  JudgeMode(segment.path_, JudgeFile(segment.path_, segment.file_.get(), kAccess), kAccess);
  bool is_sealed = false;
  error = FindSizeSeals(segment.file_.get(), &is_sealed);
  if (error != 0) throw FileError("Looking at the seals of " + segment.path_, error);
  if (!is_sealed) {
    throw Error(ErrorCode::kNotASegment, segment.path_ +
                                             " is a file whose size any process can change, so "
                                             "it is none of hshm: check the url.");
  }
  HoldPresence(&segment);
  return segment;
}

}  // namespace hshm::ipc
