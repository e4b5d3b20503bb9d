#include "malloc/settings.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "hermes_shm/base/bits.h"
#include "hermes_shm/base/config.h"
#include "hermes_shm/base/units.h"
#include "hermes_shm/platform/memory_limit.h"
#include "hermes_shm/platform/page.h"
#include "hermes_shm/platform/shared_memory.h"

namespace hshm::malloc_library {
namespace {

constexpr uint64_t kLeastDefaultBytes = 64_GiB;
constexpr uint64_t kMostDefaultBytes = uint64_t{4} << 40;

[[noreturn]] void StopForValue(const char* name, const char* value, const char* wanted) noexcept {
  char sentence[512];
  std::snprintf(sentence, sizeof(sentence), "%s is '%.80s'; it must be %s.", name, value, wanted);
  StopProgram(sentence);
}

/** Left shift of a unit: "", "K", "KiB", "KB" and so on; -1 for anything else. */
int ShiftOfUnit(const char* unit) noexcept {
  if (*unit == '\0') return 0;
  static constexpr char kLetters[] = "KMGT";
  const char* letter = std::strchr(kLetters, *unit & ~0x20);
  if (letter == nullptr || *letter == '\0') return -1;
  const char* rest = unit + 1;
  const bool is_known =
      *rest == '\0' || std::strcmp(rest, "iB") == 0 || std::strcmp(rest, "B") == 0;
  return is_known ? 10 * static_cast<int>(letter - kLetters + 1) : -1;
}

/** Memory of the machine, asked for in every program's start: without reading files. */
uint64_t PhysicalBytes() noexcept {
  const long pages = sysconf(_SC_PHYS_PAGES);
  return pages > 0 ? static_cast<uint64_t>(pages) * SystemPageBytes() : 0;
}

uint64_t ReadSize(const char* name, const char* value) noexcept {
  static constexpr char kWanted[] =
      "a number of bytes from 16M to 64T, such as 4G, 512MiB or 68719476736";
  if (*value < '0' || *value > '9') StopForValue(name, value, kWanted);
  uint64_t bytes = 0;
  const char* digit = value;
  for (; *digit >= '0' && *digit <= '9'; ++digit) {
    if (bytes > kMaxHeapBytes) StopForValue(name, value, kWanted);
    bytes = bytes * 10 + static_cast<uint64_t>(*digit - '0');
  }
  const int shift = ShiftOfUnit(digit);
  if (shift < 0 || bytes > kMaxHeapBytes >> shift) StopForValue(name, value, kWanted);
  bytes <<= shift;
  if (bytes < kMinHeapBytes) StopForValue(name, value, kWanted);
  return bytes;
}

}  // namespace

Settings ReadSettings() noexcept {
  Settings settings;
  const char* backend = secure_getenv("HSHM_MALLOC_BACKEND");
  if (backend != nullptr && *backend != '\0') {
    if (std::strcmp(backend, "shm") == 0) {
      settings.backend_ = Backend::kShm;
    } else if (std::strcmp(backend, "private") != 0) {
      StopForValue("HSHM_MALLOC_BACKEND", backend, "'private' or 'shm'");
    }
  }
  const char* size = secure_getenv("HSHM_MALLOC_SIZE");
  if (size != nullptr && *size != '\0') settings.size_bytes_ = ReadSize("HSHM_MALLOC_SIZE", size);
  return settings;
}

bool WantsChecked() noexcept {
  const char* value = secure_getenv("HSHM_CHECKED");
  if (value == nullptr || *value == '\0') return HSHM_CHECKED != 0;
  if (std::strcmp(value, "0") != 0 && std::strcmp(value, "1") != 0) {
    StopForValue("HSHM_CHECKED", value, "0 or 1");
  }
  return *value == '1';
}

uint64_t DefaultHeapBytes(Backend backend) noexcept {
  const uint64_t machine = PhysicalBytes();
  uint64_t bytes = uint64_t{1} << bits::CeilLog2(std::max<uint64_t>(2 * machine, 1));
  bytes = std::clamp(bytes, kLeastDefaultBytes, kMostDefaultBytes);
  if (backend == Backend::kShm && machine != 0) {
    bytes = std::min(bytes, std::min(machine, MemoryLimitBytes()) / 2);
    bytes = std::min(bytes, FileBytesLimit());
  }
  rlimit limit{};
  if (getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY) {
    bytes = std::min<uint64_t>(bytes, limit.rlim_cur / 2);
  }
  return std::max(bytes, kMinHeapBytes);
}

void StopProgram(const char* sentence) noexcept {
  static constexpr char kFront[] = "libhshm_malloc: ";
  char line[640];
  const int length = std::snprintf(line, sizeof(line), "%s%s\n", kFront, sentence);
  const auto bytes = std::min(static_cast<size_t>(std::max(length, 0)), sizeof(line) - 1);
  // Nothing is left to do when standard error is closed.
  static_cast<void>(!write(STDERR_FILENO, line, bytes));
  _exit(127);  // as the dynamic loader ends a program that it cannot start
}

}  // namespace hshm::malloc_library
