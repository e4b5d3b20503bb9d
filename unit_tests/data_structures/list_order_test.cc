#include <algorithm>
#include <functional>
#include <iterator>
#include <list>
#include <random>
#include <vector>

#include "data_structures/test_allocator.h"
#include "hermes_shm/data_structures/list.h"
#include "support/catch.h"
#include "support/child_process.h"
#include "support/seed.h"

using hshm::test::TestAllocator;

namespace {

/** Sorted by key alone: the number tells whether equal ones kept their order. */
struct Item {
  uint32_t key_;
  uint32_t number_;
  friend bool operator==(const Item&, const Item&) = default;
};
bool HasLessKey(const Item& a, const Item& b) { return a.key_ < b.key_; }
bool HasSameKey(const Item& a, const Item& b) { return a.key_ == b.key_; }

using List = hshm::ipc::list<Item, TestAllocator>;
using Model = std::list<Item>;

/** Two lists of one region and what they must be. */
class Pair {
 public:
  explicit Pair(std::mt19937_64& random) : random_(random) {
    for (List& list : lists_) list.shm_init(&alloc_);
  }

  void Add() {
    const Item item{static_cast<uint32_t>(random_() % 20), count_++};
    const uint64_t which = random_() % 2;
    REQUIRE(lists_[which].push_back(item));
    models_[which].push_back(item);
  }
  void Sort() {
    lists_[0].sort(HasLessKey);
    models_[0].sort(HasLessKey);
  }
  void Reverse() {
    lists_[1].reverse();
    models_[1].reverse();
  }
  void Merge() {
    Sort();
    lists_[1].sort(HasLessKey);
    models_[1].sort(HasLessKey);
    lists_[0].merge(lists_[1], HasLessKey);
    lists_[0].merge(lists_[0], HasLessKey);  // of itself: nothing is to be moved
    models_[0].merge(models_[1], HasLessKey);
  }
  void Unique() {
    const uint64_t before = models_[1].size();
    models_[1].unique(HasSameKey);
    REQUIRE(lists_[1].unique(HasSameKey) == before - models_[1].size());
  }
  /** A value that is in the list is removed by reference to itself. */
  void Remove() {
    if (models_[0].empty()) return;
    const uint64_t before = models_[0].size();
    const auto same_key = [key = models_[0].front().key_](const Item& a) { return a.key_ == key; };
    REQUIRE(lists_[0].remove(lists_[0].front()) == 1);
    models_[0].pop_front();
    models_[0].remove_if(same_key);
    REQUIRE(lists_[0].remove_if(same_key) == before - 1 - models_[0].size());
  }
  void SpliceAll() {
    const int64_t at = Place(1);
    lists_[1].splice(std::next(lists_[1].cbegin(), at), lists_[0]);
    models_[1].splice(std::next(models_[1].begin(), at), models_[0]);
  }
  /** A range into the other list, or elsewhere in its own, where it does not hold the target. */
  void SpliceRange(uint64_t to, uint64_t from) {
    int64_t places[3] = {Place(from), Place(from), Place(to)};
    if (to == from) std::sort(places, places + 3);
    const bool moves_down = to == from && random_() % 2 == 0;  // the target is in front
    const auto [first, last, at] =
        moves_down
            ? std::tuple(places[1], places[2], places[0])
            : std::tuple(std::min(places[0], places[1]), std::max(places[0], places[1]), places[2]);
    List& source = lists_[from];
    Model& model = models_[from];
    lists_[to].splice(std::next(lists_[to].cbegin(), at), source, std::next(source.cbegin(), first),
                      std::next(source.cbegin(), last));
    if (to == from && at == first) return;  // nothing for ours, undefined for std::list
    models_[to].splice(std::next(models_[to].begin(), at), model, std::next(model.begin(), first),
                       std::next(model.begin(), last));
  }

  void RequireEqual() {
    for (const uint64_t i : {0, 1}) {
      REQUIRE(lists_[i].Check());
      REQUIRE(lists_[i].size() == models_[i].size());
      REQUIRE(std::equal(lists_[i].begin(), lists_[i].end(), models_[i].begin()));
      REQUIRE(std::equal(lists_[i].crbegin(), lists_[i].crend(), models_[i].rbegin()));
    }
    REQUIRE((lists_[0] == lists_[1]) == (models_[0] == models_[1]));
    REQUIRE(alloc_.live_blocks() == 2 + models_[0].size() + models_[1].size());
  }

 private:
  int64_t Place(uint64_t which) {
    return static_cast<int64_t>(random_() % (models_[which].size() + 1));
  }

  std::mt19937_64& random_;
  TestAllocator alloc_;
  List lists_[2];
  Model models_[2];
  uint32_t count_ = 0;
};

}  // namespace

TEST_CASE("list sorts, reverses, merges, splices and removes like std::list") {
  std::mt19937_64 random(hshm::test::PrintedSeed("list order model"));
  Pair pair(random);
  for (int i = 0; i < 4000; ++i) {
    const uint64_t which = random() % 16;
    if (which == 0) pair.Sort();
    if (which == 1) pair.Reverse();
    if (which == 2) pair.Merge();
    if (which == 3) pair.Unique();
    if (which == 4) pair.Remove();
    if (which == 5) pair.SpliceAll();
    if (which == 6) pair.SpliceRange(0, 1);
    if (which == 7) pair.SpliceRange(1, 0);
    if (which == 8) pair.SpliceRange(0, 0);
    if (which == 9) pair.SpliceRange(1, 1);
    if (which >= 10) pair.Add();
    pair.RequireEqual();
  }
}

TEST_CASE("list sorts without memory, and elements keep their place in it") {
  TestAllocator alloc;
  hshm::ipc::list<uint32_t, TestAllocator> list;
  list.shm_init(&alloc);
  for (const uint32_t value : {5U, 3U, 9U, 1U}) REQUIRE(list.push_back(value));
  const uint32_t* const nine = &*std::next(list.begin(), 2);
  alloc.Allow(0);
  list.sort();
  REQUIRE(std::vector<uint32_t>(list.begin(), list.end()) == std::vector<uint32_t>{1, 3, 5, 9});
  REQUIRE(&list.back() == nine);
  list.sort(std::greater<uint32_t>());
  REQUIRE(&list.front() == nine);
  list.splice(list.cend(), list, list.cbegin());
  REQUIRE(&list.back() == nine);
  list.splice(list.cbegin(), list, list.cbegin());  // where it is
  hshm::ipc::list<uint32_t, TestAllocator> same;
  same.shm_attach(&alloc, list.offset());
  list.splice(std::next(list.cbegin()), same);  // all of it into itself
  REQUIRE(list.Check());
  alloc.AllowAll();
  REQUIRE(*list.emplace(std::next(list.cbegin()), 4U) == 4);
  REQUIRE(std::vector<uint32_t>(list.begin(), list.end()) == std::vector<uint32_t>{5, 4, 3, 1, 9});
}

TEST_CASE("list splices from the same mapping of the same region alone") {
  TestAllocator alloc;
  TestAllocator elsewhere;
  hshm::ipc::list<uint32_t, TestAllocator> list;
  hshm::ipc::list<uint32_t, TestAllocator> other;
  list.shm_init(&alloc);
  other.shm_init(&elsewhere);
  REQUIRE(other.push_back(1));
  REQUIRE(hshm::test::RunInChild([&] { list.splice(list.cend(), other); }).status_ == -SIGABRT);
}
