#ifndef HSHM_UNIT_TESTS_SUPPORT_OWN_DIRECTORY_H_
#define HSHM_UNIT_TESTS_SUPPORT_OWN_DIRECTORY_H_

#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <string>
#include <system_error>

#include "support/catch.h"

namespace hshm::test {

/** A new directory, removed with all that is in it by the process that made it. */
class OwnDirectory {
 public:
  OwnDirectory(const OwnDirectory&) = delete;
  OwnDirectory& operator=(const OwnDirectory&) = delete;

  const std::string& path() const { return path_; }
  std::string File(const std::string& name) const { return path_ + "/" + name; }
  /** Files in it, hidden ones too. */
  size_t Count() const {
    size_t count = 0;
    for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(path_)) ++count;
    return count;
  }

 protected:
  explicit OwnDirectory(const std::string& parent)
      : owner_(getpid()), path_(parent + "/hshm_unit_test_XXXXXX") {
    REQUIRE(mkdtemp(path_.data()) != nullptr);
  }
  ~OwnDirectory() {
    std::error_code ignored;
    if (IsOwner()) std::filesystem::remove_all(path_, ignored);
  }
  /** Not so in a forked child. */
  bool IsOwner() const { return getpid() == owner_; }

 private:
  pid_t owner_;
  std::string path_;
};

/** On the disk's file system. */
class DiskDirectory : public OwnDirectory {
 public:
  DiskDirectory() : OwnDirectory(Parent()) {}

 private:
  static std::string Parent() {
    const char* parent = std::getenv("TMPDIR");
    return parent != nullptr ? parent : "/tmp";
  }
};

/** In memory, and where this process's segments lie while it is there. */
class SegmentDirectory : public OwnDirectory {
 public:
  SegmentDirectory() : OwnDirectory("/dev/shm") { setenv("HSHM_SHM_DIR", path().c_str(), 1); }
  ~SegmentDirectory() {
    if (IsOwner()) unsetenv("HSHM_SHM_DIR");
  }
};

inline struct stat StatusOf(const std::string& path) {
  struct stat status = {};
  REQUIRE(lstat(path.c_str(), &status) == 0);
  return status;
}

}  // namespace hshm::test

#endif  // HSHM_UNIT_TESTS_SUPPORT_OWN_DIRECTORY_H_
