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
enum class Fate { kDies, kStandsStill };

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

  Interrupter(const char* name, Fate fate, uint64_t region_bytes = kRegionBytes)
      : name_(name),
        fate_(fate),
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
    for (uint32_t play = 0; play < plays * Factor(); ++play) {
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

TEST_CASE("Survivors go on, adopt and lose one block at most, wherever a process dies", "[crash]") {
  Interrupter mixed("death beside survivors", Fate::kDies);
  mixed.Run(12, 40, MixedOperations);
  CHECK(mixed.violations() == 0);
  CHECK(mixed.interruptions() >= 200);
  Interrupter taking("death in taking, beside survivors", Fate::kDies);
  taking.Run(8, 40, TakeFromSleeper);
  CHECK(taking.violations() == 0);
  Interrupter runs("death with runs listed, beside survivors", Fate::kDies, kLargerRegionBytes);
  runs.Run(8, 30, RunsInSlots);
  CHECK(runs.violations() == 0);
}

TEST_CASE("An operation that stands still at any store finds its way when others worked meanwhile",
          "[crash]") {
  Interrupter mixed("standing still", Fate::kStandsStill);
  mixed.Run(12, 60, MixedOperations);
  CHECK(mixed.violations() == 0);
  CHECK(mixed.interruptions() >= 200);
  Interrupter taking("standing still in taking", Fate::kStandsStill);
  taking.Run(8, 60, TakeFromSleeper);
  CHECK(taking.violations() == 0);
  Interrupter runs("standing still with runs listed", Fate::kStandsStill, kLargerRegionBytes);
  runs.Run(8, 30, RunsInSlots);
  CHECK(runs.violations() == 0);
}

}  // namespace
}  // namespace hshm::ipc::crash
