/**
 * Two processes of two threads each allocate, exchange and free blocks of mixed sizes, with pattern
 * checks, through a shared segment.
 *
 *   multi_process_exchange BLOCKS                       makes the segment, runs two of:
 *   multi_process_exchange BLOCKS SEGMENT SEED          one process; half of the blocks
 *
 * Exit status 0: no block overlapped another, and the live bytes are back to their first value.
 */
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "hermes_shm/base/error.h"
#include "hermes_shm/memory/allocator/multi_process_allocator.h"
#include "hermes_shm/memory/backend/posix_shm_mmap.h"

extern char** environ;

namespace {

using hshm::ipc::MultiProcessAllocator;
using hshm::ipc::OffsetPtr;

const hshm::ipc::MemContext kCtx = HSHM_DEFAULT_MEM_CTX;
constexpr uint64_t kRegionBytes = uint64_t{1} << 30;
constexpr int kProcesses = 2;
constexpr int kThreads = 2;

/** In the segment: blocks on their way from one thread to another, and what was counted. */
struct Exchange {
  static constexpr uint32_t kPlaces = 4096;
  std::atomic<uint64_t> places_[kPlaces];
  std::atomic<uint64_t> allocated_;
  std::atomic<uint64_t> freed_;
  std::atomic<uint64_t> broken_;
  std::atomic<uint64_t> refused_;
};

/** At the front of each block; its pattern fills the rest. */
struct Parcel {
  uint64_t offset_;  // of itself: two blocks at one place cannot both be right
  uint32_t size_;
  uint32_t tag_;
};

char PatternAt(uint32_t tag, uint64_t i) { return static_cast<char>(tag * 37 + i); }
uint64_t NextMarked(uint64_t i, uint64_t size) { return i + (i < 16 || i + 17 >= size ? 1 : 509); }

/** Mostly small, some of a page class, now and then a wide class or a run of pages. */
uint64_t RandomSize(std::minstd_rand& random) {
  const uint32_t kind = static_cast<uint32_t>(random() % 1000);
  if (kind < 900) return random() % 512;
  if (kind < 990) return random() % 8192;
  if (kind < 999) return random() % 65536;
  return random() % 300000;
}

uint64_t Make(MultiProcessAllocator& alloc, std::minstd_rand& random) {
  const uint64_t size = RandomSize(random);
  const OffsetPtr<> block = alloc.AllocateOffset(kCtx, sizeof(Parcel) + size);
  if (block.IsNull()) return 0;
  char* bytes = static_cast<char*>(alloc.Convert(block));
  const Parcel parcel{block.load(), static_cast<uint32_t>(size), static_cast<uint32_t>(random())};
  std::memcpy(bytes, &parcel, sizeof(parcel));
  bytes += sizeof(parcel);
  for (uint64_t i = 0; i < size; i = NextMarked(i, size)) bytes[i] = PatternAt(parcel.tag_, i);
  return block.load();
}

bool CheckAndFree(MultiProcessAllocator& alloc, uint64_t block) {
  const char* bytes = static_cast<const char*>(alloc.Convert(OffsetPtr<>(block)));
  Parcel parcel;
  std::memcpy(&parcel, bytes, sizeof(parcel));
  if (parcel.offset_ != block) return false;
  bytes += sizeof(parcel);
  for (uint64_t i = 0; i < parcel.size_; i = NextMarked(i, parcel.size_)) {
    if (bytes[i] != PatternAt(parcel.tag_, i)) return false;
  }
  alloc.FreeOffset(kCtx, OffsetPtr<>(block));
  return true;
}

void Trade(MultiProcessAllocator& alloc, Exchange& exchange, uint64_t blocks, uint32_t seed) {
  std::minstd_rand random(seed);
  uint64_t allocated = 0;
  uint64_t freed = 0;
  uint64_t broken = 0;
  uint64_t refused = 0;
  while (allocated < blocks && refused <= blocks) {
    const uint64_t made = Make(alloc, random);
    if (made == 0) {
      ++refused;
      continue;
    }
    ++allocated;
    // acq_rel: pairs with the exchanges of the other threads; the bytes go along
    const uint64_t taken = exchange.places_[random() % Exchange::kPlaces].exchange(
        made, std::memory_order_acq_rel);  // pairs with itself
    if (taken == 0) continue;
    CheckAndFree(alloc, taken) ? ++freed : ++broken;
  }
  exchange.allocated_ += allocated;
  exchange.freed_ += freed;
  exchange.broken_ += broken;
  exchange.refused_ += refused;
}

int RunProcess(uint64_t blocks, const char* segment, uint32_t seed) {
  hshm::ipc::PosixShmMmap backend;
  backend.shm_attach(segment);
  auto* alloc = backend.AttachAlloc<MultiProcessAllocator>();
  auto* exchange = alloc->FindRoot<Exchange>("exchange").ptr_;
  if (exchange == nullptr) return 2;
  std::vector<std::thread> threads;
  for (uint32_t i = 0; i < kThreads; ++i) {
    threads.emplace_back([=] { Trade(*alloc, *exchange, blocks / kThreads, seed + i); });
  }
  for (std::thread& thread : threads) thread.join();
  return 0;
}

/** True when both ended well. */
bool RunProcesses(const char* program, uint64_t blocks, const std::string& segment, uint32_t seed) {
  pid_t children[kProcesses];
  std::string count = std::to_string(blocks / kProcesses);
  bool is_good = true;
  for (int i = 0; i < kProcesses; ++i) {
    std::string own_seed = std::to_string(seed + static_cast<uint32_t>(i) * 1000);
    const char* arguments[] = {program, count.c_str(), segment.c_str(), own_seed.c_str(), nullptr};
    if (posix_spawn(&children[i], program, nullptr, nullptr, const_cast<char**>(arguments),
                    environ) != 0) {
      children[i] = -1;
      is_good = false;
    }
  }
  for (pid_t child : children) {
    int status = 0;
    if (child > 0) is_good = waitpid(child, &status, 0) == child && status == 0 && is_good;
  }
  return is_good;
}

int RunAll(const char* program, uint64_t blocks) {
  const std::string segment = "hshm-multi-process-exchange-" + std::to_string(getpid());
  const uint32_t seed = std::random_device()();
  const auto start = std::chrono::steady_clock::now();
  hshm::ipc::PosixShmMmap backend;
  hshm::ipc::PosixShmOptions options;
  options.allow_overcommit_ = true;
  backend.shm_init(hshm::ipc::MemoryBackendId(1), kRegionBytes, segment, options);
  auto* alloc = backend.MakeAlloc<MultiProcessAllocator>(hshm::ipc::AllocatorId(1, 0));
  const auto exchange = alloc->NewObj<Exchange>(kCtx);
  const size_t at_first = alloc->GetCurrentlyAllocatedSize();
  bool is_good =
      alloc->SetRoot("exchange", exchange) && RunProcesses(program, blocks, segment, seed);
  for (std::atomic<uint64_t>& place : exchange->places_) {
    if (place.load() == 0) continue;
    CheckAndFree(*alloc, place.load()) ? ++exchange->freed_ : ++exchange->broken_;
  }
  const bool is_checked = alloc->Check();
  const size_t at_last = alloc->GetCurrentlyAllocatedSize();
  const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start;
  std::printf(
      "seed %u: %llu blocks allocated, %llu freed, %llu broken, %llu refused, live bytes "
      "%zu -> %zu, Check %s, %.1f s\n",
      seed, static_cast<unsigned long long>(exchange->allocated_),
      static_cast<unsigned long long>(exchange->freed_),
      static_cast<unsigned long long>(exchange->broken_),
      static_cast<unsigned long long>(exchange->refused_), at_first, at_last,
      is_checked ? "ok" : "FAILED", taken.count());
  is_good = is_good && is_checked && at_first == at_last && exchange->broken_ == 0 &&
            exchange->refused_ == 0 && exchange->allocated_ == exchange->freed_ &&
            exchange->allocated_ == blocks / (kProcesses * kThreads) * (kProcesses * kThreads);
  backend.shm_destroy();
  return is_good ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    if (argc == 2) return RunAll("/proc/self/exe", std::strtoull(argv[1], nullptr, 10));
    if (argc == 4) {
      return RunProcess(std::strtoull(argv[1], nullptr, 10), argv[2],
                        static_cast<uint32_t>(std::strtoul(argv[3], nullptr, 10)));
    }
  } catch (const hshm::Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
  std::fprintf(stderr, "usage: multi_process_exchange BLOCKS\n");
  return 2;
}
