#ifndef HSHM_EXAMPLES_KMER_COUNT_MEMORY_USE_H_
#define HSHM_EXAMPLES_KMER_COUNT_MEMORY_USE_H_

#include <cstdint>

namespace kmer_count {

/**
 * Bytes that this process alone makes the system keep: its anonymous pages. Pages of a shared
 * segment and of mapped files are not among them, whoever touched them.
 */
uint64_t PrivateBytes();

}  // namespace kmer_count

#endif  // HSHM_EXAMPLES_KMER_COUNT_MEMORY_USE_H_
