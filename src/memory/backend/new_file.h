#ifndef HSHM_SRC_MEMORY_BACKEND_NEW_FILE_H_
#define HSHM_SRC_MEMORY_BACKEND_NEW_FILE_H_

#include <string>

#include "memory/backend/shm_memory.h"

/** Files that become segments: nobody finds them before they are finished. */
namespace hshm::ipc {

/** A file's hidden name, on file systems that know no files without one. Taken away at the end. */
class HiddenName {
 public:
  HiddenName() = default;
  ~HiddenName() { Remove(); }
  HiddenName(const HiddenName&) = delete;
  HiddenName& operator=(const HiddenName&) = delete;

  const std::string& path() const noexcept { return path_; }
  bool IsNeeded() const noexcept { return !path_.empty(); }
  void Set(const std::string& path) { path_ = path; }
  void Forget() noexcept { path_.clear(); }
  void Remove() noexcept;

 private:
  std::string path_;
};

/** The directory of a path: what stands in front of the last '/', or ".". */
std::string DirectoryOf(const std::string& path);

/**
 * A new empty file that will get the name `path`, with this process present in it. It lies in the
 * same directory without a name, or else under the hidden one ".NAME.PID-TIME.new"; those that dead
 * creators have left for this path are removed then.
 * @throws Error as FileError says
 */
SegmentFile MakeFile(const std::string& path, HiddenName* hidden);

/** Gives the file its name, in one step. @return 0, EEXIST; EINVAL or ENOSYS when the file system
 * can do so neither by a link nor by a rename that replaces nothing */
int NameFile(const SegmentFile& segment, HiddenName* hidden);

}  // namespace hshm::ipc

#endif  // HSHM_SRC_MEMORY_BACKEND_NEW_FILE_H_
