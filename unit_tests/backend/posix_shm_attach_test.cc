#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <functional>
#include <thread>
#include <vector>

#include "backend/child.h"
#include "backend/error_code.h"
#include "backend/probe_allocator.h"
#include "backend/test_segment.h"
#include "hermes_shm/base/crc32c.h"
#include "hermes_shm/memory/backend/posix_shm_mmap.h"
#include "support/catch.h"
#include "support/skip.h"

namespace hshm::ipc::test {
namespace {

constexpr uid_t kNobody = 65534;
constexpr size_t kBytes = 1 << 20;
const PosixShmAttachOptions kAtOnce{.timeout_ms_ = 0};

Thrown AttachTo(const std::string& url) {
  return ThrownBy([&] {
    PosixShmMmap backend;
    backend.shm_attach(url, kAtOnce);
  });
}

/** A segment whose creator has gone. */
struct LeftBehind : TestSegment {
  LeftBehind() {
    PosixShmMmap backend;
    backend.shm_init(MemoryBackendId(6), kBytes, url());
    backend.MakeAlloc<ProbeAllocator>(AllocatorId(1, 0));
  }
  /** Changes the header as somebody would who also puts the checksum right. */
  void Forge(const std::function<void(BackendHeader*)>& change) {
    alignas(BackendHeader) char bytes[sizeof(BackendHeader)];
    auto* header = reinterpret_cast<BackendHeader*>(bytes);
    const auto image = Read<std::array<char, sizeof(BackendHeader)>>(0);
    std::memcpy(bytes, image.data(), sizeof(bytes));
    change(header);
    header->crc32c_ = Crc32c(bytes, offsetof(BackendHeader, crc32c_));
    Write(0, bytes, sizeof(bytes));
  }
};

TEST_CASE("Attaching works after the creator has gone") {
  LeftBehind segment;
  PosixShmMmap backend;
  backend.shm_attach(segment.url());
  REQUIRE(backend.GetId() == MemoryBackendId(6));
  REQUIRE(backend.size_bytes() == kBytes);
  REQUIRE_FALSE(backend.IsOwner());
  REQUIRE(backend.AttachAlloc<ProbeAllocator>()->GetId() == AllocatorId(1, 0));
}

TEST_CASE("Attaching to a bad name is BadName, to none NotFound") {
  for (const std::string& name :
       {std::string(), std::string("."), std::string(".."), std::string("/x"), std::string("a/b"),
        std::string("/"), std::string("a\0b", 3), std::string(201, 'x'), std::string(255, 'x'),
        std::string(256, 'x')}) {
    INFO("name '" << name << "'");
    REQUIRE(AttachTo(name).code_ == ErrorCode::kBadName);
  }
  REQUIRE(AttachTo(std::string(200, 'x')).code_ == ErrorCode::kNotFound);
  TestSegment none;
  const Thrown thrown = AttachTo(none.url());
  REQUIRE(thrown.code_ == ErrorCode::kNotFound);
  REQUIRE(thrown.Says(none.path()));
}

TEST_CASE("Attaching to what is no regular file says what is wrong") {
  TestSegment link;
  REQUIRE(symlink("/dev/shm/nowhere", link.path().c_str()) == 0);
  REQUIRE(AttachTo(link.url()).code_ == ErrorCode::kIsSymlink);
  TestSegment fifo;
  REQUIRE(mkfifo(fifo.path().c_str(), 0600) == 0);
  REQUIRE(AttachTo(fifo.url()).code_ == ErrorCode::kNotRegularFile);
  TestSegment directory;
  REQUIRE(mkdir(directory.path().c_str(), 0700) == 0);
  REQUIRE(AttachTo(directory.url()).code_ == ErrorCode::kNotRegularFile);
}

TEST_CASE("Attaching without a free descriptor is FdLimit") {
  LeftBehind segment;
  const int result = RunInChild([&] {
    const rlimit none = {3, 3};
    setrlimit(RLIMIT_NOFILE, &none);
    return static_cast<int>(AttachTo(segment.url()).code_);
  });
  REQUIRE(static_cast<ErrorCode>(result) == ErrorCode::kFdLimit);
}

TEST_CASE("Joining an allocator without a free descriptor is FdLimit, not TooManyProcesses") {
  LeftBehind segment;
  const int result = RunInChild([&] {
    PosixShmMmap backend;
    backend.shm_attach(segment.url());
    const rlimit none = {3, 3};
    setrlimit(RLIMIT_NOFILE, &none);
    return static_cast<int>(CodeOf([&] { backend.AttachAlloc<ProbeAllocator>(); }));
  });
  REQUIRE(static_cast<ErrorCode>(result) == ErrorCode::kFdLimit);
}

TEST_CASE("Attaching to another user's segment is NotOwner or Permission") {
  if (geteuid() != 0) hshm::test::Skip("only root can give a file to another user");
  LeftBehind segment;
  REQUIRE(RunInChild([&] {
            if (setuid(kNobody) != 0) return 1;
            return static_cast<int>(AttachTo(segment.url()).code_);
          }) == static_cast<int>(ErrorCode::kPermission));
  REQUIRE(chown(segment.path().c_str(), kNobody, kNobody) == 0);
  REQUIRE(AttachTo(segment.url()).code_ == ErrorCode::kNotOwner);
  REQUIRE(RunInChild([&] {
            if (setuid(kNobody) != 0) return 1;
            return static_cast<int>(AttachTo(segment.url()).code_);
          }) == 0);
}

TEST_CASE("Attaching refuses a file that its owner may not write, or others may") {
  LeftBehind segment;
  REQUIRE((segment.Status().st_mode & 07777) == 0600);
  for (mode_t mode : {0666, 0620, 0602}) {
    REQUIRE(chmod(segment.path().c_str(), mode) == 0);
    REQUIRE(AttachTo(segment.url()).code_ == ErrorCode::kUnsafeMode);
  }
  if (geteuid() == 0) REQUIRE(chown(segment.path().c_str(), kNobody, kNobody) == 0);
  for (mode_t mode : {0400, 0444}) {
    REQUIRE(chmod(segment.path().c_str(), mode) == 0);
    const int result = RunInChild([&] {
      if (geteuid() == 0 && setuid(kNobody) != 0) return 1;
      return static_cast<int>(AttachTo(segment.url()).code_);
    });
    REQUIRE(static_cast<ErrorCode>(result) == ErrorCode::kPermission);
  }
}

TEST_CASE("Attaching to a file that was cut anywhere is Truncated") {
  LeftBehind segment;
  for (size_t bytes = 0; bytes < kBytes; bytes += 4096) {
    for (size_t cut : {bytes, bytes + 1, bytes + 4095}) {
      // From the end: what is cut away reads as zero afterwards.
      const size_t left = kBytes - 1 - cut;
      REQUIRE(truncate(segment.path().c_str(), static_cast<off_t>(left)) == 0);
      INFO("cut to " << left);
      REQUIRE(AttachTo(segment.url()).code_ == ErrorCode::kTruncated);
    }
  }
}

TEST_CASE("Attaching to a file that has grown is SizeMismatch") {
  LeftBehind segment;
  REQUIRE(truncate(segment.path().c_str(), kBytes + 4096) == 0);
  REQUIRE(AttachTo(segment.url()).code_ == ErrorCode::kSizeMismatch);
}

TEST_CASE("Attaching to something else is NotASegment") {
  TestSegment other;
  const std::vector<char> text(10000, 'x');
  other.Write(0, text.data(), text.size());
  REQUIRE(AttachTo(other.url()).code_ == ErrorCode::kNotASegment);
}

TEST_CASE("Attaching refuses a header with any one bit changed") {
  LeftBehind segment;
  for (size_t byte = 0; byte < offsetof(BackendHeader, ready_) + 4; ++byte) {
    const auto before = segment.Read<unsigned char>(static_cast<off_t>(byte));
    for (int bit = 0; bit < 8; ++bit) {
      const auto changed = static_cast<unsigned char>(before ^ (1 << bit));
      segment.Write(static_cast<off_t>(byte), &changed, 1);
      INFO("byte " << byte << " bit " << bit);
      REQUIRE(AttachTo(segment.url()).code_ != ErrorCode::kNone);
    }
    segment.Write(static_cast<off_t>(byte), &before, 1);
  }
  REQUIRE(AttachTo(segment.url()).code_ == ErrorCode::kNone);
}

TEST_CASE("Attaching names each wrong field of a header with a right checksum") {
  LeftBehind segment;
  auto forged = [&](const std::function<void(BackendHeader*)>& change) {
    const auto before = segment.Read<std::array<char, sizeof(BackendHeader)>>(0);
    segment.Forge(change);
    const ErrorCode code = AttachTo(segment.url()).code_;
    segment.Write(0, before.data(), before.size());
    return code;
  };
  using Header = BackendHeader;
  REQUIRE(forged([](Header*) {}) == ErrorCode::kNone);
  REQUIRE(forged([](Header* h) { h->magic_ ^= 1; }) == ErrorCode::kNotASegment);
  REQUIRE(forged([](Header* h) { h->endian_ = 0x04030201; }) == ErrorCode::kAbiMismatch);
  REQUIRE(forged([](Header* h) { h->word_bytes_ = 4; }) == ErrorCode::kAbiMismatch);
  REQUIRE(forged([](Header* h) { h->system_page_bytes_ *= 2; }) == ErrorCode::kAbiMismatch);
  REQUIRE(forged([](Header* h) { ++h->layout_version_; }) == ErrorCode::kVersionMismatch);
  REQUIRE(forged([](Header* h) { --h->layout_version_; }) == ErrorCode::kVersionMismatch);
  REQUIRE(forged([](Header* h) { h->type_ = MemoryBackendType::kArrayBackend; }) ==
          ErrorCode::kWrongBackend);
  REQUIRE(forged([](Header* h) { h->type_ = static_cast<MemoryBackendType>(99); }) ==
          ErrorCode::kWrongBackend);
  REQUIRE(forged([](Header* h) { h->ready_.store(0); }) == ErrorCode::kNotReady);
  REQUIRE(forged([](Header* h) { h->region_bytes_ *= 2; }) == ErrorCode::kTruncated);
  REQUIRE(forged([](Header* h) { h->region_bytes_ /= 2; }) == ErrorCode::kSizeMismatch);
  REQUIRE(forged([](Header* h) { h->slots_offset_ += 64; }) == ErrorCode::kCorrupt);
  REQUIRE(forged([](Header* h) { ++h->slot_count_; }) == ErrorCode::kCorrupt);
  REQUIRE(forged([](Header* h) { h->allocator_offset_ = ~uint64_t{0}; }) == ErrorCode::kCorrupt);
  REQUIRE(forged([](Header* h) { h->boot_id_[0] ^= 1; }) == ErrorCode::kStaleBoot);
}

TEST_CASE("A segment of whose machine's start nobody could tell is no stale one") {
  LeftBehind segment;
  segment.Forge([](BackendHeader* h) { h->boot_id_[0] = '\0'; });
  REQUIRE(AttachTo(segment.url()).code_ == ErrorCode::kNone);
}

TEST_CASE("Attaching waits for a segment that becomes ready in time") {
  LeftBehind segment;
  const uint32_t zero = 0;
  segment.Write(offsetof(BackendHeader, ready_), &zero, sizeof(zero));
  LivingChild publisher([&] {
    const uint32_t one = 1;
    segment.Write(offsetof(BackendHeader, ready_), &one, sizeof(one));
  });
  REQUIRE(publisher.is_ready());
  PosixShmMmap backend;
  backend.shm_attach(segment.url());
  REQUIRE(backend.IsOpen());
}

TEST_CASE("A header smaller than the smallest region is Corrupt, even with a right checksum") {
  LeftBehind segment;
  REQUIRE(truncate(segment.path().c_str(), 8192) == 0);
  segment.Forge([](BackendHeader* h) {
    h->region_bytes_ = 8192;
    h->slot_count_ = SlotCountFor(8192);
    h->allocator_offset_ = AllocatorOffsetFor(8192);
  });
  REQUIRE(AttachTo(segment.url()).code_ == ErrorCode::kCorrupt);
}

TEST_CASE("Every slot taken is TooManyProcesses when an allocator is joined") {
  TestSegment segment;
  PosixShmMmap backend;
  backend.shm_init(MemoryBackendId(6), kMinRegionBytes, segment.url());
  backend.MakeAlloc<ProbeAllocator>(AllocatorId(1, 0));
  for (uint32_t i = 1; i < SlotCountFor(kMinRegionBytes); ++i) {
    backend.AttachAlloc<ProbeAllocator>();
  }
  REQUIRE(CodeOf([&] { backend.AttachAlloc<ProbeAllocator>(); }) == ErrorCode::kTooManyProcesses);
}

TEST_CASE("Attaching needs addresses for the whole capacity and says so") {
#if HSHM_TEST_HAS_SANITIZER
  hshm::test::Skip("a sanitizer needs its addresses");
#else
  LeftBehind segment;
  const int result = RunInChild([&] {
    const rlimit little = {kBytes / 2, kBytes / 2};
    setrlimit(RLIMIT_AS, &little);
    return static_cast<int>(AttachTo(segment.url()).code_);
  });
  REQUIRE(static_cast<ErrorCode>(result) == ErrorCode::kSystem);
#endif
}

TEST_CASE("Who attaches waits for a segment that is published in time") {
  TestSegment segment;
  PosixShmMmap().shm_init(MemoryBackendId(1), kBytes, segment.url());
  const off_t ready = offsetof(BackendHeader, ready_);
  const uint32_t published = segment.Read<uint32_t>(ready);
  const uint32_t not_yet = 0;
  segment.Write(ready, &not_yet, sizeof(not_yet));
  REQUIRE(CodeOf([&] { PosixShmMmap().shm_attach(segment.url(), {.timeout_ms_ = 0}); }) ==
          ErrorCode::kNotReady);
  ErrorCode code = ErrorCode::kNotReady;
  std::thread waiting([&] {
    code = CodeOf([&] { PosixShmMmap().shm_attach(segment.url(), {.timeout_ms_ = 60'000}); });
  });
  usleep(20'000);
  segment.Write(ready, &published, sizeof(published));
  waiting.join();
  REQUIRE(code == ErrorCode::kNone);
}

}  // namespace
}  // namespace hshm::ipc::test
