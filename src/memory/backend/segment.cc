#include "memory/backend/segment.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <utility>

#include "hermes_shm/base/bits.h"
#include "hermes_shm/base/error.h"
#include "hermes_shm/memory/backend/header_rules.h"
#include "hermes_shm/platform/futex.h"
#include "hermes_shm/platform/huge_pages.h"
#include "hermes_shm/platform/memory_file.h"
#include "hermes_shm/platform/memory_limit.h"
#include "hermes_shm/platform/page.h"
#include "hermes_shm/platform/process.h"
#include "memory/backend/new_file.h"
#include "memory/backend/page_choice.h"
#include "memory/backend/segment_file.h"

namespace hshm::ipc {
namespace {

/** How long a creator waits for another that is replacing the same name, and may be stopped. */
constexpr uint64_t kReplaceTimeoutUs = 5 * 1000 * 1000;

/** A year: longer waits would not fit into microseconds. */
constexpr uint64_t kLongestTimeoutMs = uint64_t{365} * 24 * 3600 * 1000;

/** The region's header, its slots, and the first page of an allocator's header. */
uint64_t FirstCommitBytes(const SegmentShape& shape) {
  const uint64_t headers = AllocatorOffsetFor(shape.region_bytes_) + kBackendHeaderBytes;
  return std::min(bits::AlignUp(headers, shape.page_bytes_), shape.region_bytes_);
}

struct Room {
  std::string place_;
  FileSystemRoom bytes_;
};

/** Where the segment would lie; total_bytes_ is 0 where it is not known or has no limit. */
Room RoomFor(const NewSegment& wanted) {
  Room room;
  if (wanted.is_unnamed_) {
    const MachineMemory memory = MemoryOfMachine();
    room.place_ = "this machine's memory";
    room.bytes_ = {memory.available_bytes_, memory.total_bytes_};
    return room;
  }
  room.place_ = DirectoryOf(wanted.path_);
  const int error = RoomOf(room.place_, &room.bytes_);
  if (error != 0) throw FileError("Looking at " + room.place_, error);
  return room;
}

std::string AdviceOnRoom(const NewSegment& wanted) {
  if (wanted.is_unnamed_) return "ask for less.";
  if (wanted.type_ != MemoryBackendType::kPosixShmMmap) {
    return "ask for less, or choose a file system with more room.";
  }
  return "run the container with --shm-size=" + std::to_string((wanted.size_bytes_ >> 30) + 1) +
         "g, ask for less, or set HSHM_SHM_DIR to a larger tmpfs.";
}

Error NoRoom(const NewSegment& wanted, const Room& room) {
  return Error(ErrorCode::kNoSpace, room.place_ + " has " + HumanBytes(room.bytes_.free_bytes_) +
                                        " free of " + HumanBytes(room.bytes_.total_bytes_) + ", " +
                                        HumanBytes(wanted.size_bytes_) +
                                        " was asked for: " + AdviceOnRoom(wanted));
}

/** A hugetlbfs takes its pages from the pool of their size. */
Error NoHugePages(const NewSegment& wanted, uint64_t page_bytes) {
  return Error(ErrorCode::kNoSpace, "The pool of huge pages of " + HumanBytes(page_bytes) +
                                        " has " + HumanBytes(FreePoolBytes(page_bytes)) +
                                        " free, " + HumanBytes(wanted.size_bytes_) +
                                        " was asked for: write a larger number to nr_hugepages in "
                                        "/sys/kernel/mm/hugepages, or ask for less.");
}

void CheckRoom(const NewSegment& wanted, const PageReport& pages) {
  if (wanted.allow_overcommit_) return;
  if (pages.kind_ == PageKind::kHugePool && wanted.size_bytes_ > FreePoolBytes(pages.page_bytes_)) {
    throw NoHugePages(wanted, pages.page_bytes_);
  }
  const Room room = RoomFor(wanted);
  if (room.bytes_.total_bytes_ != 0 && wanted.size_bytes_ > room.bytes_.free_bytes_) {
    throw NoRoom(wanted, room);
  }
}

/** Files that lie on a disk count as cache, which the system drops instead of killing. */
void WarnOfMemoryLimit(const std::string& path, uint64_t region_bytes) {
  const uint64_t limit = MemoryLimitBytes();
  if (limit >= region_bytes) return;
  std::fprintf(stderr,
               "hshm: the control group allows %s of memory, the segment %s may grow to %s: a "
               "process that goes beyond is killed, not refused.\n",
               HumanBytes(limit).c_str(), path.c_str(), HumanBytes(region_bytes).c_str());
}

/** `wanted` is a NewSegment or an ExistingSegment. */
template <typename Wanted>
std::unique_ptr<ShmMemory> MapSegment(SegmentFile segment, const SegmentShape& shape,
                                      const Wanted& wanted) {
  auto memory = std::make_unique<ShmMemory>(std::move(segment), shape);
  const int error = memory->Map(wanted.address_hint_, wanted.in_core_dumps_);
  if (error == 0) return memory;
  throw Error(ErrorCode::kSystem,
              "Mapping " + HumanBytes(shape.region_bytes_) + " of " + memory->path() +
                  " failed: raise the limit of the address space (ulimit -v) or ask for less.",
              error);
}

/** @throws Error kUnsupported */
void CheckAccess(const NewSegment& wanted) {
  if (!wanted.is_unnamed_ || wanted.access_ == SegmentAccess::kUser) return;
  throw Error(ErrorCode::kUnsupported,
              "A segment without a name was asked for with access_ = kGroup: the system keeps a "
              "process's descriptors from other users; give the segment a name (kNamed).");
}

/** @throws Error kOutOfRange */
void CheckSizes(const NewSegment& wanted) {
  CheckRegionSize(wanted.size_bytes_);
  if (wanted.max_size_bytes_ == 0) return;
  CheckRegionSize(wanted.max_size_bytes_);
  if (wanted.max_size_bytes_ >= wanted.size_bytes_) return;
  throw Error(ErrorCode::kOutOfRange,
              "A segment of " + HumanBytes(wanted.size_bytes_) + " that grows to " +
                  HumanBytes(wanted.max_size_bytes_) +
                  " was asked for: max_size_bytes_ must be 0 or at least the size.");
}

/** In which memory is taken and given back: transparent huge pages may come in parts. */
uint64_t UnitOf(const PageReport& pages) {
  return pages.kind_ == PageKind::kHugePool ? pages.page_bytes_ : SystemPageBytes();
}

/**
 * A file that nobody may resize has its whole size at once, and so has one with transparent huge
 * pages: making it longer by fallocate would put a small page at each end of the way.
 */
SegmentShape ShapeOf(const NewSegment& wanted, PageReport pages) {
  SegmentShape shape;
  const uint64_t capacity = std::max(wanted.size_bytes_, wanted.max_size_bytes_);
  shape.page_bytes_ = UnitOf(pages);
  shape.region_bytes_ = bits::AlignUp(capacity, pages.page_bytes_);
  shape.pages_ = std::move(pages);
  shape.is_growing_ =
      capacity > wanted.size_bytes_ && !wanted.is_unnamed_ && !shape.HasTransparentPages();
  return shape;
}

/** @return the new file's size in bytes */
uint64_t GiveSize(const NewSegment& wanted, const SegmentShape& shape, int fd) {
  uint64_t file_bytes = shape.region_bytes_;
  if (shape.is_growing_) {
    file_bytes =
        bits::AlignUp(std::max(wanted.size_bytes_, FirstCommitBytes(shape)), shape.page_bytes_);
    file_bytes = std::min(file_bytes, shape.region_bytes_);
  }
  int error = SetFileBytes(fd, file_bytes);
  if (error == 0 && wanted.is_unnamed_) error = SealFileSize(fd);
  if (error == 0) return file_bytes;
  throw FileError("Giving " + wanted.path_ + " " + HumanBytes(file_bytes), error);
}

/** Before anything is touched: a page that the system has no room for would be SIGBUS. */
void TakeFirstMemory(const NewSegment& wanted, const SegmentShape& shape, ShmMemory* memory) {
  if (shape.HasTransparentPages()) {
    CheckFirstHugePage(wanted.huge_pages_, memory->base(), shape.pages_.page_bytes_, wanted.path_);
  }
  errno = 0;
  if (memory->Commit(0, FirstCommitBytes(shape))) return;
  const int error = errno;
  if (shape.pages_.kind_ == PageKind::kHugePool) throw NoHugePages(wanted, shape.page_bytes_);
  if (error == ENOSPC || error == EFAULT) throw NoRoom(wanted, RoomFor(wanted));
  throw FileError("Taking memory for " + wanted.path_, error);
}

/** A finished region in a file that nobody finds, and this process present in it. */
std::unique_ptr<ShmMemory> MakeUnseen(const NewSegment& wanted, HiddenName* hidden) {
  SegmentFile segment =
      wanted.is_unnamed_ ? MakeUnnamedFile(wanted.url_) : MakeFile(wanted.path_, hidden);
  segment.url_ = wanted.url_;
  const int fd = segment.file_.get();
  PageReport pages = ChooseFilePages(wanted.huge_pages_, fd, wanted.is_unnamed_, segment.path_);
  CheckRoom(wanted, pages);
  const SegmentShape shape = ShapeOf(wanted, std::move(pages));
  const uint64_t file_bytes = GiveSize(wanted, shape, fd);
  std::unique_ptr<ShmMemory> memory = MapSegment(std::move(segment), shape, wanted);
  TakeFirstMemory(wanted, shape, memory.get());
  auto* header = reinterpret_cast<BackendHeader*>(memory->base());
  const uint32_t flags = (shape.is_growing_ ? uint32_t{kGrowingFile} : 0) |
                         (shape.HasTransparentPages() ? uint32_t{kHugePages} : 0);
  FillHeader(header, wanted.type_, wanted.id_, shape.region_bytes_, flags, file_bytes);
  header->ready_.store(1, std::memory_order_release);  // pairs with CheckHeader
  if (wanted.access_ != SegmentAccess::kUser) {
    const int error = SetFileMode(fd, ModeFor(wanted.access_));
    if (error != 0) throw FileError("Opening " + wanted.path_ + " to the group", error);
  }
  return memory;
}

Removal RemoveDead(const NewSegment& wanted, std::string* dead_creator) {
  return RemoveDeadSegment(wanted.path_, wanted.if_exists_, wanted.access_, dead_creator);
}

/** Gives the segment its name; whoever has died under that name since is replaced. */
void PublishSegment(const NewSegment& wanted, const SegmentFile& segment, HiddenName* hidden,
                    std::string* dead_creator) {
  const uint64_t deadline_us = MonotonicUs() + kReplaceTimeoutUs;
  for (;;) {
    const int error = NameFile(segment, hidden);
    if (error == 0) return;
    if (hidden->IsNeeded() && (error == EINVAL || error == ENOSYS)) {
      throw Error(ErrorCode::kUnsupported,
                  "The file system of " + segment.path_ +
                      " cannot give a file its name without replacing another: use a tmpfs, ext4, "
                      "xfs or btrfs.",
                  error);
    }
    if (error != EEXIST) throw FileError("Naming the segment " + segment.path_, error);
    if (RemoveDead(wanted, dead_creator) != Removal::kTryAgain) continue;
    if (MonotonicUs() >= deadline_us) {
      throw Error(ErrorCode::kAlreadyExists,
                  "Another process has been replacing " + segment.path_ +
                      " for 5 seconds, perhaps stopped in it: end it, or choose another name.");
    }
    PauseBeforeRetry();
  }
}

/** Where the creator, or this process, could not read the id (no descriptor was left), nothing is
 * known: a segment is refused only for an id that is another. */
void CheckBoot(const BackendHeader& copy, const std::string& path) {
  const std::string boot_id = BootId();
  const std::string made_in(copy.boot_id_, strnlen(copy.boot_id_, sizeof(copy.boot_id_)));
  if (boot_id.empty() || made_in.empty() || boot_id == made_in) return;
  throw Error(ErrorCode::kStaleBoot,
              path + " is from before the last start of this machine: create it again.");
}

/** CheckHeader on a private copy, again until the segment is published or the time is over. */
SegmentShape CheckSegment(const ExistingSegment& wanted, const SegmentFile& segment,
                          uint64_t deadline_us) {
  const int fd = segment.file_.get();
  for (;;) {
    BackendHeader copy;
    int error = CopyHeader(fd, &copy);
    if (error != 0) throw FileError("Reading the header of " + segment.path_, error);
    // Pairs with NoteGrowth: the file is at least as long as the copy says.
    std::atomic_thread_fence(std::memory_order_acquire);
    FileStatus status;
    error = StatusOfFile(fd, &status);
    if (error != 0) throw FileError("Looking at the segment " + segment.path_, error);
    try {
      CheckHeader(copy, wanted.type_, status.size_bytes_, segment.path_);
    } catch (const Error& refused) {
      if (refused.code() != ErrorCode::kNotReady || MonotonicUs() >= deadline_us) throw;
      PauseBeforeRetry();
      continue;
    }
    if (!wanted.is_persistent_) CheckBoot(copy, segment.path_);
    SegmentShape shape;
    shape.region_bytes_ = copy.region_bytes_;
    shape.pages_ = FoundFilePages((copy.flags_ & kHugePages) != 0, fd, segment.path_);
    shape.page_bytes_ = UnitOf(shape.pages_);
    shape.is_growing_ = (copy.flags_ & kGrowingFile) != 0;
    return shape;
  }
}

}  // namespace

std::unique_ptr<ShmMemory> CreateSegment(const NewSegment& wanted) {
  CheckSizes(wanted);
  CheckAccess(wanted);
  std::string dead_creator;
  // First, because the memory of a dead segment may be what the new one needs.
  if (!wanted.is_unnamed_) RemoveDead(wanted, &dead_creator);
  HiddenName hidden;
  std::unique_ptr<ShmMemory> made = MakeUnseen(wanted, &hidden);
  if (!wanted.is_unnamed_) {
    PublishSegment(wanted, made->segment(), &hidden, &dead_creator);
  }
  if (!dead_creator.empty()) {
    std::fprintf(stderr, "hshm: replaced the stale segment %s of %s: nobody lives in it.\n",
                 wanted.path_.c_str(), dead_creator.c_str());
  }
  if (wanted.type_ == MemoryBackendType::kPosixShmMmap) {
    WarnOfMemoryLimit(wanted.path_, made->size_bytes());
  }
  return made;
}

std::unique_ptr<ShmMemory> AttachSegment(const ExistingSegment& wanted) {
  const uint64_t timeout_ms = std::min(wanted.timeout_ms_, kLongestTimeoutMs);
  const uint64_t deadline_us = MonotonicUs() + timeout_ms * 1000;
  SegmentFile segment = wanted.unnamed_.has_value()
                            ? JoinUnnamedFile(*wanted.unnamed_)
                            : JoinSegmentFile(wanted.path_, wanted.access_, deadline_us);
  segment.url_ = wanted.url_;
  const SegmentShape shape = CheckSegment(wanted, segment, deadline_us);
  return MapSegment(std::move(segment), shape, wanted);
}

}  // namespace hshm::ipc
