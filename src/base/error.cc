#include "hermes_shm/base/error.h"

#include <array>
#include <cstring>

namespace hshm {
namespace {

constexpr std::array kCodeNames = {
    "None",           "BadName",        "NotFound",      "Permission",      "IsSymlink",
    "FdLimit",        "NotRegularFile", "NotOwner",      "UnsafeMode",      "Truncated",
    "SizeMismatch",   "NotASegment",    "AbiMismatch",   "VersionMismatch", "WrongBackend",
    "WrongAllocator", "NotReady",       "Corrupt",       "StaleBoot",       "TooManyProcesses",
    "NoSpace",        "MemoryLimit",    "AlreadyExists", "IdInUse",         "BackendInUse",
    "OutOfRange",     "Unsupported",    "HolderStopped", "NoGpu",           "WrongDevice",
    "DeviceMemory",   "LaunchFailed",   "System"};
static_assert(kCodeNames.size() == static_cast<size_t>(ErrorCode::kSystem) + 1);

std::string Compose(ErrorCode code, const std::string& sentence, int os_errno) {
  std::string text = std::string("hshm: ") + ErrorCodeName(code) + ": " + sentence;
  if (os_errno != 0) text += std::string(" [") + std::strerror(os_errno) + "]";
  return text;
}

}  // namespace

const char* ErrorCodeName(ErrorCode code) noexcept {
  const auto index = static_cast<size_t>(code);
  return index < kCodeNames.size() ? kCodeNames[index] : "Unknown";
}

Error::Error(ErrorCode code, const std::string& sentence, int os_errno)
    : std::runtime_error(Compose(code, sentence, os_errno)), code_(code), os_errno_(os_errno) {}

}  // namespace hshm
