#ifndef HSHM_DATA_STRUCTURES_UNORDERED_MAP_H_
#define HSHM_DATA_STRUCTURES_UNORDERED_MAP_H_

#include <atomic>
#include <cstdint>
#include <cstring>
#include <functional>
#include <optional>
#include <type_traits>
#include <utility>

#include "hermes_shm/data_structures/hash.h"
#include "hermes_shm/data_structures/shareable.h"
#include "hermes_shm/data_structures/unordered_map/layout.h"
#include "hermes_shm/data_structures/unordered_map/locked_stripe.h"

namespace hshm::ipc {

/** What became of an operation on a map. */
enum class MapResult : uint32_t {
  kInserted,  // the key was absent and is there now
  kFound,     // the key was there
  kNotFound,  // the key was absent and still is
  kNoRoom,    // the allocator has no memory left; nothing changed
};

/**
 * A hash map that all ranks of a node read and change at the same time. The keys are spread over
 * stripes, each with a lock and a table of its own that grows on its own, so there is no moment at
 * which anybody waits for the whole map. See unordered_map/layout.h for the picture and
 * docs/unordered_map.md for the protocol.
 *
 * Invariant  Each entry is one block {key, value} of the allocator, made by whichever rank inserted
 *            it, and one slot in its stripe's table names it. It is freed by whoever erases it.
 * Ordering   Every operation runs under the lock of one stripe at a time; see LockedStripe.
 * ABA        None: nothing is changed without the lock.
 * Crash      An operation happens by one store: a slot (insert, erase, a value of more than 8
 *            bytes), the value, or active_ (growth). Its stripe is taken over by the next rank that
 *            wants it, repaired, and used. Lost is at most the one block in the dead rank's hands.
 *
 * A handle: lies in private memory, may be copied and moved, and any number of threads may use it.
 * It must not outlive its allocator's attachment. Operations take a MemContext as last, optional
 * argument. Functions passed in (fn, pred) run under a stripe's lock: they must be short, and must
 * neither use the map nor wait for a rank that does. A stopped rank that holds a stripe is waited
 * for. A process that can be no member of the region (all slots taken) must not call.
 */
template <Shareable Key, Shareable T, typename AllocT, typename HashT = Hash<Key>,
          typename EqualT = std::equal_to<Key>>
class unordered_map {
 public:
  using key_type = Key;
  using mapped_type = T;
  using allocator_type = AllocT;

  struct Options {
    uint64_t expected_entries_ = 0;  // first size of the tables; they grow beyond and start small
    uint32_t stripes_ = 0;  // power of two up to 65536; 0: 64 to 4096, from expected_entries_
  };

  unordered_map() = default;

  // ---- life cycle ------------------------------------------------------------------------------

  /** Makes an empty map. @throws Error kOutOfRange (stripes, region above 4 TiB), kNoSpace,
   * kBackendInUse (the handle has one), kUnsupported (an allocator whose blocks lie outside of its
   * region: malloc's) */
  void shm_init(AllocT* alloc, const Options& options = Options(),
                const MemContext& ctx = HSHM_DEFAULT_MEM_CTX);

  /** Joins a map that another rank has made. @throws Error kBackendInUse; see FindObject */
  void shm_attach(AllocT* alloc, OffsetPtr<> offset);

  /** The handle is empty again; the map stays. */
  void shm_detach() noexcept { *this = unordered_map(); }

  /** Frees all entries and the map. From the call on no rank may use it: caller's duty. */
  void shm_destroy(const MemContext& ctx = HSHM_DEFAULT_MEM_CTX) noexcept;

  /** What the others attach to; null for an empty handle. */
  OffsetPtr<> offset() const noexcept {
    return header_.get() == nullptr ? OffsetPtr<>()
                                    : OffsetPtr<>(alloc_->GetRegion().OffsetOf(header_.get()));
  }

  // ---- one key ---------------------------------------------------------------------------------

  /** kInserted, kFound (the old value stays) or kNoRoom. */
  MapResult insert(const Key& key, const T& value,
                   const MemContext& ctx = HSHM_DEFAULT_MEM_CTX) noexcept {
    return Change(
        key, ctx, [&] { return value; },
        [](Stripes&, uint64_t, Entry*) { return MapResult::kFound; });
  }

  /** As insert, with a value that is made from args only when the key is absent. */
  template <typename... Args>
  MapResult try_emplace(const Key& key, Args&&... args) {
    return Change(
        key, HSHM_DEFAULT_MEM_CTX, [&] { return T(std::forward<Args>(args)...); },
        [](Stripes&, uint64_t, Entry*) { return MapResult::kFound; });
  }

  /** kInserted, kFound (the value is the new one now) or kNoRoom. */
  MapResult insert_or_assign(const Key& key, const T& value,
                             const MemContext& ctx = HSHM_DEFAULT_MEM_CTX) noexcept {
    return Change(
        key, ctx, [&] { return value; },
        [&](Stripes& stripe, uint64_t index, Entry* entry) {
          return Assign(stripe, index, entry, value, ctx);
        });
  }

  /**
   * Runs fn(T&) on the key's value, first inserting `init` when the key is absent. Counting is
   * upsert(key, [](auto& n) { ++n; }). kInserted, kFound or kNoRoom.
   */
  template <typename Fn>
  MapResult upsert(const Key& key, Fn&& fn, const T& init = T(),
                   const MemContext& ctx = HSHM_DEFAULT_MEM_CTX) {
    const auto made = [&] {
      T value = init;
      fn(value);
      return value;
    };
    return Change(key, ctx, made, [&](Stripes& stripe, uint64_t index, Entry* entry) {
      T value = entry->value_;
      fn(value);
      return Assign(stripe, index, entry, value, ctx);
    });
  }

  /** Runs fn(T&) on the key's value. kFound, kNotFound or kNoRoom (values above 8 bytes only). */
  template <typename Fn>
  MapResult update(const Key& key, Fn&& fn, const MemContext& ctx = HSHM_DEFAULT_MEM_CTX) {
    const uint64_t hash = HashT()(key);
    Stripes stripe = Lock(hash, ctx);
    const auto place = stripe.Find(map_layout::TagOf(hash), Is(key));
    if (!place.found_) return MapResult::kNotFound;
    Entry* entry = EntryIn(stripe.Read(place.index_));
    T value = entry->value_;
    fn(value);
    return Assign(stripe, place.index_, entry, value, ctx);
  }

  /** A copy of the value. */
  [[nodiscard]] std::optional<T> find(const Key& key) const {
    const uint64_t hash = HashT()(key);
    const Stripes stripe = Lock(hash, HSHM_DEFAULT_MEM_CTX);
    const auto place = stripe.Find(map_layout::TagOf(hash), Is(key));
    if (!place.found_) return std::nullopt;
    return EntryIn(stripe.Read(place.index_))->value_;
  }

  [[nodiscard]] bool contains(const Key& key) const {
    const uint64_t hash = HashT()(key);
    return Lock(hash, HSHM_DEFAULT_MEM_CTX).Find(map_layout::TagOf(hash), Is(key)).found_;
  }

  /** False when the key is absent. */
  bool erase(const Key& key, const MemContext& ctx = HSHM_DEFAULT_MEM_CTX) noexcept;

  /**
   * Asks the processor for what the next operation on this key will read. A loop that calls it some
   * 8 keys ahead hides most of the memory's latency.
   */
  HSHM_INLINE void prefetch(const Key& key) const noexcept { PrefetchSlot(HashT()(key)); }

  // ---- all entries -----------------------------------------------------------------------------

  /** Runs fn(const Key&, const T&) on each entry. What others insert meanwhile may be missed. */
  template <typename Fn>
  void for_each(Fn&& fn) const {
    for_each(0, 1, fn);
  }
  /** The same on part `part` of `parts`: together the parts are the map, and ranks share the work.
   */
  template <typename Fn>
  void for_each(uint64_t part, uint64_t parts, Fn&& fn) const;

  /** Erases the entries for which pred(const Key&, const T&) holds. @return how many */
  template <typename Pred>
  uint64_t erase_if(Pred&& pred, const MemContext& ctx = HSHM_DEFAULT_MEM_CTX) {
    return erase_if(0, 1, pred, ctx);
  }
  template <typename Pred>
  uint64_t erase_if(uint64_t part, uint64_t parts, Pred&& pred,
                    const MemContext& ctx = HSHM_DEFAULT_MEM_CTX);

  /** Erases all entries and gives the tables back. */
  void clear(const MemContext& ctx = HSHM_DEFAULT_MEM_CTX) {
    erase_if([](const Key&, const T&) { return true; }, ctx);
  }

  // ---- size ------------------------------------------------------------------------------------

  /** Entries; exact while nobody inserts or erases. One look at each stripe. */
  uint64_t size() const noexcept;
  bool empty() const noexcept { return size() == 0; }
  /** Slots of all tables together. */
  uint64_t bucket_count() const;
  uint64_t stripe_count() const noexcept { return header_->stripe_count_; }
  float load_factor() const {
    const uint64_t slots = bucket_count();
    return slots == 0 ? 0.0F : static_cast<float>(size()) / static_cast<float>(slots);
  }
  float max_load_factor() const noexcept { return 0.75F; }

  /** Makes the tables large enough for so many entries in all. False when there is no room. */
  bool reserve(uint64_t entries, const MemContext& ctx = HSHM_DEFAULT_MEM_CTX);

  /**
   * Walks everything, one stripe after the other, each under its lock: every entry lies where its
   * key is looked for, once; counters and tables agree with the slots.
   */
  [[nodiscard]] bool Check() const;

 private:
  using Entry = map_layout::Node<Key, T>;
  using Stripes = map_layout::LockedStripe<AllocT>;
  static constexpr uint64_t kPrefetchDistance = 8;  // slots; a cache line of them
  static constexpr ObjectKind kKind = {"an unordered_map", map_layout::kMapMagic,
                                       map_layout::kMapLayoutVersion, sizeof(Key), sizeof(T)};

  void Use(AllocT* alloc, map_layout::MapHeader* header) noexcept;

  HSHM_INLINE map_layout::Stripe& StripeOf(uint64_t hash) const noexcept {
    return header_
        ->stripes()[(hash >> 1) >> stripe_shift_];  // two shifts: one of 64 bits is undefined
  }
  HSHM_INLINE Entry* EntryAt(Offset offset) const noexcept {
    return reinterpret_cast<Entry*>(base_ + offset);
  }
  HSHM_INLINE Entry* EntryIn(uint64_t slot) const noexcept {
    return EntryAt(map_layout::NodeIn(slot));
  }
  HSHM_INLINE auto Is(const Key& key) const noexcept {
    return [this, &key](Offset node) { return EqualT()(EntryAt(node)->key_, key); };
  }

  HSHM_INLINE void PrefetchSlot(uint64_t hash) const noexcept;
  HSHM_INLINE Stripes Lock(uint64_t hash, const MemContext& ctx) const noexcept {
    PrefetchSlot(hash);  // the slot comes while the lock is taken
    return Stripes(*alloc_, ctx, StripeOf(hash), header_->first_log2_);
  }
  Stripes LockAt(uint64_t index, const MemContext& ctx) const noexcept {
    return Stripes(*alloc_, ctx, header_->stripes()[index], header_->first_log2_);
  }

  /** Inserts make() when the key is absent, else returns what found(stripe, index, entry) says. */
  template <typename Make, typename Found>
  HSHM_INLINE MapResult Change(const Key& key, const MemContext& ctx, const Make& make,
                               const Found& found);

  Offset NewEntry(const Key& key, const T& value, const MemContext& ctx) noexcept;
  void FreeEntry(Offset node, const MemContext& ctx) noexcept {
    alloc_->FreeOffsetNoNullCheck(ctx, OffsetPtr<>(node));
  }
  /** The commit of a new value: one store of it, or of a slot that names another node. */
  MapResult Assign(Stripes& stripe, uint64_t index, Entry* entry, const T& value,
                   const MemContext& ctx) noexcept;

  void PrefetchNode(const Stripes& stripe, uint64_t index) const noexcept {
    if (index < stripe.slot_count()) __builtin_prefetch(EntryIn(stripe.Read(index)));
  }
  uint64_t FirstStripe(uint64_t part, uint64_t parts) const noexcept {
    HSHM_CHECK(part <= parts);
    return stripe_count() * part / parts;
  }
  bool CheckStripe(uint64_t stripe_index) const;

  AllocT* alloc_ = nullptr;
  ObjectLink<map_layout::MapHeader, &kKind> header_;
  char* base_ = nullptr;
  uint32_t stripe_shift_ = 0;
};

}  // namespace hshm::ipc

#include "hermes_shm/data_structures/unordered_map/implementation.h"

#endif  // HSHM_DATA_STRUCTURES_UNORDERED_MAP_H_
