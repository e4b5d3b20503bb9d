#include "malloc/own_memory.h"

#include <algorithm>

#include "hermes_shm/base/bits.h"

namespace hshm::malloc_library {

constinit OwnMemory own_memory;
alignas(4096) constinit char OwnMemory::bytes_[kBytes];

OwnMemory::Header* OwnMemory::HeaderOf(const void* block) noexcept {
  return static_cast<Header*>(const_cast<void*>(block)) - 1;
}

bool OwnMemory::Contains(const void* address) const noexcept {
  return reinterpret_cast<uintptr_t>(address) - reinterpret_cast<uintptr_t>(bytes_) < kBytes;
}

void* OwnMemory::Allocate(size_t size_bytes, size_t alignment) noexcept {
  alignment = std::max(alignment, sizeof(Header));
  if (size_bytes > kBytes || alignment > kBytes) return nullptr;
  // Pieces begin at multiples of 32: more alignment is made inside.
  const size_t front = alignment == sizeof(Header) ? sizeof(Header) : sizeof(Header) + alignment;
  const uint32_t log2 =
      std::max(kMinLog2, static_cast<uint32_t>(bits::CeilLog2(uint64_t{front + size_bytes})));
  if (log2 > kMaxLog2) return nullptr;
  char* piece = nullptr;
  {
    const SpinGuard guard(lock_);
    if (free_[log2] != nullptr) {
      piece = reinterpret_cast<char*>(free_[log2]);
      free_[log2] = free_[log2]->next_;
    } else if (kBytes - used_bytes_ >= size_t{1} << log2) {
      piece = bytes_ + used_bytes_;
      used_bytes_ += size_t{1} << log2;
    }
  }
  if (piece == nullptr) return nullptr;
  const auto address = reinterpret_cast<uintptr_t>(piece);
  const uintptr_t block = bits::AlignUp(address + sizeof(Header), uint64_t{alignment});
  *HeaderOf(reinterpret_cast<void*>(block)) = {log2, static_cast<uint32_t>(block - address), 0};
  return reinterpret_cast<void*>(block);
}

void OwnMemory::Free(void* block) noexcept {
  const Header header = *HeaderOf(block);
  auto* piece = reinterpret_cast<Piece*>(static_cast<char*>(block) - header.front_bytes_);
  const SpinGuard guard(lock_);
  piece->next_ = free_[header.log2_];
  free_[header.log2_] = piece;
}

size_t OwnMemory::UsableBytes(const void* block) const noexcept {
  const Header* header = HeaderOf(block);
  return (size_t{1} << header->log2_) - header->front_bytes_;
}

}  // namespace hshm::malloc_library
