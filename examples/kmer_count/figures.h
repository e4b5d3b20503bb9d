#ifndef HSHM_EXAMPLES_KMER_COUNT_FIGURES_H_
#define HSHM_EXAMPLES_KMER_COUNT_FIGURES_H_

#include <cstdint>
#include <string>
#include <vector>

#include "spectrum.h"

namespace kmer_count {

struct Phase {
  std::string name_;
  double seconds_;
};

/** What a count cost. Bytes are those of rank 0's node, at their peak, with the map full. */
struct Figures {
  int ranks_ = 1;
  int nodes_ = 1;
  std::vector<Phase> phases_;
  uint64_t segment_bytes_ = 0;  // that the system keeps for the shared heap
  uint64_t private_bytes_ = 0;  // of all ranks of the node, beyond an empty MPI job's

  double Seconds() const {
    double sum = 0;
    for (const Phase& phase : phases_) sum += phase.seconds_;
    return sum;
  }
};

struct Counted {
  Spectrum spectrum_;  // complete on rank 0
  Figures figures_;    // complete on rank 0
};

}  // namespace kmer_count

#endif  // HSHM_EXAMPLES_KMER_COUNT_FIGURES_H_
