#include "malloc/heap_memory.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "hermes_shm/base/bits.h"
#include "hermes_shm/base/check.h"
#include "hermes_shm/base/units.h"
#include "hermes_shm/platform/cancellation.h"
#include "hermes_shm/platform/huge_pages.h"
#include "hermes_shm/platform/memory_file.h"
#include "hermes_shm/platform/memory_limit.h"
#include "hermes_shm/platform/page.h"
#include "hermes_shm/platform/private_pages.h"
#include "malloc/keep_errno.h"

namespace hshm::malloc_library {
namespace {

/** Programs expect their files at the lowest numbers, and some close all up to a bound of theirs.
 */
constexpr int kHighDescriptor = 900;

/** Commits from here on ask first whether the machine has so much memory left. */
constexpr uint64_t kAskedForBytes = 16_MiB;

/** Programs that shells start may use any small number; where no high one is to be had, it stays.
 */
void MoveHigh(FileDescriptor* file) noexcept {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  const int lowest = limit.rlim_cur > kHighDescriptor + 16 ? kHighDescriptor
                                                           : static_cast<int>(limit.rlim_cur / 2);
  const int high = fcntl(file->get(), F_DUPFD_CLOEXEC, lowest);
  if (high >= 0) *file = FileDescriptor(high);
}

int MakeFile(uint64_t size_bytes, FileDescriptor* file, FileIdentity* identity) noexcept {
  FileDescriptor made;
  if (const int error = CreateMemoryFile("hshm_malloc", &made); error != 0) return error;
  if (const int error = SetFileBytes(made.get(), size_bytes); error != 0) return error;
  MoveHigh(&made);
  FileStatus status;
  if (const int error = StatusOfFile(made.get(), &status); error != 0) return error;
  *identity = status.identity_;
  *file = std::move(made);
  return 0;
}

/** Writes [from, end) of one file to another, from where it is mapped. @return 0 or the errno */
int CopyRange(const char* base, off_t from, off_t end, int to_file) noexcept {
  while (from < end) {
    const ssize_t written = pwrite(to_file, base + from, static_cast<size_t>(end - from), from);
    if (written < 0 && errno != EINTR) return errno;
    if (written > 0) from += written;
  }
  return 0;
}

/** All parts of a file that have memory, in ascending order: page entries before pages. */
int CopyFile(int from_file, const char* base, int to_file) noexcept {
  for (off_t at = 0;;) {
    const off_t begin = lseek(from_file, at, SEEK_DATA);
    if (begin < 0) return errno == ENXIO ? 0 : errno;  // ENXIO: no more data
    const off_t end = lseek(from_file, begin, SEEK_HOLE);
    if (end < 0) return errno;
    if (const int error = CopyRange(base, begin, end, to_file); error != 0) return error;
    at = end;
  }
}

}  // namespace

int HeapMemory::Map(Backend backend, uint64_t size_bytes) noexcept {
  HSHM_CHECK(base_ == nullptr);
  size_bytes = bits::AlignUp(size_bytes, SystemPageBytes());
  const int error = backend == Backend::kShm ? MapFile(size_bytes) : MapPrivatePages(size_bytes);
  if (error != 0) return error;
  backend_ = backend;
  size_bytes_ = size_bytes;
  return 0;
}

/** As much more as the alignment may need; what is not needed goes back. */
int HeapMemory::MapPrivatePages(uint64_t size_bytes) noexcept {
  void* mapped = nullptr;
  const uint64_t more = AlignmentFor(size_bytes);
  if (const int error = MapPrivate(size_bytes + more, ForkRule::kCopy, &mapped); error != 0) {
    return error;
  }
  char* const begin = static_cast<char*>(mapped);
  const auto address = reinterpret_cast<uintptr_t>(mapped);
  const uint64_t front = bits::AlignUp(address, more) - address;
  if (front != 0) UnmapPrivate(begin, front);
  if (more != front) UnmapPrivate(begin + front + size_bytes, more - front);
  base_ = begin + front;
  return 0;
}

int HeapMemory::MapFile(uint64_t size_bytes) noexcept {
  FileDescriptor file;
  FileIdentity identity;
  if (const int error = MakeFile(size_bytes, &file, &identity); error != 0) return error;
  char* base = nullptr;
  const uint64_t alignment = AlignmentFor(size_bytes);
  if (const int error = MapShared(file.get(), size_bytes, nullptr, &base, alignment); error != 0) {
    return error;
  }
  if (reinterpret_cast<uintptr_t>(base) % alignment != 0) {
    UnmapShared(base, size_bytes);
    return ENOMEM;
  }
  base_ = base;
  file_ = std::move(file);
  identity_ = identity;
  return 0;
}

/** The program may have closed it, and have its number for another file. */
bool HeapMemory::HasFile() const noexcept {
  FileStatus status;
  return file_.IsOpen() && StatusOfFile(file_.get(), &status) == 0 && status.identity_ == identity_;
}

int HeapMemory::ReplaceByCopy() noexcept {
  if (backend_ == Backend::kPrivate) return 0;  // the system has made one
  if (!HasFile()) return EBADF;
  FileDescriptor copy;
  FileIdentity identity;
  if (const int error = MakeFile(size_bytes_, &copy, &identity); error != 0) return error;
  if (const int error = CopyFile(file_.get(), base_, copy.get()); error != 0) return error;
  UnmapShared(base_, size_bytes_);
  char* base = nullptr;
  if (const int error = MapShared(copy.get(), size_bytes_, base_, &base); error != 0) return error;
  HSHM_CHECK(base == base_);  // no other thread is here that could have taken the place
  file_ = std::move(copy);
  identity_ = identity;
  return 0;
}

bool HeapMemory::Commit(ipc::Offset offset, uint64_t size_bytes) noexcept {
  if (offset > size_bytes_ || size_bytes > size_bytes_ - offset) return false;
  if (backend_ == Backend::kPrivate) return true;
  const uint64_t begin = bits::AlignDown(offset, SystemPageBytes());
  const uint64_t bytes = bits::AlignUp(offset + size_bytes, SystemPageBytes()) - begin;
  const NoCancellation no_cancellation;
  const KeepErrno keep_errno;
  // The system would end this program, or another, instead of refusing.
  if (bytes >= kAskedForBytes && bytes > MemoryOfMachine().available_bytes_) return false;
  if (HasFile()) return CommitFile(file_.get(), begin, bytes) == 0;
  return PopulatePages(base_ + begin, bytes) == 0;
}

void HeapMemory::Decommit(ipc::Offset offset, uint64_t size_bytes) noexcept {
  HSHM_CHECK(offset <= size_bytes_);
  HSHM_CHECK(size_bytes <= size_bytes_ - offset);
  const uint64_t begin = bits::AlignUp(offset, SystemPageBytes());
  const uint64_t end = bits::AlignDown(offset + size_bytes, SystemPageBytes());
  if (begin >= end) return;
  const NoCancellation no_cancellation;
  const KeepErrno keep_errno;
  decommitted_bytes_.fetch_add(end - begin, std::memory_order_relaxed);  // relaxed: a statistic
  if (backend_ == Backend::kPrivate) {
    DropPrivate(base_ + begin, end - begin);
  } else if (HasFile()) {
    // Without a hole the memory stays committed: nothing is lost.
    static_cast<void>(PunchHole(file_.get(), begin, end - begin));
  }
}

bool HeapMemory::ClearWritten(ipc::Offset offset, uint64_t size_bytes) noexcept {
  if (backend_ == Backend::kPrivate) return false;
  const NoCancellation no_cancellation;
  const KeepErrno keep_errno;
  return HasFile() && ClearWrittenPages(file_.get(), base_, offset, size_bytes);
}

bool HeapMemory::IsUnwritten(ipc::Offset offset, uint64_t size_bytes) noexcept {
  if (backend_ == Backend::kPrivate) return false;
  const NoCancellation no_cancellation;
  const KeepErrno keep_errno;
  return HasFile() && HasNoWrittenPages(file_.get(), offset, size_bytes);
}

bool HeapMemory::HoldSlot(uint32_t slot) noexcept {
  errno = EAGAIN;
  return slots_.TryHold(slot);
}

}  // namespace hshm::malloc_library
