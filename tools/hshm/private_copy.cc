#include "private_copy.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>

#include "hermes_shm/base/error.h"
#include "hermes_shm/memory/backend/backend_header.h"

namespace hshm::tool {
namespace {

constexpr uint64_t kPieceBytes = 64 * 1024;  // a page of an allocator

/** A process may have 65530 mappings (vm.max_map_count), and each piece may become two. From so
 * many on they are loaded in groups, of which there are at most as many. */
constexpr uint64_t kMostAlone = 16 * 1024;

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

}  // namespace

PrivateCopy::PrivateCopy(int fd, uint64_t region_bytes, Original original)
    : fd_(fd),
      original_(original),
      size_bytes_(region_bytes),
      group_pieces_(std::max<uint64_t>(16, region_bytes / kPieceBytes / kMostAlone)),
      is_there_((region_bytes + kPieceBytes - 1) / kPieceBytes),
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
  if (original_ == Original::kQuiet) FindData();
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
  const uint64_t piece = (address - base) / kPieceBytes;
  if (is_there_[piece] != 0) return false;  // it is no piece that was missing
  if (alone_ >= kMostAlone) return LoadGroup(piece / group_pieces_);
  if (!Load(piece, 1)) return false;
  ++alone_;
  return true;
}

uint64_t PrivateCopy::EndOf(uint64_t piece) const noexcept {
  return std::min((piece + 1) * kPieceBytes, size_bytes_);
}

/** Of pieces none of which is there. */
bool PrivateCopy::Load(uint64_t piece, uint64_t pieces) noexcept {
  const uint64_t begin = piece * kPieceBytes;
  const uint64_t end = EndOf(piece + pieces - 1);
  const bool is_mapped = original_ == Original::kQuiet && Map(begin, end);
  if (!is_mapped && !Read(begin, end)) return false;
  std::fill_n(is_there_.begin() + static_cast<ptrdiff_t>(piece), pieces, 1);
  return true;
}

/** What is there of it stays: it may have been written to. */
bool PrivateCopy::LoadGroup(uint64_t group) noexcept {
  const uint64_t first = group * group_pieces_;
  const uint64_t end = std::min<uint64_t>(first + group_pieces_, is_there_.size());
  for (uint64_t piece = first; piece < end;) {
    uint64_t next = piece;
    while (next < end && is_there_[next] == 0) ++next;
    if (next > piece && !Load(piece, next - piece)) return false;
    piece = next + 1;
  }
  return true;
}

/** All at once, for the system goes through a whole range of data to find its end. */
void PrivateCopy::FindData() {
  for (off_t begin = 0; (begin = lseek(fd_, begin, SEEK_DATA)) >= 0;) {
    const off_t end = lseek(fd_, begin, SEEK_HOLE);
    if (end <= begin) return;
    data_.emplace_back(begin, end);
    begin = end;
  }
}

/** Of a range without holes, which a look would fill. */
bool PrivateCopy::Map(uint64_t begin, uint64_t end) noexcept {
  auto range = std::upper_bound(data_.begin(), data_.end(), std::pair(begin, ~uint64_t{0}));
  if (range == data_.begin() || (--range)->second < end) return false;
  return mmap(base_ + begin, end - begin, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, fd_,
              static_cast<off_t>(begin)) != MAP_FAILED;
}

bool PrivateCopy::Read(uint64_t begin, uint64_t end) noexcept {
  if (mprotect(base_ + begin, end - begin, PROT_READ | PROT_WRITE) != 0) return false;
  while (begin < end) {
    // A hole is not read, so that it takes no memory here.
    const off_t data = lseek(fd_, static_cast<off_t>(begin), SEEK_DATA);
    if (data >= static_cast<off_t>(end) || (data < 0 && errno == ENXIO)) return true;
    begin = data < 0 ? begin : static_cast<uint64_t>(data);
    const uint64_t step = std::min(end - begin, kPieceBytes);
    const ssize_t got = pread(fd_, base_ + begin, step, static_cast<off_t>(begin));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return got == 0;  // beyond its end a file reads as zero here
    begin += static_cast<uint64_t>(got);
  }
  return true;
}

bool PrivateCopy::ReadAgain(Offset offset, uint64_t size_bytes) {
  std::array<char, kPieceBytes> now;
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
  const uint64_t first = (offset + kPieceBytes - 1) / kPieceBytes;
  const uint64_t last = std::min(offset + size_bytes, size_bytes_) / kPieceBytes;
  if (first >= last) return;
  // What stays is no mistake: it is what it was when it was read.
  if (mmap(base_ + first * kPieceBytes, (last - first) * kPieceBytes, PROT_NONE,
           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) == MAP_FAILED) {
    return;
  }
  for (uint64_t piece = first; piece < last; ++piece) {
    alone_ -= std::min<uint64_t>(alone_, is_there_[piece] != 0 ? 1 : 0);
    is_there_[piece] = 0;
  }
}

bool PrivateCopy::Commit(Offset offset, uint64_t size_bytes) noexcept {
  return offset <= size_bytes_ && size_bytes <= size_bytes_ - offset;
}

/** What is given back reads as zero. */
void PrivateCopy::Decommit(Offset offset, uint64_t size_bytes) noexcept {
  const uint64_t end = std::min(offset + size_bytes, size_bytes_);
  if (offset >= end) return;
  const uint64_t first = std::min((offset + kPieceBytes - 1) / kPieceBytes * kPieceBytes, end);
  const uint64_t last = std::max(end / kPieceBytes * kPieceBytes, first);
  std::memset(base_ + offset, 0, first - offset);
  std::memset(base_ + last, 0, end - last);
  if (first == last) return;
  if (mmap(base_ + first, last - first, PROT_READ | PROT_WRITE,
           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) == MAP_FAILED) {
    std::memset(base_ + first, 0, last - first);
    return;
  }
  for (uint64_t piece = first / kPieceBytes; piece < last / kPieceBytes; ++piece) {
    is_there_[piece] = 1;
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
