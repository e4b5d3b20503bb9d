#include "nodes.h"

#include <algorithm>
#include <random>

#include "catch.h"

using kmer_count::Nodes;

namespace {

/** Ranks on nodes in no order, each node with at least one. */
Nodes RandomNodes(std::mt19937& random) {
  const int count = 1 + static_cast<int>(random() % 5);
  std::vector<int> node_of_rank;
  for (int node = 0; node < count; ++node) {
    node_of_rank.insert(node_of_rank.end(), 1 + random() % 6, node);
  }
  std::shuffle(node_of_rank.begin(), node_of_rank.end(), random);
  return Nodes(node_of_rank);
}

}  // namespace

TEST_CASE("Nodes keep k-mers by their numbers of ranks") {
  const Nodes nodes({0, 0, 0, 1, 2, 2});
  std::vector<int> kept(3);
  std::mt19937_64 random(1);
  for (int i = 0; i < 60000; ++i) ++kept[nodes.OwnerOf(random() >> 2)];
  CHECK(std::abs(kept[0] - 30000) < 1000);
  CHECK(std::abs(kept[1] - 10000) < 1000);
  CHECK(std::abs(kept[2] - 20000) < 1000);
  CHECK(Nodes({0, 0}).OwnerOf(random()) == 0);
}

TEST_CASE("Shares of nodes cover everything once, in proportion to their ranks") {
  const uint32_t seed = std::random_device()();
  INFO("seed " << seed);
  std::mt19937 random(seed);
  for (int round = 0; round < 200; ++round) {
    const Nodes nodes = RandomNodes(random);
    const uint64_t total = random() % 1000;
    CHECK(nodes.BeginOf(0, total) == 0);
    CHECK(nodes.BeginOf(nodes.count(), total) == total);
    for (int node = 0; node < nodes.count(); ++node) {
      const uint64_t share = nodes.BeginOf(node + 1, total) - nodes.BeginOf(node, total);
      const uint64_t ranks = nodes.RanksOf(node).size();
      CHECK(std::abs(static_cast<double>(share) -
                     static_cast<double>(total * ranks) / nodes.rank_count()) <
            static_cast<double>(nodes.rank_count()));
    }
  }
  const uint64_t huge = uint64_t{1} << 63;
  CHECK(Nodes({0, 1, 1}).BeginOf(2, huge) == huge);
}

TEST_CASE("Each rank has one partner on each other node, who knows it") {
  const uint32_t seed = std::random_device()();
  INFO("seed " << seed);
  std::mt19937 random(seed);
  for (int round = 0; round < 200; ++round) {
    const Nodes nodes = RandomNodes(random);
    std::vector<std::vector<int>> senders(nodes.rank_count());
    for (int rank = 0; rank < nodes.rank_count(); ++rank) {
      for (int node = 0; node < nodes.count(); ++node) {
        if (node == nodes.NodeOf(rank)) continue;
        const int partner = nodes.PartnerOf(rank, node);
        CHECK(nodes.NodeOf(partner) == node);
        senders[partner].push_back(rank);
      }
    }
    for (int rank = 0; rank < nodes.rank_count(); ++rank) {
      CHECK(nodes.PartneredBy(rank) == senders[rank]);
    }
  }
}

TEST_CASE("Partners are spread over the ranks of a node") {
  const Nodes nodes({0, 0, 0, 0, 1, 1});
  CHECK(nodes.PartneredBy(4) == std::vector<int>{0, 2});
  CHECK(nodes.PartneredBy(5) == std::vector<int>{1, 3});
  CHECK(nodes.PartneredBy(0) == std::vector<int>{4});
  CHECK(nodes.PartneredBy(2).empty());
}
