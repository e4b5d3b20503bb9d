#include "memory/backend/file_trust.h"

#include <cstdio>

#include "hermes_shm/base/error.h"
#include "hermes_shm/platform/process.h"
#include "memory/backend/file_error.h"

namespace hshm::ipc {
namespace {

constexpr uint32_t kUserBits = 0600;
constexpr uint32_t kGroupBits = 0060;
constexpr uint32_t kOtherBits = 0006;

bool IsOfGroup(const FileStatus& status) {
  return (status.mode_ & kGroupBits) == kGroupBits && IsInGroup(status.group_id_);
}

Error NotOwner(const std::string& path, const FileStatus& status, SegmentAccess access) {
  const std::string cure =
      access == SegmentAccess::kGroup
          ? "with access_ = kGroup the creator must ask for that, too, and share a group with this "
            "process."
          : "run all processes as one user, or choose another name. Creator and others can share "
            "a segment as a group by access_ = kGroup.";
  return Error(ErrorCode::kNotOwner, path + " belongs to user " + std::to_string(status.user_id_) +
                                         ", this process runs as user " + std::to_string(UserId()) +
                                         ": " + cure);
}

}  // namespace

uint32_t ModeFor(SegmentAccess access) noexcept {
  return access == SegmentAccess::kGroup ? kUserBits | kGroupBits : kUserBits;
}

FileStatus JudgeFile(const std::string& path, int fd, SegmentAccess access) {
  FileStatus status;
  const int error = StatusOfFile(fd, &status);
  if (error != 0) throw FileError("Looking at " + path, error);
  if (!status.is_regular_) {
    throw Error(ErrorCode::kNotRegularFile,
                path + " is no regular file: something else has this name; choose another.");
  }
  if (status.user_id_ == UserId()) return status;
  if (access == SegmentAccess::kGroup && IsOfGroup(status)) return status;
  throw NotOwner(path, status, access);
}

void JudgeMode(const std::string& path, const FileStatus& status, SegmentAccess access) {
  const uint32_t wrong = access == SegmentAccess::kGroup ? kOtherBits : kGroupBits | kOtherBits;
  if ((status.mode_ & wrong) == 0) return;
  char mode[16];
  std::snprintf(mode, sizeof(mode), "%04o", status.mode_);
  throw Error(ErrorCode::kUnsafeMode,
              path + " has mode " + mode +
                  ", so others may open it, and change or block it: it is not trusted. Create it "
                  "again; or see that its content is sound and take their access away (chmod 600)"
                  "; a group's segment is attached to with access_ = kGroup.");
}

}  // namespace hshm::ipc
