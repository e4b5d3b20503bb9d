#include "hermes_shm/platform/memory_limit.h"

#include <algorithm>
#include <fstream>
#include <string>

namespace hshm {
namespace {

constexpr uint64_t kUnlimited = ~uint64_t{0};

/** A limit file holds a number, or "max"; where there is no file there is no limit. */
uint64_t LimitIn(const std::string& path) {
  std::ifstream file(path);
  uint64_t bytes = 0;
  return (file >> bytes) ? bytes : kUnlimited;
}

/** The limits of a group and of all groups around it. */
uint64_t LimitAlong(const std::string& mount, std::string group, const std::string& file) {
  uint64_t limit = LimitIn(mount + "/" + file);
  while (group.size() > 1) {
    limit = std::min(limit, LimitIn(mount + group + "/" + file));
    group.erase(group.rfind('/'));
  }
  return limit;
}

}  // namespace

uint64_t MemoryLimitBytes() {
  // cgroups(7): lines "0::/path" for v2 and "4:memory:/path" for v1.
  std::ifstream groups("/proc/self/cgroup");
  uint64_t limit = kUnlimited;
  for (std::string line; std::getline(groups, line);) {
    const size_t first = line.find(':');
    const size_t second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const std::string group = line.substr(second + 1);
    if (controllers.empty()) {
      limit = std::min(limit, LimitAlong("/sys/fs/cgroup", group, "memory.max"));
    } else if (("," + controllers + ",").find(",memory,") != std::string::npos) {
      limit = std::min(limit, LimitAlong("/sys/fs/cgroup/memory", group, "memory.limit_in_bytes"));
    }
  }
  return limit;
}

MachineMemory MemoryOfMachine() {
  // proc(5), meminfo: lines "MemTotal:  16316412 kB".
  MachineMemory memory;
  std::ifstream lines("/proc/meminfo");
  std::string key;
  uint64_t kib = 0;
  for (std::string unit; lines >> key >> kib && std::getline(lines, unit);) {
    if (key == "MemTotal:") memory.total_bytes_ = kib * 1024;
    if (key == "MemAvailable:") memory.available_bytes_ = kib * 1024;
  }
  return memory;
}

}  // namespace hshm
