#ifndef HSHM_SYNC_SHARED_LAYOUT_H_
#define HSHM_SYNC_SHARED_LAYOUT_H_

#include <type_traits>

#include "hermes_shm/base/macros.h"

namespace hshm {

/**
 * What may lie in shared memory: a class whose bytes mean the same in every process. It has to
 * follow the standard's layout rules, which exclude virtual functions and everything that contains
 * a PrivateOnly; that it holds no pointer is its author's duty.
 */
template <typename T>
concept SharedLayout = std::is_standard_layout_v<T> && !std::is_pointer_v<T>;

/**
 * As a member or base it keeps a class, and every class that contains it, out of shared memory: two
 * members with different access are not standard layout, and that is contagious. So the
 * static_assert under each shared struct refuses it.
 */
class PrivateOnly {
 private:
  char private_mark_ = 0;

 protected:
  char protected_mark_ = private_mark_;  // which so is used, and no compiler warns
};
static_assert(!SharedLayout<PrivateOnly>);

}  // namespace hshm

#endif  // HSHM_SYNC_SHARED_LAYOUT_H_
