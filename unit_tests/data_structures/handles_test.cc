#include <functional>
#include <string>

#include "data_structures/test_allocator.h"
#include "hermes_shm/base/error.h"
#include "hermes_shm/data_structures/list.h"
#include "hermes_shm/data_structures/map.h"
#include "hermes_shm/data_structures/ring_buffer/multi_ring_buffer.h"
#include "hermes_shm/data_structures/string.h"
#include "hermes_shm/data_structures/unordered_map.h"
#include "hermes_shm/data_structures/vector.h"
#include "support/catch.h"
#include "support/child_process.h"

using hshm::Error;
using hshm::ErrorCode;
using hshm::ipc::OffsetPtr;
using hshm::ipc::RingKind;
using hshm::test::RunInChild;
using hshm::test::TestAllocator;

namespace {

using Vector = hshm::ipc::vector<uint32_t, TestAllocator>;
using List = hshm::ipc::list<uint32_t, TestAllocator>;
using Map = hshm::ipc::map<uint32_t, uint32_t, TestAllocator>;
using Table = hshm::ipc::unordered_map<uint32_t, uint32_t, TestAllocator>;
using Text = hshm::ipc::string<TestAllocator>;
template <RingKind kKind>
using Ring = hshm::ipc::ring_buffer<uint32_t, TestAllocator, kKind>;
using Lanes = hshm::ipc::multi_ring_buffer<uint32_t, TestAllocator>;

void Make(auto& made, TestAllocator& alloc) {
  if constexpr (std::is_same_v<decltype(made), Lanes&>) {
    made.shm_init(&alloc, 2, 8);
  } else if constexpr (requires { made.try_push(7); }) {
    made.shm_init(&alloc, 8);
  } else {
    made.shm_init(&alloc);
  }
}

// ---- what every container is told and asked
// ------------------------------------------------------

bool Put(Vector& v) { return v.push_back(7); }
bool Put(List& l) { return l.push_back(7); }
bool Put(Map& m) { return m.insert({7, 7}).second; }
bool Put(Table& t) { return t.insert(7, 7) == hshm::ipc::MapResult::kInserted; }
bool Put(Text& t) { return t.push_back('7'); }
bool Put(Lanes& lanes) { return lanes.try_push(1, 7) == hshm::ipc::RingResult::kDone; }
bool Put(auto& ring) { return ring.try_push(7) == hshm::ipc::RingResult::kDone; }

template <typename T>
uint64_t CountOf(const T& container) {
  if constexpr (std::is_same_v<T, Lanes>) {
    return container.lane(0).size() + container.lane(1).size();
  } else {
    return container.size();
  }
}

/** Calls that go different ways to what a handle stands for. */
template <typename T>
std::vector<std::pair<std::string, std::function<void(T&)>>> UsesOf() {
  std::vector<std::pair<std::string, std::function<void(T&)>>> uses = {
      {"Put", [](T& c) { (void)Put(c); }}, {"CountOf", [](T& c) { (void)CountOf(c); }}};
  if constexpr (requires(T c) { c.Lock(); }) {
    uses.push_back({"Lock", [](T& c) { (void)c.Lock(); }});
    uses.push_back({"Recover", [](T& c) { c.Recover(); }});
    uses.push_back({"begin", [](T& c) { (void)c.begin(); }});
  }
  if constexpr (requires(T c) { c.find(7); }) {
    uses.push_back({"find", [](T& c) { (void)c.find(7); }});
    uses.push_back({"erase", [](T& c) { (void)c.erase(7); }});
  }
  if constexpr (requires(T c) { c.Check(); }) {
    uses.push_back({"Check", [](T& c) { (void)c.Check(); }});
  }
  if constexpr (requires(T c) { c.clear(); }) {
    uses.push_back({"clear", [](T& c) { c.clear(); }});
  }
  if constexpr (requires(T c) { c.data(); }) {
    uses.push_back({"data", [](T& c) { (void)c.data(); }});
  }
  if constexpr (requires(T c) { c.close(); }) {
    uses.push_back({"close", [](T& c) { c.close(); }});
    uses.push_back({"try_pop", [](T& c) {
                      uint32_t element = 0;
                      (void)c.try_pop(element);
                    }});
  }
  if constexpr (requires(T c) { c.prefetch(7); }) {
    uses.push_back({"prefetch", [](T& c) { c.prefetch(7); }});
    uses.push_back({"reserve", [](T& c) { (void)c.reserve(100); }});
  }
  if constexpr (std::is_same_v<T, Lanes>) {
    uses.push_back({"claim_lane", [](T& c) { (void)c.claim_lane(); }});
    uses.push_back({"release_lane", [](T& c) { c.release_lane(0); }});
  }
  return uses;
}

std::string RefusalOf(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    REQUIRE(error.code() == ErrorCode::kBackendInUse);
    return error.what();
  }
  return "";
}

}  // namespace

TEMPLATE_TEST_CASE("A handle that stands for a container refuses another, and loses nothing", "",
                   Vector, List, Map, Table, Text, Ring<RingKind::kSpsc>, Ring<RingKind::kMpsc>,
                   Ring<RingKind::kMpmc>, Lanes) {
  TestAllocator alloc;
  TestType handle;
  Make(handle, alloc);
  REQUIRE(Put(handle));
  TestType other;
  Make(other, alloc);
  const size_t blocks = alloc.live_blocks();
  const OffsetPtr<> offset = handle.offset();
  const std::string sentence = RefusalOf([&] { Make(handle, alloc); });
  REQUIRE(sentence.find("stands for one already") != std::string::npos);
  REQUIRE(sentence.find("shm_detach") != std::string::npos);
  REQUIRE(RefusalOf([&] { handle.shm_attach(&alloc, other.offset()); }) == sentence);
  REQUIRE(alloc.live_blocks() == blocks);
  REQUIRE(handle.offset() == offset);
  REQUIRE(CountOf(handle) == 1);
  handle.shm_detach();
  REQUIRE(handle.offset().IsNull());
  handle.shm_detach();  // nothing
  REQUIRE(alloc.live_blocks() == blocks);
  handle.shm_attach(&alloc, offset);
  REQUIRE(CountOf(handle) == 1);
  handle.shm_destroy();
  Make(handle, alloc);
  REQUIRE(CountOf(handle) == 0);
  handle.shm_destroy();
  other.shm_destroy();
  REQUIRE(alloc.live_blocks() == 0);
}

TEMPLATE_TEST_CASE("An empty handle stops its user with EmptyHandle, whichever call it is", "",
                   Vector, List, Map, Table, Text, Ring<RingKind::kSpsc>, Ring<RingKind::kMpsc>,
                   Ring<RingKind::kMpmc>, Lanes) {
  TestAllocator alloc;
  for (const auto& [name, use] : UsesOf<TestType>()) {
    INFO(name);
    const auto ending = RunInChild([&, &use = use] {
      TestType handle;
      use(handle);
    });
    CAPTURE(ending.errors_);
    REQUIRE(ending.status_ == -SIGABRT);
    REQUIRE(ending.errors_.starts_with("hshm: EmptyHandle: The handle of a"));
  }
  const auto destroyed = RunInChild([&] {
    TestType handle;
    Make(handle, alloc);
    handle.shm_destroy();
    handle.shm_destroy();  // of an empty handle: nothing
    (void)Put(handle);
  });
  REQUIRE(destroyed.errors_.starts_with("hshm: EmptyHandle: "));
}
