#include "hermes_shm/memory/allocator/buddy/buddy_engine.h"

#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "support/catch.h"
#include "support/child_process.h"

using hshm::ipc::BuddyEngine;
using hshm::ipc::BuddyLists;
using hshm::ipc::BuddyNode;
using hshm::ipc::kBuddyUserMark;

namespace {

constexpr uint32_t kNone = BuddyEngine::kNone;

/** Nodes and lists of one engine that begins with everything free. */
struct Buddies {
  Buddies(uint32_t first, uint32_t count, uint32_t max_order = 30)
      : nodes_(first + count), engine_(nodes_.data(), &lists_, first, count, 7, max_order) {
    engine_.Free(first, count);
  }
  std::vector<BuddyNode> nodes_;
  BuddyLists lists_{};
  BuddyEngine engine_;
};

/** What is free, granule by granule. */
class Shadow {
 public:
  Shadow(uint32_t first, uint32_t count) {
    for (uint32_t i = 0; i < count; ++i) free_.insert(free_.end(), first + i);
  }
  bool HasAll(uint32_t first, uint32_t count) const {
    const auto it = free_.lower_bound(first);
    return static_cast<uint32_t>(std::distance(it, free_.lower_bound(first + count))) == count;
  }
  void Take(uint32_t first, uint32_t count) {
    free_.erase(free_.lower_bound(first), free_.lower_bound(first + count));
  }
  void Put(uint32_t first, uint32_t count) {
    for (uint32_t i = 0; i < count; ++i) free_.insert(first + i);
  }
  /** True when somewhere an aligned run of count granules is free. */
  bool HasRun(uint32_t count, uint32_t alignment) const {
    uint32_t run_first = 0;
    uint32_t next = kNone;
    for (uint32_t granule : free_) {
      if (granule != next) run_first = granule;
      next = granule + 1;
      const uint32_t start = (run_first + alignment - 1) / alignment * alignment;
      if (start + count <= next) return true;
    }
    return false;
  }
  size_t size() const { return free_.size(); }
  bool Has(uint32_t granule) const { return free_.count(granule) != 0; }

 private:
  std::set<uint32_t> free_;
};

struct Run {
  uint32_t first_;
  uint32_t granules_;
};

void RandomOperations(uint32_t seed, uint32_t first, uint32_t count, uint32_t max_order) {
  CAPTURE(seed, first, count, max_order);
  std::mt19937 random(seed);
  const auto up_to = [&](uint32_t n) { return static_cast<uint32_t>(random() % (n + 1)); };
  Buddies buddies(first, count, max_order);
  BuddyEngine& engine = buddies.engine_;
  Shadow shadow(first, count);
  std::vector<Run> live;
  for (int step = 0; step < 4000; ++step) {
    CAPTURE(step);
    const uint32_t what = up_to(9);
    if (what < 4) {
      const uint32_t size =
          1 + (up_to(15) == 0 ? up_to(count - 1) : up_to(std::min(count, 40u) - 1));
      const uint32_t alignment = up_to(3) == 0 ? 1u << up_to(6) : 1;
      const uint32_t got = engine.Allocate(size, alignment);
      REQUIRE((got != kNone) == shadow.HasRun(size, alignment));
      if (got == kNone) continue;
      REQUIRE(got % alignment == 0);
      REQUIRE(shadow.HasAll(got, size));
      shadow.Take(got, size);
      live.push_back({got, size});
    } else if (what < 8 && !live.empty()) {
      std::swap(live[up_to(static_cast<uint32_t>(live.size()) - 1)], live.back());
      Run& run = live.back();
      const uint32_t part = up_to(2) == 0 ? 1 + up_to(run.granules_ - 1) : run.granules_;
      engine.Free(run.first_ + run.granules_ - part, part);
      shadow.Put(run.first_ + run.granules_ - part, part);
      run.granules_ -= part;
      if (run.granules_ == 0) live.pop_back();
    } else if (what == 8) {
      const uint32_t at = first + up_to(count - 1);
      const uint32_t size = 1 + up_to(std::min(20u, first + count - at - 1));
      const bool taken = engine.TakeRange(at, size);
      REQUIRE(taken == shadow.HasAll(at, size));
      if (!taken) continue;
      shadow.Take(at, size);
      live.push_back({at, size});
    } else {
      const uint32_t at = first + up_to(count - 1);
      REQUIRE(engine.IsFree(at) == shadow.Has(at));
    }
    REQUIRE(engine.free_granules() == shadow.size());
    if (step % 64 == 0) REQUIRE(engine.Check());
  }
  for (const Run& run : live) engine.Free(run.first_, run.granules_);
  REQUIRE(engine.Check());
  REQUIRE(engine.free_granules() == count);
}

}  // namespace

TEST_CASE("BuddyEngine agrees with a set of granules in random operations") {
  const uint32_t seed = std::random_device{}();
  WARN("seed " << seed);
  RandomOperations(seed, 0, 1024, 30);
  RandomOperations(seed + 1, 37, 1000, 30);
  RandomOperations(seed + 2, 5, 3, 30);
  RandomOperations(seed + 3, 100, 700, 4);
  RandomOperations(seed + 4, 64, 256, 0);
}

TEST_CASE("BuddyEngine merges buddies when both are free") {
  Buddies buddies(0, 16);
  std::vector<uint32_t> got;
  for (int i = 0; i < 16; ++i) got.push_back(buddies.engine_.Allocate(1));
  REQUIRE(buddies.engine_.Allocate(1) == kNone);
  REQUIRE(buddies.engine_.LargestFree() == 0);
  buddies.engine_.Free(6, 1);
  REQUIRE(buddies.engine_.LargestFree() == 1);
  buddies.engine_.Free(5, 1);  // a neighbour but no buddy
  REQUIRE(buddies.engine_.LargestFree() == 1);
  buddies.engine_.Free(7, 1);
  REQUIRE(buddies.engine_.LargestFree() == 2);
  buddies.engine_.Free(4, 1);
  REQUIRE(buddies.engine_.LargestFree() == 4);
  REQUIRE(buddies.engine_.Check());
}

TEST_CASE("BuddyEngine costs a request of 5 granules exactly 5") {
  Buddies buddies(0, 64);
  const uint32_t got = buddies.engine_.Allocate(5);
  REQUIRE(got != kNone);
  REQUIRE(buddies.engine_.free_granules() == 59);
  REQUIRE(buddies.engine_.Check());
  REQUIRE(buddies.engine_.TakeRange(got + 5, 3));
}

TEST_CASE("BuddyEngine packs equal runs that are no power of two end to end") {
  Buddies buddies(0, 1 << 14);
  uint32_t count = 0;
  while (buddies.engine_.Allocate(157) != kNone) ++count;
  REQUIRE(count == (1 << 14) / 157);
}

TEST_CASE("BuddyEngine joins neighbours that are no buddies, also beyond the largest order") {
  Buddies buddies(0, 64, 3);
  REQUIRE(buddies.engine_.LargestFree() == 8);
  REQUIRE(buddies.engine_.Allocate(3) != kNone);
  const uint32_t run = buddies.engine_.Allocate(40);
  REQUIRE(run != kNone);
  REQUIRE(buddies.engine_.Check());
  buddies.engine_.Free(run, 40);
  REQUIRE(buddies.engine_.LargestFree() == 8);
  REQUIRE(buddies.engine_.Check());
}

TEST_CASE("BuddyEngine never merges with a block of another tag") {
  std::vector<BuddyNode> nodes(16);
  BuddyLists mine{};
  BuddyLists other{};
  BuddyEngine a(nodes.data(), &mine, 0, 16, 1, 30);
  BuddyEngine b(nodes.data(), &other, 0, 16, 2, 30);
  a.Free(0, 4);
  b.Free(4, 4);
  a.Free(8, 8);
  REQUIRE(a.LargestFree() == 8);
  REQUIRE(b.LargestFree() == 4);
  REQUIRE_FALSE(a.IsFree(4));
  REQUIRE_FALSE(a.TakeRange(0, 5));
  REQUIRE(a.Allocate(13) == kNone);
  REQUIRE(a.Check());
  REQUIRE(b.Check());
  REQUIRE(b.TakeRange(4, 4));
  a.Free(4, 4);
  REQUIRE(a.LargestFree() == 16);
  REQUIRE(a.Check());
}

TEST_CASE("BuddyEngine leaves nodes outside of its range and marks of users alone") {
  std::vector<BuddyNode> nodes(64);
  for (BuddyNode& node : nodes) node.mark_.store(kBuddyUserMark | 0x107);
  for (uint32_t i = 20; i < 40; ++i) nodes[i].mark_.store(0);
  BuddyLists lists{};
  BuddyEngine engine(nodes.data(), &lists, 20, 20, 0, 30);
  engine.Free(20, 20);
  const uint32_t got = engine.Allocate(4);
  nodes[got].mark_.store(kBuddyUserMark | 4);
  REQUIRE(engine.Allocate(20) == kNone);
  REQUIRE(engine.Check());
  REQUIRE(nodes[got].mark_.load() == (kBuddyUserMark | 4));
  nodes[got].mark_.store(0);
  engine.Free(got, 4);
  REQUIRE(engine.free_granules() == 20);
  for (uint32_t i = 0; i < 64; ++i) {
    if (i < 20 || i >= 40) REQUIRE(nodes[i].mark_.load() == (kBuddyUserMark | 0x107));
  }
}

TEST_CASE("BuddyEngine finds damaged lists, marks and counts") {
  const auto damaged = [](auto damage) {
    Buddies buddies(0, 64);
    (void)buddies.engine_.Allocate(5);
    REQUIRE(buddies.engine_.Check());
    damage(buddies);
    return !buddies.engine_.Check();
  };
  REQUIRE(damaged([](Buddies& b) { --b.lists_.free_granules_; }));
  REQUIRE(damaged([](Buddies& b) { b.lists_.heads_[5] = 0; }));
  REQUIRE(damaged([](Buddies& b) { b.lists_.nonempty_ |= 1u << 2; }));
  REQUIRE(damaged([](Buddies& b) { b.nodes_[32].next_ = 33; }));
  REQUIRE(damaged([](Buddies& b) { b.nodes_[16].prev_ = 33; }));
  REQUIRE(damaged([](Buddies& b) { b.nodes_[16].mark_.store(0); }));
  REQUIRE(damaged([](Buddies& b) { b.nodes_[0].mark_.store(b.nodes_[5].mark_.load()); }));
  REQUIRE(damaged([](Buddies& b) {  // unmerged buddies
    b.engine_.Reset();
    BuddyEngine(b.nodes_.data(), &b.lists_, 0, 64, 7, 0).Free(0, 2);
  }));
  REQUIRE(damaged([](Buddies& b) { b.lists_.nonempty_ |= uint64_t{1} << 40; }));
  REQUIRE(damaged([](Buddies& b) { b.lists_.heads_[3] = 10; }));  // 9 is no multiple of 8
  // Marks that no list has: of an order that none has, and inside of a free block.
  REQUIRE(damaged([](Buddies& b) { b.nodes_[2].mark_.store(b.nodes_[5].mark_.load() + 60); }));
  REQUIRE(damaged([](Buddies& b) { b.nodes_[33].mark_.store(b.nodes_[5].mark_.load()); }));
}

TEST_CASE("BuddyEngine finds heads of lists that lie outside of its range, or are too long") {
  const auto damaged = [](uint32_t order, uint32_t head) {
    Buddies buddies(16, 48, 3);
    REQUIRE(buddies.engine_.Check());
    buddies.lists_.heads_[order] = head + 1;
    buddies.lists_.nonempty_ |= uint64_t{1} << order;
    return !buddies.engine_.Check();
  };
  REQUIRE(damaged(3, 8));   // before the first granule
  REQUIRE(damaged(3, 64));  // behind the last one
  REQUIRE(damaged(4, 16));  // of an order above the highest
}

TEST_CASE("BuddyEngine stops at a list that was overwritten and is a ring") {
  Buddies b(0, 64);
  REQUIRE(b.engine_.Allocate(64) == 0);
  for (uint32_t granule = 0; granule < 64; granule += 4) b.engine_.Free(granule, 2);
  b.nodes_[b.lists_.heads_[1] - 1].next_ = b.lists_.heads_[1];
  const auto ending = hshm::test::RunInChild([&] {
    alarm(2);
    static_cast<void>(b.engine_.Allocate(4));
  });
  REQUIRE(ending.status_ == -SIGABRT);
  REQUIRE(ending.errors_.find("hshm: Corruption: what the lists of free granules say") !=
          std::string::npos);
}

TEST_CASE("BuddyEngine believes no mark whose block could not be") {
  Buddies b(0, 64);
  const uint32_t order = GENERATE(0xf6, 7);  // none has it; its end would lie behind the memory
  b.nodes_[0].mark_.store((b.nodes_[0].mark_.load() & ~0xffu) | order);
  REQUIRE(!b.engine_.Check());
  REQUIRE(!b.engine_.IsFree(0));
  const auto ending = hshm::test::RunInChild([&] {
    b.lists_.heads_[0] = 1;
    b.lists_.nonempty_ = 1;
    static_cast<void>(b.engine_.Allocate(3));
  });
  REQUIRE(ending.status_ == -SIGABRT);
  REQUIRE(ending.errors_.find("hshm: Corruption: what the lists of free granules say") !=
          std::string::npos);
}

TEST_CASE("BuddyEngine forgets everything in Reset whatever its lists say") {
  Buddies buddies(3, 61);
  (void)buddies.engine_.Allocate(9);
  buddies.lists_.heads_[2] = 999;  // as a death in the middle may leave it
  buddies.engine_.Reset();
  REQUIRE(buddies.engine_.Check());
  REQUIRE(buddies.engine_.free_granules() == 0);
  buddies.engine_.Free(3, 61);
  REQUIRE(buddies.engine_.Check());
  REQUIRE(buddies.engine_.free_granules() == 61);
}
