#ifndef HSHM_UNIT_TESTS_BACKEND_PROBE_ALLOCATOR_H_
#define HSHM_UNIT_TESTS_BACKEND_PROBE_ALLOCATOR_H_

#include <stdexcept>

#include "hermes_shm/memory/allocator/base_allocator.h"

namespace hshm::ipc::test {

/** The least that BaseAllocator accepts: hands out blocks from a rising mark and frees none. */
template <AllocatorType kAllocatorType>
class ProbeAllocatorOf : public BaseAllocator<ProbeAllocatorOf<kAllocatorType>> {
 public:
  static constexpr AllocatorType kType = kAllocatorType;

  MemContext Init(Offset core, bool fails = false) {
    if (fails) throw std::runtime_error("asked to fail");
    Use(core);
    mark_->store(core + 64);
    return MemContext(this->membership_.slot(), 0);
  }
  MemContext Attach(Offset core, bool fails = false) {
    if (fails) throw std::runtime_error("asked to fail");
    Use(core);
    return MemContext(this->membership_.slot(), 0);
  }
  void Detach() {
    Look();
    mark_ = nullptr;
  }
  /** Containers could find it while it was being made, or joined, or left. */
  bool was_found_half_made() const noexcept { return was_found_half_made_; }

  OffsetPtr<> AllocateOffset(const MemContext&, uint64_t size) noexcept {
    return OffsetPtr<>(mark_->fetch_add((size + 63) / 64 * 64));
  }
  OffsetPtr<> AlignedAllocateOffset(const MemContext& ctx, uint64_t size, uint64_t) noexcept {
    return AllocateOffset(ctx, size);
  }
  OffsetPtr<> ReallocateOffsetNoNullCheck(const MemContext& ctx, OffsetPtr<>, uint64_t n) noexcept {
    return AllocateOffset(ctx, n);
  }
  void FreeOffsetNoNullCheck(const MemContext&, OffsetPtr<>) noexcept {}
  size_t GetUsableBytes(OffsetPtr<>) noexcept { return 0; }
  bool ResizeBlock(OffsetPtr<>, size_t) noexcept { return false; }
  size_t GetCurrentlyAllocatedSize() noexcept { return mark_->load(); }
  MemContext CreateTls(const MemContext& ctx) noexcept { return ctx; }
  void FreeTls(const MemContext&) noexcept {}
  bool Check() noexcept { return mark_ != nullptr; }

 private:
  void Look() {
    const bool is_found = AttachedAllocator::Find(this->region_.base_) == this;
    was_found_half_made_ = was_found_half_made_ || is_found;
  }
  void Use(Offset core) {
    Look();
    if (!this->region_.services_->Commit(core, 64 * 1024)) throw std::runtime_error("no room");
    mark_ = this->region_.template At<Atomic<uint64_t>>(core);
  }

  Atomic<uint64_t>* mark_ = nullptr;
  bool was_found_half_made_ = false;
};

using ProbeAllocator = ProbeAllocatorOf<AllocatorType::kStack>;
using OtherAllocator = ProbeAllocatorOf<AllocatorType::kBuddy>;

}  // namespace hshm::ipc::test

#endif  // HSHM_UNIT_TESTS_BACKEND_PROBE_ALLOCATOR_H_
