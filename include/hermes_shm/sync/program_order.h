#ifndef HSHM_SYNC_PROGRAM_ORDER_H_
#define HSHM_SYNC_PROGRAM_ORDER_H_

#include "hermes_shm/base/macros.h"

namespace hshm {

/**
 * The compiler moves no load or store across this point. A process that is killed has finished
 * exactly the stores that precede the instruction it was cut at, on every processor; so where the
 * order of two stores matters for a death alone, this is all it takes. Orders nothing between
 * threads, and is no instruction.
 */
HSHM_INLINE_CROSS_FUN void KeepProgramOrder() noexcept { asm volatile("" ::: "memory"); }

}  // namespace hshm

#endif  // HSHM_SYNC_PROGRAM_ORDER_H_
