#ifndef HSHM_UNIT_TESTS_BACKEND_TEST_SEGMENT_H_
#define HSHM_UNIT_TESTS_BACKEND_TEST_SEGMENT_H_

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <string>

#include "support/catch.h"

namespace hshm::ipc::test {

/** A name for a segment that no other test uses, and no segment of that name behind it. */
class TestSegment {
 public:
  TestSegment() : owner_(getpid()) {
    static int count = 0;
    url_ = "hshm_backend_test_" + std::to_string(owner_) + "_" + std::to_string(count++);
  }
  ~TestSegment() {
    if (getpid() != owner_) return;
    unlink(path().c_str());
    rmdir(path().c_str());
  }
  TestSegment(const TestSegment&) = delete;
  TestSegment& operator=(const TestSegment&) = delete;

  const std::string& url() const { return url_; }
  std::string path() const { return "/dev/shm/" + url_; }

  bool Exists() const {
    struct stat status;
    return lstat(path().c_str(), &status) == 0;
  }
  struct stat Status() const {
    struct stat status = {};
    REQUIRE(lstat(path().c_str(), &status) == 0);
    return status;
  }
  /** Replaces bytes of the file, which it makes when there is none. */
  void Write(off_t offset, const void* bytes, size_t count) const {
    const int fd = open(path().c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    REQUIRE(fd >= 0);
    REQUIRE(pwrite(fd, bytes, count, offset) == static_cast<ssize_t>(count));
    close(fd);
  }
  template <typename T>
  T Read(off_t offset) const {
    T value = {};
    const int fd = open(path().c_str(), O_RDONLY | O_CLOEXEC);
    REQUIRE(fd >= 0);
    REQUIRE(pread(fd, &value, sizeof(value), offset) == sizeof(value));
    close(fd);
    return value;
  }

 private:
  pid_t owner_;
  std::string url_;
};

}  // namespace hshm::ipc::test

#endif  // HSHM_UNIT_TESTS_BACKEND_TEST_SEGMENT_H_
