#include "hermes_shm/memory/backend/membership.h"

#include <cerrno>
#include <thread>
#include <utility>

#include "hermes_shm/base/check.h"
#include "hermes_shm/base/error.h"
#include "hermes_shm/platform/process.h"

namespace hshm::ipc {
namespace {

/** Joiners skip a slot that has given out nearly all of its 2^20 heap serials. */
constexpr uint32_t kLastSerial = (uint32_t{1} << 20) - 64;

constexpr uint32_t kGenerationMask = (uint32_t{1} << LockIdentity::kGenerationBits) - 1;
static_assert(kMaxSlots < (uint32_t{1} << LockIdentity::kSlotBits));

}  // namespace

Membership::Membership(const Region& region)
    : region_(region), slot_count_(SlotCountFor(region.size_bytes_)) {
  const int error = page_.Map();
  if (error != 0) {
    throw Error(ErrorCode::kSystem,
                "Joining a region needs one page of private memory and the system gave none: "
                "raise the limit of the address space.",
                error);
  }
  const int why_not = Join();
  if (why_not == 0) return;
  page_.Unmap();
  if (why_not != EAGAIN) {
    const bool is_limit = why_not == EMFILE || why_not == ENFILE;
    throw Error(is_limit ? ErrorCode::kFdLimit : ErrorCode::kSystem,
                "Locking a process slot of the region failed: raise the limit of open files "
                "(ulimit -n) or of mappings, and see that /proc is mounted.",
                why_not);
  }
  throw Error(ErrorCode::kTooManyProcesses,
              "All " + std::to_string(slot_count_) +
                  " process slots of the region are taken: let processes detach, or create a "
                  "larger region (one slot per 1024 bytes, 4096 at most).");
}

Membership::~Membership() { Leave(); }

Membership::Membership(Membership&& other) noexcept
    : region_(other.region_), slot_count_(other.slot_count_), page_(std::move(other.page_)) {}

Membership& Membership::operator=(Membership&& other) noexcept {
  std::swap(region_, other.region_);
  std::swap(slot_count_, other.slot_count_);
  std::swap(page_, other.page_);
  return *this;
}

bool Membership::Rejoin() noexcept {
  if (!page_.IsMapped()) return false;
  std::atomic_ref<uint32_t> joining(page_->joining_);
  while (joining.exchange(1, std::memory_order_acquire) != 0) {  // pairs with the store below
    std::this_thread::yield();
  }
  const bool joined = IsMember() || Join() == 0;
  joining.store(0, std::memory_order_release);  // pairs with the exchange above
  return joined;
}

void Membership::GoOnAs(uint32_t slot, uint32_t generation) noexcept {
  HSHM_CHECK(page_.IsMapped());
  entry(slot)->os_pid_ = ProcessId();
  entry(slot)->start_time_ = StartTime(ProcessId());
  page_->generation_ = generation;
  Slot().store(slot + 1, std::memory_order_release);  // pairs with IsMember
}

void Membership::Leave() noexcept {
  if (IsMember()) region_.services_->ReleaseSlot(slot());
  page_.Unmap();
}

int Membership::Join() noexcept {
  for (uint32_t slot = 0; slot < slot_count_; ++slot) {
    const int error = TryJoin(slot);
    if (error != EAGAIN) return error;
  }
  return EAGAIN;
}

int Membership::TryJoin(uint32_t slot) noexcept {
  if (region_.services_->IsAlive(slot)) return EAGAIN;  // ten times cheaper than failing to hold
  if (!region_.services_->HoldSlot(slot)) return errno;
  SlotEntry* const mine = entry(slot);
  // relaxed: the byte lock orders one holder of the slot behind the other.
  if (mine->next_serial_.load(std::memory_order_relaxed) >= kLastSerial) {
    region_.services_->ReleaseSlot(slot);
    return EAGAIN;
  }
  mine->os_pid_ = ProcessId();
  mine->start_time_ = StartTime(ProcessId());
  mine->pid_namespace_ = PidNamespace();
  // relaxed: as above.
  const uint32_t generation = mine->generation_.load(std::memory_order_relaxed) + 1;
  mine->generation_.store(generation, std::memory_order_release);  // pairs with IsDead
  page_->generation_ = generation;
  Slot().store(slot + 1, std::memory_order_release);  // pairs with IsMember
  return 0;
}

SlotEntry* Membership::entry(uint32_t slot) const noexcept {
  HSHM_CHECK(slot < slot_count_);
  return region_.At<SlotEntry>(kBackendHeaderBytes + uint64_t{slot} * sizeof(SlotEntry));
}

bool Membership::IsDead(uint32_t slot, uint32_t generation) noexcept {
  if (slot >= slot_count_) return true;  // nobody can live there
  const uint32_t now = entry(slot)->generation_.load(std::memory_order_acquire);  // pairs with Join
  if (((now ^ generation) & kGenerationMask) != 0) return true;
  return !region_.services_->IsAlive(slot);
}

std::string Membership::Describe(uint32_t slot) {
  if (slot >= slot_count_) return "slot " + std::to_string(slot) + ", which is none";
  const SlotEntry* const who = entry(slot);
  std::string text = "slot " + std::to_string(slot) + ", ";
  if (who->pid_namespace_ != PidNamespace()) {
    text += "pid " + std::to_string(who->os_pid_) + " of another container";
  } else {
    text += DescribeProcess(who->os_pid_);
  }
  return text;
}

}  // namespace hshm::ipc
