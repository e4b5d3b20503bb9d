#include "hermes_shm/memory/backend/array_backend.h"

#include <cstring>
#include <memory>

#include "hermes_shm/base/error.h"
#include "hermes_shm/memory/backend/header_rules.h"
#include "memory/backend/private_memory.h"

namespace hshm::ipc {
namespace {

void CheckArray(const char* array) {
  if (array == nullptr) {
    throw Error(ErrorCode::kOutOfRange, "An ArrayBackend was given a null array.");
  }
  if (reinterpret_cast<uintptr_t>(array) % kCacheLineBytes != 0) {
    throw Error(ErrorCode::kOutOfRange,
                "The array of an ArrayBackend must begin at a multiple of 64 bytes: declare it "
                "alignas(64), or use std::aligned_alloc(64, size).");
  }
}

}  // namespace

void ArrayBackend::shm_init(MemoryBackendId id, size_t size, char* array) {
  RequireClosed("shm_init");
  CheckArray(array);
  CheckRegionSize(size);
  auto memory = std::make_unique<PrivateMemory>(array, size);
  std::memset(array, 0, size);
  auto* header = reinterpret_cast<BackendHeader*>(array);
  FillHeader(header, kType, id, size);
  header->ready_.store(1, std::memory_order_release);  // pairs with CheckHeader
  Open(std::move(memory), true);
}

void ArrayBackend::shm_attach(char* array, size_t size) {
  RequireClosed("shm_attach");
  CheckArray(array);
  BackendHeader copy;
  std::memset(static_cast<void*>(&copy), 0, sizeof(copy));
  if (size >= kBackendHeaderBytes) {
    std::memcpy(static_cast<void*>(&copy), array, sizeof(copy));
  }
  CheckHeader(copy, kType, size, "The array");
  Open(std::make_unique<PrivateMemory>(array, size), false);
}

}  // namespace hshm::ipc
