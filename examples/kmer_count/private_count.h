#ifndef HSHM_EXAMPLES_KMER_COUNT_PRIVATE_COUNT_H_
#define HSHM_EXAMPLES_KMER_COUNT_PRIVATE_COUNT_H_

#include <cstdint>
#include <string>
#include <string_view>

#include "genome_file.h"
#include "spectrum.h"

namespace kmer_count {

struct PrivateCount {
  Spectrum spectrum_;
  double read_seconds_ = 0;     // unpacking; a plain file is read while counting
  double count_seconds_ = 0;    // with the spectrum
  uint64_t private_bytes_ = 0;  // what the map and the text added to this process
};

/**
 * Counts all k-mers of a genome in a std::unordered_map of this process: what each rank would do
 * without shared memory, and what the shared result is compared with.
 * @throws InputError
 */
PrivateCount CountPrivately(const GenomeFile& file, int k);

}  // namespace kmer_count

#endif  // HSHM_EXAMPLES_KMER_COUNT_PRIVATE_COUNT_H_
