#include "fuzz/targets/made_up_system.h"

#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "hermes_shm/base/check.h"
#include "hermes_shm/base/defects.h"
#include "hermes_shm/memory/backend/backend_header.h"
#include "hermes_shm/platform/futex.h"
#include "hermes_shm/platform/private_pages.h"
#include "hermes_shm/platform/process.h"
#include "hermes_shm/sync/lock_identity.h"

namespace hshm {
namespace fuzz {
namespace {

/** Nothing may wait so long for who is dead, or is none. */
constexpr uint64_t kMostForDeadUs = 2'000'000;
/** Nor so long for the living: several locks, each with all the patience that there is. */
constexpr uint64_t kMostUs = 600'000'000;

const ipc::Region* peers = nullptr;
uint64_t now_us = 1;
uint64_t waited_for_dead_us = 0;
uint64_t waited_us = 0;

/** Whether the word of a Mutex names a slot that is held. */
bool NamesTheLiving(uint32_t word) {
  const uint32_t slot_plus_one = word & ((uint32_t{1} << LockIdentity::kSlotBits) - 1);
  return peers != nullptr && slot_plus_one != 0 &&
         slot_plus_one <= ipc::SlotCountFor(peers->size_bytes_) &&
         peers->services_->IsAlive(slot_plus_one - 1);
}

[[noreturn]] void Stop(const char* name, const char* about) {
  if (detail::way_back == nullptr) Fail(name, about);
  detail::defect = name;
  detail::about = about;
  std::longjmp(*detail::way_back, 1);
}

}  // namespace

namespace detail {
std::jmp_buf* way_back = nullptr;
const char* defect = nullptr;
const char* about = nullptr;
}  // namespace detail

void Fail(const char* what, const char* about) {
  dprintf(STDERR_FILENO, "FOUND: %s %s\n", what, about);
  std::abort();
}

void BeginWaits(const ipc::Region* region) {
  peers = region;
  waited_us = waited_for_dead_us = 0;
}

}  // namespace fuzz

// ---- the sanitizers ----------------------------------------------------------------------------

/** What a defect has ended is lost on purpose. Memory that was freed comes back soon, for else all
 * of it would be fetched anew for each input. */
extern "C" __attribute__((visibility("default"))) const char* __asan_default_options() {
  return "detect_leaks=0:quarantine_size_mb=1";
}

/** Check() says on standard error what is wrong, no news here. libFuzzer has its own way. */
extern "C" __attribute__((visibility("default"))) int LLVMFuzzerInitialize(int*, char***) {
  stderr = std::fopen("/dev/null", "w");
  return 0;
}

// ---- platform/futex ----------------------------------------------------------------------------

void FutexWait(const void* word, uint32_t expected, uint64_t timeout_us) noexcept {
  uint32_t now = 0;
  std::memcpy(&now, word, sizeof(now));
  if (now != expected) return;
  fuzz::now_us += timeout_us;
  fuzz::waited_us += timeout_us;
  if (!fuzz::NamesTheLiving(expected)) fuzz::waited_for_dead_us += timeout_us;
  if (fuzz::waited_for_dead_us > fuzz::kMostForDeadUs) fuzz::Fail("more than 2 s for the dead");
  if (fuzz::waited_us > fuzz::kMostUs) fuzz::Fail("no end of waiting");
}

void FutexWake(const void*, uint32_t) noexcept {}

uint64_t MonotonicUs() noexcept { return fuzz::now_us; }

// ---- platform/process --------------------------------------------------------------------------

uint32_t ProcessId() noexcept { return 1; }
uint32_t UserId() noexcept { return 0; }
bool IsInGroup(uint32_t) { return false; }
uint64_t StartTime(uint32_t) noexcept { return 1; }
uint64_t PidNamespace() noexcept { return 1; }
std::string BootId() { return "the first"; }
char ProcessState(uint32_t) noexcept { return 'R'; }
std::string DescribeProcess(uint32_t) { return "pid 1 (running)"; }

// ---- platform/private_pages --------------------------------------------------------------------

int MapPrivate(uint64_t size_bytes, ForkRule, void** base) noexcept {
  if (posix_memalign(base, 64, size_bytes) != 0) return ENOMEM;
  std::memset(*base, 0, size_bytes);
  return 0;
}
void UnmapPrivate(void* base, uint64_t) noexcept { std::free(base); }
void DropPrivate(void* base, uint64_t size_bytes) noexcept { std::memset(base, 0, size_bytes); }

// ---- base/defects ------------------------------------------------------------------------------

namespace detail {
void CheckFailed(const char* text, const char*, int) noexcept { fuzz::Stop("CHECK failed", text); }
}  // namespace detail

namespace defect {

void NullFree(const char* operation) noexcept { fuzz::Stop("NullFree", operation); }
void ForeignPointer(const char* operation, uint64_t, uint64_t) noexcept {
  fuzz::Stop("ForeignPointer", operation);
}
void ForeignPointer(const char* operation, ipc::AllocatorId, ipc::AllocatorId) noexcept {
  fuzz::Stop("ForeignPointer", operation);
}
void InvalidFree(const char* operation, uint64_t) noexcept { fuzz::Stop("InvalidFree", operation); }
void DoubleFree(const char* operation, uint64_t) noexcept { fuzz::Stop("DoubleFree", operation); }
void BadAlignment(const char* operation, uint64_t) noexcept {
  fuzz::Stop("BadAlignment", operation);
}
void Corruption(const char* what, uint64_t) noexcept { fuzz::Stop("Corruption", what); }
void NotTheHolder(const char* operation, uint64_t) noexcept {
  fuzz::Stop("NotTheHolder", operation);
}
void NotAttached(const char* operation) noexcept { fuzz::Stop("NotAttached", operation); }
void OverlappingBlock(const char* operation, uint64_t) noexcept {
  fuzz::Stop("OverlappingBlock", operation);
}
void WrongSize(const char* operation, uint64_t, uint64_t, uint64_t) noexcept {
  fuzz::Stop("WrongSize", operation);
}
void EmptyHandle(const char* name) noexcept { fuzz::Stop("EmptyHandle", name); }
void ClosedArena(const char* operation, uint32_t) noexcept { fuzz::Stop("ClosedArena", operation); }

}  // namespace defect
}  // namespace hshm
