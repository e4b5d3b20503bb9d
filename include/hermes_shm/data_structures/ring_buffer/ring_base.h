#ifndef HSHM_DATA_STRUCTURES_RING_BUFFER_RING_BASE_H_
#define HSHM_DATA_STRUCTURES_RING_BUFFER_RING_BASE_H_

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>

#include "hermes_shm/base/bits.h"
#include "hermes_shm/base/check.h"
#include "hermes_shm/data_structures/ring_buffer/ring_view.h"
#include "hermes_shm/data_structures/shareable.h"
#include "hermes_shm/platform/futex.h"
#include "hermes_shm/sync/mutex.h"

namespace hshm::ipc {

/**
 * What the handles of ring buffers have in common: life cycle, closing, and waiting around the
 * try_push and try_pop of Derived (CRTP), which are those of ViewT and wake whoever waits.
 *
 * Waiting: who finds the ring full or empty sets a word, looks again, and sleeps on the word in
 * slices; the other side clears the word and wakes when it finds it set.
 * Invariant  Whether the ring is full or empty stands in its indices and cells; the words are
 * hints. Ordering   None is needed: a wake that is missed costs its sleeper one slice. ABA None: a
 * sleeper looks at the ring again whatever the word says. Crash      A dead sleeper leaves a word
 * set: the next push or pop wakes nobody, once.
 */
template <typename Derived, Shareable T, typename AllocT, typename ViewT, uint64_t kMagic>
class RingBase {
  static_assert(alignof(T) <= kCacheLineBytes, "A ring begins on a cache line, and no better");

 public:
  using value_type = T;
  using allocator_type = AllocT;
  static constexpr uint64_t kSliceUs = 1000;  // how long a missed wake can cost

  // ---- life cycle ------------------------------------------------------------------------------

  /** Makes a ring for at least `capacity` elements, rounded up to a power of two.
   * @throws Error kOutOfRange (capacity 0 or above 2^32), kNoSpace, kBackendInUse (the handle has
   * one) */
  void shm_init(AllocT* alloc, uint64_t capacity, const MemContext& ctx = HSHM_DEFAULT_MEM_CTX) {
    RequireEmptyHandle(view_.header(), kKind);
    if (capacity == 0 || capacity > uint64_t{1} << kMaxRingLog2) {
      ThrowOutOfRange(kKind.name_, "the capacity must be from 1 to 2^32 elements");
    }
    const uint64_t cells = std::bit_ceil(capacity);
    const uint64_t bytes = sizeof(RingHeader) + cells * ViewT::kCellBytes;
    const OffsetPtr<> block = AllocateObject(*alloc, ctx, bytes, kKind.name_);
    auto* header = ObjectAt<RingHeader>(*alloc, block);
    std::memset(static_cast<void*>(header), 0, bytes);
    header->capacity_log2_ = bits::FloorLog2(cells);
    PublishObject(header->tag_, kKind);
    Use(alloc, header);
  }

  /** Joins a ring that another rank has made. @throws Error kBackendInUse; see FindObject */
  void shm_attach(AllocT* alloc, OffsetPtr<> offset) {
    RequireEmptyHandle(view_.header(), kKind);
    const Region reach = ReachOf(*alloc, offset);
    FindObject(reach, offset.load(), sizeof(RingHeader), kKind);
    auto* header = ObjectAt<RingHeader>(*alloc, offset);
    const uint64_t behind = reach.size_bytes_ - offset.load() - sizeof(RingHeader);
    if (header->capacity_log2_ > kMaxRingLog2 || header->capacity() > behind / ViewT::kCellBytes) {
      ThrowOutOfRange(kKind.name_, "the capacity in its header cannot be right");
    }
    Use(alloc, header);
  }

  /** The handle is empty again; the ring stays. */
  void shm_detach() noexcept { view_ = ViewT(); }

  /** Frees the ring with all that is in it. From the call on no rank may use it: caller's duty. */
  void shm_destroy(const MemContext& ctx = HSHM_DEFAULT_MEM_CTX) noexcept {
    if (view_.header() == nullptr) return;
    HSHM_CHECK(RetireObject(header().tag_, kKind));
    alloc_->FreeOffsetNoNullCheck(ctx, offset());
    view_ = ViewT();
  }

  /** What the others attach to; null for an empty handle. */
  OffsetPtr<> offset() const noexcept {
    return view_.header() == nullptr ? OffsetPtr<>()
                                     : OffsetPtr<>(alloc_->GetRegion().OffsetOf(view_.header()));
  }

  /** For kernels, by value. kernel_base: where kernels see the region's first byte; null: here. */
  ViewT View(char* kernel_base = nullptr) const noexcept {
    if (kernel_base == nullptr) return view();
    return ViewT(reinterpret_cast<RingHeader*>(kernel_base + offset().load()), capacity());
  }

  // ---- state -----------------------------------------------------------------------------------

  uint64_t capacity() const noexcept { return view().capacity(); }

  /** Elements in the ring, claimed ones included; a guess while others push and pop. */
  uint64_t size() const noexcept { return view().size(); }
  bool empty() const noexcept { return view().empty(); }

  /** No push succeeds any more once it has begun after this; what is in the ring can be popped. */
  void close() noexcept {
    view().close();
    Wake(header().data_wanted_);
    Wake(header().room_wanted_);
  }
  bool is_closed() const noexcept { return view().is_closed(); }

  // ---- more ways to push and pop ---------------------------------------------------------------

  template <typename... Args>
  RingResult try_emplace(Args&&... args) {
    return self().try_push(T(std::forward<Args>(args)...));
  }

  /** Sleeps while the ring is full. kDone, kClosed or kTimeout. */
  RingResult push(const T& element, uint64_t timeout_us = kNoTimeout) noexcept {
    return Wait(header().room_wanted_, timeout_us, [&] { return self().try_push(element); });
  }

  /** Sleeps while the ring is empty. kDone, kClosed or kTimeout. */
  RingResult pop(T& element, uint64_t timeout_us = kNoTimeout) noexcept {
    return Wait(header().data_wanted_, timeout_us, [&] { return self().try_pop(element); });
  }

 protected:
  static constexpr ObjectKind kKind = {"a ring_buffer", kMagic, kRingLayoutVersion, sizeof(T), 0};

  // What a handle stands for: all but set-up goes through these, and stops at an empty handle.
  HSHM_INLINE const ViewT& view() const noexcept {
    if (HSHM_UNLIKELY(view_.header() == nullptr)) defect::EmptyHandle(kKind.name_);
    return view_;
  }
  HSHM_INLINE ViewT& view() noexcept {
    std::as_const(*this).view();
    return view_;
  }
  RingHeader& header() const noexcept { return *view().header(); }
  /** Who this process is for the words in cells. A process that can be no member must not push. */
  LockIdentity Identity() const noexcept {
    view();
    const LockIdentity me = alloc_->GetMembership().IdentityOrRejoin();
    HSHM_CHECK(me.peers_ != nullptr);
    return me;
  }

  /** After a push or pop. relaxed: a wake that is missed costs one slice. */
  HSHM_INLINE static void WakeIfWanted(Atomic<uint32_t>& wanted) noexcept {
    if (HSHM_UNLIKELY(wanted.load(std::memory_order_relaxed) != 0)) {  // relaxed: as above
      Wake(wanted);
    }
  }

 private:
  Derived& self() noexcept { return static_cast<Derived&>(*this); }

  void Use(AllocT* alloc, RingHeader* header) noexcept {
    alloc_ = alloc;
    view_ = ViewT(header, header->capacity());
  }

  HSHM_NOINLINE static void Wake(Atomic<uint32_t>& wanted) noexcept {
    wanted.store(0, std::memory_order_relaxed);  // relaxed: sleepers look at the ring itself
    FutexWake(&wanted, ~uint32_t{0});
  }

  template <typename Try>
  RingResult Wait(Atomic<uint32_t>& wanted, uint64_t timeout_us, const Try& attempt) noexcept {
    RingResult result = attempt();
    if (!MayChange(result)) return result;
    const uint64_t start_us = MonotonicUs();
    for (;;) {
      wanted.store(1);
      result = attempt();
      if (!MayChange(result)) return result;
      const uint64_t waited_us = MonotonicUs() - start_us;
      if (waited_us >= timeout_us) return RingResult::kTimeout;
      FutexWait(&wanted, 1, std::min(kSliceUs, timeout_us - waited_us));
    }
  }
  static bool MayChange(RingResult result) noexcept {
    return result == RingResult::kFull || result == RingResult::kEmpty;
  }

  AllocT* alloc_ = nullptr;
  ViewT view_;
};

}  // namespace hshm::ipc

#endif  // HSHM_DATA_STRUCTURES_RING_BUFFER_RING_BASE_H_
