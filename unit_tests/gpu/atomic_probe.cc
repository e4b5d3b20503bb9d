/**
 * One kernel for each operation of Atomic and for HSHM_CHECK, so that check_code.py can look at
 * what becomes of it. Never run.
 */
#include <cstdint>

#include "hermes_shm/base/check.h"
#include "hermes_shm/sync/atomic.h"

#if !HSHM_CUDA_COMPILER && !HSHM_HIP_COMPILER
#error "This file is for nvcc and hipcc"
#endif

using Word = hshm::Atomic<uint64_t>;
using HalfWord = hshm::Atomic<uint32_t>;

// relaxed, acquire and release pairs with nothing: these kernels are looked at, not run.
extern "C" {

__global__ void load_relaxed(Word* word, uint64_t* out) {
  *out = word->load(std::memory_order_relaxed);  // relaxed: as above
}
__global__ void load_acquire(Word* word, uint64_t* out) {
  *out = word->load(std::memory_order_acquire);  // pairs with nothing, as above
}
__global__ void load_seq_cst(Word* word, uint64_t* out) { *out = word->load(); }

__global__ void store_relaxed(Word* word, uint64_t* in) {
  word->store(*in, std::memory_order_relaxed);  // relaxed: as above
}
__global__ void store_release(Word* word, uint64_t* in) {
  word->store(*in, std::memory_order_release);  // pairs with nothing, as above
}
__global__ void store_seq_cst(Word* word, uint64_t* in) { word->store(*in); }

__global__ void exchange_acquire(Word* word, uint64_t* out) {
  *out = word->exchange(*out, std::memory_order_acquire);  // pairs with nothing, as above
}
__global__ void cas_acq_rel(Word* word, uint64_t* out) {
  uint64_t expected = *out;
  *out = word->compare_exchange_weak(expected, 7,
                                     std::memory_order_acq_rel,   // pairs with nothing
                                     std::memory_order_relaxed);  // relaxed: as above
}
__global__ void cas_seq_cst(HalfWord* word, uint32_t* out) {
  uint32_t expected = *out;
  *out = word->compare_exchange_strong(expected, 7);
}
__global__ void add_relaxed(Word* word, uint64_t* out) {
  *out = word->fetch_add(*out, std::memory_order_relaxed);  // relaxed: as above
}
__global__ void sub_release(Word* word, uint64_t* out) {
  *out = word->fetch_sub(*out, std::memory_order_release);  // pairs with nothing, as above
}
__global__ void or_seq_cst(Word* word, uint64_t* out) { *out = word->fetch_or(*out); }
__global__ void and_acq_rel(Word* word, uint64_t* out) {
  *out = word->fetch_and(*out, std::memory_order_acq_rel);  // pairs with nothing, as above
}

__global__ void check_stops(const uint64_t* in) { HSHM_CHECK(*in != 0); }
}
