#include "memory/backend/shm_memory.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "hermes_shm/base/bits.h"
#include "hermes_shm/memory/backend/posix_shm_mmap.h"
#include "hermes_shm/platform/huge_pages.h"
#include "hermes_shm/platform/process.h"
#include "memory/backend/bind_range.h"
#include "memory/backend/unnamed_segment.h"

namespace hshm::ipc {

ShmMemory::ShmMemory(SegmentFile segment, const SegmentShape& shape)
    : segment_(std::move(segment)), shape_(shape), slots_(SlotCountFor(shape.region_bytes_)) {}

ShmMemory::~ShmMemory() {
  if (base_ != nullptr) UnmapShared(base_, shape_.region_bytes_);
}

int ShmMemory::Map(void* hint, bool in_core_dumps) noexcept {
  const uint64_t region_bytes = shape_.region_bytes_;
  const uint64_t alignment = std::max(shape_.page_bytes_, shape_.pages_.page_bytes_);
  int error = MapShared(segment_.file_.get(), region_bytes, hint, &base_, alignment);
  if (error == 0 && !in_core_dumps) error = LeaveOutOfCoreDumps(base_, region_bytes);
  if (error != 0 || !shape_.HasTransparentPages()) return error;
  return AskForHugePages(base_, region_bytes);
}

std::string ShmMemory::Url() const {
  if (!segment_.IsUnnamed()) return segment_.url_;
  if (!HasDescriptor()) return "";
  return UnnamedUrl{ProcessId(), segment_.file_.get(), segment_.identity_, segment_.label_}.Text();
}

int ShmMemory::FindDescriptor() const noexcept {
  FileStatus status;
  const int error = StatusOfFile(segment_.file_.get(), &status);
  if (error != 0) return error;
  return status.identity_ == segment_.identity_ ? 0 : EBADF;
}

void ShmMemory::Unlink() noexcept {
  if (segment_.IsUnnamed() || !HasDescriptor()) return;
  HeldByte naming;  // who does not get it need not unlink: another member is doing so
  if (naming.Hold(segment_.file_.get(), PosixShmMmap::kNamingByte) != 0) return;
  FileStatus named;
  if (StatusOfPath(segment_.path_, &named) != 0) return;
  if (named.identity_ != segment_.identity_) return;
  // Fails only when the name went meanwhile, by hand: what was wanted.
  static_cast<void>(UnlinkFile(segment_.path_));
}

bool ShmMemory::Commit(Offset offset, uint64_t size_bytes) noexcept {
  const uint64_t region_bytes = shape_.region_bytes_;
  if (offset > region_bytes || size_bytes > region_bytes - offset) return false;
  const uint64_t begin = bits::AlignDown(offset, shape_.page_bytes_);
  const uint64_t end = bits::AlignUp(offset + size_bytes, shape_.page_bytes_);
  if (!CommitPages(begin, end - begin)) return false;
  if (shape_.is_growing_) NoteGrowth(end);
  return true;
}

/** Linux gives transparent huge pages to who touches memory, and none to fallocate. */
bool ShmMemory::CommitPages(uint64_t begin, uint64_t size_bytes) noexcept {
  if (shape_.HasTransparentPages()) {
    const int error = PopulatePages(base_ + begin, size_bytes);
    if (error != EINVAL) return error == 0;  // EINVAL: an old system knows no such call
  }
  if (!HasDescriptor()) return false;
  const FileGrowth growth = shape_.is_growing_ ? FileGrowth::kToTheEnd : FileGrowth::kNone;
  const int error = CommitFile(segment_.file_.get(), begin, size_bytes, growth);
  if (error != 0) errno = error;  // RLIMIT_FSIZE is no system call that failed
  return error == 0;
}

/** The file is that long already. */
void ShmMemory::NoteGrowth(uint64_t file_bytes) noexcept {
  Atomic<uint64_t>& grown = reinterpret_cast<BackendHeader*>(base_)->grown_bytes_;
  uint64_t seen = grown.load(std::memory_order_relaxed);  // relaxed: the CAS looks again
  while (seen < file_bytes &&
         !grown.compare_exchange_weak(seen, file_bytes,
                                      std::memory_order_release,     // pairs with CheckSegment
                                      std::memory_order_relaxed)) {  // failure reads only
  }
}

void ShmMemory::Decommit(Offset offset, uint64_t size_bytes) noexcept {
  HSHM_CHECK(offset <= shape_.region_bytes_);
  HSHM_CHECK(size_bytes <= shape_.region_bytes_ - offset);
  const uint64_t begin = bits::AlignUp(offset, shape_.page_bytes_);
  const uint64_t end = bits::AlignDown(offset + size_bytes, shape_.page_bytes_);
  if (begin >= end || !HasDescriptor()) return;
  // Fails only where the file system cannot punch holes: the memory then stays committed.
  static_cast<void>(PunchHole(segment_.file_.get(), begin, end - begin));
}

bool ShmMemory::ClearWritten(Offset offset, uint64_t size_bytes) noexcept {
  HSHM_CHECK(offset <= shape_.region_bytes_);
  HSHM_CHECK(size_bytes <= shape_.region_bytes_ - offset);
  return HasDescriptor() && ClearWrittenPages(segment_.file_.get(), base_, offset, size_bytes);
}

bool ShmMemory::IsUnwritten(Offset offset, uint64_t size_bytes) noexcept {
  HSHM_CHECK(offset <= shape_.region_bytes_);
  HSHM_CHECK(size_bytes <= shape_.region_bytes_ - offset);
  return HasDescriptor() && HasNoWrittenPages(segment_.file_.get(), offset, size_bytes);
}

bool ShmMemory::Bind(Offset offset, uint64_t size_bytes, uint32_t node) noexcept {
  return BindRange(&placer_, *this, offset, size_bytes, node);
}

bool ShmMemory::HoldSlot(uint32_t slot) noexcept {
  HSHM_CHECK(slot < slots_.size());
  errno = FindDescriptor();
  if (errno != 0) return false;
  HeldByte mine;  // only the winner writes slots_[slot]
  errno = mine.Hold(segment_.file_.get(), slot);
  if (errno != 0) return false;
  slots_[slot] = std::move(mine);
  return true;
}

void ShmMemory::ReleaseSlot(uint32_t slot) noexcept {
  HSHM_CHECK(slot < slots_.size());
  // Out of the table first: the next holder may write there as soon as the byte is free.
  const HeldByte leaving = std::move(slots_[slot]);
}

bool ShmMemory::IsAlive(uint32_t slot) noexcept {
  HSHM_CHECK(slot < slots_.size());
  return !HasDescriptor() || ByteIsLocked(segment_.file_.get(), slot);
}

}  // namespace hshm::ipc
