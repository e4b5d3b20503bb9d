#include "nodes.h"

#include <algorithm>
#include <utility>

namespace kmer_count {

Nodes::Nodes(std::vector<int> node_of_rank) : node_of_rank_(std::move(node_of_rank)) {
  ranks_of_node_.resize(*std::max_element(node_of_rank_.begin(), node_of_rank_.end()) + 1);
  for (int rank = 0; rank < rank_count(); ++rank) {
    std::vector<int>& ranks = ranks_of_node_[node_of_rank_[rank]];
    place_of_rank_.push_back(static_cast<int>(ranks.size()));
    ranks.push_back(rank);
  }
  ranks_before_ = {0};
  for (const auto& ranks : ranks_of_node_) {
    ranks_before_.push_back(ranks_before_.back() + ranks.size());
  }
}

int Nodes::PartnerOf(int rank, int node) const {
  const std::vector<int>& ranks = ranks_of_node_[node];
  return ranks[static_cast<size_t>(place_of_rank_[rank]) % ranks.size()];
}

std::vector<int> Nodes::PartneredBy(int rank) const {
  std::vector<int> senders;
  for (int other = 0; other < rank_count(); ++other) {
    if (NodeOf(other) != NodeOf(rank) && PartnerOf(other, NodeOf(rank)) == rank) {
      senders.push_back(other);
    }
  }
  return senders;
}

uint64_t Nodes::BeginOf(int node, uint64_t total) const {
  const uint64_t ranks = node_of_rank_.size();
  const uint64_t before = ranks_before_[node];
  return total / ranks * before + total % ranks * before / ranks;  // total * before may overflow
}

}  // namespace kmer_count
