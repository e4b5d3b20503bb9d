#ifndef HSHM_DATA_STRUCTURES_SHAREABLE_H_
#define HSHM_DATA_STRUCTURES_SHAREABLE_H_

#include <cstddef>
#include <type_traits>

#include "hermes_shm/base/macros.h"

namespace hshm::ipc {

/** Bytes. Processes map a region at multiples of a page, so that is all they have in common; on an
 * ArrayBackend it is what its array is aligned to. */
inline constexpr std::size_t kMaxShareableAlignment = 4096;

/**
 * What the containers and rings hold: values that are the same bytes in every process and that may
 * be moved as bytes. That excludes addresses (T*, references, virtual functions, most std:: types)
 * and rel_ptr, which means another place wherever it is copied to as bytes. OffsetPtr is fine. Of
 * an address inside a struct the language cannot tell: that is the user's part.
 */
template <typename T>
concept Shareable =
    std::is_trivially_copyable_v<T> && std::is_object_v<T> && !std::is_pointer_v<T> &&
    !std::is_const_v<T> && !std::is_volatile_v<T> && alignof(T) <= kMaxShareableAlignment;

}  // namespace hshm::ipc

#endif  // HSHM_DATA_STRUCTURES_SHAREABLE_H_
