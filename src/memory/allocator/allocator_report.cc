#include "hermes_shm/memory/allocator/allocator_report.h"

#include <string>
#include <type_traits>

#include "hermes_shm/base/error.h"
#include "hermes_shm/memory/allocator/allocator_core.h"
#include "hermes_shm/memory/allocator/buddy_allocator.h"
#include "hermes_shm/memory/allocator/multi_process_allocator.h"
#include "hermes_shm/memory/allocator/scalable_page_allocator.h"
#include "hermes_shm/memory/allocator/stack_allocator.h"
#include "hermes_shm/memory/allocator/thread_local_allocator.h"
#include "hermes_shm/memory/backend/backend_header.h"
#include "hermes_shm/platform/file_read.h"
#include "memory/allocator/multi_process/onlooker.h"

namespace hshm::ipc {
namespace {

using multi_process::CheckedLargePages;
using multi_process::CheckedSmallPages;
using multi_process::LargePages;
using multi_process::RootHeader;
using multi_process::RootTier;
using multi_process::SmallPages;

AllocatorHeader* HeaderIn(const Region& copy) {
  return copy.At<AllocatorHeader>(AllocatorOffsetFor(copy.size_bytes_));
}

AllocatorType TypeIn(const Region& copy) {
  // relaxed: nobody else writes to the copy
  return static_cast<AllocatorType>(HeaderIn(copy)->type_.load(std::memory_order_relaxed));
}

/** Calls visit(std::type_identity<Config>) for an allocator of the multi-process kind. @return
 * false for any other */
template <typename Visit>
bool WithConfig(AllocatorType type, Visit visit) {
  switch (type) {
    case AllocatorType::kMultiProcess:
    case AllocatorType::kThreadLocal:
      visit(std::type_identity<LargePages>());
      return true;
    case AllocatorType::kMultiProcessSmallPages:
      visit(std::type_identity<SmallPages>());
      return true;
    case AllocatorType::kCheckedMultiProcess:
    case AllocatorType::kCheckedThreadLocal:
      visit(std::type_identity<CheckedLargePages>());
      return true;
    case AllocatorType::kCheckedMultiProcessSmallPages:
      visit(std::type_identity<CheckedSmallPages>());
      return true;
    default:
      return false;
  }
}

/** Calls visit(std::type_identity<AllocT>). @throws Error kUnsupported */
template <typename Visit>
void WithAllocator(AllocatorType type, Visit visit) {
  switch (type) {
    case AllocatorType::kStack:
      return visit(std::type_identity<StackAllocator>());
    case AllocatorType::kBuddy:
      return visit(std::type_identity<BuddyAllocator>());
    case AllocatorType::kMultiProcess:
      return visit(std::type_identity<FastMultiProcessAllocator>());
    case AllocatorType::kMultiProcessSmallPages:
      return visit(std::type_identity<BasicMultiProcessAllocator<SmallPages>>());
    case AllocatorType::kScalablePage:
      return visit(std::type_identity<ScalablePageAllocator>());
    case AllocatorType::kScalablePageSmallPages:
      return visit(std::type_identity<SmallScalablePageAllocator>());
    case AllocatorType::kThreadLocal:
      return visit(std::type_identity<FastThreadLocalAllocator>());
    case AllocatorType::kCheckedMultiProcess:
      return visit(std::type_identity<CheckedMultiProcessAllocator>());
    case AllocatorType::kCheckedMultiProcessSmallPages:
      return visit(std::type_identity<CheckedSmallMultiProcessAllocator>());
    case AllocatorType::kCheckedThreadLocal:
      return visit(std::type_identity<CheckedThreadLocalAllocator>());
    case AllocatorType::kNone:
    case AllocatorType::kMalloc:
      break;
  }
  throw Error(ErrorCode::kUnsupported, std::string("The region holds ") + AllocatorTypeName(type) +
                                           ", of which nothing can be told from outside.");
}

/** @return where the root's header lies. @throws Error as attaching does */
template <typename Config>
Offset CoreIn(const Region& copy) {
  CheckAllocatorHeader(*HeaderIn(copy), TypeIn(copy), copy);
  const Offset core = HeaderIn(copy)->core_offset_;
  const uint32_t version = copy.At<RootHeader>(core)->layout_version_;
  if (version != multi_process::kMultiProcessLayoutVersion) {
    throw Error(ErrorCode::kVersionMismatch,
                "The allocator in the region has layout " + std::to_string(version) +
                    ", this library knows layout " +
                    std::to_string(multi_process::kMultiProcessLayoutVersion) +
                    ": use the hshm of the release that made it.");
  }
  if (!RootTier<Config>::FitsRegion(copy, core)) {
    throw Error(ErrorCode::kCorrupt,
                "The allocator's header does not fit the region: it was overwritten.");
  }
  return core;
}

void ListSlots(const Region& copy, AllocatorStats* stats) {
  stats->ranks_.resize(SlotCountFor(copy.size_bytes_));
  for (uint32_t slot = 0; slot < stats->ranks_.size(); ++slot) {
    stats->ranks_[slot].slot_ = slot;
    stats->ranks_[slot].os_pid_ =
        copy.At<SlotEntry>(kBackendHeaderBytes + slot * sizeof(SlotEntry))->os_pid_;
    stats->ranks_[slot].is_alive_ = copy.services_->IsAlive(slot);
  }
}

}  // namespace

AllocatorType ReadAllocatorType(int fd, uint64_t region_bytes) noexcept {
  uint32_t type = 0;
  static_assert(sizeof(AllocatorHeader::type_) == sizeof(type));
  const uint64_t at = AllocatorOffsetFor(region_bytes) + offsetof(AllocatorHeader, type_);
  if (ReadFile(fd, at, &type, sizeof(type)) != 0) return AllocatorType::kNone;
  return static_cast<AllocatorType>(type);
}

AllocatorStats CountInCopy(const Region& copy) {
  const AllocatorType type = TypeIn(copy);
  AllocatorStats stats;
  const bool is_counted = WithConfig(type, [&]<typename Config>(std::type_identity<Config>) {
    const Offset core = CoreIn<Config>(copy);
    stats.allocator_ = AllocatorTypeName(type);
    stats.region_bytes_ = copy.size_bytes_;
    ListSlots(copy, &stats);
    multi_process::CountInCopy<Config>(copy, core, &stats);
    stats.LeaveOutEmpty();
  });
  if (is_counted) return stats;
  WithAllocator(type, [&]<typename AllocT>(std::type_identity<AllocT>) {
    AllocT handle;
    handle.shm_attach(copy);
    stats = handle.GetStats();
  });
  return stats;
}

std::optional<CopyVerdict> CheckChangingCopy(const Region& region, RegionCopy* copy) {
  const AllocatorType type = TypeIn(region);
  std::optional<CopyVerdict> verdict;
  const bool is_checked = WithConfig(type, [&]<typename Config>(std::type_identity<Config>) {
    verdict = multi_process::CheckChanging<Config>(region, CoreIn<Config>(region), copy);
  });
  if (!is_checked) {
    WithAllocator(type, [](auto) {});
    CheckAllocatorHeader(*HeaderIn(region), type, region);
  }
  return verdict;
}

bool CheckDeadCopy(const Region& copy) {
  bool is_good = true;
  WithConfig(TypeIn(copy), [&]<typename Config>(std::type_identity<Config>) {
    is_good = multi_process::CheckDead<Config>(copy, CoreIn<Config>(copy));
  });
  return is_good;
}

RecoveryVerdict RecoverCopy(const Region& copy) {
  const AllocatorType type = TypeIn(copy);
  RecoveryVerdict verdict;
  verdict.before_ = CountInCopy(copy);
  for (const RankStats& rank : verdict.before_.ranks_) verdict.blocks_in_flight_ += rank.heaps_;
  verdict.is_good_ = CheckDeadCopy(copy);
  WithAllocator(type, [&]<typename AllocT>(std::type_identity<AllocT>) {
    AllocT handle;
    handle.shm_attach(copy);
    if constexpr (requires { handle.Recover(); }) static_cast<void>(handle.Recover());
    verdict.is_good_ = handle.Check() && verdict.is_good_;
    verdict.after_ = handle.GetStats();
  });
  verdict.adopted_pages_ =
      verdict.after_.deaths_.adopted_pages_ - verdict.before_.deaths_.adopted_pages_;
  return verdict;
}

}  // namespace hshm::ipc
