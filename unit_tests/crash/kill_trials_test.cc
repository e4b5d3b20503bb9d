/** Real processes on one segment, killed at any moment. */
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <random>
#include <string>
#include <vector>

#include "crash/factor.h"
#include "crash/heap_walk.h"
#include "crash/oracle.h"
#include "crash/world.h"
#include "hermes_shm/memory/backend/posix_shm_mmap.h"
#include "support/catch.h"
#include "support/child_process.h"
#include "support/seed.h"

namespace hshm::ipc::crash {
namespace {

using Heap = MultiProcessAllocator;
constexpr uint64_t kMiB = 1024 * 1024;
constexpr uint32_t kSpots = 64;
/** For all else in a trial, on a machine that is busy. */
constexpr uint32_t kTrialSeconds = 60;

/** Takes the segment's name away at the latest when the test ends, however it ends. */
class Segment {
 public:
  explicit Segment(uint64_t size_bytes) : owner_(getpid()) {
    static int count = 0;
    url_ = "hshm_crash_test_" + std::to_string(owner_) + "_" + std::to_string(count++);
    backend_.shm_init(MemoryBackendId::Get(0), size_bytes, url_);
  }
  ~Segment() {
    if (getpid() == owner_) backend_.shm_destroy();
  }
  Segment(const Segment&) = delete;
  Segment& operator=(const Segment&) = delete;

  PosixShmMmap& backend() { return backend_; }
  const std::string& url() const { return url_; }

 private:
  pid_t owner_;
  std::string url_;
  PosixShmMmap backend_;
};

/** Set while an alarm may go off: the name that must not stay behind then. */
char hung_path[256];

/** Ends the test with its segment's name taken away unless the next call comes in time; 0: never.
 */
void WithinSeconds(uint32_t seconds, const Segment& segment) {
  std::snprintf(hung_path, sizeof(hung_path), "/dev/shm/%s", segment.url().c_str());
  signal(SIGALRM, [](int) {
    constexpr char kText[] = "crash_kill_test: P1: the survivor hangs\n";
    [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, kText, sizeof(kText) - 1);
    unlink(hung_path);
    _exit(3);
  });
  alarm(seconds);
}

/** Where two processes exchange blocks: a spot holds {offset:40, size:24} or 0. */
struct Exchange {
  Atomic<uint64_t> spots_[kSpots];
};

uint64_t Pack(uint64_t offset, uint32_t size_bytes) { return offset << 24 | size_bytes; }

/** What one process does: allocates, fills, exchanges, checks and frees. */
class Trader {
 public:
  Trader(Heap* heap, Exchange* exchange, uint64_t seed)
      : heap_(heap), exchange_(exchange), rng_(seed) {}

  /** False when a block did not have its pattern, or there was no room. */
  bool Trade() {
    const auto size_bytes = static_cast<uint32_t>(1 + rng_() % (rng_() % 128 == 0 ? 200000 : 900));
    const OffsetPtr<> block = heap_->AllocateOffset(MemContext(), size_bytes);
    if (block.IsNull()) return false;
    FillPattern(At(block.load()), size_bytes, size_bytes);
    const uint64_t mine = Pack(block.load(), size_bytes);
    // pairs with the exchange of who takes it: the pattern goes with the block
    return Consume(exchange_->spots_[rng_() % kSpots].exchange(mine, std::memory_order_acq_rel));
  }

  bool Consume(uint64_t packed) {
    if (packed == 0) return true;
    const auto size_bytes = static_cast<uint32_t>(packed & 0xffffff);
    const bool is_whole = HasPattern(At(packed >> 24), size_bytes, size_bytes);
    heap_->FreeOffset(MemContext(), OffsetPtr<>(packed >> 24));
    return is_whole;
  }

  /** Takes what lies in the spots out of them. */
  bool ConsumeAll() {
    bool is_good = true;
    for (Atomic<uint64_t>& spot : exchange_->spots_) {
      // pairs with the exchange in Trade
      is_good = Consume(spot.exchange(0, std::memory_order_acq_rel)) && is_good;
    }
    return is_good;
  }

 private:
  char* At(uint64_t offset) const { return heap_->GetRegion().base_ + offset; }

  Heap* heap_;
  Exchange* exchange_;
  std::mt19937_64 rng_;
};

int TradeUntilKilled(const std::string& url, uint64_t exchange, uint64_t seed,
                     const test::Signpost& begun) {
  PosixShmMmap backend;
  backend.shm_attach(url);
  auto* heap = backend.AttachAlloc<Heap>();
  Trader trader(heap, backend.region().At<Exchange>(exchange), seed);
  begun.Tell();
  while (trader.Trade()) {}
  return 1;
}

/** What the dead had in their hands is freed, of a heap in which `known` alone is in use.
 * @return how many losses that were: a run of remote frees is one */
uint32_t FreeLost(Heap* heap, uint64_t known) {
  const HeapWalk walk(heap->GetRegion());
  INFO(walk.complaint());
  REQUIRE(walk.complaint().empty());
  FreeUnknown(heap, walk, {{known, 0, 0, 0, true}});
  return LossesOf(walk, {{known, 0, 0, 0, true}});
}

TEST_CASE("A process killed in an alloc/free loop costs the survivor nothing but one block",
          "[crash]") {
  const uint64_t seed = test::PrintedSeed("kill trials");
  std::mt19937_64 rng(seed);
  const uint32_t trials = Times(500);
  Segment segment(64 * kMiB);
  auto* heap = segment.backend().MakeAlloc<Heap>(AllocatorId(1, 0));
  const auto exchange = heap->NewObj<Exchange>(MemContext());
  Trader survivor(heap, exchange.ptr_, seed + 1);
  const size_t pages = CountPages(heap);
  uint32_t losses = 0;
  for (uint32_t trial = 0; trial < trials; ++trial) {
    INFO("trial " << trial);
    WithinSeconds(kTrialSeconds, segment);
    test::Signpost begun;
    test::ChildProcess victim([&] {
      return TradeUntilKilled(segment.url(), exchange.shm_.off_.load(), seed + 100 + trial, begun);
    });
    begun.Await();
    for (uint64_t i = 1 + rng() % 200; i > 0; --i) REQUIRE(survivor.Trade());
    REQUIRE(victim.Kill() == -SIGKILL);
    WithinSeconds(2, segment);  // P1, of each of the three
    REQUIRE(survivor.Trade());
    WithinSeconds(2, segment);
    heap->Recover();
    WithinSeconds(2, segment);
    REQUIRE(survivor.ConsumeAll());
    WithinSeconds(kTrialSeconds, segment);
    if (trial % 20 == 0) REQUIRE(heap->Check());
    const uint32_t lost = FreeLost(heap, exchange.shm_.off_.load());
    REQUIRE(lost <= 1);  // P3: between the heap and a spot, or a spot and the heap
    losses += lost;
  }
  REQUIRE(heap->Check());
  heap->Trim();
  REQUIRE(CountPages(heap) == pages);  // P4
  segment.backend().shm_destroy();
  WithinSeconds(0, segment);
  std::printf("kill trials: %u processes of 1 thread killed, %u losses\n", trials, losses);
}

struct SizeMix {
  const char* name_;
  uint32_t smallest_;
  uint32_t largest_;
};

/** Allocates until null. @return bytes asked for */
uint64_t FillRegion(Heap* heap, const SizeMix& mix, uint64_t seed, std::vector<uint64_t>* blocks) {
  std::mt19937_64 rng(seed);
  uint64_t sum = 0;
  for (uint32_t misses = 0; misses < 64;) {
    // Sizes spread evenly over the doublings.
    const double span = static_cast<double>(mix.largest_) / mix.smallest_;
    const double place = static_cast<double>(rng() % 1024) / 1024;
    const auto size_bytes = static_cast<uint64_t>(mix.smallest_ * std::pow(span, place));
    const OffsetPtr<> block = heap->AllocateOffset(MemContext(), size_bytes);
    if (block.IsNull()) {
      ++misses;
      continue;
    }
    blocks->push_back(block.load());
    sum += size_bytes;
  }
  return sum;
}

/** Rank A: fills the region, leaves its blocks' offsets in a file, then sleeps. */
int FillAndSleep(const std::string& url, const SizeMix& mix, uint64_t seed, int to_b) {
  PosixShmMmap backend;
  backend.shm_attach(url);
  auto* heap = backend.AttachAlloc<Heap>();
  std::vector<uint64_t> blocks;
  const uint64_t sum = FillRegion(heap, mix, seed, &blocks);
  const uint64_t head[2] = {sum, blocks.size()};
  if (write(to_b, head, sizeof(head)) != sizeof(head)) return 1;
  for (size_t sent = 0; sent < blocks.size() * sizeof(uint64_t);) {
    const ssize_t part = write(to_b, reinterpret_cast<char*>(blocks.data()) + sent,
                               blocks.size() * sizeof(uint64_t) - sent);
    if (part <= 0) return 1;
    sent += static_cast<size_t>(part);
  }
  for (;;) pause();
}

void ReadWhole(int from, void* data, size_t bytes) {
  for (size_t got = 0; got < bytes;) {
    const ssize_t part = read(from, static_cast<char*>(data) + got, bytes - got);
    REQUIRE(part > 0);
    got += static_cast<size_t>(part);
  }
}

void FillFreeRefill(const SizeMix& mix, bool is_killed) {
  const uint64_t seed = test::PrintedSeed(mix.name_);
  INFO(mix.name_ << ", A is " << (is_killed ? "killed" : "asleep"));
  Segment segment(128 * kMiB);
  auto* heap = segment.backend().MakeAlloc<Heap>(AllocatorId(1, 0));
  int ends[2];
  REQUIRE(pipe(ends) == 0);
  test::ChildProcess rank_a([&] { return FillAndSleep(segment.url(), mix, seed, ends[1]); });
  close(ends[1]);
  uint64_t head[2];
  ReadWhole(ends[0], head, sizeof(head));
  std::vector<uint64_t> blocks(head[1]);
  ReadWhole(ends[0], blocks.data(), blocks.size() * sizeof(uint64_t));
  close(ends[0]);
  REQUIRE(head[0] >= 64 * kMiB);
  if (is_killed) REQUIRE(rank_a.Kill() == -SIGKILL);
  for (const uint64_t block : blocks) heap->FreeOffset(MemContext(), OffsetPtr<>(block));
  std::vector<uint64_t> again;
  const uint64_t sum = FillRegion(heap, mix, seed, &again);
  CHECK(static_cast<double>(sum) >= 0.9 * static_cast<double>(head[0]));
  for (const uint64_t block : again) heap->FreeOffset(MemContext(), OffsetPtr<>(block));
  CHECK(heap->GetCurrentlyAllocatedSize() == 0);
  CHECK(heap->Check());
}

TEST_CASE("What A allocated until null and B freed, B can allocate: A asleep or killed",
          "[crash]") {
  const SizeMix mix = GENERATE(SizeMix{"16 to 1024 bytes", 16, 1024},
                               SizeMix{"64 KiB to 1 MiB", 64 * 1024, 1024 * 1024},
                               SizeMix{"16 bytes to 1 MiB", 16, 1024 * 1024});
  FillFreeRefill(mix, false);
  FillFreeRefill(mix, true);
}

}  // namespace
}  // namespace hshm::ipc::crash
