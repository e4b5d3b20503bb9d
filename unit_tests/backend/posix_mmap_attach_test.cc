#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstring>
#include <functional>
#include <string>

#include "backend/child.h"
#include "backend/error_code.h"
#include "backend/probe_allocator.h"
#include "backend/test_segment.h"
#include "hermes_shm/base/crc32c.h"
#include "hermes_shm/memory/backend/posix_mmap.h"
#include "hermes_shm/memory/backend/posix_shm_mmap.h"
#include "support/catch.h"
#include "support/own_directory.h"
#include "support/skip.h"

/** Every reason for which a file is refused, in the order in which attaching looks for them. */
namespace hshm::ipc::test {
namespace {

using hshm::test::DiskDirectory;

constexpr uid_t kNobody = 65534;
constexpr size_t kBytes = 1 << 20;

Thrown AttachTo(const std::string& path) {
  return ThrownBy([&] { PosixMmap().shm_attach(path, {.timeout_ms_ = 0}); });
}

/** A heap in a file whose job has ended. */
struct LeftBehind {
  LeftBehind() {
    PosixMmap backend;
    backend.shm_init(MemoryBackendId(6), kBytes, path_);
    backend.MakeAlloc<ProbeAllocator>(AllocatorId(1, 0));
  }
  /** Attaches to the file with its header changed and the checksum right, then puts it back. */
  Thrown Forged(const std::function<void(BackendHeader*)>& change) {
    alignas(BackendHeader) char before[sizeof(BackendHeader)];
    alignas(BackendHeader) char bytes[sizeof(BackendHeader)];
    const int fd = open(path_.c_str(), O_RDWR | O_CLOEXEC);
    REQUIRE(fd >= 0);
    REQUIRE(pread(fd, before, sizeof(before), 0) == sizeof(before));
    std::memcpy(bytes, before, sizeof(bytes));
    auto* header = reinterpret_cast<BackendHeader*>(bytes);
    change(header);
    header->crc32c_ = Crc32c(bytes, offsetof(BackendHeader, crc32c_));
    REQUIRE(pwrite(fd, bytes, sizeof(bytes), 0) == sizeof(bytes));
    const Thrown thrown = AttachTo(path_);
    REQUIRE(pwrite(fd, before, sizeof(before), 0) == sizeof(before));
    close(fd);
    return thrown;
  }

  DiskDirectory directory_;
  std::string path_ = directory_.File("heap");
};

TEST_CASE("A file is refused by its path: BadName, NotFound, IsSymlink, NotRegularFile") {
  DiskDirectory directory;
  for (const std::string& path :
       {std::string(), std::string("."), std::string("/"), directory.path() + "/",
        directory.File(".."), directory.File(std::string("a\0b", 3)),
        directory.File(std::string(201, 'x'))}) {
    INFO("path '" << path << "'");
    REQUIRE(AttachTo(path).code_ == ErrorCode::kBadName);
    REQUIRE(CodeOf([&] { PosixMmap().shm_init(MemoryBackendId(1), kBytes, path); }) ==
            ErrorCode::kBadName);
  }
  std::string deep = directory.path();
  for (int i = 0; i < 40; ++i) deep += "/" + std::string(120, 'd');
  REQUIRE(AttachTo(deep).code_ == ErrorCode::kBadName);
  REQUIRE(AttachTo(directory.File("none")).code_ == ErrorCode::kNotFound);
  REQUIRE(AttachTo(directory.File("none/none")).Says(directory.File("none/none")));
  REQUIRE(symlink("/nowhere", directory.File("link").c_str()) == 0);
  REQUIRE(AttachTo(directory.File("link")).code_ == ErrorCode::kIsSymlink);
  REQUIRE(mkfifo(directory.File("fifo").c_str(), 0600) == 0);
  REQUIRE(AttachTo(directory.File("fifo")).code_ == ErrorCode::kNotRegularFile);
  REQUIRE(mkdir(directory.File("folder").c_str(), 0700) == 0);
  REQUIRE(AttachTo(directory.File("folder")).code_ == ErrorCode::kNotRegularFile);
  REQUIRE(AttachTo("/dev/null").code_ == ErrorCode::kNotRegularFile);
}

TEST_CASE("A file is refused for its owner, its mode, and a lack of descriptors") {
  LeftBehind file;
  REQUIRE(chmod(file.path_.c_str(), 0660) == 0);
  REQUIRE(AttachTo(file.path_).code_ == ErrorCode::kUnsafeMode);
  REQUIRE(chmod(file.path_.c_str(), 0600) == 0);
  const int limited = RunInChild([&] {
    const rlimit none = {3, 3};
    setrlimit(RLIMIT_NOFILE, &none);
    return static_cast<int>(AttachTo(file.path_).code_);
  });
  REQUIRE(static_cast<ErrorCode>(limited) == ErrorCode::kFdLimit);
  if (geteuid() != 0) hshm::test::Skip("only root can give a file to another user");
  REQUIRE(chmod(file.directory_.path().c_str(), 0755) == 0);
  const int other_user = RunInChild(
      [&] { return setuid(kNobody) != 0 ? 1 : static_cast<int>(AttachTo(file.path_).code_); });
  REQUIRE(static_cast<ErrorCode>(other_user) == ErrorCode::kPermission);
  REQUIRE(chown(file.path_.c_str(), kNobody, kNobody) == 0);
  REQUIRE(AttachTo(file.path_).code_ == ErrorCode::kNotOwner);
}

TEST_CASE("A file is refused for its size and for what is in it") {
  LeftBehind file;
  REQUIRE(truncate(file.path_.c_str(), kBytes + 1) == 0);
  REQUIRE(AttachTo(file.path_).code_ == ErrorCode::kSizeMismatch);
  for (const off_t bytes : {off_t{kBytes} - 1, off_t{4096}, off_t{4095}, off_t{1}, off_t{0}}) {
    REQUIRE(truncate(file.path_.c_str(), bytes) == 0);
    REQUIRE(AttachTo(file.path_).code_ == ErrorCode::kTruncated);
  }
  REQUIRE(truncate(file.path_.c_str(), kBytes) == 0);
  REQUIRE(AttachTo(file.path_).code_ == ErrorCode::kNotASegment);  // zeros
}

TEST_CASE("A file is refused by each wrong field of its header, in order, but not for its boot") {
  LeftBehind file;
  using Header = BackendHeader;
  const auto code = [&](const std::function<void(Header*)>& change) {
    return file.Forged(change).code_;
  };
  REQUIRE(code([](Header*) {}) == ErrorCode::kNone);
  REQUIRE(code([](Header* h) { ++h->magic_; }) == ErrorCode::kNotASegment);
  REQUIRE(code([](Header* h) { h->region_bytes_ += 4096; }) == ErrorCode::kTruncated);
  REQUIRE(code([](Header* h) { h->region_bytes_ -= 4096; }) == ErrorCode::kSizeMismatch);
  REQUIRE(code([](Header* h) { h->endian_ = 0x04030201; }) == ErrorCode::kAbiMismatch);
  REQUIRE(code([](Header* h) { h->word_bytes_ = 4; }) == ErrorCode::kAbiMismatch);
  REQUIRE(code([](Header* h) { h->system_page_bytes_ *= 2; }) == ErrorCode::kAbiMismatch);
  REQUIRE(code([](Header* h) { ++h->layout_version_; }) == ErrorCode::kVersionMismatch);
  REQUIRE(code([](Header* h) { --h->layout_version_; }) == ErrorCode::kVersionMismatch);
  REQUIRE(code([](Header* h) { h->type_ = MemoryBackendType::kPosixShmMmap; }) ==
          ErrorCode::kWrongBackend);
  REQUIRE(code([](Header* h) { h->ready_.store(0); }) == ErrorCode::kNotReady);
  REQUIRE(code([](Header* h) { ++h->slot_count_; }) == ErrorCode::kCorrupt);
  REQUIRE(code([](Header* h) { h->allocator_offset_ += 64; }) == ErrorCode::kCorrupt);
  REQUIRE(code([](Header* h) {
            h->flags_ |= kGrowingFile;
            h->grown_bytes_.store(4096);
          }) == ErrorCode::kCorrupt);
  REQUIRE(code([](Header* h) { h->boot_id_[0] ^= 1; }) == ErrorCode::kNone);
}

TEST_CASE("A segment is no file and a file is no segment: WrongBackend") {
  TestSegment segment;
  PosixShmMmap shared;
  shared.shm_init(MemoryBackendId(6), kBytes, segment.url());
  const Thrown as_file = AttachTo(segment.path());
  REQUIRE(as_file.code_ == ErrorCode::kWrongBackend);
  REQUIRE(as_file.Says("was made by PosixShmMmap, attach was asked of PosixMmap"));
  shared.shm_destroy();
  PosixMmap file;
  file.shm_init(MemoryBackendId(6), kBytes, segment.path());
  const Thrown as_segment = ThrownBy([&] { PosixShmMmap().shm_attach(segment.url()); });
  REQUIRE(as_segment.code_ == ErrorCode::kWrongBackend);
  REQUIRE(as_segment.Says("was made by PosixMmap, attach was asked of PosixShmMmap"));
}

TEST_CASE("An allocator in a file is refused for its class, and when every slot is taken") {
  DiskDirectory directory;
  PosixMmap backend;
  backend.shm_init(MemoryBackendId(6), kMinRegionBytes, directory.File("heap"));
  backend.MakeAlloc<ProbeAllocator>(AllocatorId(1, 0));
  REQUIRE(CodeOf([&] { backend.AttachAlloc<OtherAllocator>(); }) == ErrorCode::kWrongAllocator);
  for (uint32_t i = 1; i < SlotCountFor(kMinRegionBytes); ++i) {
    backend.AttachAlloc<ProbeAllocator>();
  }
  REQUIRE(CodeOf([&] { backend.AttachAlloc<ProbeAllocator>(); }) == ErrorCode::kTooManyProcesses);
}

}  // namespace
}  // namespace hshm::ipc::test
