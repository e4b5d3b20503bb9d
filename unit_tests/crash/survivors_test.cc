/**
 * One process dies, or stands still, at a store of its operation, while others that know it only
 * from the region go on with their private state.
 */
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "crash/campaign.h"
#include "crash/factor.h"
#include "crash/oracle.h"
#include "support/catch.h"
#include "support/child_process.h"
#include "support/seed.h"

namespace hshm::ipc::crash {
namespace {

constexpr uint32_t kVictim = 1;
constexpr uint32_t kWatchdogSeconds = 10;
enum class Fate { kDies, kStandsStill, kIsSucceeded };

/** "" when all certain blocks live, whole, and at most `unknown` others do. */
std::string Inspect(World& world, uint32_t unknown) {
  if (!world.handle(world.actors().front().handle_)->Check()) return "Check() says no";
  const HeapWalk walk(world.region());
  if (!walk.complaint().empty()) return walk.complaint();
  for (const ShadowBlock& block : world.blocks()) {
    const bool is_live =
        std::any_of(walk.live().begin(), walk.live().end(),
                    [&](const LiveBlock& live) { return live.offset_ == block.offset_; });
    if (!is_live) return "a live block is lost";
    if (!HasPattern(world.Address(block.offset_), block.size_bytes_, block.seed_)) {
      return "a live block was written into";
    }
  }
  if (LossesOf(walk, world.blocks()) <= unknown) return {};
  return std::to_string(walk.live().size()) + " blocks live, " +
         std::to_string(world.blocks().size()) + " of them known";
}

std::string FreeEverything(World& world, uint32_t unknown) {
  while (!world.blocks().empty()) {
    world.Free(world.Random(static_cast<uint32_t>(world.actors().size())), 0);
  }
  return Inspect(world, unknown);
}

/** The survivors go on beside the dead one, then adopt what it left. */
std::string GoOnWithoutVictim(World& world) {
  world.Kill(kVictim);
  const uint32_t unknown = 1 + world.LoseUncertain();
  for (uint32_t i = 0; i < 8; ++i) world.RandomOperation();
  world.Recover(0);
  std::string fault = Inspect(world, unknown);
  for (uint32_t i = 0; i < 12; ++i) world.RandomOperation();
  if (fault.empty()) fault = Inspect(world, unknown);
  return fault.empty() ? FreeEverything(world, unknown) : fault;
}

/**
 * The next process of the dead one's slot waits for the root: until it sweeps, what the dead one
 * left seems to be a living one's, and who is in need takes of it what is free. In the end every
 * page that holds no block is there again.
 */
std::string GoOnBesideSuccessor(World& world, const std::function<void(World& world)>& meanwhile) {
  const uint32_t slot = world.handle(kVictim)->GetMembership().slot();
  world.Kill(kVictim);
  Membership successor(world.backend().region());
  if (successor.slot() != slot) return "the slot was not taken again";
  meanwhile(world);
  const uint32_t unknown = 1 + world.LoseUncertain();
  while (world.Allocate(0, Config::kMaxNarrowBytes)) {}
  successor.Leave();
  world.Recover(0);
  std::string fault = FreeEverything(world, unknown);
  if (!fault.empty()) return fault;
  // Twice: remote frees that one of them posts the next finds.
  for (uint32_t i = 0; i < 2 * world.actors().size(); ++i) world.Trim(i % world.actors().size());
  const uint32_t empty = HeapWalk(world.region()).empty_pages();
  return empty == 0 ? std::string() : std::to_string(empty) + " pages are lost";
}

/** The others work while the victim stands still; not when it holds the root: they would wait. */
void WorkMeanwhile(World& world) {
  const Root root(world.region(), CoreOffset(world.region()), nullptr);
  if (root.header().lock_.HolderSlot() != Mutex::kNoSlot) return;
  const auto aside = world.SetAside(kVictim);
  world.Interrupted(true);
  for (uint32_t i = 0; i < 12; ++i) world.RandomOperation();
  world.Interrupted(false);
  world.Resume(aside);
}

/** What the parent learns of a child; in shared memory. */
struct Outcome {
  uint64_t stores_;
  char fault_[256];
};

class Interrupter {
 public:
  using Plot = std::function<void(World& world, bool is_traced)>;

  /** `meanwhile` is what others do of which the victim's successor knows nothing. */
  Interrupter(const char* name, Fate fate, uint64_t region_bytes = kRegionBytes,
              std::function<void(World& world)> meanwhile = {})
      : name_(name),
        fate_(fate),
        meanwhile_(std::move(meanwhile)),
        seed_(test::PrintedSeed(name)),
        region_bytes_(region_bytes),
        log_(region_bytes) {
    void* shared =
        mmap(nullptr, sizeof(Outcome), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED) std::abort();
    outcome_ = static_cast<Outcome*>(shared);
  }
  ~Interrupter() { munmap(outcome_, sizeof(Outcome)); }
  Interrupter(const Interrupter&) = delete;
  Interrupter& operator=(const Interrupter&) = delete;

  /** Plots end where the victim's operation, the traced one, has ended. */
  void Run(uint32_t plays, uint32_t cuts_a_play, const Plot& plot) {
    for (uint32_t play = 0; play < Times(plays); ++play) {
      if (!Play(seed_ + play, ~uint64_t{0}, plot)) continue;
      const uint64_t stores = outcome_->stores_;
      const uint64_t stride = stores / cuts_a_play + 1;
      for (uint64_t cut = 1 + play % stride; cut <= stores; cut += stride) {
        Play(seed_ + play, cut, plot);
      }
    }
    std::printf("%s: %llu interruptions, %llu violations\n", name_,
                static_cast<unsigned long long>(interruptions_),
                static_cast<unsigned long long>(violations_));
  }
  uint64_t interruptions() const { return interruptions_; }
  uint64_t violations() const { return violations_; }

 private:
  bool Play(uint64_t seed, uint64_t cut, const Plot& plot) {
    log_.Clear();
    outcome_->fault_[0] = 0;
    test::ChildProcess child([&] {
      signal(SIGABRT, SIG_DFL);
      alarm(kWatchdogSeconds);
      void* memory =
          mmap(nullptr, region_bytes_, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
      if (memory == MAP_FAILED) return 1;
      World world(static_cast<char*>(memory), region_bytes_, &log_, seed);
      PlayIn(world, cut, plot);
      _exit(0);
    });
    const int status = child.Wait();
    if (cut != ~uint64_t{0}) ++interruptions_;
    if (status == 0 && outcome_->fault_[0] == 0) return true;
    ++violations_;
    std::printf("%s: VIOLATION with seed %llu, store %llu: ended with %d, %s\n", name_,
                static_cast<unsigned long long>(seed), static_cast<unsigned long long>(cut), status,
                outcome_->fault_);
    return false;
  }

  void PlayIn(World& world, uint64_t cut, const Plot& plot) {
    plot(world, false);
    world.tracer().CallAt(cut, [&] {
      world.Trace(false);
      if (fate_ == Fate::kDies) {
        Tell(GoOnWithoutVictim(world));
        _exit(0);
      }
      if (fate_ == Fate::kIsSucceeded) {
        Tell(GoOnBesideSuccessor(world, meanwhile_));
        _exit(0);
      }
      WorkMeanwhile(world);
    });
    world.Trace(true);
    plot(world, true);
    world.Trace(false);
    outcome_->stores_ = world.tracer().image_count();
    for (uint32_t i = 0; i < 8; ++i) world.RandomOperation();
    const std::string fault = Inspect(world, 0);
    Tell(fault.empty() ? FreeEverything(world, 0) : fault);
  }

  void Tell(const std::string& fault) {
    std::snprintf(outcome_->fault_, sizeof(outcome_->fault_), "%s", fault.c_str());
  }

  const char* name_;
  Fate fate_;
  std::function<void(World& world)> meanwhile_;
  uint64_t seed_;
  uint64_t region_bytes_;
  TraceLog log_;
  Outcome* outcome_ = nullptr;
  uint64_t interruptions_ = 0;
  uint64_t violations_ = 0;
};

/** Number of an actor of the victim. */
uint32_t Victim(const World& world) {
  uint32_t actor = 0;
  while (world.actors()[actor].handle_ != kVictim) ++actor;
  return actor;
}

/** Three processes with a history; then one of several operations of the second. */
void MixedOperations(World& world, bool is_traced) {
  if (!is_traced) {
    world.Init();
    world.Attach();
    world.Attach();
    for (uint32_t i = 40 + world.Random(80); i > 0; --i) world.RandomOperation();
    return;
  }
  const uint32_t victim = Victim(world);
  for (uint32_t i = 0; i < 3; ++i) world.Allocate(victim, world.RandomSize());
  for (uint32_t i = 0; i < 3; ++i) {
    const uint32_t block = world.RandomBlock();
    if (block != World::kMain) world.Free(Victim(world), block);
  }
  world.Trim(Victim(world));
}

/** The region is full of what the first process freed of the third: the second takes from it. */
void TakeFromSleeper(World& world, bool is_traced) {
  if (!is_traced) {
    world.Init();
    world.Attach();
    const uint32_t sleeper = world.Attach();
    const uint32_t size_bytes = world.RandomSize();
    while (world.Allocate(sleeper, size_bytes)) {}
    for (auto i = static_cast<uint32_t>(world.blocks().size()); i-- > 0;) {
      if (i % 16 != 0) world.Free(0, i);
    }
    return;
  }
  const uint32_t victim = Victim(world);
  for (uint32_t i = 0; i < 3; ++i) world.Allocate(victim, world.RandomSize());
}

/** Several runs, and blocks of large classes: what the victim frees its class slots list. */
void RunsInSlots(World& world, bool is_traced) {
  const auto run_bytes = [&] {
    const auto page = static_cast<uint32_t>(Config::kPageBytes);
    return page + 1 + world.Random(4 * page);
  };
  if (!is_traced) {
    world.Init();
    world.Attach();
    world.Attach();
    for (uint32_t i = 0; i < 24; ++i) world.Allocate(world.Random(3), run_bytes());
    for (uint32_t i = 0; i < 24; ++i) world.Allocate(world.Random(3), 513 + world.Random(3000));
    for (uint32_t i = 0; i < 16; ++i) world.Free(world.Random(3), world.RandomBlock());
    return;
  }
  for (uint32_t i = 0; i < 5; ++i) {
    const uint32_t block = world.RandomBlock();
    if (block != World::kMain) world.Free(Victim(world), block);
    if (i % 2 == 0) world.Allocate(Victim(world), run_bytes());
  }
  world.Trim(Victim(world));
}

/** The victim changes the length of runs in which it has its blocks: without its heap's lock. */
void RunsResized(World& world, bool is_traced) {
  constexpr uint32_t kPage = Config::kPageBytes;
  if (!is_traced) {
    world.Init();
    world.Attach();
    world.Attach();
    for (uint32_t i = 0; i < 2; ++i) world.Allocate(Victim(world), 8 * kPage);
    return;
  }
  for (const uint32_t pages : {5u, 7u}) {
    // Resized in place, so that it is the same block at every store.
    const uint64_t before = world.blocks().front().offset_;
    world.Reallocate(Victim(world), 0, pages * kPage);
    HSHM_CHECK(world.blocks().back().offset_ == before);
    world.Reallocate(Victim(world), 0, pages * kPage);
  }
}

/** Others come to know of the death, and free the block that was being resized. */
void FreeWhatWasResized(World& world) {
  for (const ShadowBlock& block : world.blocks()) {
    if (block.is_certain_) continue;
    world.handle(0)->FreeOffset(world.actors()[0].context_, OffsetPtr<>(block.offset_));
  }
}

/** The victim lets runs go that it has freed, and opens others: with its heap's lock. */
void RunsLetGo(World& world, bool is_traced) {
  constexpr uint32_t kPage = Config::kPageBytes;
  if (!is_traced) {
    world.Init();
    world.Attach();
    world.Attach();
    world.Allocate(2, 3 * kPage);
    for (uint32_t i = 0; i < 3; ++i) world.Allocate(Victim(world), (2 + i) * kPage);
    return;
  }
  for (uint32_t i = 0; i < 3; ++i) world.Free(Victim(world), 1);
  world.Trim(Victim(world));
  world.Allocate(Victim(world), 5 * kPage);
}

/** Who deletes its blocks takes every heap's lock for a moment, also that of the dead. */
void LeaveAndDelete(World& world) { world.Detach(2, multi_process::DetachMode::kDelete); }

/** The victim adopts what the third process left: blocks that class slots of all heaps list. */
void Inherit(World& world, bool is_traced) {
  if (!is_traced) {
    world.Init();
    world.Attach();
    const uint32_t owner = world.Attach();
    for (uint32_t i = 0; i < 16; ++i) world.Allocate(owner, 113 + world.Random(600));
    world.Kill(2);
    return;
  }
  world.Recover(Victim(world));
}

/** The next process of that third one's slot frees what it can find, while the adopter's waits for
 * the root. What it lists is of its own pages, for it dies, too. */
void FreeAsHeir(World& world) {
  const uint32_t actor = world.Attach();
  HSHM_CHECK(actor != World::kMain);
  const uint32_t heir = world.actors()[actor].handle_;
  HSHM_CHECK(world.handle(heir)->GetMembership().slot() == 2);
  for (uint32_t i = 0; i < 12 && !world.blocks().empty(); ++i) world.Free(actor, 0);
  HSHM_CHECK(world.handle(heir)->Check());
  world.Kill(heir);
}

/** All of whose blocks but a few others have freed: its pages are takers', or go with it. Some lie
 * before its heap's record, without which takers do not know it. */
void LeaveAndDeleteOwn(World& world, bool is_traced) {
  if (!is_traced) {
    MultiProcessOptions options;
    options.process_unit_bytes_ = 32 * 1024;
    world.Init(options);
    for (uint32_t i = 0; i < 24; ++i) world.Allocate(0, 4000);
    world.Attach(options);
    while (!world.blocks().empty()) world.Free(0, 0);
    world.Trim(0);
    world.Attach(options);
    const uint32_t size_bytes = 265 + world.Random(200);
    for (uint32_t i = 0; i < 120; ++i) world.Allocate(Victim(world), size_bytes);
    for (uint32_t i = 120; i-- > 4;) world.Free(0, i);
    world.Trim(0);  // posts them
    return;
  }
  world.Detach(kVictim, multi_process::DetachMode::kDelete);
  world.LoseUncertain();
}

/** Large blocks of everybody, made longer by the victim while others take and free theirs. */
void GrowLargeBlocks(World& world, bool is_traced) {
  constexpr uint32_t kUnitBytes = 32 * 1024;
  if (!is_traced) {
    MultiProcessOptions options;
    options.process_unit_bytes_ = kUnitBytes;
    for (uint32_t i = 0; i < 3; ++i) i == 0 ? world.Init(options) : void(world.Attach(options));
    for (uint32_t i = 0; i < 3; ++i) world.Allocate(i, kUnitBytes + 4096);
    world.Free(0, world.Random(static_cast<uint32_t>(world.blocks().size())));
    return;
  }
  for (uint32_t i = 0; i < 3; ++i) {
    const uint32_t block = world.RandomBlock();
    if (block == World::kMain) continue;
    const uint32_t size_bytes = world.blocks()[block].size_bytes_;
    world.ResizeInPlace(Victim(world), block, size_bytes + 4096 + world.Random(3 * 4096), true);
  }
}

TEST_CASE("Survivors go on, adopt and lose one block at most, wherever a process dies", "[crash]") {
  Interrupter mixed("death beside survivors", Fate::kDies);
  mixed.Run(12, 40, MixedOperations);
  CHECK(mixed.violations() == 0);
  CHECK(mixed.interruptions() >= Least(200));
  Interrupter taking("death in taking, beside survivors", Fate::kDies);
  taking.Run(8, 40, TakeFromSleeper);
  CHECK(taking.violations() == 0);
  Interrupter runs("death with runs listed, beside survivors", Fate::kDies, kLargerRegionBytes);
  runs.Run(8, 30, RunsInSlots);
  CHECK(runs.violations() == 0);
  Interrupter growing("death in growing large blocks, beside survivors", Fate::kDies);
  growing.Run(8, 30, GrowLargeBlocks);
  CHECK(growing.violations() == 0);
}

TEST_CASE("An operation that stands still at any store finds its way when others worked meanwhile",
          "[crash]") {
  Interrupter mixed("standing still", Fate::kStandsStill);
  mixed.Run(12, 60, MixedOperations);
  CHECK(mixed.violations() == 0);
  CHECK(mixed.interruptions() >= Least(200));
  Interrupter taking("standing still in taking", Fate::kStandsStill);
  taking.Run(8, 60, TakeFromSleeper);
  CHECK(taking.violations() == 0);
  Interrupter runs("standing still with runs listed", Fate::kStandsStill, kLargerRegionBytes);
  runs.Run(8, 30, RunsInSlots);
  CHECK(runs.violations() == 0);
  Interrupter growing("standing still in growing large blocks", Fate::kStandsStill);
  growing.Run(8, 30, GrowLargeBlocks);
  CHECK(growing.violations() == 0);
}

TEST_CASE("A span that was being changed in a death loses no page to who takes it before the sweep",
          "[crash]") {
  Interrupter resized("death in resizing, and a successor", Fate::kIsSucceeded, kRegionBytes,
                      FreeWhatWasResized);
  resized.Run(1, 1000, RunsResized);
  CHECK(resized.violations() == 0);
  CHECK(resized.interruptions() >= 30);
  Interrupter let_go("death in letting runs go, and a successor", Fate::kIsSucceeded, kRegionBytes,
                     LeaveAndDelete);
  let_go.Run(1, 1000, RunsLetGo);
  CHECK(let_go.violations() == 0);
  CHECK(let_go.interruptions() >= 60);
}

TEST_CASE("Who dies in an adoption leaves no block that another process takes for its own",
          "[crash]") {
  Interrupter inheriting("death in adopting, and two successors", Fate::kIsSucceeded, kRegionBytes,
                         FreeAsHeir);
  inheriting.Run(1, 1000, Inherit);
  CHECK(inheriting.violations() == 0);
  CHECK(inheriting.interruptions() >= 60);
}

TEST_CASE("A page that was being deleted in a death stops nobody who takes it before the sweep",
          "[crash]") {
  Interrupter deleting("death in deleting, and a successor", Fate::kIsSucceeded, kRegionBytes,
                       [](World&) {});
  deleting.Run(1, 1000, LeaveAndDeleteOwn);
  CHECK(deleting.violations() == 0);
  CHECK(deleting.interruptions() >= 40);
}

}  // namespace
}  // namespace hshm::ipc::crash
