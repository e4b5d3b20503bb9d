#include "shared_count.h"

#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "agree.h"
#include "input_error.h"
#include "memory_use.h"
#include "node_counter.h"
#include "nodes.h"
#include "progress.h"
#include "stopwatch.h"

namespace kmer_count {
namespace {

/** The nodes' spectra, added up on the first of the leaders. */
void GatherNodes(MPI_Comm leaders, Spectrum& spectrum) {
  int leader = 0;
  int nodes = 0;
  MPI_Comm_rank(leaders, &leader);
  MPI_Comm_size(leaders, &nodes);
  std::vector<uint64_t> words;  // pairs of a count and how many k-mers or, behind them, which one
  for (const auto& [count, number] : spectrum.numbers()) words.insert(words.end(), {count, number});
  for (const CountedKmer& top : spectrum.top()) words.insert(words.end(), {top.count_, top.kmer_});
  const uint64_t shape[2] = {spectrum.numbers().size(), spectrum.top().size()};
  if (leader != 0) {
    MPI_Send(shape, 2, MPI_UINT64_T, 0, 0, leaders);
    MPI_Send(words.data(), static_cast<int>(words.size()), MPI_UINT64_T, 0, 0, leaders);
    return;
  }
  for (int other = 1; other < nodes; ++other) {
    uint64_t theirs[2];
    MPI_Recv(theirs, 2, MPI_UINT64_T, other, 0, leaders, MPI_STATUS_IGNORE);
    words.resize(2 * (theirs[0] + theirs[1]));
    MPI_Recv(words.data(), static_cast<int>(words.size()), MPI_UINT64_T, other, 0, leaders,
             MPI_STATUS_IGNORE);
    for (uint64_t i = 0; i < theirs[0] + theirs[1]; ++i) {
      const auto count = static_cast<uint32_t>(words[2 * i]);
      if (i < theirs[0]) {
        spectrum.AddNumber(count, words[2 * i + 1]);
      } else {
        spectrum.AddTop({words[2 * i + 1], count});
      }
    }
  }
}

/** On the leader: bytes of the segment and of the private memory of all ranks of the node. */
void MeasureNode(hshm::mpi::NodeHeap& heap, uint64_t private_bytes_before, Figures& figures) {
  const uint64_t mine = PrivateBytes() - private_bytes_before;
  MPI_Reduce(&mine, &figures.private_bytes_, 1, MPI_UINT64_T, MPI_SUM, 0, heap.node_comm());
  figures.segment_bytes_ = SegmentBytes(heap.allocator()->GetRegion().base_);
  figures.nodes_ = heap.node_count();
}

hshm::mpi::NodeHeapOptions HeapOptions(const Options& options) {
  hshm::mpi::NodeHeapOptions heap;
  heap.capacity_bytes_ = options.heap_bytes_;
  heap.custom_header_bytes_ = sizeof(SharedState);
  return heap;
}

/** Collective. A node has its leader's number among the leaders. */
Nodes FindNodes(MPI_Comm comm, const hshm::mpi::NodeHeap& heap) {
  int node = 0;
  if (heap.is_leader()) MPI_Comm_rank(heap.leader_comm(), &node);
  MPI_Bcast(&node, 1, MPI_INT, 0, heap.node_comm());
  int ranks = 0;
  MPI_Comm_size(comm, &ranks);
  std::vector<int> node_of_rank(ranks);
  MPI_Allgather(&node, 1, MPI_INT, node_of_rank.data(), 1, MPI_INT, comm);
  return Nodes(std::move(node_of_rank));
}

/** Runs step; says on which node it was that there was no room, for nodes may differ in that. */
template <typename Step>
void NamingTheHost(Step&& step) {
  try {
    step();
  } catch (const InputError&) {
    throw;  // the input is the same everywhere
  } catch (const std::exception& error) {
    throw std::runtime_error("On host " + hshm::mpi::HostName() + ": " + error.what());
  }
}

void CountSlices(NodeCounter& counter, Progress& progress) {
  try {
    NamingTheHost([&] {
      counter.CountSlices([&](uint64_t done, uint64_t all) { progress.Show(done, all); });
    });
  } catch (...) {
    counter.GiveUp();
    throw;
  }
}

}  // namespace

Counted CountShared(MPI_Comm comm, const GenomeFile& file, const Options& options) {
  Counted counted;
  std::vector<Phase>& phases = counted.figures_.phases_;
  int rank = 0;
  MPI_Comm_rank(comm, &rank);
  const uint64_t private_bytes_before = PrivateBytes();

  Stopwatch watch;
  std::optional<hshm::mpi::NodeHeap> heap;
  Together(comm, [&] { heap.emplace(comm, HeapOptions(options)); });
  const Nodes nodes = FindNodes(comm, *heap);
  NodeCounter counter(*heap, file, options.k_, comm, nodes);
  phases.push_back({"set up", watch.Lap()});
  Together(comm, [&] { NamingTheHost([&] { counter.Prepare(); }); });
  Together(comm, [&] { counter.Join(); });
  phases.push_back({"read", watch.Lap()});
  {
    Progress progress(rank == 0);
    Together(comm, [&] { CountSlices(counter, progress); });
  }
  phases.push_back({"count", watch.Lap()});
  MeasureNode(*heap, private_bytes_before, counted.figures_);

  watch.Lap();
  Together(comm, [&] { counter.Prune(); });
  phases.push_back({"prune", watch.Lap()});
  Together(comm, [&] { counter.HandOver(); });
  counted.spectrum_ = counter.spectrum();
  Together(comm, [&] {
    if (heap->is_leader() && counter.MapSize() != counted.spectrum_.Distinct(2)) {
      throw std::runtime_error("The map holds " + std::to_string(counter.MapSize()) +
                               " k-mers after the removal, and not all that were seen twice.");
    }
  });
  if (heap->is_leader()) GatherNodes(heap->leader_comm(), counted.spectrum_);
  phases.push_back({"hand on", watch.Lap()});
  Together(comm, [&] { counter.Clear(); });
  return counted;
}

}  // namespace kmer_count
