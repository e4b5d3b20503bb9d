#include "hermes_shm/platform/shared_memory.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "hermes_shm/platform/page.h"
#include "support/catch.h"
#include "support/child_process.h"
#include "support/own_mounts.h"

using hshm::FileDescriptor;
using hshm::FileStatus;
using hshm::test::ChildProcess;

namespace {

constexpr uint64_t kMiB = uint64_t{1} << 20;
constexpr int kNotPermitted = 77;

/** A path of this test in the shared-memory directory; whatever is there goes at the end. */
class Path {
 public:
  explicit Path(const std::string& name)
      : text_(hshm::SharedMemoryDirectory() + "/hshm_unit_platform_" + std::to_string(getpid()) +
              "_" + name) {}
  ~Path() { unlink(text_.c_str()); }
  Path(const Path&) = delete;
  Path& operator=(const Path&) = delete;
  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

FileDescriptor Unnamed(uint64_t size_bytes) {
  FileDescriptor file;
  REQUIRE(hshm::CreateUnnamedFile(hshm::SharedMemoryDirectory(), &file) == 0);
  REQUIRE(hshm::SetFileBytes(file.get(), size_bytes) == 0);
  return file;
}

FileStatus StatusOf(const FileDescriptor& file) {
  FileStatus status;
  REQUIRE(hshm::StatusOfFile(file.get(), &status) == 0);
  return status;
}

}  // namespace

TEST_CASE("SharedMemoryDirectory is HSHM_SHM_DIR, absolute and without its slash, or /dev/shm") {
  ChildProcess child([] {
    unsetenv("HSHM_SHM_DIR");
    if (hshm::SharedMemoryDirectory() != "/dev/shm") return 1;
    setenv("HSHM_SHM_DIR", "", 1);
    if (hshm::SharedMemoryDirectory() != "/dev/shm") return 2;
    setenv("HSHM_SHM_DIR", "/tmp//", 1);
    if (hshm::SharedMemoryDirectory() != "/tmp") return 3;
    setenv("HSHM_SHM_DIR", "/", 1);
    if (hshm::SharedMemoryDirectory() != "/") return 4;
    if (chdir("/dev") != 0) return 5;
    setenv("HSHM_SHM_DIR", "shm/", 1);
    return hshm::SharedMemoryDirectory() == "/dev/shm" ? 0 : 6;
  });
  CHECK(child.Wait() == 0);
}

TEST_CASE("Pages that were committed and never written are known, those that were are, too") {
  const uint64_t page = hshm::SystemPageBytes();
  const FileDescriptor file = Unnamed(100 * page);
  CHECK(hshm::HasNoWrittenPages(file.get(), 0, 100 * page));
  REQUIRE(hshm::CommitFile(file.get(), 0, 50 * page) == 0);
  CHECK(hshm::HasNoWrittenPages(file.get(), 0, 100 * page));
  REQUIRE(pwrite(file.get(), "x", 1, static_cast<off_t>(20 * page)) == 1);
  CHECK_FALSE(hshm::HasNoWrittenPages(file.get(), 0, 100 * page));
  CHECK_FALSE(hshm::HasNoWrittenPages(file.get(), 20 * page, page));
  CHECK(hshm::HasNoWrittenPages(file.get(), 0, 20 * page));
  CHECK(hshm::HasNoWrittenPages(file.get(), 21 * page, 79 * page));
  REQUIRE(hshm::PunchHole(file.get(), 20 * page, page) == 0);
  CHECK(hshm::HasNoWrittenPages(file.get(), 0, 100 * page));
}

TEST_CASE("Of a file in no tmpfs, and of none, nothing is known") {
  const FileDescriptor program(open("/proc/self/exe", O_RDONLY | O_CLOEXEC));
  REQUIRE(program.IsOpen());
  struct statfs system = {};
  REQUIRE(fstatfs(program.get(), &system) == 0);
  errno = 7;
  if (system.f_type != TMPFS_MAGIC) {  // else somebody builds in a tmpfs
    CHECK_FALSE(hshm::HasNoWrittenPages(program.get(), uint64_t{1} << 40, 4096));
  }
  CHECK_FALSE(hshm::HasNoWrittenPages(-1, 0, 4096));
  CHECK(errno == 7);
}

TEST_CASE("A file has no name until it is published, and mode 0600 whatever the umask") {
  const Path path("publish");
  for (const mode_t mask : {0, 0777}) {
    const mode_t former = umask(mask);
    FileDescriptor file = Unnamed(kMiB);
    umask(former);
    FileStatus status = StatusOf(file);
    CHECK(status.mode_ == 0600);
    CHECK(status.links_ == 0);
    CHECK(status.is_regular_);
    CHECK(status.user_id_ == geteuid());
    CHECK(status.size_bytes_ == kMiB);
    CHECK(status.committed_bytes_ == 0);
    CHECK(access(path.text().c_str(), F_OK) != 0);

    REQUIRE(hshm::PublishFile(file.get(), path.text()) == 0);
    FileStatus named;
    REQUIRE(hshm::StatusOfPath(path.text(), &named) == 0);
    CHECK(named.identity_ == status.identity_);
    CHECK(named.links_ == 1);
    FileDescriptor second = Unnamed(kMiB);
    CHECK(hshm::PublishFile(second.get(), path.text()) == EEXIST);
    CHECK_FALSE(StatusOf(second).identity_ == status.identity_);
    CHECK(hshm::UnlinkFile(path.text()) == 0);
    CHECK(hshm::UnlinkFile(path.text()) == ENOENT);
  }
}

TEST_CASE("OpenFile follows no link, waits for no FIFO, and says what is missing") {
  const Path target("target");
  const Path link_path("link");
  const Path fifo("fifo");
  FileDescriptor file;
  CHECK(hshm::OpenFile(target.text(), &file) == ENOENT);
  REQUIRE(hshm::PublishFile(Unnamed(10).get(), target.text()) == 0);
  CHECK(hshm::OpenFile(target.text(), &file) == 0);
  CHECK(StatusOf(file).size_bytes_ == 10);
  REQUIRE(symlink(target.text().c_str(), link_path.text().c_str()) == 0);
  CHECK(hshm::OpenFile(link_path.text(), &file) == ELOOP);
  REQUIRE(mkfifo(fifo.text().c_str(), 0600) == 0);
  REQUIRE(hshm::OpenFile(fifo.text(), &file) == 0);
  CHECK_FALSE(StatusOf(file).is_regular_);
  CHECK(hshm::OpenFile(hshm::SharedMemoryDirectory(), &file) == EISDIR);
}

TEST_CASE("CommitFile takes room and keeps what was there; PunchHole gives it back") {
  FileDescriptor file = Unnamed(16 * kMiB);
  char* base = nullptr;
  REQUIRE(hshm::MapShared(file.get(), 16 * kMiB, nullptr, &base) == 0);
  REQUIRE(hshm::CommitFile(file.get(), kMiB, 5 * kMiB) == 0);
  CHECK(StatusOf(file).committed_bytes_ == 5 * kMiB);
  std::memset(base + kMiB, 7, 5 * kMiB);
  REQUIRE(hshm::CommitFile(file.get(), kMiB, 6 * kMiB) == 0);
  CHECK(StatusOf(file).committed_bytes_ == 6 * kMiB);
  CHECK(base[6 * kMiB - 1] == 7);
  REQUIRE(hshm::PunchHole(file.get(), 2 * kMiB, 3 * kMiB) == 0);
  CHECK(StatusOf(file).committed_bytes_ == 3 * kMiB);
  CHECK(base[2 * kMiB - 1] == 7);
  CHECK(base[2 * kMiB] == 0);
  CHECK(StatusOf(file).size_bytes_ == 16 * kMiB);
  hshm::UnmapShared(base, 16 * kMiB);
}

TEST_CASE("A limit on file sizes is an error and not a signal") {
  FileDescriptor file = Unnamed(4 * kMiB);
  ChildProcess child([&] {
    signal(SIGXFSZ, SIG_DFL);
    const rlimit limit = {2 * kMiB, 2 * kMiB};
    setrlimit(RLIMIT_FSIZE, &limit);
    if (hshm::FileBytesLimit() != 2 * kMiB) return 1;
    if (hshm::SetFileBytes(file.get(), 3 * kMiB) != EFBIG) return 2;
    if (hshm::CommitFile(file.get(), kMiB, kMiB + 1) != EFBIG) return 3;
    if (hshm::CommitFile(file.get(), ~uint64_t{0}, 2) != EFBIG) return 4;
    return hshm::CommitFile(file.get(), kMiB, kMiB);
  });
  CHECK(child.Wait() == 0);
}

TEST_CASE("CommitFile reports a full file system, and RoomOf how much there is") {
  ChildProcess child([] {
    if (!hshm::test::MountOwnTmpfs("/dev/shm", "size=1m")) return kNotPermitted;
    setenv("HSHM_SHM_DIR", "/dev/shm", 1);
    hshm::FileSystemRoom room;
    if (hshm::RoomOf(hshm::SharedMemoryDirectory(), &room) != 0) return 1;
    if (room.total_bytes_ != kMiB || room.free_bytes_ > kMiB) return 2;
    FileDescriptor file;
    if (hshm::CreateUnnamedFile(hshm::SharedMemoryDirectory(), &file) != 0) return 3;
    if (hshm::SetFileBytes(file.get(), 64 * kMiB) != 0) return 4;
    if (hshm::CommitFile(file.get(), 0, 2 * kMiB) != ENOSPC) return 5;
    return hshm::CommitFile(file.get(), 0, kMiB / 2);
  });
  const int status = child.Wait();
  if (status == kNotPermitted) {
    WARN("this user may not mount, so a full file system was not tried");
  } else {
    CHECK(status == 0);
  }
  hshm::FileSystemRoom room;
  CHECK(hshm::RoomOf("/nowhere/at/all", &room) == ENOENT);
}

TEST_CASE("CommitFile ends although signals come all the time") {
  FileDescriptor file = Unnamed(64 * kMiB);
  ChildProcess child([&] {
    struct sigaction handler = {};
    handler.sa_handler = [](int) {};
    sigaction(SIGALRM, &handler, nullptr);
    const itimerval every_ms = {{0, 1000}, {0, 1000}};
    setitimer(ITIMER_REAL, &every_ms, nullptr);
    return hshm::CommitFile(file.get(), 0, 64 * kMiB);
  });
  CHECK(child.Wait() == 0);
  CHECK(StatusOf(file).committed_bytes_ == 64 * kMiB);
}

TEST_CASE("MapShared shows the same bytes at every address") {
  FileDescriptor file = Unnamed(kMiB);
  char* first = nullptr;
  char* second = nullptr;
  REQUIRE(hshm::MapShared(file.get(), kMiB, nullptr, &first) == 0);
  REQUIRE(hshm::MapShared(file.get(), kMiB, first, &second) == 0);
  CHECK(first != second);
  first[100] = 'x';
  CHECK(second[100] == 'x');
  hshm::UnmapShared(first, kMiB);
  CHECK(second[100] == 'x');
  hshm::UnmapShared(second, kMiB);
  CHECK(hshm::MapShared(file.get(), 0, nullptr, &first) == EINVAL);
}
