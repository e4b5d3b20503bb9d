#include "hermes_shm/memory/backend/array_backend.h"

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "backend/child.h"
#include "backend/error_code.h"
#include "backend/probe_allocator.h"
#include "hermes_shm/base/crc32c.h"
#include "hermes_shm/memory/backend/malloc_backend.h"
#include "support/catch.h"

namespace hshm::ipc::test {
namespace {

constexpr size_t kBytes = kMinRegionBytes;

/** An array aligned to 64 bytes, filled with a byte that no header is made of. */
class Array {
 public:
  explicit Array(size_t size = kBytes) : store_(size + 64, char(0xa5)) {}
  char* data() { return store_.data() + (64 - reinterpret_cast<uintptr_t>(store_.data()) % 64); }

 private:
  std::vector<char> store_;
};

TEST_CASE("Crc32c gives the check value of the standard") {
  REQUIRE(Crc32c("123456789", 9) == 0xe3069283);
  const char zeros[32] = {};
  REQUIRE(Crc32c(zeros, 32) == 0x8a9136aa);  // RFC 3720, B.4
}

TEST_CASE("ArrayBackend makes a region that reads as zero behind its headers") {
  Array array;
  ArrayBackend backend;
  REQUIRE_FALSE(backend.IsOpen());
  backend.shm_init(MemoryBackendId(7), kBytes, array.data());
  REQUIRE(backend.IsOpen());
  REQUIRE(backend.IsOwner());
  REQUIRE(backend.GetId() == MemoryBackendId(7));
  REQUIRE(backend.GetType() == MemoryBackendType::kArrayBackend);
  REQUIRE(backend.size_bytes() == kBytes);
  REQUIRE(backend.region().base_ == array.data());
  REQUIRE(std::all_of(array.data() + kBackendHeaderBytes, array.data() + kBytes,
                      [](char c) { return c == 0; }));
  backend.shm_detach();
  REQUIRE_FALSE(backend.IsOpen());
  REQUIRE(backend.size_bytes() == 0);
}

TEST_CASE("ArrayBackend refuses what cannot hold a region") {
  Array array;
  ArrayBackend backend;
  const MemoryBackendId id(1);
  REQUIRE(CodeOf([&] { backend.shm_init(id, 0, array.data()); }) == ErrorCode::kOutOfRange);
  REQUIRE(CodeOf([&] { backend.shm_init(id, kMinRegionBytes - 1, array.data()); }) ==
          ErrorCode::kOutOfRange);
  REQUIRE(CodeOf([&] { backend.shm_init(id, ~size_t{0}, array.data()); }) ==
          ErrorCode::kOutOfRange);
  REQUIRE(CodeOf([&] { backend.shm_init(id, kBytes, nullptr); }) == ErrorCode::kOutOfRange);
  REQUIRE(CodeOf([&] { backend.shm_init(id, kBytes - 8, array.data() + 8); }) ==
          ErrorCode::kOutOfRange);
  REQUIRE_FALSE(backend.IsOpen());
  REQUIRE(*array.data() == char(0xa5));
}

TEST_CASE("ArrayBackend attaches to what another object has made, not to anything else") {
  Array array;
  ArrayBackend maker;
  ArrayBackend other;
  REQUIRE(CodeOf([&] { other.shm_attach(array.data(), kBytes); }) == ErrorCode::kNotASegment);
  maker.shm_init(MemoryBackendId(3), kBytes, array.data());
  auto* made = maker.MakeAlloc<ProbeAllocator>(AllocatorId(1, 2));
  const auto block = made->Allocate<char>(HSHM_DEFAULT_MEM_CTX, 16);
  std::strcpy(block.ptr_, "kept");
  maker.shm_detach();
  REQUIRE(CodeOf([&] { other.shm_attach(array.data(), kBytes - 64); }) == ErrorCode::kTruncated);
  REQUIRE(CodeOf([&] { other.shm_attach(array.data(), 100); }) == ErrorCode::kTruncated);
  other.shm_attach(array.data(), kBytes);
  REQUIRE_FALSE(other.IsOwner());
  REQUIRE(other.GetId() == MemoryBackendId(3));
  auto* joined = other.AttachAlloc<ProbeAllocator>();
  REQUIRE(joined->GetId() == AllocatorId(1, 2));
  REQUIRE(std::string(joined->Convert(block.shm_)) == "kept");
}

TEST_CASE("ArrayBackend refuses an array that is longer than its region") {
  Array array(2 * kBytes);
  ArrayBackend backend;
  backend.shm_init(MemoryBackendId(3), kBytes, array.data());
  backend.shm_detach();
  REQUIRE(CodeOf([&] { backend.shm_attach(array.data(), 2 * kBytes); }) ==
          ErrorCode::kSizeMismatch);
}

TEST_CASE("A second ArrayBackend sees everybody of before as dead") {
  Array array;
  ArrayBackend first;
  first.shm_init(MemoryBackendId(3), kBytes, array.data());
  auto* before = first.MakeAlloc<ProbeAllocator>(AllocatorId(1, 0));
  const uint32_t slot = before->GetMembership().slot();
  const uint32_t generation = before->GetMembership().generation();
  REQUIRE_FALSE(before->GetMembership().IsDead(slot, generation));

  Array image;
  std::memcpy(image.data(), array.data(), kBytes);
  ArrayBackend second;
  second.shm_attach(image.data(), kBytes);
  auto* after = second.AttachAlloc<ProbeAllocator>();
  REQUIRE(after->GetMembership().IsDead(slot, generation));
}

TEST_CASE("MallocBackend gives zeroed memory at a page boundary, and commits only inside it") {
  MallocBackend backend;
  backend.shm_init(MemoryBackendId(4), kBytes + 100);
  const Region region = backend.region();
  REQUIRE(reinterpret_cast<uintptr_t>(region.base_) % kBackendHeaderBytes == 0);
  REQUIRE(std::all_of(region.base_ + kBackendHeaderBytes, region.base_ + region.size_bytes_,
                      [](char c) { return c == 0; }));
  REQUIRE(region.services_->Commit(0, kBytes + 100));
  REQUIRE_FALSE(region.services_->Commit(1, kBytes + 100));
  REQUIRE_FALSE(region.services_->Commit(~Offset{0}, 2));
  region.base_[kBytes] = 1;
  region.services_->Decommit(0, kBytes + 100);
  REQUIRE(region.base_[kBytes] == 1);
}

TEST_CASE("MallocBackend says no when there is no room, and stays usable") {
  MallocBackend backend;
#if !HSHM_TEST_HAS_SANITIZER
  REQUIRE(CodeOf([&] { backend.shm_init(MemoryBackendId(4), size_t{1} << 60); }) ==
          ErrorCode::kNoSpace);
#endif
  backend.shm_init(MemoryBackendId(4), kBytes);
  REQUIRE(backend.MakeAlloc<ProbeAllocator>(AllocatorId(1, 0)) != nullptr);
}

TEST_CASE("Allocator handles survive the moves of their backend") {
  MallocBackend first;
  first.shm_init(MemoryBackendId(4), kBytes);
  auto* made = first.MakeAlloc<ProbeAllocator>(AllocatorId(1, 0));
  MallocBackend second(std::move(first));
  REQUIRE_FALSE(first.IsOpen());
  REQUIRE_FALSE(first.IsOwner());
  MallocBackend third;
  third.shm_init(MemoryBackendId(5), kBytes);
  third.MakeAlloc<ProbeAllocator>(AllocatorId(9, 0));
  third = std::move(second);
  REQUIRE(third.GetId() == MemoryBackendId(4));
  REQUIRE(made->Allocate<char>(HSHM_DEFAULT_MEM_CTX, 16).ptr_ != nullptr);
  REQUIRE(third.AttachAlloc<ProbeAllocator>()->GetMembership().slot() == 1);
  REQUIRE_FALSE(made->GetMembership().IsDead(0, 1));
}

TEST_CASE("A backend without a region has no url and unlinks nothing, and may be moved to itself") {
  MallocBackend backend;
  REQUIRE(backend.GetUrl().empty());
  backend.Unlink();
  MallocBackend& same = backend;
  backend.shm_init(MemoryBackendId(4), kBytes);
  REQUIRE(backend.GetUrl().empty());  // nobody else can have it
  auto* made = backend.MakeAlloc<ProbeAllocator>(AllocatorId(1, 0));
  backend = std::move(same);
  REQUIRE(backend.IsOpen());
  REQUIRE_FALSE(made->Allocate<char>(HSHM_DEFAULT_MEM_CTX, 16).IsNull());
}

TEST_CASE("Backends refuse to be used before and to be opened twice") {
  MallocBackend backend;
  REQUIRE(CodeOf([&] { backend.MakeAlloc<ProbeAllocator>(AllocatorId(1, 0)); }) ==
          ErrorCode::kUnsupported);
  REQUIRE(CodeOf([&] { backend.AttachAlloc<ProbeAllocator>(); }) == ErrorCode::kUnsupported);
  backend.DestroyAlloc(static_cast<ProbeAllocator*>(nullptr));
  backend.shm_detach();
  backend.shm_destroy();
  backend.shm_init(MemoryBackendId(4), kBytes);
  REQUIRE(CodeOf([&] { backend.shm_init(MemoryBackendId(5), kBytes); }) ==
          ErrorCode::kBackendInUse);
  REQUIRE(backend.GetId() == MemoryBackendId(4));
}

TEST_CASE("DestroyAlloc lets the slot go and ignores handles of others") {
  MallocBackend backend;
  MallocBackend stranger;
  backend.shm_init(MemoryBackendId(4), kBytes);
  stranger.shm_init(MemoryBackendId(5), kBytes);
  auto* made = backend.MakeAlloc<ProbeAllocator>(AllocatorId(1, 0));
  auto* joined = backend.AttachAlloc<ProbeAllocator>();
  const uint32_t slot = joined->GetMembership().slot();
  stranger.DestroyAlloc(joined);
  REQUIRE(made->GetMembership().IsAlive(slot));
  backend.DestroyAlloc(joined);
  REQUIRE_FALSE(made->GetMembership().IsAlive(slot));
}

}  // namespace
}  // namespace hshm::ipc::test
