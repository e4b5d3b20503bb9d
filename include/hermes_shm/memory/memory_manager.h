#ifndef HSHM_MEMORY_MEMORY_MANAGER_H_
#define HSHM_MEMORY_MEMORY_MANAGER_H_

#include <array>
#include <cstddef>
#include <cstdio>
#include <memory>
#include <mutex>
#include <string>
#include <typeinfo>
#include <utility>

#include "hermes_shm/base/error.h"
#include "hermes_shm/base/types.h"
#include "hermes_shm/base/units.h"
#include "hermes_shm/memory/allocator/allocator_core.h"
#include "hermes_shm/memory/backend/array_backend.h"
#include "hermes_shm/memory/backend/malloc_backend.h"
#include "hermes_shm/memory/backend/memory_backend.h"
#include "hermes_shm/memory/backend/posix_mmap.h"
#include "hermes_shm/memory/backend/posix_shm_mmap.h"

/**
 * The process-wide MemoryManager: a pointer, never null, made on first use and never destroyed, so
 * that other static objects may use it while the process ends. What it holds then stays as a death
 * would leave it: processes that live on lose nothing, and a segment whose creator did not destroy
 * it keeps its name.
 */
#define HSHM_MEMORY_MANAGER (::hshm::ipc::MemoryManager::Get())

namespace hshm::ipc {

/**
 * Backends by id and allocators by id, for programs that do not want to hand objects around. A thin
 * layer over the backends' own interface. All calls may come from several threads at once; the
 * pointers stay good until the id is unregistered or its backend destroyed.
 */
class HSHM_API MemoryManager {
 public:
  static constexpr size_t kMaxBackends = 16;
  static constexpr size_t kMaxAllocators = 64;
  static_assert(kMaxBackends <= kMaxAllocators);  // a backend holds one: no limit of its own

  MemoryManager() = default;
  MemoryManager(const MemoryManager&) = delete;
  MemoryManager& operator=(const MemoryManager&) = delete;

  /** The one behind HSHM_MEMORY_MANAGER. */
  static MemoryManager* Get();

  /**
   * Makes a region: BackendT::shm_init(id, size, args...).
   * @throws Error kIdInUse, kOutOfRange beyond kMaxBackends; what shm_init throws
   */
  template <typename BackendT, typename... Args>
  BackendT* CreateBackend(MemoryBackendId id, size_t size, Args&&... args) {
    static_assert(Backend<BackendT>);
    std::lock_guard guard(mutex_);
    Entry& entry = RequireRoom();
    RequireFree(id);
    auto backend = std::make_unique<BackendT>();
    backend->shm_init(id, size, std::forward<Args>(args)...);
    BackendT* const made = backend.get();
    entry.backend_ = std::move(backend);
    return made;
  }

  /**
   * Joins the region that another process made; its header tells the id. `url` is the name of a
   * PosixShmMmap, the path of a PosixMmap's file.
   * @throws Error kIdInUse when the id, or that of its allocator, names something else here;
   * kUnsupported for a kind of memory that one process has alone; what shm_attach throws
   */
  MemoryBackend* AttachBackend(MemoryBackendType type, const std::string& url);

  /** Null when there is none of this id. */
  MemoryBackend* GetBackend(MemoryBackendId id);

  /**
   * Makes the allocator of a backend: MakeAlloc(alloc_id, custom_header_size, args...).
   * @throws Error kNotFound without the backend, kIdInUse, kBackendInUse; what MakeAlloc throws
   */
  template <typename AllocT, typename... Args>
  AllocT* CreateAllocator(MemoryBackendId backend_id, AllocatorId alloc_id,
                          size_t custom_header_size, Args&&... args) {
    std::lock_guard guard(mutex_);
    Entry& entry = RequireBackend(backend_id);
    RequireFree(alloc_id);
    AllocT* const alloc = entry.backend_->template MakeAlloc<AllocT>(alloc_id, custom_header_size,
                                                                     std::forward<Args>(args)...);
    entry.Register(alloc_id, alloc, typeid(AllocT));
    return alloc;
  }

  /**
   * The allocator of this id; joins it on first use, also one made after the backend was attached.
   * Null when no backend here holds it, or it was unregistered.
   * @throws Error kWrongAllocator when it is of another class; what AttachAlloc throws
   */
  template <typename AllocT>
  AllocT* GetAllocator(AllocatorId alloc_id) {
    std::lock_guard guard(mutex_);
    Entry* const entry = FindAllocator(alloc_id);
    if (entry == nullptr) return nullptr;
    if (entry->handle_ == nullptr) {
      entry->Register(alloc_id, entry->backend_->template AttachAlloc<AllocT>(), typeid(AllocT));
    }
    RequireClass(*entry, typeid(AllocT));
    return static_cast<AllocT*>(entry->handle_);
  }

  /** Leaves the allocator; living blocks stay. GetAllocator then gives null until the backend is
   * attached again. No-op when there is none of this id. */
  void UnregisterAllocator(AllocatorId alloc_id);

  /** Unregisters its allocator, then unlinks the region when it was made here, and unmaps it.
   * No-op when there is none of this id. */
  void DestroyBackend(MemoryBackendId id);

 private:
  /** A backend and its allocator's handle in this process. */
  struct Entry {
    std::unique_ptr<MemoryBackend> backend_;  // null: the entry is free
    AllocatorId alloc_id_;
    void* handle_ = nullptr;
    const std::type_info* class_ = nullptr;  // of *handle_
    bool is_unregistered_ = false;

    void Register(AllocatorId id, void* handle, const std::type_info& type) {
      alloc_id_ = id;
      handle_ = handle;
      class_ = &type;
    }
    AllocatorId AllocatorInRegion() const noexcept;
  };

  Entry* FindBackend(MemoryBackendId id) noexcept;
  Entry* FindAllocator(AllocatorId id) noexcept;
  Entry& RequireBackend(MemoryBackendId id);
  Entry& RequireRoom();
  void RequireFree(MemoryBackendId id);
  void RequireFree(AllocatorId id);
  static void RequireClass(const Entry& entry, const std::type_info& asked);

  std::mutex mutex_;
  std::array<Entry, kMaxBackends> entries_;
};

}  // namespace hshm::ipc

#endif  // HSHM_MEMORY_MEMORY_MANAGER_H_
