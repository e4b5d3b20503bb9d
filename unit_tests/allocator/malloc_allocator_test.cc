#include "hermes_shm/memory/allocator/malloc_allocator.h"

#include <sys/mman.h>

#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "backend/error_code.h"
#include "hermes_shm/memory/backend/array_backend.h"
#include "hermes_shm/memory/backend/malloc_backend.h"
#include "support/catch.h"
#include "support/child_process.h"

namespace hshm::ipc {
namespace {

const MemContext kCtx = HSHM_DEFAULT_MEM_CTX;
constexpr uint64_t kRegionBytes = 256 * 1024;

/** An array that children share, though its backend counts as private. */
class SharedArray {
 public:
  SharedArray()
      : memory_(mmap(nullptr, kRegionBytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
                     0)) {
    REQUIRE(memory_ != MAP_FAILED);
  }
  ~SharedArray() { munmap(memory_, kRegionBytes); }
  char* get() const { return static_cast<char*>(memory_); }

 private:
  void* memory_;
};

TEST_CASE("MallocAllocator hands out what malloc does, beyond the region's size") {
  MallocBackend backend;
  backend.shm_init(MemoryBackendId(1), kRegionBytes);
  auto* alloc = backend.MakeAlloc<MallocAllocator>(AllocatorId(1, 0));
  const auto large = alloc->Allocate(kCtx, 16 * kRegionBytes);
  REQUIRE_FALSE(large.IsNull());
  REQUIRE_FALSE(backend.region().Contains(large.ptr_));
  std::memset(large.ptr_, 1, 16 * kRegionBytes);
  REQUIRE(alloc->GetCurrentlyAllocatedSize() >= 16 * kRegionBytes);
  alloc->Free(kCtx, large);
  REQUIRE(alloc->GetCurrentlyAllocatedSize() == 0);
}

TEST_CASE("MallocAllocator names roots that lie outside of the region, but none of others") {
  MallocBackend backend;
  backend.shm_init(MemoryBackendId(1), kRegionBytes);
  auto* alloc = backend.MakeAlloc<MallocAllocator>(AllocatorId(1, 0));
  const auto number = alloc->NewObj<int>(kCtx, 42);
  REQUIRE(alloc->SetRoot("answer", number));
  auto* again = backend.AttachAlloc<MallocAllocator>();
  REQUIRE(*again->FindRoot<int>("answer") == 42);
  again->DelObj(kCtx, number);
  int on_stack = 0;
  const hshm::test::Ending ending = hshm::test::RunInChild(
      [&] { (void)alloc->SetRoot("stack", alloc->ToOffset(static_cast<void*>(&on_stack))); });
  REQUIRE(ending.status_ == -SIGABRT);
  REQUIRE(ending.errors_.find("hshm: ForeignPointer: ") != std::string::npos);
}

TEST_CASE("MallocAllocator counts what threads allocate and others free, to the last byte") {
  MallocBackend backend;
  backend.shm_init(MemoryBackendId(1), kRegionBytes);
  auto* alloc = backend.MakeAlloc<MallocAllocator>(AllocatorId(1, 0));
  constexpr int kThreads = 2 * kMallocCounters + 3;  // more than there are counters
  std::vector<OffsetPtr<>> blocks(kThreads);
  for (int i = 0; i < kThreads; ++i) {
    std::thread([&, i] { blocks[i] = alloc->AllocateOffset(kCtx, 1000 + i); }).join();
  }
  REQUIRE(alloc->GetCurrentlyAllocatedSize() >= kThreads * 1000);
  REQUIRE(alloc->Check());
  for (const OffsetPtr<> block : blocks) alloc->FreeOffset(kCtx, block);
  REQUIRE(alloc->GetCurrentlyAllocatedSize() == 0);
}

TEST_CASE("MallocAllocator tells its blocks' range from the rest of the world") {
  MallocBackend backend;
  backend.shm_init(MemoryBackendId(1), kRegionBytes);
  auto* alloc = backend.MakeAlloc<MallocAllocator>(AllocatorId(1, 0));
  REQUIRE_FALSE(alloc->Contains(&backend));
  const auto a = alloc->Allocate(kCtx, 100);
  const auto b = alloc->Allocate(kCtx, 300000);
  for (const auto& block : {a, b}) {
    REQUIRE(alloc->Contains(block.ptr_));
    REQUIRE(alloc->Contains(block.shm_.off_));
  }
  REQUIRE(alloc->Contains(b.ptr_ + 299999));
  REQUIRE_FALSE(alloc->Contains(&backend));           // on the stack
  REQUIRE_FALSE(alloc->Contains(backend.header()));   // in the region
  REQUIRE_FALSE(alloc->Contains(OffsetPtr<>(4096)));  // the same
  REQUIRE_FALSE(alloc->Contains(static_cast<void*>(nullptr)));
  alloc->Free(kCtx, a);
  alloc->Free(kCtx, b);
}

TEST_CASE("MallocAllocator cannot be joined by another process, even where it sees the region") {
  const SharedArray array;
  ArrayBackend backend;
  backend.shm_init(MemoryBackendId(1), kRegionBytes, array.get());
  auto* alloc = backend.MakeAlloc<MallocAllocator>(AllocatorId(1, 0));
  hshm::test::ChildProcess child([&] {
    ArrayBackend other;
    other.shm_attach(array.get(), kRegionBytes);
    const auto refused = test::ThrownBy([&] { (void)other.AttachAlloc<MallocAllocator>(); });
    return refused.code_ == ErrorCode::kUnsupported && refused.Says("belongs to process") ? 0 : 1;
  });
  REQUIRE(child.Wait() == 0);
  REQUIRE(alloc->Check());
}

TEST_CASE("MallocAllocator cannot be joined at another address than it was made at") {
  std::vector<char> memory(2 * kRegionBytes + 64);
  char* const first = memory.data() + (64 - reinterpret_cast<uintptr_t>(memory.data()) % 64);
  ArrayBackend backend;
  backend.shm_init(MemoryBackendId(1), kRegionBytes, first);
  (void)backend.MakeAlloc<MallocAllocator>(AllocatorId(1, 0));
  std::memcpy(first + kRegionBytes, first, kRegionBytes);
  ArrayBackend copy;
  copy.shm_attach(first + kRegionBytes, kRegionBytes);
  const auto refused = test::ThrownBy([&] { (void)copy.AttachAlloc<MallocAllocator>(); });
  REQUIRE(refused.code_ == ErrorCode::kUnsupported);
  REQUIRE(refused.Says("copied"));
}

TEST_CASE("MallocAllocator serves a forked child on its copy of everything") {
  MallocBackend backend;
  backend.shm_init(MemoryBackendId(1), kRegionBytes);
  auto* alloc = backend.MakeAlloc<MallocAllocator>(AllocatorId(1, 0));
  const auto number = alloc->NewObj<int>(kCtx, 1);
  const size_t before = alloc->GetCurrentlyAllocatedSize();
  hshm::test::ChildProcess child([&] {
    *number = 2;
    const auto mine = alloc->NewObj<int>(kCtx, 3);
    const bool is_named = alloc->SetRoot("child's", mine);
    alloc->DelObj(kCtx, number);
    return is_named && *mine == 3 && alloc->Check() ? 0 : 1;
  });
  REQUIRE(child.Wait() == 0);
  REQUIRE(*number == 1);
  REQUIRE(alloc->FindRoot<int>("child's").IsNull());
  REQUIRE(alloc->GetCurrentlyAllocatedSize() == before);
  alloc->DelObj(kCtx, number);
}

TEST_CASE("MallocAllocator leaves a block that cannot grow as it is") {
  MallocBackend backend;
  backend.shm_init(MemoryBackendId(1), kRegionBytes);
  auto* alloc = backend.MakeAlloc<MallocAllocator>(AllocatorId(1, 0));
  auto block = alloc->Allocate(kCtx, 1000);
  std::memset(block.ptr_, 7, 1000);
  const size_t before = alloc->GetCurrentlyAllocatedSize();
  REQUIRE(alloc->Reallocate(kCtx, block, size_t{1} << 62).IsNull());
  REQUIRE(alloc->GetCurrentlyAllocatedSize() == before);
  REQUIRE(block.ptr_[999] == 7);
  block = alloc->Reallocate(kCtx, block, 0);  // realloc(p, 0) would free it
  REQUIRE_FALSE(block.IsNull());
  REQUIRE(*block == 7);
  alloc->Free(kCtx, block);
  REQUIRE(alloc->GetCurrentlyAllocatedSize() == 0);
}

}  // namespace
}  // namespace hshm::ipc
