#ifndef HSHM_UNIT_TESTS_CRASH_SCALABLE_PAGE_CUTS_H_
#define HSHM_UNIT_TESTS_CRASH_SCALABLE_PAGE_CUTS_H_

#include <cstdint>
#include <functional>
#include <map>
#include <random>
#include <string>
#include <unordered_set>
#include <vector>

#include "crash/store_tracer.h"
#include "crash/trace_log.h"
#include "hermes_shm/memory/allocator/scalable_page_allocator.h"
#include "hermes_shm/memory/backend/array_backend.h"

/**
 * Deaths at every store of a scalable page allocator. No process keeps a private state here, so
 * that unlike in world.h and oracle.h one handle after the other is enough: who recovers an image
 * sees everybody of before as dead.
 */
namespace hshm::ipc::crash::scalable {

using Heap = SmallScalablePageAllocator;
using Config = multi_process::SmallPages;

/** Some 55 data pages of 4 KiB. */
inline constexpr uint64_t kRegionBytes = 264 * 1024;

/** Whole system pages for a region. */
class Memory {
 public:
  Memory();
  ~Memory();
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;
  char* get() const { return base_; }

 private:
  char* base_;
};

/** A process that allocates and frees, traced or not, and knows what it has. */
class Player {
 public:
  Player(char* region, TraceLog* log, uint64_t seed)
      : region_(region), log_(log), tracer_(region, kRegionBytes, log), rng_(seed) {}

  uint32_t Random(uint32_t below) { return static_cast<uint32_t>(rng_() % below); }
  void Trace() { is_tracing_ = true; }

  void Init();
  /** The region as somebody left it, with what is known of it; everybody of before is dead. */
  void Inherit(const uint64_t* image, const std::vector<ShadowBlock>& blocks, uint32_t unknown);
  /** Joins, and repairs all that there is to repair. */
  void Recover();

  bool Allocate(uint32_t size_bytes, uint32_t alignment = 16);
  /** Block number `index` of blocks(). */
  void Free(uint32_t index);
  void Reallocate(uint32_t index, uint32_t size_bytes);
  void Trim();
  void RandomOperation();
  const std::vector<ShadowBlock>& blocks() const { return blocks_; }

 private:
  void Step(const char* what, uint32_t unknown, const std::function<void()>& operation);
  void Add(uint64_t offset, uint32_t size_bytes);
  void Forget(uint32_t seed);

  char* region_;
  TraceLog* log_;
  StoreTracer tracer_;
  std::mt19937_64 rng_;
  bool is_tracing_ = false;
  bool has_base_ = false;
  uint32_t unknown_ = 0;
  uint32_t next_seed_ = 1;
  ArrayBackend backend_;
  Heap* heap_ = nullptr;
  std::vector<ShadowBlock> blocks_;
};

/** Plays in traced children and judges every distinct image that they make. */
class Cuts {
 public:
  using Play = std::function<void(Player& player)>;

  explicit Cuts(const char* name);

  /** `count` plays; of each, `cut_recoveries` images are also recovered under the tracer. */
  void Run(uint32_t count, const Play& play, uint32_t cut_recoveries = 0);
  uint64_t images() const { return hashes_.size(); }
  uint64_t violations() const { return violations_; }
  /** Stores to words of this kind: "owner", "span", "counts", "marks", "lists", "header". */
  uint64_t StoresTo(const std::string& kind) const;
  void Report() const;

 private:
  void RunOne(uint64_t seed, const Play& play, uint32_t cut_recoveries);
  bool PlayInChild(uint64_t seed, const Play& play);
  void Select();
  void JudgeAll(uint64_t seed);
  /** In a child: every so many images from `first` on. @return images that broke a promise */
  int JudgeFrom(uint32_t first, uint64_t seed);
  void CutRecoveries(uint64_t seed, uint32_t count);

  const char* name_;
  uint64_t first_seed_;
  TraceLog log_;
  std::vector<bool> is_selected_;
  std::unordered_set<uint64_t> hashes_;
  std::map<std::string, uint64_t> stores_;
  uint64_t violations_ = 0;
};

}  // namespace hshm::ipc::crash::scalable

#endif  // HSHM_UNIT_TESTS_CRASH_SCALABLE_PAGE_CUTS_H_
