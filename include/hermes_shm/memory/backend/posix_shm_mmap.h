#ifndef HSHM_MEMORY_BACKEND_POSIX_SHM_MMAP_H_
#define HSHM_MEMORY_BACKEND_POSIX_SHM_MMAP_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "hermes_shm/memory/backend/memory_backend.h"

namespace hshm::ipc {

/** What creating does with a segment of the same name that is there already. */
enum class IfExists {
  kReplaceDead,  // replaced when nobody lives in it, refused otherwise
  kFail,         // refused
};

struct PosixShmOptions {
  IfExists if_exists_ = IfExists::kReplaceDead;
  /** Allows a capacity above what the file system has free: allocations then return null there. */
  bool allow_overcommit_ = false;
  /** Where the region is wanted in this process; elsewhere when something is there. */
  void* address_hint_ = nullptr;
};

struct PosixShmAttachOptions {
  /** How long to wait for a creator or a replacer to finish, in milliseconds. */
  uint64_t timeout_ms_ = 1000;
  void* address_hint_ = nullptr;
};

/**
 * A region in POSIX shared memory: the segment `url` in $HSHM_SHM_DIR or /dev/shm, mapped whole by
 * every process, with memory committed as it is used.
 *
 * A segment is made in a file that has no name and gets its name, finished, in one step. Each
 * object holds a shared byte lock on it (kPresenceByte) and each allocator handle one on its slot;
 * the segment is dead when no byte is locked, whatever its pids say.
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
  static constexpr size_t kMaxNameBytes = 200;

  PosixShmMmap() noexcept : MemoryBackend(kType) {}

  /**
   * Creates a segment of `size` bytes, rounded up to whole pages; only its headers are committed.
   * Says on stderr when it replaced a dead segment, and when a control group's memory limit is
   * below the size. `url` has 1 to 200 bytes, no '/', and is not "." or "..".
   * @throws Error kBadName, kOutOfRange, kNoSpace, kAlreadyExists (naming who lives in it),
   * kIsSymlink, kNotRegularFile, kNotOwner, kPermission, kFdLimit, kNotFound (the directory),
   * kUnsupported (a file system without O_TMPFILE), kSystem
   */
  void shm_init(MemoryBackendId id, size_t size, const std::string& url,
                const PosixShmOptions& options = {});

  /**
   * Maps a segment that another process, dead or alive, has created.
   * @throws Error kBadName, kNotFound, kPermission, kIsSymlink, kFdLimit, kNotRegularFile,
   * kNotOwner, kUnsafeMode, the errors of CheckHeader, kStaleBoot, kSystem; in this order
   */
  void shm_attach(const std::string& url, const PosixShmAttachOptions& options = {});

  /**
   * Takes the name away, when it still leads to this segment: nobody can join any more, and the
   * memory goes with its last process. Repeatable. Members other than the creator may call it too.
   */
  void Unlink() noexcept;
};
static_assert(Backend<PosixShmMmap>);

}  // namespace hshm::ipc

#endif  // HSHM_MEMORY_BACKEND_POSIX_SHM_MMAP_H_
