#include "hermes_shm/platform/memory_limit.h"

#include <algorithm>
#include <string>
#include <string_view>

#include "platform/system_text.h"

namespace hshm {
namespace {

constexpr uint64_t kUnlimited = ~uint64_t{0};

/** A limit file holds a number, or "max"; where there is no file there is no limit. */
uint64_t LimitIn(const std::string& path) {
  const std::string content = SystemText(path);
  std::string_view text = content;
  uint64_t bytes = 0;
  return TakeNumber(&text, &bytes) ? bytes : kUnlimited;
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
  const std::string content = SystemText("/proc/self/cgroup");
  std::string_view groups = content;
  uint64_t limit = kUnlimited;
  for (std::string_view line; TakeLine(&groups, &line);) {
    const size_t first = line.find(':');
    const size_t second = line.find(':', first + 1);
    if (first == std::string_view::npos || second == std::string_view::npos) continue;
    const std::string controllers(line.substr(first + 1, second - first - 1));
    const std::string group(line.substr(second + 1));
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
  const std::string content = SystemText("/proc/meminfo");
  std::string_view lines = content;
  for (std::string_view line; TakeLine(&lines, &line);) {
    std::string_view key;
    uint64_t kib = 0;
    if (!TakeWord(&line, &key) || !TakeNumber(&line, &kib)) continue;
    if (key == "MemTotal:") memory.total_bytes_ = kib * 1024;
    if (key == "MemAvailable:") memory.available_bytes_ = kib * 1024;
  }
  return memory;
}

}  // namespace hshm
