#include "hermes_shm/memory/memory_manager.h"

#include <memory>
#include <thread>
#include <vector>

#include "backend/child.h"
#include "backend/error_code.h"
#include "backend/probe_allocator.h"
#include "backend/test_segment.h"
#include "support/catch.h"

namespace hshm::ipc::test {
namespace {

constexpr size_t kBytes = kMinRegionBytes;
const MemoryBackendId kBackend(4);
const AllocatorId kAlloc(1, 0);

TEST_CASE("HSHM_MEMORY_MANAGER is one object for all threads, without an init call") {
  std::vector<MemoryManager*> seen(8);
  std::vector<std::thread> threads;
  for (auto& manager : seen) threads.emplace_back([&] { manager = HSHM_MEMORY_MANAGER; });
  for (auto& thread : threads) thread.join();
  for (auto* manager : seen) REQUIRE(manager == HSHM_MEMORY_MANAGER);
  REQUIRE(seen[0] != nullptr);
}

TEST_CASE("Manager: unregistering and destroying what is not there is a no-op") {
  MemoryManager manager;
  manager.UnregisterAllocator(kAlloc);
  manager.UnregisterAllocator(AllocatorId::Null());
  manager.DestroyBackend(kBackend);
  REQUIRE(manager.GetBackend(kBackend) == nullptr);
  REQUIRE(manager.GetAllocator<ProbeAllocator>(kAlloc) == nullptr);
  REQUIRE(manager.GetAllocator<ProbeAllocator>(AllocatorId::Null()) == nullptr);
  manager.CreateBackend<MallocBackend>(kBackend, kBytes);  // in which no allocator is
  manager.UnregisterAllocator(AllocatorId::Null());
  REQUIRE(manager.GetAllocator<ProbeAllocator>(AllocatorId::Null()) == nullptr);
  REQUIRE(manager.CreateAllocator<ProbeAllocator>(kBackend, kAlloc, 0) != nullptr);
}

TEST_CASE("Manager: one process sets up, uses, and takes down by ids") {
  TestSegment segment;
  MemoryManager manager;
  PosixShmMmap* backend = manager.CreateBackend<PosixShmMmap>(kBackend, kBytes, segment.url());
  REQUIRE(manager.GetBackend(kBackend) == backend);
  REQUIRE(manager.GetAllocator<ProbeAllocator>(kAlloc) == nullptr);
  auto* made = manager.CreateAllocator<ProbeAllocator>(kBackend, kAlloc, sizeof(int));
  REQUIRE(manager.GetAllocator<ProbeAllocator>(kAlloc) == made);
  *made->GetCustomHeader<int>() = 5;
  manager.UnregisterAllocator(kAlloc);
  REQUIRE(manager.GetAllocator<ProbeAllocator>(kAlloc) == nullptr);
  REQUIRE(segment.Exists());
  manager.DestroyBackend(kBackend);
  REQUIRE(manager.GetBackend(kBackend) == nullptr);
  REQUIRE_FALSE(segment.Exists());
}

TEST_CASE("Manager: DestroyBackend unregisters its allocator, and its ids are free again") {
  MemoryManager manager;
  for (int i = 0; i < 3; ++i) {
    manager.CreateBackend<MallocBackend>(kBackend, kBytes);
    manager.CreateAllocator<ProbeAllocator>(kBackend, kAlloc, 0);
    manager.DestroyBackend(kBackend);
    REQUIRE(manager.GetAllocator<ProbeAllocator>(kAlloc) == nullptr);
  }
}

TEST_CASE("Manager: a follower finds the backend's id and the allocator, made before or after") {
  TestSegment segment;
  MemoryManager leader;
  MemoryManager follower;  // as another process: handles, slots and mappings of its own
  leader.CreateBackend<PosixShmMmap>(kBackend, kBytes, segment.url());
  follower.AttachBackend(MemoryBackendType::kPosixShmMmap, segment.url());
  REQUIRE(follower.GetBackend(kBackend) != nullptr);
  REQUIRE_FALSE(follower.GetBackend(kBackend)->IsOwner());
  REQUIRE(follower.GetAllocator<ProbeAllocator>(kAlloc) == nullptr);
  auto* made = leader.CreateAllocator<ProbeAllocator>(kBackend, kAlloc, sizeof(int));
  *made->GetCustomHeader<int>() = 17;
  auto* joined = follower.GetAllocator<ProbeAllocator>(kAlloc);
  REQUIRE(joined != nullptr);
  REQUIRE(joined != made);
  REQUIRE(*joined->GetCustomHeader<int>() == 17);
  REQUIRE(follower.GetAllocator<ProbeAllocator>(kAlloc) == joined);
  REQUIRE(joined->GetMembership().slot() == 1);

  follower.DestroyBackend(kBackend);
  REQUIRE(segment.Exists());
  REQUIRE(made->GetMembership().IsDead(1, 1));
  leader.DestroyBackend(kBackend);
  REQUIRE_FALSE(segment.Exists());
}

TEST_CASE("Manager: a forked follower attaches by name and reads what the leader wrote") {
  TestSegment segment;
  MemoryManager leader;
  leader.CreateBackend<PosixShmMmap>(kBackend, kBytes, segment.url());
  auto* made = leader.CreateAllocator<ProbeAllocator>(kBackend, kAlloc, sizeof(int));
  *made->GetCustomHeader<int>() = 17;
  const int result = RunInChild([&] {
    MemoryManager follower;
    follower.AttachBackend(MemoryBackendType::kPosixShmMmap, segment.url());
    auto* joined = follower.GetAllocator<ProbeAllocator>(kAlloc);
    return joined == nullptr ? 1 : *joined->GetCustomHeader<int>();
  });
  REQUIRE(result == 17);
}

TEST_CASE("Manager: ids that are in use are refused and nothing half-made stays") {
  TestSegment one;
  TestSegment two;
  MemoryManager manager;
  manager.CreateBackend<PosixShmMmap>(kBackend, kBytes, one.url());
  manager.CreateAllocator<ProbeAllocator>(kBackend, kAlloc, 0);
  REQUIRE(CodeOf([&] { manager.CreateBackend<PosixShmMmap>(kBackend, kBytes, two.url()); }) ==
          ErrorCode::kIdInUse);
  REQUIRE_FALSE(two.Exists());
  REQUIRE(CodeOf([&] { manager.AttachBackend(MemoryBackendType::kPosixShmMmap, one.url()); }) ==
          ErrorCode::kIdInUse);
  REQUIRE(CodeOf([&] {
            manager.CreateAllocator<ProbeAllocator>(kBackend, AllocatorId(2, 0), 0);
          }) == ErrorCode::kBackendInUse);
  manager.CreateBackend<MallocBackend>(MemoryBackendId(5), kBytes);
  REQUIRE(CodeOf([&] { manager.CreateAllocator<ProbeAllocator>(MemoryBackendId(5), kAlloc, 0); }) ==
          ErrorCode::kIdInUse);
  REQUIRE(CodeOf([&] {
            manager.CreateAllocator<ProbeAllocator>(MemoryBackendId(9), AllocatorId(2, 0), 0);
          }) == ErrorCode::kNotFound);
  manager.CreateAllocator<ProbeAllocator>(MemoryBackendId(5), AllocatorId(2, 0), 0);
  REQUIRE(manager.GetAllocator<ProbeAllocator>(AllocatorId(2, 0)) != nullptr);
}

TEST_CASE("Manager: attaching a segment whose allocator has an id of this process is refused") {
  TestSegment segment;
  MemoryManager other;
  other.CreateBackend<PosixShmMmap>(kBackend, kBytes, segment.url());
  other.CreateAllocator<ProbeAllocator>(kBackend, kAlloc, 0);
  MemoryManager manager;
  manager.CreateBackend<MallocBackend>(MemoryBackendId(5), kBytes);
  manager.CreateAllocator<ProbeAllocator>(MemoryBackendId(5), kAlloc, 0);
  REQUIRE(CodeOf([&] { manager.AttachBackend(MemoryBackendType::kPosixShmMmap, segment.url()); }) ==
          ErrorCode::kIdInUse);
  REQUIRE(manager.GetBackend(kBackend) == nullptr);
  manager.DestroyBackend(MemoryBackendId(5));
  manager.AttachBackend(MemoryBackendType::kPosixShmMmap, segment.url());
  REQUIRE(manager.GetAllocator<ProbeAllocator>(kAlloc) != nullptr);
}

TEST_CASE("Manager: the wrong class is WrongAllocator, joined or not") {
  TestSegment segment;
  MemoryManager leader;
  MemoryManager follower;
  leader.CreateBackend<PosixShmMmap>(kBackend, kBytes, segment.url());
  leader.CreateAllocator<ProbeAllocator>(kBackend, kAlloc, 0);
  REQUIRE(CodeOf([&] { leader.GetAllocator<OtherAllocator>(kAlloc); }) ==
          ErrorCode::kWrongAllocator);
  follower.AttachBackend(MemoryBackendType::kPosixShmMmap, segment.url());
  REQUIRE(CodeOf([&] { follower.GetAllocator<OtherAllocator>(kAlloc); }) ==
          ErrorCode::kWrongAllocator);
  REQUIRE(follower.GetAllocator<ProbeAllocator>(kAlloc) != nullptr);
}

TEST_CASE("Manager: backends that one process has alone cannot be attached by name") {
  MemoryManager manager;
  for (auto type : {MemoryBackendType::kMallocBackend, MemoryBackendType::kArrayBackend,
                    MemoryBackendType::kGpuMalloc, MemoryBackendType::kGpuShmMmap,
                    static_cast<MemoryBackendType>(77)}) {
    REQUIRE(CodeOf([&] { manager.AttachBackend(type, "any"); }) == ErrorCode::kUnsupported);
  }
  REQUIRE(CodeOf([&] { manager.AttachBackend(MemoryBackendType::kPosixShmMmap, "a/b"); }) ==
          ErrorCode::kBadName);
}

TEST_CASE("Manager: a process has 16 backends at most, and a place that is given back is used") {
  MemoryManager manager;
  for (uint32_t i = 0; i < MemoryManager::kMaxBackends; ++i) {
    manager.CreateBackend<MallocBackend>(MemoryBackendId(i), kBytes);
    manager.CreateAllocator<ProbeAllocator>(MemoryBackendId(i), AllocatorId(i + 1, 0), 0);
  }
  REQUIRE(CodeOf([&] { manager.CreateBackend<MallocBackend>(MemoryBackendId(99), kBytes); }) ==
          ErrorCode::kOutOfRange);
  manager.DestroyBackend(MemoryBackendId(3));
  manager.CreateBackend<MallocBackend>(MemoryBackendId(99), kBytes);
  REQUIRE(manager.GetAllocator<ProbeAllocator>(AllocatorId(16, 0)) != nullptr);
}

TEST_CASE("Manager: an array that the caller keeps can hold a backend") {
  alignas(64) static char array[kBytes];
  MemoryManager manager;
  manager.CreateBackend<ArrayBackend>(kBackend, sizeof(array), array);
  auto* made = manager.CreateAllocator<ProbeAllocator>(kBackend, kAlloc, 0);
  REQUIRE(made->Contains(array + 1000));
}

TEST_CASE("Manager: many threads that ask for an allocator at once share one handle") {
  TestSegment segment;
  MemoryManager leader;
  MemoryManager follower;
  leader.CreateBackend<PosixShmMmap>(kBackend, kBytes, segment.url());
  auto* made = leader.CreateAllocator<ProbeAllocator>(kBackend, kAlloc, 0);
  follower.AttachBackend(MemoryBackendType::kPosixShmMmap, segment.url());
  std::vector<ProbeAllocator*> seen(8);
  std::vector<std::thread> threads;
  for (auto& handle : seen) {
    threads.emplace_back([&] { handle = follower.GetAllocator<ProbeAllocator>(kAlloc); });
  }
  for (auto& thread : threads) thread.join();
  for (auto* handle : seen) REQUIRE(handle == seen[0]);
  REQUIRE(seen[0] != nullptr);
  REQUIRE_FALSE(made->GetMembership().IsAlive(2));
}

/** Ends after the manager's first use in main, so its destructor runs when the process ends. */
struct UsesManagerAtExit {
  ~UsesManagerAtExit() {
    auto* alloc = HSHM_MEMORY_MANAGER->GetAllocator<ProbeAllocator>(kAlloc);
    if (alloc == nullptr || alloc->Allocate<char>(HSHM_DEFAULT_MEM_CTX, 16).IsNull()) _exit(3);
  }
};

TEST_CASE("Manager: static objects may use it while the process ends") {
  TestSegment segment;
  const pid_t pid = fork();
  if (pid == 0) {
    static UsesManagerAtExit last;
    HSHM_MEMORY_MANAGER->CreateBackend<PosixShmMmap>(kBackend, kBytes, segment.url());
    HSHM_MEMORY_MANAGER->CreateAllocator<ProbeAllocator>(kBackend, kAlloc, 0);
    std::exit(0);
  }
  int status = 0;
  REQUIRE(waitpid(pid, &status, 0) == pid);
  REQUIRE(WIFEXITED(status));
  REQUIRE(WEXITSTATUS(status) == 0);
  REQUIRE(segment.Exists());  // its creator did not destroy it
}

}  // namespace
}  // namespace hshm::ipc::test
