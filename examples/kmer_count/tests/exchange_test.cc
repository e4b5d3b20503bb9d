/**
 * Every k-mer that a rank sends to a node comes to one rank of that node, once; whoever fails keeps
 * nobody waiting. The ranks take themselves for several nodes.
 */
#include "exchange.h"

#include <cstdio>
#include <cstdlib>
#include <random>
#include <stdexcept>
#include <string>

namespace {

using kmer_count::Exchange;
using kmer_count::Kmer;
using kmer_count::Nodes;

#define EXPECT(condition)                                                                \
  do {                                                                                   \
    if (!(condition)) {                                                                  \
      std::fprintf(stderr, "%s:%d: check failed: %s\n", __FILE__, __LINE__, #condition); \
      MPI_Abort(MPI_COMM_WORLD, 1);                                                      \
    }                                                                                    \
  } while (false)

int RankIn(MPI_Comm comm) {
  int rank = 0;
  MPI_Comm_rank(comm, &rank);
  return rank;
}

/** How many k-mers of which kind have come to a rank: their number, their sum, their squares' sum.
 */
struct Tally {
  void Add(Kmer kmer) {
    ++words_[0];
    words_[1] += kmer;
    words_[2] += kmer * kmer;
  }
  uint64_t words_[3] = {};
};

/** What went to a node must be what came to its ranks together. */
void ExpectSame(const Nodes& nodes, const std::vector<Tally>& sent, const Tally& came) {
  const int mine = nodes.NodeOf(RankIn(MPI_COMM_WORLD));
  for (int node = 0; node < nodes.count(); ++node) {
    const Tally here = node == mine ? came : Tally();
    uint64_t all_sent[3];
    uint64_t all_came[3];
    MPI_Allreduce(sent[node].words_, all_sent, 3, MPI_UINT64_T, MPI_SUM, MPI_COMM_WORLD);
    MPI_Allreduce(here.words_, all_came, 3, MPI_UINT64_T, MPI_SUM, MPI_COMM_WORLD);
    for (int i = 0; i < 3; ++i) EXPECT(all_sent[i] == all_came[i]);
  }
}

/** Each rank sends `count` k-mers, of its own choice, to nodes of its own choice. */
void TestAllArrive(const Nodes& nodes, uint64_t count, uint32_t seed) {
  std::mt19937_64 random(seed + 977 * RankIn(MPI_COMM_WORLD));
  std::vector<Tally> sent(nodes.count());
  Tally came;
  const auto take = [&](Kmer kmer) { came.Add(kmer); };
  const int mine = nodes.NodeOf(RankIn(MPI_COMM_WORLD));
  Exchange exchange(MPI_COMM_WORLD, nodes);
  exchange.Start();
  for (uint64_t i = 0; i < count; ++i) {
    const Kmer kmer = random() >> 2;
    const int node = static_cast<int>(kmer % nodes.count());
    if (node == mine) continue;
    sent[node].Add(kmer);
    exchange.Send(node, kmer, take);
    if (i % 1000 == 0) exchange.Receive(take);
  }
  exchange.Finish(take);
  EXPECT(!exchange.HasHeardOfFailure());
  ExpectSame(nodes, sent, came);
}

/** One rank has no room for the k-mer number `last`: all others hear of it or finish. */
void TestOneGivesUp(const Nodes& nodes, int victim, uint64_t last) {
  const int rank = RankIn(MPI_COMM_WORLD);
  const int mine = nodes.NodeOf(rank);
  uint64_t came = 0;
  const auto take = [&](Kmer) {
    if (rank == victim && ++came > last) throw std::runtime_error("no room");
  };
  Exchange exchange(MPI_COMM_WORLD, nodes);
  exchange.Start();
  try {
    if (rank == victim && last == 0) throw std::runtime_error("bad input");
    for (uint64_t i = 0; i < 300'000 && !exchange.HasHeardOfFailure(); ++i) {
      const int node = static_cast<int>(i % nodes.count());
      if (node != mine) exchange.Send(node, i, take);
    }
    exchange.Finish(take);
  } catch (const std::runtime_error&) {
    exchange.GiveUp();
    exchange.GiveUp();  // the second changes nothing
  }
  int has_heard = exchange.HasHeardOfFailure() ? 1 : 0;
  MPI_Allreduce(MPI_IN_PLACE, &has_heard, 1, MPI_INT, MPI_MAX, MPI_COMM_WORLD);
  EXPECT(last != 0 || has_heard == 1);
}

void TestLayout(const Nodes& nodes, uint32_t seed) {
  for (const uint64_t count : {0, 1, 700, 8191, 16382, 100'000}) TestAllArrive(nodes, count, seed);
  TestAllArrive(nodes, RankIn(MPI_COMM_WORLD) == 0 ? 50'000 : 3, seed);
  for (const uint64_t last : {0, 1, 40'000}) TestOneGivesUp(nodes, nodes.rank_count() - 1, last);
  TestAllArrive(nodes, 1000, seed);  // nothing of what went before is left in MPI
}

}  // namespace

int main(int argc, char** argv) {
  MPI_Init(&argc, &argv);
  int ranks = 0;
  MPI_Comm_size(MPI_COMM_WORLD, &ranks);
  const char* expected = std::getenv("HSHM_EXPECT_RANKS");
  EXPECT(expected == nullptr || std::atoi(expected) == ranks);
  uint32_t seed = std::random_device()();
  MPI_Bcast(&seed, 1, MPI_UINT32_T, 0, MPI_COMM_WORLD);
  if (RankIn(MPI_COMM_WORLD) == 0) std::printf("seed %u\n", seed);

  std::vector<int> own;
  std::vector<int> alternating;
  std::vector<int> last_alone;
  for (int rank = 0; rank < ranks; ++rank) {
    own.push_back(rank);
    alternating.push_back(rank % 2);
    last_alone.push_back(rank == ranks - 1 ? 1 : 0);
  }
  for (const auto& node_of_rank : {own, alternating, last_alone}) {
    TestLayout(Nodes(node_of_rank), seed);
  }
  if (RankIn(MPI_COMM_WORLD) == 0) std::printf("exchange: ok on %d ranks\n", ranks);
  MPI_Finalize();
}
