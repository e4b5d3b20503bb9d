/** A death at every store of what lies in the region beside blocks: locks and names. */
#include "crash/campaign.h"
#include "crash/factor.h"
#include "hermes_shm/sync/mutex.h"
#include "support/catch.h"

namespace hshm::ipc::crash {
namespace {

/** Two words that agree whenever nobody holds the lock. */
struct Guarded {
  Mutex lock_;
  Atomic<uint64_t> first_;
  Atomic<uint64_t> second_;
};

/** The next holder finds the words equal, or is told and repairs them; later ones find them so. */
std::string LockAndLook(Allocator& allocator) {
  const FullPtr<Guarded> guarded = allocator.FindRoot<Guarded>("guarded");
  if (guarded.IsNull()) return "the root is lost";
  const LockIdentity me = allocator.GetMembership().identity();
  const LockResult first = guarded.ptr_->lock_.Lock(me, 5'000'000);
  if (first == LockResult::kTimeout) return "P1: the lock of a dead process cannot be had";
  const uint64_t ahead = guarded.ptr_->first_.load() - guarded.ptr_->second_.load();
  if (ahead > (first == LockResult::kOwnerDied ? 1 : 0)) return "a holder was not told of a death";
  guarded.ptr_->lock_.Unlock(me);
  const bool is_free = guarded.ptr_->lock_.Lock(me, 5'000'000) == LockResult::kLocked;
  guarded.ptr_->lock_.Unlock(me);
  return is_free ? std::string() : "a repaired lock is taken over again";
}

TEST_CASE("A death anywhere between locking and unlocking a Mutex is told to the next holder",
          "[crash]") {
  Campaign campaign("mutex");
  campaign.Demands(LockAndLook);
  campaign.RunMany(1, [](World& world) {
    world.Init();
    world.Attach();
    world.Allocate(0, sizeof(Guarded));
    const uint64_t offset = world.blocks()[0].offset_;
    auto* guarded = new (world.Address(offset)) Guarded();
    world.LoseContentsOf(0);
    world.handle(0)->SetRoot("guarded", OffsetPtr<>(offset));
    world.Trace(true);
    for (uint32_t i = 0; i < 20; ++i) {
      const LockIdentity me = world.handle(i % 2)->GetMembership().identity();
      world.Step("mutex", 0, [&] {
        const MutexGuard guard(guarded->lock_, me);
        guarded->first_.store(guarded->first_.load() + 1);
        guarded->second_.store(guarded->second_.load() + 1);
      });
    }
  });
  campaign.Report();
  CHECK(campaign.violations() == 0);
  CHECK(campaign.distinct_images() >= Least(40));
}

/** A name leads to its block or to nothing, whatever was cut; and it can be given again. */
std::string LookUp(Allocator& allocator) {
  const uint64_t one = allocator.FindRootOffset("one").load();
  const uint64_t two = allocator.FindRootOffset("two, with a longer name").load();
  if (one != 0 && one % 4096 != 64) return "a root leads elsewhere";
  if (two != 0 && two % 4096 != 128) return "another root leads elsewhere";
  if (!allocator.SetRoot("one", OffsetPtr<>(200 * 1024 + 64))) return "no room for a root";
  return allocator.FindRootOffset("one").load() == 200 * 1024 + 64 ? std::string()
                                                                   : "a root was not kept";
}

TEST_CASE("A death anywhere in naming roots leaves each name whole or free", "[crash]") {
  Campaign campaign("roots");
  campaign.Demands(LookUp);
  campaign.RunMany(2, [](World& world) {
    world.Init();
    world.Trace(true);
    for (uint32_t i = 1; i <= 4; ++i) {
      world.Step("set a root", 0, [&] {
        world.handle(0)->SetRoot("one", OffsetPtr<>(i * 8192 + 64));
        world.handle(0)->SetRoot("two, with a longer name", OffsetPtr<>(i * 4096 + 128));
        if (i == 2) world.handle(0)->SetRoot("one", OffsetPtr<>());
      });
    }
  });
  campaign.Report();
  CHECK(campaign.violations() == 0);
  CHECK(campaign.StoresTo("allocator header") >= Least(1));
}

}  // namespace
}  // namespace hshm::ipc::crash
