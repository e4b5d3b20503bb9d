#ifndef HSHM_SRC_MALLOC_KEEP_ERRNO_H_
#define HSHM_SRC_MALLOC_KEEP_ERRNO_H_

#include <cerrno>

namespace hshm::malloc_library {

/** errno stays for a scope what it is at its start: free() never changes it, and malloc() only
 * where it returns null, whatever the system was asked for. */
class KeepErrno {
 public:
  KeepErrno() noexcept : former_(errno) {}
  ~KeepErrno() { errno = former_; }
  KeepErrno(const KeepErrno&) = delete;
  KeepErrno& operator=(const KeepErrno&) = delete;

 private:
  int former_;
};

}  // namespace hshm::malloc_library

#endif  // HSHM_SRC_MALLOC_KEEP_ERRNO_H_
