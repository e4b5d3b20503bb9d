#include "hermes_shm/platform/topology.h"
#include "support/catch.h"

using hshm::kMaxNumaNodes;
using hshm::NodeSet;

TEST_CASE("NodeSet counts its members and finds them in order") {
  NodeSet set;
  CHECK(set.Count() == 0);
  for (const uint32_t node : {kMaxNumaNodes - 1, 0u, 64u, 63u, 64u}) set.Add(node);
  REQUIRE(set.Count() == 4);
  CHECK(set.Nth(0) == 0);
  CHECK(set.Nth(1) == 63);
  CHECK(set.Nth(2) == 64);
  CHECK(set.Nth(3) == kMaxNumaNodes - 1);
}

TEST_CASE("NodeSet contains what was added and nothing else") {
  NodeSet set;
  set.Add(65);
  CHECK(set.Contains(65));
  CHECK_FALSE(set.Contains(1));
  CHECK_FALSE(set.Contains(64));
  CHECK_FALSE(set.Contains(kMaxNumaNodes + 65));
}
