#ifndef HSHM_MEMORY_ALLOCATOR_MULTI_PROCESS_ALLOCATOR_H_
#define HSHM_MEMORY_ALLOCATOR_MULTI_PROCESS_ALLOCATOR_H_

#include <bit>
#include <bitset>
#include <concepts>
#include <memory>

#include "hermes_shm/memory/allocator/base_allocator.h"
#include "hermes_shm/memory/allocator/multi_process/options.h"
#include "hermes_shm/memory/allocator/multi_process/process_block.h"
#include "hermes_shm/memory/allocator/multi_process/thread_context.h"
#include "hermes_shm/platform/forked.h"
#include "hermes_shm/thread/thread_model_manager.h"

namespace hshm::ipc {

using multi_process::DetachMode;

namespace multi_process {

/** What a region's header says of its heap. */
template <typename Config, Sharing kSharing>
constexpr AllocatorType TypeOfHeap() {
  if (kSharing == Sharing::kOneProcess) {
    return Config::kChecked ? AllocatorType::kCheckedThreadLocal : AllocatorType::kThreadLocal;
  }
  if (Config::kPageShift == LargePages::kPageShift) {
    return Config::kChecked ? AllocatorType::kCheckedMultiProcess : AllocatorType::kMultiProcess;
  }
  return Config::kChecked ? AllocatorType::kCheckedMultiProcessSmallPages
                          : AllocatorType::kMultiProcessSmallPages;
}

}  // namespace multi_process

/**
 * One heap for all threads of all processes that attach to a region. Anyone allocates, anyone else
 * frees, and the heap outlives the death of any process.
 *
 *   root     units of a process (up to 1 GiB), larger blocks        a mutex across processes
 *    process   units of a thread (up to 16 MiB), larger runs        a private mutex
 *     thread    pages of 64 KiB, blocks of 80 sizes                 nothing: one writer
 *
 * Each tier hands large pieces to the next, so the hot path writes only memory that one thread
 * writes. Truth is a word: the head word of a unit and the owner word of a page say who has what,
 * and each operation commits by one store or CAS. Lists, counts and the private memory of a process
 * are caches that a survivor rebuilds. Frees by another thread go onto the page's remote list, up
 * to 16 with one CAS; they count as freed before, while they wait. See docs/protocols.md for the
 * words, their order, and what a death leaves.
 *
 * Sizes up to 64 KiB are rounded up to a size class (at most an eighth is waste; above 8 KiB a
 * fifth, where the next class had a block to spare), larger ones to whole pages, those above a
 * process unit to root granules. Size 0 gives a block of 16 bytes.
 * Alignment counts from the region start: an address has it as far as the backend's base does.
 *
 * Null means that no process keeps a wholly free page that would have done, but for one page a size
 * class and heap that is being allocated from, and 64 a heap of whose blocks it holds the last ones
 * that it freed. A heap lets go of these before it reports null, and at its thread's end.
 *
 * A process that ends without shm_detach is treated as shm_detach(kKeepLive) by the next one that
 * joins or finds no room. A forked child joins as a process of its own with its first call.
 *
 * The chunks of an arena are ordinary blocks of its process: shm_detach and OnDeath::kReclaim
 * delete them if they have not been popped, kKeepLive and any other death leave them to be read.
 *
 * Config says the size of pages and the policy. Fast notes nothing of blocks. Checked has a mark
 * for each in the region, a sixteenth of its size, and stops at the call with DoubleFree,
 * InvalidFree, ForeignPointer, OverlappingBlock or Corruption; see docs/misuse.md. A region is of
 * one policy.
 */
template <typename Config, multi_process::Sharing kSharing = multi_process::Sharing::kManyProcesses>
class HSHM_API BasicMultiProcessAllocator
    : public BaseAllocator<BasicMultiProcessAllocator<Config, kSharing>> {
  using Base = BaseAllocator<BasicMultiProcessAllocator<Config, kSharing>>;
  using Front = multi_process::HeapFront<Config>;
  using Process = multi_process::ProcessBlock<Config>;

 public:
  using Heap = multi_process::ThreadHeap<Config>;

  static constexpr AllocatorType kType = multi_process::TypeOfHeap<Config, kSharing>();
  static constexpr bool kFindsNullFrees = true;

  BasicMultiProcessAllocator();
  ~BasicMultiProcessAllocator();

  /** Joins with units of these sizes, in bytes: spelled as in the requirements. */
  using Base::shm_attach;
  template <std::integral P, std::integral T>
  MemContext shm_attach(const Region& region, P process_unit, T thread_unit) {
    MultiProcessOptions options;
    options.process_unit_bytes_ = static_cast<uint64_t>(process_unit);
    options.thread_unit_bytes_ = static_cast<uint64_t>(thread_unit);
    return Base::shm_attach(region, options);
  }

  /**
   * Leaves. Everything that this process allocated is deleted: from the call on no rank may use or
   * free it. Blocks adopted from the dead stay. No thread of this process may be in a call.
   */
  using Base::shm_detach;
  /** kKeepLive: blocks that others may hold stay valid; the rest goes back. */
  void shm_detach(DetachMode mode) {
    mode_ = mode;
    Base::shm_detach();
    mode_ = DetachMode::kDelete;
  }

  // ---- what BaseAllocator builds on; all noexcept, null when there is no room ------------------

  HSHM_INLINE OffsetPtr<> AllocateOffset(const MemContext& ctx, size_t size) noexcept {
    return OffsetPtr<>(AllocatePlaced(ctx, size).offset_);
  }
  /** With the address as the heap's front has it, which costs a load less than to form it anew. */
  HSHM_INLINE PlacedBlock AllocatePlaced(const MemContext& ctx, size_t size) noexcept {
    if (Front* front = FrontOf(ctx); HSHM_LIKELY(front != nullptr)) {
      const PlacedBlock block = front->TryPlace(size);
      if (HSHM_LIKELY(block.offset_ != 0)) return block;
      // The heap is known, and need not be looked for again; here and below.
      if (HSHM_LIKELY(front != Front::Nobody())) {
        return this->region_.Place(static_cast<Heap*>(front)->AllocateRest(size));
      }
    }
    return this->region_.Place(AllocateRare(NumberOf(ctx), size).load());
  }
  OffsetPtr<> AlignedAllocateOffset(const MemContext& ctx, size_t size, size_t alignment) noexcept;
  /** Above 64 KiB only what was ever written since it came from the system is written again: on
   * private pages known from notes, in a tmpfs asked of the system. */
  OffsetPtr<> AllocateZeroedOffset(const MemContext& ctx, size_t size) noexcept;
  OffsetPtr<> ReallocateOffsetNoNullCheck(const MemContext& ctx, OffsetPtr<> offset,
                                          size_t new_size) noexcept;
  HSHM_INLINE void FreeOffsetNoNullCheck(const MemContext& ctx, OffsetPtr<> offset) noexcept {
    if (Front* front = FrontOf(ctx); HSHM_LIKELY(front != nullptr)) {
      // The page's entry and the block's address do not depend on the heap: the handle knows both.
      const auto freed = front->TryFree(pages_, offset.load());
      if (HSHM_LIKELY(freed == Front::Freed::kDone)) return;
      if (freed == Front::Freed::kPageWaits) {
        static_cast<Heap*>(front)->FinishFree(offset.load());
        return;
      }
      if (HSHM_LIKELY(front != Front::Nobody())) {
        return static_cast<Heap*>(front)->FreeRest(offset.load(), freed);
      }
    }
    FreeRare(NumberOf(ctx), offset);
  }

  /** For GetUsableSize. */
  size_t GetUsableBytes(OffsetPtr<> offset) noexcept;
  /** For ResizeInPlace. */
  bool ResizeBlock(OffsetPtr<> offset, size_t size) noexcept;

  /** Bytes in blocks that some process holds, size classes rounded up. Exact while no one works. */
  size_t GetCurrentlyAllocatedSize() noexcept;

  /** The calling thread's context, made if need be: naming it in later calls saves a look-up.
   * Not valid when there is no room. */
  MemContext CreateTls(const MemContext& ctx) noexcept;
  /** Gives the calling thread's heap back before the thread ends. */
  void FreeTls(const MemContext& ctx) noexcept;

  /** On which NUMA node this process's units were asked for, and what became of it. */
  UnitPlacement GetPlacement() noexcept;

  /** Walks everything in a quiet region; says what is wrong on standard error. */
  bool Check() noexcept;

  // ---- death -----------------------------------------------------------------------------------

  /** Adopts what dead processes left, or deletes it where OnDeath::kReclaim says so. What has to
   * wait for a heap whose holder is stopped is left to a later call, which counts it again.
   * @return how many had left something */
  uint32_t Recover() noexcept;
  /** Deletes all that a dead process had allocated, as long as nobody has adopted it. False when
   * that is so, when it lives, or had nothing; and, with nothing done, beside a heap whose holder
   * is stopped: then it may be asked again. Slot and generation: GetMembership() in its life. */
  bool Reclaim(uint32_t slot, uint32_t generation) noexcept;
  /** Gives what no thread uses, and whole units, back to the root. */
  void Trim() noexcept;

  // ---- for a host that keeps its threads' heaps itself: the malloc library ---------------------

  /** A heap that no thread has; null when there is no room or 1024 are out. One thread at a time
   * uses it. */
  Heap* AcquireHeap() noexcept { return process_->AcquireHeap(); }
  /** As it is, blocks and all, for whoever acquires one next. */
  void ReleaseHeap(Heap* heap) noexcept { process_->ReleaseHeap(heap); }

  /**
   * Around a fork() after which the child has a copy of the region to itself: private memory, or
   * shared memory that the child replaces by a copy. The host sees to it that no other thread is in
   * a call but for TryAllocate, TryRefill, TryFree, TryFreeToRun and FreeFar, which a fork may cut
   * anywhere; of each such cut call one block, or one run, may be lost to the child, and the child
   * calls SettleAll() on each heap of such a thread before it uses it. The locks are held from
   * before fork() until LetGoAfterFork() in the parent and in the child.
   */
  void HoldForFork() noexcept { process_->HoldForFork(); }
  /** In the child, before any other call: it goes on in its copy as what its parent is in the
   * original, with all blocks and heaps. */
  void GoOnAsParent() noexcept;
  void LetGoAfterFork() noexcept { process_->LetGoAfterFork(); }

 private:
  friend Base;

  /** Of two, the one that calls look at, see Current. A forked child finds both wiped: epoch_ and
   * first_context_ 0. Its first call joins anew and fills the other one, so that those who come
   * meanwhile, also with a context of the parent's, see nothing that is half done. */
  struct Identity {
    Atomic<uint64_t> epoch_;  // released by Identify, acquired by HasJoined
    uint64_t first_context_;  // see IndexOf; 0: none names a heap, as a parent had the slot
    Atomic<uint32_t> is_joining_;
    uint32_t has_process_;  // 1: process_ is this child's own, if not started yet
    Front* fronts_[multi_process::kMaxThreads];  // by heap index; its own thread reads it
  };
  /** What a thread's storage holds; destroy() runs at the thread's end. */
  struct ThreadContext {
    BasicMultiProcessAllocator* allocator_;
    Heap* heap_;
    uint64_t epoch_;
    void destroy() noexcept;
  };

  void AddStats(AllocatorStats* stats);
  MemContext Init(Offset core, const MultiProcessOptions& options = {});
  MemContext Attach(Offset core, const MultiProcessOptions& options = {});
  void Detach();

  /** The front of the heap that the context names, or null: see GetHeap. A default that is written
   * out in the call is known to the compiler and goes to the thread's table at once. */
  HSHM_INLINE Front* FrontOf(const MemContext& ctx) noexcept {
    const bool is_valid = ctx.IsValid();
    const Identity* identity = Current();
    if (!__builtin_constant_p(is_valid) || is_valid) {
      const uint64_t index = IndexOf(ctx, identity->first_context_);
      if (HSHM_LIKELY(index < multi_process::kMaxThreads)) return Known(identity->fronts_[index]);
      if (is_valid) return nullptr;
    }
    const multi_process::CachedHeap& cached = multi_process::CachedHeapAt(cache_offset_);
    if (HSHM_UNLIKELY(cached.epoch_ != EpochOf(identity))) return nullptr;
    return Known(static_cast<Front*>(cached.front_));
  }
  /**
   * A context of this process is its heap's index once the number of the first has been taken off,
   * so one compare with kMaxThreads tells it from the default, an arena's, one of another process
   * (a forked child's parent, too) and one beyond all heaps. Where `first` is 0 it is of
   * none that this library gives out: only a made-up pid_ of 2^32 - kNoSlot comes so far.
   */
  static HSHM_INLINE uint64_t IndexOf(const MemContext& ctx, uint64_t first) noexcept {
    return std::rotl(NumberOf(ctx) + kNoSlot - first, 32);
  }
  /** What IndexOf takes for the context of the heap with index 0 in the slot. */
  static uint64_t FirstContextOf(uint32_t slot) noexcept {
    return NumberOf(MemContext(slot, 0)) + kNoSlot;
  }
  static HSHM_INLINE uint64_t EpochOf(const Identity* identity) noexcept {
    // relaxed: the thread that asks has noted the epoch itself, in FindHeap
    return identity->epoch_.load(std::memory_order_relaxed);
  }
  HSHM_INLINE Identity* Current() const noexcept {
    return identity_.load(std::memory_order_acquire);  // pairs with Identify
  }
  static HSHM_INLINE Front* Known(Front* front) noexcept {
    if (front == nullptr) __builtin_unreachable();  // so that nobody asks again
    return front;
  }
  static HSHM_INLINE uint64_t NumberOf(const MemContext& ctx) noexcept {
    return (uint64_t{ctx.tid_} << 32) | ctx.pid_;
  }
  static MemContext ContextOf(uint64_t number) noexcept {
    return MemContext(static_cast<uint32_t>(number), static_cast<uint32_t>(number >> 32));
  }
  /** The calling thread's heap, made if need be; null when there is no room, or for an arena. */
  Heap* GetHeap(const MemContext& ctx) noexcept;
  Heap* FindHeap() noexcept;
  // The context as a number, as the fast path has it in a register.
  OffsetPtr<> AllocateRare(uint64_t context, size_t size) noexcept;
  void FreeRare(uint64_t context, OffsetPtr<> block) noexcept;
  MemContext Start(Offset core, const MultiProcessOptions& options, bool is_found);
  Heap* Join(bool is_found);
  std::unique_ptr<Process> MakeProcess();
  bool RejoinForkedChild() noexcept;
  bool HasJoined() const noexcept;
  void Identify() noexcept;
  MemContext ContextOf(const Heap* heap) const noexcept;

  static Identity kDetached;
  /** No context has 2^32 less this as its pid_. */
  static constexpr uint64_t kNoSlot = uint64_t{1} << 30;

  Atomic<Identity*> identity_ = &kDetached;  // epoch_ there is 0
  uint64_t cache_offset_ = 0;  // of this handle's entry in the table of each thread, in bytes
  multi_process::PageTable<Config> pages_;  // as every heap here has it
  multi_process::CacheEntryLease cache_entry_;
  WipeOnForkPage<Identity> identities_[2];
  Offset core_ = 0;
  MultiProcessOptions options_;
  DetachMode mode_ = DetachMode::kDelete;
  uint32_t noted_slot_ = 0;  // what a forked child finds wiped in membership_
  uint32_t noted_generation_ = 0;
  std::bitset<kMaxSlots> parents_slots_;  // and of theirs: whose contexts may still be named here
  thread::ThreadLocalKey tls_key_;
  std::unique_ptr<Process> process_;
  std::unique_ptr<ThreadContext[]> contexts_;  // by heap index
};

extern template class BasicMultiProcessAllocator<multi_process::LargePages>;
extern template class BasicMultiProcessAllocator<multi_process::SmallPages>;
extern template class BasicMultiProcessAllocator<multi_process::LargePages,
                                                 multi_process::Sharing::kOneProcess>;
extern template class BasicMultiProcessAllocator<multi_process::CheckedLargePages>;
extern template class BasicMultiProcessAllocator<multi_process::CheckedSmallPages>;
extern template class BasicMultiProcessAllocator<multi_process::CheckedLargePages,
                                                 multi_process::Sharing::kOneProcess>;

using FastMultiProcessAllocator = BasicMultiProcessAllocator<multi_process::LargePages>;
/** Finds every misuse of a block at the call; see docs/misuse.md. */
using CheckedMultiProcessAllocator = BasicMultiProcessAllocator<multi_process::CheckedLargePages>;
using CheckedSmallMultiProcessAllocator =
    BasicMultiProcessAllocator<multi_process::CheckedSmallPages>;

#if HSHM_CHECKED
using MultiProcessAllocator = CheckedMultiProcessAllocator;
using SmallMultiProcessAllocator = CheckedSmallMultiProcessAllocator;
#else
/** What applications use: 64 KiB pages, the policy that this build of hshm was given. */
using MultiProcessAllocator = FastMultiProcessAllocator;
/** 4 KiB pages, for regions of a few hundred KiB. */
using SmallMultiProcessAllocator = BasicMultiProcessAllocator<multi_process::SmallPages>;
#endif

}  // namespace hshm::ipc

#endif  // HSHM_MEMORY_ALLOCATOR_MULTI_PROCESS_ALLOCATOR_H_
