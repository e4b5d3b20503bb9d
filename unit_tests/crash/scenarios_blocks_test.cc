/** A death at every store of the operations on blocks. */
#include "crash/campaign.h"
#include "support/catch.h"

namespace hshm::ipc::crash {
namespace {

TEST_CASE("A death anywhere in random allocations and frees breaks no promise", "[crash]") {
  Campaign campaign("random operations");
  campaign.RunMany(40, [](World& world) {
    world.Init();
    world.Attach();
    if (world.Random(2) == 0) world.Attach();
    for (uint32_t i = world.Random(120); i > 0; --i) world.RandomOperation();
    world.Trace(true);
    for (uint32_t i = 0; i < 12; ++i) world.RandomOperation();
  });
  campaign.Report();
  CHECK(campaign.violations() == 0);
  CHECK(campaign.distinct_images() >= 1000);
}

}  // namespace
}  // namespace hshm::ipc::crash
