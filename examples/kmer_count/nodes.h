#ifndef HSHM_EXAMPLES_KMER_COUNT_NODES_H_
#define HSHM_EXAMPLES_KMER_COUNT_NODES_H_

#include <cstdint>
#include <vector>

#include "kmer.h"

namespace kmer_count {

/**
 * Which ranks are on which node, and what follows from it: who counts a k-mer, who reads which part
 * of the text, who sends to whom. The same on all ranks. No MPI in here.
 *
 * All that is shared out goes by ranks, not by nodes: a node with half the ranks keeps half as many
 * k-mers and reads half as much text, so that all nodes are done at the same time.
 */
class Nodes {
 public:
  /** node_of_rank[r] is the node of rank r; nodes are numbered from 0, and each has a rank. */
  explicit Nodes(std::vector<int> node_of_rank);

  int count() const { return static_cast<int>(ranks_of_node_.size()); }
  int rank_count() const { return static_cast<int>(node_of_rank_.size()); }
  int NodeOf(int rank) const { return node_of_rank_[rank]; }
  /** In ascending order. */
  const std::vector<int>& RanksOf(int node) const { return ranks_of_node_[node]; }

  /** The node in whose map a k-mer is counted: that of the rank to which a hash gives it. */
  int OwnerOf(Kmer kmer) const {
    constexpr uint64_t kGolden = 0x9e3779b97f4a7c15;  // 2^64 / golden ratio: Fibonacci hashing
    const uint64_t hash = (kmer * kGolden) >> 32;     // another one than the map's
    return node_of_rank_[(hash * node_of_rank_.size()) >> 32];
  }

  /**
   * The one rank of another node to which `rank` sends what that node counts. Ranks that have the
   * same place on their nodes are partners; where a node has fewer, its ranks serve several. So a
   * rank has one partner a node however many ranks there are, and all of a node take part.
   */
  int PartnerOf(int rank, int node) const;

  /** All ranks whose partner `rank` is, in ascending order. */
  std::vector<int> PartneredBy(int rank) const;

  /**
   * Where a node's share of `total` equal pieces begins. Shares follow each other without gaps,
   * from BeginOf(0) = 0 to BeginOf(count()) = total.
   */
  uint64_t BeginOf(int node, uint64_t total) const;

 private:
  std::vector<int> node_of_rank_;
  std::vector<int> place_of_rank_;  // among the ranks of its node
  std::vector<std::vector<int>> ranks_of_node_;
  std::vector<uint64_t> ranks_before_;  // on nodes with lower numbers; one entry more than nodes
};

}  // namespace kmer_count

#endif  // HSHM_EXAMPLES_KMER_COUNT_NODES_H_
