/**
 * What another user of the machine can do to a segment: nothing. Processes of several users are
 * children of this test, which is root's for that; the attacker may write to the directory, as
 * everybody may to /dev/shm.
 */
#include <fcntl.h>
#include <grp.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <functional>
#include <initializer_list>
#include <string>
#include <vector>

#include "backend/child.h"
#include "backend/error_code.h"
#include "hermes_shm/memory/allocator/multi_process_allocator.h"
#include "hermes_shm/memory/backend/posix_mmap.h"
#include "hermes_shm/memory/backend/posix_shm_mmap.h"
#include "hermes_shm/platform/futex.h"
#include "support/catch.h"
#include "support/own_directory.h"
#include "support/skip.h"

namespace hshm::ipc::test {
namespace {

using hshm::test::SegmentDirectory;

constexpr uid_t kVictim = 65531;
constexpr uid_t kFriend = 65532;
constexpr uid_t kAttacker = 65534;
constexpr gid_t kSharedGroup = 65520;
constexpr size_t kBytes = 1 << 20;
constexpr int kGood = 0;
constexpr SegmentAccess kGroup = SegmentAccess::kGroup;

/** From now on this process, a child, is of this user and these groups, the first its own. */
bool Become(uid_t user, const std::vector<gid_t>& groups) {
  return setgroups(groups.size() - 1, groups.data() + 1) == 0 &&
         setresgid(groups[0], groups[0], groups[0]) == 0 && setresuid(user, user, user) == 0 &&
         prctl(PR_SET_DUMPABLE, 1) == 0;  // else its own /proc belongs to root
}

/** Runs the body as another user. @return its result, 99 when it threw or could not change */
template <typename Body>
int As(uid_t user, const std::vector<gid_t>& groups, Body body) {
  return RunInChild([&] { return Become(user, groups) ? static_cast<int>(body()) : 99; });
}
template <typename Body>
int As(uid_t user, Body body) {
  return As(user, {user}, body);
}

void RequireRoot() {
  if (geteuid() != 0) hshm::test::Skip("only root can be several users");
}

/** Everybody may make files in it, and remove only his own. */
struct PublicDirectory : SegmentDirectory {
  PublicDirectory() { REQUIRE(chmod(path().c_str(), 01777) == 0); }
};

/** Another user's living process that has a heap. */
struct Member : LivingChild {
  Member(uid_t user, const std::vector<gid_t>& groups, const PosixShmOptions& options)
      : LivingChild([=] {
          if (!Become(user, groups)) _exit(99);
          auto* const backend = new PosixShmMmap;  // lives as long as the process
          backend->shm_init(MemoryBackendId(1), kBytes, "heap", options);
          auto* const alloc = backend->MakeAlloc<MultiProcessAllocator>(AllocatorId(1, 0));
          const auto block = alloc->Allocate<char>(HSHM_DEFAULT_MEM_CTX, 100);
          std::strcpy(block.ptr_, "shared");
          alloc->SetRoot("block", block);
        }) {
    REQUIRE(is_ready());
  }
};

ErrorCode Attach(SegmentAccess access = SegmentAccess::kUser) {
  return CodeOf([&] {
    PosixShmMmap backend;
    backend.shm_attach("heap", {.timeout_ms_ = 0, .access_ = access});
    auto* const alloc = backend.AttachAlloc<MultiProcessAllocator>();
    const auto block = alloc->FindRoot<char>("block");
    if (block.IsNull() || std::strcmp(block.ptr_, "shared") != 0) std::abort();
    const auto mine = alloc->Allocate<char>(HSHM_DEFAULT_MEM_CTX, 1000);
    if (mine.IsNull()) std::abort();
    alloc->Free(HSHM_DEFAULT_MEM_CTX, mine);
  });
}

ErrorCode Create(const PosixShmOptions& options = {}) {
  return CodeOf([&] {
    PosixShmMmap backend;
    backend.shm_init(MemoryBackendId(2), kBytes, "heap", options);
    backend.shm_destroy();
  });
}

int FailsWith(std::initializer_list<int> errors, int result) {
  if (result >= 0) return 1;
  for (const int error : errors) {
    if (errno == error) return kGood;
  }
  return 2;
}

TEST_CASE("Another user can neither read, write, lock, link, rename nor remove a segment") {
  RequireRoot();
  const PublicDirectory directory;
  const Member member(kVictim, {kVictim}, {});
  const std::string heap = directory.File("heap");
  const std::string descriptor = "/proc/" + std::to_string(member.pid()) + "/fd/";
  REQUIRE(As(kAttacker, [&] { return FailsWith({EACCES}, open(heap.c_str(), O_RDONLY)); }) ==
          kGood);
  REQUIRE(As(kAttacker, [&] { return FailsWith({EACCES}, open(heap.c_str(), O_RDWR)); }) == kGood);
  REQUIRE(As(kAttacker, [&] { return FailsWith({EACCES}, truncate(heap.c_str(), 0)); }) == kGood);
  REQUIRE(As(kAttacker, [&] { return FailsWith({EPERM}, chmod(heap.c_str(), 0666)); }) == kGood);
  REQUIRE(As(kAttacker, [&] { return FailsWith({EPERM, EACCES}, unlink(heap.c_str())); }) == kGood);
  REQUIRE(As(kAttacker, [&] {
            const std::string other = heap + "2";
            return FailsWith({EPERM, EACCES}, rename(heap.c_str(), other.c_str()));
          }) == kGood);
  REQUIRE(As(kAttacker, [&] { return Attach(); }) == static_cast<int>(ErrorCode::kPermission));
  REQUIRE(As(kAttacker, [&] { return Create(); }) == static_cast<int>(ErrorCode::kPermission));
  for (int fd = 0; fd < 20; ++fd) {
    REQUIRE(As(kAttacker, [&] {
              return FailsWith({EACCES, ENOENT},
                               open((descriptor + std::to_string(fd)).c_str(), O_RDONLY));
            }) == kGood);
  }
  REQUIRE(As(kVictim, [&] { return Attach(); }) == kGood);
}

TEST_CASE("A segment without a name is no other user's, whoever tells its url") {
  RequireRoot();
  const PublicDirectory directory;
  int pipe_ends[2];
  REQUIRE(pipe(pipe_ends) == 0);
  const LivingChild member([&] {
    if (!Become(kVictim, {kVictim})) _exit(99);
    auto* const backend = new PosixShmMmap;
    backend->shm_init(MemoryBackendId(1), kBytes, "heap", {.naming_ = Naming::kUnnamed});
    const std::string url = backend->GetUrl();
    if (write(pipe_ends[1], url.data(), url.size()) < 0) _exit(98);
  });
  REQUIRE(member.is_ready());
  std::array<char, 512> text{};
  REQUIRE(read(pipe_ends[0], text.data(), text.size() - 1) > 0);
  close(pipe_ends[0]);
  close(pipe_ends[1]);
  const auto attach = [&] {
    return CodeOf([&] { PosixShmMmap().shm_attach(text.data(), {.timeout_ms_ = 0}); });
  };
  REQUIRE(As(kVictim, attach) == kGood);
  REQUIRE(As(kAttacker, attach) == static_cast<int>(ErrorCode::kPermission));
  REQUIRE(As(kVictim, [&] { return Create({.naming_ = Naming::kUnnamed, .access_ = kGroup}); }) ==
          static_cast<int>(ErrorCode::kUnsupported));
}

/** What an attacker puts where the victim's segment is going to be. Run as the attacker. */
struct Trap {
  const char* name_;
  std::function<bool(const std::string& heap, const std::string& diary)> set_;
  bool needs_root_ = false;  // stands for a system that does not protect links
};

bool WriteFile(const std::string& path, const std::string& text, mode_t mode) {
  std::ofstream(path) << text;
  return chmod(path.c_str(), mode) == 0;
}

/** A segment made by the attacker, as whole as any, for all the world to join. */
bool MakeBait(mode_t mode, const std::string& heap) {
  PosixShmMmap bait;
  bait.shm_init(MemoryBackendId(1), kBytes, "heap");
  bait.MakeAlloc<MultiProcessAllocator>(AllocatorId(1, 0));
  return chmod(heap.c_str(), mode) == 0;
}

std::vector<Trap> Traps() {
  using Path = const std::string&;
  return {
      {"a file", [](Path heap, Path) { return WriteFile(heap, "mine", 0600); }},
      {"an open file", [](Path heap, Path) { return WriteFile(heap, "mine", 0666); }},
      {"an empty file", [](Path heap, Path) { return WriteFile(heap, "", 0666); }},
      {"a segment", [](Path heap, Path) { return MakeBait(0600, heap); }},
      {"an open segment", [](Path heap, Path) { return MakeBait(0666, heap); }},
      {"a link to the diary",
       [](Path heap, Path diary) { return symlink(diary.c_str(), heap.c_str()) == 0; }},
      {"a link to nothing",
       [](Path heap, Path diary) { return symlink((diary + "2").c_str(), heap.c_str()) == 0; }},
      {"a FIFO", [](Path heap, Path) { return mkfifo(heap.c_str(), 0666) == 0; }},
      {"a directory", [](Path heap, Path) { return mkdir(heap.c_str(), 0777) == 0; }},
      {"a hard link to the diary",
       [](Path heap, Path diary) { return link(diary.c_str(), heap.c_str()) == 0; }, true},
  };
}

TEST_CASE("Whatever another user puts in a segment's place is refused at once, and harms nobody") {
  RequireRoot();
  for (const Trap& trap : Traps()) {
    INFO(trap.name_);
    const PublicDirectory directory;
    const std::string heap = directory.File("heap");
    const std::string diary = directory.File("diary");
    REQUIRE(As(kVictim, [&] { return WriteFile(diary, "dear diary", 0600) ? 0 : 1; }) == 0);
    const uid_t setter = trap.needs_root_ ? 0 : kAttacker;
    REQUIRE(As(setter, [&] { return trap.set_(heap, diary) ? 0 : 1; }) == 0);
    struct stat before = {};
    REQUIRE(lstat(heap.c_str(), &before) == 0);
    const size_t files = directory.Count();

    const uint64_t begun_us = MonotonicUs();
    for (const SegmentAccess access : {SegmentAccess::kUser, SegmentAccess::kGroup}) {
      const int created = As(kVictim, [&] { return Create({.access_ = access}); });
      const int attached = As(kVictim, [&] { return Attach(access); });
      REQUIRE((created > 0 && created < static_cast<int>(ErrorCode::kSystem)));
      REQUIRE((attached > 0 && attached < static_cast<int>(ErrorCode::kSystem)));
    }
    REQUIRE(MonotonicUs() - begun_us < 8 * 1000 * 1000);  // four processes

    struct stat after = {};
    REQUIRE(lstat(heap.c_str(), &after) == 0);
    REQUIRE(before.st_ino == after.st_ino);
    REQUIRE(before.st_size == after.st_size);
    REQUIRE(directory.Count() == files);
    std::string text;
    std::getline(std::ifstream(diary), text);
    REQUIRE(text == "dear diary");
  }
}

TEST_CASE("A kernel that protects links lets nobody link another user's segment") {
  RequireRoot();
  std::string is_protected;
  std::getline(std::ifstream("/proc/sys/fs/protected_hardlinks"), is_protected);
  if (is_protected != "1") hshm::test::Skip("fs.protected_hardlinks is off");
  const PublicDirectory directory;
  const Member member(kVictim, {kVictim}, {});
  REQUIRE(As(kAttacker, [&] {
            return FailsWith({EPERM},
                             link(directory.File("heap").c_str(), directory.File("heap2").c_str()));
          }) == kGood);
}

/** Locks a byte for reading, which needs no more than a descriptor that can read. */
bool LockToRead(int fd, off_t byte) {
  struct flock lock = {};
  lock.l_type = F_RDLCK;
  lock.l_whence = SEEK_SET;
  lock.l_start = byte;
  lock.l_len = 1;
  return fcntl(fd, F_OFD_SETLK, &lock) == 0;
}

TEST_CASE("A segment that others may open is refused, since they could lock its bytes") {
  RequireRoot();
  const PublicDirectory directory;
  const std::string heap = directory.File("heap");
  const Member member(kVictim, {kVictim}, {});
  for (const mode_t mode : {0644, 0640, 0604, 0660, 0606, 0666}) {
    REQUIRE(chmod(heap.c_str(), mode) == 0);
    const LivingChild locker([&] {
      const bool is_for_all = (mode & S_IROTH) != 0;
      if (!Become(kAttacker, {kAttacker, is_for_all ? gid_t{kAttacker} : gid_t{kVictim}})) {
        _exit(99);
      }
      const int fd = open(heap.c_str(), O_RDONLY);
      if (fd < 0 || !LockToRead(fd, 1) || !LockToRead(fd, PosixShmMmap::kPresenceByte)) _exit(98);
    });
    INFO("mode " << mode);
    REQUIRE(locker.is_ready());
    REQUIRE(As(kVictim, [&] { return Attach(); }) == static_cast<int>(ErrorCode::kUnsafeMode));
  }
}

TEST_CASE("A group shares a segment when creator and attacher ask for it, and nobody else") {
  RequireRoot();
  const PublicDirectory directory;
  const std::string heap = directory.File("heap");
  const Member member(kVictim, {kSharedGroup}, {.access_ = kGroup});
  struct stat status = {};
  REQUIRE(stat(heap.c_str(), &status) == 0);
  REQUIRE((status.st_mode & 07777) == 0660);
  REQUIRE(status.st_gid == kSharedGroup);

  REQUIRE(As(kFriend, {kFriend, kSharedGroup}, [&] { return Attach(kGroup); }) == kGood);
  REQUIRE(As(kFriend, {kSharedGroup}, [&] { return Attach(kGroup); }) == kGood);
  REQUIRE(As(kVictim, {kSharedGroup}, [&] { return Attach(kGroup); }) == kGood);
  REQUIRE(As(kFriend, {kFriend, kSharedGroup}, [&] { return Attach(); }) ==
          static_cast<int>(ErrorCode::kNotOwner));
  REQUIRE(As(kVictim, {kSharedGroup}, [&] { return Attach(); }) ==
          static_cast<int>(ErrorCode::kUnsafeMode));
  REQUIRE(As(kAttacker, [&] { return Attach(kGroup); }) ==
          static_cast<int>(ErrorCode::kPermission));
  REQUIRE(As(kFriend, {kFriend, kSharedGroup}, [&] { return Create({.access_ = kGroup}); }) ==
          static_cast<int>(ErrorCode::kAlreadyExists));
  REQUIRE(chmod(heap.c_str(), 0666) == 0);
  REQUIRE(As(kFriend, {kFriend, kSharedGroup}, [&] { return Attach(kGroup); }) ==
          static_cast<int>(ErrorCode::kUnsafeMode));
}

TEST_CASE("Who asks for a group's segment takes none of another group, nor of a user alone") {
  RequireRoot();
  const PublicDirectory directory;
  {
    const Member member(kAttacker, {kAttacker}, {.access_ = kGroup});
    REQUIRE(chmod(directory.File("heap").c_str(), 0666) == 0);
    REQUIRE(As(kVictim, {kSharedGroup}, [&] { return Attach(kGroup); }) ==
            static_cast<int>(ErrorCode::kNotOwner));
    unlink(directory.File("heap").c_str());
  }
  const Member member(kVictim, {kSharedGroup}, {});
  REQUIRE(As(kFriend, {kSharedGroup}, [&] { return Attach(kGroup); }) ==
          static_cast<int>(ErrorCode::kPermission));
  REQUIRE(As(0, [&] { return Attach(kGroup); }) ==  // who may open any file
          static_cast<int>(ErrorCode::kNotOwner));
}

TEST_CASE(
    "A group shares a file as it shares a segment, and a dead one is its owner's to replace") {
  RequireRoot();
  const PublicDirectory directory;
  const std::string path = directory.File("file");
  const auto create = [&](IfExists if_exists) {
    return CodeOf([&] {
      PosixMmap file;
      file.shm_init(MemoryBackendId(1), kBytes, path, {.if_exists_ = if_exists, .access_ = kGroup});
    });
  };
  REQUIRE(As(kVictim, {kSharedGroup}, [&] { return create(IfExists::kFail); }) == kGood);
  REQUIRE(As(kFriend, {kSharedGroup}, [&] {
            return CodeOf([&] { PosixMmap().shm_attach(path, {.access_ = kGroup}); });
          }) == kGood);
  REQUIRE(As(kFriend, {kSharedGroup}, [&] { return create(IfExists::kReplaceDead); }) ==
          static_cast<int>(ErrorCode::kPermission));  // the directory is sticky
  REQUIRE(As(kVictim, {kSharedGroup}, [&] { return create(IfExists::kReplaceDead); }) == kGood);
}

}  // namespace
}  // namespace hshm::ipc::test
