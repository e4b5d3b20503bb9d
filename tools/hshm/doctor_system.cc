/** What `hshm doctor` sees of the system around: containers, limits, settings of the kernel. */
#include <sys/resource.h>

#include <array>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <system_error>

#include "finding.h"
#include "hermes_shm/platform/process.h"
#include "text.h"

namespace hshm::tool {
namespace {

constexpr uint64_t kGiB = uint64_t{1} << 30;

/** Of the first PID namespace of every Linux kernel (PROC_PID_INIT_INO). */
constexpr uint64_t kFirstPidNamespace = 0xEFFFFFFC;

bool Exists(const char* path) {
  std::error_code error;
  return std::filesystem::exists(path, error);
}

/** The first word of a small file; empty where there is none. */
std::string WordIn(const char* path) {
  std::ifstream file(path);
  std::string word;
  file >> word;
  return word;
}

/** What kind of container, by the marks that the usual ones leave; empty: none seen. */
std::string ContainerKind() {
  if (Exists("/.dockerenv")) return "Docker";
  if (Exists("/run/.containerenv")) return "Podman";
  if (std::getenv("SINGULARITY_NAME") != nullptr || std::getenv("APPTAINER_NAME") != nullptr) {
    return "Apptainer";
  }
  if (std::getenv("KUBERNETES_SERVICE_HOST") != nullptr) return "Kubernetes";
  if (const char* kind = std::getenv("container"); kind != nullptr) return kind;
  return "";
}

std::string LimitText(uint64_t limit, bool is_bytes) {
  if (limit == RLIM_INFINITY) return "unlimited";
  return is_bytes ? Human(limit) : std::to_string(limit);
}

struct Limit {
  const char* name_;
  int resource_;
  bool is_bytes_;
  uint64_t least_;  // below it there is something to do
  const char* advice_;
};

}  // namespace

std::vector<Finding> LookAtContainer() {
  const std::string kind = ContainerKind();
  const uint64_t pids = PidNamespace();
  const bool is_separate = pids != 0 && pids != kFirstPidNamespace;
  Finding finding{"container", Level::kOk, "none seen", ""};
  if (!kind.empty()) finding.what_ = kind;
  if (is_separate) {
    finding.what_ = (kind.empty() ? "a" : kind + ", a") + std::string(" PID namespace of its own");
  }
  if (kind.empty() && !is_separate) return {finding};
  finding.advice_ =
      "ranks in several containers of a node share a heap only if they share this directory "
      "(--ipc=host, or one tmpfs mounted into all of them); their pids differ, which does no harm";
  return {finding};
}

std::vector<Finding> LookAtLimits() {
  static constexpr std::array kLimits = {
      Limit{"file size", RLIMIT_FSIZE, true, RLIM_INFINITY,
            "ulimit -f unlimited: no segment can be larger"},
      Limit{"address space", RLIMIT_AS, true, RLIM_INFINITY,
            "ulimit -v unlimited: each process maps the whole capacity of a segment"},
      Limit{"open files", RLIMIT_NOFILE, false, 256,
            "ulimit -n 1024: each segment needs a descriptor, and one more while it is set up"},
      Limit{"locked memory", RLIMIT_MEMLOCK, true, 0, ""},
  };
  std::vector<Finding> findings;
  for (const Limit& limit : kLimits) {
    struct rlimit found = {};
    if (getrlimit(static_cast<__rlimit_resource>(limit.resource_), &found) != 0) continue;
    Finding finding{limit.name_, Level::kOk, LimitText(found.rlim_cur, limit.is_bytes_), ""};
    if (found.rlim_cur < limit.least_) {
      const bool is_tiny = limit.is_bytes_ ? found.rlim_cur < kGiB : found.rlim_cur < 16;
      finding.level_ = is_tiny ? Level::kBad : Level::kWarn;
      finding.advice_ = limit.advice_;
    }
    findings.push_back(finding);
  }
  return findings;
}

std::vector<Finding> LookAtKernel() {
  Finding overcommit{"overcommit", Level::kOk, "", ""};
  const std::string mode = WordIn("/proc/sys/vm/overcommit_memory");
  overcommit.what_ = "vm.overcommit_memory is " + (mode.empty() ? "not to be read" : mode);
  if (mode == "2") {
    overcommit.level_ = Level::kWarn;
    overcommit.advice_ =
        "sysctl vm.overcommit_memory=0, or a larger vm.overcommit_ratio: in this mode private "
        "regions count whole, used or not";
  }
  Finding mappings{"mappings", Level::kOk, "", ""};
  const std::string count = WordIn("/proc/sys/vm/max_map_count");
  mappings.what_ = "vm.max_map_count is " + (count.empty() ? "not to be read" : count);
  if (!count.empty() && std::strtoull(count.c_str(), nullptr, 10) < 65530) {
    mappings.level_ = Level::kWarn;
    mappings.advice_ = "sysctl vm.max_map_count=65530: each process slot held is a mapping";
  }
  Finding trace{"debuggers", Level::kOk, "", ""};
  const std::string scope = WordIn("/proc/sys/kernel/yama/ptrace_scope");
  trace.what_ =
      scope.empty() ? "may look at the user's processes" : "kernel.yama.ptrace_scope is " + scope;
  if (scope == "2" || scope == "3") {
    trace.level_ = Level::kWarn;
    trace.advice_ = "only root may attach one to a rank that stands still; heaps do not need it";
  }
  return {overcommit, mappings, trace};
}

}  // namespace hshm::tool
