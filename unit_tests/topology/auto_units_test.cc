#include "hermes_shm/memory/allocator/auto_units.h"

#include <random>
#include <vector>

#include "hermes_shm/base/error.h"
#include "support/catch.h"

namespace {

using hshm::Error;
using hshm::ErrorCode;
using hshm::NodeSet;
using hshm::operator""_KiB;
using hshm::operator""_MiB;
using hshm::operator""_GiB;
using hshm::ipc::AutoUnits;
using hshm::ipc::OnDeath;
using hshm::ipc::UnitChoice;
using hshm::ipc::UnitRequest;

NodeSet Nodes(const std::vector<uint32_t>& nodes) {
  NodeSet set;
  for (const uint32_t node : nodes) set.Add(node);
  return set;
}

/** The choices of all ranks. */
std::vector<UnitChoice> Choose(UnitRequest request, const std::vector<NodeSet>& usable) {
  request.usable_nodes_ = usable;
  std::vector<UnitChoice> choices;
  for (uint32_t rank = 0; rank < usable.size(); ++rank) {
    request.local_rank_ = rank;
    choices.push_back(AutoUnits(request));
  }
  return choices;
}

UnitRequest Request(uint64_t region_bytes, uint32_t node_count) {
  UnitRequest request;
  request.region_bytes_ = region_bytes;
  request.node_count_ = node_count;
  return request;
}

ErrorCode CodeOf(const UnitRequest& request) {
  try {
    static_cast<void>(AutoUnits(request));
  } catch (const Error& error) {
    return error.code();
  }
  return ErrorCode::kNone;
}

}  // namespace

TEST_CASE("AutoUnits gives 8 unbound ranks two to each of 4 nodes") {
  const std::vector<NodeSet> usable(8, Nodes({0, 1, 2, 3}));
  const auto choices = Choose(Request(1_GiB, 4), usable);
  for (uint32_t rank = 0; rank < 8; ++rank) {
    CHECK(choices[rank].node_ == rank / 2);
    CHECK(choices[rank].ranks_on_node_ == 2);
    CHECK_FALSE(choices[rank].is_bound_);
  }
}

TEST_CASE("AutoUnits gives a rank that is bound inside one node that node") {
  const auto choices =
      Choose(Request(1_GiB, 4), {Nodes({3}), Nodes({1}), Nodes({0, 1, 2, 3}), Nodes({0})});
  CHECK(choices[0].node_ == 3);
  CHECK(choices[0].is_bound_);
  CHECK(choices[1].node_ == 1);
  CHECK(choices[2].node_ == 2);
  CHECK_FALSE(choices[2].is_bound_);
  CHECK(choices[3].node_ == 0);
}

TEST_CASE("AutoUnits keeps a rank inside the nodes that it may use") {
  const std::vector<NodeSet> usable(4, Nodes({1, 3}));
  const auto choices = Choose(Request(1_GiB, 4), usable);
  CHECK(choices[0].node_ == 1);
  CHECK(choices[1].node_ == 1);
  CHECK(choices[2].node_ == 3);
  CHECK(choices[3].node_ == 3);
}

TEST_CASE("AutoUnits lets a rank that may use no node spread over all of them") {
  const auto choices = Choose(Request(1_GiB, 2), {NodeSet(), NodeSet()});
  CHECK(choices[0].node_ == 0);
  CHECK(choices[1].node_ == 1);
}

TEST_CASE("AutoUnits gives the ranks of a crowded node smaller units") {
  const auto choices = Choose(
      Request(1_GiB, 2), {Nodes({0}), Nodes({0}), Nodes({0}), Nodes({0}), Nodes({0}), Nodes({1})});
  CHECK(choices[0].ranks_on_node_ == 5);
  CHECK(choices[0].options_.process_unit_bytes_ == 64_MiB);  // 7/8 GiB / 2 nodes / 5 ranks
  CHECK(choices[5].ranks_on_node_ == 1);
  CHECK(choices[5].options_.process_unit_bytes_ == 128_MiB);  // at most 7/8 GiB / 6 ranks
}

TEST_CASE("AutoUnits describes its choice in one line") {
  const auto choices = Choose(Request(1_GiB, 4), {Nodes({0}), Nodes({0}), Nodes({1}), Nodes({1}),
                                                  Nodes({2}), Nodes({2}), Nodes({3}), Nodes({3})});
  CHECK(choices[3].Describe() ==
        "rank 3 of 8: node 1 of 4 (bound), process unit 64 MiB, thread unit 4 MiB");
  const auto alone = Choose(Request(256_KiB, 1), {Nodes({0})});
  CHECK(alone[0].Describe() ==
        "rank 0 of 1: node 0 of 1, process unit 128 KiB, thread unit 64 KiB");
  const auto spread = Choose(Request(1_GiB, 2), {Nodes({0, 1}), Nodes({0, 1})});
  CHECK(spread[1].Describe() ==
        "rank 1 of 2: node 1 of 2 (by rank), process unit 256 MiB, thread unit 16 MiB");
  UnitRequest request = Request(1_GiB, 2);
  request.asked_.numa_node_ = 1;
  const auto named = Choose(request, {Nodes({1}), Nodes({1})});
  CHECK(named[0].Describe() ==
        "rank 0 of 2: node 1 of 2 (as asked), process unit 256 MiB, thread unit 16 MiB");
}

TEST_CASE("AutoUnits calls no rank bound that named its node, or whose machine has one") {
  CHECK_FALSE(Choose(Request(1_GiB, 1), {Nodes({0})})[0].is_bound_);
  UnitRequest request = Request(1_GiB, 2);
  CHECK(Choose(request, {Nodes({0})})[0].is_bound_);
  CHECK_FALSE(Choose(request, {Nodes({0})})[0].is_named_);
  request.asked_.numa_node_ = 0;
  CHECK_FALSE(Choose(request, {Nodes({0})})[0].is_bound_);
  CHECK(Choose(request, {Nodes({0})})[0].is_named_);
}

TEST_CASE("AutoUnits gives no more than was asked for and passes the rest on") {
  UnitRequest request = Request(64_GiB, 1);
  request.asked_.process_unit_bytes_ = 32_MiB;
  request.asked_.thread_unit_bytes_ = 1_MiB;
  request.asked_.on_death_ = OnDeath::kReclaim;
  const auto choices = Choose(request, {Nodes({0}), Nodes({0})});
  CHECK(choices[1].options_.process_unit_bytes_ == 32_MiB);
  CHECK(choices[1].options_.thread_unit_bytes_ == 1_MiB);
  CHECK(choices[1].options_.expected_processes_ == 2);
  CHECK(choices[1].options_.on_death_ == OnDeath::kReclaim);
}

TEST_CASE("AutoUnits has a rank's units placed on its node where there are several") {
  const std::vector<NodeSet> usable(4, Nodes({0, 1}));
  const auto choices = Choose(Request(1_GiB, 2), usable);
  CHECK(choices[0].options_.numa_node_ == 0);
  CHECK(choices[3].options_.numa_node_ == 1);
  CHECK(Choose(Request(1_GiB, 1), usable)[3].options_.numa_node_ == hshm::ipc::kAnyNode);
}

TEST_CASE("AutoUnits follows a rank that asks for a node of the machine, and refuses others") {
  const std::vector<NodeSet> usable(4, Nodes({0}));
  UnitRequest request = Request(1_GiB, 2);
  request.usable_nodes_ = usable;
  request.local_rank_ = 2;
  request.asked_.numa_node_ = 1;
  const UnitChoice choice = AutoUnits(request);
  CHECK(choice.node_ == 1);
  CHECK(choice.ranks_on_node_ == 1);
  CHECK(choice.options_.numa_node_ == 1);
  request.asked_.numa_node_ = 2;
  CHECK(CodeOf(request) == ErrorCode::kOutOfRange);
}

TEST_CASE("AutoUnits shares a node among all ranks that named it") {
  const std::vector<NodeSet> usable(8, Nodes({0}));
  UnitRequest request = Request(1_GiB, 4);
  request.asked_.numa_node_ = 0;
  for (const UnitChoice& choice : Choose(request, usable)) {
    CHECK(choice.node_ == 0);
    CHECK(choice.ranks_on_node_ == 8);
    CHECK(choice.options_.process_unit_bytes_ == 64_MiB);  // 7/8 GiB / 8 ranks
  }
}

TEST_CASE("AutoUnits refuses a rank that is none of the ranks, and no nodes at all") {
  const std::vector<NodeSet> usable(2, Nodes({0}));
  UnitRequest request = Request(1_MiB, 1);
  CHECK(CodeOf(request) == ErrorCode::kOutOfRange);
  request.usable_nodes_ = usable;
  CHECK(CodeOf(request) == ErrorCode::kNone);
  request.local_rank_ = 2;
  CHECK(CodeOf(request) == ErrorCode::kOutOfRange);
  request.local_rank_ = 1;
  request.node_count_ = 0;
  CHECK(CodeOf(request) == ErrorCode::kOutOfRange);
}

TEST_CASE("AutoUnits choices fit the region for any machine and any binding") {
  const uint32_t seed = std::random_device()();
  INFO("seed " << seed);
  std::mt19937 random(seed);
  for (int trial = 0; trial < 500; ++trial) {
    const uint32_t node_count = 1 + random() % 16;
    std::vector<NodeSet> usable(1 + random() % 64);
    for (NodeSet& set : usable) {
      const uint32_t members = random() % (node_count + 1);
      for (uint32_t i = 0; i < members; ++i) set.Add(random() % node_count);
    }
    const uint64_t region_bytes = 64_KiB * 8 * usable.size() + (uint64_t{random()} << random() % 8);
    uint64_t sum = 0;
    for (const UnitChoice& choice : Choose(Request(region_bytes, node_count), usable)) {
      const NodeSet& allowed = usable[choice.local_rank_];
      CHECK((allowed.Count() == 0 || allowed.Contains(choice.node_)));
      CHECK(choice.node_ < node_count);
      CHECK(std::has_single_bit(choice.options_.process_unit_bytes_));
      CHECK(std::has_single_bit(choice.options_.thread_unit_bytes_));
      CHECK(choice.options_.thread_unit_bytes_ >= hshm::ipc::kMinUnitBytes);
      CHECK(choice.options_.thread_unit_bytes_ <= choice.options_.process_unit_bytes_);
      sum += choice.options_.process_unit_bytes_;
    }
    REQUIRE(sum < region_bytes);
  }
}
