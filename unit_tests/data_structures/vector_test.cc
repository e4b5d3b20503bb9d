#include "hermes_shm/data_structures/vector.h"

#include <algorithm>
#include <list>
#include <numeric>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "data_structures/test_allocator.h"
#include "hermes_shm/base/error.h"
#include "hermes_shm/intrusive/offset_ptr.h"
#include "support/catch.h"
#include "support/child_process.h"
#include "support/seed.h"

using hshm::Error;
using hshm::ErrorCode;
using hshm::ipc::OffsetPtr;
using hshm::ipc::Shareable;
using hshm::test::TestAllocator;
using Vector = hshm::ipc::vector<uint32_t, TestAllocator>;

static_assert(Shareable<int> && Shareable<OffsetPtr<int>>);
static_assert(!Shareable<int*> && !Shareable<std::string> && !Shareable<int&> &&
              !Shareable<const int>);
static_assert(std::contiguous_iterator<Vector::iterator>);

namespace {

ErrorCode CodeOf(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.code();
  }
  return ErrorCode::kNone;
}

/** Insertions and assignments of copies, or of what lies between iterators of another type. */
void ChangeMany(std::mt19937_64& random, Vector& vector, std::vector<uint32_t>& model, int64_t at,
                const std::vector<uint32_t>& several) {
  const std::list<uint16_t> narrow(several.begin(), several.end());
  const uint32_t value = static_cast<uint32_t>(random());
  Vector::iterator placed = nullptr;
  switch (random() % 12) {
    case 0:
      REQUIRE(vector.assign(several.size(), value));
      model.assign(several.size(), value);
      break;
    case 1:
      REQUIRE(vector.assign(narrow.begin(), narrow.end()));
      model.assign(narrow.begin(), narrow.end());
      break;
    case 2:
    case 3:
    case 4:
      placed = vector.insert(vector.begin() + at, narrow.begin(), narrow.end());
      REQUIRE(placed == vector.begin() + at);
      model.insert(model.begin() + at, narrow.begin(), narrow.end());
      break;
    default:
      placed = vector.insert(vector.begin() + at, several.size(), value);
      REQUIRE(placed == vector.begin() + at);
      model.insert(model.begin() + at, several.size(), value);
      break;
  }
}

/** The same random change to both. */
void Change(std::mt19937_64& random, Vector& vector, std::vector<uint32_t>& model) {
  const auto value = static_cast<uint32_t>(random());
  const auto at = static_cast<int64_t>(random() % (model.size() + 1));
  const auto behind = static_cast<int64_t>(model.size()) - at;
  const auto count = static_cast<int64_t>(random() % 5);
  const std::vector<uint32_t> several(static_cast<size_t>(count), value);
  switch (random() % 11) {
    case 0:
      REQUIRE(*vector.insert(vector.begin() + at, value) == value);
      model.insert(model.begin() + at, value);
      break;
    case 1:
      REQUIRE(vector.insert(vector.begin() + at, several) != nullptr);
      model.insert(model.begin() + at, several.begin(), several.end());
      break;
    case 2: {
      const int64_t n = std::min(count, behind);
      REQUIRE(vector.erase(vector.begin() + at, vector.begin() + at + n) == vector.begin() + at);
      model.erase(model.begin() + at, model.begin() + at + n);
      break;
    }
    case 3:
      if (!model.empty()) {
        vector.pop_back();
        model.pop_back();
      }
      break;
    case 4:
      REQUIRE(vector.shrink_to_fit());
      REQUIRE(vector.capacity() == model.size());
      break;
    case 5:
      REQUIRE(vector.resize(static_cast<uint64_t>(at + count), value));
      model.resize(static_cast<size_t>(at + count), value);
      break;
    case 6:
      REQUIRE(vector.append(several));
      model.insert(model.end(), several.begin(), several.end());
      break;
    case 7:
      ChangeMany(random, vector, model, at, several);
      break;
    default:
      REQUIRE(vector.push_back(value));
      model.push_back(value);
      break;
  }
}

}  // namespace

TEST_CASE("vector changes like std::vector") {
  std::mt19937_64 random(hshm::test::PrintedSeed("vector model"));
  TestAllocator alloc;
  Vector vector;
  vector.shm_init(&alloc);
  std::vector<uint32_t> model;
  for (int i = 0; i < 20000; ++i) {
    Change(random, vector, model);
    if (model.size() > 300) {
      vector.clear();
      model.clear();
    }
    REQUIRE(std::equal(vector.begin(), vector.end(), model.begin(), model.end()));
    REQUIRE(vector.Check());
    REQUIRE(alloc.live_blocks() == (vector.capacity() == 0 ? 1 : 2));
  }
  vector.shm_destroy();
  REQUIRE(alloc.live_blocks() == 0);
}

TEST_CASE("vector takes elements of its own in assign and append, and stops at a pop of none") {
  TestAllocator alloc;
  Vector vector;
  vector.shm_init(&alloc);
  std::vector<uint32_t> model(1000);
  std::iota(model.begin(), model.end(), 0U);
  REQUIRE(vector.assign(model));
  REQUIRE(vector.append({vector.data() + 10, 900}));
  model.insert(model.end(), model.begin() + 10, model.begin() + 910);
  REQUIRE(std::equal(vector.begin(), vector.end(), model.begin(), model.end()));
  REQUIRE(vector.assign({vector.data() + 3, 1500}));
  REQUIRE(std::equal(vector.begin(), vector.end(), model.begin() + 3, model.begin() + 1503));
  vector.clear();
  REQUIRE(hshm::test::RunInChild([&] { vector.pop_back(); }).status_ == -SIGABRT);
}

TEST_CASE("vector works with the algorithms of the standard library") {
  TestAllocator alloc;
  Vector vector;
  const std::vector<uint32_t> start = {5, 3, 9, 1};
  vector.shm_init(&alloc, start);
  std::sort(vector.begin(), vector.end());
  REQUIRE(std::accumulate(vector.begin(), vector.end(), 0U) == 18);
  REQUIRE(vector.front() == 1);
  REQUIRE(vector.back() == 9);
  REQUIRE(*vector.rbegin() == 9);
  REQUIRE(*std::lower_bound(vector.begin(), vector.end(), 4U) == 5);
  *vector.emplace_back(7U) += 1;
  REQUIRE(vector[4] == 8);
  REQUIRE(vector.emplace(vector.begin(), 0U) == vector.begin());
  Vector copy;
  copy.shm_init(&alloc, vector);
  REQUIRE(copy == vector);
  copy[0] = 100;
  REQUIRE_FALSE(copy == vector);
  REQUIRE(copy.assign(start));
  REQUIRE(copy.size() == 4);
}

TEST_CASE("vector takes elements of its own that move in the growth they cause") {
  TestAllocator alloc;
  Vector vector;
  vector.shm_init(&alloc);
  REQUIRE(vector.push_back(42));
  for (int i = 0; i < 200; ++i) REQUIRE(vector.push_back(vector.front()));
  for (int i = 0; i < 200; ++i) REQUIRE(vector.insert(vector.begin(), vector.back()));
  REQUIRE(vector.insert(vector.begin(), 300, vector.back()));
  REQUIRE(vector.resize(401));
  REQUIRE(vector.append(vector));
  REQUIRE(vector.resize(1000, vector[3]));
  REQUIRE(vector.size() == 1000);
  REQUIRE(std::count(vector.begin(), vector.end(), 42U) == 1000);
}

TEST_CASE("vector without room says so and stays as it was") {
  TestAllocator alloc;
  Vector vector;
  const std::vector<uint32_t> start = {1, 2, 3};
  vector.shm_init(&alloc, start);
  REQUIRE(vector.shrink_to_fit());
  alloc.Allow(0);
  REQUIRE_FALSE(vector.push_back(4));
  REQUIRE(vector.emplace_back(4U) == nullptr);
  REQUIRE(vector.insert(vector.begin(), 4) == nullptr);
  REQUIRE(vector.insert(vector.begin(), 2, 4) == nullptr);
  REQUIRE(vector.insert(vector.begin(), start.begin(), start.end()) == nullptr);
  const std::vector<uint32_t> more = {1, 2, 3, 4};
  REQUIRE_FALSE(vector.assign(more));
  REQUIRE_FALSE(vector.assign(4, 9));
  REQUIRE_FALSE(vector.assign(more.begin(), more.end()));
  REQUIRE(std::equal(vector.begin(), vector.end(), start.begin(), start.end()));
  REQUIRE(vector.assign(3, vector[1]));  // of its own, and into the room that is there
  REQUIRE(std::count(vector.begin(), vector.end(), 2U) == 3);
  REQUIRE(vector.assign(start));
  REQUIRE_FALSE(vector.append(start));
  REQUIRE_FALSE(vector.resize(4));
  REQUIRE_FALSE(vector.reserve(4));
  REQUIRE_FALSE(vector.reserve(~uint64_t{0}));
  REQUIRE_FALSE(vector.resize(~uint64_t{0} - 1));
  vector.pop_back();
  REQUIRE_FALSE(vector.shrink_to_fit());
  REQUIRE(vector.Check());
  REQUIRE(vector.size() == 2);
  REQUIRE(vector[1] == 2);
  alloc.AllowAll();
  REQUIRE(vector.push_back(3));
  REQUIRE(std::equal(vector.begin(), vector.end(), start.begin(), start.end()));
}

TEST_CASE("vector grows by what is asked for when there is no room for twice as much") {
  constexpr uint64_t kCount = 50000;  // 200 KB: the region has room for one more, not for two
  TestAllocator alloc(500 << 10);
  Vector vector;
  vector.shm_init(&alloc);
  REQUIRE(vector.reserve(kCount));
  REQUIRE(vector.resize(kCount, 7));
  REQUIRE(vector.push_back(8));
  REQUIRE(vector.capacity() == kCount + 1);
  REQUIRE(vector[kCount - 1] == 7);
  REQUIRE(vector.back() == 8);
  const std::vector<uint32_t> more(3 * kCount, 9);
  REQUIRE_FALSE(vector.append(more));  // as much as that at once
  REQUIRE(vector.size() == kCount + 1);
  REQUIRE(vector.Check());
}

TEST_CASE("vector that cannot be made leaves nothing behind and tells why") {
  TestAllocator alloc;
  const std::vector<uint32_t> start = {1, 2, 3};
  for (const uint64_t allowed : {0, 1}) {
    alloc.Allow(allowed);
    Vector vector;
    REQUIRE(CodeOf([&] { vector.shm_init(&alloc, start); }) == ErrorCode::kNoSpace);
    REQUIRE(vector.offset().IsNull());
    REQUIRE(alloc.live_blocks() == 0);
  }
}

TEST_CASE("vector is joined by who expects its elements only") {
  TestAllocator alloc;
  Vector vector;
  vector.shm_init(&alloc);
  hshm::ipc::vector<uint64_t, TestAllocator> other;
  const auto offset = vector.offset();
  REQUIRE(CodeOf([&] { other.shm_attach(&alloc, offset); }) == ErrorCode::kSizeMismatch);
  REQUIRE(CodeOf([&] { other.shm_attach(&alloc, OffsetPtr<>()); }) == ErrorCode::kNotFound);
  REQUIRE(CodeOf([&] { other.shm_attach(&alloc, OffsetPtr<>(offset.load() + 8)); }) ==
          ErrorCode::kOutOfRange);
  vector.shm_destroy();
  Vector again;
  REQUIRE(CodeOf([&] { again.shm_attach(&alloc, offset); }) == ErrorCode::kCorrupt);
}

TEST_CASE("vector aligns elements as they ask") {
  struct alignas(128) Wide {
    uint64_t value_;
  };
  TestAllocator alloc;
  hshm::ipc::vector<Wide, TestAllocator> vector;
  vector.shm_init(&alloc);
  for (uint64_t i = 0; i < 50; ++i) REQUIRE(vector.push_back({i}));
  REQUIRE(reinterpret_cast<uintptr_t>(vector.data()) % 128 == 0);
  REQUIRE(vector.back().value_ == 49);
}

TEST_CASE("vector may be read while another thread appends into room that is there") {
  constexpr uint32_t kCount = 20000;
  TestAllocator alloc;
  Vector vector;
  vector.shm_init(&alloc);
  REQUIRE(vector.reserve(kCount));
  std::thread writer([&] {
    Vector mine;
    mine.shm_attach(&alloc, vector.offset());
    for (uint32_t i = 0; i < kCount; ++i) HSHM_CHECK(mine.push_back(i));
  });
  bool is_right = true;
  for (uint64_t size = 0; size < kCount;) {
    size = vector.size();
    if (size != 0) is_right = is_right && vector[size - 1] == size - 1;
  }
  writer.join();
  REQUIRE(is_right);
}

TEST_CASE("vector whose threads take turns by its lock loses nothing") {
  constexpr uint32_t kThreads = 3;
  constexpr uint32_t kEach = 2000;
  TestAllocator alloc;
  Vector vector;
  vector.shm_init(&alloc);
  std::vector<std::thread> threads;
  for (uint32_t t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      Vector mine = vector;
      for (uint32_t i = 0; i < kEach; ++i) {
        const auto guard = mine.Lock();
        HSHM_CHECK(mine.push_back(t * kEach + i));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  std::sort(vector.begin(), vector.end());
  REQUIRE(vector.size() == kThreads * kEach);
  for (uint32_t i = 0; i < kThreads * kEach; ++i) REQUIRE(vector[i] == i);
}
