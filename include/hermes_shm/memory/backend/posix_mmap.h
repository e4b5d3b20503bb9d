#ifndef HSHM_MEMORY_BACKEND_POSIX_MMAP_H_
#define HSHM_MEMORY_BACKEND_POSIX_MMAP_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "hermes_shm/memory/backend/memory_backend.h"
#include "hermes_shm/memory/backend/segment_options.h"

namespace hshm::ipc {

struct PosixMmapOptions {
  /** A file is there to be kept, so nothing is replaced unless this is asked for. */
  IfExists if_exists_ = IfExists::kFail;
  /** Allows a size above what the file system has free: allocations then return null there. */
  bool allow_overcommit_ = false;
  /** Where the region is wanted in this process; elsewhere when something is there. */
  void* address_hint_ = nullptr;
  /** Capacity in bytes up to which the file grows; see PosixShmOptions. */
  uint64_t max_size_bytes_ = 0;
  /** For files in a tmpfs or a hugetlbfs. */
  HugePages huge_pages_ = HugePages::kNever;
  SegmentAccess access_ = SegmentAccess::kUser;
  /** Whether a core dump of this process has the segment's pages; see SegmentAttachOptions. */
  bool in_core_dumps_ = false;
};

using PosixMmapAttachOptions = SegmentAttachOptions;

/**
 * Mapped memory in one of two forms.
 *
 * Private: pages of this process alone, supplied as they are touched. What is given back really
 * goes back to the system and reads as zero afterwards. A forked child has its own copy of all of
 * it: what either does then, the other does not see.
 *
 * File-backed: a region in a file of any local file system, shared by all processes that attach, as
 * with PosixShmMmap (the same header, byte locks and errors), and persistent: after shm_detach(),
 * the death of all its processes or a restart of the machine the next one attaches and finds the
 * data. Who was in it then is dead, and what they left half done is repaired by the allocator as
 * after any death. shm_destroy() by the creator removes the file; shm_detach() and destruction keep
 * it.
 *
 * Not for files that processes on several machines have mapped: their memory is not one.
 */
class HSHM_API PosixMmap : public MemoryBackend {
 public:
  static constexpr MemoryBackendType kType = MemoryBackendType::kPosixMmap;

  PosixMmap() noexcept : MemoryBackend(kType) {}

  /**
   * A private region of `size` bytes, rounded up to whole pages. Huge ones, where asked for, are
   * transparent or from the system's pool (what is required from the pool if it has room, for then
   * it is sure); the pool's are all taken at once and not given back before the end, and a forked
   * child that writes to them needs as many again.
   * @throws Error kOutOfRange; kNoSpace when the system has no addresses for it, or no huge page
   * that is required; kUnsupported when it gives no huge pages and they are required
   */
  void shm_init(MemoryBackendId id, size_t size, HugePages huge_pages = HugePages::kNever);

  /**
   * Creates a file of `size` bytes, rounded up to whole pages, or one that grows from there to
   * options.max_size_bytes_. The file is sparse: only what was committed takes room. It appears
   * under `path` finished, in one step; the last part of the path has 1 to 200 bytes.
   * @throws Error kBadName, kOutOfRange, kNoSpace, kAlreadyExists, kIsSymlink, kNotRegularFile,
   * kNotOwner, kPermission, kFdLimit, kNotFound (the directory), kUnsupported (a file system that
   * cannot reserve memory, or give a file a name without replacing another), kSystem
   */
  void shm_init(MemoryBackendId id, size_t size, const std::string& path,
                const PosixMmapOptions& options = {});

  /**
   * Maps a file that was made by shm_init, at any time before.
   * @throws Error kBadName, kNotFound, kPermission, kIsSymlink, kFdLimit, kNotRegularFile,
   * kNotOwner, kUnsafeMode, the errors of CheckHeader, kSystem; in this order
   */
  void shm_attach(const std::string& path, const PosixMmapAttachOptions& options = {});

  /**
   * Returns when everything that was in the region at the call, and the file's name, are on the
   * storage device.
   *
   * The death of processes needs no Sync: the kernel keeps what they wrote. A crash of the machine
   * (power, kernel) does: then the file has what the last Sync saw, and of each page that was
   * changed since either that or some later state, in no order. So the region is sure to be whole
   * after a crash only if nobody changed anything in it between a Sync and the crash; after others,
   * run Check() of the allocator, and keep a copy of the file made while nobody was attached.
   * @throws Error kUnsupported for a private region, kNoSpace, kSystem
   */
  void Sync();
};
static_assert(Backend<PosixMmap>);

using PosixMmapBackend = PosixMmap;

}  // namespace hshm::ipc

#endif  // HSHM_MEMORY_BACKEND_POSIX_MMAP_H_
