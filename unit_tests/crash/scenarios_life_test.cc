/** A death at every store of joining, leaving, recovering and taking. */
#include "crash/campaign.h"
#include "crash/factor.h"
#include "support/catch.h"

namespace hshm::ipc::crash {
namespace {

using multi_process::DetachMode;

MultiProcessOptions Reclaimed() {
  MultiProcessOptions options;
  options.on_death_ = OnDeath::kReclaim;
  return options;
}

/** Handles 0 to 2, each with a thread more than its first, and a history. */
void LiveALittle(World& world, uint32_t operations) {
  world.Init();
  world.Attach();
  world.Attach();
  world.StartThread(1);
  for (uint32_t i = world.Random(operations); i > 0; --i) world.RandomOperation();
}

/** Number of an actor of the handle. */
uint32_t ActorOf(const World& world, uint32_t handle) {
  uint32_t actor = 0;
  while (world.actors()[actor].handle_ != handle) ++actor;
  return actor;
}

TEST_CASE("A death anywhere in making the allocator leaves a region that serves", "[crash]") {
  Campaign campaign("init");
  for (const MultiProcessOptions& options : {MultiProcessOptions(), Reclaimed()}) {
    campaign.RunMany(1, [&](World& world) {
      world.backend().shm_init(MemoryBackendId::Get(0), kRegionBytes, world.Address(0));
      world.Trace(true);
      world.Init(options);
    });
  }
  campaign.Report();
  CHECK(campaign.violations() == 0);
  CHECK(campaign.distinct_images() >= Least(40));
}

TEST_CASE("A death anywhere in attaching breaks no promise, nor does one in its recovery",
          "[crash]") {
  Campaign campaign("attach");
  campaign.RunMany(
      4,
      [](World& world) {
        LiveALittle(world, 80);
        world.Trace(true);
        world.Attach();
        world.Attach();
      },
      2);
  campaign.Report();
  CHECK(campaign.violations() == 0);
  CHECK(campaign.StoresTo("slot") >= Least(1));
}

TEST_CASE("A death anywhere in detaching keeps what others hold", "[crash]") {
  Campaign campaign("detach");
  campaign.RunMany(12, [](World& world) {
    LiveALittle(world, 100);
    world.Trace(true);
    world.Detach(1, DetachMode::kKeepLive);
    world.Attach();
    world.Detach(0, DetachMode::kDelete);
    for (uint32_t i = 0; i < 3; ++i) world.RandomOperation();
  });
  campaign.Report();
  CHECK(campaign.violations() == 0);
}

TEST_CASE("A death anywhere in a thread's beginning and end breaks no promise", "[crash]") {
  Campaign campaign("threads");
  campaign.RunMany(12, [](World& world) {
    LiveALittle(world, 60);
    world.Trace(true);
    const uint32_t actor = world.StartThread(0);
    for (uint32_t i = 0; i < 4; ++i) world.Allocate(actor, world.RandomSize());
    world.EndThread(actor);
    world.Trim(ActorOf(world, 0));  // gives the idle heap's pages back
    world.StartThread(0);           // and takes it over
    world.Allocate(0, 4000);
  });
  campaign.Report();
  CHECK(campaign.violations() == 0);
}

TEST_CASE(
    "A death anywhere in a forked child's calls, from its first on, keeps its parent's blocks",
    "[crash]") {
  Campaign campaign("forked child");
  campaign.RunMany(8, [](World& world) {
    LiveALittle(world, 80);
    if (world.Random(2) == 0) world.Kill(2);  // the child's first call adopts what is left of it
    world.Trace(true);
    const uint32_t child = world.Fork(world.Random(2));
    if (child == World::kMain) return;
    for (uint32_t i = 0; i < 6; ++i) world.RandomOperation();
    world.Detach(world.actors()[child].handle_, DetachMode::kKeepLive);
  });
  campaign.Report();
  CHECK(campaign.violations() == 0);
  CHECK(campaign.StoresTo("slot") >= Least(1));
}

TEST_CASE("A death anywhere in sweeping the dead, and in sweeping that, breaks no promise",
          "[crash]") {
  Campaign campaign("recover");
  campaign.RunMany(
      4,
      [](World& world) {
        LiveALittle(world, 100);
        world.Kill(1);
        world.Trace(true);
        world.Recover(ActorOf(world, 0));
        for (uint32_t i = 0; i < 4; ++i) world.RandomOperation();
        world.Trace(false);
        world.Kill(0);
        world.Trace(true);
        world.Recover(ActorOf(world, 2));
        for (uint32_t i = 0; i < 4; ++i) world.RandomOperation();
      },
      2);
  campaign.Report();
  CHECK(campaign.violations() == 0);
  CHECK(campaign.StoresTo("owner_/shape_") >= Least(1));
}

TEST_CASE("A death anywhere in sweeping after everybody died breaks no promise", "[crash]") {
  Campaign campaign("attach after all died");
  campaign.RunMany(
      4,
      [](World& world) {
        LiveALittle(world, 150);
        world.Reopen();
        world.Trace(true);
        world.Attach();
        world.Attach();
        for (uint32_t i = 0; i < 4; ++i) world.RandomOperation();
      },
      2);
  campaign.Report();
  CHECK(campaign.violations() == 0);
  CHECK(campaign.StoresTo("head word") >= Least(1));
}

TEST_CASE("A death anywhere in deleting a dead process's blocks deletes no other's", "[crash]") {
  Campaign campaign("reclaim");
  campaign.RunMany(
      4,
      [](World& world) {
        world.Init();
        world.Attach(Reclaimed());
        world.Attach();
        for (uint32_t i = 20 + world.Random(60); i > 0; --i) world.RandomOperation();
        world.Kill(1);
        world.Kill(2);
        world.Trace(true);
        if (world.Random(2) == 0) world.Reclaim(0, 2);
        world.Recover(0);
        for (uint32_t i = 0; i < 4; ++i) world.RandomOperation();
      },
      2);
  campaign.Report();
  CHECK(campaign.violations() == 0);
}

/** Handle 1 fills the region, handle 0 frees it all while 1 sleeps, and then needs it. */
void TakeFromSleeper(World& world, uint32_t size_bytes) {
  world.Init();
  const uint32_t sleeper = world.Attach();
  for (uint32_t i = world.Random(30); i > 0; --i) world.RandomOperation();
  while (world.Allocate(sleeper, size_bytes)) {}
  for (auto i = static_cast<uint32_t>(world.blocks().size()); i-- > 0;) world.Free(0, i);
  world.Trace(true);
  for (uint32_t i = 0; i < 8; ++i) world.Allocate(0, world.RandomSize());
  world.Allocate(0, 9000 + world.Random(20000));
  world.Trace(false);
  const uint32_t filling = world.RandomSize();
  while (world.Allocate(0, filling)) {}
  world.Trace(true);
  world.Allocate(0, filling);  // the whole way to null
  for (uint32_t i = 0; i < 6; ++i) world.RandomOperation();
}

TEST_CASE("A death anywhere in taking pages from a sleeper breaks no promise", "[crash]") {
  Campaign campaign("take");
  campaign.RunMany(
      6, [](World& world) { TakeFromSleeper(world, world.RandomSize()); }, 1);
  campaign.Report();
  CHECK(campaign.violations() == 0);
  CHECK(campaign.StoresTo("heap id_/lock_") >= Least(1));
}

}  // namespace
}  // namespace hshm::ipc::crash
