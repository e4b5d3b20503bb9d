/**
 * Four processes of four threads on one segment, killed one after the other at any moment. Beside
 * the heap lies a record of each block that somebody has, with a pattern of its own.
 */
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "crash/factor.h"
#include "crash/oracle.h"
#include "crash/world.h"
#include "hermes_shm/memory/backend/posix_shm_mmap.h"
#include "hermes_shm/platform/futex.h"
#include "support/catch.h"
#include "support/child_process.h"
#include "support/seed.h"

namespace hshm::ipc::crash {
namespace {

/** Each of 16 heaps has a page of 64 KiB of each class, and what it adopts. */
constexpr uint64_t kSegmentBytes = 128 << 20;
constexpr uint32_t kProcesses = 4;
constexpr uint32_t kThreads = 4;
constexpr uint32_t kRecordsEach = 48;
constexpr uint32_t kRecords = kProcesses * kThreads * kRecordsEach;
constexpr uint32_t kKills = 32;
/** After so many all rest, and what there is must be what is on record. */
constexpr uint32_t kKillsBetweenChecks = 8;
constexpr uint64_t kWatchdogUs = 2'000'000;  // the promise
/** For a process to begin, on a machine that is busy. */
constexpr uint64_t kBeginUs = 60'000'000;
/** Threads of a process that may have a block in their hands: those, and the one that attaches. */
constexpr uint32_t kHands = kThreads + 1;

/**
 * What is known of one block, in a word: {offset:40, size:22, state:2}. Its pattern's seed is its
 * record's number. Empty -> busy -> live by the thread whose record it is; live -> busy -> empty by
 * anybody. A thread that dies leaves the record of the one block in its hands busy.
 */
namespace record {
constexpr uint64_t kEmpty = 0;
constexpr uint64_t kBusy = 1;
constexpr uint64_t kLive = 2;
uint64_t Live(uint64_t offset, uint32_t size_bytes) {
  return offset << 24 | uint64_t{size_bytes} << 2 | kLive;
}
bool IsLive(uint64_t word) { return (word & 3) == kLive; }
uint64_t OffsetOf(uint64_t word) { return word >> 24; }
uint32_t SizeOf(uint64_t word) { return static_cast<uint32_t>(word >> 2 & 0x3fffff); }
}  // namespace record

/** Outside of the heap, in memory that all processes inherit. */
struct Board {
  Atomic<uint32_t> rest_;  // odd: all are to rest until it is even again
  Atomic<uint32_t> is_faulty_;
  char fault_[256];
  Atomic<uint32_t> rests_[kProcesses * kThreads];  // the rest_ that the thread has seen and obeyed
  Atomic<uint64_t> steps_[kProcesses * kThreads];
  Atomic<uint64_t> records_[kRecords];

  void Complain(const char* what, uint64_t offset) {
    uint32_t none = 0;
    // pairs with the judge's load: the text is there
    if (!is_faulty_.compare_exchange_strong(none, 2, std::memory_order_acq_rel)) return;
    std::snprintf(fault_, sizeof(fault_), "%s at offset %llu", what,
                  static_cast<unsigned long long>(offset));
    is_faulty_.store(1, std::memory_order_release);  // pairs with the judge's load
  }
};

/** One thread of a process that is going to be killed. */
class Storming {
 public:
  Storming(Allocator* heap, Board* board, uint32_t number, uint64_t seed)
      : heap_(heap), board_(board), number_(number), rng_(seed) {}

  void Run() {
    for (;;) {
      // pairs with the judge's stores: what it has changed is seen
      const uint32_t rest = board_->rest_.load(std::memory_order_acquire);
      if (rest % 2 == 1) {
        // pairs with the judge's load: what this thread has done is seen
        board_->rests_[number_].store(rest, std::memory_order_release);
        FutexWait(&board_->rest_, rest, kWatchdogUs);
        continue;
      }
      Step();
      board_->steps_[number_].fetch_add(1, std::memory_order_relaxed);  // relaxed: a count
    }
  }

 private:
  void Step() {
    if (rng_() % 2 == 0) return Free(static_cast<uint32_t>(rng_() % kRecords));
    const auto own = static_cast<uint32_t>(number_ * kRecordsEach + rng_() % kRecordsEach);
    uint64_t empty = record::kEmpty;
    // relaxed: only this thread makes something of an empty record of its own
    if (board_->records_[own].compare_exchange_strong(empty, record::kBusy,
                                                      std::memory_order_relaxed)) {
      return Allocate(own);
    }
    Free(own);
  }

  void Allocate(uint32_t number) {
    const uint64_t dice = rng_() % 64;
    const uint64_t most = dice == 0 ? 200'000 : dice < 8 ? 4'000 : 900;
    const auto size_bytes = static_cast<uint32_t>(1 + rng_() % most);
    const uint64_t offset = heap_->AllocateOffset(MemContext(), size_bytes).load();
    if (offset == 0) board_->Complain("null in a heap with room", size_bytes);
    if (offset != 0) FillPattern(At(offset), size_bytes, number);
    board_->records_[number].store(offset == 0 ? record::kEmpty : record::Live(offset, size_bytes),
                                   std::memory_order_release);  // pairs with the CAS in Free
  }

  void Free(uint32_t number) {
    uint64_t word = board_->records_[number].load(std::memory_order_relaxed);  // relaxed: CAS next
    if (!record::IsLive(word)) return;
    // pairs with the store in Allocate: the pattern is there
    if (!board_->records_[number].compare_exchange_strong(word, record::kBusy,
                                                          std::memory_order_acquire)) {
      return;
    }
    const uint64_t offset = record::OffsetOf(word);
    if (!HasPattern(At(offset), record::SizeOf(word), number)) {
      board_->Complain("a live block was written into", offset);
    }
    heap_->FreeOffset(MemContext(), OffsetPtr<>(offset));
    board_->records_[number].store(record::kEmpty,
                                   std::memory_order_release);  // pairs with the CAS in Step
  }

  char* At(uint64_t offset) const { return heap_->GetRegion().base_ + offset; }

  Allocator* heap_;
  Board* board_;
  uint32_t number_;
  std::mt19937_64 rng_;
};

int StormUntilKilled(const std::string& url, Board* board, uint32_t process, uint64_t seed) {
  PosixShmMmap backend;
  backend.shm_attach(url);
  auto* heap = backend.AttachAlloc<Allocator>();
  std::vector<std::thread> threads;
  for (uint32_t i = 0; i < kThreads; ++i) {
    threads.emplace_back([=] {
      const uint32_t number = process * kThreads + i;
      Storming(heap, board, number, seed * kThreads + i).Run();
    });
  }
  for (std::thread& thread : threads) thread.join();
  return 0;
}

/** The one that kills, and looks. It has a heap of its own, and is never killed. */
class Storm {
 public:
  explicit Storm(uint64_t seed) : rng_(seed) {
    url_ = "hshm_crash_storm_" + std::to_string(getpid());
    backend_.shm_init(MemoryBackendId::Get(0), kSegmentBytes, url_);
    heap_ = backend_.MakeAlloc<Allocator>(AllocatorId(1, 0));
    pages_ = CountPages(heap_);
    heap_->Trim();
    void* shared =
        mmap(nullptr, sizeof(Board), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED) std::abort();
    board_ = new (shared) Board();
    for (uint32_t p = 0; p < kProcesses; ++p) Spawn(p);
  }
  ~Storm() {
    children_.clear();
    backend_.shm_destroy();
    munmap(board_, sizeof(Board));
  }
  Storm(const Storm&) = delete;
  Storm& operator=(const Storm&) = delete;

  /** Kills a process that has come some way. "" when the others go on. */
  std::string KillOne() {
    const auto victim = static_cast<uint32_t>(rng_() % kProcesses);
    std::string fault = AwaitSteps(victim, rng_() % 200, kBeginUs);
    if (!fault.empty()) return fault;
    if (const int status = children_[victim]->Kill(); status != -SIGKILL) {
      return "a process had ended before it was killed: " + std::to_string(status);
    }
    deaths_ += kHands;
    for (uint32_t p = 0; p < kProcesses && fault.empty(); ++p) {
      if (p != victim) fault = AwaitSteps(p, 1, kWatchdogUs);
    }
    Spawn(victim);
    return fault;
  }

  /** All rest: what is live is on record and whole, but for a loss for each thread that died. */
  std::string Check() {
    Rest(true);
    std::string fault = AwaitRest();
    if (fault.empty()) fault = Inspect();
    Rest(false);
    return fault;
  }

  /** Everybody dies, and all is freed: nothing is left. */
  std::string End() {
    children_.clear();
    deaths_ += kProcesses * kHands;
    std::string fault = Inspect();
    for (const ShadowBlock& block : known_) {
      heap_->FreeOffset(MemContext(), OffsetPtr<>(block.offset_));
    }
    if (!fault.empty()) return fault;
    if (heap_->GetCurrentlyAllocatedSize() != 0) return "live bytes in an empty heap";
    if (!heap_->Check()) return "Check() says no of an empty heap";
    heap_->Trim();
    const size_t pages = CountPages(heap_);
    if (pages == pages_) return {};
    return "P4: " + std::to_string(pages) + " pages of " + std::to_string(pages_) + " are left";
  }
  uint32_t losses() const { return losses_; }

 private:
  void Spawn(uint32_t process) {
    if (children_.size() < kProcesses) children_.resize(kProcesses);
    const uint64_t seed = rng_();
    children_[process] = std::make_unique<test::ChildProcess>(
        [&] { return StormUntilKilled(url_, board_, process, seed); });
  }

  void Rest(bool is_to_rest) {
    // relaxed: nobody else writes it
    const bool is_resting = board_->rest_.load(std::memory_order_relaxed) % 2 == 1;
    if (is_resting == is_to_rest) return;
    // pairs with the load in Run: what was changed is seen
    board_->rest_.fetch_add(1, std::memory_order_release);
    FutexWake(&board_->rest_, ~0u >> 1);
  }

  std::string Fault() const {
    // pairs with Complain
    if (board_->is_faulty_.load(std::memory_order_acquire) == 1) return board_->fault_;
    return {};
  }

  /** Waits until each thread of the process has made so many more steps. */
  std::string AwaitSteps(uint32_t process, uint64_t count, uint64_t patience_us) {
    const uint32_t first = process * kThreads;
    return AwaitEach(first, first + kThreads, patience_us, [&](uint32_t thread, uint64_t before) {
      return StepsOf(thread) >= before + count;
    });
  }
  std::string AwaitRest() {
    const uint32_t rest = board_->rest_.load(std::memory_order_relaxed);  // relaxed: own word
    return AwaitEach(0, kProcesses * kThreads, kBeginUs, [&](uint32_t thread, uint64_t) {
      // pairs with the store in Run
      return board_->rests_[thread].load(std::memory_order_acquire) == rest;
    });
  }
  template <typename IsThere>
  std::string AwaitEach(uint32_t first, uint32_t end, uint64_t patience_us, IsThere is_there) {
    uint64_t at_first[kProcesses * kThreads];
    for (uint32_t i = first; i < end; ++i) at_first[i] = StepsOf(i);
    const uint64_t limit = MonotonicUs() + patience_us;
    for (uint32_t i = first; i < end; ++i) {
      while (!is_there(i, at_first[i])) {
        if (const std::string fault = Fault(); !fault.empty()) return fault;
        if (MonotonicUs() > limit) return "P1: thread " + std::to_string(i) + " hangs";
        sched_yield();
      }
    }
    return Fault();
  }
  uint64_t StepsOf(uint32_t thread) const {
    return board_->steps_[thread].load(std::memory_order_relaxed);  // relaxed: a count
  }

  /** What is on record. Records that the dead had in their hands are given back. */
  void ReadRecords() {
    known_.clear();
    for (uint32_t i = 0; i < kRecords; ++i) {
      // pairs with the store in Allocate
      const uint64_t word = board_->records_[i].load(std::memory_order_acquire);
      if (record::IsLive(word)) {
        known_.push_back({record::OffsetOf(word), record::SizeOf(word), i, 0, true});
      } else {
        // relaxed: Rest releases it
        board_->records_[i].store(record::kEmpty, std::memory_order_relaxed);
      }
    }
    std::sort(known_.begin(), known_.end(),
              [](const ShadowBlock& a, const ShadowBlock& b) { return a.offset_ < b.offset_; });
  }

  std::string Inspect() {
    const uint64_t begin_us = MonotonicUs();
    heap_->Recover();
    if (MonotonicUs() - begin_us > kWatchdogUs) return "P1: Recover() took more than 2 s";
    ReadRecords();
    if (!heap_->Check()) return "Check() says no";
    const HeapWalk walk(heap_->GetRegion());
    if (!walk.complaint().empty()) return "the lists are broken: " + walk.complaint();
    uint64_t end = 0;
    for (const ShadowBlock& block : known_) {
      if (block.offset_ < end) return "two blocks overlap at " + std::to_string(block.offset_);
      end = block.offset_ + block.size_bytes_;
      if (!IsWhole(walk, block)) return "P2: a block is lost: " + std::to_string(block.offset_);
    }
    const uint32_t lost = LossesOf(walk, known_);
    if (lost > deaths_) {
      return "P3: " + std::to_string(lost) + " losses in " + std::to_string(deaths_) + " deaths";
    }
    FreeUnknown(heap_, walk, known_);
    losses_ += lost;
    deaths_ = 0;
    return {};
  }

  bool IsWhole(const HeapWalk& walk, const ShadowBlock& block) const {
    const auto found =
        std::lower_bound(walk.live().begin(), walk.live().end(), block.offset_,
                         [](const LiveBlock& a, uint64_t offset) { return a.offset_ < offset; });
    return found != walk.live().end() && found->offset_ == block.offset_ &&
           found->bytes_ >= block.size_bytes_ &&
           HasPattern(heap_->GetRegion().base_ + block.offset_, block.size_bytes_, block.seed_);
  }

  std::mt19937_64 rng_;
  std::string url_;
  PosixShmMmap backend_;
  Allocator* heap_;
  size_t pages_ = 0;  // that can be had while nothing is in use
  Board* board_;
  std::vector<std::unique_ptr<test::ChildProcess>> children_;
  std::vector<ShadowBlock> known_;  // as of the last look, by offset
  uint32_t deaths_ = 0;             // of threads, since the last look
  uint32_t losses_ = 0;
};

TEST_CASE("Of four processes of four threads, killed in turn, the others go on and lose nothing",
          "[crash]") {
  Storm storm(test::PrintedSeed("kill storm"));
  const uint32_t kills = Times(kKills);
  for (uint32_t kill = 1; kill <= kills; ++kill) {
    INFO("kill " << kill);
    REQUIRE(storm.KillOne() == "");
    if (kill % kKillsBetweenChecks == 0) REQUIRE(storm.Check() == "");
  }
  REQUIRE(storm.End() == "");
  std::printf("kill storm: %u processes of %u threads killed, %u blocks or runs lost\n", kills,
              kThreads, storm.losses());
}

}  // namespace
}  // namespace hshm::ipc::crash
