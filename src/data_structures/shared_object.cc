#include "hermes_shm/data_structures/shared_object.h"

#include <string>

#include "hermes_shm/base/error.h"

namespace hshm::ipc {
namespace {

std::string Bytes(uint64_t n) { return std::to_string(n) + " bytes"; }

std::string Where(const ObjectKind& kind, Offset offset) {
  return std::string("attaching to ") + kind.name_ + " at offset " + std::to_string(offset) + ": ";
}

constexpr const char* kPassOffset =
    "; pass what offset() returned to the rank that made it, in the same region";

void CheckElements(const ObjectTag& tag, Offset offset, const ObjectKind& kind) {
  if (tag.element_bytes_ == kind.element_bytes_ && tag.value_bytes_ == kind.value_bytes_) return;
  throw Error(ErrorCode::kSizeMismatch,
              Where(kind, offset) + "its element has " + Bytes(tag.element_bytes_) +
                  " and its value " + Bytes(tag.value_bytes_) + ", this process expects " +
                  Bytes(kind.element_bytes_) + " and " + Bytes(kind.value_bytes_) +
                  "; use the same types in all ranks");
}

}  // namespace

void PublishObject(ObjectTag& tag, const ObjectKind& kind) noexcept {
  tag.layout_version_ = kind.layout_version_;
  tag.element_bytes_ = kind.element_bytes_;
  tag.value_bytes_ = kind.value_bytes_;
  tag.magic_.store(kind.magic_, std::memory_order_release);  // pairs with FindObject
}

bool RetireObject(ObjectTag& tag, const ObjectKind& kind) noexcept {
  uint64_t expected = kind.magic_;
  return tag.magic_.compare_exchange_strong(expected, 0,
                                            std::memory_order_acq_rel,   // pairs with FindObject
                                            std::memory_order_relaxed);  // relaxed: gone already
}

ObjectTag* FindObject(const Region& region, Offset offset, uint64_t object_bytes,
                      const ObjectKind& kind) {
  if (offset == kNullOffset) {
    throw Error(
        ErrorCode::kNotFound,
        Where(kind, offset) + "the offset is null, so nobody has left one yet" + kPassOffset);
  }
  const bool inside = offset < region.size_bytes_ && region.size_bytes_ - offset >= object_bytes;
  if (!inside || offset % kCacheLineBytes != 0) {
    throw Error(ErrorCode::kOutOfRange, Where(kind, offset) +
                                            "no object can begin there in a region of " +
                                            Bytes(region.size_bytes_) + kPassOffset);
  }
  ObjectTag* tag = region.At<ObjectTag>(offset);
  const uint64_t magic = tag->magic_.load(std::memory_order_acquire);  // pairs with PublishObject
  if (magic != kind.magic_) {
    throw Error(
        ErrorCode::kCorrupt,
        Where(kind, offset) + "something else lies there, or it was destroyed" + kPassOffset);
  }
  if (tag->layout_version_ != kind.layout_version_) {
    throw Error(ErrorCode::kVersionMismatch,
                Where(kind, offset) + "it has layout " + std::to_string(tag->layout_version_) +
                    ", this library knows layout " + std::to_string(kind.layout_version_) +
                    "; run all ranks with the same release of hshm");
  }
  CheckElements(*tag, offset, kind);
  return tag;
}

void RequireEmptyHandle(const void* object, const ObjectKind& kind) {
  if (object == nullptr) return;
  throw Error(ErrorCode::kBackendInUse,
              std::string("making or attaching ") + kind.name_ +
                  ": this handle stands for one already, which others may use; call shm_detach() "
                  "or shm_destroy() first, or take another handle");
}

void ThrowNoSpace(const char* name, uint64_t asked_bytes, uint64_t region_bytes,
                  uint64_t allocated_bytes) {
  throw Error(ErrorCode::kNoSpace,
              std::string("making ") + name + ": " + Bytes(asked_bytes) +
                  " in one piece were asked for and not there; of the region's " +
                  Bytes(region_bytes) + ", " + Bytes(allocated_bytes) +
                  " are allocated; free some, ask for less, or make the region larger");
}

void ThrowUnsupported(const char* name, const char* sentence) {
  throw Error(ErrorCode::kUnsupported, std::string(name) + ": " + sentence);
}

void ThrowOutOfRange(const char* name, const char* sentence) {
  throw Error(ErrorCode::kOutOfRange, std::string(name) + ": " + sentence);
}

}  // namespace hshm::ipc
