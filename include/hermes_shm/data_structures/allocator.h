#ifndef HSHM_DATA_STRUCTURES_ALLOCATOR_H_
#define HSHM_DATA_STRUCTURES_ALLOCATOR_H_

#include <cstddef>
#include <limits>
#include <new>
#include <type_traits>

#include "hermes_shm/base/check.h"
#include "hermes_shm/base/defects.h"
#include "hermes_shm/data_structures/shareable.h"
#include "hermes_shm/intrusive/rel_ptr.h"
#include "hermes_shm/memory/allocator/attached_allocators.h"
#include "hermes_shm/memory/allocator/multi_process_allocator.h"

namespace hshm {

namespace detail {
/**
 * What libstdc++ allocates for containers that take an allocator with rel_ptr but store addresses
 * all the same: the buckets of unordered containers, the nodes of forward_list.
 */
template <typename T>
inline constexpr bool kStoresAddresses = std::is_pointer_v<T>;
template <typename T>
requires std::is_pointer_v<decltype(T::_M_next)>
inline constexpr bool kStoresAddresses<T> = true;
}  // namespace detail

/**
 * Puts a container of the standard library or of Boost into a region, where other processes use it
 * at other addresses: all that the container stores are rel_ptr. The container itself must lie in
 * the region as well (alloc->NewObj). docs/stl.md says which containers can be shared: those that
 * honour an allocator's pointer type, std::vector and boost::container among them, and not
 * std::list, std::map or std::unordered_map of libstdc++.
 *
 *     using Values = std::vector<int, hshm::allocator<int>>;
 *     auto values = alloc->NewObj<Values>(ctx, hshm::allocator<int>(alloc));
 *     alloc->SetRoot("values", values);                       // another process:
 *     alloc->FindRoot<Values>("values").ptr_->push_back(1);   // after AttachAlloc
 *
 * Stored with the container is where its region begins. From there the process finds its own
 * handle, among those that it has attached (see AttachedAllocator): who reads only needs the
 * mapping, who inserts or erases without an attached allocator is stopped by defect::NotAttached.
 *
 * A Cpp17Allocator. The one place of the library where no room throws: std::bad_alloc. It is
 * neither copied nor swapped along with contents: as with std::pmr, a container stays where it was
 * made. Equal when the region is the same. Containers have no protocol against deaths and no lock.
 */
template <typename T, typename AllocT = ipc::MultiProcessAllocator>
class allocator {
 public:
  using value_type = T;
  using pointer = ipc::rel_ptr<T>;
  using const_pointer = ipc::rel_ptr<const T>;
  using void_pointer = ipc::rel_ptr<void>;
  using const_void_pointer = ipc::rel_ptr<const void>;
  using size_type = std::size_t;
  using difference_type = std::ptrdiff_t;
  using propagate_on_container_copy_assignment = std::false_type;
  using propagate_on_container_move_assignment = std::false_type;
  using propagate_on_container_swap = std::false_type;
  using is_always_equal = std::false_type;
  template <typename U>
  struct rebind {
    using other = allocator<U, AllocT>;
  };

  /** alloc is attached. */
  allocator(AllocT* alloc) noexcept : region_(alloc->GetRegion().base_) {  // NOLINT: as std::pmr
    HSHM_CHECK(region_ != nullptr);
  }
  template <typename U>
  allocator(const allocator<U, AllocT>& other) noexcept : region_(other.region_start()) {
    static_assert(!(std::is_same_v<U, bool> && std::is_same_v<T, unsigned long>),
                  "std::vector<bool> stores addresses and cannot be shared: use a vector of bytes, "
                  "or boost::container::vector<bool>");
  }

  /** count objects, not constructed. @throws std::bad_array_new_length, std::bad_alloc */
  [[nodiscard]] pointer allocate(size_type count) {
    static_assert(!detail::kStoresAddresses<T>,
                  "This container stores addresses and cannot be shared: see docs/stl.md");
    static_assert(alignof(T) <= ipc::kMaxShareableAlignment,
                  "Processes map a region at multiples of a page: no more alignment is shared");
    if (count > std::numeric_limits<size_type>::max() / sizeof(T)) {
      throw std::bad_array_new_length();
    }
    const ipc::FullPtr<T> made = Handle()->template AllocateObjs<T>(HSHM_DEFAULT_MEM_CTX, count);
    if (made.IsNull()) throw std::bad_alloc();
    return pointer(made.ptr_);
  }

  void deallocate(pointer first, size_type) noexcept {
    AllocT* const handle = Handle();
    handle->FreeOffset(HSHM_DEFAULT_MEM_CTX,
                       ipc::OffsetPtr<>(handle->ToOffset(first.get()).load()));
  }

  /** This process's handle of the region's allocator. Stops with NotAttached without one. */
  AllocT* Handle() const noexcept {
    ipc::AllocatorCore* const found = ipc::AttachedAllocator::Find(region_.get());
    if (HSHM_UNLIKELY(found == nullptr)) defect::NotAttached("hshm::allocator");
    return static_cast<AllocT*>(found);
  }

  const ipc::rel_ptr<char>& region_start() const noexcept { return region_; }

  template <typename U>
  friend bool operator==(const allocator& a, const allocator<U, AllocT>& b) noexcept {
    return a.region_ == b.region_start();
  }

 private:
  ipc::rel_ptr<char> region_;  // [init] where the region begins
};

}  // namespace hshm

#endif  // HSHM_DATA_STRUCTURES_ALLOCATOR_H_
