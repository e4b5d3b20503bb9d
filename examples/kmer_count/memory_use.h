#ifndef HSHM_EXAMPLES_KMER_COUNT_MEMORY_USE_H_
#define HSHM_EXAMPLES_KMER_COUNT_MEMORY_USE_H_

#include <cstdint>

namespace kmer_count {

/**
 * Bytes that this process alone makes the system keep: its anonymous pages. Pages of a shared
 * segment and of mapped files are not among them, whoever touched them.
 */
uint64_t PrivateBytes();

/**
 * Bytes that the system keeps for the shared segment that is mapped at this address, touched or
 * not: st_blocks of its file. 0 when no file that this process has open is mapped there.
 */
uint64_t SegmentBytes(const void* address);

}  // namespace kmer_count

#endif  // HSHM_EXAMPLES_KMER_COUNT_MEMORY_USE_H_
