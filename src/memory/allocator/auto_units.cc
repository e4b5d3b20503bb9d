#include "hermes_shm/memory/allocator/auto_units.h"

#include <algorithm>
#include <bit>

#include "hermes_shm/base/error.h"
#include "hermes_shm/base/size_text.h"

namespace hshm::ipc {
namespace {

/**
 * Headers, slots and the page table take less than this part of every region, so that a region of
 * 2^k bytes can give each of its ranks the unit that it is promised.
 */
constexpr uint64_t kOverheadPart = 8;

/** The node of one rank by the rule of AutoUnits. A rank without usable nodes may use all. */
uint32_t NodeOf(const UnitRequest& request, uint32_t rank) {
  const uint32_t asked = request.asked_.numa_node_;
  if (asked != kAnyNode && rank == request.local_rank_) return asked;
  const uint64_t ranks = request.usable_nodes_.size();
  const NodeSet& usable = request.usable_nodes_[rank];
  const uint32_t count = usable.Count();
  if (count == 0) return static_cast<uint32_t>(uint64_t{rank} * request.node_count_ / ranks);
  return usable.Nth(static_cast<uint32_t>(uint64_t{rank} * count / ranks));
}

uint64_t RoundUnit(uint64_t bytes) {
  return std::max<uint64_t>(std::bit_floor(bytes), kMinUnitBytes);
}

}  // namespace

UnitChoice AutoUnits(const UnitRequest& request) {
  const auto ranks = static_cast<uint32_t>(request.usable_nodes_.size());
  if (request.local_rank_ >= ranks || request.node_count_ == 0) {
    throw Error(ErrorCode::kOutOfRange,
                "AutoUnits was asked for rank " + std::to_string(request.local_rank_) + " of " +
                    std::to_string(ranks) + " ranks on " + std::to_string(request.node_count_) +
                    " NUMA nodes: give one set of nodes for each rank, and a rank among them.");
  }
  if (request.asked_.numa_node_ != kAnyNode && request.asked_.numa_node_ >= request.node_count_) {
    throw Error(ErrorCode::kOutOfRange,
                "Units on NUMA node " + std::to_string(request.asked_.numa_node_) +
                    " were asked for, of a machine that has " +
                    std::to_string(request.node_count_) +
                    " such nodes, counted from 0: name one of them, or none.");
  }
  UnitChoice choice;
  choice.node_ = NodeOf(request, request.local_rank_);
  choice.node_count_ = request.node_count_;
  choice.local_rank_ = request.local_rank_;
  choice.local_size_ = ranks;
  choice.is_named_ = request.asked_.numa_node_ != kAnyNode;
  choice.is_bound_ = !choice.is_named_ && request.node_count_ > 1 &&
                     request.usable_nodes_[request.local_rank_].Count() == 1;

  NodeSet nodes_in_use;
  choice.ranks_on_node_ = 0;
  for (uint32_t rank = 0; rank < ranks; ++rank) {
    const uint32_t node = NodeOf(request, rank);
    nodes_in_use.Add(node);
    if (node == choice.node_) ++choice.ranks_on_node_;
  }
  const uint64_t data_bytes = request.region_bytes_ - request.region_bytes_ / kOverheadPart;
  const uint64_t node_share = data_bytes / nodes_in_use.Count() / choice.ranks_on_node_;
  const uint64_t rank_share = data_bytes / ranks;

  choice.options_ = request.asked_;
  MultiProcessOptions& units = choice.options_;
  units.expected_processes_ = ranks;
  // On the one node of a machine everything lies already: no system call for that.
  units.numa_node_ = request.node_count_ > 1 ? choice.node_ : kAnyNode;
  units.process_unit_bytes_ =
      RoundUnit(std::min({request.asked_.process_unit_bytes_, node_share, rank_share}));
  units.thread_unit_bytes_ = RoundUnit(std::min(
      request.asked_.thread_unit_bytes_, units.process_unit_bytes_ / kThreadUnitsPerProcessUnit));
  return choice;
}

std::string UnitChoice::Describe() const {
  const char* why = is_named_ ? " (as asked)" : is_bound_ ? " (bound)" : " (by rank)";
  return "rank " + std::to_string(local_rank_) + " of " + std::to_string(local_size_) + ": node " +
         std::to_string(node_) + " of " + std::to_string(node_count_) +
         (node_count_ > 1 ? why : "") + ", process unit " + SizeText(options_.process_unit_bytes_) +
         ", thread unit " + SizeText(options_.thread_unit_bytes_);
}

}  // namespace hshm::ipc
