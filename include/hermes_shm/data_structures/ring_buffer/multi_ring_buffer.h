#ifndef HSHM_DATA_STRUCTURES_RING_BUFFER_MULTI_RING_BUFFER_H_
#define HSHM_DATA_STRUCTURES_RING_BUFFER_MULTI_RING_BUFFER_H_

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <type_traits>

#include "hermes_shm/base/defects.h"
#include "hermes_shm/data_structures/ring_buffer.h"

namespace hshm::ipc {

/** One lane of a multi-ring: whose it is, and where its ring lies. */
struct alignas(kCacheLineBytes) LaneEntry {
  Atomic<uint64_t> producer_;  // [any] by CAS: CellWord::Holder of who pushes, 0: nobody
  uint64_t ring_offset_;       // [init]
};

/** In front of the lanes. */
struct alignas(kCacheLineBytes) MultiRingHeader {
  ObjectTag tag_;
  uint32_t lane_count_;           // [init]
  Atomic<uint32_t> data_wanted_;  // [any] 1: the consumer sleeps in pop
};
static_assert(std::is_standard_layout_v<MultiRingHeader>);
static_assert(sizeof(MultiRingHeader) == kCacheLineBytes);  // frozen by kMultiRingLayoutVersion
static_assert(sizeof(LaneEntry) == kCacheLineBytes);        // frozen by kMultiRingLayoutVersion

inline constexpr uint64_t kMultiRingMagic = 0x3172746c756d6873;  // "shmultr1" in memory order
inline constexpr uint32_t kMultiRingLayoutVersion = 1;
inline constexpr uint32_t kMaxLanes = 65536;

/**
 * Many rings, called lanes, that one consumer empties in turn: producers that never meet. With
 * lanes of kind kSpsc a push is two stores and no read-modify-write, however many push; the order
 * of elements holds within a lane.
 *
 *     producer rank 0 -> lane 0 --+
 *     producer rank 1 -> lane 1 --+--> one consumer, a lane after the other
 *     producer rank 2 -> lane 2 --+
 *
 * A producer takes a lane with claim_lane(), or uses one that was agreed on, such as its rank.
 *
 * Invariant  While producer_ names somebody alive, nobody else pushes to a lane of kind kSpsc that
 *            was got by claim_lane().
 * Ordering   release_lane releases producer_, claim_lane acquires it; after a death the query of
 *            Membership::IsDead does. So who takes a lane over sees all its producer wrote.
 * ABA        A dead {slot, generation} claims nothing any more, so a CAS that finds it robs nobody.
 * Crash      As the ring of a lane has it; a lane whose producer is dead can be claimed.
 */
template <Shareable T, typename AllocT, RingKind kKindOfLanes = RingKind::kSpsc>
class multi_ring_buffer {
 public:
  using value_type = T;
  using allocator_type = AllocT;
  using lane_type = ring_buffer<T, AllocT, kKindOfLanes>;
  static constexpr uint32_t kNoLane = ~uint32_t{0};

  // ---- life cycle ------------------------------------------------------------------------------

  /**
   * Makes `lanes` rings for at least `capacity` elements each, rounded up to a power of two.
   * @throws Error kOutOfRange (lanes not from 1 to 65536; capacity 0 or above 2^32), kNoSpace,
   * kBackendInUse (the handle has one)
   */
  void shm_init(AllocT* alloc, uint32_t lanes, uint64_t capacity,
                const MemContext& ctx = HSHM_DEFAULT_MEM_CTX) {
    RequireEmptyHandle(header_.get(), kKind);
    if (lanes == 0 || lanes > kMaxLanes) {
      ThrowOutOfRange(kKind.name_, "the number of lanes must be from 1 to 65536");
    }
    auto rings = std::make_unique<lane_type[]>(lanes);  // may throw: nothing is allocated yet
    const OffsetPtr<> block = AllocateObject(*alloc, ctx, BytesFor(lanes), kKind.name_);
    auto* header = ObjectAt<MultiRingHeader>(*alloc, block);
    std::memset(static_cast<void*>(header), 0, BytesFor(lanes));
    header->lane_count_ = lanes;
    uint32_t made = 0;
    try {
      for (; made < lanes; ++made) {
        rings[made].shm_init(alloc, capacity, ctx);
        LaneAt(header, made).ring_offset_ = rings[made].offset().load();
      }
    } catch (...) {
      while (made != 0) rings[--made].shm_destroy(ctx);
      alloc->FreeOffsetNoNullCheck(ctx, block);
      throw;
    }
    PublishObject(header->tag_, kKind);
    Use(alloc, header, std::move(rings));
  }

  /** Joins a multi-ring that another rank has made. @throws Error kBackendInUse; see FindObject */
  void shm_attach(AllocT* alloc, OffsetPtr<> offset) {
    RequireEmptyHandle(header_.get(), kKind);
    const Region reach = ReachOf(*alloc, offset);
    FindObject(reach, offset.load(), sizeof(MultiRingHeader), kKind);
    auto* header = ObjectAt<MultiRingHeader>(*alloc, offset);
    const uint32_t lanes = header->lane_count_;
    if (lanes == 0 || lanes > kMaxLanes || BytesFor(lanes) > reach.size_bytes_ - offset.load()) {
      ThrowOutOfRange(kKind.name_, "the number of lanes in its header cannot be right");
    }
    auto rings = std::make_unique<lane_type[]>(lanes);
    for (uint32_t i = 0; i < lanes; ++i) {
      rings[i].shm_attach(alloc, OffsetPtr<>(LaneAt(header, i).ring_offset_));
    }
    Use(alloc, header, std::move(rings));
  }

  /** The handle is empty again; the multi-ring stays. */
  void shm_detach() noexcept {
    header_ = nullptr;
    rings_.reset();
  }

  /** Frees all lanes with what is in them. From the call on no rank may use it: caller's duty. */
  void shm_destroy(const MemContext& ctx = HSHM_DEFAULT_MEM_CTX) noexcept {
    if (header_.get() == nullptr) return;
    HSHM_CHECK(RetireObject(header_->tag_, kKind));
    for (uint32_t i = 0; i < lane_count(); ++i) rings_[i].shm_destroy(ctx);
    alloc_->FreeOffsetNoNullCheck(ctx, offset());
    shm_detach();
  }

  /** What the others attach to; null for an empty handle. */
  OffsetPtr<> offset() const noexcept {
    return header_.get() == nullptr ? OffsetPtr<>()
                                    : OffsetPtr<>(alloc_->GetRegion().OffsetOf(header_.get()));
  }

  // ---- lanes -----------------------------------------------------------------------------------

  uint32_t lane_count() const noexcept { return header_->lane_count_; }
  /** State of one lane: its size, capacity, whether it is closed. */
  const lane_type& lane(uint32_t index) const noexcept { return rings_[CheckedLane(index)]; }

  /** A lane that nobody alive has claimed, from now on the caller's; kNoLane when there is none. */
  uint32_t claim_lane() noexcept {
    const uint32_t lanes = lane_count();
    const LockIdentity me = Identity();
    for (uint32_t i = 0; i < lanes; ++i) {
      Atomic<uint64_t>& producer = LaneAt(&*header_, i).producer_;
      uint64_t word = producer.load(std::memory_order_relaxed);  // relaxed: the CAS re-reads it
      if (word != 0 && !me.peers_->IsDead(CellWord::Slot(word), CellWord::Generation(word))) {
        continue;
      }
      if (producer.compare_exchange_strong(word, CellWord::Holder(me),
                                           std::memory_order_acquire,     // pairs with release_lane
                                           std::memory_order_relaxed)) {  // relaxed: not taken
        return i;
      }
    }
    return kNoLane;
  }

  /** Gives a claimed lane back, what is in it included. Stops with defect::NotTheHolder when this
   * process has not claimed it. */
  void release_lane(uint32_t index) noexcept {
    Atomic<uint64_t>& producer = LaneAt(&*header_, CheckedLane(index)).producer_;
    const uint64_t word = producer.load(std::memory_order_relaxed);  // relaxed: its holder's own
    if (word != CellWord::Holder(Identity())) {
      defect::NotTheHolder("multi_ring_buffer::release_lane", word);
    }
    producer.store(0, std::memory_order_release);  // pairs with claim_lane
  }

  // ---- producers -------------------------------------------------------------------------------

  /** kDone, kFull or kClosed. For lanes of kind kSpsc by the lane's one producer. */
  RingResult try_push(uint32_t index, const T& element) noexcept {
    const RingResult result = rings_[CheckedLane(index)].try_push(element);
    if (result == RingResult::kDone) WakeIfWanted();
    return result;
  }
  /** Sleeps while the lane is full. kDone, kClosed or kTimeout. */
  RingResult push(uint32_t index, const T& element, uint64_t timeout_us = kNoTimeout) noexcept {
    const RingResult result = rings_[CheckedLane(index)].push(element, timeout_us);
    if (result == RingResult::kDone) WakeIfWanted();
    return result;
  }

  // ---- the consumer ----------------------------------------------------------------------------

  /** One element of the next lane that has one. kDone, kEmpty, or kClosed when all lanes are. */
  RingResult try_pop(T& element) noexcept {
    bool all_closed = true;
    for (uint32_t tried = 0; tried < lane_count(); ++tried) {
      lane_type& ring = rings_[cursor_];
      cursor_ = cursor_ + 1 == lane_count() ? 0 : cursor_ + 1;
      const RingResult result = ring.try_pop(element);
      if (result == RingResult::kDone) return result;
      all_closed = all_closed && result == RingResult::kClosed;
    }
    return all_closed ? RingResult::kClosed : RingResult::kEmpty;
  }

  /** @return how many elements were popped, at most max_count; as many as can be a lane */
  uint64_t try_pop_n(T* elements, uint64_t max_count) noexcept {
    uint64_t popped = 0;
    for (uint32_t tried = 0; tried < lane_count() && popped < max_count; ++tried) {
      popped += rings_[cursor_].try_pop_n(elements + popped, max_count - popped);
      cursor_ = cursor_ + 1 == lane_count() ? 0 : cursor_ + 1;
    }
    return popped;
  }

  /** Sleeps while all lanes are empty. kDone, kClosed or kTimeout. */
  RingResult pop(T& element, uint64_t timeout_us = kNoTimeout) noexcept {
    RingResult result = try_pop(element);
    const uint64_t start_us = result == RingResult::kEmpty ? MonotonicUs() : 0;
    while (result == RingResult::kEmpty) {
      header_->data_wanted_.store(1);
      result = try_pop(element);
      if (result != RingResult::kEmpty) break;
      const uint64_t waited_us = MonotonicUs() - start_us;
      if (waited_us >= timeout_us) return RingResult::kTimeout;
      // A wake that is missed costs one slice.
      FutexWait(&header_->data_wanted_, 1, std::min(lane_type::kSliceUs, timeout_us - waited_us));
    }
    return result;
  }

  /** No push to any lane succeeds once it has begun after this; what is in the lanes stays. */
  void close() noexcept {
    for (uint32_t i = 0; i < lane_count(); ++i) rings_[i].close();
    Wake();
  }
  void close_lane(uint32_t index) noexcept {
    rings_[CheckedLane(index)].close();
    Wake();
  }

 private:
  static constexpr ObjectKind kKind = {"a multi_ring_buffer", kMultiRingMagic,
                                       kMultiRingLayoutVersion, sizeof(T), 0};

  static uint64_t BytesFor(uint32_t lanes) noexcept {
    return sizeof(MultiRingHeader) + uint64_t{lanes} * sizeof(LaneEntry);
  }
  static LaneEntry& LaneAt(MultiRingHeader* header, uint32_t index) noexcept {
    return reinterpret_cast<LaneEntry*>(header + 1)[index];
  }
  uint32_t CheckedLane(uint32_t index) const noexcept {
    HSHM_CHECK(index < header_->lane_count_);
    return index;
  }
  LockIdentity Identity() const noexcept {
    const LockIdentity me = alloc_->GetMembership().IdentityOrRejoin();
    HSHM_CHECK(me.peers_ != nullptr);
    return me;
  }
  void Use(AllocT* alloc, MultiRingHeader* header, std::unique_ptr<lane_type[]> rings) noexcept {
    alloc_ = alloc;
    header_ = header;
    rings_ = std::move(rings);
    cursor_ = 0;
  }
  void WakeIfWanted() noexcept {
    // relaxed: a wake that is missed costs one slice
    if (HSHM_UNLIKELY(header_->data_wanted_.load(std::memory_order_relaxed) != 0)) Wake();
  }
  void Wake() noexcept {
    header_->data_wanted_.store(0, std::memory_order_relaxed);  // relaxed: as above
    FutexWake(&header_->data_wanted_, ~uint32_t{0} >> 1);
  }

  AllocT* alloc_ = nullptr;
  ObjectLink<MultiRingHeader, &kKind> header_;
  std::unique_ptr<lane_type[]> rings_;
  uint32_t cursor_ = 0;  // the lane to look at next
};

}  // namespace hshm::ipc

#endif  // HSHM_DATA_STRUCTURES_RING_BUFFER_MULTI_RING_BUFFER_H_
