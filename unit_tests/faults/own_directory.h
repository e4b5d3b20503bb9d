#ifndef HSHM_UNIT_TESTS_FAULTS_OWN_DIRECTORY_H_
#define HSHM_UNIT_TESTS_FAULTS_OWN_DIRECTORY_H_

#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <string>
#include <system_error>

#include "support/catch.h"

namespace hshm::test {

/** A directory in memory in which this process's segments lie, removed with all that is in it. */
class OwnDirectory {
 public:
  OwnDirectory() : owner_(getpid()), path_("/dev/shm/hshm_faults_test_" + std::to_string(owner_)) {
    REQUIRE(mkdir(path_.c_str(), 0700) == 0);
    setenv("HSHM_SHM_DIR", path_.c_str(), 1);
  }
  ~OwnDirectory() {
    if (getpid() != owner_) return;
    unsetenv("HSHM_SHM_DIR");
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  OwnDirectory(const OwnDirectory&) = delete;
  OwnDirectory& operator=(const OwnDirectory&) = delete;

  const std::string& path() const { return path_; }
  std::string File(const std::string& name) const { return path_ + "/" + name; }
  size_t Count() const {
    size_t count = 0;
    for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(path_)) ++count;
    return count;
  }

 private:
  pid_t owner_;
  std::string path_;
};

}  // namespace hshm::test

#endif  // HSHM_UNIT_TESTS_FAULTS_OWN_DIRECTORY_H_
