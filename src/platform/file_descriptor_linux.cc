#include "hermes_shm/platform/file_descriptor.h"

#include <unistd.h>

#include "hermes_shm/platform/cancellation.h"

namespace hshm {

void FileDescriptor::Close() noexcept {
  const NoCancellation no_cancellation;
  if (fd_ >= 0) close(fd_);  // not repeated on EINTR: the descriptor is gone all the same
  fd_ = -1;
}

}  // namespace hshm
