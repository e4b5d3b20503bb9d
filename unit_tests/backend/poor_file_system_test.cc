#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "backend/child.h"
#include "backend/error_code.h"
#include "hermes_shm/memory/backend/posix_mmap.h"
#include "support/catch.h"
#include "support/instead_of_system.h"
#include "support/own_directory.h"

/**
 * File systems that can do less, made of one that can: some of the library's system calls come here
 * first. Parallel file systems and network ones know no unnamed files, some no hard links either.
 */
namespace {

struct Lacks {
  bool unnamed_files_ = false;
  bool hard_links_ = false;
  int renames_that_keep_ = 0;  // the errno of one
  bool reserving_ = false;
  bool dies_before_link_ = false;
} lacks;

}  // namespace

HSHM_TEST_INSTEAD int open(const char* path, int flags, ...) {
  if ((flags & O_TMPFILE) == O_TMPFILE && lacks.unnamed_files_) {
    errno = EOPNOTSUPP;
    return -1;
  }
  va_list rest;
  va_start(rest, flags);
  const int fd = hshm::test::SystemOpen(path, flags, rest);
  va_end(rest);
  return fd;
}

HSHM_TEST_INSTEAD int linkat(int from_fd, const char* from, int to_fd, const char* to,
                             int flags) noexcept {
  if (lacks.dies_before_link_) _exit(0);
  if (lacks.hard_links_) {
    errno = EPERM;
    return -1;
  }
  return static_cast<int>(syscall(SYS_linkat, from_fd, from, to_fd, to, flags));
}

HSHM_TEST_INSTEAD int renameat2(int from_fd, const char* from, int to_fd, const char* to,
                                unsigned flags) noexcept {
  if (lacks.renames_that_keep_ != 0) {
    errno = lacks.renames_that_keep_;
    return -1;
  }
  return static_cast<int>(syscall(SYS_renameat2, from_fd, from, to_fd, to, flags));
}

HSHM_TEST_INSTEAD int fallocate(int fd, int mode, off_t offset, off_t length) {
  if (lacks.reserving_) {
    errno = EOPNOTSUPP;
    return -1;
  }
  return static_cast<int>(syscall(SYS_fallocate, fd, mode, offset, length));
}

namespace hshm::ipc::test {
namespace {

using hshm::test::DiskDirectory;
using hshm::test::StatusOf;

constexpr size_t kBytes = 1 << 20;

/** Creates, attaches, refuses a second one and replaces it, and leaves one file. */
void UseFileSystem() {
  DiskDirectory directory;
  const std::string path = directory.File("heap");
  {
    PosixMmap creator;
    creator.shm_init(MemoryBackendId(1), kBytes, path);
    REQUIRE(directory.Count() == 1);
    REQUIRE(StatusOf(path).st_nlink == 1);
    REQUIRE((StatusOf(path).st_mode & 07777) == 0600);
    PosixMmap follower;
    follower.shm_attach(path);
    REQUIRE(CodeOf([&] { PosixMmap().shm_init(MemoryBackendId(2), kBytes, path); }) ==
            ErrorCode::kAlreadyExists);
    REQUIRE(directory.Count() == 1);
  }
  PosixMmap second;
  second.shm_init(MemoryBackendId(2), kBytes, path, {.if_exists_ = IfExists::kReplaceDead});
  REQUIRE(directory.Count() == 1);
  second.shm_destroy();
  REQUIRE(directory.Count() == 0);
}

struct Restore {
  ~Restore() { lacks = Lacks(); }
};

TEST_CASE("A file system without unnamed files gets files under hidden names first") {
  const Restore restore;
  lacks.unnamed_files_ = true;
  UseFileSystem();
}

TEST_CASE("A file system without hard links gets files by a rename that replaces nothing") {
  const Restore restore;
  lacks.unnamed_files_ = true;
  lacks.hard_links_ = true;
  UseFileSystem();
}

TEST_CASE("A file system that can name no file without replacing another is refused, cleanly") {
  const Restore restore;
  lacks.unnamed_files_ = lacks.hard_links_ = true;
  lacks.renames_that_keep_ = GENERATE(EINVAL, ENOSYS, EIO);
  DiskDirectory directory;
  const Thrown thrown =
      ThrownBy([&] { PosixMmap().shm_init(MemoryBackendId(1), kBytes, directory.File("heap")); });
  if (lacks.renames_that_keep_ == EIO) {
    REQUIRE(thrown.code_ == ErrorCode::kSystem);
    REQUIRE(thrown.Says("Naming the segment"));
  } else {
    REQUIRE(thrown.code_ == ErrorCode::kUnsupported);
    REQUIRE(thrown.Says("without replacing"));
  }
  REQUIRE(directory.Count() == 0);
}

TEST_CASE("A file system that cannot reserve memory is refused, cleanly") {
  const Restore restore;
  lacks.reserving_ = true;
  DiskDirectory directory;
  const Thrown thrown =
      ThrownBy([&] { PosixMmap().shm_init(MemoryBackendId(1), kBytes, directory.File("heap")); });
  REQUIRE(thrown.code_ == ErrorCode::kUnsupported);
  REQUIRE(thrown.Says("fallocate"));
  REQUIRE(directory.Count() == 0);
}

TEST_CASE("What a killed creator has left under a hidden name goes with the next creation") {
  const Restore restore;
  lacks.unnamed_files_ = true;
  DiskDirectory directory;
  REQUIRE(RunInChild([&] {
            lacks.dies_before_link_ = true;
            PosixMmap().shm_init(MemoryBackendId(1), kBytes, directory.File("heap"));
            return 1;
          }) == 0);
  REQUIRE(directory.Count() == 1);
  REQUIRE(CodeOf([&] { PosixMmap().shm_attach(directory.File("heap")); }) == ErrorCode::kNotFound);
  PosixMmap backend;
  backend.shm_init(MemoryBackendId(1), kBytes, directory.File("heap"));
  REQUIRE(directory.Count() == 1);
  REQUIRE(StatusOf(directory.File("heap")).st_nlink == 1);
}

TEST_CASE("A user's own files stay, however much their names look like those of dead creators") {
  const Restore restore;
  lacks.unnamed_files_ = true;
  DiskDirectory directory;
  const std::vector<std::string> names = {".heap.new",        ".heap.notes.new", ".heap.-1.new",
                                          ".heap.12-.new",    ".heap.12-ag.new", ".heap.12-3-4.new",
                                          ".heap.12-3.new.x", ".other.12-3.new", ".heap.12-ab.new"};
  for (const std::string& name : names)
    std::ofstream(directory.File(name)) << "the user's own text";
  std::ofstream(directory.File(".heap.1f-2a.new")).flush();  // a creator that had only begun
  PosixMmap backend;
  backend.shm_init(MemoryBackendId(1), kBytes, directory.File("heap"));
  for (const std::string& name : names) {
    INFO(name);
    REQUIRE(std::filesystem::exists(directory.File(name)));
  }
  REQUIRE_FALSE(std::filesystem::exists(directory.File(".heap.1f-2a.new")));
  REQUIRE(directory.Count() == names.size() + 1);
}

}  // namespace
}  // namespace hshm::ipc::test
