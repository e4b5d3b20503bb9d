#include <algorithm>
#include <functional>
#include <iterator>
#include <list>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "data_structures/test_allocator.h"
#include "hermes_shm/base/error.h"
#include "hermes_shm/data_structures/list.h"
#include "hermes_shm/data_structures/map.h"
#include "support/catch.h"
#include "support/seed.h"

using hshm::Error;
using hshm::ErrorCode;
using hshm::ipc::OffsetPtr;
using hshm::test::TestAllocator;
using List = hshm::ipc::list<uint32_t, TestAllocator>;
using Map = hshm::ipc::map<uint32_t, uint64_t, TestAllocator>;

static_assert(std::bidirectional_iterator<List::iterator>);
static_assert(std::bidirectional_iterator<Map::const_iterator>);
static_assert(std::is_convertible_v<List::iterator, List::const_iterator>);
static_assert(!std::is_convertible_v<List::const_iterator, List::iterator>);

namespace {

/** 24 bytes: more than one store can replace. */
struct Wide {
  uint64_t words_[3];
  friend bool operator==(const Wide&, const Wide&) = default;
};
using WideMap = hshm::ipc::map<uint32_t, Wide, TestAllocator, std::greater<uint32_t>>;

ErrorCode CodeOf(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.code();
  }
  return ErrorCode::kNone;
}

}  // namespace

TEST_CASE("list changes like std::list") {
  std::mt19937_64 random(hshm::test::PrintedSeed("list model"));
  TestAllocator alloc;
  List list;
  list.shm_init(&alloc);
  std::list<uint32_t> model;
  List::iterator next;
  for (int i = 0; i < 10000; ++i) {
    const auto value = static_cast<uint32_t>(random());
    const auto at = static_cast<int64_t>(random() % (model.size() + 1));
    const auto place = std::next(list.cbegin(), at);
    const auto model_place = std::next(model.begin(), at);
    switch (random() % 5) {
      case 0:
        REQUIRE(list.push_front(value));
        model.push_front(value);
        break;
      case 1:
        REQUIRE(*list.emplace_back(value) == value);
        model.push_back(value);
        break;
      case 2:
        REQUIRE(*list.insert(place, value) == value);
        model.insert(model_place, value);
        break;
      case 3:
        if (at == static_cast<int64_t>(model.size())) break;
        next = list.erase(place);
        REQUIRE(next == std::next(list.begin(), at));
        model.erase(model_place);
        break;
      default:
        if (model.size() < 100) break;
        REQUIRE(list.remove_if([](uint32_t v) { return v % 2 == 0; }) ==
                model.remove_if([](uint32_t v) { return v % 2 == 0; }));
    }
    REQUIRE(list.size() == model.size());
    REQUIRE(std::equal(list.begin(), list.end(), model.begin(), model.end()));
    REQUIRE(std::equal(list.rbegin(), list.rend(), model.rbegin(), model.rend()));
    REQUIRE(list.Check());
  }
  if (list.empty()) REQUIRE(list.push_back(1));
  list.pop_front();
  REQUIRE(list.push_back(7));
  REQUIRE(list.back() == 7);
  list.pop_back();
  list.shm_destroy();
  REQUIRE(alloc.live_blocks() == 0);
}

TEST_CASE("map changes like std::map") {
  std::mt19937_64 random(hshm::test::PrintedSeed("map model"));
  TestAllocator alloc;
  Map map;
  map.shm_init(&alloc);
  std::map<uint32_t, uint64_t> model;
  for (int i = 0; i < 20000; ++i) {
    const auto key = static_cast<uint32_t>(random() % 300);
    const uint64_t value = random();
    switch (random() % 6) {
      case 0: {
        const auto [entry, is_new] = map.insert_or_assign(key, value);
        REQUIRE(is_new == model.insert_or_assign(key, value).second);
        REQUIRE(entry->second == value);
        break;
      }
      case 1:
        REQUIRE(map.try_emplace(key, value).second == model.try_emplace(key, value).second);
        break;
      case 2:
        REQUIRE(map.emplace(key, value).first->first == key);
        model.emplace(key, value);
        break;
      case 3:
        REQUIRE(map.erase(key) == model.erase(key));
        break;
      case 4: {
        const auto it = map.lower_bound(key);
        const auto model_it = model.lower_bound(key);
        REQUIRE((it == map.end()) == (model_it == model.end()));
        if (it == map.end()) break;
        REQUIRE(*it == *model_it);
        const auto next = map.erase(it);
        const auto model_next = model.erase(model_it);
        REQUIRE((next == map.end() || *next == *model_next));
        break;
      }
      default:
        REQUIRE(map.contains(key) == (model.count(key) != 0));
        REQUIRE(std::distance(map.upper_bound(key), map.end()) ==
                std::distance(model.upper_bound(key), model.end()));
    }
    REQUIRE(map.size() == model.size());
    if (i % 10 != 0) continue;
    REQUIRE(map.Check());
    REQUIRE(std::equal(map.begin(), map.end(), model.begin(), model.end()));
    REQUIRE(std::equal(map.rbegin(), map.rend(), model.rbegin(), model.rend()));
  }
  REQUIRE(alloc.live_blocks() == map.size() + 1);
  map.clear();
  REQUIRE(map.empty());
  REQUIRE(map.Check());
  REQUIRE(map.insert({1, 2}).second);
  map.shm_destroy();
  REQUIRE(alloc.live_blocks() == 0);
}

TEST_CASE("map tells the range of a key, its value or null, and its order, like std::map") {
  TestAllocator alloc;
  Map map;
  map.shm_init(&alloc);
  std::map<uint32_t, uint64_t> model;
  for (uint32_t key = 0; key < 50; key += 5) {
    REQUIRE(map.insert({key, 2 * key}).second);
    model.insert({key, 2 * key});
  }
  const Map& constant = map;
  for (uint32_t key = 0; key < 52; ++key) {
    const auto [first, last] = map.equal_range(key);
    const auto [model_first, model_last] = model.equal_range(key);
    REQUIRE(std::equal(first, last, model_first, model_last));
    REQUIRE(std::equal(last, map.end(), model_last, model.end()));
    REQUIRE(constant.equal_range(key).first == Map::const_iterator(first));
    const uint64_t* const value = constant.find_value(key);
    REQUIRE((value != nullptr) == (model.count(key) == 1));
    if (value != nullptr) REQUIRE(*value == model.at(key));
  }
  REQUIRE(map.find_value(11) == nullptr);
  *map.find_value(10) = 7;
  REQUIRE(map.find(10)->second == 7);
  REQUIRE(map.key_comp()(1, 2));
  REQUIRE_FALSE(map.key_comp()(2, 2));
  REQUIRE(map.value_comp()({1, 9}, {2, 0}));
  Map other;
  other.shm_init(&alloc);
  for (const auto& entry : map) REQUIRE(other.insert(entry).second);
  REQUIRE(map == other);
  other.find(10)->second = 8;
  REQUIRE(map != other);
  REQUIRE(other.erase_if([](const auto& entry) { return entry.first >= 20; }) == 6);
  REQUIRE(other.crbegin()->first == 15);
  REQUIRE(map != other);
  REQUIRE(other.Check());
}

TEST_CASE("map replaces large values whole, and may be ordered by another comparator") {
  TestAllocator alloc;
  WideMap map;
  map.shm_init(&alloc);
  for (uint32_t i = 0; i < 50; ++i) REQUIRE(map.insert({i, {{i, i, i}}}).second);
  for (uint32_t i = 0; i < 50; ++i) {
    const auto [entry, is_new] = map.insert_or_assign(i, {{i, i + 1, i + 2}});
    REQUIRE_FALSE(is_new);
    REQUIRE(entry->second == Wide{{i, i + 1, i + 2}});
  }
  REQUIRE(map.Check());
  REQUIRE(map.begin()->first == 49);
  REQUIRE(map.lower_bound(30)->first == 30);
  REQUIRE(map.upper_bound(30)->first == 29);
  REQUIRE(alloc.live_blocks() == 51);
}

TEST_CASE("list and map without room say so and stay as they were") {
  TestAllocator alloc;
  List list;
  list.shm_init(&alloc);
  REQUIRE(list.push_back(1));
  WideMap map;
  map.shm_init(&alloc);
  REQUIRE(map.insert({1, {}}).second);
  alloc.Allow(0);
  REQUIRE_FALSE(list.push_back(2));
  REQUIRE_FALSE(list.push_front(2));
  REQUIRE(list.emplace_back(2U) == nullptr);
  REQUIRE(list.emplace_front(2U) == nullptr);
  REQUIRE(list.insert(list.begin(), 2) == list.end());
  REQUIRE(map.insert({2, {}}) == std::pair(map.end(), false));
  REQUIRE(map.try_emplace(2) == std::pair(map.end(), false));
  REQUIRE(map.insert_or_assign(1, {{1, 2, 3}}) == std::pair(map.end(), false));
  REQUIRE(map.insert_or_assign(2, {{1, 2, 3}}) == std::pair(map.end(), false));
  REQUIRE(map.begin()->second == Wide{});
  REQUIRE(map.insert({1, {}}) == std::pair(map.begin(), false));  // there already: no room needed
  REQUIRE(list.Check());
  REQUIRE(map.Check());
  List other_list;
  REQUIRE(CodeOf([&] { other_list.shm_init(&alloc); }) == ErrorCode::kNoSpace);
  WideMap other_map;
  REQUIRE(CodeOf([&] { other_map.shm_init(&alloc); }) == ErrorCode::kNoSpace);
  REQUIRE(list.size() == 1);
  REQUIRE(map.size() == 1);
}

TEST_CASE("list and map are joined by who expects their elements only") {
  TestAllocator alloc;
  List list;
  list.shm_init(&alloc);
  Map map;
  map.shm_init(&alloc);
  List other_list;
  Map other_map;
  WideMap wide;
  REQUIRE(CodeOf([&] { other_list.shm_attach(&alloc, map.offset()); }) == ErrorCode::kCorrupt);
  REQUIRE(CodeOf([&] { other_map.shm_attach(&alloc, list.offset()); }) == ErrorCode::kCorrupt);
  REQUIRE(CodeOf([&] { wide.shm_attach(&alloc, map.offset()); }) == ErrorCode::kSizeMismatch);
  REQUIRE(CodeOf([&] { other_map.shm_attach(&alloc, OffsetPtr<>()); }) == ErrorCode::kNotFound);
  other_map.shm_attach(&alloc, map.offset());
  REQUIRE(other_map.insert({5, 6}).second);
  REQUIRE(map.find(5)->second == 6);
}
