/*
 * All loops on memory that processes share: MultiProcessAllocator on PosixShmMmap with the default
 * context, with an explicit one, and three in turn; Boost.Interprocess where it was found.
 */
#include <benchmark/benchmark.h>

#include <array>
#include <memory>
#include <string>

#include "heaps/hshm_heap.h"
#include "hermes_shm/memory/backend/posix_mmap.h"
#include "loops/crew_loops.h"
#include "loops/fresh_memory.h"
#include "loops/single_loops.h"
#if HSHM_BENCH_HAVE_BOOST
#include "heaps/boost_heap.h"
#endif

namespace hshm::bench {
namespace {

/** A heap together with what it lies in. */
template <typename Segment, typename H>
class Owned : public H {
 public:
  template <typename Make>
  Owned(std::unique_ptr<Segment> segment, Make make)
      : H(make(*segment)), segment_(std::move(segment)) {}

 private:
  std::unique_ptr<Segment> segment_;
};

template <typename Segment, typename Make>
auto MakeOwned(Make make) {
  using H = decltype(make(std::declval<Segment&>()));
  return Owned<Segment, H>(std::make_unique<Segment>(), make);
}

void RegisterSingles() {
  RegisterSingleLoops("default/", [] {
    return MakeOwned<HshmSegment>(
        [](HshmSegment& segment) { return HshmHeap<Context::kDefault>(segment.alloc()); });
  });
  RegisterSingleLoops("explicit/", [] {
    return MakeOwned<HshmSegment>(
        [](HshmSegment& segment) { return HshmHeap<Context::kExplicit>(segment.alloc()); });
  });
  using Three = std::array<HshmSegment, 3>;
  RegisterSingleLoops("three/", [] {
    return MakeOwned<Three>([](Three& segments) {
      return ThreeHshmHeaps({segments[0].alloc(), segments[1].alloc(), segments[2].alloc()});
    });
  });
#if HSHM_BENCH_HAVE_BOOST
  RegisterSingleLoops("boost/", [] {
    return MakeOwned<BoostSegment>([](BoostSegment& segment) { return segment.NewHeap(); });
  });
#endif
}

void RegisterCrews() {
  RegisterThreadLoops("default/", [] { return std::make_unique<HshmSegment>(); });
#if HSHM_BENCH_HAVE_BOOST
  RegisterThreadLoops("boost/", [] { return std::make_unique<BoostSegment>(); });
#endif
  for (const CrewLoop& loop : CrewLoops("processes")) {
    benchmark::RegisterBenchmark(("default/" + loop.name_).c_str(), [loop](
                                                                        benchmark::State& state) {
      HshmSegment segment;
      Crew crew(loop.members_);
      crew.StartPrograms(segment.Url());
      RunCrew(state, crew, loop.job_, CrewOps());
    })->UseManualTime();
  }
}

/** New memory each time, with an allocator of its own. */
template <typename MakeBackend>
void RegisterFresh(const char* name, hipc::HugePages pages, MakeBackend make) {
  benchmark::RegisterBenchmark(name, [pages, make](benchmark::State& state) {
    for (auto _ : state) {
      state.PauseTiming();
      {
        auto backend = make(pages);
        const auto report = backend->GetPageReport();
        if (pages != hipc::HugePages::kNever && report.kind_ == hipc::PageKind::kSystem) {
          state.SkipWithError(report.why_not_.c_str());
          break;
        }
        auto* alloc = backend->template MakeAlloc<hipc::MultiProcessAllocator>({1, 0});
        HshmHeap<Context::kDefault> heap(alloc);
        state.ResumeTiming();
        const auto block = heap.Allocate(kFreshBytes);
        TouchPages(heap, block, kFreshBytes);
        state.PauseTiming();
        heap.Free(block);
      }
      state.ResumeTiming();
    }
    state.counters["ops"] = static_cast<double>(kFreshBytes / kTouchStride);
  });
}

void RegisterFreshMemory() {
  static constexpr size_t kBytes = 4 * kFreshBytes;
  const auto shm = [](hipc::HugePages pages) {
    hipc::PosixShmOptions options;
    options.naming_ = hipc::Naming::kUnnamed;
    options.huge_pages_ = pages;
    auto backend = std::make_unique<hipc::PosixShmMmap>();
    backend->shm_init(hipc::MemoryBackendId(2), kBytes, "hshm-bench-fresh", options);
    return backend;
  };
  const auto pages_of_process = [](hipc::HugePages pages) {
    auto backend = std::make_unique<hipc::PosixMmap>();
    backend->shm_init(hipc::MemoryBackendId(2), kBytes, pages);
    return backend;
  };
  benchmark::RegisterBenchmark("default/block_32m", [](benchmark::State& state) {
    HshmSegment segment;
    auto heap = segment.NewHeap();
    RunLargeBlock(state, heap, kRoundsBeforeKept);
  });
  RegisterFresh("shm/first_touch", hipc::HugePages::kNever, shm);
  RegisterFresh("shm_huge/first_touch", hipc::HugePages::kAdvise, shm);
  RegisterFresh("private/first_touch", hipc::HugePages::kNever, pages_of_process);
  RegisterFresh("private_huge/first_touch", hipc::HugePages::kAdvise, pages_of_process);
}

int BeMember(const MemberArguments& arguments) {
  HshmSegment segment(arguments.url_);
  CrewMember(*MapControl(arguments.control_fd_), arguments.index_, segment.NewHeap()).Serve();
  return 0;
}

int Main(int argc, char** argv) try {
  MemberArguments member;
  if (MemberArguments::Read(argc, argv, &member)) return BeMember(member);
  RegisterSingles();
  RegisterCrews();
  RegisterFreshMemory();
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  benchmark::RunSpecifiedBenchmarks();
  return 0;
} catch (const Error& error) {
  StopWith(error.what());
}

}  // namespace
}  // namespace hshm::bench

int main(int argc, char** argv) { return hshm::bench::Main(argc, argv); }
