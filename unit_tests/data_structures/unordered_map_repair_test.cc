#include "data_structures/test_allocator.h"
#include "hermes_shm/data_structures/unordered_map.h"
#include "support/catch.h"

using hshm::ipc::MapResult;
using hshm::ipc::OffsetPtr;
using hshm::ipc::map_layout::kMaxTableLog2;
using hshm::ipc::map_layout::kMinTableLog2;
using hshm::ipc::map_layout::LockedStripe;
using hshm::ipc::map_layout::MapHeader;
using hshm::ipc::map_layout::Stripe;
using hshm::ipc::map_layout::TableFor;
using hshm::ipc::map_layout::TableOffset;
using hshm::ipc::map_layout::TagIn;
using hshm::test::TestAllocator;

namespace {

/** A map of one stripe with some entries, in which a process is about to die. */
class DyingMap {
 public:
  static constexpr uint64_t kEntries = 100;
  using Map = hshm::ipc::unordered_map<uint64_t, uint32_t, TestAllocator>;

  DyingMap() {
    map_.shm_init(&alloc_, {.expected_entries_ = 0, .stripes_ = 1});
    for (uint64_t i = 0; i < kEntries; ++i) map_.insert(i, 1);
    blocks_ = alloc_.live_blocks();
    stripe_ = alloc_.GetRegion().At<MapHeader>(map_.offset().load())->stripes();
  }

  Stripe& stripe() { return *stripe_; }

  /** Dies holding the lock; body() is what it did last. */
  template <typename Body>
  void Die(const Body& body) {
    constexpr uint32_t kDead = 7;
    stripe_->lock_.Lock({kDead, 1, &alloc_.GetMembership()});
    body();
    alloc_.GetMembership().dead_slot_.store(kDead);
  }

  /** A survivor finds everything, counts right, and no block too many. */
  void RequireWhole(uint64_t entries) {
    REQUIRE(map_.contains(1));
    REQUIRE(map_.size() == entries);
    REQUIRE(map_.Check());
    REQUIRE(alloc_.live_blocks() == blocks_);
    REQUIRE(map_.insert(1000000, 1) == MapResult::kInserted);
    map_.shm_destroy();
    REQUIRE(alloc_.live_blocks() == 0);
  }

  TestAllocator alloc_;
  Map map_;
  size_t blocks_ = 0;

 private:
  Stripe* stripe_ = nullptr;
};

}  // namespace

TEST_CASE("unordered_map is taken over from a holder that died before it changed anything") {
  DyingMap dying;
  dying.Die([] {});
  dying.RequireWhole(DyingMap::kEntries);
}

TEST_CASE("unordered_map frees the table of a growth that was cut before it was published") {
  DyingMap dying;
  dying.Die([&] {
    const OffsetPtr<> made = dying.alloc_.AlignedAllocateOffset({}, 64 << 3, 64);
    dying.stripe().tables_[1 - dying.stripe().active_.load()].store(TableFor(made.load(), 6));
  });
  dying.RequireWhole(DyingMap::kEntries);
}

TEST_CASE("unordered_map frees the old table of a growth that was cut after it was published") {
  DyingMap dying;
  dying.Die([&] {
    Stripe& stripe = dying.stripe();
    const uint32_t old = stripe.active_.load();
    const uint64_t table = stripe.tables_[old].load();
    const uint64_t bytes = uint64_t{8} << (table % 64);
    const OffsetPtr<> made = dying.alloc_.AlignedAllocateOffset({}, bytes, 64);
    const auto& region = dying.alloc_.GetRegion();
    std::memcpy(region.At<char>(made.load()), region.At<char>(TableOffset(table)), bytes);
    stripe.tables_[1 - old].store(TableFor(made.load(), static_cast<uint32_t>(table % 64)));
    stripe.active_.store(1 - old);
    stripe.used_.store(1);  // not reached
  });
  dying.RequireWhole(DyingMap::kEntries);
}

TEST_CASE("unordered_map counts again after a holder that died between slot and counters") {
  DyingMap dying;
  dying.Die([&] {
    dying.stripe().count_.store(DyingMap::kEntries - 1);
    dying.stripe().used_.store(DyingMap::kEntries + 5);
  });
  dying.RequireWhole(DyingMap::kEntries);
}

TEST_CASE("unordered_map Check finds each kind of damage") {
  const auto damaged = [](auto damage) {
    DyingMap dying;
    REQUIRE(dying.map_.Check());
    Stripe& stripe = dying.stripe();
    const uint64_t table = stripe.tables_[stripe.active_.load()].load();
    auto* slots = dying.alloc_.GetRegion().At<hshm::Atomic<uint64_t>>(TableOffset(table));
    uint64_t at = 0;
    while (slots[at].load() == 0) ++at;
    damage(dying, slots, at);
    const bool whole = dying.map_.Check();
    return !whole;
  };
  REQUIRE(damaged([](DyingMap& m, auto*, uint64_t) { m.stripe().count_.store(3); }));
  REQUIRE(damaged([](DyingMap& m, auto*, uint64_t) { m.stripe().used_.store(3); }));
  REQUIRE(damaged([](DyingMap& m, auto*, uint64_t) {
    m.stripe().tables_[1 - m.stripe().active_.load()].store(4096);
  }));
  REQUIRE(damaged([](DyingMap&, auto* slots, uint64_t at) {
    slots[at].store(slots[at].load() ^ (uint64_t{1} << 63));  // another tag
  }));
  REQUIRE(damaged([](DyingMap&, auto* slots, uint64_t at) {
    slots[at].store(slots[at].load() | (uint64_t{1} << 37));  // a node outside of the region
  }));
  REQUIRE(damaged([](DyingMap& m, auto* slots, uint64_t at) {  // one entry twice
    uint64_t free = at;
    while (slots[free].load() != 0) ++free;
    slots[free].store(slots[at].load());
    m.stripe().count_.store(DyingMap::kEntries + 1);
    m.stripe().used_.store(m.stripe().used_.load() + 1);
  }));
  REQUIRE(damaged([](DyingMap& m, auto* slots, uint64_t) {  // nothing ends a search
    const uint64_t count = m.map_.bucket_count();
    for (uint64_t i = 0; i < count; ++i) {
      if (slots[i].load() == 0) slots[i].store(hshm::ipc::map_layout::kErased);
    }
    m.stripe().used_.store(count);
  }));
  REQUIRE(damaged([](DyingMap& m, auto* slots, uint64_t at) {  // away from home
    const uint64_t last = m.map_.bucket_count() - 1;
    while (slots[at].load() == 0 || (TagIn(slots[at].load()) & last) != at) ++at;
    uint64_t free = (at + last) & last;  // behind all others, as the slots go round
    while (slots[free].load() != 0) free = (free + last) & last;
    slots[free].store(slots[at].exchange(0));
  }));
  REQUIRE(damaged([](DyingMap& m, auto*, uint64_t) {
    m.alloc_.GetRegion().template At<MapHeader>(m.map_.offset().load())->tag_.magic_.store(1);
  }));
  REQUIRE_FALSE(damaged([](DyingMap&, auto*, uint64_t) {}));
}

TEST_CASE("unordered_map Check finds entries in a stripe that is not theirs") {
  TestAllocator alloc;
  DyingMap::Map map;
  map.shm_init(&alloc, {.expected_entries_ = 0, .stripes_ = 2});
  for (uint64_t i = 0; i < DyingMap::kEntries; ++i) map.insert(i, 1);
  REQUIRE(map.Check());
  Stripe* stripes = alloc.GetRegion().At<MapHeader>(map.offset().load())->stripes();
  const auto swap = [](auto& a, auto& b) { a.store(b.exchange(a.load())); };
  swap(stripes[0].active_, stripes[1].active_);
  for (const int i : {0, 1}) swap(stripes[0].tables_[i], stripes[1].tables_[i]);
  swap(stripes[0].count_, stripes[1].count_);
  swap(stripes[0].used_, stripes[1].used_);
  REQUIRE_FALSE(map.Check());
}

TEST_CASE("unordered_map asks for no table beyond the largest one that its words can name") {
  TestAllocator alloc;
  DyingMap::Map map;
  map.shm_init(&alloc, {.expected_entries_ = 0, .stripes_ = 1});
  Stripe* stripe = alloc.GetRegion().At<MapHeader>(map.offset().load())->stripes();
  const size_t blocks = alloc.live_blocks();
  {
    LockedStripe<TestAllocator> locked(alloc, {}, *stripe, kMinTableLog2);
    REQUIRE_FALSE(locked.Reserve(kMaxTableLog2 + 1));
    REQUIRE(locked.slot_count() == 0);
  }
  REQUIRE(alloc.live_blocks() == blocks);
  REQUIRE(map.insert(1, 1) == MapResult::kInserted);
}
