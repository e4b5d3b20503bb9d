/** What Check says of containers into whose words somebody wrote, and who joins them then. */
#include <cstdint>
#include <functional>

#include "data_structures/test_allocator.h"
#include "hermes_shm/base/error.h"
#include "hermes_shm/data_structures/list.h"
#include "hermes_shm/data_structures/map.h"
#include "hermes_shm/data_structures/ring_buffer/multi_ring_buffer.h"
#include "hermes_shm/data_structures/string.h"
#include "hermes_shm/data_structures/unordered_map.h"
#include "hermes_shm/data_structures/vector.h"
#include "support/catch.h"

using hshm::Error;
using hshm::ErrorCode;
using hshm::ipc::kNullOffset;
using hshm::ipc::list_node;
using hshm::ipc::MultiRingHeader;
using hshm::ipc::ObjectTag;
using hshm::ipc::Offset;
using hshm::ipc::OffsetPtr;
using hshm::ipc::RingHeader;
using hshm::ipc::RingKind;
using hshm::ipc::list_layout::ListHeader;
using hshm::ipc::map_layout::MapHeader;
using hshm::ipc::vector_layout::GapState;
using hshm::ipc::vector_layout::VectorHeader;
using hshm::test::TestAllocator;

namespace {

using Vector = hshm::ipc::vector<uint64_t, TestAllocator>;
using List = hshm::ipc::list<uint64_t, TestAllocator>;
using Map = hshm::ipc::map<uint64_t, uint64_t, TestAllocator>;
using Table = hshm::ipc::unordered_map<uint64_t, uint64_t, TestAllocator>;
using Text = hshm::ipc::string<TestAllocator>;
using Ring = hshm::ipc::ring_buffer<uint64_t, TestAllocator, RingKind::kMpsc>;
using Lanes = hshm::ipc::multi_ring_buffer<uint64_t, TestAllocator>;

constexpr uint64_t kEntries = 4;

bool Add(Vector& vector, uint64_t i) { return vector.push_back(i); }
bool Add(List& list, uint64_t i) { return list.push_back(i); }
bool Add(Map& map, uint64_t i) { return map.insert({i, i}).second; }

/** A container of some entries, and its words. */
template <typename Structure>
struct Damaged {
  TestAllocator alloc_;
  Structure structure_;

  Damaged() {
    structure_.shm_init(&alloc_);
    for (uint64_t i = 0; i < kEntries; ++i) REQUIRE(Add(structure_, i));
  }
  template <typename Header>
  Header& header() {
    return *At<Header>(structure_.offset().load());
  }
  template <typename T>
  T* At(Offset offset) {
    return alloc_.GetRegion().At<T>(offset);
  }
};

/** Whether Check finds what damage(words) does to a container that was whole. */
template <typename Structure>
bool IsFound(const std::function<void(Damaged<Structure>&)>& damage) {
  Damaged<Structure> damaged;
  REQUIRE(damaged.structure_.Check());
  damage(damaged);
  return !damaged.structure_.Check();
}

bool IsFoundInVector(const std::function<void(VectorHeader&)>& damage) {
  return IsFound<Vector>([&](auto& d) { damage(d.template header<VectorHeader>()); });
}

template <typename Structure>
ErrorCode RefusalOf(TestAllocator& alloc, OffsetPtr<> offset) {
  try {
    Structure().shm_attach(&alloc, offset);
  } catch (const Error& error) {
    return error.code();
  }
  return ErrorCode::kNone;
}

}  // namespace

TEST_CASE("vector Check finds each kind of damage") {
  REQUIRE(IsFoundInVector([](VectorHeader& v) { v.tag_.magic_.store(1); }));
  REQUIRE(IsFoundInVector(
      [](VectorHeader& v) { v.gap_state_.store(static_cast<uint64_t>(GapState::kClosing)); }));
  REQUIRE(IsFoundInVector([](VectorHeader& v) { v.blocks_[1 - v.active_.load()].store(4096); }));
  REQUIRE(IsFoundInVector([](VectorHeader& v) { v.size_.store(1000); }));
  REQUIRE(IsFoundInVector([](VectorHeader& v) { v.blocks_[v.active_.load()].store(0); }));
  REQUIRE(IsFoundInVector([](VectorHeader& v) {
    v.size_.store(0);
    v.capacities_[v.active_.load()].store(0);
  }));
  REQUIRE(IsFoundInVector(
      [](VectorHeader& v) { v.capacities_[v.active_.load()].store(uint64_t{1} << 60); }));
  REQUIRE(IsFoundInVector([](VectorHeader& v) {
    v.blocks_[v.active_.load()].store((uint64_t{64} << 20) - 8);  // its end is outside
  }));
  REQUIRE(IsFoundInVector([](VectorHeader& v) {
    const uint32_t active = v.active_.load();
    v.blocks_[active].store(v.blocks_[active].load() + 1);
  }));
  REQUIRE_FALSE(IsFoundInVector([](VectorHeader&) {}));
}

TEST_CASE("list Check finds each kind of damage") {
  using Words = Damaged<List>;
  using Header = ListHeader<uint64_t>;
  const auto first = [](Words& d) { return d.At<list_node>(d.header<Header>().chain_.first()); };
  REQUIRE(IsFound<List>([](Words& d) { d.header<Header>().in_hand_.Note(1, 4096); }));
  REQUIRE(IsFound<List>([](Words& d) { d.header<Header>().order_.store(4096); }));
  REQUIRE(IsFound<List>([&](Words& d) { first(d)->next_ = kNullOffset; }));
  REQUIRE_FALSE(IsFound<List>([](Words&) {}));
}

TEST_CASE("map Check finds each kind of damage") {
  using Words = Damaged<Map>;
  using Header = hshm::ipc::ordered_map_layout::MapHeader<uint64_t, uint64_t, std::less<uint64_t>>;
  REQUIRE(IsFound<Map>([](Words& d) { d.header<Header>().in_hand_.Note(0, 4096); }));
  REQUIRE(IsFound<Map>([](Words& d) {
    auto* first = d.At<hshm::ipc::rb_node>(d.header<Header>().tree_.first());
    first->next_ = kNullOffset;
  }));
  REQUIRE_FALSE(IsFound<Map>([](Words&) {}));
}

TEST_CASE("A container is joined by who knows its layout, where all of its header can lie") {
  Damaged<Vector> damaged;
  const OffsetPtr<> offset = damaged.structure_.offset();
  REQUIRE(RefusalOf<Vector>(damaged.alloc_, offset) == ErrorCode::kNone);
  const uint64_t region_bytes = damaged.alloc_.GetRegion().size_bytes_;
  for (const uint64_t elsewhere : {region_bytes, region_bytes - 64, 4 * region_bytes}) {
    REQUIRE(RefusalOf<Vector>(damaged.alloc_, OffsetPtr<>(elsewhere)) == ErrorCode::kOutOfRange);
  }
  ObjectTag& tag = damaged.header<VectorHeader>().tag_;
  ++tag.layout_version_;
  REQUIRE(RefusalOf<Vector>(damaged.alloc_, offset) == ErrorCode::kVersionMismatch);
}

TEST_CASE("A string is joined where all of it can lie") {
  TestAllocator alloc;
  Text text;
  text.shm_init(&alloc, "some");
  const uint64_t region_bytes = alloc.GetRegion().size_bytes_;
  REQUIRE(RefusalOf<Text>(alloc, text.offset()) == ErrorCode::kNone);
  for (const uint64_t elsewhere :
       {uint64_t{0}, text.offset().load() + 1, region_bytes, region_bytes - 8, 4 * region_bytes}) {
    REQUIRE(RefusalOf<Text>(alloc, OffsetPtr<>(elsewhere)) == ErrorCode::kOutOfRange);
  }
}

TEST_CASE("A ring with more cells than can lie behind its header is not joined") {
  TestAllocator alloc;
  Ring ring;
  ring.shm_init(&alloc, 8);
  REQUIRE(RefusalOf<Ring>(alloc, ring.offset()) == ErrorCode::kNone);
  for (const uint32_t log2 : {30U, 33U, 64U}) {
    alloc.GetRegion().At<RingHeader>(ring.offset().load())->capacity_log2_ = log2;
    REQUIRE(RefusalOf<Ring>(alloc, ring.offset()) == ErrorCode::kOutOfRange);
  }
}

TEST_CASE("multi_ring_buffer with no lanes, or more than can be, is not joined") {
  TestAllocator alloc(1 << 20);
  Lanes lanes;
  lanes.shm_init(&alloc, 2, 8);
  REQUIRE(RefusalOf<Lanes>(alloc, lanes.offset()) == ErrorCode::kNone);
  auto* header = alloc.GetRegion().At<MultiRingHeader>(lanes.offset().load());
  for (const uint32_t count : {0U, hshm::ipc::kMaxLanes, hshm::ipc::kMaxLanes + 1}) {
    header->lane_count_ = count;
    REQUIRE(RefusalOf<Lanes>(alloc, lanes.offset()) == ErrorCode::kOutOfRange);
  }
}

TEST_CASE("unordered_map with a number of stripes that cannot be is not joined") {
  TestAllocator alloc;
  Table table;
  table.shm_init(&alloc, {.expected_entries_ = 0, .stripes_ = 4});
  REQUIRE(RefusalOf<Table>(alloc, table.offset()) == ErrorCode::kNone);
  auto* header = alloc.GetRegion().At<MapHeader>(table.offset().load());
  for (const uint32_t count : {0U, 3U, uint32_t{1} << 31}) {
    header->stripe_count_ = count;
    REQUIRE(RefusalOf<Table>(alloc, table.offset()) == ErrorCode::kOutOfRange);
  }
}
