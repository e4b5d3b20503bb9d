#ifndef HSHM_EXAMPLES_KMER_COUNT_SHARED_COUNT_H_
#define HSHM_EXAMPLES_KMER_COUNT_SHARED_COUNT_H_

#include <mpi.h>

#include "figures.h"
#include "genome_file.h"
#include "options.h"

namespace kmer_count {

/**
 * Collective: counts the k-mers of a genome in one map per node that all ranks of the node fill.
 * With several nodes, each counts the k-mers that fall to it; all ranks share the reading.
 * @throws Failure, the same on all ranks
 */
Counted CountShared(MPI_Comm comm, const GenomeFile& file, const Options& options);

}  // namespace kmer_count

#endif  // HSHM_EXAMPLES_KMER_COUNT_SHARED_COUNT_H_
