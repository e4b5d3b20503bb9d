#ifndef HSHM_PLATFORM_FILE_DESCRIPTOR_H_
#define HSHM_PLATFORM_FILE_DESCRIPTOR_H_

#include <utility>

#include "hermes_shm/base/macros.h"

namespace hshm {

/** Owns an open file and closes it. */
class HSHM_API FileDescriptor {
 public:
  FileDescriptor() = default;
  explicit FileDescriptor(int fd) noexcept : fd_(fd) {}
  ~FileDescriptor() { Close(); }
  FileDescriptor(FileDescriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  FileDescriptor& operator=(FileDescriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  FileDescriptor(const FileDescriptor&) = delete;
  FileDescriptor& operator=(const FileDescriptor&) = delete;

  bool IsOpen() const noexcept { return fd_ >= 0; }
  /** -1 when none is open. */
  int get() const noexcept { return fd_; }
  void Close() noexcept;

 private:
  int fd_ = -1;
};

}  // namespace hshm

#endif  // HSHM_PLATFORM_FILE_DESCRIPTOR_H_
