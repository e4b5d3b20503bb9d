#ifndef HSHM_UNIT_TESTS_MULTI_PROCESS_HEAP_H_
#define HSHM_UNIT_TESTS_MULTI_PROCESS_HEAP_H_

#include <unistd.h>

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "hermes_shm/memory/allocator/multi_process_allocator.h"
#include "hermes_shm/memory/backend/malloc_backend.h"
#include "hermes_shm/memory/backend/posix_shm_mmap.h"
#include "support/catch.h"

/** Regions, handles and pattern bytes for the tests of the multi-process allocator. */
namespace hshm::test {

using ipc::AllocatorId;
using ipc::FullPtr;
using ipc::MemContext;
using ipc::MultiProcessAllocator;
using ipc::MultiProcessOptions;
using ipc::Offset;
using ipc::OffsetPtr;
using ipc::SmallMultiProcessAllocator;

inline const MemContext kCtx = HSHM_DEFAULT_MEM_CTX;
inline constexpr AllocatorId kId(3, 1);

/** A region in private memory. Each handle on it is a process of its own. */
template <typename Alloc>
class PrivateHeap {
 public:
  explicit PrivateHeap(uint64_t size_bytes, const MultiProcessOptions& options = {}) {
    backend_.shm_init(ipc::MemoryBackendId(1), size_bytes);
    first_ = backend_.MakeAlloc<Alloc>(kId, 0, options);
  }

  Alloc* first() const { return first_; }
  Alloc* Attach(const MultiProcessOptions& options = {}) {
    return backend_.AttachAlloc<Alloc>(options);
  }
  void Destroy(Alloc* handle) { backend_.DestroyAlloc(handle); }
  ipc::MallocBackend& backend() { return backend_; }

 private:
  ipc::MallocBackend backend_;
  Alloc* first_;
};

/** A region in a shared segment, whose name goes with this object. */
template <typename Alloc>
class SharedHeap {
 public:
  explicit SharedHeap(uint64_t size_bytes, const MultiProcessOptions& options = {},
                      const ipc::PosixShmOptions& shm = {})
      : owner_(getpid()) {
    static int count = 0;
    name_ = "hshm-multi-process-" + std::to_string(owner_) + "-" + std::to_string(++count);
    backend_.shm_init(ipc::MemoryBackendId(1), size_bytes, name_, shm);
    first_ = backend_.MakeAlloc<Alloc>(kId, 0, options);
  }
  ~SharedHeap() {
    if (getpid() == owner_) backend_.shm_destroy();
  }
  SharedHeap(const SharedHeap&) = delete;
  SharedHeap& operator=(const SharedHeap&) = delete;

  Alloc* first() const { return first_; }
  Alloc* Attach(const MultiProcessOptions& options = {}) {
    return backend_.AttachAlloc<Alloc>(options);
  }
  void Destroy(Alloc* handle) { backend_.DestroyAlloc(handle); }
  const std::string& name() const { return name_; }

 private:
  pid_t owner_;
  std::string name_;
  ipc::PosixShmMmap backend_;
  Alloc* first_;
};

/** Marks the first and last bytes of a block, and one in each page between, as its owner's. */
inline void FillPattern(char* bytes, uint64_t size, uint64_t owner) {
  for (uint64_t i = 0; i < size; i += (i < 32 || i + 32 >= size) ? 1 : 509) {
    bytes[i] = static_cast<char>(owner * 37 + i);
  }
}
inline bool HasPattern(const char* bytes, uint64_t size, uint64_t kept, uint64_t owner) {
  for (uint64_t i = 0; i < size; i += (i < 32 || i + 32 >= size) ? 1 : 509) {
    if (i < kept && bytes[i] != static_cast<char>(owner * 37 + i)) return false;
  }
  return true;
}

/** So many blocks of one size, for which there is room. */
template <typename Alloc>
std::vector<OffsetPtr<>> AllocateMany(Alloc* alloc, size_t count, size_t size_bytes) {
  std::vector<OffsetPtr<>> blocks(count);
  for (OffsetPtr<>& block : blocks) block = alloc->AllocateOffset(kCtx, size_bytes);
  for (const OffsetPtr<>& block : blocks) REQUIRE(!block.IsNull());
  return blocks;
}
/** Allocates until null, sizes in turn; a size that fails is left out from then on. */
template <typename Alloc>
std::vector<OffsetPtr<>> FillUp(Alloc* alloc, std::vector<uint64_t> sizes) {
  std::vector<OffsetPtr<>> blocks;
  for (size_t turn = 0; !sizes.empty();) {
    turn %= sizes.size();
    const OffsetPtr<> block = alloc->AllocateOffset(kCtx, sizes[turn]);
    if (block.IsNull()) {
      sizes.erase(sizes.begin() + static_cast<ptrdiff_t>(turn));
    } else {
      blocks.push_back(block);
      ++turn;
    }
  }
  return blocks;
}
template <typename Alloc>
void FreeAll(Alloc* alloc, const std::vector<OffsetPtr<>>& blocks) {
  for (OffsetPtr<> block : blocks) alloc->FreeOffset(kCtx, block);
}

template <typename Alloc>
char* BytesOf(Alloc* alloc, OffsetPtr<> block) {
  return static_cast<char*>(alloc->Convert(block));
}

/** Largest block that can be had now, to a page; 0 when not even one. Nothing stays allocated. */
template <typename Alloc>
uint64_t LargestBlock(Alloc* alloc, uint64_t page_bytes) {
  uint64_t good = 0;
  uint64_t bad = alloc->GetRegion().size_bytes_ / page_bytes;
  while (good + 1 < bad) {
    const uint64_t pages = (good + bad) / 2;
    const OffsetPtr<> block = alloc->AllocateOffset(kCtx, pages * page_bytes);
    if (block.IsNull()) {
      bad = pages;
    } else {
      alloc->FreeOffset(kCtx, block);
      good = pages;
    }
  }
  return good * page_bytes;
}

}  // namespace hshm::test

#endif  // HSHM_UNIT_TESTS_MULTI_PROCESS_HEAP_H_
