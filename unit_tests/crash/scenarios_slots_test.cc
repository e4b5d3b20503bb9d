/** A death at every store of what class slots of many pages do: those of runs, and mixed ones. */
#include "crash/campaign.h"
#include "crash/factor.h"
#include "support/catch.h"

namespace hshm::ipc::crash {
namespace {

constexpr auto kPage = static_cast<uint32_t>(Config::kPageBytes);

/** Units of 128 pages in a process and 8 in a thread: in the larger region slots list 8 pages. */
MultiProcessOptions Units() {
  MultiProcessOptions options;
  options.process_unit_bytes_ = 128 * kPage;
  options.thread_unit_bytes_ = 8 * kPage;
  return options;
}

/** Runs of 2 to 5 pages; of large pages 2, for a region of so few lists no others. */
uint32_t RunBytes(World& world) {
  return kPage + 1 + world.Random(kPage == 4096 ? 4 * kPage - 1 : kPage - 1);
}

/** Of a class whose slot is mixed. */
uint32_t MixedBytes(World& world) {
  constexpr uint64_t kLeast = multi_process::ClassBytes(Config::kFirstMixedSlot - 1) + 1;
  return static_cast<uint32_t>(kLeast + world.Random(kPage / 2 - kLeast));
}

/** Of a mixed class whose pages are no spans: a full slot's blocks go home. The least often, of
 * which a page has most. */
uint32_t NarrowBytes(World& world) {
  constexpr uint64_t kLeast = multi_process::ClassBytes(Config::kFirstMixedSlot);
  const uint64_t above = world.Random(2) == 0 ? 33 : Config::kMaxNarrowBytes - kLeast;
  return static_cast<uint32_t>(kLeast + world.Random(static_cast<uint32_t>(above)));
}

/** Of a mixed class whose pages are spans. */
uint32_t WideBytes(World& world) {
  return static_cast<uint32_t>(Config::kMaxNarrowBytes + 1 + world.Random(kPage / 4));
}

void AllocateSame(World& world, uint32_t actor, uint32_t count, uint32_t size_bytes) {
  for (uint32_t i = 0; i < count; ++i) world.Allocate(actor, size_bytes);
}

/** Frees some of the `oldest` blocks, whoever of them allocated them. */
void FreeOldest(World& world, uint32_t actor, uint32_t count, uint32_t oldest) {
  for (uint32_t i = 0; i < count; ++i) world.Free(actor, world.Random(oldest - i));
}

uint32_t SomeBytes(World& world) {
  return world.Random(3) != 0 ? RunBytes(world) : MixedBytes(world);
}

void Allocate(World& world, uint32_t actor, uint32_t count) {
  for (uint32_t i = 0; i < count; ++i) world.Allocate(actor, SomeBytes(world));
}

/** Frees some blocks that `owner` has allocated, as `actor`. */
void FreeOf(World& world, uint32_t owner, uint32_t actor, uint32_t count) {
  for (uint32_t i = 0; i < count; ++i) {
    std::vector<uint32_t> owned;
    for (uint32_t b = 0; b < world.blocks().size(); ++b) {
      if (world.blocks()[b].handle_ == owner) owned.push_back(b);
    }
    if (owned.empty()) return;
    world.Free(actor, owned[world.Random(static_cast<uint32_t>(owned.size()))]);
  }
}

/** Handles 0 to 2, each with blocks, some of which it has freed again. */
void ThreeWithSlots(World& world, uint32_t blocks) {
  world.Init(Units());
  world.Attach(Units());
  world.Attach(Units());
  for (uint32_t handle = 0; handle < 3; ++handle) {
    Allocate(world, handle, blocks);
    FreeOf(world, handle, handle, blocks / 2 + world.Random(blocks / 4));
  }
}

uint32_t ActorOf(const World& world, uint32_t handle) {
  uint32_t actor = 0;
  while (world.actors()[actor].handle_ != handle) ++actor;
  return actor;
}

/** Fewer of large pages, whose images are 16 times as large. */
constexpr uint32_t Plays(uint32_t plays) { return kPage == 4096 ? plays : (plays + 3) / 4; }
/** None of large pages: clearing the page of an attacher's records is thousands of stores. */
constexpr uint32_t CutRecoverers(uint32_t count) { return kPage == 4096 ? count : 0; }

TEST_CASE("A death anywhere in listing runs, handing them out and trimming loses one block at most",
          "[crash]") {
  Campaign campaign("listed runs", kLargerRegionBytes);
  campaign.RunMany(Plays(10), [](World& world) {
    world.Init(Units());
    const uint32_t other = world.Attach(Units());
    Allocate(world, 0, 18);
    FreeOf(world, 0, 0, 4 + world.Random(4));
    world.Trace(true);
    FreeOf(world, 0, 0, 5);
    Allocate(world, 0, 6);
    FreeOf(world, 0, other, 3);
    // Of large pages each word that is copied would be an image.
    if (kPage == 4096) world.Reallocate(0, world.RandomBlock(), RunBytes(world));
    FreeOf(world, 0, 0, 8);
    Allocate(world, 0, 2);
  });
  campaign.Report();
  CHECK(campaign.violations() == 0);
  for (const char* field : {"heap free_ of runs", "heap mixed free_", "key_"}) {
    INFO(field);
    CHECK(campaign.StoresTo(field) >= Least(1));
  }
}

TEST_CASE("A death anywhere in sending home what class slots list loses one block at most",
          "[crash]") {
  Campaign campaign("sent home", kLargerRegionBytes);
  campaign.RunMany(Plays(10), [](World& world) {
    world.Init(Units());
    const uint32_t thread = world.StartThread(0);
    // Of one length, so that a slot lists several.
    for (uint32_t i = 0; i < 24; ++i) {
      world.Allocate(i % 2 == 0 ? 0 : thread, i % 3 == 2 ? MixedBytes(world) : 2 * kPage);
    }
    for (uint32_t i = 0; i < 14; ++i) {
      world.Free(world.Random(3) != 0 ? thread : 0, world.RandomBlock());
    }
    world.Trace(true);
    world.EndThread(thread);        // all that it lists
    world.Allocate(0, 20 * kPage);  // what is listed may be what is missing
    world.Trim(0);
    const uint32_t heir = world.StartThread(0);
    Allocate(world, heir, 3);
    FreeOf(world, 0, heir, 3);
    world.Trim(0);
  });
  campaign.Report();
  CHECK(campaign.violations() == 0);
  CHECK(campaign.StoresTo("heap free_ of runs") >= Least(1));
}

TEST_CASE("A death anywhere in settling class slots of the dead, and in that again, keeps blocks",
          "[crash]") {
  Campaign campaign("settled slots", kLargerRegionBytes);
  campaign.RunMany(
      Plays(6),
      [](World& world) {
        ThreeWithSlots(world, 12);
        world.Kill(1);
        world.Trace(true);
        world.Recover(ActorOf(world, 0));
        FreeOf(world, 1, ActorOf(world, 0), 3);  // adopted: the key is the adopter's
        Allocate(world, ActorOf(world, 0), 2);
        world.Trace(false);
        FreeOf(world, 0, ActorOf(world, 0), 4);
        world.Kill(0);
        world.Trace(true);
        world.Recover(ActorOf(world, 2));
        FreeOf(world, 1, ActorOf(world, 2), 2);
        Allocate(world, ActorOf(world, 2), 2);
      },
      CutRecoverers(2));
  campaign.Report();
  CHECK(campaign.violations() == 0);
  CHECK(campaign.StoresTo("heap free_ of runs") >= Least(1));
  CHECK(campaign.StoresTo("key_") >= Least(1));
}

TEST_CASE("A death anywhere in frees of runs by others, adopted or not, loses one block at most",
          "[crash]") {
  Campaign campaign("runs of others", kLargerRegionBytes);
  campaign.RunMany(
      Plays(8),
      [](World& world) {
        ThreeWithSlots(world, 10);
        world.Trace(true);
        FreeOf(world, 1, ActorOf(world, 0), 2);
        FreeOf(world, 0, ActorOf(world, 1), 2);
        Allocate(world, ActorOf(world, 1), 3);
        world.Detach(1, multi_process::DetachMode::kKeepLive);
        world.Trace(CutRecoverers(1) != 0);
        world.Attach(Units());  // adopts what is left
        world.Trace(true);
        FreeOf(world, 1, world.actors().size() - 1, 3);
        Allocate(world, world.actors().size() - 1, 3);
        world.Trim(ActorOf(world, 0));
      },
      CutRecoverers(2));
  campaign.Report();
  CHECK(campaign.violations() == 0);
}

TEST_CASE("A death anywhere in taking remote frees back into a mixed slot loses one run at most",
          "[crash]") {
  Campaign campaign("mixed blocks taken back", kLargerRegionBytes);
  campaign.RunMany(Plays(8), [](World& world) {
    world.Init(Units());
    const uint32_t neighbour = world.StartThread(0);
    const uint32_t size_bytes = MixedBytes(world);
    for (uint32_t i = 0; i < 40; ++i) world.Allocate(0, size_bytes);
    world.Trace(true);
    for (uint32_t i = 0; i < 12; ++i) world.Free(neighbour, world.RandomBlock());
    for (uint32_t i = 0; i < 6; ++i) world.Allocate(neighbour, size_bytes);
    for (uint32_t i = 0; i < 8; ++i) world.Free(neighbour, world.RandomBlock());
    world.EndThread(neighbour);
    for (uint32_t i = 0; i < 4; ++i) world.Allocate(0, size_bytes);
  });
  campaign.Report();
  CHECK(campaign.violations() == 0);
  CHECK(campaign.StoresTo("heap mixed free_") >= Least(1));
}

TEST_CASE("A death anywhere in a refill of a mixed slot by some of a page's list loses one at most",
          "[crash]") {
  Campaign campaign("refills in part", kLargerRegionBytes);
  campaign.RunMany(
      Plays(10),
      [](World& world) {
        world.Init(Units());
        world.Attach(Units());
        const uint32_t size_bytes = NarrowBytes(world);
        AllocateSame(world, 0, 1 + world.Random(4), size_bytes);
        world.Trace(true);
        AllocateSame(world, 0, 12, size_bytes);  // each refill takes half of what the slot may list
        FreeOldest(world, 0, 10, 12);            // some into the slot, and some home
        AllocateSame(world, 0, 8, size_bytes);
        world.Allocate(0, WideBytes(world));
        world.Allocate(0, WideBytes(world));
        world.Trim(0);
      },
      CutRecoverers(3));
  campaign.Report();
  CHECK(campaign.violations() == 0);
  CHECK(campaign.StoresTo("local_ that a slot's list runs into") >= Least(1));
  CHECK(campaign.StoresTo("heap mixed free_") >= Least(1));
}

/** Whether the block is of a longer class than its size asks for. */
bool IsLonger(const World& world, const ShadowBlock& block, uint64_t class_bytes) {
  return world.handle(0)->GetUsableBytes(OffsetPtr<>(block.offset_)) > class_bytes;
}

TEST_CASE("A death anywhere in having blocks of the next class, and in their frees, loses one",
          "[crash]") {
  Campaign campaign("next class", kLargerRegionBytes);
  campaign.RunMany(Plays(10), [](World& world) {
    constexpr uint32_t kClassBytes = kPage / 2;  // four blocks in a span
    constexpr uint32_t kSpanBlocks = Config::PagesOf(kClassBytes) * kPage / kClassBytes;
    world.Init(Units());
    const uint32_t other = world.Attach(Units());
    // Of this class, and multiples of no power of two that those of the next one are not.
    const uint32_t size_bytes = kClassBytes - 1 - world.Random(kClassBytes / 16 - 1);
    AllocateSame(world, 0, kSpanBlocks, size_bytes);  // the class has a page, and no free block
    AllocateSame(world, 0, 2 + world.Random(4), kClassBytes + 1);  // the next one has some
    world.Trace(true);
    FreeOldest(world, 0, 1, kSpanBlocks);
    AllocateSame(world, 0, 1, size_bytes);  // its own again
    HSHM_CHECK(!IsLonger(world, world.blocks().back(), kClassBytes));
    AllocateSame(world, 0, 1, size_bytes);
    HSHM_CHECK(IsLonger(world, world.blocks().back(), kClassBytes));
    AllocateSame(world, 0, 2 + world.Random(6), size_bytes);  // until there are none, and beyond
    world.Free(0, static_cast<uint32_t>(world.blocks().size() - 1));
    world.Free(other, static_cast<uint32_t>(world.blocks().size() - 1));
    FreeOldest(world, world.Random(2) == 0 ? 0 : other, 2, kSpanBlocks);
    AllocateSame(world, 0, 2, size_bytes);
    world.Trim(0);
  });
  campaign.Report();
  CHECK(campaign.violations() == 0);
  CHECK(campaign.StoresTo("heap mixed free_") >= Least(1));
}

TEST_CASE("A death anywhere in frees of another heap's blocks into the own mixed slot loses one",
          "[crash]") {
  Campaign campaign("another's blocks", kLargerRegionBytes);
  campaign.RunMany(
      Plays(8),
      [](World& world) {
        world.Init(Units());
        world.Attach(Units());
        const uint32_t neighbour = world.StartThread(0);
        const uint32_t size_bytes = NarrowBytes(world);
        const uint32_t wide_bytes = WideBytes(world);
        AllocateSame(world, 0, 5, wide_bytes);
        AllocateSame(world, 0, 24, size_bytes);
        AllocateSame(world, neighbour, 2, size_bytes);
        world.Trace(true);
        FreeOldest(world, neighbour, 4, 5);    // the slot is full, and then they go to their page
        FreeOldest(world, neighbour, 12, 25);  // the same, and then they wait in a run
        AllocateSame(world, neighbour, 6, size_bytes);
        world.Allocate(neighbour, wide_bytes);
        FreeOldest(world, 0, 4, 13);
        FreeOldest(world, neighbour, 3, 9);
        world.Trim(0);  // the neighbour lists some of its pages' blocks
        world.EndThread(neighbour);
        AllocateSame(world, 0, 3, size_bytes);
      },
      CutRecoverers(3));
  campaign.Report();
  CHECK(campaign.violations() == 0);
  for (const char* field : {"heap mixed free_ of another's block", "heap pending_", "remote_"}) {
    INFO(field);
    CHECK(campaign.StoresTo(field) >= Least(1));
  }
}

TEST_CASE("A death anywhere in settling slots that list blocks of other heaps keeps every block",
          "[crash]") {
  Campaign campaign("settled slots of several heaps", kLargerRegionBytes);
  campaign.RunMany(
      Plays(6),
      [](World& world) {
        world.Init(Units());
        world.Attach(Units());
        const uint32_t neighbour = world.StartThread(0);
        const uint32_t size_bytes = NarrowBytes(world);
        for (uint32_t i = 0; i < 16; ++i) {
          world.Allocate(i % 2 == 0 ? 0 : neighbour, size_bytes);
          world.Allocate(i % 2 == 0 ? 0 : neighbour, i % 4 < 2 ? size_bytes : WideBytes(world));
        }
        world.Trace(true);
        FreeOldest(world, 0, 9, 32);  // whosever they are
        FreeOldest(world, neighbour, 9, 23);
        world.Trace(false);
        world.Kill(0);
        world.Trace(true);
        world.Recover(ActorOf(world, 1));
        AllocateSame(world, ActorOf(world, 1), 3, size_bytes);
        FreeOldest(world, ActorOf(world, 1), 4, 14);  // adopted: the key is the adopter's
        world.Trace(false);
        world.Attach(Units());  // into the slot of the dead
        world.Trace(true);
        const auto later = static_cast<uint32_t>(world.actors().size() - 1);
        FreeOldest(world, later, 4, 10);
        AllocateSame(world, later, 2, size_bytes);
      },
      CutRecoverers(3));
  campaign.Report();
  CHECK(campaign.violations() == 0);
  CHECK(campaign.StoresTo("heap mixed free_ of another's block") >= Least(1));
}

}  // namespace
}  // namespace hshm::ipc::crash
