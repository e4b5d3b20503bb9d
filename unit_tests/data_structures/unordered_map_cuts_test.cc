#include "hermes_shm/data_structures/unordered_map.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <functional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "data_structures/store_cuts.h"
#include "support/catch.h"

using hshm::ipc::MapResult;
using hshm::ipc::map_layout::MapHeader;
using hshm::ipc::map_layout::Stripe;
using hshm::test::ForEachCut;
using hshm::test::SlotAllocator;
using hshm::test::SlotMemory;
using hshm::test::Wide;

namespace {

/** A key's home in a table of 8 slots is its last digit in base 8, so that a test can choose. */
struct HashAsIs {
  uint64_t operator()(uint64_t key) const noexcept { return key; }
};

using Map = hshm::ipc::unordered_map<uint64_t, Wide, SlotAllocator, HashAsIs>;
using SmallMap = hshm::ipc::unordered_map<uint64_t, uint64_t, SlotAllocator, HashAsIs>;
using Keys = std::vector<uint64_t>;
using Values = std::vector<std::pair<uint64_t, uint64_t>>;

uint64_t NumberIn(const Wide& wide) {
  REQUIRE(wide.IsWhole());
  return wide.value_;
}
uint64_t NumberIn(uint64_t value) { return value; }

template <typename M>
MapResult Add(M& map, uint64_t key) {
  return map.insert(key, typename M::mapped_type(key));
}

template <typename M>
M AttachTo(SlotAllocator& alloc) {
  M map;
  map.shm_attach(&alloc, SlotAllocator::First());
  return map;
}

template <typename M>
Values ValuesOf(const M& map) {
  Values values;
  map.for_each([&](uint64_t key, const auto& value) { values.emplace_back(key, NumberIn(value)); });
  std::sort(values.begin(), values.end());
  return values;
}

/** The only stripe of the map in a region. */
Stripe& StripeIn(const SlotMemory& memory) {
  const uint64_t header = SlotAllocator::First().load();
  return *reinterpret_cast<MapHeader*>(memory.base() + header)->stripes();
}

void Copy(const SlotMemory& to, const char* from) {
  std::memcpy(to.base(), from, SlotAllocator::kRegionBytes);
}

/** One operation on a map of one stripe, cut everywhere; the repair as well. */
template <typename M>
class Cuts {
 public:
  using Operation = std::function<void(M&)>;

  /** A map from which `erased` has gone again, in blocks that hold rubbish at first. */
  explicit Cuts(const Keys& keys, const Keys& erased = {}) {
    const uint64_t front = SlotAllocator::kFrontBytes;
    std::memset(start_.base() + front, 0xdb, SlotAllocator::kRegionBytes - front);
    SlotAllocator alloc(start_.base(), 0);
    M map;
    map.shm_init(&alloc, {.expected_entries_ = 0, .stripes_ = 1});
    for (const uint64_t key : keys) REQUIRE(Add(map, key) == MapResult::kInserted);
    for (const uint64_t key : erased) REQUIRE(map.erase(key));
    allowed_.push_back(ValuesOf(map));
  }

  /** What it may be for a moment, between before and after. */
  Cuts& Allow(const Values& values) {
    allowed_.push_back(values);
    return *this;
  }

  /** @return how many blocks are lost, in all images together */
  uint64_t Cut(const Operation& operation, uint32_t min_images) {
    const SlotMemory done;
    Copy(done, start_.base());
    SlotAllocator alloc(done.base(), 0);
    M map = AttachTo<M>(alloc);
    operation(map);
    if (ValuesOf(map) != allowed_.back()) allowed_.push_back(ValuesOf(map));
    const auto run = [&](SlotAllocator& mine) {
      M own = AttachTo<M>(mine);
      operation(own);
    };
    const uint32_t images = ForEachCut(start_.base(), run, [&](const SlotMemory& memory) {
      RequireAllowed(memory);
      RequireRepairRepeatable(memory);
    });
    REQUIRE(images >= min_images);
    REQUIRE(reached_ + 1 == allowed_.size());
    return lost_;
  }

 private:
  /** Who is neither the dead one nor, in a cut repair, its dead successor. */
  static uint32_t Survivor(const SlotMemory& memory) {
    return StripeIn(memory).lock_.HolderSlot() == 1 ? 0 : 1;
  }

  /** The header, the table and each entry have a block; so many more may be lost. */
  static uint64_t LostIn(SlotAllocator& alloc, const M& map, uint64_t may_be_lost) {
    const uint64_t owned = 1 + (map.bucket_count() == 0 ? 0 : 1) + map.size();
    REQUIRE(alloc.live_blocks() >= owned);
    REQUIRE(alloc.live_blocks() <= owned + may_be_lost);
    return alloc.live_blocks() - owned;
  }

  /** It works on, and every block it took is given back once: the allocator stops at a second. */
  static void RequireUsable(SlotAllocator& alloc, M& map, Values expected, uint64_t lost) {
    for (const uint64_t key : {777, 778, 779}) {
      REQUIRE(Add(map, key) == MapResult::kInserted);
      expected.emplace_back(key, key);
    }
    REQUIRE(map.Check());
    REQUIRE(ValuesOf(map) == expected);
    for (const auto& [key, value] : expected) {
      const auto found = map.find(key);
      REQUIRE(found.has_value());
      REQUIRE(NumberIn(*found) == value);
      REQUIRE(map.erase(key));
    }
    REQUIRE(map.size() == 0);
    REQUIRE(map.Check());
    map.shm_destroy();
    REQUIRE(alloc.live_blocks() == lost);
  }

  /** Time goes on from image to image: a later one has no earlier values. */
  void RequireAllowed(const SlotMemory& memory) {
    const SlotMemory copy;
    Copy(copy, memory.base());
    SlotAllocator alloc(copy.base(), Survivor(copy));
    M map = AttachTo<M>(alloc);
    REQUIRE(map.Check());  // takes the lock over
    const Values found = ValuesOf(map);
    while (reached_ < allowed_.size() && allowed_[reached_] != found) ++reached_;
    REQUIRE(reached_ < allowed_.size());
    const uint64_t lost = LostIn(alloc, map, 1);
    lost_ += lost;
    RequireUsable(alloc, map, found, lost);
    RequireChangeable(memory, found);
  }

  /** The next user may come with a change, too. */
  static void RequireChangeable(const SlotMemory& memory, Values expected) {
    const SlotMemory copy;
    Copy(copy, memory.base());
    SlotAllocator alloc(copy.base(), Survivor(copy));
    M map = AttachTo<M>(alloc);
    REQUIRE(Add(map, 700) == MapResult::kInserted);
    expected.emplace_back(700, 700);
    REQUIRE(ValuesOf(map) == expected);
    RequireUsable(alloc, map, expected, LostIn(alloc, map, 1));
  }

  /** The next user may die in the repair; what it finds for the second time is left out. */
  void RequireRepairRepeatable(const SlotMemory& memory) {
    const auto repair = [](SlotAllocator& mine) {
      SlotAllocator survivor(mine.GetRegion().base_, 1);
      REQUIRE(AttachTo<M>(survivor).Check());
    };
    const uint32_t images = ForEachCut(memory.base(), repair, [&](const SlotMemory& again) {
      if (!IsNew(again)) return;
      SlotAllocator alloc(again.base(), Survivor(again));
      M map = AttachTo<M>(alloc);
      REQUIRE(map.Check());
      const Values found = ValuesOf(map);
      REQUIRE(found == allowed_[reached_]);
      RequireUsable(alloc, map, found, LostIn(alloc, map, 2));  // one by each death
    });
    REQUIRE(images >= 1);
  }

  /** Two images are the same when they differ in who is dead alone. */
  bool IsNew(const SlotMemory& memory) {
    std::string bytes(memory.base(), SlotAllocator::kRegionBytes);
    const auto* lock = reinterpret_cast<const char*>(&StripeIn(memory).lock_);
    const bool is_held = StripeIn(memory).lock_.HolderSlot() != hshm::Mutex::kNoSlot;
    bytes.replace(static_cast<size_t>(lock - memory.base()), sizeof(hshm::Mutex),
                  sizeof(hshm::Mutex), is_held ? 'h' : 'f');
    return seen_.insert(std::move(bytes)).second;
  }

  SlotMemory start_;
  std::vector<Values> allowed_;
  size_t reached_ = 0;  // in allowed_, by the images so far
  uint64_t lost_ = 0;
  std::set<std::string> seen_;
};

/** 8, 16 and 24 have one home, and 2 lies behind it, displaced. */
const Keys kCrowded = {8, 16, 24, 2};

template <typename M>
void CutInsertions() {
  const auto add = [](uint64_t key) {
    return [key](M& m) { REQUIRE(Add(m, key) == MapResult::kInserted); };
  };
  Cuts<M>({}).Cut(add(5), 10);  // the first table as well
  Cuts<M>({1, 2}).Cut(add(5), 6);
  Cuts<M>(kCrowded).Cut(add(32), 6);
  Cuts<M>(kCrowded, {16}).Cut(add(32), 6);  // into an erased slot
  Cuts<M>({1, 2}).Cut(
      [](M& m) {
        const typename M::mapped_type init(5);
        REQUIRE(m.upsert(
                    5, [](auto&) {}, init) == MapResult::kInserted);
      },
      6);
}

template <typename M>
void CutAssignments() {
  using T = typename M::mapped_type;
  constexpr uint32_t kMinImages = sizeof(T) > 8 ? 7 : 4;  // with those of the lock
  for (const uint64_t key : kCrowded) {
    Cuts<M>(kCrowded).Cut(
        [&](M& m) { REQUIRE(m.insert_or_assign(key, T(99)) == MapResult::kFound); }, kMinImages);
  }
  const auto change = [](T& value) { value = T(NumberIn(value) + 1); };
  Cuts<M>(kCrowded).Cut([&](M& m) { REQUIRE(m.update(16, change) == MapResult::kFound); },
                        kMinImages);
  Cuts<M>(kCrowded).Cut([&](M& m) { REQUIRE(m.upsert(16, change) == MapResult::kFound); },
                        kMinImages);
}

}  // namespace

TEST_CASE("unordered_map cut at any store of an insertion is as before or as after") {
  CutInsertions<Map>();
  CutInsertions<SmallMap>();
}

TEST_CASE("unordered_map cut at any store of an erasure is as before or as after") {
  const auto erase = [](uint64_t key) { return [key](Map& m) { REQUIRE(m.erase(key)); }; };
  for (const uint64_t key : kCrowded) Cuts<Map>(kCrowded).Cut(erase(key), 6);
  Cuts<Map>({5}).Cut(erase(5), 6);
  Cuts<Map>(kCrowded, {8, 24}).Cut(erase(2), 7);      // with the mark in front of it
  Cuts<Map>(kCrowded, {8, 16, 24}).Cut(erase(2), 9);  // with all marks
}

TEST_CASE("unordered_map cut at any store of an assignment has the old value or the new one") {
  CutAssignments<Map>();
  CutAssignments<SmallMap>();
}

TEST_CASE("unordered_map cut at any store of a growth is as before or as after") {
  const Keys full = {8, 16, 24, 2, 3, 7};
  const auto add = [](Map& m) { REQUIRE(Add(m, 32) == MapResult::kInserted); };
  const auto has_slots = [](const Map& m, uint64_t slots) { return m.bucket_count() == slots; };
  Cuts<Map>(full).Cut(
      [&](Map& m) {
        add(m);
        REQUIRE(has_slots(m, 16));
      },
      20);
  // As large as before: marks fill it. 8, 16 and 24 have gone, 2 and 3 lie where they did.
  Cuts<Map>(full, {8, 16, 24})
      .Cut(
          [&](Map& m) {
            REQUIRE(Add(m, 5) == MapResult::kInserted);
            REQUIRE(has_slots(m, 8));
          },
          15);
  const uint64_t lost = Cuts<Map>(full).Cut(
      [&](Map& m) {
        REQUIRE(m.reserve(40));
        REQUIRE(has_slots(m, 64));
      },
      16);
  REQUIRE(lost <= 2);  // a table before its note, and one between its note's end and its free
}

TEST_CASE("unordered_map cut at any store of a clear has lost some, in order") {
  Cuts<Map>({1, 2, 3, 4})
      .Allow({{2, 2}, {3, 3}, {4, 4}})
      .Allow({{3, 3}, {4, 4}})
      .Allow({{4, 4}})
      .Cut([](Map& m) { m.clear(); }, 18);
  // What is left goes to a table of 8 slots.
  Cuts<Map>({1, 2, 3, 4, 5, 6, 7, 9})
      .Allow({{2, 2}, {3, 3}, {4, 4}, {5, 5}, {6, 6}, {7, 7}, {9, 9}})
      .Allow({{2, 2}, {4, 4}, {5, 5}, {6, 6}, {7, 7}, {9, 9}})
      .Allow({{2, 2}, {4, 4}, {6, 6}, {7, 7}, {9, 9}})
      .Allow({{2, 2}, {4, 4}, {6, 6}, {9, 9}})
      .Cut(
          [](Map& m) {
            REQUIRE(m.erase_if([](uint64_t key, const Wide&) { return key % 2 == 1; }) == 5);
            REQUIRE(m.bucket_count() == 8);
          },
          28);
}
