/** The store tracer against the slow way: stepping a child through every instruction. */
#include <signal.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <vector>

#include "crash/campaign.h"
#include "support/catch.h"

namespace hshm::ipc::crash {
namespace {

constexpr uint64_t kSeed = 20250101;

char* MapShared() {
  void* memory =
      mmap(nullptr, kRegionBytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) std::abort();
  return static_cast<char*>(memory);
}

void Prepare(World& world) {
  world.Init();
  world.Attach();
  for (uint32_t i = 0; i < 30; ++i) world.RandomOperation();
}

/** Own and remote frees, refills, fresh pages. */
void Operate(World& world) {
  for (uint32_t i = 0; i < 6; ++i) world.Allocate(i % 2, 100 + 300 * i);
  world.Free(0, 0);
  world.Free(1, 0);
}

/** What each image adds to the one before, as a list of words. */
using Steps = std::vector<std::vector<std::pair<uint32_t, uint64_t>>>;

/** Images between two marks that follow each other. */
Steps StepsOf(const TraceLog& log) {
  Steps steps;
  for (uint32_t i = 0; i < log.image_count(); ++i) {
    std::vector<std::pair<uint32_t, uint64_t>> words;
    for (uint32_t c = log.FirstChange(i); c < log.image(i).change_end_; ++c) {
      words.emplace_back(log.change(c).word_, log.change(c).value_);
    }
    if (!words.empty()) steps.push_back(words);
  }
  return steps;
}

/** The region is at the same address in both children: nothing in it differs but by the pid. */
Steps TraceStores(char* region) {
  std::memset(region, 0, kRegionBytes);
  TraceLog log(kRegionBytes);
  const pid_t child = fork();
  if (child == 0) {
    World world(region, kRegionBytes, &log, kSeed);
    Prepare(world);
    world.Trace(true);
    Operate(world);
    _exit(0);
  }
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  REQUIRE(status == 0);
  return StepsOf(log);
}

/** Steps the child from its first SIGTRAP to its end. */
Steps StepInstructions(char* region, uint64_t* instructions) {
  std::memset(region, 0, kRegionBytes);
  TraceLog log(kRegionBytes);
  TraceLog unused(kRegionBytes);
  const pid_t child = fork();
  if (child == 0) {
    World world(region, kRegionBytes, &unused, kSeed);
    signal(SIGTRAP, SIG_DFL);
    Prepare(world);
    ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
    raise(SIGTRAP);
    Operate(world);
    syscall(SYS_exit_group,
            0);  // at once: a build may do more in _exit than can be stepped through
  }
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  REQUIRE(WIFSTOPPED(status));
  log.SetBase(region);
  log.BeginPhase("stepping", {}, 0);
  while (WIFSTOPPED(status)) {
    REQUIRE(WSTOPSIG(status) == SIGTRAP);
    if (log.Note(region, 0, kRegionBytes)) log.EndImage();
    REQUIRE(ptrace(PTRACE_SINGLESTEP, child, nullptr, nullptr) == 0);
    REQUIRE(waitpid(child, &status, 0) == child);
    ++*instructions;
  }
  REQUIRE(status == 0);
  return StepsOf(log);
}

/** Stores to the words of headers and page table: patterns are written outside of traces. */
Steps WithoutContents(const Steps& steps, uint64_t first_word) {
  Steps kept;
  for (const auto& words : steps) {
    if (words.size() <= 8 && words.front().first < first_word) kept.push_back(words);
  }
  return kept;
}

TEST_CASE("The store tracer sees every image that stepping through every instruction sees",
          "[crash]") {
  char* region = MapShared();
  const Steps by_stores = TraceStores(region);
  uint64_t instructions = 0;
  const Steps by_steps = StepInstructions(region, &instructions);
  const Root root({region, kRegionBytes, nullptr}, CoreOffset({region, kRegionBytes, nullptr}),
                  nullptr);
  const uint64_t first_word = uint64_t{root.header().first_page_} * Config::kPageBytes / 8;
  const Steps one = WithoutContents(by_stores, first_word);
  const Steps other = WithoutContents(by_steps, first_word);
  INFO(instructions << " instructions, " << other.size() << " stores to headers");
  CHECK(one.size() >= 50);
  CHECK((one == other));
  munmap(region, kRegionBytes);
}

}  // namespace
}  // namespace hshm::ipc::crash
