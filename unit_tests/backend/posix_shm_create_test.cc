#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "backend/child.h"
#include "backend/error_code.h"
#include "backend/probe_allocator.h"
#include "backend/test_segment.h"
#include "hermes_shm/base/units.h"
#include "hermes_shm/memory/backend/membership.h"
#include "hermes_shm/memory/backend/posix_shm_mmap.h"
#include "hermes_shm/platform/byte_lock.h"
#include "support/catch.h"

namespace hshm::ipc::test {
namespace {

constexpr size_t kBytes = 1 << 20;
const MemoryBackendId kId(6);

/** What a call writes to stderr. */
template <typename Call>
std::string StderrOf(Call call) {
  std::fflush(stderr);
  FILE* const file = std::tmpfile();
  REQUIRE(file != nullptr);
  const int saved = dup(STDERR_FILENO);
  dup2(fileno(file), STDERR_FILENO);
  call();
  std::fflush(stderr);
  dup2(saved, STDERR_FILENO);
  close(saved);
  std::string text(4096, '\0');
  std::rewind(file);
  text.resize(std::fread(text.data(), 1, text.size(), file));
  std::fclose(file);
  return text;
}

Thrown Create(const TestSegment& segment, const PosixShmOptions& options = {}) {
  return ThrownBy([&] {
    PosixShmMmap backend;
    backend.shm_init(kId, kBytes, segment.url(), options);
  });
}

TEST_CASE("Creating makes a private file of whole pages, whatever the umask") {
  TestSegment segment;
  const mode_t before = umask(0777);
  PosixShmMmap backend;
  backend.shm_init(kId, kBytes + 1, segment.url());
  umask(before);
  REQUIRE(backend.size_bytes() == kBytes + 4096);
  REQUIRE(static_cast<size_t>(segment.Status().st_size) == kBytes + 4096);
  REQUIRE((segment.Status().st_mode & 07777) == 0600);
  REQUIRE(backend.IsOwner());
}

TEST_CASE("Creating refuses bad names and sizes and leaves nothing behind") {
  TestSegment segment;
  PosixShmMmap backend;
  auto create = [&](const std::string& url, size_t size) {
    return CodeOf([&] { backend.shm_init(kId, size, url); });
  };
  REQUIRE(create("", kBytes) == ErrorCode::kBadName);
  REQUIRE(create("a/b", kBytes) == ErrorCode::kBadName);
  for (const char* name : {"/", ".", ".."}) REQUIRE(create(name, kBytes) == ErrorCode::kBadName);
  for (size_t length : {201, 255, 256}) {
    REQUIRE(create(std::string(length, 'x'), kBytes) == ErrorCode::kBadName);
  }
  REQUIRE(create(segment.url(), 0) == ErrorCode::kOutOfRange);
  REQUIRE(create(segment.url(), kMinRegionBytes - 1) == ErrorCode::kOutOfRange);
  REQUIRE(create(segment.url(), ~size_t{0}) == ErrorCode::kOutOfRange);
  REQUIRE_FALSE(backend.IsOpen());
  REQUIRE_FALSE(segment.Exists());
}

TEST_CASE("Memory is committed when asked for and given back in whole pages") {
  constexpr size_t kCapacity = size_t{1} << 30;
  TestSegment segment;
  PosixShmMmap backend;
  backend.shm_init(kId, kCapacity, segment.url());
  const auto committed = [&] { return uint64_t(segment.Status().st_blocks) * 512; };
  const uint64_t first = committed();
  REQUIRE(first <= 1_MiB);
  const Region region = backend.region();
  const Offset at = 512_MiB + 100;
  REQUIRE(region.services_->Commit(at, 1_MiB));
  REQUIRE(committed() == first + 1_MiB + 4096);
  std::memset(region.base_ + at, 1, 1_MiB);
  REQUIRE(committed() == first + 1_MiB + 4096);
  REQUIRE(region.services_->Commit(at, 1_MiB));
  REQUIRE(region.base_[at + 5000] == 1);
  region.services_->Decommit(at, 1_MiB);
  REQUIRE(committed() == first + 2 * 4096);  // the pages at both ends are shared with others
  REQUIRE(region.services_->Commit(at, 1_MiB));
  REQUIRE(region.base_[at + 5000] == 0);
  REQUIRE(region.base_[at] == 1);
  REQUIRE_FALSE(region.services_->Commit(kCapacity - 4096, 4097));
  REQUIRE_FALSE(region.services_->Commit(~Offset{0}, 1));
}

TEST_CASE("Two mappings of one segment lie at different addresses and see the same") {
  TestSegment segment;
  PosixShmMmap first;
  PosixShmMmap second;
  first.shm_init(kId, kBytes, segment.url());
  auto* made = first.MakeAlloc<ProbeAllocator>(AllocatorId(1, 0), 64);
  // Room for a mapping at a known address: taken, then let go.
  void* const wanted =
      mmap(nullptr, 4 * kBytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  REQUIRE(wanted != MAP_FAILED);
  munmap(wanted, 4 * kBytes);
  second.shm_attach(segment.url(), {.address_hint_ = static_cast<char*>(wanted) + kBytes});
  REQUIRE(second.region().base_ != first.region().base_);
  REQUIRE(second.region().base_ == static_cast<char*>(wanted) + kBytes);
  auto* joined = second.AttachAlloc<ProbeAllocator>();
  const auto block = made->Allocate<char>(HSHM_DEFAULT_MEM_CTX, 64);
  std::strcpy(block.ptr_, "seen");
  REQUIRE(joined->Convert(block.shm_) != block.ptr_);
  REQUIRE(std::string(joined->Convert(block.shm_)) == "seen");
  REQUIRE(made->GetMembership().slot() != joined->GetMembership().slot());
}

TEST_CASE("A segment of a killed process is replaced, and said so") {
  TestSegment segment;
  LivingChild child([&] {
    auto* backend = new PosixShmMmap();
    backend->shm_init(kId, kBytes, segment.url());
    backend->MakeAlloc<ProbeAllocator>(AllocatorId(1, 0));
  });
  REQUIRE(child.is_ready());
  const auto old = segment.Status().st_ino;

  const Thrown living = Create(segment);
  REQUIRE(living.code_ == ErrorCode::kAlreadyExists);
  REQUIRE(living.Says("pid " + std::to_string(child.pid())));
  REQUIRE(segment.Status().st_ino == old);

  const std::string pid = std::to_string(child.pid());
  child.Kill();
  REQUIRE(Create(segment, {.if_exists_ = IfExists::kFail}).code_ == ErrorCode::kAlreadyExists);
  REQUIRE(segment.Status().st_ino == old);

  PosixShmMmap backend;
  const std::string said = StderrOf([&] { backend.shm_init(kId, kBytes, segment.url()); });
  REQUIRE(said.find("hshm: replaced the stale segment " + segment.path() + " of pid " + pid) == 0);
  REQUIRE(said.find('\n') == said.size() - 1);
  REQUIRE(segment.Status().st_ino != old);
  backend.MakeAlloc<ProbeAllocator>(AllocatorId(1, 0));
}

TEST_CASE("A new name is created without a word") {
  TestSegment segment;
  REQUIRE(StderrOf([&] { REQUIRE(Create(segment).code_ == ErrorCode::kNone); }).empty());
}

TEST_CASE("A segment with only an attached backend, or only a forked child, is not replaced") {
  TestSegment segment;
  PosixShmMmap creator;
  creator.shm_init(kId, kBytes, segment.url());
  creator.MakeAlloc<ProbeAllocator>(AllocatorId(1, 0));
  {
    LivingChild attached([&] { (new PosixShmMmap())->shm_attach(segment.url()); });
    REQUIRE(attached.is_ready());
    creator.shm_detach();
    const Thrown refused = Create(segment);
    REQUIRE(refused.code_ == ErrorCode::kAlreadyExists);
    REQUIRE(refused.Says("without an allocator"));
  }
  PosixShmMmap parent;
  parent.shm_attach(segment.url());
  auto* handle = parent.AttachAlloc<ProbeAllocator>();
  {
    LivingChild forked([&] {
      if (!handle->GetMembership().Rejoin()) throw 1;
    });
    REQUIRE(forked.is_ready());
    parent.shm_detach();
    const Thrown refused = Create(segment);
    REQUIRE(refused.code_ == ErrorCode::kAlreadyExists);
    REQUIRE(refused.Says("pid " + std::to_string(forked.pid())));
  }
  REQUIRE(StderrOf([&] { REQUIRE(Create(segment).code_ == ErrorCode::kNone); }) != "");
}

TEST_CASE("A file that is no segment is never replaced") {
  TestSegment segment;
  segment.Write(0, "precious", 8);
  const Thrown thrown = Create(segment);
  REQUIRE(thrown.code_ == ErrorCode::kAlreadyExists);
  REQUIRE(thrown.Says("left alone"));
  REQUIRE(segment.Status().st_size == 8);
  TestSegment link;
  REQUIRE(symlink(segment.path().c_str(), link.path().c_str()) == 0);
  REQUIRE(Create(link).code_ == ErrorCode::kIsSymlink);
}

TEST_CASE("Of many that replace one dead segment at once, one wins and the others are refused") {
  TestSegment segment;
  constexpr int kRounds = 20;
  constexpr int kCreators = 4;
  for (int round = 0; round < kRounds; ++round) {
    REQUIRE(RunInChild([&] { return Create(segment).code_ == ErrorCode::kNone ? 0 : 1; }) == 0);
    int go[2];
    REQUIRE(pipe(go) == 0);
    int report[2];
    REQUIRE(pipe(report) == 0);
    std::vector<pid_t> children;
    for (int i = 0; i < kCreators; ++i) {
      const pid_t pid = fork();
      if (pid == 0) {
        close(go[1]);
        close(report[0]);
        char byte = 0;
        static_cast<void>(!read(go[0], &byte, 1));  // ends when the parent closes it: the start
        PosixShmMmap backend;
        std::freopen("/dev/null", "w", stderr);
        const ErrorCode code = CodeOf([&] { backend.shm_init(kId, kBytes, segment.url()); });
        byte = static_cast<char>(code);
        static_cast<void>(!write(report[1], &byte, 1));
        for (;;) pause();  // the winner lives until all have tried
      }
      children.push_back(pid);
    }
    close(go[0]);
    close(go[1]);
    int won = 0;
    int refused = 0;
    for (int i = 0; i < kCreators; ++i) {
      char byte = 0;
      REQUIRE(read(report[0], &byte, 1) == 1);
      if (static_cast<ErrorCode>(byte) == ErrorCode::kNone) ++won;
      if (static_cast<ErrorCode>(byte) == ErrorCode::kAlreadyExists) ++refused;
    }
    for (pid_t pid : children) {
      kill(pid, SIGKILL);
      waitpid(pid, nullptr, 0);
    }
    close(report[0]);
    close(report[1]);
    REQUIRE(won == 1);
    REQUIRE(refused == kCreators - 1);
    unlink(segment.path().c_str());
  }
}

TEST_CASE("Detaching keeps the name; destroying takes it away for the creator only") {
  TestSegment segment;
  PosixShmMmap creator;
  creator.shm_init(kId, kBytes, segment.url());
  PosixShmMmap follower;
  follower.shm_attach(segment.url());
  follower.shm_destroy();
  REQUIRE(segment.Exists());
  creator.shm_detach();
  creator.shm_destroy();
  REQUIRE(segment.Exists());
  creator.shm_init(kId, kBytes, segment.url());
  creator.shm_destroy();
  REQUIRE_FALSE(segment.Exists());
}

TEST_CASE("After Unlink the members go on, nobody joins, and a new segment's name is left alone") {
  TestSegment segment;
  PosixShmMmap creator;
  creator.shm_init(kId, kBytes, segment.url());
  auto* made = creator.MakeAlloc<ProbeAllocator>(AllocatorId(1, 0));
  PosixShmMmap follower;
  follower.shm_attach(segment.url());
  follower.Unlink();
  creator.Unlink();
  REQUIRE_FALSE(segment.Exists());
  PosixShmMmap late;
  REQUIRE(CodeOf([&] { late.shm_attach(segment.url()); }) == ErrorCode::kNotFound);
  auto* joined = follower.AttachAlloc<ProbeAllocator>();
  REQUIRE_FALSE(made->GetMembership().IsDead(joined->GetMembership().slot(), 1));

  late.shm_init(kId, kBytes, segment.url());
  creator.shm_destroy();
  follower.Unlink();
  REQUIRE(segment.Exists());
}

TEST_CASE("Unlink leaves a name alone that is gone, or another's, or being taken away by another") {
  TestSegment segment;
  PosixShmMmap creator;
  creator.shm_init(kId, kBytes, segment.url());
  const int file = open(segment.path().c_str(), O_RDWR | O_CLOEXEC);
  REQUIRE(file >= 0);
  {
    HeldByte naming;
    REQUIRE(naming.Hold(file, PosixShmMmap::kNamingByte) == 0);
    creator.Unlink();
    REQUIRE(segment.Exists());
  }
  const TestSegment elsewhere;
  REQUIRE(rename(segment.path().c_str(), elsewhere.path().c_str()) == 0);
  creator.Unlink();
  REQUIRE(elsewhere.Exists());
  segment.Write(0, "another's", 9);
  creator.Unlink();
  REQUIRE(segment.Exists());
  REQUIRE(RunInChild([&] {
            for (int fd = 3; fd < 1024; ++fd) close(fd);
            creator.Unlink();
            return segment.Exists() ? 0 : 1;
          }) == 0);
  close(file);
}

TEST_CASE("A segment that many use is refused with the numbers of sixteen of them, and no more") {
  TestSegment segment;
  PosixShmMmap backend;
  backend.shm_init(kId, kBytes, segment.url());
  std::vector<Membership> members;
  for (uint32_t i = 0; i < 18; ++i) {
    members.emplace_back(backend.region());
    members.back().entry(i)->os_pid_ = 4'000'000 + i;  // as many processes
  }
  const Thrown many = Create(segment);
  REQUIRE(many.code_ == ErrorCode::kAlreadyExists);
  REQUIRE(many.Says("in use by pid 4000000"));
  REQUIRE(many.Says("pid 4000015"));
  REQUIRE_FALSE(many.Says("pid 4000016"));
  REQUIRE(many.Says(", ...;"));
  members.resize(16);
  REQUIRE_FALSE(Create(segment).Says("..."));
  REQUIRE(truncate(segment.path().c_str(), 4096) == 0);  // who they are cannot be read any more
  const Thrown unknown = Create(segment);
  REQUIRE(unknown.code_ == ErrorCode::kAlreadyExists);
  REQUIRE(unknown.Says("a process without an allocator"));
  REQUIRE(truncate(segment.path().c_str(), kBytes) == 0);
}

TEST_CASE("A segment whose descriptor was closed by others commits nothing and buries nobody") {
  TestSegment segment;
  const int result = RunInChild([&] {
    PosixShmMmap backend;
    backend.shm_init(kId, kBytes, segment.url());
    auto* made = backend.MakeAlloc<ProbeAllocator>(AllocatorId(1, 0));
    for (int fd = 3; fd < 1024; ++fd) close(fd);
    TestSegment other;
    other.Write(0, "x", 1);
    for (int i = 0; i < 64; ++i) static_cast<void>(!dup(open(other.path().c_str(), O_RDWR)));
    const Region region = backend.region();
    if (region.services_->Commit(0, 4096)) return 1;
    if (!made->GetMembership().IsAlive(0) || !made->GetMembership().IsAlive(1)) return 2;
    region.services_->Decommit(512 * 1024, 4096);
    if (errno == EAGAIN || region.services_->HoldSlot(5) || errno != EBADF) return 3;
    unlink(other.path().c_str());
    return 0;
  });
  REQUIRE(result == 0);
}

}  // namespace
}  // namespace hshm::ipc::test
