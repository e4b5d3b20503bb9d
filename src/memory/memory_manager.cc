#include "hermes_shm/memory/memory_manager.h"

#include "hermes_shm/memory/allocator/allocator_header.h"
#include "hermes_shm/memory/backend/header_rules.h"

namespace hshm::ipc {
namespace {

std::string Text(AllocatorId id) {
  return "(" + std::to_string(id.major_) + ", " + std::to_string(id.minor_) + ")";
}

template <typename BackendT>
std::unique_ptr<MemoryBackend> AttachedAs(const std::string& url) {
  auto backend = std::make_unique<BackendT>();
  backend->shm_attach(url);
  return backend;
}

std::unique_ptr<MemoryBackend> Attached(MemoryBackendType type, const std::string& url) {
  switch (type) {
    case MemoryBackendType::kPosixShmMmap:
      return AttachedAs<PosixShmMmap>(url);
    case MemoryBackendType::kPosixMmap:
      return AttachedAs<PosixMmap>(url);
    default:
      throw Error(
          ErrorCode::kUnsupported,
          std::string("AttachBackend cannot join a ") + BackendTypeName(type) +
              ": of the backends of this build only PosixShmMmap and the files of PosixMmap "
              "are shared by name.");
  }
}

}  // namespace

MemoryManager* MemoryManager::Get() {
  static MemoryManager* const manager = new MemoryManager();
  return manager;
}

MemoryBackend* MemoryManager::AttachBackend(MemoryBackendType type, const std::string& url) {
  std::lock_guard guard(mutex_);
  Entry& entry = RequireRoom();
  std::unique_ptr<MemoryBackend> backend = Attached(type, url);
  RequireFree(backend->GetId());
  Entry joined;
  joined.backend_ = std::move(backend);
  if (!joined.AllocatorInRegion().IsNull()) RequireFree(joined.AllocatorInRegion());
  entry = std::move(joined);
  return entry.backend_.get();
}

MemoryBackend* MemoryManager::GetBackend(MemoryBackendId id) {
  std::lock_guard guard(mutex_);
  Entry* const entry = FindBackend(id);
  return entry == nullptr ? nullptr : entry->backend_.get();
}

void MemoryManager::UnregisterAllocator(AllocatorId alloc_id) {
  std::lock_guard guard(mutex_);
  Entry* const entry = FindAllocator(alloc_id);
  if (entry == nullptr) return;
  entry->backend_->DestroyAlloc(entry->handle_);
  entry->Register(AllocatorId::Null(), nullptr, typeid(void));
  entry->is_unregistered_ = true;
}

void MemoryManager::DestroyBackend(MemoryBackendId id) {
  std::lock_guard guard(mutex_);
  Entry* const entry = FindBackend(id);
  if (entry == nullptr) return;
  entry->backend_->shm_destroy();  // destroys the handle first
  *entry = Entry();
}

/** Id of what lies in the region, published by anybody; null when nothing does. */
AllocatorId MemoryManager::Entry::AllocatorInRegion() const noexcept {
  const Region region = backend_->region();
  const auto* header = region.At<AllocatorHeader>(AllocatorOffsetFor(region.size_bytes_));
  const uint32_t type = header->type_.load(std::memory_order_acquire);  // pairs with FinishInit
  return type == static_cast<uint32_t>(AllocatorType::kNone) ? AllocatorId::Null() : header->id_;
}

MemoryManager::Entry* MemoryManager::FindBackend(MemoryBackendId id) noexcept {
  for (Entry& entry : entries_) {
    if (entry.backend_ != nullptr && entry.backend_->GetId() == id) return &entry;
  }
  return nullptr;
}

MemoryManager::Entry* MemoryManager::FindAllocator(AllocatorId id) noexcept {
  for (Entry& entry : entries_) {
    if (entry.handle_ != nullptr && entry.alloc_id_ == id) return &entry;
  }
  for (Entry& entry : entries_) {
    if (entry.backend_ == nullptr || entry.handle_ != nullptr || entry.is_unregistered_) continue;
    if (!id.IsNull() && entry.AllocatorInRegion() == id) return &entry;
  }
  return nullptr;
}

MemoryManager::Entry& MemoryManager::RequireBackend(MemoryBackendId id) {
  Entry* const entry = FindBackend(id);
  if (entry != nullptr) return *entry;
  throw Error(ErrorCode::kNotFound,
              "There is no backend with the id " + std::to_string(id.id_) +
                  " in this process: call CreateBackend or AttachBackend first.");
}

MemoryManager::Entry& MemoryManager::RequireRoom() {
  for (Entry& entry : entries_) {
    if (entry.backend_ == nullptr) return entry;
  }
  throw Error(ErrorCode::kOutOfRange,
              "This process has " + std::to_string(kMaxBackends) +
                  " backends already, which is the limit: destroy one first.");
}

void MemoryManager::RequireFree(MemoryBackendId id) {
  if (FindBackend(id) == nullptr) return;
  throw Error(ErrorCode::kIdInUse, "The backend id " + std::to_string(id.id_) +
                                       " is in use in this process: call DestroyBackend first, "
                                       "or choose another id.");
}

void MemoryManager::RequireFree(AllocatorId id) {
  if (FindAllocator(id) == nullptr) return;
  throw Error(ErrorCode::kIdInUse, "The allocator id " + Text(id) +
                                       " is in use in this process: call UnregisterAllocator "
                                       "first, or choose another id.");
}

void MemoryManager::RequireClass(const Entry& entry, const std::type_info& asked) {
  if (*entry.class_ == asked) return;
  throw Error(ErrorCode::kWrongAllocator,
              "The allocator " + Text(entry.alloc_id_) + " is registered as the class " +
                  entry.class_->name() + ", GetAllocator was asked for " + asked.name() +
                  ": ask for the class that made it.");
}

}  // namespace hshm::ipc
