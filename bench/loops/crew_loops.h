#ifndef HSHM_BENCH_LOOPS_CREW_LOOPS_H_
#define HSHM_BENCH_LOOPS_CREW_LOOPS_H_

#include <benchmark/benchmark.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "loops/crew.h"
#include "loops/random.h"
#include "loops/single_loops.h"
#include "loops/touch.h"

/** The loops of several threads or processes. Times are the processor time of all members. */
namespace hshm::bench {

inline constexpr uint32_t kHandOffBlocks = 5000;  // a turn; the clock is read twice in each
inline constexpr uint32_t kLarsonBlocks = 1000;   // a member has as many in the common table
static_assert(2 * kHandOffBlocks <= kTableWords);

/** A thread or a process of a crew. What it has lives as long as the crew. */
template <Heap H>
class CrewMember {
 public:
  CrewMember(CrewControl& control, uint32_t index, H heap)
      : control_(control),
        index_(index),
        heap_(std::move(heap)),
        sizes_(RandomSizes(kSeed + index)),
        random_(kSeed + index) {}

  /** Does jobs until it is told to quit. */
  void Serve() {
    for (bool is_on = true; is_on;) {
      pthread_barrier_wait(&control_.start_);
      cpu_ns_ = 0;
      ops_ = control_.ops_;
      is_on = Do(control_.job_);
      control_.results_[index_] = {cpu_ns_, ops_};
      pthread_barrier_wait(&control_.end_);
    }
  }

 private:
  bool Do(Job job) {
    switch (job) {
      case Job::kRandom:
        DoRandom();
        break;
      case Job::kBatch:
        DoBatches();
        break;
      case Job::kHandOff:
        DoHandOff();
        break;
      case Job::kPipeline:
        DoPipeline();
        break;
      case Job::kLarson:
        DoLarson();
        break;
      case Job::kQuit:
        FreeTable();
        return false;
    }
    return true;
  }

  template <typename Work>
  void Timed(Work work) {
    const uint64_t start_ns = ThreadCpuNs();
    work();
    cpu_ns_ += ThreadCpuNs() - start_ns;
  }
  void Turn() { pthread_barrier_wait(&control_.turn_); }

  void DoRandom() {
    if (!live_) {
      live_ = std::make_unique<LiveBlocks<H>>(heap_, kRandomLive, sizes_, kSeed + index_);
      Turn();
    }
    Timed([this] {
      for (uint64_t i = 0; i < ops_; ++i) live_->Replace();
    });
  }

  void DoBatches() {
    std::vector<typename H::Block> blocks(kBatchBlocks);
    ops_ = std::max<uint64_t>(ops_ - ops_ % kBatchBlocks, kBatchBlocks);
    Timed([&] {
      for (uint64_t i = 0; i < ops_; i += kBatchBlocks) Batch(heap_, blocks);
    });
  }

  /** Allocation and free of a block count as one, whoever does them. Waiting is not timed. */
  void DoHandOff() {
    const uint64_t turns = Turns();
    for (uint64_t turn = 0; turn < turns; ++turn) {
      if (index_ == 0) Timed([this] { FillTable(0); });
      Turn();
      if (index_ == 1) Timed([this] { EmptyTable(0); });
      Turn();
    }
    ops_ = index_ == 0 ? turns * kHandOffBlocks : 0;
  }

  /** While one half of the table is filled, the other is emptied. */
  void DoPipeline() {
    const uint64_t turns = Turns();
    for (uint64_t turn = 0; turn <= turns; ++turn) {
      if (index_ == 0 && turn < turns) Timed([&] { FillTable(turn % 2); });
      if (index_ == 1 && turn > 0) Timed([&] { EmptyTable((turn - 1) % 2); });
      Turn();
    }
    ops_ = index_ == 0 ? turns * kHandOffBlocks : 0;
  }

  uint64_t Turns() const { return std::max<uint64_t>(ops_ / kHandOffBlocks, 1); }
  void FillTable(uint64_t half) {
    for (uint32_t i = 0; i < kHandOffBlocks; ++i) {
      // relaxed: the barrier of the turn orders the table
      control_.table_[half * kHandOffBlocks + i].store(NewWord(), std::memory_order_relaxed);
    }
  }
  void EmptyTable(uint64_t half) {
    for (uint32_t i = 0; i < kHandOffBlocks; ++i) {
      const auto& place = control_.table_[half * kHandOffBlocks + i];
      // relaxed: the barrier of the turn orders the table
      heap_.Free(heap_.FromWord(place.load(std::memory_order_relaxed)));
    }
  }

  void DoLarson() {
    const uint32_t words = std::min(kLarsonBlocks * control_.members_, kTableWords);
    Timed([&] {
      for (uint64_t i = 0; i < ops_; ++i) {
        auto& place = control_.table_[random_.Below(words)];
        // pairs with the same exchange of the block's former holder
        const uint64_t old = place.exchange(NewWord(), std::memory_order_acq_rel);
        if (old != 0) heap_.Free(heap_.FromWord(old));
      }
    });
    leaves_words_ = true;
  }

  void FreeTable() {
    if (!leaves_words_ || index_ != 0) return;
    for (auto& place : control_.table_) {
      const uint64_t word = place.load(std::memory_order_relaxed);  // relaxed: all work is done
      if (word != 0) heap_.Free(heap_.FromWord(word));
    }
  }

  uint64_t NewWord() {
    const auto block = heap_.Allocate(sizes_.At(next_size_++));
    Touch(heap_, block);
    return heap_.ToWord(block);
  }

  CrewControl& control_;
  const uint32_t index_;
  H heap_;
  const Sizes sizes_;
  Random random_;
  uint64_t next_size_ = 0;
  uint64_t cpu_ns_ = 0;
  uint64_t ops_ = 0;
  bool leaves_words_ = false;
  std::unique_ptr<LiveBlocks<H>> live_;
};

/** Times `job` for one benchmark; the first run, which is not counted, warms the heaps. */
inline void RunCrew(benchmark::State& state, Crew& crew, Job job, uint64_t ops_per_member) {
  crew.Run(job, ops_per_member);
  Crew::Figures all;
  uint64_t runs = 0;
  for (auto _ : state) {
    const Crew::Figures figures = crew.Run(job, ops_per_member);
    state.SetIterationTime(static_cast<double>(figures.cpu_ns_) * 1e-9);
    all.ops_ += figures.ops_;
    all.wall_ns_ += figures.wall_ns_;
    ++runs;
  }
  state.counters["ops"] = static_cast<double>(all.ops_) / static_cast<double>(runs);
  state.counters["wall_ns"] = static_cast<double>(all.wall_ns_) / static_cast<double>(runs);
}

struct CrewLoop {
  std::string name_;
  Job job_;
  uint32_t members_;
};

/** 1, 2, 4 and so on, and all the cores there are; two at least, as some loops need two. */
std::vector<uint32_t> CrewSizes();

/** All loops of threads or of processes: `random/threads:2` and so on. */
std::vector<CrewLoop> CrewLoops(const std::string& kind);

/** How many pairs a member does in one run: some milliseconds, or the few of a smoke test. */
uint64_t CrewOps();

template <typename MakeSegment>
void RegisterThreadLoops(const std::string& prefix, MakeSegment make_segment) {
  for (const CrewLoop& loop : CrewLoops("threads")) {
    benchmark::RegisterBenchmark((prefix + loop.name_).c_str(), [make_segment,
                                                                 loop](benchmark::State& state) {
      auto segment = make_segment();
      Crew crew(loop.members_);
      crew.StartThreads([&](CrewControl& control, uint32_t index) {
        CrewMember(control, index, segment->NewHeap()).Serve();
      });
      RunCrew(state, crew, loop.job_, CrewOps());
    })->UseManualTime();
  }
}

}  // namespace hshm::bench

#endif  // HSHM_BENCH_LOOPS_CREW_LOOPS_H_
