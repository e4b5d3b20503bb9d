#include "private_copy.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <csignal>
#include <cstring>

#include "hermes_shm/base/error.h"
#include "hermes_shm/memory/backend/backend_header.h"

namespace hshm::tool {
namespace {

/** A page of an allocator. */
constexpr uint64_t kLeastPieceBytes = 64 * 1024;

/** A process may have 65530 mappings (vm.max_map_count), and each piece may become one. */
constexpr uint64_t kMostPieces = 16 * 1024;

PrivateCopy* supplied = nullptr;  // what the handler of this process looks after

void EndAstray(const char* why) noexcept {
  static_cast<void>(!write(STDERR_FILENO, why, std::strlen(why)));
  _exit(PrivateCopy::kLedAstray);
}

void OnFault(int signal_number, siginfo_t* info, void*) {
  const int saved_errno = errno;
  if (signal_number == SIGBUS) {
    EndAstray("hshm: Check: the file was cut short while it was looked at\n");
  }
  if (supplied == nullptr || !supplied->Supply(reinterpret_cast<uintptr_t>(info->si_addr))) {
    EndAstray("hshm: Check: a broken word leads out of the segment\n");
  }
  errno = saved_errno;
}

void Catch(int signal_number) {
  struct sigaction action = {};
  action.sa_sigaction = OnFault;
  action.sa_flags = SA_SIGINFO | SA_NODEFER;
  sigaction(signal_number, &action, nullptr);
}

uint64_t PieceBytesFor(uint64_t region_bytes) {
  return std::max(kLeastPieceBytes, std::bit_ceil(region_bytes / kMostPieces));
}

}  // namespace

PrivateCopy::PrivateCopy(int fd, uint64_t region_bytes, Original original)
    : fd_(fd),
      original_(original),
      size_bytes_(region_bytes),
      piece_bytes_(PieceBytesFor(region_bytes)),
      is_there_((region_bytes + piece_bytes_ - 1) / piece_bytes_),
      held_(ipc::SlotCountFor(region_bytes)) {
  void* const mapped =
      mmap(nullptr, size_bytes_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapped == MAP_FAILED) {
    throw Error(ErrorCode::kSystem,
                "Looking at a segment of " + std::to_string(size_bytes_) +
                    " bytes needs as many addresses: raise the limit (ulimit -v).",
                errno);
  }
  base_ = static_cast<char*>(mapped);
  supplied = this;
  Catch(SIGSEGV);
  Catch(SIGBUS);
}

PrivateCopy::~PrivateCopy() {
  supplied = nullptr;
  munmap(base_, size_bytes_);
}

bool PrivateCopy::Supply(uintptr_t address) noexcept {
  const auto base = reinterpret_cast<uintptr_t>(base_);
  if (address < base || address - base >= size_bytes_) return false;
  const uint64_t piece = (address - base) / piece_bytes_;
  if (is_there_[piece] != 0) return false;  // it is no piece that was missing
  const uint64_t begin = piece * piece_bytes_;
  const uint64_t size_bytes = std::min(piece_bytes_, size_bytes_ - begin);
  if (original_ == Original::kChanging || !Map(begin, size_bytes)) {
    if (!Read(begin, size_bytes)) return false;
  }
  is_there_[piece] = 1;
  return true;
}

/** Of a piece without holes, which a look would fill. */
bool PrivateCopy::Map(uint64_t begin, uint64_t size_bytes) noexcept {
  const auto at = static_cast<off_t>(begin);
  if (lseek(fd_, at, SEEK_DATA) != at) return false;
  if (lseek(fd_, at, SEEK_HOLE) < static_cast<off_t>(begin + size_bytes)) return false;
  return mmap(base_ + begin, size_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, fd_,
              at) != MAP_FAILED;
}

bool PrivateCopy::Read(uint64_t begin, uint64_t size_bytes) noexcept {
  if (mprotect(base_ + begin, size_bytes, PROT_READ | PROT_WRITE) != 0) return false;
  const off_t data = lseek(fd_, static_cast<off_t>(begin), SEEK_DATA);
  if (data >= static_cast<off_t>(begin + size_bytes) || (data < 0 && errno == ENXIO)) return true;
  for (uint64_t done = 0; done < size_bytes;) {
    const ssize_t got =
        pread(fd_, base_ + begin + done, size_bytes - done, static_cast<off_t>(begin + done));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return got == 0;  // beyond its end a file reads as zero here
    done += static_cast<uint64_t>(got);
  }
  return true;
}

bool PrivateCopy::ReadAgain(Offset offset, uint64_t size_bytes) {
  std::array<char, kLeastPieceBytes> now;
  bool is_same = true;
  const uint64_t end = std::min(offset + size_bytes, size_bytes_);
  for (uint64_t at = offset; at < end;) {
    const uint64_t step = std::min<uint64_t>(now.size(), end - at);
    ssize_t got = -1;
    do {
      got = pread(fd_, now.data(), step, static_cast<off_t>(at));
    } while (got < 0 && errno == EINTR);
    const auto read_bytes = static_cast<uint64_t>(std::max<ssize_t>(got, 0));
    std::memset(now.data() + read_bytes, 0, step - read_bytes);
    if (std::memcmp(base_ + at, now.data(), step) != 0) {
      is_same = false;
      std::memcpy(base_ + at, now.data(), step);
    }
    at += step;
  }
  return is_same;
}

void PrivateCopy::Forget(Offset offset, uint64_t size_bytes) {
  const uint64_t last = std::min(offset + size_bytes, size_bytes_) / piece_bytes_;
  for (uint64_t piece = (offset + piece_bytes_ - 1) / piece_bytes_; piece < last; ++piece) {
    if (is_there_[piece] == 0) continue;
    char* const begin = base_ + piece * piece_bytes_;
    // A piece that stays is no mistake: it is what it was when it was read.
    if (mmap(begin, piece_bytes_, PROT_NONE,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) != MAP_FAILED) {
      is_there_[piece] = 0;
    }
  }
}

bool PrivateCopy::Commit(Offset offset, uint64_t size_bytes) noexcept {
  return offset <= size_bytes_ && size_bytes <= size_bytes_ - offset;
}

/** What is given back reads as zero. */
void PrivateCopy::Decommit(Offset offset, uint64_t size_bytes) noexcept {
  const uint64_t end = std::min(offset + size_bytes, size_bytes_);
  for (uint64_t at = offset; at < end;) {
    const uint64_t piece = at / piece_bytes_;
    const uint64_t begin = piece * piece_bytes_;
    const uint64_t piece_end = std::min(begin + piece_bytes_, size_bytes_);
    const bool is_whole = at == begin && piece_end <= end;
    if (is_whole &&
        mmap(base_ + begin, piece_end - begin, PROT_READ | PROT_WRITE,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) != MAP_FAILED) {
      is_there_[piece] = 1;
    } else {
      std::memset(base_ + at, 0, std::min(piece_end, end) - at);
    }
    at = piece_end;
  }
}

bool PrivateCopy::HoldSlot(uint32_t slot) noexcept {
  if (slot >= held_.size() || held_[slot]) {
    errno = EAGAIN;
    return false;
  }
  held_[slot] = true;
  return true;
}

}  // namespace hshm::tool
