#ifndef HSHM_UNIT_TESTS_SUPPORT_OWN_MOUNTS_H_
#define HSHM_UNIT_TESTS_SUPPORT_OWN_MOUNTS_H_

#include <sched.h>
#include <sys/mount.h>

namespace hshm::test {

/**
 * Gives the calling process, a child made for it, mounts of its own and puts an empty file system
 * of a kind that needs no device over `path`. `options` as in mount(8), "size=64m". False when this
 * user may not, or the system has no such.
 */
inline bool MountOwn(const char* kind, const char* path, const char* options) {
  if (unshare(CLONE_NEWNS) != 0 && unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) return false;
  if (mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return false;
  return mount(kind, path, kind, 0, options) == 0;
}

inline bool MountOwnTmpfs(const char* path, const char* options) {
  return MountOwn("tmpfs", path, options);
}

}  // namespace hshm::test

#endif  // HSHM_UNIT_TESTS_SUPPORT_OWN_MOUNTS_H_
