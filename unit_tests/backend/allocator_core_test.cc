#include "hermes_shm/memory/allocator/allocator_core.h"

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "backend/child.h"
#include "backend/error_code.h"
#include "backend/probe_allocator.h"
#include "backend/test_segment.h"
#include "hermes_shm/memory/backend/malloc_backend.h"
#include "hermes_shm/memory/backend/posix_shm_mmap.h"
#include "support/catch.h"

namespace hshm::ipc::test {
namespace {

constexpr size_t kBytes = 1 << 20;
const AllocatorId kId(1, 0);

struct Memory {
  MallocBackend backend_;
  Memory() { backend_.shm_init(MemoryBackendId(1), kBytes); }
};

struct alignas(64) Wide {
  char bytes_[128];
};

TEST_CASE("An allocator reserves a zeroed custom header that all its handles see") {
  Memory memory;
  auto* made = memory.backend_.MakeAlloc<ProbeAllocator>(kId, sizeof(Wide));
  auto* wide = made->GetCustomHeader<Wide>();
  REQUIRE(reinterpret_cast<uintptr_t>(wide) % kCustomHeaderAlignment == 0);
  for (char byte : wide->bytes_) REQUIRE(byte == 0);
  wide->bytes_[5] = 42;
  auto* joined = memory.backend_.AttachAlloc<ProbeAllocator>();
  REQUIRE(joined->GetCustomHeader<Wide>()->bytes_[5] == 42);
  REQUIRE(CodeOf([&] { joined->GetCustomHeader<char[129]>(); }) == ErrorCode::kOutOfRange);
}

TEST_CASE("Containers find a handle only while it is whole, of several on one mapping as well") {
  Memory memory;
  const void* const base = memory.backend_.region().base_;
  auto* made = memory.backend_.MakeAlloc<ProbeAllocator>(kId);
  REQUIRE(AttachedAllocator::Find(base) == made);
  auto* joined = memory.backend_.AttachAlloc<ProbeAllocator>();
  REQUIRE_THROWS_AS(memory.backend_.AttachAlloc<ProbeAllocator>(true), std::runtime_error);
  joined->shm_detach();
  REQUIRE(AttachedAllocator::Find(base) == made);
  made->shm_detach();
  REQUIRE(AttachedAllocator::Find(base) == nullptr);
  REQUIRE_FALSE(made->was_found_half_made());
  REQUIRE_FALSE(joined->was_found_half_made());
}

TEST_CASE("An allocator without a custom header has none") {
  Memory memory;
  auto* made = memory.backend_.MakeAlloc<ProbeAllocator>(kId);
  REQUIRE(CodeOf([&] { made->GetCustomHeader<char>(); }) == ErrorCode::kOutOfRange);
}

TEST_CASE("Making an allocator refuses bad arguments and leaves the region free") {
  Memory memory;
  auto make = [&](AllocatorId id, size_t custom) {
    return CodeOf([&] { memory.backend_.MakeAlloc<ProbeAllocator>(id, custom); });
  };
  REQUIRE(make(AllocatorId::Null(), 0) == ErrorCode::kOutOfRange);
  REQUIRE(make(kId, kBytes / 4 + 1) == ErrorCode::kOutOfRange);
  REQUIRE(make(kId, ~size_t{0}) == ErrorCode::kOutOfRange);
  REQUIRE_THROWS_AS(memory.backend_.MakeAlloc<ProbeAllocator>(kId, 64, true), std::runtime_error);
  auto* made = memory.backend_.MakeAlloc<ProbeAllocator>(kId, kBytes / 4);
  REQUIRE(made->GetMembership().slot() == 0);  // none of the failures kept a slot
  REQUIRE(made->GetCustomHeader<char>() != nullptr);
}

TEST_CASE("An allocator without memory, or without services for it, is OutOfRange") {
  Memory memory;
  Region region = memory.backend_.region();
  region.services_ = nullptr;
  REQUIRE(CodeOf([&] { ProbeAllocator().shm_init(kId, 0, region); }) == ErrorCode::kOutOfRange);
  REQUIRE(CodeOf([&] { ProbeAllocator().shm_attach(region); }) == ErrorCode::kOutOfRange);
  REQUIRE(CodeOf([&] { ProbeAllocator().shm_init(kId, 0, Region()); }) == ErrorCode::kOutOfRange);
}

TEST_CASE("A region holds one allocator") {
  Memory memory;
  memory.backend_.MakeAlloc<ProbeAllocator>(kId);
  const Thrown second =
      ThrownBy([&] { memory.backend_.MakeAlloc<OtherAllocator>(AllocatorId(2, 0)); });
  REQUIRE(second.code_ == ErrorCode::kBackendInUse);
  REQUIRE(second.Says("StackAllocator"));
  const Thrown wrong = ThrownBy([&] { memory.backend_.AttachAlloc<OtherAllocator>(); });
  REQUIRE(wrong.code_ == ErrorCode::kWrongAllocator);
  REQUIRE(wrong.Says("StackAllocator"));
  REQUIRE(wrong.Says("BuddyAllocator"));
}

TEST_CASE("Of many that make an allocator at once one does, and the others are told") {
  Memory memory;
  std::atomic<int> made{0};
  std::atomic<int> refused{0};
  std::vector<std::thread> threads;
  for (uint32_t i = 1; i <= 8; ++i) {
    threads.emplace_back([&, i] {
      const ErrorCode code =
          CodeOf([&] { memory.backend_.MakeAlloc<ProbeAllocator>(AllocatorId(i, 0)); });
      if (code == ErrorCode::kNone) ++made;
      if (code == ErrorCode::kBackendInUse) ++refused;
    });
  }
  for (auto& thread : threads) thread.join();
  REQUIRE(made == 1);
  REQUIRE(refused == 7);
}

TEST_CASE("A maker that was killed before it published leaves the region free") {
  TestSegment segment;
  PosixShmMmap backend;
  backend.shm_init(MemoryBackendId(1), kBytes, segment.url());
  struct Dying : ProbeAllocator {
    void Begin(const Region& region) { BeginInit(AllocatorId(5, 5), 100, region); }
  };
  LivingChild child([&] {
    auto* own = new PosixShmMmap();
    own->shm_attach(segment.url());
    (new Dying())->Begin(own->region());
  });
  REQUIRE(child.is_ready());
  child.Kill();
  auto* made = backend.MakeAlloc<ProbeAllocator>(kId);
  REQUIRE(made->GetId() == kId);
}

TEST_CASE("Attaching waits for an allocator that is being made, and not for ever") {
  Memory memory;
  const Thrown late = ThrownBy([&] { memory.backend_.AttachAlloc<ProbeAllocator>(); });
  REQUIRE(late.code_ == ErrorCode::kNotReady);
  std::thread maker([&] { memory.backend_.MakeAlloc<ProbeAllocator>(kId); });
  ProbeAllocator* joined = nullptr;
  REQUIRE(CodeOf([&] { joined = memory.backend_.AttachAlloc<ProbeAllocator>(); }) ==
          ErrorCode::kNone);
  maker.join();
  REQUIRE(joined->GetId() == kId);
}

TEST_CASE("Attaching refuses an allocator header that cannot be right") {
  Memory memory;
  memory.backend_.MakeAlloc<ProbeAllocator>(kId, 100);
  const Region region = memory.backend_.region();
  auto* header = region.At<AllocatorHeader>(AllocatorOffsetFor(kBytes));
  auto attach = [&] { return CodeOf([&] { memory.backend_.AttachAlloc<ProbeAllocator>(); }); };
  REQUIRE(attach() == ErrorCode::kNone);
  ++header->layout_version_;
  REQUIRE(attach() == ErrorCode::kVersionMismatch);
  --header->layout_version_;
  header->core_offset_ += 64;
  REQUIRE(attach() == ErrorCode::kCorrupt);
  header->core_offset_ -= 64;
  header->custom_header_bytes_ = ~uint64_t{0};
  REQUIRE(attach() == ErrorCode::kCorrupt);
  header->custom_header_bytes_ = 100;
  header->custom_header_offset_ += 8;
  REQUIRE(attach() == ErrorCode::kCorrupt);
  header->custom_header_offset_ -= 8;
  REQUIRE(attach() == ErrorCode::kNone);
}

TEST_CASE("Attaching refuses a place of a custom header where there is none") {
  Memory memory;
  memory.backend_.MakeAlloc<ProbeAllocator>(kId);
  const Region region = memory.backend_.region();
  auto* header = region.At<AllocatorHeader>(AllocatorOffsetFor(kBytes));
  REQUIRE(header->custom_header_offset_ == 0);
  header->custom_header_offset_ = AllocatorOffsetFor(kBytes) + sizeof(AllocatorHeader);
  REQUIRE(CodeOf([&] { memory.backend_.AttachAlloc<ProbeAllocator>(); }) == ErrorCode::kCorrupt);
}

TEST_CASE("A detached handle can attach again, an attached one cannot") {
  Memory memory;
  auto* made = memory.backend_.MakeAlloc<ProbeAllocator>(kId);
  REQUIRE(CodeOf([&] { made->shm_attach(memory.backend_.region()); }) == ErrorCode::kBackendInUse);
  made->shm_detach();
  REQUIRE_FALSE(made->IsAttached());
  made->shm_detach();
  made->shm_attach(memory.backend_.region());
  REQUIRE(made->IsAttached());
  REQUIRE(made->GetMembership().generation() == 2);
  ProbeAllocator failed;
  REQUIRE_THROWS_AS(failed.shm_attach(memory.backend_.region(), true), std::runtime_error);
  REQUIRE_FALSE(failed.IsAttached());
  REQUIRE_FALSE(made->GetMembership().IsAlive(1));
}

TEST_CASE("Pointers and offsets of an allocator convert both ways, null included") {
  Memory memory;
  auto* made = memory.backend_.MakeAlloc<ProbeAllocator>(kId);
  const auto block = made->Allocate<int>(HSHM_DEFAULT_MEM_CTX, 64);
  REQUIRE(made->ToOffset(block.ptr_).load() == block.shm_.off_.load());
  REQUIRE(made->Convert(block.shm_) == block.ptr_);
  REQUIRE(made->Contains(block.ptr_));
  int outside = 0;
  REQUIRE_FALSE(made->Contains(&outside));
  REQUIRE_FALSE(made->Contains(OffsetPtr<int>()));
  REQUIRE(made->ToOffset(static_cast<int*>(nullptr)).IsNull());
  REQUIRE(made->Convert(OffsetPtr<int>()) == nullptr);
}

TEST_CASE("Roots are found by name from every handle, change, and go") {
  Memory memory;
  auto* made = memory.backend_.MakeAlloc<ProbeAllocator>(kId);
  auto* joined = memory.backend_.AttachAlloc<ProbeAllocator>();
  const auto one = made->Allocate<int>(HSHM_DEFAULT_MEM_CTX, 64);
  const auto two = made->Allocate<int>(HSHM_DEFAULT_MEM_CTX, 64);
  *one.ptr_ = 11;
  REQUIRE(joined->FindRoot<int>("table").IsNull());
  REQUIRE(made->SetRoot("table", one));
  REQUIRE(*joined->FindRoot<int>("table").ptr_ == 11);
  REQUIRE(joined->FindRoot<int>("tabl").IsNull());
  REQUIRE(joined->FindRoot<int>("table2").IsNull());
  REQUIRE(joined->SetRoot("table", two));
  REQUIRE(made->FindRoot<int>("table").ptr_ == two.ptr_);
  REQUIRE(joined->SetRoot("table", FullPtr<int>()));
  REQUIRE(made->FindRoot<int>("table").IsNull());
  REQUIRE(made->SetRoot("never there", FullPtr<int>()));
}

TEST_CASE("Roots have names of 1 to 55 bytes and 63 entries") {
  Memory memory;
  auto* made = memory.backend_.MakeAlloc<ProbeAllocator>(kId);
  const auto block = made->Allocate<int>(HSHM_DEFAULT_MEM_CTX, 64);
  REQUIRE_FALSE(made->SetRoot("", block));
  REQUIRE_FALSE(made->SetRoot(std::string(56, 'x'), block));
  REQUIRE_FALSE(made->SetRoot(std::string_view("a\0b", 3), block));
  REQUIRE(made->SetRoot(std::string(55, 'x'), block));
  for (uint32_t i = 1; i < kMaxRoots; ++i) REQUIRE(made->SetRoot(std::to_string(i), block));
  REQUIRE_FALSE(made->SetRoot("one too many", block));
  REQUIRE(made->SetRoot("17", block));
  REQUIRE(made->SetRoot("17", FullPtr<int>()));
  REQUIRE(made->SetRoot("one too many", block));
  REQUIRE_FALSE(made->FindRoot<int>(std::string(55, 'x')).IsNull());
  REQUIRE_FALSE(made->FindRoot<int>("62").IsNull());
}

TEST_CASE("FindRoot never gives one name the offset of another while roots come and go") {
  Memory memory;
  auto* made = memory.backend_.MakeAlloc<ProbeAllocator>(kId);
  auto* reader = memory.backend_.AttachAlloc<ProbeAllocator>();
  const auto a = made->Allocate<int>(HSHM_DEFAULT_MEM_CTX, 64);
  const auto b = made->Allocate<int>(HSHM_DEFAULT_MEM_CTX, 64);
  std::atomic<bool> stop{false};
  std::thread writer([&] {
    for (int i = 0; i < 20000; ++i) {  // both names take turns in the first entry
      made->SetRoot("name of a", a);
      made->SetRoot("name of a", FullPtr<int>());
      made->SetRoot("name of b", b);
      made->SetRoot("name of b", FullPtr<int>());
    }
    stop = true;
  });
  size_t wrong = 0;
  while (!stop) {
    const auto found_a = reader->FindRoot<int>("name of a");
    const auto found_b = reader->FindRoot<int>("name of b");
    if (!found_a.IsNull() && found_a.ptr_ != a.ptr_) ++wrong;
    if (!found_b.IsNull() && found_b.ptr_ != b.ptr_) ++wrong;
  }
  writer.join();
  REQUIRE(wrong == 0);
}

}  // namespace
}  // namespace hshm::ipc::test
