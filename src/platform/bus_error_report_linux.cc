#include "hermes_shm/platform/bus_error_report.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <climits>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstring>

namespace hshm {
namespace {

enum Step : int { kSilent, kExplaining, kExplained };

// The handler of a signal is the process's, and so is what it needs. Static, because alternate
// stacks are small; the first thread to come explains, others wait until it has.
struct sigaction former = {};
std::atomic<bool> is_installed{false};
std::atomic<int> step{kSilent};
char line[8192];   // of /proc/self/maps: a path has 4 KiB at most
char piece[1024];  // as it is read
char named[8192];  // where a file's path is put together
char text[8192 + 1024];

/** Descriptors looked at for the file that was cut; a segment's is one of the first of a job. */
constexpr int kMostDescriptors = 4096;

/** A mapping of a file, as proc(5) describes it. */
struct Mapping {
  uint64_t begin_ = 0;
  uint64_t end_ = 0;
  bool is_shared_ = false;
  uint64_t file_offset_ = 0;
  uint64_t major_ = 0;
  uint64_t minor_ = 0;
  uint64_t inode_ = 0;
  const char* path_ = "";
};

/** Reads a number in hexadecimal or decimal digits, and the character behind it. */
uint64_t TakeNumber(const char** at, unsigned base) noexcept {
  uint64_t number = 0;
  for (;; ++*at) {
    const char c = **at;
    unsigned digit = base;
    if (c >= '0' && c <= '9') digit = static_cast<unsigned>(c - '0');
    if (c >= 'a' && c <= 'f') digit = static_cast<unsigned>(c - 'a') + 10;
    if (digit >= base) break;
    number = number * base + digit;
  }
  if (**at != '\0') ++*at;
  return number;
}

/** "begin-end rw-s offset major:minor inode    path" */
Mapping Parse(const char* at) noexcept {
  Mapping mapping;
  mapping.begin_ = TakeNumber(&at, 16);
  mapping.end_ = TakeNumber(&at, 16);
  mapping.is_shared_ = strnlen(at, 4) == 4 && at[3] == 's';
  at += strnlen(at, 5);
  mapping.file_offset_ = TakeNumber(&at, 16);
  mapping.major_ = TakeNumber(&at, 16);
  mapping.minor_ = TakeNumber(&at, 16);
  mapping.inode_ = TakeNumber(&at, 10);
  while (*at == ' ') ++at;
  mapping.path_ = at;
  return mapping;
}

/** Finds the mapping of an address; its path stays in `line`. */
bool FindMapping(uint64_t address, Mapping* found) noexcept {
  const int maps = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
  if (maps < 0) return false;
  size_t length = 0;
  bool is_found = false;
  for (ssize_t got; !is_found && (got = read(maps, piece, sizeof(piece))) > 0;) {
    for (ssize_t i = 0; i < got && !is_found; ++i) {
      if (piece[i] != '\n') {
        if (length + 1 < sizeof(line)) line[length++] = piece[i];
        continue;
      }
      line[length] = '\0';
      length = 0;
      *found = Parse(line);
      is_found = found->begin_ <= address && address < found->end_;
    }
  }
  close(maps);
  return is_found;
}

bool IsFileOf(const Mapping& mapping, const struct stat& file) noexcept {
  return file.st_ino == mapping.inode_ && major(file.st_dev) == mapping.major_ &&
         minor(file.st_dev) == mapping.minor_;
}

/** By its path, or by a descriptor: the backend keeps one, and the path may be another file's. */
bool FindFile(const Mapping& mapping, struct stat* file) noexcept {
  if (lstat(mapping.path_, file) == 0 && IsFileOf(mapping, *file)) return true;
  for (int fd = 0; fd < kMostDescriptors; ++fd) {
    if (fstat(fd, file) == 0 && IsFileOf(mapping, *file)) return true;
  }
  return false;
}

/** Copies the name of an inode, of at most NAME_MAX bytes. readdir(3) would call malloc. */
bool FindEntry(int directory, uint64_t inode, char* name) noexcept {
  // getdents64(2): inode, offset, length of the entry, type, name.
  constexpr size_t kLengthAt = 16;
  constexpr size_t kNameAt = 19;
  for (long got; (got = syscall(SYS_getdents64, directory, piece, sizeof(piece))) > 0;) {
    for (const char* entry = piece; entry < piece + got;) {
      uint64_t number = 0;
      uint16_t bytes = 0;
      std::memcpy(&number, entry, sizeof(number));
      std::memcpy(&bytes, entry + kLengthAt, sizeof(bytes));
      if (number == inode) {
        std::memcpy(name, entry + kNameAt, strnlen(entry + kNameAt, NAME_MAX) + 1);
        return true;
      }
      entry += bytes;
    }
  }
  return false;
}

/**
 * A file that got its name after it was made, as segments do, is "DIRECTORY/#INODE (deleted)" to
 * its maker: its name is looked for in the directory.
 */
void FindName(Mapping* mapping) noexcept {
  const char* const slash = std::strrchr(mapping->path_, '/');
  if (slash == nullptr || slash[1] != '#') return;
  const auto directory_bytes = static_cast<size_t>(slash - mapping->path_);
  if (directory_bytes + 1 + NAME_MAX >= sizeof(named)) return;
  std::memcpy(named, mapping->path_, directory_bytes);
  named[directory_bytes] = '\0';
  const int directory = open(named, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (directory < 0) return;
  named[directory_bytes] = '/';
  if (FindEntry(directory, mapping->inode_, named + directory_bytes + 1)) mapping->path_ = named;
  close(directory);
}

/** What has become of the byte, in a sentence. */
int DescribeCause(const Mapping& mapping, uint64_t byte, char* to, size_t size) noexcept {
  struct stat file = {};
  const bool is_known = FindFile(mapping, &file);
  const auto bytes = static_cast<unsigned long long>(file.st_size);
  if (is_known && byte < bytes) {
    return std::snprintf(to, size,
                         "The file is that long, so its file system had no room for the page, or "
                         "the machine's memory is broken.");
  }
  if (is_known) {
    return std::snprintf(to, size,
                         "The file has %llu bytes: another process has made it shorter. Create "
                         "the segment again; one without a name cannot be cut.",
                         bytes);
  }
  return std::snprintf(to, size,
                       "Another process has made the file shorter, or its file system had no room "
                       "for the page.");
}

void Explain(const void* address) noexcept {
  Mapping mapping;
  const auto where = reinterpret_cast<uintptr_t>(address);
  if (!FindMapping(where, &mapping) || !mapping.is_shared_ || mapping.inode_ == 0) return;
  FindName(&mapping);
  const uint64_t byte = where - mapping.begin_ + mapping.file_offset_;
  const int front = std::snprintf(text, sizeof(text),
                                  "hshm: SIGBUS: this process dies because it touched byte %llu of "
                                  "%s. ",
                                  static_cast<unsigned long long>(byte), mapping.path_);
  if (front < 0 || static_cast<size_t>(front) >= sizeof(text)) return;
  const auto used = static_cast<size_t>(front);
  const int back = DescribeCause(mapping, byte, text + used, sizeof(text) - used - 1);
  if (back < 0) return;
  size_t length = strnlen(text, sizeof(text) - 1);
  text[length++] = '\n';
  [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, text, length);
}

void ExplainOnce(const void* address) noexcept {
  int silent = kSilent;
  if (step.compare_exchange_strong(silent, kExplaining)) {
    Explain(address);
    step = kExplained;
  }
  while (step != kExplained) sched_yield();
}

void PassOn(int number, siginfo_t* info, void* context) noexcept {
  if ((former.sa_flags & SA_SIGINFO) != 0) {
    former.sa_sigaction(number, info, context);
  } else if (former.sa_handler != SIG_DFL && former.sa_handler != SIG_IGN) {
    former.sa_handler(number);
  } else {
    struct sigaction usual = {};
    usual.sa_handler = SIG_DFL;
    sigaction(number, &usual, nullptr);
    // A fault comes again as soon as this returns; what a process has sent does not.
    if (info->si_code <= 0) raise(number);
  }
}

void OnBusError(int number, siginfo_t* info, void* context) {
  const int former_errno = errno;
  if (info->si_code > 0) ExplainOnce(info->si_addr);
  PassOn(number, info, context);
  errno = former_errno;
}

}  // namespace

int ReportBusErrors() noexcept {
  if (is_installed.exchange(true)) return 0;
  struct sigaction ours = {};
  if (sigaction(SIGBUS, nullptr, &former) != 0) return errno;
  ours.sa_sigaction = OnBusError;
  ours.sa_mask = former.sa_mask;
  ours.sa_flags = SA_SIGINFO | SA_ONSTACK | (former.sa_flags & SA_RESTART);
  return sigaction(SIGBUS, &ours, nullptr) == 0 ? 0 : errno;
}

}  // namespace hshm
