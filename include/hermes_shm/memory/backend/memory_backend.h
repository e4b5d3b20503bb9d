#ifndef HSHM_MEMORY_BACKEND_MEMORY_BACKEND_H_
#define HSHM_MEMORY_BACKEND_MEMORY_BACKEND_H_

#include <concepts>
#include <memory>
#include <mutex>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "hermes_shm/base/error.h"
#include "hermes_shm/base/types.h"
#include "hermes_shm/memory/backend/backend_header.h"
#include "hermes_shm/memory/backend/page_report.h"
#include "hermes_shm/memory/backend/region.h"

namespace hshm::ipc {

/** The bytes of one backend object and their services. Its destructor unmaps or frees them. */
class HSHM_API BackendMemory : public RegionServices {
 public:
  virtual char* base() const noexcept = 0;
  virtual uint64_t size_bytes() const noexcept = 0;
  /** Takes the region's name away, where it has one and it is still ours. */
  virtual void Unlink() noexcept {}
  /** What other processes attach by; empty when none can. */
  virtual std::string Url() const { return ""; }
  /** Which pages it was made with; huge_bytes_ is left at 0. */
  virtual PageReport Pages() const;
};

/** Allocator handles of any class, destroyed last first. Safe from several threads at once. */
class HSHM_API AllocHandles {
 public:
  AllocHandles() = default;
  ~AllocHandles();
  AllocHandles(const AllocHandles&) = delete;
  AllocHandles& operator=(const AllocHandles&) = delete;

  template <typename AllocT>
  AllocT* Add(std::unique_ptr<AllocT> handle) {
    Handle erased(handle.get(), [](void* object) { delete static_cast<AllocT*>(object); });
    AllocT* const object = handle.release();
    AddErased(std::move(erased));
    return object;
  }

  /** False when the handle is not one of these. */
  bool Destroy(const void* object);

 private:
  using Handle = std::unique_ptr<void, void (*)(void*)>;
  void AddErased(Handle handle);

  std::mutex mutex_;
  std::vector<Handle> handles_;
};

/**
 * Base of all backends: the one owner of a region's memory in this process, and of the allocator
 * handles made on it. Move-only; the memory and the handles keep their addresses when it moves.
 *
 * A new region reads as zero behind its headers, whatever kind of memory it is.
 *
 * Destruction and shm_detach() destroy the handles, then give this process's memory back. They
 * delete no block and no name: other processes go on.
 */
class HSHM_API MemoryBackend {
 public:
  MemoryBackend(MemoryBackend&& other) noexcept = default;
  MemoryBackend& operator=(MemoryBackend&& other) noexcept;
  virtual ~MemoryBackend() = default;

  MemoryBackendType GetType() const noexcept { return type_; }
  /** The id that the creator gave; of an open backend only. */
  MemoryBackendId GetId() const noexcept { return MemoryBackendId(header()->backend_id_); }

  /** True between shm_init or shm_attach and shm_detach or shm_destroy. */
  bool IsOpen() const noexcept { return memory_ != nullptr; }
  /** True when this object created the region. */
  bool IsOwner() const noexcept { return IsOpen() && is_owner_; }

  Region region() const noexcept {
    return IsOpen() ? Region{memory_->base(), memory_->size_bytes(), memory_.get()} : Region{};
  }
  uint64_t size_bytes() const noexcept { return IsOpen() ? memory_->size_bytes() : 0; }
  BackendHeader* header() const noexcept {
    return IsOpen() ? reinterpret_cast<BackendHeader*>(memory_->base()) : nullptr;
  }

  /**
   * Makes an allocator in the region and joins it. The handle lives until DestroyAlloc or the end
   * of the backend. @throws what BaseAllocator::shm_init throws; kUnsupported when not open
   */
  template <typename AllocT, typename... Args>
  AllocT* MakeAlloc(AllocatorId id, size_t custom_header_size = 0, Args&&... args) {
    RequireOpen("MakeAlloc");
    auto handle = std::make_unique<AllocT>();
    handle->shm_init(id, custom_header_size, region(), std::forward<Args>(args)...);
    return handles_->Add(std::move(handle));
  }

  /**
   * Joins the allocator of the region. Each call makes a handle with a process slot of its own:
   * several calls are several "processes" in one, which is how race and crash tests work.
   * @throws what BaseAllocator::shm_attach throws; kUnsupported when not open
   */
  template <typename AllocT, typename... Args>
  AllocT* AttachAlloc(Args&&... args) {
    RequireOpen("AttachAlloc");
    auto handle = std::make_unique<AllocT>();
    handle->shm_attach(region(), std::forward<Args>(args)...);
    return handles_->Add(std::move(handle));
  }

  /** Destroys a handle of this backend; what it allocated stays. No-op for null and foreign ones.
   */
  template <typename AllocT>
  void DestroyAlloc(AllocT* handle) {
    if (handle != nullptr && handles_ != nullptr) handles_->Destroy(handle);
  }

  /** Leaves the region: every handle goes, then the memory of this process. Repeatable. */
  void shm_detach() noexcept;

  /** As shm_detach; the creator also takes the region's name away, so that nobody joins any more.
   */
  void shm_destroy() noexcept;

  /**
   * Takes the region's name away, when it has one and that still leads to it: nobody can join any
   * more, and the memory goes with its last process. Repeatable. Members other than the creator may
   * call it too. Does nothing where there is no name.
   */
  void Unlink() noexcept;

  /**
   * What another process passes to shm_attach: the name of a PosixShmMmap, the path of a
   * PosixMmap's file; of a segment without a name one that works while this process lives and has
   * it open. Empty for a region that this process has alone, and when the object is not open.
   */
  std::string GetUrl() const;

  /** Which pages the region has, and why no huge ones. Reads files of /proc: some milliseconds. */
  PageReport GetPageReport() const;

 protected:
  explicit MemoryBackend(MemoryBackendType type) noexcept : type_(type) {}

  /** @throws Error kBackendInUse when the object holds a region already */
  void RequireClosed(const char* operation) const;
  void Open(std::unique_ptr<BackendMemory> memory, bool is_owner);
  BackendMemory* memory() const noexcept { return memory_.get(); }

 private:
  void RequireOpen(const char* operation) const;

  MemoryBackendType type_;
  bool is_owner_ = false;
  std::unique_ptr<BackendMemory> memory_;
  std::unique_ptr<AllocHandles> handles_;  // behind memory_: destroyed before it
};

/** What a backend class must offer beside its own shm_init and shm_attach. */
template <typename B>
concept Backend = std::derived_from<B, MemoryBackend> && std::default_initializable<B> &&
                  std::is_nothrow_move_constructible_v<B> && std::is_nothrow_move_assignable_v<B> &&
                  !std::is_copy_constructible_v<B> &&
                  requires {
  { B::kType } -> std::convertible_to<MemoryBackendType>;
};

}  // namespace hshm::ipc

#endif  // HSHM_MEMORY_BACKEND_MEMORY_BACKEND_H_
