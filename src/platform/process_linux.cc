#include "hermes_shm/platform/process.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "hermes_shm/platform/cancellation.h"

namespace hshm {
namespace {

/** Reads the start of a small file of /proc into text[size], zero-terminated. False on failure. */
bool ReadSmallFile(const char* path, char* text, size_t size) noexcept {
  const NoCancellation no_cancellation;
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  ssize_t length = -1;
  do {
    length = read(fd, text, size - 1);
  } while (length < 0 && errno == EINTR);
  close(fd);
  if (length < 0) return false;
  text[length] = '\0';
  return true;
}

/**
 * What follows the name in /proc/<pid>/stat: "S 1 2 ...", where the state is field 3 of proc(5).
 * The name may hold blanks and brackets, so its end is the last bracket. Null when there is none.
 */
const char* StatAfterName(uint32_t pid, char* text, size_t size) noexcept {
  char path[32];
  std::snprintf(path, sizeof(path), "/proc/%u/stat", pid);
  if (!ReadSmallFile(path, text, size)) return nullptr;
  const char* bracket = std::strrchr(text, ')');
  return bracket != nullptr && bracket[1] == ' ' ? bracket + 2 : nullptr;
}

constexpr int kStateField = 3;
constexpr int kStartTimeField = 22;

const char* StateWord(char state) noexcept {
  switch (state) {
    case 0:
      return "gone";
    case 'R':
      return "running";
    case 'S':
      return "sleeping";
    case 'D':
      return "waiting in the kernel";
    case 'T':
      return "stopped";
    case 't':
      return "stopped by a debugger";
    case 'Z':
    case 'X':
      return "dead";
    default:
      return "in an unknown state";
  }
}

}  // namespace

uint32_t ProcessId() noexcept { return static_cast<uint32_t>(getpid()); }

uint32_t UserId() noexcept { return geteuid(); }

bool IsInGroup(uint32_t group_id) {
  if (getegid() == group_id) return true;
  std::vector<gid_t> groups(static_cast<size_t>(std::max(getgroups(0, nullptr), 0)));
  const int count = getgroups(static_cast<int>(groups.size()), groups.data());
  groups.resize(static_cast<size_t>(std::max(count, 0)));
  return std::find(groups.begin(), groups.end(), group_id) != groups.end();
}

uint64_t StartTime(uint32_t pid) noexcept {
  char text[1024];
  const char* at = StatAfterName(pid, text, sizeof(text));
  for (int field = kStateField; at != nullptr && field < kStartTimeField; ++field) {
    at = std::strchr(at, ' ');
    if (at != nullptr) ++at;
  }
  return at == nullptr ? 0 : std::strtoull(at, nullptr, 10);
}

uint64_t PidNamespace() noexcept {
  struct stat status = {};
  return stat("/proc/self/ns/pid", &status) == 0 ? status.st_ino : 0;
}

std::string BootId() {
  char text[40];
  if (!ReadSmallFile("/proc/sys/kernel/random/boot_id", text, sizeof(text))) return "";
  return std::string(text, std::strcspn(text, "\n"));
}

char ProcessState(uint32_t pid) noexcept {
  char text[1024];
  const char* at = StatAfterName(pid, text, sizeof(text));
  return at == nullptr ? '\0' : *at;
}

std::string DescribeProcess(uint32_t pid) {
  return "pid " + std::to_string(pid) + " (" + StateWord(ProcessState(pid)) + ")";
}

}  // namespace hshm
