/** A death at every store of the scalable page allocator, and of the repair after it. */
#include "crash/scalable_page_cuts.h"
#include "support/catch.h"

namespace hshm::ipc::crash::scalable {
namespace {

void LiveALittle(Player& player, uint32_t operations) {
  player.Init();
  for (uint32_t i = player.Random(operations); i > 0; --i) player.RandomOperation();
}

TEST_CASE("A death anywhere in random operations on one heap for all breaks no promise",
          "[crash]") {
  Cuts cuts("scalable page: random operations");
  cuts.Run(4, [](Player& player) {
    LiveALittle(player, 80);
    player.Trace();
    for (uint32_t i = 0; i < 12; ++i) player.RandomOperation();
  });
  cuts.Report();
  CHECK(cuts.violations() == 0);
  CHECK(cuts.images() >= 600);
  for (const char* kind : {"owner", "span", "counts", "marks", "lists", "header"}) {
    INFO(kind);
    CHECK(cuts.StoresTo(kind) > 0);
  }
}

TEST_CASE("A death anywhere in filling and emptying class pages loses one block at most",
          "[crash]") {
  Cuts cuts("scalable page: class pages");
  cuts.Run(4, [](Player& player) {
    LiveALittle(player, 20);
    const uint32_t size_bytes = 600 + player.Random(2000);
    player.Trace();
    for (uint32_t i = 0; i < 10; ++i) player.Allocate(size_bytes);  // opens pages, fills them
    while (player.blocks().size() > 3) {                            // lets them go
      player.Free(player.Random(static_cast<uint32_t>(player.blocks().size())));
    }
  });
  cuts.Report();
  CHECK(cuts.violations() == 0);
  CHECK(cuts.images() >= 400);
}

TEST_CASE("A death anywhere in a run's life loses one block at most", "[crash]") {
  Cuts cuts("scalable page: runs");
  cuts.Run(3, [](Player& player) {
    LiveALittle(player, 20);
    player.Trace();
    for (uint32_t i = 0; i < 3; ++i) {
      if (!player.Allocate(4097 + player.Random(20000), 4096u << player.Random(3))) continue;
      const auto last = [&] { return static_cast<uint32_t>(player.blocks().size() - 1); };
      player.Reallocate(last(), 30000 + player.Random(20000));  // longer, in place or not
      player.Reallocate(last(), 4097 + player.Random(9000));    // shorter
      if (i != 1) player.Free(last());
    }
    player.Trim();
  });
  cuts.Report();
  CHECK(cuts.violations() == 0);
  CHECK(cuts.images() >= 300);
  CHECK(cuts.StoresTo("span") > 0);
}

TEST_CASE(
    "A death anywhere in repairing one heap for all, and in repairing that, breaks no promise",
    "[crash]") {
  Cuts cuts("scalable page: repair");
  cuts.Run(
      2,
      [](Player& player) {
        LiveALittle(player, 60);
        player.Trace();
        for (uint32_t i = 0; i < 8; ++i) player.RandomOperation();
      },
      5);
  cuts.Report();
  CHECK(cuts.violations() == 0);
  CHECK(cuts.images() >= 600);
}

}  // namespace
}  // namespace hshm::ipc::crash::scalable
