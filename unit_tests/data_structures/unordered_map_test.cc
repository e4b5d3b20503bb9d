#include "hermes_shm/data_structures/unordered_map.h"

#include <random>
#include <unordered_map>

#include "data_structures/test_allocator.h"
#include "hermes_shm/base/error.h"
#include "support/catch.h"
#include "support/seed.h"

using hshm::Error;
using hshm::ErrorCode;
using hshm::ipc::MapResult;
using hshm::ipc::OffsetPtr;
using hshm::test::TestAllocator;

namespace {

using Counts = hshm::ipc::unordered_map<uint64_t, uint32_t, TestAllocator>;

template <typename Body>
ErrorCode CodeThrownBy(const Body& body) {
  try {
    body();
  } catch (const Error& error) {
    return error.code();
  }
  return ErrorCode::kNone;
}

/** All keys have one home: the longest searches there can be. */
struct OneHome {
  uint64_t operator()(uint64_t) const noexcept { return 5; }
};

/** Three words: no single store replaces it. */
struct Wide {
  uint64_t a_;
  uint64_t b_;
  uint64_t c_;
  friend bool operator==(const Wide&, const Wide&) = default;
};

/** Random operations on a map and on std::unordered_map, with the same answers from both. */
template <typename Map>
class Comparison {
 public:
  Comparison(Map& map, uint64_t seed, uint64_t keys) : map_(map), random_(seed), keys_(keys) {}

  void Step() {
    const uint64_t key = random_() % keys_;
    const auto value = static_cast<uint32_t>(random_());
    const bool present = model_.contains(key);
    switch (random_() % 8) {
      case 0:
        REQUIRE((map_.insert(key, value) == MapResult::kInserted) ==
                model_.insert({key, value}).second);
        break;
      case 1:
        REQUIRE((map_.insert_or_assign(key, value) == MapResult::kInserted) ==
                model_.insert_or_assign(key, value).second);
        break;
      case 2:
        REQUIRE((map_.try_emplace(key, value) == MapResult::kInserted) ==
                model_.try_emplace(key, value).second);
        break;
      case 3:
        REQUIRE(map_.upsert(
                    key, [](uint32_t& n) { n += 3; }, 7) ==
                (present ? MapResult::kFound : MapResult::kInserted));
        model_[key] = present ? model_[key] + 3 : 10;
        break;
      case 4:
        REQUIRE(map_.update(key, [](uint32_t& n) { n ^= 0xff; }) ==
                (present ? MapResult::kFound : MapResult::kNotFound));
        if (present) model_[key] ^= 0xff;
        break;
      default:
        REQUIRE(map_.erase(key) == (model_.erase(key) == 1));
        break;
    }
    CompareKey(random_() % keys_);
  }

  void CompareKey(uint64_t key) const {
    const auto known = model_.find(key);
    REQUIRE(map_.contains(key) == (known != model_.end()));
    REQUIRE(map_.find(key) ==
            (known == model_.end() ? std::nullopt : std::optional<uint32_t>(known->second)));
  }

  void CompareAll() const {
    REQUIRE(map_.size() == model_.size());
    REQUIRE(map_.Check());
    for (uint64_t key = 0; key < keys_; ++key) CompareKey(key);
    std::unordered_map<uint64_t, uint32_t> seen;
    map_.for_each([&](uint64_t key, uint32_t value) { seen[key] = value; });
    REQUIRE(seen == model_);
  }

 private:
  Map& map_;
  std::unordered_map<uint64_t, uint32_t> model_;
  std::mt19937_64 random_;
  uint64_t keys_;
};

}  // namespace

TEST_CASE("unordered_map answers random operations like std::unordered_map") {
  const uint64_t seed = hshm::test::PrintedSeed("unordered_map model");
  TestAllocator alloc;
  for (const uint64_t keys : {10, 300, 5000}) {
    Counts map;
    map.shm_init(&alloc, {.expected_entries_ = 0, .stripes_ = 4});
    Comparison<Counts> comparison(map, seed + keys, keys);
    for (int i = 0; i < 20000; ++i) comparison.Step();
    comparison.CompareAll();
    map.shm_destroy();
    REQUIRE(alloc.live_blocks() == 0);
  }
}

TEST_CASE("unordered_map keeps apart keys that all hash alike") {
  const uint64_t seed = hshm::test::PrintedSeed("unordered_map one home");
  TestAllocator alloc;
  using Map = hshm::ipc::unordered_map<uint64_t, uint32_t, TestAllocator, OneHome>;
  Map map;
  map.shm_init(&alloc, {.expected_entries_ = 0, .stripes_ = 1});
  Comparison<Map> comparison(map, seed, 100);
  for (int i = 0; i < 20000; ++i) comparison.Step();
  comparison.CompareAll();
  map.shm_destroy();
  REQUIRE(alloc.live_blocks() == 0);
}

TEST_CASE("unordered_map replaces wide values as a whole and frees the old ones") {
  TestAllocator alloc;
  hshm::ipc::unordered_map<uint32_t, Wide, TestAllocator> map;
  map.shm_init(&alloc);
  for (uint32_t i = 0; i < 1000; ++i) REQUIRE(map.insert(i, {i, i, i}) == MapResult::kInserted);
  const size_t blocks = alloc.live_blocks();
  for (uint32_t i = 0; i < 1000; ++i) {
    REQUIRE(map.insert_or_assign(i, {i, 1, 2}) == MapResult::kFound);
    REQUIRE(map.update(i, [](Wide& wide) { wide.c_ = 9; }) == MapResult::kFound);
  }
  REQUIRE(alloc.live_blocks() == blocks);
  for (uint32_t i = 0; i < 1000; ++i) REQUIRE(map.find(i) == Wide{i, 1, 9});
  alloc.Allow(0);
  REQUIRE(map.insert_or_assign(5, {0, 0, 0}) == MapResult::kNoRoom);
  REQUIRE(map.find(5) == Wide{5, 1, 9});
  alloc.AllowAll();
  map.shm_destroy();
  REQUIRE(alloc.live_blocks() == 0);
}

TEST_CASE("unordered_map leaves everything as it was when a function throws") {
  TestAllocator alloc;
  Counts map;
  map.shm_init(&alloc);
  const auto fail = [](uint32_t& n) {
    n = 77;
    throw std::runtime_error("no");
  };
  REQUIRE_THROWS(map.upsert(1, fail));
  REQUIRE_FALSE(map.contains(1));
  REQUIRE(map.insert(1, 5) == MapResult::kInserted);
  REQUIRE_THROWS(map.update(1, fail));
  REQUIRE(map.find(1) == 5);
  REQUIRE(map.Check());
}

TEST_CASE("unordered_map says no room at any allocation and stays usable") {
  for (uint64_t allowed = 0; allowed < 120; ++allowed) {
    TestAllocator alloc(1 << 20);
    Counts map;
    map.shm_init(&alloc, {.expected_entries_ = 0, .stripes_ = 2});
    alloc.Allow(allowed);
    uint64_t inserted = 0;
    while (map.insert(inserted, 1) == MapResult::kInserted) ++inserted;
    REQUIRE(inserted <= allowed);
    REQUIRE(map.size() == inserted);
    REQUIRE(map.Check());
    for (uint64_t key = 0; key < inserted; ++key) REQUIRE(map.contains(key));
    REQUIRE_FALSE(map.contains(inserted));
    for (uint64_t key = 0; key < inserted; key += 2) REQUIRE(map.erase(key));
    alloc.AllowAll();
    for (uint64_t key = 0; key < 500; ++key) {
      map.upsert(key, [](uint32_t& n) { ++n; });
    }
    REQUIRE(map.size() == 500);
    REQUIRE(map.Check());
    map.shm_destroy();
    REQUIRE(alloc.live_blocks() == 0);
  }
}

TEST_CASE("unordered_map fills its tables beyond three quarters when they cannot grow") {
  TestAllocator alloc;
  Counts map;
  map.shm_init(&alloc, {.expected_entries_ = 0, .stripes_ = 1});
  uint64_t key = 0;
  while (map.bucket_count() < 64 || map.size() < 48) map.insert(key++, 0);
  REQUIRE(map.bucket_count() == 64);
  alloc.Allow(0);
  REQUIRE(map.insert(key, 0) == MapResult::kNoRoom);  // not even a node
  alloc.Allow(1);
  // The one allocation goes to the larger table, and none is left for the node.
  REQUIRE(map.insert(key, 0) == MapResult::kNoRoom);
  REQUIRE(map.bucket_count() == 128);
  REQUIRE(map.size() == 48);
  REQUIRE(map.Check());
}

TEST_CASE("unordered_map gives tables back after erase_if and clear") {
  TestAllocator alloc;
  Counts map;
  map.shm_init(&alloc, {.expected_entries_ = 0, .stripes_ = 8});
  for (uint64_t i = 0; i < 20000; ++i) map.insert(i, static_cast<uint32_t>(i % 10));
  const uint64_t buckets = map.bucket_count();
  uint64_t erased = 0;
  for (uint64_t part = 0; part < 3; ++part) {
    erased += map.erase_if(part, 3, [](uint64_t, uint32_t value) { return value != 0; });
  }
  REQUIRE(erased == 18000);
  REQUIRE(map.size() == 2000);
  REQUIRE(map.bucket_count() < buckets / 4);
  REQUIRE(map.Check());
  uint64_t sum = 0;
  for (uint64_t part = 0; part < 16; ++part) {  // more parts than stripes
    map.for_each(part, 16, [&](uint64_t key, uint32_t) { sum += key; });
  }
  REQUIRE(sum == 2000 * 9995);
  map.clear();
  REQUIRE(map.empty());
  REQUIRE(map.bucket_count() == 0);
  REQUIRE(alloc.live_blocks() == 1);
  REQUIRE(map.insert(1, 2) == MapResult::kInserted);
}

TEST_CASE("unordered_map stays small while entries come and go") {
  TestAllocator alloc;
  Counts map;
  map.shm_init(&alloc, {.expected_entries_ = 0, .stripes_ = 1});
  for (uint64_t i = 0; i < 100000; ++i) {
    REQUIRE(map.insert(i, 0) == MapResult::kInserted);
    if (i >= 100) REQUIRE(map.erase(i - 100));
  }
  REQUIRE(map.size() == 100);
  REQUIRE(map.bucket_count() <= 256);
  REQUIRE(map.Check());
}

TEST_CASE("unordered_map reserves tables for what is announced") {
  TestAllocator alloc;
  Counts map;
  map.shm_init(&alloc, {.expected_entries_ = 100000, .stripes_ = 64});
  map.insert(1, 1);
  REQUIRE(map.bucket_count() >= 100000 / 64);
  REQUIRE(map.reserve(100000));
  const uint64_t buckets = map.bucket_count();
  REQUIRE(buckets * 3 / 4 >= 100000);
  REQUIRE(map.load_factor() < 0.01F);
  for (uint64_t i = 0; i < 100000; ++i) map.insert(i, 1);
  REQUIRE(map.load_factor() <= map.max_load_factor());
  REQUIRE(map.Check());
  alloc.Allow(0);
  REQUIRE_FALSE(map.reserve(10000000));
}

TEST_CASE("unordered_map needs at most 40 bytes an entry, tables included") {
  for (const uint64_t entries : {40000, 60000, 80000, 99000}) {
    TestAllocator alloc;
    Counts map;
    map.shm_init(&alloc);
    for (uint64_t i = 0; i < entries; ++i) map.insert(i * 0x9e3779b97f4a7c15, 1);
    REQUIRE(static_cast<double>(alloc.GetCurrentlyAllocatedSize()) / double(entries) <= 40.0);
  }
}

TEST_CASE("unordered_map is joined by offset and refuses everything else") {
  TestAllocator alloc;
  Counts map;
  map.shm_init(&alloc);
  map.insert(4, 44);
  Counts other;
  other.shm_attach(&alloc, map.offset());
  REQUIRE(other.find(4) == 44);
  const auto attach = [&](OffsetPtr<> offset) {
    return CodeThrownBy([&] { Counts().shm_attach(&alloc, offset); });
  };
  REQUIRE(attach(OffsetPtr<>()) == ErrorCode::kNotFound);
  REQUIRE(attach(OffsetPtr<>(map.offset().load() + 8)) == ErrorCode::kOutOfRange);
  REQUIRE(attach(OffsetPtr<>(uint64_t{1} << 40)) == ErrorCode::kOutOfRange);
  REQUIRE(attach(OffsetPtr<>(map.offset().load() + 64)) == ErrorCode::kCorrupt);
  hshm::ipc::unordered_map<uint64_t, uint64_t, TestAllocator> wrong;
  REQUIRE(CodeThrownBy([&] { wrong.shm_attach(&alloc, map.offset()); }) ==
          ErrorCode::kSizeMismatch);
  const OffsetPtr<> offset = map.offset();
  map.shm_destroy();
  REQUIRE(map.offset().IsNull());
  REQUIRE(attach(offset) == ErrorCode::kCorrupt);
}

TEST_CASE("unordered_map cannot be made with bad options or without room") {
  TestAllocator alloc(1 << 20);
  const auto make = [&](Counts::Options options) {
    return CodeThrownBy([&] { Counts().shm_init(&alloc, options); });
  };
  REQUIRE(make({0, 3}) == ErrorCode::kOutOfRange);
  REQUIRE(make({0, 1 << 17}) == ErrorCode::kOutOfRange);
  REQUIRE(make({0, 1 << 16}) == ErrorCode::kNoSpace);
  REQUIRE(alloc.live_blocks() == 0);
}

namespace {

/** Of a region whose blocks no slot of a map could name. */
struct VastAllocator : TestAllocator {
  hshm::ipc::Region GetRegion() const noexcept {
    hshm::ipc::Region region = TestAllocator::GetRegion();
    region.size_bytes_ = hshm::ipc::map_layout::kMaxRegionBytes + 1;
    return region;
  }
};

}  // namespace

TEST_CASE("unordered_map is not made in a region beyond what its slots can name") {
  VastAllocator alloc;
  hshm::ipc::unordered_map<uint64_t, uint64_t, VastAllocator> map;
  REQUIRE(CodeThrownBy([&] { map.shm_init(&alloc); }) == ErrorCode::kOutOfRange);
  REQUIRE(alloc.live_blocks() == 0);
}

TEST_CASE("Hash spreads consecutive and shifted keys over both of its ends") {
  for (const uint32_t shift : {0, 8, 32, 48}) {
    std::unordered_map<uint64_t, int> low;
    std::unordered_map<uint64_t, int> high;
    for (uint64_t i = 0; i < 10000; ++i) {
      const uint64_t hash = hshm::ipc::Hash<uint64_t>()(i << shift);
      ++low[hash % 256];
      ++high[hash >> 56];
    }
    REQUIRE(low.size() == 256);  // fair dice leave one of them out once in 10^14 trials
    REQUIRE(high.size() == 256);
  }
  const Wide wide = {1, 2, 3};
  REQUIRE(hshm::ipc::Hash<Wide>()(wide) != hshm::ipc::Hash<Wide>()({1, 3, 2}));
}
