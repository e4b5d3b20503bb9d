#ifndef HSHM_EXAMPLES_KMER_COUNT_NODE_COUNTER_H_
#define HSHM_EXAMPLES_KMER_COUNT_NODE_COUNTER_H_

#include <cstdint>
#include <string_view>

#include "exchange.h"
#include "genome_file.h"
#include "handover.h"
#include "hermes_shm/data_structures/unordered_map.h"
#include "hermes_shm/mpi/node_heap.h"
#include "hermes_shm/sync/atomic.h"
#include "nodes.h"
#include "spectrum.h"

namespace kmer_count {

/** The allocator's custom header: what the ranks of a node must find before they can share. */
struct SharedState {
  hshm::Atomic<uint64_t> next_slice_;  // [any]    slices of the node's text that ranks have taken
  uint64_t text_offset_;               // [leader] unpacked text; 0: the ranks read the file itself
  uint64_t text_bytes_;                // [leader]
  uint64_t map_offset_;                // [leader]
  uint64_t ring_offset_;               // [leader]
};

/**
 * One rank's part in counting the k-mers of a node. The methods are called in their order by all
 * ranks, with a barrier after each; those that need no barrier say so.
 */
class NodeCounter {
 public:
  /** Counts the k-mers that fall to this rank's node; comm and nodes are of all ranks. */
  NodeCounter(hshm::mpi::NodeHeap& heap, const GenomeFile& file, int k, MPI_Comm comm,
              const Nodes& nodes);

  /** The leader unpacks the text into the heap and makes map and ring. */
  void Prepare();

  /** Finds what the leader prepared. */
  void Join();

  /** Takes slices of the node's share of the text until none is left, counts the node's k-mers and
   * sends the others where they are counted; show(done, all) is called now and then. */
  template <typename Show>
  void CountSlices(Show&& show) {
    exchange_.Start();
    while (const uint64_t done = CountNextSlice()) show(done, end_slice_ - first_slice_);
    exchange_.Finish([this](Kmer kmer) { Add(kmer); });
    Flush();
  }

  /** After CountSlices has thrown. The other ranks, of all nodes, stop soon and wait for nobody. */
  void GiveUp() {
    StopNode();
    exchange_.GiveUp();
  }

  /** Notes and removes the k-mers seen once, in the part of the map that belongs to the next rank.
   */
  void Prune();

  /** Parts of the spectrum go to the leader. */
  void HandOver();

  /** The leader's, after HandOver: of the whole node. */
  const Spectrum& spectrum() const { return spectrum_; }

  /** K-mers in the map now. No barrier. */
  uint64_t MapSize() const { return map_.size(); }

  /** The leader frees what it prepared. */
  void Clear();

 private:
  using Map = hipc::unordered_map<Kmer, uint32_t, hipc::MultiProcessAllocator>;

  /** K-mers on their way into the map: while a few wait, their memory comes into the cache. */
  static constexpr uint64_t kLookAhead = 16;
  static constexpr uint64_t kSliceBytes = 128 * 1024;  // evens out ranks; far above k
  static constexpr uint64_t kRingParcels = 1024;

  Map::Options MapOptions() const;

  /** @return how many slices have been taken, 0 when none was left */
  uint64_t CountNextSlice();
  uint64_t ScanSliceAt(uint64_t begin, uint64_t end);
  void StopNode() { state_->next_slice_.fetch_add(end_slice_); }
  void Add(Kmer kmer);
  void AddNow(Kmer kmer);
  void Flush();

  hshm::mpi::NodeHeap& heap_;
  hipc::MultiProcessAllocator& alloc_;
  const GenomeFile& file_;
  const int k_;
  const Nodes& nodes_;
  const int node_;
  Exchange exchange_;
  SharedState* state_;
  std::string_view text_;
  uint64_t first_slice_ = 0;  // of the node's share of the text
  uint64_t end_slice_ = 0;
  Map map_;
  ParcelRing ring_;
  Kmer waiting_[kLookAhead];
  uint64_t added_ = 0;  // k-mers that have come to Add; the last kLookAhead of them wait
  Spectrum spectrum_;
};

}  // namespace kmer_count

#endif  // HSHM_EXAMPLES_KMER_COUNT_NODE_COUNTER_H_
