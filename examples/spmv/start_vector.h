#ifndef HSHM_EXAMPLES_SPMV_START_VECTOR_H_
#define HSHM_EXAMPLES_SPMV_START_VECTOR_H_

#include <cstdint>

namespace spmv {

/** What is multiplied, iterated from, and to be found again: 1, 1.125 .. 1.75, 1, 1.125 .. */
inline double StartValue(uint64_t index) { return 1 + static_cast<double>(index % 7) / 8; }

}  // namespace spmv

#endif  // HSHM_EXAMPLES_SPMV_START_VECTOR_H_
