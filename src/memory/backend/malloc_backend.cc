#include "hermes_shm/memory/backend/malloc_backend.h"

#include <cstdlib>
#include <memory>
#include <string>

#include "hermes_shm/base/bits.h"
#include "hermes_shm/base/error.h"
#include "hermes_shm/memory/backend/header_rules.h"
#include "memory/backend/private_memory.h"

namespace hshm::ipc {
namespace {

using MallocBlock = std::unique_ptr<char, void (*)(void*)>;

class MallocMemory final : public PrivateMemory {
 public:
  MallocMemory(MallocBlock block, char* base, uint64_t size_bytes)
      : PrivateMemory(base, size_bytes), block_(std::move(block)) {}

 private:
  MallocBlock block_;
};

}  // namespace

void MallocBackend::shm_init(MemoryBackendId id, size_t size) {
  RequireClosed("shm_init");
  CheckRegionSize(size);
  // calloc rather than aligned_alloc: large blocks come from the system as zeros, untouched.
  MallocBlock block(static_cast<char*>(std::calloc(1, size + kBackendHeaderBytes)), std::free);
  if (block == nullptr) {
    throw Error(ErrorCode::kNoSpace, "A MallocBackend of " + std::to_string(size) +
                                         " bytes was asked for and malloc has no room: ask for "
                                         "less, or raise the limit of the address space.");
  }
  const auto address = reinterpret_cast<uintptr_t>(block.get());
  char* const base = block.get() + (bits::AlignUp(address, kBackendHeaderBytes) - address);
  auto* header = reinterpret_cast<BackendHeader*>(base);
  FillHeader(header, kType, id, size);
  header->ready_.store(1, std::memory_order_release);  // pairs with CheckHeader
  Open(std::make_unique<MallocMemory>(std::move(block), base, size), true);
}

}  // namespace hshm::ipc
