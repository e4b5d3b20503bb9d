#ifndef HSHM_BENCH_LOOPS_RESIDENT_H_
#define HSHM_BENCH_LOOPS_RESIDENT_H_

#include <cstdint>

namespace hshm::bench {

/**
 * Memory that the heaps of this process have from the system, in bytes: its anonymous pages, and
 * all blocks of the files in memory that it has open, which are there whether they are mapped,
 * touched or neither. (Pss and Rss miss what was committed and not touched.)
 */
uint64_t HeapMemoryBytes();

/** The most that was resident in this process, in bytes, its program included. (What a parent is
 * told about a child, ru_maxrss, counts the parent's own memory before exec.) */
uint64_t PeakResidentBytes();

}  // namespace hshm::bench

#endif  // HSHM_BENCH_LOOPS_RESIDENT_H_
