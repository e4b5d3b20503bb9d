#include "data_structures/containers.h"

#include <cstdio>
#include <random>

#include "data_structures/shared_segment.h"
#include "hermes_shm/memory/allocator/buddy_allocator.h"
#include "hermes_shm/memory/allocator/multi_process_allocator.h"
#include "support/catch.h"
#include "support/child_process.h"
#include "support/seed.h"

using hshm::ipc::BuddyAllocator;
using hshm::ipc::MultiProcessAllocator;
using hshm::test::AttachedSegment;
using hshm::test::ChildProcess;
using hshm::test::Containers;
using hshm::test::SharedSegment;
using hshm::test::Signpost;

namespace {

constexpr uint64_t kSegmentBytes = uint64_t{32} << 20;

/** Puts a number in and takes one out, for ever, under the locks: about 200 in each, in order. */
template <typename AllocT>
void KeepChanging(Containers<AllocT>& containers, const Signpost& started) {
  auto& list = containers.list_;
  auto& map = containers.map_;
  for (uint64_t i = 0;; ++i) {
    {
      const auto guard = list.Lock();
      HSHM_CHECK(list.push_back(list.empty() ? 0 : list.back() + 1));
      if (list.size() > 200) list.pop_front();
    }
    {
      const auto guard = map.Lock();
      const uint64_t key = i * 7919 % 401;
      if (!map.insert({key, 2 * key}).second) map.erase(key);
    }
    if (i == 1000) started.Tell();
  }
}

template <typename AllocT>
void RequireWhole(Containers<AllocT>& containers) {
  auto& list = containers.list_;
  const auto list_guard = list.Lock();
  REQUIRE(list.Check());
  REQUIRE(list.size() >= 199);
  uint64_t expected = list.front();
  for (const uint64_t value : list) REQUIRE(value == expected++);
  auto& map = containers.map_;
  const auto map_guard = map.Lock();
  REQUIRE(map.Check());
  for (const auto& [key, value] : map) REQUIRE(value == 2 * key);
}

}  // namespace

TEST_CASE(
    "Our containers are read and changed by a process that was started on its own elsewhere") {
  SharedSegment<MultiProcessAllocator> segment(kSegmentBytes);
  Containers<MultiProcessAllocator> containers;
  containers.Make(segment.alloc());
  REQUIRE(containers.Fill(0, Containers<MultiProcessAllocator>::kFilled));
  char address[32];
  std::snprintf(address, sizeof(address), "%llx",
                static_cast<unsigned long long>(
                    reinterpret_cast<uintptr_t>(segment.alloc()->GetRegion().base_)));
  ChildProcess child([&] {
    execl(HSHM_PROGRAM_CONTAINERS_WORKER, "containers_worker", segment.url().c_str(), address,
          nullptr);
    return 127;
  });
  REQUIRE(child.Wait() == 0);
  REQUIRE(containers.IsChanged());
  containers.Destroy();
  REQUIRE(segment.alloc()->Check());
}

TEMPLATE_TEST_CASE("list and map survive the kill of a process at work, 60 times, whole", "",
                   BuddyAllocator, MultiProcessAllocator) {
  std::mt19937_64 random(hshm::test::PrintedSeed("list and map kills"));
  SharedSegment<TestType> segment(kSegmentBytes);
  Containers<TestType> containers;
  containers.Make(segment.alloc());
  for (int round = 0; round < 60; ++round) {
    const Signpost started;
    ChildProcess child([&] {
      const AttachedSegment<TestType> mine(segment.url());
      Containers<TestType> own;
      own.Attach(mine.alloc());
      KeepChanging(own, started);
      return 0;
    });
    started.Await();
    for (uint64_t spin = random() % 100000; spin > 0; --spin) __builtin_ia32_pause();
    REQUIRE(child.Kill() == -SIGKILL);
    RequireWhole(containers);
  }
}
