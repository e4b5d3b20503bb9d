#include "hermes_shm/intrusive/rb_tree.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <random>
#include <vector>

#include "support/catch.h"
#include "support/seed.h"

using hshm::ipc::kNullOffset;
using hshm::ipc::Offset;
using hshm::ipc::rb_node;

namespace {

struct Item : rb_node {
  uint64_t key_ = 0;
};

struct Less {
  bool operator()(const Item& a, const Item& b) const { return a.key_ < b.key_; }
  bool operator()(const Item& a, uint64_t b) const { return a.key_ < b; }
  bool operator()(uint64_t a, const Item& b) const { return a < b.key_; }
};

using Tree = hshm::ipc::pre::rb_tree<Item, Less>;

/** A tree and its nodes, and the same bytes at a second address, which takes over when asked. */
class TwoPlaces {
 public:
  static constexpr uint64_t kItems = 500;

  TwoPlaces() : here_(kBytes), there_(kBytes) { ::new (static_cast<void*>(&tree())) Tree(); }

  void Move() {
    there_ = here_;
    std::fill(here_.begin(), here_.end(), char{0x5a});
    std::swap(here_, there_);
  }
  char* base() { return here_.data(); }
  Tree& tree() { return *reinterpret_cast<Tree*>(base() + kTree); }
  Item& item(uint64_t i) { return *reinterpret_cast<Item*>(base() + kFirst + i * sizeof(Item)); }
  Item& NewItem(uint64_t i, uint64_t key) {
    Item& made = *::new (static_cast<void*>(&item(i))) Item();
    made.key_ = key;
    return made;
  }
  uint64_t KeyAt(Offset at) { return reinterpret_cast<Item*>(base() + at)->key_; }

  std::vector<uint64_t> Keys() {
    std::vector<uint64_t> keys;
    for (const Item& item : tree().elements(base())) keys.push_back(item.key_);
    return keys;
  }

 private:
  static constexpr uint64_t kTree = 64;
  static constexpr uint64_t kFirst = 128;
  static constexpr uint64_t kBytes = kFirst + kItems * sizeof(Item);
  std::vector<char> here_;
  std::vector<char> there_;
};

/** Whether each bound and step is what std::map says. */
void RequireSame(TwoPlaces& places, const std::map<uint64_t, uint64_t>& model, uint64_t key) {
  Tree& tree = places.tree();
  char* const base = places.base();
  const auto key_of = [&](Offset at) {
    return at == kNullOffset ? ~uint64_t{0} : places.KeyAt(at);
  };
  const auto model_key = [&](auto it) { return it == model.end() ? ~uint64_t{0} : it->first; };
  REQUIRE(key_of(tree.Find(base, key).found_) == model_key(model.find(key)));
  const Offset lower = tree.LowerBound(base, key);
  const auto model_lower = model.lower_bound(key);
  REQUIRE(key_of(lower) == model_key(model_lower));
  REQUIRE(key_of(tree.UpperBound(base, key)) == model_key(model.upper_bound(key)));
  const bool is_first = model_lower == model.begin();
  REQUIRE(key_of(tree.PriorOf(base, lower)) ==
          (is_first ? ~uint64_t{0} : std::prev(model_lower)->first));
}

}  // namespace

TEST_CASE("rb_tree behaves like std::map, each step at either of two addresses") {
  std::mt19937_64 random(hshm::test::PrintedSeed("rb_tree model"));
  TwoPlaces places;
  std::map<uint64_t, uint64_t> model;  // key to item
  std::vector<uint64_t> free;
  for (uint64_t i = 0; i < TwoPlaces::kItems; ++i) free.push_back(i);
  for (int step = 0; step < 20000; ++step) {
    const uint64_t key = random() % 1000;
    const bool grows = step / 2000 % 2 == 0 ? random() % 3 != 0 : random() % 3 == 0;
    if (grows && !free.empty()) {
      Item& item = places.NewItem(free.back(), key);
      Item* const there = places.tree().insert(places.base(), &item);
      REQUIRE((there == nullptr) == (model.count(key) == 0));
      if (there == nullptr) {
        model[key] = free.back();
        free.pop_back();
      } else {
        REQUIRE(there == &places.item(model[key]));
      }
    } else if (const auto it = model.lower_bound(key); it != model.end()) {
      places.tree().erase(places.base(), &places.item(it->second));
      free.push_back(it->second);
      model.erase(it);
    }
    if (step % 7 == 0) places.Move();
    REQUIRE(places.tree().size() == model.size());
    RequireSame(places, model, random() % 1000);
    if (step % 10 == 0) REQUIRE(places.tree().Check(places.base()));
  }
}

TEST_CASE("rb_tree is built anew from its chain, of any size") {
  TwoPlaces places;
  for (uint64_t count = 0; count < TwoPlaces::kItems; ++count) {
    std::memset(static_cast<void*>(&places.tree()), 0, sizeof(Tree));
    for (uint64_t i = 0; i < count; ++i) {
      Item& item = places.NewItem(i, i * 37 % TwoPlaces::kItems);
      REQUIRE(places.tree().insert(places.base(), &item) == nullptr);
    }
    const std::vector<uint64_t> keys = places.Keys();
    for (uint64_t i = 0; i < count; ++i) {  // all but the chain is lost
      std::memset(static_cast<void*>(places.item(i).children_), 0xee, 3 * sizeof(Offset));
    }
    places.tree().Rebuild(places.base());
    REQUIRE(places.tree().Check(places.base()));
    REQUIRE(places.Keys() == keys);
    if (count % 50 == 7) {
      for (uint64_t i = 0; i < count; i += 2) places.tree().erase(places.base(), &places.item(i));
      REQUIRE(places.tree().Check(places.base()));
    }
  }
}

TEST_CASE("rb_tree replaces an element by an equal one, and is emptied from the front") {
  TwoPlaces places;
  for (uint64_t i = 0; i < 100; ++i) {
    places.tree().insert(places.base(), &places.NewItem(i, 2 * i));
  }
  for (uint64_t i = 0; i < 100; ++i) {
    Item& next = places.NewItem(100 + i, 2 * i);
    places.tree().Replace(places.base(), &places.item(i), &next);
    std::memset(static_cast<void*>(&places.item(i)), 0xee, sizeof(Item));
    REQUIRE(places.tree().Check(places.base()));
  }
  for (uint64_t i = 0; i < 100; ++i) {
    REQUIRE(places.tree().DropFirst(places.base()) == &places.item(100 + i));
  }
  REQUIRE(places.tree().DropFirst(places.base()) == nullptr);
  REQUIRE(places.tree().size() == 0);
  REQUIRE(places.tree().Check(places.base()));
}

TEST_CASE("rb_tree Check finds each kind of damage") {
  const auto is_found = [](auto damage) {
    TwoPlaces places;
    for (uint64_t i = 0; i < 20; ++i) {
      places.tree().insert(places.base(), &places.NewItem(i, i));
    }
    const bool was_whole = places.tree().Check(places.base());
    damage(places);
    return was_whole && !places.tree().Check(places.base());
  };
  REQUIRE(is_found([](TwoPlaces& p) { p.item(5).key_ = 100; }));
  REQUIRE(is_found([](TwoPlaces& p) { p.item(5).next_ = p.item(7).next_; }));
  REQUIRE(is_found([](TwoPlaces& p) { p.item(5).parent_and_color_ ^= 1; }));
  REQUIRE(is_found([](TwoPlaces& p) { p.item(5).parent_and_color_ += 64; }));
  REQUIRE(
      is_found([](TwoPlaces& p) { std::swap(p.item(3).children_[0], p.item(3).children_[1]); }));
  for (uint64_t i = 0; i < 20; ++i) {
    REQUIRE(is_found([i](TwoPlaces& p) { p.item(i).parent_and_color_ ^= 1; }));
  }
  REQUIRE(is_found([](TwoPlaces& p) { p.item(19).next_ = p.tree().first(); }));  // in a circle
  REQUIRE(is_found([](TwoPlaces& p) {  // the last leaf, a red one, is in the chain alone
    REQUIRE(p.item(19).parent_and_color_ % 2 == 1);
    for (uint64_t i = 0; i < 19; ++i) {
      Offset& child = p.item(i).children_[1];
      if (child != kNullOffset && p.KeyAt(child) == 19) child = kNullOffset;
    }
  }));
  REQUIRE_FALSE(is_found([](TwoPlaces&) {}));
}
