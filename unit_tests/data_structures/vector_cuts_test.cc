#include <algorithm>
#include <cstdint>
#include <functional>
#include <list>
#include <vector>

#include "data_structures/store_cuts.h"
#include "hermes_shm/data_structures/vector.h"
#include "support/catch.h"

using hshm::test::ForEachCut;
using hshm::test::SlotAllocator;
using hshm::test::SlotMemory;

namespace {

/** 24 bytes: no store writes a whole element, so a torn one would show. */
struct Element {
  uint64_t value_;
  uint64_t twice_;
  uint64_t negated_;
  Element() : Element(0) {}
  explicit Element(uint64_t value) : value_(value), twice_(2 * value), negated_(~value) {}
  bool IsWhole() const { return twice_ == 2 * value_ && negated_ == ~value_; }
};

using Vector = hshm::ipc::vector<Element, SlotAllocator>;
using Values = std::vector<uint64_t>;

Values ValuesOf(const Vector& vector) {
  Values values;
  for (const Element& element : vector) {
    REQUIRE(element.IsWhole());
    values.push_back(element.value_);
  }
  return values;
}

Vector AttachTo(SlotAllocator& alloc) {
  Vector vector;
  vector.shm_attach(&alloc, SlotAllocator::First());
  return vector;
}

/** One operation on a vector of ten elements, cut everywhere. */
struct CutVector {
  SlotMemory start_;
  std::vector<Values> allowed_;  // what it was, may be for a moment, and is then

  explicit CutVector(uint64_t capacity = 0) {
    SlotAllocator alloc(start_.base(), 0);
    Vector vector;
    vector.shm_init(&alloc);
    REQUIRE(vector.reserve(capacity));
    for (uint64_t i = 1; i <= 10; ++i) REQUIRE(vector.push_back(Element(i)));
    allowed_.push_back(ValuesOf(vector));
  }

  bool IsAllowed(const Values& found) const {
    return std::count(allowed_.begin(), allowed_.end(), found) != 0;
  }
  /** A death may leave it so as well. */
  CutVector& Allow(const Values& values) {
    allowed_.push_back(values);
    return *this;
  }

  /** A survivor that takes the lock finds the vector as before or as after, usable, and at most
   * one block too many. */
  void RequireAllowed(const SlotMemory& memory, uint64_t blocks) const {
    SlotAllocator alloc(memory.base(), 1);
    Vector vector = AttachTo(alloc);
    const auto guard = vector.Lock();
    REQUIRE(vector.Check());
    REQUIRE(IsAllowed(ValuesOf(vector)));
    REQUIRE(alloc.live_blocks() <= blocks + 1);
    REQUIRE(vector.push_back(Element(77)));
    REQUIRE(vector.back().value_ == 77);
  }

  void Cut(const std::function<void(Vector&)>& operation, uint32_t min_images) {
    SlotMemory done;
    std::memcpy(done.base(), start_.base(), SlotAllocator::kRegionBytes);
    SlotAllocator alloc(done.base(), 0);
    Vector vector = AttachTo(alloc);
    operation(vector);
    REQUIRE(ValuesOf(vector) != allowed_.front());
    allowed_.push_back(ValuesOf(vector));
    const auto under_lock = [&](SlotAllocator& mine) {
      Vector own = AttachTo(mine);
      const auto guard = own.Lock();
      operation(own);
    };
    const uint32_t images = ForEachCut(start_.base(), under_lock, [&](const SlotMemory& memory) {
      RequireRepeatable(memory);
      RequireMendedByPop(memory);
      RequireAllowed(memory, 2);
    });
    REQUIRE(images >= min_images);
  }

  /** Who takes turns by other means than the lock need not ask: the next change mends. */
  void RequireMendedByPop(const SlotMemory& memory) const {
    const SlotMemory copy;
    std::memcpy(copy.base(), memory.base(), SlotAllocator::kRegionBytes);
    SlotAllocator alloc(copy.base(), 1);
    Vector vector = AttachTo(alloc);
    REQUIRE(vector.push_back(Element(77)));
    REQUIRE(vector.back().value_ == 77);
    vector.pop_back();
    REQUIRE(IsAllowed(ValuesOf(vector)));
  }

  /** The recovery may be cut as well. */
  void RequireRepeatable(const SlotMemory& memory) const {
    const auto recover = [](SlotAllocator& mine) { AttachTo(mine).Recover(); };
    const uint32_t images = ForEachCut(memory.base(), recover, [&](const SlotMemory& again) {
      SlotAllocator alloc(again.base(), 1);
      Vector vector = AttachTo(alloc);
      vector.Recover();
      REQUIRE(vector.Check());
      REQUIRE(IsAllowed(ValuesOf(vector)));
    });
    REQUIRE(images >= 1);
  }
};

}  // namespace

TEST_CASE("vector cut at any store of an append is as before or as after") {
  CutVector(20).Cut([](Vector& v) { REQUIRE(v.push_back(Element(11))); }, 4);
  const std::vector<Element> more = {Element(11), Element(12), Element(13)};
  CutVector(20).Cut([&](Vector& v) { REQUIRE(v.append(more)); }, 6);
  CutVector(20).Cut([&](Vector& v) { REQUIRE(v.resize(15)); }, 6);
}

TEST_CASE("vector cut at any store of a growth is as before or as after, no block lost twice") {
  CutVector(10).Cut([](Vector& v) { REQUIRE(v.push_back(Element(11))); }, 12);
  CutVector(10).Cut(
      [](Vector& v) {
        REQUIRE(v.shrink_to_fit());
        v.pop_back();
        REQUIRE(v.shrink_to_fit());
      },
      12);
}

TEST_CASE("vector cut at any store of an insertion is as before or as after") {
  for (const uint64_t at : {0, 3, 9}) {
    CutVector(20).Cut([&](Vector& v) { REQUIRE(v.insert(v.begin() + at, Element(50))); }, 8);
    const std::vector<Element> more = {Element(50), Element(51), Element(52), Element(53)};
    CutVector(20).Cut([&](Vector& v) { REQUIRE(v.insert(v.begin() + at, more)); }, 8);
  }
  CutVector(10).Cut([](Vector& v) { REQUIRE(v.insert(v.begin(), Element(50))); }, 20);
  CutVector(20).Cut([](Vector& v) { REQUIRE(v.insert(v.begin() + 3, 4, Element(50))); }, 8);
  const std::list<Element> more = {Element(50), Element(51), Element(52), Element(53)};
  CutVector(20).Cut([&](Vector& v) { REQUIRE(v.insert(v.begin() + 3, more.begin(), more.end())); },
                    8);
}

TEST_CASE("vector cut at any store of an erasure is as before or as after") {
  for (const uint64_t at : {0, 4, 7}) {
    CutVector().Cut([&](Vector& v) { v.erase(v.begin() + at); }, 6);
    CutVector().Cut([&](Vector& v) { v.erase(v.begin() + at, v.begin() + at + 3); }, 5);
  }
  CutVector().Cut([](Vector& v) { v.clear(); }, 1);
}

TEST_CASE("vector cut at any store of an assignment is as before, as after, or empty") {
  const std::vector<Element> few = {Element(50), Element(51), Element(52)};
  const std::vector<Element> many(20, Element(60));
  CutVector(10).Allow({}).Cut([&](Vector& v) { REQUIRE(v.assign(few)); }, 6);
  CutVector(10).Allow({}).Cut([&](Vector& v) { REQUIRE(v.assign(many)); }, 20);
  CutVector(10).Allow({}).Cut([&](Vector& v) { REQUIRE(v.assign(15, Element(70))); }, 20);
  CutVector(10).Allow({}).Cut([](Vector& v) { REQUIRE(v.assign({v.data() + 3, 4})); }, 6);
}
