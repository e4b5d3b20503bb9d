#include <algorithm>
#include <cstdint>
#include <functional>
#include <vector>

#include "data_structures/store_cuts.h"
#include "hermes_shm/data_structures/list.h"
#include "hermes_shm/data_structures/map.h"
#include "support/catch.h"

using hshm::ipc::OffsetPtr;
using hshm::test::ForEachCut;
using hshm::test::SlotAllocator;
using hshm::test::SlotMemory;
using hshm::test::Wide;

namespace {

using List = hshm::ipc::list<Wide, SlotAllocator>;
using Map = hshm::ipc::map<uint64_t, Wide, SlotAllocator>;
using SmallMap = hshm::ipc::map<uint64_t, uint64_t, SlotAllocator>;
using Values = std::vector<std::pair<uint64_t, uint64_t>>;

std::pair<uint64_t, uint64_t> ValueOf(const Wide& wide) {
  REQUIRE(wide.IsWhole());
  return {0, wide.value_};
}
std::pair<uint64_t, uint64_t> ValueOf(const std::pair<const uint64_t, Wide>& entry) {
  REQUIRE(entry.second.IsWhole());
  return {entry.first, entry.second.value_};
}
std::pair<uint64_t, uint64_t> ValueOf(const std::pair<const uint64_t, uint64_t>& entry) {
  return entry;
}

bool Add(List& list, uint64_t value) { return list.push_back(Wide(value)); }
bool Add(Map& map, uint64_t value) { return map.insert({value, Wide(value)}).second; }
bool Add(SmallMap& map, uint64_t value) { return map.insert({value, value}).second; }

template <typename Structure>
Structure AttachTo(SlotAllocator& alloc) {
  Structure structure;
  structure.shm_attach(&alloc, SlotAllocator::First());
  return structure;
}

template <typename Structure>
Values ValuesOf(const Structure& structure) {
  Values values;
  for (const auto& element : structure) values.push_back(ValueOf(element));
  Values backwards;
  for (auto it = structure.rbegin(); it != structure.rend(); ++it) {
    backwards.insert(backwards.begin(), ValueOf(*it));
  }
  REQUIRE(values == backwards);
  return values;
}

/** A change that does not look first, and what it does to the values. */
template <typename Structure>
struct NextChange {
  std::function<void(Structure&)> make_;
  std::function<void(Values&)> expect_;
};

std::vector<NextChange<List>> NextChanges(const List&, bool is_empty) {
  std::vector<NextChange<List>> changes = {{[](List& l) { REQUIRE(Add(l, 777)); },
                                            [](Values& v) {
                                              v.push_back({0, 777});
                                            }},
                                           {[](List& l) { REQUIRE(l.push_front(Wide(777))); },
                                            [](Values& v) {
                                              v.insert(v.begin(), {0, 777});
                                            }}};
  if (is_empty) return changes;
  changes.push_back({[](List& l) { l.pop_back(); }, [](Values& v) { v.pop_back(); }});
  changes.push_back({[](List& l) { l.pop_front(); }, [](Values& v) { v.erase(v.begin()); }});
  return changes;
}
template <typename M>
std::vector<NextChange<M>> NextChanges(const M&, bool) {
  const std::pair<uint64_t, uint64_t> added(777, 777);
  return {{[](M& m) { REQUIRE(Add(m, 777)); },
           [added](Values& v) { v.insert(std::lower_bound(v.begin(), v.end(), added), added); }},
          {[](M& m) { REQUIRE(m.erase(778) == 0); }, [](Values&) {}},
          {[](M& m) { m.clear(); }, [](Values& v) { v.clear(); }}};
}

/** One operation on a structure of some elements, cut everywhere; the recovery as well. */
template <typename Structure>
struct Cuts {
  using Operation = std::function<void(Structure&)>;
  SlotMemory start_;
  std::vector<Values> allowed_;
  uint64_t lost_ = 0;  // blocks, in all images together

  explicit Cuts(uint64_t count, uint64_t step = 10) {
    SlotAllocator alloc(start_.base(), 0);
    Structure structure;
    structure.shm_init(&alloc);
    for (uint64_t i = 1; i <= count; ++i) REQUIRE(Add(structure, i * step));
    allowed_.push_back(ValuesOf(structure));
  }

  /** What it is after the first, second, ... of the operations is allowed as well. */
  void Cut(const std::vector<Operation>& operations, uint32_t min_images) {
    SlotMemory done;
    std::memcpy(done.base(), start_.base(), SlotAllocator::kRegionBytes);
    SlotAllocator alloc(done.base(), 0);
    Structure structure = AttachTo<Structure>(alloc);
    for (const Operation& operation : operations) {
      operation(structure);
      allowed_.push_back(ValuesOf(structure));
    }
    REQUIRE(allowed_.back() != allowed_.front());
    const auto under_lock = [&](SlotAllocator& mine) {
      Structure own = AttachTo<Structure>(mine);
      const auto guard = own.Lock();
      for (const Operation& operation : operations) operation(own);
    };
    const uint32_t images = ForEachCut(start_.base(), under_lock, [&](const SlotMemory& memory) {
      RequireRepeatable(memory);
      RequireMendedByChange(memory);
      RequireAllowed(memory);
    });
    REQUIRE(images >= min_images);
    // A block is lost between its allocation and its note, or its note's end and its free: no more.
    REQUIRE(lost_ <= 2 * (allowed_.size() - 1));
  }
  void Cut(const Operation& operation, uint32_t min_images) {
    Cut(std::vector<Operation>{operation}, min_images);
  }

  /** Each element has a block, the header has one, and one more may be lost. */
  void RequireWhole(SlotAllocator& alloc, Structure& structure, uint64_t may_be_lost) const {
    REQUIRE(structure.Check());
    const Values found = ValuesOf(structure);
    REQUIRE(std::count(allowed_.begin(), allowed_.end(), found) == 1);
    REQUIRE(alloc.live_blocks() >= found.size() + 1);
    REQUIRE(alloc.live_blocks() <= found.size() + 1 + may_be_lost);
  }

  void RequireAllowed(const SlotMemory& memory) {
    SlotAllocator alloc(memory.base(), 1);
    Structure structure = AttachTo<Structure>(alloc);
    const auto guard = structure.Lock();
    RequireWhole(alloc, structure, 1);
    lost_ += alloc.live_blocks() - structure.size() - 1;
    REQUIRE(Add(structure, 777));
    REQUIRE(structure.Check());
  }

  /** Who takes turns by other means than the lock need not ask: the next change mends. */
  void RequireMendedByChange(const SlotMemory& memory) const {
    const auto in_copy = [&](const auto& body) {
      const SlotMemory copy;
      std::memcpy(copy.base(), memory.base(), SlotAllocator::kRegionBytes);
      SlotAllocator alloc(copy.base(), 1);
      Structure structure = AttachTo<Structure>(alloc);
      body(structure);
      REQUIRE(structure.Check());
      return ValuesOf(structure);
    };
    const Values mended = in_copy([](Structure& structure) { structure.Recover(); });
    for (const auto& change : NextChanges(Structure(), mended.empty())) {
      Values expected = mended;
      change.expect_(expected);
      REQUIRE(in_copy(change.make_) == expected);
    }
  }

  void RequireRepeatable(const SlotMemory& memory) const {
    const auto recover = [](SlotAllocator& mine) { AttachTo<Structure>(mine).Recover(); };
    const uint32_t images = ForEachCut(memory.base(), recover, [&](const SlotMemory& again) {
      SlotAllocator alloc(again.base(), 1);
      Structure structure = AttachTo<Structure>(alloc);
      structure.Recover();
      RequireWhole(alloc, structure, 2);  // a death in the recovery of a death
    });
    REQUIRE(images >= 1);
  }
};

}  // namespace

TEST_CASE("list cut at any store of an insertion is as before or as after") {
  Cuts<List>(0).Cut([](List& l) { REQUIRE(l.push_back(Wide(5))); }, 8);
  Cuts<List>(4).Cut([](List& l) { REQUIRE(l.push_back(Wide(5))); }, 8);
  Cuts<List>(4).Cut([](List& l) { REQUIRE(l.push_front(Wide(5))); }, 8);
  Cuts<List>(4).Cut([](List& l) { l.insert(std::next(l.begin(), 2), Wide(5)); }, 8);
}

TEST_CASE("list cut at any store of an erasure is as before or as after") {
  Cuts<List>(1).Cut([](List& l) { l.pop_back(); }, 6);
  Cuts<List>(4).Cut([](List& l) { l.pop_back(); }, 6);
  Cuts<List>(4).Cut([](List& l) { l.pop_front(); }, 6);
  Cuts<List>(4).Cut([](List& l) { l.erase(std::next(l.begin())); }, 6);
}

TEST_CASE("list cut at any store of another order has the old one or the new one, whole") {
  const auto is_more = [](const Wide& a, const Wide& b) { return a.value_ > b.value_; };
  const auto is_less_within_40 = [](const Wide& a, const Wide& b) {
    return a.value_ % 40 < b.value_ % 40;
  };
  for (const uint64_t count : {2, 3, 7}) {
    Cuts<List>(count).Cut([](List& l) { l.reverse(); }, 10);
    Cuts<List>(count).Cut([&](List& l) { l.sort(is_more); }, 10);
  }
  Cuts<List>(9).Cut([&](List& l) { l.sort(is_less_within_40); }, 40);
  for (const int64_t first : {0, 1, 3}) {
    for (const int64_t to : {0, 2, 5, 6}) {
      const int64_t last = first + 2;
      if (to >= first && to <= last) continue;
      const auto splice = [=](List& l) {
        l.splice(std::next(l.cbegin(), to), l, std::next(l.cbegin(), first),
                 std::next(l.cbegin(), last));
      };
      Cuts<List>(6).Cut(splice, 10);
    }
  }
}

namespace {

/** Two lists, the second one's header in the slot behind the first one's. */
List SecondList(SlotAllocator& alloc) {
  List second;
  second.shm_attach(&alloc, OffsetPtr<>(SlotAllocator::First().load() + SlotAllocator::kSlotBytes));
  return second;
}

/** Both lists, recovered by who takes their locks over, are whole; what they hold together. */
Values MendedTogether(SlotAllocator& alloc) {
  List first = AttachTo<List>(alloc);
  List second = SecondList(alloc);
  const auto guard = first.Lock();
  const auto second_guard = second.Lock();
  REQUIRE(first.Check());
  REQUIRE(second.Check());
  Values all = ValuesOf(first);
  const Values others = ValuesOf(second);
  all.insert(all.end(), others.begin(), others.end());
  REQUIRE(alloc.live_blocks() >= all.size() + 2);
  REQUIRE(alloc.live_blocks() <= all.size() + 3);  // one may be lost
  return all;
}

}  // namespace

TEST_CASE("list cut at any store of a splice from another one has lost one element at most") {
  const SlotMemory start;
  SlotAllocator alloc(start.base(), 0);
  List first;
  List second;
  first.shm_init(&alloc);
  second.shm_init(&alloc);
  for (const uint64_t value : {10, 20, 30}) REQUIRE(Add(first, value));
  for (const uint64_t value : {1, 2, 3, 4}) REQUIRE(Add(second, value));
  const auto splice = [](SlotAllocator& mine) {
    List to = AttachTo<List>(mine);
    List from = SecondList(mine);
    const auto guard = to.Lock();
    const auto from_guard = from.Lock();
    to.splice(std::next(to.cbegin()), from, std::next(from.cbegin()), from.cend());
  };
  uint32_t missing = 0;
  const uint32_t images = ForEachCut(start.base(), splice, [&](const SlotMemory& memory) {
    SlotAllocator survivor(memory.base(), 1);
    Values all = MendedTogether(survivor);
    std::sort(all.begin(), all.end());
    REQUIRE(std::unique(all.begin(), all.end()) == all.end());  // none is in both
    REQUIRE(all.size() >= 6);
    missing += all.size() == 6 ? 1 : 0;
  });
  REQUIRE(images >= 3 * 12);
  REQUIRE(missing != 0);  // else the header could promise more
}

TEST_CASE("map cut at any store of an insertion is as before or as after") {
  for (uint64_t count = 0; count < 12; ++count) {
    Cuts<Map>(count).Cut([](Map& m) { REQUIRE(Add(m, 1)); }, 8);
    Cuts<Map>(count).Cut([&](Map& m) { REQUIRE(Add(m, count * 5 + 3)); }, 8);
    Cuts<Map>(count).Cut([](Map& m) { REQUIRE(Add(m, 1000)); }, 8);
  }
}

TEST_CASE("map cut at any store of an erasure is as before or as after") {
  for (uint64_t count = 1; count < 12; ++count) {
    for (uint64_t key = 1; key <= count; key += 2) {
      Cuts<Map>(count).Cut([&](Map& m) { REQUIRE(m.erase(10 * key) == 1); }, 6);
    }
  }
}

TEST_CASE("map cut at any store of an assignment has the old value or the new one, whole") {
  for (const uint64_t key : {1, 4, 7}) {
    Cuts<Map>(7).Cut([&](Map& m) { m.insert_or_assign(10 * key, Wide(99)); }, 8);
    Cuts<SmallMap>(7).Cut([&](SmallMap& m) { m.insert_or_assign(10 * key, 99); }, 2);
  }
}

TEST_CASE("list and map cut at any store of a clear have lost some from the front, in order") {
  const std::vector<Cuts<List>::Operation> pops(5, [](List& l) { l.pop_front(); });
  Cuts<List>(5).Cut(pops, 20);
  const std::vector<Cuts<Map>::Operation> erasures(5, [](Map& m) { m.erase(m.begin()); });
  Cuts<Map> by_clear(5);
  SlotAllocator alloc(by_clear.start_.base(), 0);
  Values rest = ValuesOf(AttachTo<Map>(alloc));
  while (rest.size() > 1) {
    rest.erase(rest.begin());
    by_clear.allowed_.push_back(rest);
  }
  by_clear.Cut([](Map& m) { m.clear(); }, 15);
  Cuts<Map>(5).Cut(erasures, 40);
}
