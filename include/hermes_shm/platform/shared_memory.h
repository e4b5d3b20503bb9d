#ifndef HSHM_PLATFORM_SHARED_MEMORY_H_
#define HSHM_PLATFORM_SHARED_MEMORY_H_

#include <cstdint>
#include <string>

#include "hermes_shm/base/macros.h"
#include "hermes_shm/platform/file_descriptor.h"

/**
 * Files whose pages several processes map. Functions return 0 or the errno of what failed, and
 * change nothing when they fail unless they say so; the backend makes the sentences.
 */
namespace hshm {

/** Where segments lie: the environment variable HSHM_SHM_DIR, or /dev/shm. An absolute path,
 * without a slash at the end. */
HSHM_API std::string SharedMemoryDirectory();

/** Which file it is, under any name and none. Not reused while any process has it open. */
struct FileIdentity {
  uint64_t device_ = 0;
  uint64_t inode_ = 0;
  friend constexpr bool operator==(const FileIdentity&, const FileIdentity&) = default;
};

struct FileStatus {
  FileIdentity identity_;
  uint64_t size_bytes_ = 0;       // as set, committed or not
  uint64_t committed_bytes_ = 0;  // what the file takes from its file system
  uint32_t user_id_ = 0;
  uint32_t group_id_ = 0;
  uint32_t mode_ = 0;   // permission bits alone
  uint32_t links_ = 0;  // 0: it has no name
  bool is_regular_ = false;
};

/**
 * A new empty file with mode 0600, whatever the umask, that no other process can see: it has no
 * name, and is gone with its last user unless PublishFile gives it one.
 * @return 0, ENOENT, EACCES, EMFILE, ENOSPC, EOPNOTSUPP or EISDIR when the file system cannot
 */
[[nodiscard]] HSHM_API int CreateUnnamedFile(const std::string& directory, FileDescriptor* file);

/** Gives an unnamed file its name, in one step. @return 0, EEXIST, ENOSYS when /proc is not mounted
 */
[[nodiscard]] HSHM_API int PublishFile(int fd, const std::string& path);

/** Opens for reading and writing. Never follows a link (ELOOP), never waits for a FIFO's other end.
 */
[[nodiscard]] HSHM_API int OpenFile(const std::string& path, FileDescriptor* file);

/**
 * A new empty file as CreateUnnamedFile makes it, but under a name, for file systems that know no
 * others. @return 0, EEXIST, ...
 */
[[nodiscard]] HSHM_API int CreateNamedFile(const std::string& path, FileDescriptor* file);

/** Gives a file another name, in one step, unless that is taken. @return 0, EEXIST, ENOENT, EINVAL
 * or ENOSYS when the file system cannot */
[[nodiscard]] HSHM_API int RenameFile(const std::string& from, const std::string& to);

/** Sets the permission bits. */
[[nodiscard]] HSHM_API int SetFileMode(int fd, uint32_t mode) noexcept;

[[nodiscard]] HSHM_API int UnlinkFile(const std::string& path);

[[nodiscard]] HSHM_API int StatusOfFile(int fd, FileStatus* status) noexcept;
[[nodiscard]] HSHM_API int StatusOfPath(const std::string& path, FileStatus* status);

/** Unit in which the file's memory is mapped, taken and given back: a huge page on hugetlbfs, a
 * page of the system everywhere else. @return 0 or the errno */
[[nodiscard]] HSHM_API int FilePageBytes(int fd, uint64_t* page_bytes) noexcept;

/** Sets the size; nothing is committed by it. @return 0, EFBIG above RLIMIT_FSIZE */
[[nodiscard]] HSHM_API int SetFileBytes(int fd, uint64_t size_bytes) noexcept;

enum class FileGrowth {
  kNone,      // the file keeps its size
  kToTheEnd,  // a file that ends before the range is made longer; it is never made shorter
};

/**
 * Takes room for [offset, offset + size_bytes) from the file system: after that touching it inside
 * the file's size cannot fail. What was there stays. Repeatable, by several processes at once;
 * after a failure a part may have been committed.
 * @return 0, ENOSPC, EFBIG above RLIMIT_FSIZE (no SIGXFSZ), EOPNOTSUPP when the file system cannot
 */
[[nodiscard]] HSHM_API int CommitFile(int fd, uint64_t offset, uint64_t size_bytes,
                                      FileGrowth growth = FileGrowth::kNone) noexcept;

/** Gives the whole pages inside the range back, for all processes at once; they read as zero. */
[[nodiscard]] HSHM_API int PunchHole(int fd, uint64_t offset, uint64_t size_bytes) noexcept;

/** True when nothing was written into any page that the range touches since the file was made, or
 * the page punched out. False, too, where the file system's word cannot be had or trusted. Keeps
 * errno. */
[[nodiscard]] HSHM_API bool HasNoWrittenPages(int fd, uint64_t offset,
                                              uint64_t size_bytes) noexcept;

/**
 * Makes a range of the file, which is mapped at base, zero. Pages that were committed and never
 * written are left untouched, but for some near those that were. Nobody else may write there
 * meanwhile. False, and nothing happened, where the file system's word cannot be trusted for what
 * is mapped. Keeps errno.
 */
[[nodiscard]] HSHM_API bool ClearWrittenPages(int fd, char* base, uint64_t offset,
                                              uint64_t size_bytes) noexcept;

/**
 * Maps the first size_bytes of the file, which may still be shorter, shared, for reading and
 * writing. `hint` is where it is wanted; it goes elsewhere when something is there, or the hint is
 * no multiple of `alignment`, a power of two.
 */
[[nodiscard]] HSHM_API int MapShared(int fd, uint64_t size_bytes, void* hint, char** base,
                                     uint64_t alignment = 1) noexcept;
/** Keeps mapped pages out of core dumps of this process. */
[[nodiscard]] HSHM_API int LeaveOutOfCoreDumps(char* base, uint64_t size_bytes) noexcept;

HSHM_API void UnmapShared(char* base, uint64_t size_bytes) noexcept;

/** Returns when what the mapping held at the call is on the storage of its file. */
[[nodiscard]] HSHM_API int SyncMapping(char* base, uint64_t size_bytes) noexcept;
/** Returns when the names in a directory are on its storage. */
[[nodiscard]] HSHM_API int SyncDirectory(const std::string& directory);

/** Room on the file system of a directory, for its user. Not limited when total_bytes_ is 0. */
struct FileSystemRoom {
  uint64_t free_bytes_ = 0;
  uint64_t total_bytes_ = 0;
};
[[nodiscard]] HSHM_API int RoomOf(const std::string& directory, FileSystemRoom* room);

/** The largest file that this process may write (RLIMIT_FSIZE); all ones when unlimited. */
HSHM_API uint64_t FileBytesLimit() noexcept;

}  // namespace hshm

#endif  // HSHM_PLATFORM_SHARED_MEMORY_H_
