#ifndef HSHM_MEMORY_BACKEND_POSIX_SHM_MMAP_H_
#define HSHM_MEMORY_BACKEND_POSIX_SHM_MMAP_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "hermes_shm/memory/backend/memory_backend.h"
#include "hermes_shm/memory/backend/segment_options.h"

namespace hshm::ipc {

/** Under which name other processes find a segment. */
enum class Naming {
  kNamed,  // its url, in the shared-memory directory
  /**
   * None: a sealed file in memory, its url a label for messages. Nobody can make it shorter,
   * nothing is left of it however its processes end, and it lies in no file system, so that the
   * size of /dev/shm does not matter. Others attach by GetUrl() of a process that has it.
   */
  kUnnamed,
};

struct PosixShmOptions {
  IfExists if_exists_ = IfExists::kReplaceDead;
  /** Allows a capacity above what the file system has free: allocations then return null there. */
  bool allow_overcommit_ = false;
  /** Where the region is wanted in this process; elsewhere when something is there. */
  void* address_hint_ = nullptr;
  /**
   * Capacity in bytes up to which the segment grows while processes are in it; 0: `size`, so that
   * it does not. Every process maps the whole capacity once. Only `size` needs to be free at
   * creation.
   */
  uint64_t max_size_bytes_ = 0;
  /** Needs kUnnamed, or a tmpfs mounted with huge=advise, or a hugetlbfs, as HSHM_SHM_DIR. */
  HugePages huge_pages_ = HugePages::kNever;
  Naming naming_ = Naming::kNamed;
  /** Needs a name: a segment without one is opened by way of its process's descriptors, which the
   * system keeps from other users. */
  SegmentAccess access_ = SegmentAccess::kUser;
  /** Whether a core dump of this process has the segment's pages; see SegmentAttachOptions. */
  bool in_core_dumps_ = false;
};

using PosixShmAttachOptions = SegmentAttachOptions;

/**
 * A region in POSIX shared memory: the segment `url` in $HSHM_SHM_DIR or /dev/shm, mapped whole by
 * every process, with memory committed as it is used.
 *
 * A segment is made in a file that has no name (or, where the file system knows no such, a hidden
 * one) and gets its name, finished, in one step. Each object holds a shared byte lock on it
 * (kPresenceByte) and each allocator handle one on its slot; the segment is dead when no byte is
 * locked, whatever its pids say.
 *
 * A segment with a max_size_bytes_ starts with a short file, which Commit makes longer:
 * Invariant  The header's grown_bytes_ <= the file's size <= the capacity; nothing beyond
 *            grown_bytes_ is in use. So a file shorter than grown_bytes_ was cut from outside.
 * Ordering   The file is longer before grown_bytes_ says so. Who attaches copies the header first
 *            and asks for the file's size afterwards.
 * ABA        None: both only rise; the kernel takes the maximum of what several ask for.
 * Crash      Between the two the file is longer than anybody uses: the next Commit goes on from it.
 *
 * Replacing a dead segment, and attaching meanwhile:
 * Invariant  Only who holds the presence byte of a file exclusively, or is a member of it and holds
 *            its naming byte, unlinks the name while it leads to that file.
 * Ordering   A replacer locks the presence byte of the old file, looks for slot locks, checks that
 *            the name still leads to this file, unlinks it, links its own. Who attaches locks the
 *            presence byte shared, then checks that the file still has a name; else begins anew.
 * ABA        A file that is open keeps its inode number, so "still this file" cannot be wrong.
 * Crash      Before the unlink: nothing happened. After it: the name is free. Of two replacers one
 *            gets the byte; the other begins anew and meets the new segment.
 */
class HSHM_API PosixShmMmap : public MemoryBackend {
 public:
  static constexpr MemoryBackendType kType = MemoryBackendType::kPosixShmMmap;
  static constexpr uint64_t kPresenceByte = uint64_t{1} << 40;
  static constexpr uint64_t kNamingByte = kPresenceByte + 1;
  static constexpr size_t kMaxNameBytes = 200;  // room for what stands around it in hidden names

  PosixShmMmap() noexcept : MemoryBackend(kType) {}

  /**
   * Creates a segment of `size` bytes, rounded up to whole pages, or one that grows from there to
   * options.max_size_bytes_; only its headers are committed.
   * Says on stderr when it replaced a dead segment, and when a control group's memory limit is
   * below the size. `url` has 1 to 200 bytes, no '/', and is not "." or "..".
   * @throws Error kBadName, kOutOfRange, kNoSpace, kAlreadyExists (naming who lives in it),
   * kIsSymlink, kNotRegularFile, kNotOwner, kPermission, kFdLimit, kNotFound (the directory),
   * kUnsupported (a file system that cannot reserve memory, a group's segment without a name),
   * kSystem
   */
  void shm_init(MemoryBackendId id, size_t size, const std::string& url,
                const PosixShmOptions& options = {});

  /**
   * Maps a segment that another process, dead or alive, has created; an unnamed one by GetUrl() of
   * a living process of the same container that has it, else kNotFound.
   * @throws Error kBadName, kNotFound, kPermission, kIsSymlink, kFdLimit, kNotRegularFile,
   * kNotOwner, kUnsafeMode, the errors of CheckHeader, kStaleBoot, kSystem; in this order
   */
  void shm_attach(const std::string& url, const PosixShmAttachOptions& options = {});
};
static_assert(Backend<PosixShmMmap>);

}  // namespace hshm::ipc

#endif  // HSHM_MEMORY_BACKEND_POSIX_SHM_MMAP_H_
