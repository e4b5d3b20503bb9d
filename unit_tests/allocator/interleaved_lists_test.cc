/** Lists that change under who walks them, between any two of its instructions. */
#include <cstdint>

#include "hermes_shm/memory/allocator/buddy/buddy_engine.h"
#include "support/catch.h"
#include "support/stepped_call.h"

namespace hshm::ipc {
namespace {

TEST_CASE("BuddyEngine's Check ends also where a list becomes a ring behind its back") {
  constexpr uint32_t kCount = 4;
  constexpr uint32_t kStride = 5;  // less than a look at a node takes
  bool has_come = true;
  uint32_t rings = 0;
  for (uint32_t instructions = 0; has_come; instructions += kStride) {
    CAPTURE(instructions);
    BuddyNode nodes[kCount] = {};
    BuddyLists lists{};
    BuddyEngine engine(nodes, &lists, 0, kCount, 7, 0);
    engine.Free(2, 1);
    nodes[2].next_ = 3;  // itself, but for the way back
    uint32_t left = instructions;
    has_come = false;
    bool is_whole = true;
    hshm::test::SteppedCall::Run([&] { is_whole = engine.Check(); },
                                 [&] {
                                   if (left-- != 0) return true;
                                   has_come = true;
                                   nodes[2].prev_ = 3;
                                   return false;
                                 });
    REQUIRE_FALSE(is_whole);
    ++rings;
  }
  REQUIRE(rings > 10);
}

}  // namespace
}  // namespace hshm::ipc
