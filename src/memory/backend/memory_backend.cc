#include "hermes_shm/memory/backend/memory_backend.h"

#include <algorithm>
#include <string>

#include "hermes_shm/base/error.h"
#include "hermes_shm/memory/backend/header_rules.h"
#include "hermes_shm/platform/huge_pages.h"
#include "hermes_shm/platform/page.h"

namespace hshm::ipc {

PageReport BackendMemory::Pages() const {
  return {PageKind::kSystem, SystemPageBytes(), 0,
          "This backend takes memory as its owner, or malloc, has made it: use PosixMmap or "
          "PosixShmMmap, and set huge_pages_."};
}

AllocHandles::~AllocHandles() {
  while (!handles_.empty()) handles_.pop_back();
}

void AllocHandles::AddErased(Handle handle) {
  std::lock_guard guard(mutex_);
  handles_.push_back(std::move(handle));
}

bool AllocHandles::Destroy(const void* object) {
  Handle doomed(nullptr, nullptr);  // destroyed outside of the lock: it may be a long walk
  std::lock_guard guard(mutex_);
  const auto found = std::find_if(handles_.begin(), handles_.end(),
                                  [object](const Handle& h) { return h.get() == object; });
  if (found == handles_.end()) return false;
  doomed = std::move(*found);
  handles_.erase(found);
  return true;
}

MemoryBackend& MemoryBackend::operator=(MemoryBackend&& other) noexcept {
  if (this == &other) return *this;
  shm_detach();
  type_ = other.type_;
  is_owner_ = std::exchange(other.is_owner_, false);
  memory_ = std::move(other.memory_);
  handles_ = std::move(other.handles_);
  return *this;
}

void MemoryBackend::shm_detach() noexcept {
  handles_.reset();
  memory_.reset();
  is_owner_ = false;
}

void MemoryBackend::shm_destroy() noexcept {
  if (is_owner_) Unlink();
  shm_detach();
}

void MemoryBackend::Unlink() noexcept {
  if (IsOpen()) memory_->Unlink();
}

std::string MemoryBackend::GetUrl() const { return IsOpen() ? memory_->Url() : std::string(); }

PageReport MemoryBackend::GetPageReport() const {
  if (!IsOpen()) return {PageKind::kSystem, SystemPageBytes(), 0, "The backend holds no region."};
  PageReport report = memory_->Pages();
  report.huge_bytes_ = HugeBytesIn(memory_->base(), memory_->size_bytes());
  return report;
}

void MemoryBackend::RequireClosed(const char* operation) const {
  if (!IsOpen()) return;
  throw Error(ErrorCode::kBackendInUse,
              std::string(BackendTypeName(type_)) + "::" + operation +
                  " on an object that holds a region already: call shm_detach() first, or use "
                  "another object.");
}

void MemoryBackend::RequireOpen(const char* operation) const {
  if (IsOpen()) return;
  throw Error(ErrorCode::kUnsupported, std::string(operation) + " on a " + BackendTypeName(type_) +
                                           " that holds no region: call shm_init() or "
                                           "shm_attach() first.");
}

void MemoryBackend::Open(std::unique_ptr<BackendMemory> memory, bool is_owner) {
  handles_ = std::make_unique<AllocHandles>();
  memory_ = std::move(memory);
  is_owner_ = is_owner;
}

}  // namespace hshm::ipc
