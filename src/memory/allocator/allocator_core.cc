#include "hermes_shm/memory/allocator/allocator_core.h"

#include <array>
#include <atomic>
#include <cstring>
#include <string>

#include "hermes_shm/base/bits.h"
#include "hermes_shm/base/defects.h"
#include "hermes_shm/base/error.h"
#include "hermes_shm/platform/futex.h"

namespace hshm::ipc {
namespace {

/** How long to wait for who is making an allocator in the region, or changing its roots: stopped.
 */
constexpr uint64_t kStoppedTimeoutUs = 10 * 1000 * 1000;

/** How long BeginAttach waits for a creator that is between its backend and its allocator. */
constexpr uint64_t kReadyTimeoutUs = 1000 * 1000;

/** A root's name as the words that stand in the region, zero-padded. */
constexpr uint32_t kNameWords = (kMaxRootNameBytes + 1) / sizeof(uint64_t);
using RootName = std::array<uint64_t, kNameWords>;
static_assert(sizeof(RootName) == sizeof(RootEntry::name_));
static_assert(offsetof(RootEntry, name_) % alignof(uint64_t) == 0);

bool MakeRootName(std::string_view text, RootName* name) {
  if (text.empty() || text.size() > kMaxRootNameBytes) return false;
  if (text.find('\0') != std::string_view::npos) return false;
  name->fill(0);
  std::memcpy(name->data(), text.data(), text.size());
  return true;
}

std::atomic_ref<uint64_t> WordOf(RootEntry& entry, uint32_t index) {
  return std::atomic_ref<uint64_t>(reinterpret_cast<uint64_t*>(entry.name_)[index]);
}

bool HasName(RootEntry& entry, const RootName& name) {
  for (uint32_t i = 0; i < kNameWords; ++i) {
    if (WordOf(entry, i).load(std::memory_order_acquire) != name[i]) {  // pairs with SetRoot
      return false;
    }
  }
  return true;
}

/** Where an allocator's own header begins behind a custom header of this size. */
Offset CoreOffsetFor(Offset custom_offset, uint64_t custom_bytes) {
  return bits::AlignUp(custom_offset + custom_bytes, kCustomHeaderAlignment);
}

void CheckInitArguments(AllocatorId id, size_t custom_header_size, const Region& region) {
  if (id.IsNull()) {
    throw Error(ErrorCode::kOutOfRange,
                "An allocator cannot have the id (0, 0), which means none: choose another.");
  }
  if (custom_header_size > region.size_bytes_ / 4) {
    throw Error(ErrorCode::kOutOfRange, "A custom header of " + std::to_string(custom_header_size) +
                                            " bytes was asked for in a region of " +
                                            std::to_string(region.size_bytes_) +
                                            ": it may have a quarter of the region at most.");
  }
}

void RequireRegion(const Region& region, bool is_attached) {
  if (is_attached) {
    throw Error(ErrorCode::kBackendInUse,
                "This allocator handle is attached already: call shm_detach() first, or use "
                "another handle.");
  }
  if (region.base_ == nullptr || region.services_ == nullptr) {
    throw Error(ErrorCode::kOutOfRange, "An allocator was given a region without memory.");
  }
}

AllocatorType TypeOf(const AllocatorHeader& header) {
  return static_cast<AllocatorType>(
      header.type_.load(std::memory_order_acquire));  // pairs with FinishInit
}

void WaitUntilPublished(const AllocatorHeader& header) {
  constexpr auto kNone = static_cast<uint32_t>(AllocatorType::kNone);
  const uint64_t deadline_us = MonotonicUs() + kReadyTimeoutUs;
  while (TypeOf(header) == AllocatorType::kNone) {
    const uint64_t now_us = MonotonicUs();
    if (now_us >= deadline_us) {
      throw Error(ErrorCode::kNotReady,
                  "The region holds no allocator, and none appeared within a second: let its "
                  "creator call MakeAlloc or CreateAllocator first, then a barrier.");
    }
    FutexWait(&header.type_, kNone, deadline_us - now_us);
  }
}

/** A maker that died inside has published nothing: everything is written anew. */
void LockForInit(AllocatorHeader& header, Membership& me) {
  if (header.roots_lock_.Lock(me.identity(), kStoppedTimeoutUs) != LockResult::kTimeout) return;
  throw Error(ErrorCode::kHolderStopped,
              "Another process is making an allocator in this region and has not finished within "
              "10 seconds: " +
                  header.roots_lock_.DescribeHolder(me.identity()) + ". Continue or end it.");
}

}  // namespace

void CheckAllocatorHeader(const AllocatorHeader& header, AllocatorType type, const Region& region) {
  if (TypeOf(header) != type) {
    throw Error(ErrorCode::kWrongAllocator,
                std::string("The region holds ") + AllocatorTypeName(TypeOf(header)) + ", " +
                    AllocatorTypeName(type) +
                    " was asked for: use the class that made it, in all ranks "
                    "of one build of hshm (HSHM_CHECKED chooses the policy).");
  }
  if (header.layout_version_ != kAllocatorLayoutVersion) {
    throw Error(ErrorCode::kVersionMismatch,
                "The allocator has layout version " + std::to_string(header.layout_version_) +
                    ", this library reads version " + std::to_string(kAllocatorLayoutVersion) +
                    ": link all processes with one release of hshm.");
  }
  const Offset custom = region.OffsetOf(&header) + sizeof(AllocatorHeader);
  if (header.custom_header_bytes_ > region.size_bytes_ / 4 ||
      header.custom_header_offset_ != (header.custom_header_bytes_ == 0 ? 0 : custom) ||
      header.core_offset_ != CoreOffsetFor(custom, header.custom_header_bytes_)) {
    throw Error(ErrorCode::kCorrupt,
                "The allocator's header has sizes that do not agree: create the segment again.");
  }
}

const char* AllocatorTypeName(AllocatorType type) noexcept {
  switch (type) {
    case AllocatorType::kNone:
      return "no allocator";
    case AllocatorType::kStack:
      return "a StackAllocator";
    case AllocatorType::kBuddy:
      return "a BuddyAllocator";
    case AllocatorType::kMultiProcess:
      return "a MultiProcessAllocator";
    case AllocatorType::kMultiProcessSmallPages:
      return "a MultiProcessAllocator with small pages";
    case AllocatorType::kMalloc:
      return "a MallocAllocator";
    case AllocatorType::kScalablePage:
      return "a ScalablePageAllocator";
    case AllocatorType::kThreadLocal:
      return "a ThreadLocalAllocator";
    case AllocatorType::kScalablePageSmallPages:
      return "a ScalablePageAllocator with small pages";
    case AllocatorType::kCheckedMultiProcess:
      return "a CheckedMultiProcessAllocator";
    case AllocatorType::kCheckedMultiProcessSmallPages:
      return "a CheckedMultiProcessAllocator with small pages";
    case AllocatorType::kCheckedThreadLocal:
      return "a CheckedThreadLocalAllocator";
  }
  return "an unknown allocator";
}

Offset AllocatorCore::BeginInit(AllocatorId id, size_t custom_header_size, const Region& region) {
  RequireRegion(region, IsAttached());
  CheckInitArguments(id, custom_header_size, region);
  auto arenas = std::make_unique<ArenaTable>();
  const Offset start = AllocatorOffsetFor(region.size_bytes_);
  const Offset custom = start + sizeof(AllocatorHeader);
  const Offset core = CoreOffsetFor(custom, custom_header_size);
  if (!region.services_->Commit(start, core - start)) {
    throw Error(ErrorCode::kNoSpace, "The system has no room for the " +
                                         std::to_string(core - start) +
                                         " bytes of an allocator's headers: free some memory.");
  }
  auto* const header = region.At<AllocatorHeader>(start);
  AttachedAllocator attached(region.base_, this);
  Membership joined(region);
  // Held until FinishInit or AbandonInit, so that of two creators at once one is told.
  LockForInit(*header, joined);
  if (TypeOf(*header) != AllocatorType::kNone) {
    header->roots_lock_.Unlock(joined.identity());
    throw Error(ErrorCode::kBackendInUse, std::string("The region holds ") +
                                              AllocatorTypeName(TypeOf(*header)) +
                                              " already: attach to it, or use another backend.");
  }
  header->layout_version_ = kAllocatorLayoutVersion;
  header->id_ = id;
  header->custom_header_offset_ = custom_header_size == 0 ? 0 : custom;
  header->custom_header_bytes_ = custom_header_size;
  header->core_offset_ = core;
  std::memset(static_cast<void*>(header->roots_), 0, sizeof(header->roots_));
  std::memset(region.At<char>(custom), 0, core - custom);
  region_ = region;
  id_ = id;
  header_ = header;
  membership_ = std::move(joined);
  arenas_ = std::move(arenas);
  attached_ = std::move(attached);
  return core;
}

void AllocatorCore::FinishInit(AllocatorType type) noexcept {
  header_->type_.store(static_cast<uint32_t>(type),
                       std::memory_order_release);  // pairs with BeginAttach
  header_->roots_lock_.Unlock(membership_.identity());
  FutexWake(&header_->type_, ~uint32_t{0} >> 1);
  attached_.Show();
}

void AllocatorCore::AbandonInit() noexcept {
  header_->roots_lock_.Unlock(membership_.identity());
  EndAttachment();
}

Offset AllocatorCore::BeginAttach(AllocatorType type, const Region& region) {
  RequireRegion(region, IsAttached());
  auto* const header = region.At<AllocatorHeader>(AllocatorOffsetFor(region.size_bytes_));
  WaitUntilPublished(*header);
  CheckAllocatorHeader(*header, type, region);
  auto arenas = std::make_unique<ArenaTable>();
  AttachedAllocator attached(region.base_, this);
  membership_ = Membership(region);
  arenas_ = std::move(arenas);
  attached_ = std::move(attached);
  region_ = region;
  id_ = header->id_;
  header_ = header;
  return header->core_offset_;
}

void AllocatorCore::EndAttachment() noexcept {
  arenas_.reset();
  attached_.Forget();
  membership_.Leave();
  header_ = nullptr;
  id_ = AllocatorId::Null();
  region_ = Region{};
}

void AllocatorCore::CheckForeign(const char* operation, AllocatorId named) const noexcept {
  if (!IsAttached()) defect::NotAttached(operation);
  if (!named.IsNull()) defect::ForeignPointer(operation, named, id_);
}

void* AllocatorCore::CustomHeader(size_t size_bytes) {
  if (!IsAttached()) defect::NotAttached("GetCustomHeader");
  if (size_bytes > header_->custom_header_bytes_) {
    throw Error(ErrorCode::kOutOfRange, "A custom header of " + std::to_string(size_bytes) +
                                            " bytes was asked for, " +
                                            std::to_string(header_->custom_header_bytes_) +
                                            " were reserved when the allocator was made.");
  }
  return region_.base_ + header_->custom_header_offset_;
}

bool AllocatorCore::SetRootOffset(std::string_view name, OffsetPtr<> offset) noexcept {
  if (!IsAttached()) defect::NotAttached("SetRoot");
  RootName words;
  if (!MakeRootName(name, &words)) return false;
  const LockIdentity me = membership_.IdentityOrRejoin();
  if (me.peers_ == nullptr) return false;
  // After kOwnerDied nothing is to be repaired: an entry cut in the middle has no offset, is free.
  const MutexGuard guard(header_->roots_lock_, me, kStoppedTimeoutUs);
  if (!guard.IsHeld()) return false;
  // relaxed: who sees a store of this change acquires it, and with it the version.
  header_->roots_version_.fetch_add(1, std::memory_order_relaxed);
  RootEntry* free = nullptr;
  for (RootEntry& entry : header_->roots_) {
    if (entry.offset_.load(std::memory_order_relaxed) == 0) {  // relaxed: changes under the lock
      if (free == nullptr) free = &entry;
    } else if (HasName(entry, words)) {
      entry.offset_.store(offset.load(), std::memory_order_release);  // pairs with FindRootOffset
      return true;
    }
  }
  if (offset.IsNull()) return true;
  if (free == nullptr) return false;
  for (uint32_t i = 0; i < kNameWords; ++i) {
    WordOf(*free, i).store(words[i], std::memory_order_release);  // pairs with HasName
  }
  free->offset_.store(offset.load(), std::memory_order_release);  // pairs with FindRootOffset
  return true;
}

OffsetPtr<> AllocatorCore::FindRootOffset(std::string_view name) noexcept {
  if (!IsAttached()) defect::NotAttached("FindRoot");
  RootName words;
  if (!MakeRootName(name, &words)) return OffsetPtr<>();
  for (;;) {
    const uint32_t version =
        header_->roots_version_.load(std::memory_order_acquire);  // pairs with SetRoot
    uint64_t found = 0;
    bool is_same = true;
    for (RootEntry& entry : header_->roots_) {
      const uint64_t offset = entry.offset_.load(std::memory_order_acquire);  // pairs with SetRoot
      if (offset == 0 || !HasName(entry, words)) continue;
      // A deleter may have freed the entry, and this version's change have taken it for the name:
      // who wrote that saw the 0, which the name brings along. relaxed: for that reason.
      is_same = entry.offset_.load(std::memory_order_relaxed) == offset;
      found = offset;
      break;
    }
    // relaxed: what was acquired above brings the version of its change along.
    if (is_same && header_->roots_version_.load(std::memory_order_relaxed) == version) {
      return OffsetPtr<>(found);
    }
  }
}

// ---- statistics --------------------------------------------------------------------------------

AllocatorStats AllocatorCore::BeginStats(AllocatorType type) {
  AllocatorStats stats;
  stats.allocator_ = AllocatorTypeName(type);
  stats.region_bytes_ = region_.size_bytes_;
  stats.ranks_.resize(membership_.slot_count());
  for (uint32_t slot = 0; slot < membership_.slot_count(); ++slot) {
    const SlotEntry* const entry = membership_.entry(slot);
    stats.ranks_[slot].slot_ = slot;
    // A slot that nobody ever had needs no question. acquire: pairs with Membership::Join
    if (entry->generation_.load(std::memory_order_acquire) == 0) continue;
    stats.ranks_[slot].os_pid_ = entry->os_pid_;
    stats.ranks_[slot].is_alive_ = membership_.IsAlive(slot);
  }
  return stats;
}

}  // namespace hshm::ipc
