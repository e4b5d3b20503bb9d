#include "memory/backend/file_error.h"

#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <iterator>

namespace hshm::ipc {
namespace {

ErrorCode CodeOf(int os_errno) {
  switch (os_errno) {
    case ENOENT:
    case ENOTDIR:
      return ErrorCode::kNotFound;
    case EACCES:
    case EPERM:
    case EROFS:
      return ErrorCode::kPermission;
    case ELOOP:
      return ErrorCode::kIsSymlink;
    case EMFILE:
    case ENFILE:
      return ErrorCode::kFdLimit;
    case EISDIR:
    case ENXIO:
      return ErrorCode::kNotRegularFile;
    case ENOSPC:
    case EFBIG:
    case EDQUOT:
      return ErrorCode::kNoSpace;
    case ENAMETOOLONG:
      return ErrorCode::kBadName;
    case EOPNOTSUPP:
      return ErrorCode::kUnsupported;
    default:
      return ErrorCode::kSystem;
  }
}

const char* AdviceFor(ErrorCode code) {
  switch (code) {
    case ErrorCode::kNotFound:
      return "check the name, HSHM_SHM_DIR, and that the creator comes first (a barrier) and "
             "shares "
             "this directory";
    case ErrorCode::kPermission:
      return "check the owner and mode, and that all processes run as one user";
    case ErrorCode::kIsSymlink:
      return "symbolic links are never followed; remove it, or choose another name";
    case ErrorCode::kFdLimit:
      return "raise the limit of open files (ulimit -n), or close some";
    case ErrorCode::kNotRegularFile:
      return "something else than a segment has this name; choose another";
    case ErrorCode::kNoSpace:
      return "ask for less, or raise the limit of file sizes (ulimit -f)";
    case ErrorCode::kUnsupported:
      return "its file system cannot reserve memory for a file (fallocate); use a tmpfs, ext4, xfs "
             "or btrfs";
    case ErrorCode::kBadName:
      return "choose a shorter path";
    default:
      return "see the system's reason";
  }
}

}  // namespace

std::string HumanBytes(uint64_t bytes) {
  constexpr const char* kUnits[] = {"bytes", "KB", "MB", "GB", "TB", "PB", "EB"};
  size_t unit = 0;
  double value = static_cast<double>(bytes);
  while (value >= 1024 && unit + 1 < std::size(kUnits)) {
    value /= 1024;
    ++unit;
  }
  char text[32];
  const bool is_whole = value == static_cast<double>(static_cast<uint64_t>(value));
  std::snprintf(text, sizeof(text), is_whole || value >= 10 ? "%.0f %s" : "%.1f %s", value,
                kUnits[unit]);
  return text;
}

Error FileError(const std::string& what, int os_errno) {
  const ErrorCode code = CodeOf(os_errno);
  return Error(code, what + " failed: " + AdviceFor(code) + ".", os_errno);
}

}  // namespace hshm::ipc
