#ifndef HSHM_UNIT_TESTS_BACKEND_TEST_FILE_H_
#define HSHM_UNIT_TESTS_BACKEND_TEST_FILE_H_

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <string>
#include <system_error>

#include "support/catch.h"

namespace hshm::ipc::test {

/** A directory of this test's own on the disk's file system, removed with all that is in it. */
class TestDirectory {
 public:
  TestDirectory() : owner_(getpid()) {
    const char* parent = std::getenv("TMPDIR");
    path_ = std::string(parent != nullptr ? parent : "/tmp") + "/hshm_backend_test_XXXXXX";
    REQUIRE(mkdtemp(path_.data()) != nullptr);
  }
  ~TestDirectory() {
    std::error_code ignored;
    if (getpid() == owner_) std::filesystem::remove_all(path_, ignored);
  }
  TestDirectory(const TestDirectory&) = delete;
  TestDirectory& operator=(const TestDirectory&) = delete;

  const std::string& path() const { return path_; }
  std::string File(const std::string& name) const { return path_ + "/" + name; }
  /** Files in it, hidden ones too. */
  size_t Count() const {
    size_t count = 0;
    for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(path_)) ++count;
    return count;
  }

 private:
  pid_t owner_;
  std::string path_;
};

inline struct stat StatusOf(const std::string& path) {
  struct stat status = {};
  REQUIRE(lstat(path.c_str(), &status) == 0);
  return status;
}

}  // namespace hshm::ipc::test

#endif  // HSHM_UNIT_TESTS_BACKEND_TEST_FILE_H_
