#ifndef HSHM_EXAMPLES_SPMV_MEMORY_USE_H_
#define HSHM_EXAMPLES_SPMV_MEMORY_USE_H_

#include <cstdint>

namespace spmv {

/** Anonymous bytes of this process: what it alone makes the system keep. */
uint64_t PrivateBytes();

/** Bytes that the system keeps for the shared file mapped at this address, touched or not. */
uint64_t SegmentBytes(const void* address);

}  // namespace spmv

#endif  // HSHM_EXAMPLES_SPMV_MEMORY_USE_H_
