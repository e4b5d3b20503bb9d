#include "hermes_shm/intrusive/list.h"

#include <algorithm>
#include <list>
#include <random>
#include <vector>

#include "hermes_shm/intrusive/slist.h"
#include "support/catch.h"
#include "support/child_process.h"
#include "support/memory_file.h"
#include "support/seed.h"

using hshm::ipc::list_node;
using hshm::ipc::slist_node;
using hshm::ipc::pre::list;
using hshm::ipc::pre::slist;
using hshm::test::MemoryFile;

namespace {

constexpr uint64_t kNodes = 100;
constexpr uint64_t kNodesOffset = 1024;
constexpr uint64_t kSteps = 20000;

template <typename Node>
struct Element : Node {
  uint64_t value_;
};

/** A region whose first bytes are the list and behind it the nodes; all of it zeroed at first. */
template <typename List, typename Node>
struct Place {
  MemoryFile file_{kNodesOffset + kNodes * sizeof(Element<Node>)};

  List* ListAt(char* base) { return reinterpret_cast<List*>(base); }
  Element<Node>* NodeAt(char* base, uint64_t index) {
    return reinterpret_cast<Element<Node>*>(base + kNodesOffset) + index;
  }
  /** Any of the two addresses at which the region is mapped. */
  template <typename Random>
  char* AnyBase(Random& random) {
    return random() % 2 == 0 ? file_.base() : file_.other_base();
  }
};

template <typename List>
std::vector<uint64_t> ValuesOf(List* list, char* base) {
  std::vector<uint64_t> values;
  for (const auto& element : list->elements(base)) values.push_back(element.value_);
  return values;
}

/** Takes a random node that is in no list out of the unused ones. */
template <typename Random>
uint64_t TakeUnused(std::vector<uint64_t>& unused, Random& random) {
  std::swap(unused[random() % unused.size()], unused.back());
  const uint64_t index = unused.back();
  unused.pop_back();
  return index;
}

template <typename Range>
bool SameValues(const std::vector<uint64_t>& values, const Range& expected) {
  return std::equal(values.begin(), values.end(), expected.begin(), expected.end());
}

}  // namespace

TEST_CASE("slist behaves like std::list, each step at either of two addresses") {
  using List = slist<Element<slist_node>>;
  std::mt19937_64 random(hshm::test::PrintedSeed("slist"));
  Place<List, slist_node> place;
  std::list<uint64_t> model;
  std::vector<uint64_t> unused(kNodes);
  for (uint64_t i = 0; i < kNodes; ++i) unused[i] = i;
  for (uint64_t step = 0; step < kSteps; ++step) {
    char* base = place.AnyBase(random);
    List* list = place.ListAt(base);
    const uint64_t choice = random() % 4;
    if (choice <= 1 && !unused.empty()) {
      const uint64_t index = TakeUnused(unused, random);
      place.NodeAt(base, index)->value_ = index;
      list->push_front(base, place.NodeAt(base, index));
      model.push_front(index);
    } else if (choice == 2) {
      const auto* popped = list->pop_front(base);
      REQUIRE((popped == nullptr) == model.empty());
      if (popped == nullptr) continue;
      REQUIRE(popped->value_ == model.front());
      unused.push_back(model.front());
      model.pop_front();
    } else {
      const uint64_t index = random() % kNodes;
      const auto found = std::find(model.begin(), model.end(), index);
      REQUIRE(list->erase(base, place.NodeAt(base, index)) == (found != model.end()));
      if (found == model.end()) continue;
      unused.push_back(index);
      model.erase(found);
    }
    char* check_base = place.AnyBase(random);
    const List* check = place.ListAt(check_base);
    REQUIRE(check->size() == model.size());
    REQUIRE(check->empty() == model.empty());
    REQUIRE(SameValues(ValuesOf(check, check_base), model));
    if (!model.empty()) REQUIRE(check->front(check_base)->value_ == model.front());
  }
}

TEST_CASE("list behaves like std::list, each step at either of two addresses") {
  using List = list<Element<list_node>>;
  std::mt19937_64 random(hshm::test::PrintedSeed("list"));
  Place<List, list_node> place;
  std::list<uint64_t> model;
  std::vector<uint64_t> unused(kNodes);
  for (uint64_t i = 0; i < kNodes; ++i) unused[i] = i;
  for (uint64_t step = 0; step < kSteps; ++step) {
    char* base = place.AnyBase(random);
    List* list = place.ListAt(base);
    const uint64_t choice = random() % 6;
    if (choice <= 2 && !unused.empty()) {
      const uint64_t index = TakeUnused(unused, random);
      auto* node = place.NodeAt(base, index);
      node->value_ = index;
      choice == 0 ? list->push_front(base, node) : list->push_back(base, node);
      model.insert(choice == 0 ? model.begin() : model.end(), index);
    } else if (choice == 3 || choice == 4) {
      const auto* popped = choice == 3 ? list->pop_front(base) : list->pop_back(base);
      REQUIRE((popped == nullptr) == model.empty());
      if (popped == nullptr) continue;
      const auto gone = choice == 3 ? model.begin() : std::prev(model.end());
      REQUIRE(popped->value_ == *gone);
      unused.push_back(*gone);
      model.erase(gone);
    } else if (!model.empty()) {
      const auto gone = std::next(model.begin(), static_cast<long>(random() % model.size()));
      list->erase(base, place.NodeAt(base, *gone));
      unused.push_back(*gone);
      model.erase(gone);
    }
    char* check_base = place.AnyBase(random);
    const List* check = place.ListAt(check_base);
    REQUIRE(check->size() == model.size());
    REQUIRE(check->empty() == model.empty());
    REQUIRE(SameValues(ValuesOf(check, check_base), model));
    if (!model.empty()) REQUIRE(check->front(check_base)->value_ == model.front());
    if (!model.empty()) REQUIRE(check->back(check_base)->value_ == model.back());
  }
}

TEST_CASE("Empty lists have no front and nothing to pop") {
  list<Element<list_node>> both;
  slist<Element<slist_node>> single;
  alignas(16) char base[64] = {};
  CHECK(both.front(base) == nullptr);
  CHECK(both.back(base) == nullptr);
  CHECK(both.pop_front(base) == nullptr);
  CHECK(both.pop_back(base) == nullptr);
  CHECK(single.front(base) == nullptr);
  CHECK(single.pop_front(base) == nullptr);
  CHECK(single.elements(base).begin() == single.elements(base).end());
}

TEST_CASE("list stops at an erase of an element that it does not hold") {
  using List = list<Element<list_node>>;
  Place<List, list_node> place;
  char* base = place.file_.base();
  place.ListAt(base)->push_back(base, place.NodeAt(base, 0));
  const auto ending =
      hshm::test::RunInChild([&] { place.ListAt(base)->erase(base, place.NodeAt(base, 1)); });
  CHECK(ending.status_ == -SIGABRT);
  CHECK(ending.errors_.find("hshm: CHECK failed") == 0);
}

TEST_CASE("list Check finds each kind of damage") {
  using Lists = Place<list<Element<list_node>>, list_node>;
  const auto is_found = [](auto damage) {
    Lists place;
    char* base = place.file_.base();
    for (uint64_t i = 0; i < 4; ++i) place.ListAt(base)->push_back(base, place.NodeAt(base, i));
    REQUIRE(place.ListAt(base)->Check(base));
    damage([&](uint64_t i) -> list_node& { return *place.NodeAt(base, i); });
    return !place.ListAt(base)->Check(base);
  };
  REQUIRE(is_found([](auto node) { node(3).next_ = node(1).prior_; }));  // in a circle
  REQUIRE(is_found([](auto node) { node(2).prior_ = node(1).prior_; }));
  REQUIRE(is_found([](auto node) { node(2).next_ = hshm::ipc::kNullOffset; }));  // not the end
  REQUIRE(is_found([](auto node) {                                               // one is left out
    node(1).next_ = node(2).next_;
    node(3).prior_ = node(2).prior_;
  }));
  REQUIRE_FALSE(is_found([](auto) {}));
}

TEST_CASE("slist stops at links that run in a circle") {
  using List = slist<Element<slist_node>>;
  Place<List, slist_node> place;
  char* base = place.file_.base();
  place.ListAt(base)->push_front(base, place.NodeAt(base, 0));
  place.NodeAt(base, 0)->next_ = kNodesOffset;
  const auto ending =
      hshm::test::RunInChild([&] { (void)place.ListAt(base)->erase(base, place.NodeAt(base, 1)); });
  CHECK(ending.status_ == -SIGABRT);
}
