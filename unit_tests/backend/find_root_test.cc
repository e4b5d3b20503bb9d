/** FindRoot with its steps drawn apart: the reader is halted anywhere while the roots change. */
#include <atomic>
#include <cstring>
#include <string>
#include <thread>

#include "backend/probe_allocator.h"
#include "hermes_shm/memory/backend/malloc_backend.h"
#include "support/catch.h"
#include "support/halted_thread.h"

namespace hshm::ipc::test {
namespace {

TEST_CASE("FindRoot gives what a name stands for although roots change between any two steps") {
  constexpr int kRounds = 4000;
  MallocBackend backend;
  backend.shm_init(MemoryBackendId(1), 1 << 20);
  auto* alloc = backend.MakeAlloc<ProbeAllocator>(AllocatorId(1, 0));
  const auto a = alloc->Allocate<int>(HSHM_DEFAULT_MEM_CTX, 64);
  const auto b = alloc->Allocate<int>(HSHM_DEFAULT_MEM_CTX, 64);
  std::atomic<bool> stop{false};
  std::atomic<uint64_t> laps{0};
  std::atomic<uint64_t> wrong{0};
  std::thread reader([&] {
    for (; !stop; ++laps) {
      const auto found = alloc->FindRoot<int>("name of b");
      if (!found.IsNull() && found.ptr_ != b.ptr_) ++wrong;
    }
  });
  hshm::test::Halter halter;
  bool is_halted = true;
  for (int round = 0; round < kRounds && is_halted; ++round) {
    is_halted = halter.While(reader, laps, [&] {
      const bool is_a_due = round % 2 == 0;  // both names take turns in the first entry
      alloc->SetRoot(is_a_due ? "name of b" : "name of a", FullPtr<int>());
      alloc->SetRoot(is_a_due ? "name of a" : "name of b", is_a_due ? a : b);
    });
  }
  stop = true;
  reader.join();
  if (!is_halted) WARN("signals come too late here");
  CHECK(wrong == 0);
}

TEST_CASE("FindRoot gives no deleted block under a name that its entry got afterwards") {
  constexpr int kRounds = 4000;
  constexpr char kNewName[kMaxRootNameBytes + 1] = "name of b";
  MallocBackend backend;
  backend.shm_init(MemoryBackendId(1), 1 << 20);
  auto* alloc = backend.MakeAlloc<ProbeAllocator>(AllocatorId(1, 0));
  const auto a = alloc->Allocate<int>(HSHM_DEFAULT_MEM_CTX, 64);
  const auto b = alloc->Allocate<int>(HSHM_DEFAULT_MEM_CTX, 64);
  const Region region = backend.region();
  auto* const header = region.At<AllocatorHeader>(AllocatorOffsetFor(region.size_bytes_));
  RootEntry& entry = header->roots_[0];
  std::atomic<bool> stop{false};
  std::atomic<uint64_t> laps{0};
  std::atomic<uint64_t> wrong{0};
  std::thread reader([&] {
    for (; !stop; ++laps) {
      const auto found = alloc->FindRoot<int>("name of b");
      if (!found.IsNull() && found.ptr_ != b.ptr_) ++wrong;
    }
  });
  hshm::test::Halter halter;
  bool is_halted = true;
  for (int round = 0; round < kRounds && is_halted; ++round) {
    halter.While(reader, laps, [&] {
      alloc->SetRoot("name of b", FullPtr<int>());
      alloc->SetRoot("name of a", a);
      header->roots_version_.fetch_add(1);  // a SetRoot of b begins
    });
    is_halted = halter.While(reader, laps, [&] {
      entry.offset_.store(0);  // a is deleted, its name goes, and SetRoot finds the entry free
      std::memcpy(entry.name_, kNewName, sizeof(kNewName));
      entry.offset_.store(b.shm_.off_.load());
    });
  }
  stop = true;
  reader.join();
  if (!is_halted) WARN("signals come too late here");
  CHECK(wrong == 0);
}

TEST_CASE("FindRoot gives null for what can be no name, as SetRoot refuses it") {
  MallocBackend backend;
  backend.shm_init(MemoryBackendId(1), 1 << 20);
  auto* alloc = backend.MakeAlloc<ProbeAllocator>(AllocatorId(1, 0));
  const auto a = alloc->Allocate<int>(HSHM_DEFAULT_MEM_CTX, 64);
  for (const std::string& name :
       {std::string(), std::string(kMaxRootNameBytes + 1, 'n'), std::string("n\0n", 3)}) {
    CAPTURE(name.size());
    REQUIRE_FALSE(alloc->SetRoot(name, a));
    REQUIRE(alloc->FindRoot<int>(name).IsNull());
  }
  const std::string longest(kMaxRootNameBytes, 'n');
  REQUIRE(alloc->SetRoot(longest, a));
  REQUIRE(alloc->FindRoot<int>(longest).ptr_ == a.ptr_);
}

}  // namespace
}  // namespace hshm::ipc::test
