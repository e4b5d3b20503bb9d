#ifndef HSHM_UNIT_TESTS_SUPPORT_MEMORY_FILE_H_
#define HSHM_UNIT_TESTS_SUPPORT_MEMORY_FILE_H_

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>

namespace hshm::test {

/** A shared file without a name, zeroed, mapped twice at different addresses. */
class MemoryFile {
 public:
  explicit MemoryFile(uint64_t size_bytes)
      : size_bytes_(size_bytes), fd_(memfd_create("hshm_unit_test", MFD_CLOEXEC)) {
    if (fd_ < 0 || ftruncate(fd_, static_cast<off_t>(size_bytes)) != 0) std::abort();
    base_ = Map();
    other_base_ = Map();
  }
  ~MemoryFile() {
    munmap(base_, size_bytes_);
    munmap(other_base_, size_bytes_);
    close(fd_);
  }
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;

  int fd() const { return fd_; }
  uint64_t size_bytes() const { return size_bytes_; }
  char* base() const { return base_; }
  char* other_base() const { return other_base_; }

 private:
  char* Map() const {
    void* mapped = mmap(nullptr, size_bytes_, PROT_READ | PROT_WRITE, MAP_SHARED, fd_, 0);
    if (mapped == MAP_FAILED) std::abort();
    return static_cast<char*>(mapped);
  }

  uint64_t size_bytes_;
  int fd_;
  char* base_;
  char* other_base_;
};

}  // namespace hshm::test

#endif  // HSHM_UNIT_TESTS_SUPPORT_MEMORY_FILE_H_
