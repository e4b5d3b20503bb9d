#include <atomic>
#include <random>
#include <thread>
#include <vector>

#include "data_structures/test_allocator.h"
#include "hermes_shm/data_structures/unordered_map.h"
#include "hermes_shm/memory/allocator/stack_allocator.h"
#include "hermes_shm/memory/backend/malloc_backend.h"
#include "support/catch.h"
#include "support/seed.h"

using hshm::ipc::AllocatorId;
using hshm::ipc::MallocBackend;
using hshm::ipc::MapResult;
using hshm::ipc::MemoryBackendId;
using hshm::ipc::StackAllocator;
using hshm::test::TestAllocator;

namespace {

constexpr int kThreads = 4;

template <typename Body>
void RunThreads(const Body& body) {
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) threads.emplace_back([&body, i] { body(i); });
  for (std::thread& thread : threads) thread.join();
}

}  // namespace

TEST_CASE("unordered_map counts exactly when threads count the same keys through growth") {
  const uint64_t seed = hshm::test::PrintedSeed("unordered_map counting threads");
  constexpr uint64_t kKeys = 3000;
  constexpr int kSteps = 20000;
  TestAllocator alloc;
  hshm::ipc::unordered_map<uint64_t, uint32_t, TestAllocator> map;
  map.shm_init(&alloc, {.expected_entries_ = 0, .stripes_ = 4});
  RunThreads([&](int thread) {
    std::mt19937_64 random(seed + static_cast<uint64_t>(thread));
    for (int i = 0; i < kSteps; ++i) {
      const uint64_t key = random() % kKeys;
      map.prefetch(key);
      map.upsert(key, [](uint32_t& n) { ++n; });
    }
  });
  std::vector<uint32_t> expected(kKeys);
  for (int thread = 0; thread < kThreads; ++thread) {
    std::mt19937_64 random(seed + static_cast<uint64_t>(thread));
    for (int i = 0; i < kSteps; ++i) ++expected[random() % kKeys];
  }
  for (uint64_t key = 0; key < kKeys; ++key) REQUIRE(map.find(key).value_or(0) == expected[key]);
  REQUIRE(map.Check());
  map.shm_destroy();
  REQUIRE(alloc.live_blocks() == 0);
}

TEST_CASE("unordered_map loses and doubles no entry when threads insert and erase the same keys") {
  const uint64_t seed = hshm::test::PrintedSeed("unordered_map inserting and erasing threads");
  constexpr uint64_t kKeys = 500;
  TestAllocator alloc;
  hshm::ipc::unordered_map<uint64_t, uint64_t, TestAllocator> map;
  map.shm_init(&alloc, {.expected_entries_ = 0, .stripes_ = 2});
  std::atomic<int64_t> balance[kKeys] = {};
  std::atomic<int> wrong = 0;
  RunThreads([&](int thread) {
    std::mt19937_64 random(seed + static_cast<uint64_t>(thread));
    for (int i = 0; i < 20000; ++i) {
      const uint64_t key = random() % kKeys;
      switch (random() % 4) {
        case 0:
          if (map.erase(key)) --balance[key];
          break;
        case 1:
          if (map.find(key).value_or(key * 3) != key * 3) ++wrong;
          break;
        case 2:
          if (i % 100 == 0) {
            map.erase_if(static_cast<uint64_t>(thread), kThreads, [&](uint64_t one, uint64_t) {
              const bool goes = one % 7 == 0;
              if (goes) --balance[one];
              return goes;
            });
          }
          break;
        default:
          if (map.insert(key, key * 3) == MapResult::kInserted) ++balance[key];
          break;
      }
    }
  });
  REQUIRE(wrong == 0);
  uint64_t present = 0;
  for (uint64_t key = 0; key < kKeys; ++key) {
    REQUIRE(balance[key] == (map.contains(key) ? 1 : 0));
    present += map.contains(key) ? 1 : 0;
  }
  REQUIRE(map.size() == present);
  REQUIRE(map.Check());
  map.shm_destroy();
  REQUIRE(alloc.live_blocks() == 0);
}

TEST_CASE("unordered_map is one map through several handles of one backend") {
  MallocBackend backend;
  backend.shm_init(MemoryBackendId(900), size_t{64} << 20);
  std::vector<StackAllocator*> allocs = {backend.MakeAlloc<StackAllocator>(AllocatorId(9, 0))};
  while (allocs.size() < kThreads) allocs.push_back(backend.AttachAlloc<StackAllocator>());
  using Map = hshm::ipc::unordered_map<uint64_t, uint32_t, StackAllocator>;
  Map map;
  map.shm_init(allocs[0]);
  constexpr uint64_t kKeys = 10000;
  RunThreads([&](int thread) {
    Map mine;
    mine.shm_attach(allocs[static_cast<size_t>(thread)], map.offset());
    for (uint64_t key = 0; key < kKeys; ++key) mine.upsert(key, [](uint32_t& n) { ++n; });
  });
  REQUIRE(map.size() == kKeys);
  map.for_each([](uint64_t, uint32_t count) { REQUIRE(count == kThreads); });
  REQUIRE(map.Check());
  REQUIRE(allocs[0]->Check());
}
