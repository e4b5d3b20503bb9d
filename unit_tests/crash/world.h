#ifndef HSHM_UNIT_TESTS_CRASH_WORLD_H_
#define HSHM_UNIT_TESTS_CRASH_WORLD_H_

#include <algorithm>
#include <cstdint>
#include <functional>
#include <memory>
#include <random>
#include <semaphore>
#include <string>
#include <thread>
#include <vector>

#include "crash/heap_walk.h"
#include "crash/store_tracer.h"
#include "hermes_shm/memory/backend/array_backend.h"

namespace hshm::ipc::crash {

/**
 * Several "processes" in one: handles on one region, each with a slot and private state of its
 * own, and threads of them. Every operation goes through here, so that the shadow list knows what
 * lives; while the world is traced, each is a phase of the log.
 *
 * A thread of a handle is played by the main thread under that thread's context: a real thread
 * makes the context and rests until its end.
 */
class World {
 public:
  /** A thread of a handle. */
  struct Actor {
    uint32_t handle_;
    MemContext context_;
    uint32_t helper_;  // number of the resting thread, kMain for the main thread
  };
  static constexpr uint32_t kMain = ~uint32_t{0};

  /** A region that is there already, or zeroed memory and a new allocator. */
  World(char* region, uint64_t size_bytes, TraceLog* log, uint64_t seed);

  std::mt19937_64& rng() { return rng_; }
  uint32_t Random(uint32_t below) { return static_cast<uint32_t>(rng_() % below); }

  // ---- tracing -------------------------------------------------------------------------------
  void Trace(bool is_on) { is_tracing_ = is_on; }
  StoreTracer& tracer() { return tracer_; }
  /** Runs an operation, traced or not; `unknown_allowed` blocks, or runs of remote frees, may be in
   * flight in it: most have a run in their hands for a moment, a reallocation a block as well. */
  void Step(const char* what, uint32_t unknown_allowed, const std::function<void()>& operation);
  /** An image of the region as it is now, with what must hold while nobody works. */
  void Rest();
  /** Adds the blocks of another world: known before this one, as an image's were. New ones have
   * other patterns. */
  void Know(const std::vector<ShadowBlock>& blocks, uint32_t unknown) {
    blocks_ = blocks;
    unknown_ = unknown;
    for (const ShadowBlock& block : blocks) next_seed_ = std::max(next_seed_, block.seed_ + 1);
  }

  // ---- set-up --------------------------------------------------------------------------------
  void Init(const MultiProcessOptions& options = {});
  void Reopen();  // everyone so far is dead for those who attach from now on
  /** @return the number of the actor; kMain when the region is full */
  uint32_t Attach(const MultiProcessOptions& options = {});
  void Detach(uint32_t handle, multi_process::DetachMode mode);
  /** The handle's process is dead, as far as the others can tell. */
  void Kill(uint32_t handle);
  /**
   * Goes on in a forked child of the handle's process, which makes its first call: it joins as a
   * process of its own. The process that called lives as long, does nothing more, and ends as the
   * child does; so do the threads and the other handles, which have no actors from here on.
   * @return the number of the child's actor; kMain when there is no room for it
   */
  uint32_t Fork(uint32_t handle);
  /** A thread of the handle's process makes its first call. @return the number of the actor */
  uint32_t StartThread(uint32_t handle);
  void EndThread(uint32_t actor);

  /** An operation of the handle stands still: takes its actors out of the world, and its blocks in
   * flight out of reach. */
  std::vector<Actor> SetAside(uint32_t handle);
  void Interrupted(bool is_interrupted) { is_interrupted_ = is_interrupted; }
  void Resume(const std::vector<Actor>& aside) {
    actors_.insert(actors_.end(), aside.begin(), aside.end());
  }
  /** The block is written by the test itself: it lives, but its bytes are not looked at. */
  void LoseContentsOf(uint32_t index) { blocks_[index].size_bytes_ = 0; }
  /** Blocks in flight in an operation that never ends are nobody's. @return how many */
  uint32_t LoseUncertain();

  // ---- operations ----------------------------------------------------------------------------
  /** @return false when there was no room */
  bool Allocate(uint32_t actor, uint32_t size_bytes, uint32_t alignment = 0);
  /** Frees block number `index` of the shadow list. */
  void Free(uint32_t actor, uint32_t index);
  /** What a free of a large block does when the root's lock is not to be had. */
  void FreeWithoutRoot(uint32_t index);
  void Reallocate(uint32_t actor, uint32_t index, uint32_t size_bytes);
  /** The block lives all the time, as long as the shorter of both sizes. Where others go on
   * meanwhile it is to be `is_hidden` from them. @return false when its size is as before */
  bool ResizeInPlace(uint32_t actor, uint32_t index, uint32_t size_bytes, bool is_hidden = false);
  void Recover(uint32_t actor);
  void Trim(uint32_t actor);
  void Reclaim(uint32_t actor, uint32_t dead_handle);
  /** One operation of a random actor, sizes of all kinds. */
  void RandomOperation();
  uint32_t RandomSize();

  const std::vector<ShadowBlock>& blocks() const { return blocks_; }
  const std::vector<Actor>& actors() const { return actors_; }
  /** Number of a random block that a live handle may free; kMain when there is none. */
  uint32_t RandomBlock();
  Allocator* handle(uint32_t number) const { return handles_[number].allocator_; }
  ArrayBackend& backend() { return *backend_; }
  Region region() const { return {region_, size_bytes_, nullptr}; }
  char* Address(uint64_t offset) const { return region_ + offset; }

 private:
  struct Handle {
    Allocator* allocator_;
    OnDeath on_death_;
    uint32_t slot_;
    uint32_t generation_;
  };
  /** A thread that makes a context and then rests until it is told to end. */
  struct Helper {
    std::binary_semaphore go_{0};
    std::binary_semaphore done_{0};
    std::thread thread_;
  };

  void AddBlock(uint32_t handle, uint64_t offset, uint32_t size_bytes);
  void Forget(const ShadowBlock& block);
  void Snapshot(const char* what, uint32_t unknown_allowed);
  bool HasRemains() const;
  uint32_t AddHandle(Allocator* allocator, const MultiProcessOptions& options, MemContext context);
  void DropActorsOf(uint32_t handle);
  void MakeUncertain(uint32_t handle);

  char* region_;
  uint64_t size_bytes_;
  TraceLog* log_;
  StoreTracer tracer_;
  std::mt19937_64 rng_;
  bool is_tracing_ = false;
  bool has_base_ = false;
  bool is_interrupted_ = false;
  uint32_t unknown_ = 0;  // lost in an earlier death
  uint32_t next_seed_ = 1;
  std::unique_ptr<ArrayBackend> backend_;
  std::vector<std::unique_ptr<ArrayBackend>> old_backends_;
  std::vector<Handle> handles_;
  std::vector<Actor> actors_;
  std::vector<std::unique_ptr<Helper>> helpers_;
  std::vector<ShadowBlock> blocks_;
};

/** Fills a block with its pattern; true when a block still has it. */
void FillPattern(char* block, uint32_t size_bytes, uint32_t seed);
bool HasPattern(const char* block, uint32_t size_bytes, uint32_t seed);

}  // namespace hshm::ipc::crash

#endif  // HSHM_UNIT_TESTS_CRASH_WORLD_H_
