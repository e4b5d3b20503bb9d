#ifndef HSHM_BASE_SIZE_TEXT_H_
#define HSHM_BASE_SIZE_TEXT_H_

#include <cstdint>
#include <string>

#include "hermes_shm/base/macros.h"

namespace hshm {

/** A size as people write it, nothing rounded off: "64 MiB", "1000 bytes". */
HSHM_API std::string SizeText(uint64_t bytes);

}  // namespace hshm

#endif  // HSHM_BASE_SIZE_TEXT_H_
