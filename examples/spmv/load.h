#ifndef HSHM_EXAMPLES_SPMV_LOAD_H_
#define HSHM_EXAMPLES_SPMV_LOAD_H_

#include <functional>
#include <memory>

#include "options.h"
#include "shared_matrix.h"
#include "team.h"

namespace spmv {

/**
 * Collective: the matrix that the options name, in the heaps. A plain file is read where it is, by
 * all ranks; a compressed one is unpacked into the heap by the node's leader, and read there.
 * @throws Failure
 */
std::unique_ptr<SharedMatrix> LoadShared(Team& team, const Options& options);

/** On the calling rank alone, in its own memory. @throws InputError */
void WithPrivateSource(const Options& options, const std::function<void(const MatrixSource&)>& use);

}  // namespace spmv

#endif  // HSHM_EXAMPLES_SPMV_LOAD_H_
