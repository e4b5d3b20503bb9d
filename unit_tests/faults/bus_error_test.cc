/** What a process says when it dies because a file under its feet was cut. */
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <string>

#include "hermes_shm/memory/backend/posix_shm_mmap.h"
#include "hermes_shm/platform/bus_error_report.h"
#include "support/catch.h"
#include "support/child_process.h"
#include "support/own_directory.h"
#include "support/own_mounts.h"
#include "support/skip.h"

namespace hshm::ipc::test {
namespace {

using hshm::test::Ending;
using hshm::test::SegmentDirectory;

constexpr size_t kBytes = 1 << 20;
constexpr size_t kLeft = 8192;
constexpr size_t kTouched = 73728;

template <typename Body>
Ending Die(Body body) {
  return hshm::test::RunInChild([&] {
    const rlimit no_core = {0, 0};
    setrlimit(RLIMIT_CORE, &no_core);
    signal(SIGBUS, SIG_DFL);
    body();
  });
}

/** Makes a segment, lets another process cut it, and touches what was cut away. */
void TouchCutSegment(const SegmentDirectory& directory) {
  PosixShmMmap backend;
  backend.shm_init(MemoryBackendId(1), kBytes, "heap");
  if (!backend.region().services_->Commit(0, kBytes)) std::abort();
  hshm::test::ChildProcess peer([&] { return truncate(directory.File("heap").c_str(), kLeft); });
  if (peer.Wait() != 0) std::abort();
  backend.region().base_[kTouched] = 1;
}

/** Maps a file of one page and touches the page behind its end. */
void TouchBehindFile(const std::string& path, int flags) {
  const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0 || ftruncate(fd, 4096) != 0) std::abort();
  auto* const mapped =
      static_cast<volatile char*>(mmap(nullptr, 2 * 4096, PROT_READ | PROT_WRITE, flags, fd, 0));
  mapped[4096] = 1;
}

TEST_CASE("A process that dies of a segment that was cut says which, where, and what is left") {
  const SegmentDirectory directory;
  const Ending ending = Die([&] {
    if (ReportBusErrors() != 0 || ReportBusErrors() != 0) std::abort();
    TouchCutSegment(directory);
  });
  REQUIRE(ending.status_ == -SIGBUS);
  REQUIRE(ending.errors_ == "hshm: SIGBUS: this process dies because it touched byte 73728 of " +
                                directory.File("heap") +
                                ". The file has 8192 bytes: another process has made it shorter. "
                                "Create the segment again; one without a name cannot be cut.\n");
}

TEST_CASE("Of a cut segment that has lost its name, the size of another file is not told") {
  const SegmentDirectory directory;
  const Ending ending = Die([&] {
    if (ReportBusErrors() != 0) std::abort();
    PosixShmMmap backend;
    backend.shm_init(MemoryBackendId(1), kBytes, "heap");
    const int fd = open(directory.File("heap").c_str(), O_RDWR | O_CLOEXEC);
    backend.Unlink();
    PosixShmMmap other;
    other.shm_init(MemoryBackendId(2), kBytes, "heap");
    if (ftruncate(fd, kLeft) != 0) std::abort();
    backend.region().base_[kTouched] = 1;
  });
  REQUIRE(ending.status_ == -SIGBUS);
  REQUIRE(ending.errors_.find(" (deleted). The file has 8192 bytes: ") != std::string::npos);
}

TEST_CASE("Who did not ask for a report of SIGBUS gets none") {
  const SegmentDirectory directory;
  const Ending ending = Die([&] { TouchCutSegment(directory); });
  REQUIRE(ending.status_ == -SIGBUS);
  REQUIRE(ending.errors_.empty());
}

TEST_CASE("The handler of SIGBUS that was there before has the last word") {
  const SegmentDirectory directory;
  const Ending with_info = Die([&] {
    struct sigaction action = {};
    action.sa_sigaction = [](int, siginfo_t* info, void*) {
      _exit(info->si_code == BUS_ADRERR ? 7 : 8);
    };
    action.sa_flags = SA_SIGINFO;
    sigaction(SIGBUS, &action, nullptr);
    if (ReportBusErrors() == 0) TouchCutSegment(directory);
  });
  REQUIRE(with_info.status_ == 7);
  REQUIRE(with_info.errors_.find("hshm: SIGBUS: ") == 0);
  const Ending simple = Die([&] {
    signal(SIGBUS, [](int number) { _exit(number == SIGBUS ? 9 : 8); });
    if (ReportBusErrors() == 0) TouchBehindFile(directory.File("file"), MAP_SHARED);
  });
  REQUIRE(simple.status_ == 9);
}

TEST_CASE("A SIGBUS that is no shared file's is passed on without a word") {
  const SegmentDirectory directory;
  const Ending private_mapping = Die([&] {
    if (ReportBusErrors() == 0) TouchBehindFile(directory.File("file"), MAP_PRIVATE);
  });
  REQUIRE(private_mapping.status_ == -SIGBUS);
  REQUIRE(private_mapping.errors_.empty());
  const Ending sent = Die([&] {
    if (ReportBusErrors() == 0) kill(getpid(), SIGBUS);
  });
  REQUIRE(sent.status_ == -SIGBUS);
  REQUIRE(sent.errors_.empty());
}

TEST_CASE("A page that a full file system has no room for is told from one that was cut") {
  const SegmentDirectory directory;
  const Ending ending = Die([&] {
    if (!hshm::test::MountOwnTmpfs(directory.path().c_str(), "size=64k")) _exit(77);
    if (ReportBusErrors() != 0) std::abort();
    const int fd = open(directory.File("file").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || ftruncate(fd, kBytes) != 0) std::abort();
    void* const mapped = mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    std::memset(mapped, 1, kBytes);
  });
  if (ending.status_ == 77) hshm::test::Skip("this user may not mount a file system");
  REQUIRE(ending.status_ == -SIGBUS);
  REQUIRE(ending.errors_.find("its file system had no room for the page") != std::string::npos);
}

}  // namespace
}  // namespace hshm::ipc::test
