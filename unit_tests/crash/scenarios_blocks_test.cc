/** A death at every store of the operations on blocks. */
#include "crash/campaign.h"
#include "crash/factor.h"
#include "support/catch.h"

namespace hshm::ipc::crash {
namespace {

/** Units so small that blocks above 32 KiB are large ones, of the root. */
MultiProcessOptions SmallUnits() {
  MultiProcessOptions options;
  options.process_unit_bytes_ = 32 * 1024;
  options.thread_unit_bytes_ = 4 * 1024;
  return options;
}

/** Units of 16 pages in a process, so that a thread has 4 KiB to call its own. */
MultiProcessOptions SomeOptions(World& world) {
  MultiProcessOptions options;
  switch (world.Random(3)) {
    case 0:
      return SmallUnits();
    case 1:
      options.process_unit_bytes_ = 128 * 1024;
      options.thread_unit_bytes_ = 8 * 1024;
      return options;
    default:
      return options;
  }
}

/** Two or three processes, up to three threads, and a history. */
void LiveALittle(World& world, uint32_t operations) {
  world.Init(SomeOptions(world));
  world.Attach(SomeOptions(world));
  if (world.Random(2) == 0) world.Attach(SomeOptions(world));
  if (world.Random(2) == 0) world.StartThread(0);
  for (uint32_t i = world.Random(operations); i > 0; --i) world.RandomOperation();
}

uint32_t SomeActor(World& world) {
  return world.Random(static_cast<uint32_t>(world.actors().size()));
}

/** Frees every block of the handle, by an actor of another one. */
void FreeBlocksOf(World& world, uint32_t handle, uint32_t actor, uint32_t keep_one_in) {
  for (uint32_t i = static_cast<uint32_t>(world.blocks().size()); i-- > 0;) {
    if (world.blocks()[i].handle_ != handle || !world.blocks()[i].is_certain_) continue;
    if (keep_one_in != 0 && i % keep_one_in == 0) continue;
    world.Free(actor, i);
  }
}

TEST_CASE("A death anywhere in random allocations and frees breaks no promise", "[crash]") {
  Campaign campaign("random operations");
  campaign.RunMany(56, [](World& world) {
    LiveALittle(world, 120);
    world.Trace(true);
    for (uint32_t i = 0; i < 6; ++i) world.RandomOperation();
  });
  campaign.Report();
  CHECK(campaign.violations() == 0);
  CHECK(campaign.distinct_images() >= Least(2000));
  for (const char* field :
       {"owner_/shape_", "span_/back_", "local_", "drained_/carved_", "used_/committed_", "remote_",
        "heap free_", "heap id_/lock_", "head word", "root lists", "root lock_", "link"}) {
    INFO(field);
    CHECK(campaign.StoresTo(field) >= Least(1));
  }
}

TEST_CASE("A death anywhere in an allocation of any kind loses one block at most", "[crash]") {
  Campaign campaign("allocate");
  campaign.RunMany(14, [](World& world) {
    LiveALittle(world, 60);
    world.Trace(true);
    const uint32_t actor = SomeActor(world);
    for (const uint32_t size_bytes : {16u, 17u, 480u, 700u, 4000u, 5000u, 12000u, 20000u}) {
      for (uint32_t i = 0; i < 3; ++i) world.Allocate(actor, size_bytes);
    }
    world.Allocate(actor, 100, 512);
    world.Allocate(actor, 5000, 8192);
  });
  campaign.Report();
  CHECK(campaign.violations() == 0);
  CHECK(campaign.distinct_images() >= Least(1000));
}

TEST_CASE("A death anywhere in an own free, up to the page's last block, loses one at most",
          "[crash]") {
  Campaign campaign("own free");
  campaign.RunMany(16, [](World& world) {
    world.Init(SomeOptions(world));
    const uint32_t actor = world.Attach(SomeOptions(world));
    const uint32_t size_bytes = world.RandomSize();
    while (world.blocks().size() < 40 && world.Allocate(actor, size_bytes)) {}
    world.Trace(true);
    while (!world.blocks().empty()) {
      world.Free(actor, world.Random(static_cast<uint32_t>(world.blocks().size())));
    }
    world.Trim(actor);
  });
  campaign.Report();
  CHECK(campaign.violations() == 0);
  CHECK(campaign.StoresTo("owner_/shape_") >= Least(1));
}

TEST_CASE("A death anywhere in remote frees, their draining and reuse loses one at most",
          "[crash]") {
  Campaign campaign("remote free, drain");
  campaign.RunMany(12, [](World& world) {
    world.Init(SomeOptions(world));
    const uint32_t owner = world.Attach(SomeOptions(world));
    const uint32_t size_bytes = 1 + world.Random(600);
    while (world.blocks().size() < 60 && world.Allocate(owner, size_bytes)) {}
    world.Trace(true);
    for (uint32_t i = 0; i < 10; ++i) {
      world.Free(0, world.Random(static_cast<uint32_t>(world.blocks().size())));
    }
    world.Allocate(owner, 2000);  // looks at other pages, while class slots are full
    for (uint32_t i = 0; i < 12; ++i) world.Allocate(owner, size_bytes);
    FreeBlocksOf(world, 1, 0, 9);
    world.Trim(owner);
  });
  campaign.Report();
  CHECK(campaign.violations() == 0);
  CHECK(campaign.StoresTo("remote_") >= Least(1));
  CHECK(campaign.StoresTo("drained_/carved_") >= Least(1));
}

/** Blocks of 16 bytes, and of 512, of which a page is soon full and has no list of its own. */
void FillPagesOf(World& world, uint32_t one, uint32_t other) {
  for (uint32_t i = 0; i < 64; ++i) {
    world.Allocate(i % 3 == 0 ? other : one, i % 4 != 0 ? 500 : 16);
  }
}

TEST_CASE("A death anywhere in runs of remote frees, posted or taken back, loses one run at most",
          "[crash]") {
  Campaign campaign("runs of remote frees");
  campaign.RunMany(
      8,
      [](World& world) {
        world.Init(SomeOptions(world));
        const uint32_t neighbour = world.StartThread(0);
        const uint32_t other = world.Attach(SomeOptions(world));
        FillPagesOf(world, neighbour, other);
        world.Trace(true);
        for (uint32_t i = 0; i < 24; ++i) {
          world.Free(0, world.Random(static_cast<uint32_t>(world.blocks().size())));
        }
        for (uint32_t i = 0; i < 8; ++i) world.Allocate(0, 500);
        for (uint32_t i = 0; i < 12; ++i) {
          world.Free(neighbour, world.Random(static_cast<uint32_t>(world.blocks().size())));
        }
        world.EndThread(neighbour);
        world.Trim(0);
      },
      2);
  campaign.Report();
  CHECK(campaign.violations() == 0);
  CHECK(campaign.StoresTo("heap pending_") >= Least(1));
  CHECK(campaign.StoresTo("remote_") >= Least(1));
}

TEST_CASE("A death anywhere in deleting pages of which others have remote frees waiting harms none",
          "[crash]") {
  Campaign campaign("runs of deleted pages");
  campaign.RunMany(10, [](World& world) {
    world.Init(SomeOptions(world));
    const uint32_t leaver = world.Attach(SomeOptions(world));
    const uint32_t other = world.Attach(SomeOptions(world));
    FillPagesOf(world, leaver, other);
    for (uint32_t i = 0; i < 16; ++i) {
      world.Free(0, world.Random(static_cast<uint32_t>(world.blocks().size())));
    }
    world.Trace(true);
    world.Detach(1, multi_process::DetachMode::kDelete);
    for (uint32_t i = 0; i < 6; ++i) world.Allocate(1, world.RandomSize());
    world.Trim(0);
  });
  campaign.Report();
  CHECK(campaign.violations() == 0);
  CHECK(campaign.StoresTo("heap pending_") >= Least(1));
}

TEST_CASE("A death anywhere in a large block's life loses one block at most", "[crash]") {
  Campaign campaign("large blocks");
  campaign.RunMany(8, [](World& world) {
    world.Init(SmallUnits());
    const uint32_t other = world.Attach(SmallUnits());
    for (uint32_t i = world.Random(20); i > 0; --i) world.RandomOperation();
    world.Trace(true);
    for (uint32_t round = 0; round < 3; ++round) {
      if (world.Allocate(0, 33000 + world.Random(40000))) {
        const auto last = static_cast<uint32_t>(world.blocks().size() - 1);
        world.Reallocate(0, last, 33000 + world.Random(60000));
      }
      world.Allocate(other, 40000, 16384);
      const uint32_t block = world.RandomBlock();
      if (block != World::kMain) world.Free(SomeActor(world), block);
    }
  });
  campaign.Report();
  CHECK(campaign.violations() == 0);
  CHECK(campaign.StoresTo("head word") >= Least(1));
}

TEST_CASE("A death anywhere in frees of large blocks without the root, and after, loses none",
          "[crash]") {
  Campaign campaign("frees without the root");
  campaign.RunMany(
      6,
      [](World& world) {
        world.Init(SmallUnits());
        const uint32_t other = world.Attach(SmallUnits());
        const uint32_t third = world.Attach(SmallUnits());
        for (const uint32_t actor : {0u, other, third}) {
          world.Allocate(actor, 33000 + world.Random(8000));
        }
        world.Trace(true);
        for (uint32_t i = 1 + world.Random(2); i > 0; --i) world.FreeWithoutRoot(world.Random(2));
        if (world.Random(2) == 0) world.Kill(1);
        world.Allocate(0, 33000);  // the next who has the root gives them back
        world.FreeWithoutRoot(0);
        world.Recover(0);
      },
      2);
  campaign.Report();
  CHECK(campaign.violations() == 0);
  CHECK(campaign.StoresTo("head word") >= Least(1));
}

TEST_CASE("A death anywhere in a large block's growth leaves no byte of it without memory",
          "[crash]") {
  Campaign campaign("growing large blocks");
  campaign.RunMany(
      8,
      [](World& world) {
        world.Init(SmallUnits());
        const uint32_t other = world.Attach(SmallUnits());
        for (uint32_t i = world.Random(8); i > 0; --i) world.RandomOperation();
        if (!world.Allocate(0, 33000 + world.Random(12000))) return;
        const auto block = static_cast<uint32_t>(world.blocks().size() - 1);
        world.Trace(true);
        for (uint32_t round = 0; round < 3; ++round) {
          // Whoever knows the block may make it longer, not only whose it is.
          const uint32_t actor = world.Random(2) == 0 ? 0 : other;
          const uint32_t size_bytes = world.blocks()[block].size_bytes_;
          world.ResizeInPlace(actor, block, size_bytes + 4096 + world.Random(16000));
          if (world.Allocate(other, 33000 + world.Random(8000))) world.Free(0, block + 1);
        }
        world.ResizeInPlace(0, block, 33000);
      },
      2);
  campaign.Report();
  CHECK(campaign.violations() == 0);
  CHECK(campaign.StoresTo("head word of an extension") >= Least(1));
}

TEST_CASE("A death anywhere in a reallocation leaves the old block or one more", "[crash]") {
  Campaign campaign("reallocate");
  campaign.RunMany(8, [](World& world) {
    LiveALittle(world, 40);
    const uint32_t actor = SomeActor(world);
    for (const uint32_t size_bytes : {30u, 300u, 600u, 5000u, 9000u}) {
      world.Allocate(actor, size_bytes);
    }
    world.Trace(true);
    for (uint32_t i = 0; i < 8; ++i) {
      const uint32_t block = world.RandomBlock();
      if (block == World::kMain) continue;
      const uint32_t size_bytes = world.blocks()[block].size_bytes_;
      world.Reallocate(SomeActor(world), block, size_bytes + world.Random(5000));
    }
    for (uint32_t i = 0; i < 8; ++i) {
      const uint32_t block = world.RandomBlock();
      if (block == World::kMain) continue;
      const uint32_t size_bytes = world.blocks()[block].size_bytes_;
      world.Reallocate(SomeActor(world), block, 1 + world.Random(size_bytes));
    }
  });
  campaign.Report();
  CHECK(campaign.violations() == 0);
  CHECK(campaign.StoresTo("span_/back_") >= Least(1));
}

}  // namespace
}  // namespace hshm::ipc::crash
