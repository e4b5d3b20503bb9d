#ifndef HSHM_DATA_STRUCTURES_MEMORY_RESOURCE_H_
#define HSHM_DATA_STRUCTURES_MEMORY_RESOURCE_H_

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory_resource>
#include <new>

#include "hermes_shm/base/check.h"
#include "hermes_shm/memory/allocator/multi_process_allocator.h"

namespace hshm {

/**
 * The memory of std::pmr containers of one process comes from the heap: they may outgrow what the
 * process has of its own, and what they free is there for all ranks.
 *
 *     hshm::memory_resource resource(alloc);
 *     std::pmr::unordered_map<int, int> counts(&resource);
 *
 * Only this process uses such a container: it stores addresses, and one of this object, which has
 * virtual functions. So it lies in private memory and outlives its containers, which keep one
 * allocator handle attached. To share a container, see hshm::allocator. Safe from several threads.
 */
template <typename AllocT = ipc::MultiProcessAllocator>
class memory_resource final : public std::pmr::memory_resource {
 public:
  /** alloc is attached and outlives this. */
  explicit memory_resource(AllocT* alloc) noexcept : alloc_(alloc) {
    HSHM_CHECK(alloc != nullptr);
    HSHM_CHECK(!alloc->Contains(this));
  }

  AllocT* alloc() const noexcept { return alloc_; }

 private:
  /** @throws std::bad_alloc */
  void* do_allocate(std::size_t size_bytes, std::size_t alignment) override {
    if (IsBeyondBase(alignment)) return AllocateInLarger(size_bytes, alignment);
    const ipc::OffsetPtr<> made =
        alignment <= ipc::kDefaultAlignment
            ? alloc_->AllocateOffset(HSHM_DEFAULT_MEM_CTX, size_bytes)
            : alloc_->AlignedAllocateOffset(HSHM_DEFAULT_MEM_CTX, size_bytes, alignment);
    if (made.IsNull()) throw std::bad_alloc();
    return alloc_->GetRegion().AddressOf(made.load());
  }

  void do_deallocate(void* block, std::size_t, std::size_t alignment) override {
    const uint64_t offset = IsBeyondBase(alignment) ? OffsetInFrontOf(static_cast<char*>(block))
                                                    : alloc_->GetRegion().OffsetOf(block);
    alloc_->FreeOffset(HSHM_DEFAULT_MEM_CTX, ipc::OffsetPtr<>(offset));
  }

  /** Allocators align offsets, so an address is aligned as far as the region's base is. A mapping
   * begins at a page; who asks for more gets a place inside of a larger block. */
  bool IsBeyondBase(std::size_t alignment) const noexcept {
    return alignment > ipc::kDefaultAlignment &&
           reinterpret_cast<uintptr_t>(alloc_->GetRegion().base_) % alignment != 0;
  }
  /** The larger block's offset lies in the word in front of the place. */
  static uint64_t OffsetInFrontOf(const char* place) noexcept {
    uint64_t offset = 0;
    std::memcpy(&offset, place - sizeof(offset), sizeof(offset));
    return offset;
  }
  void* AllocateInLarger(std::size_t size_bytes, std::size_t alignment) {
    if (size_bytes > ~std::size_t{0} - alignment) throw std::bad_alloc();
    const ipc::OffsetPtr<> made =
        alloc_->AllocateOffset(HSHM_DEFAULT_MEM_CTX, size_bytes + alignment);
    if (made.IsNull()) throw std::bad_alloc();
    const uint64_t offset = made.load();
    char* const block = alloc_->GetRegion().AddressOf(offset);
    // A block begins at a multiple of 16 bytes and the place behind it, so the word fits between.
    char* const place = block + (alignment - reinterpret_cast<uintptr_t>(block) % alignment);
    std::memcpy(place - sizeof(offset), &offset, sizeof(offset));
    return place;
  }

  /** One region: either may free what the other allocated. */
  bool do_is_equal(const std::pmr::memory_resource& other) const noexcept override {
    const auto* const same = dynamic_cast<const memory_resource*>(&other);
    return same != nullptr && same->alloc_->GetRegion().base_ == alloc_->GetRegion().base_;
  }

  AllocT* alloc_;
};

}  // namespace hshm

#endif  // HSHM_DATA_STRUCTURES_MEMORY_RESOURCE_H_
