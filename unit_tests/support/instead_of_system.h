#ifndef HSHM_UNIT_TESTS_SUPPORT_INSTEAD_OF_SYSTEM_H_
#define HSHM_UNIT_TESTS_SUPPORT_INSTEAD_OF_SYSTEM_H_

#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdarg>

/** The library finds this function of a test program before the system's. */
#define HSHM_TEST_INSTEAD extern "C" __attribute__((visibility("default")))

namespace hshm::test {

/** open() itself, for the one that stands before it: `rest` is what follows `flags`. */
inline int SystemOpen(const char* path, int flags, va_list rest) {
  const mode_t mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(rest, mode_t) : 0;
  return static_cast<int>(syscall(SYS_openat, AT_FDCWD, path, flags, mode));
}

}  // namespace hshm::test

#endif  // HSHM_UNIT_TESTS_SUPPORT_INSTEAD_OF_SYSTEM_H_
