#ifndef HSHM_DATA_STRUCTURES_UNORDERED_MAP_IMPLEMENTATION_H_
#define HSHM_DATA_STRUCTURES_UNORDERED_MAP_IMPLEMENTATION_H_

/** The longer members of unordered_map; included by unordered_map.h alone. */
#include "hermes_shm/data_structures/unordered_map.h"

#define HSHM_MAP_TEMPLATE \
  template <Shareable Key, Shareable T, typename AllocT, typename HashT, typename EqualT>
#define HSHM_MAP_CLASS unordered_map<Key, T, AllocT, HashT, EqualT>

namespace hshm::ipc {

HSHM_MAP_TEMPLATE
void HSHM_MAP_CLASS::shm_init(AllocT* alloc, const Options& options, const MemContext& ctx) {
  RequireEmptyHandle(header_.get(), kKind);
  if (!kBlocksLieInRegion<AllocT>) {
    ThrowUnsupported(kKind.name_,
                     "its slots name nodes in a region, and this allocator's blocks "
                     "lie elsewhere; use another allocator, or map");
  }
  const uint32_t stripes = options.stripes_ != 0
                               ? options.stripes_
                               : map_layout::StripeCountFor(options.expected_entries_);
  if (!bits::IsPowerOfTwo(stripes) || stripes > map_layout::kMaxStripes) {
    ThrowOutOfRange(kKind.name_, "the number of stripes must be a power of two up to 65536");
  }
  if (alloc->GetRegion().size_bytes_ > map_layout::kMaxRegionBytes) {
    ThrowOutOfRange(kKind.name_, "its slots name nodes in regions of up to 4 TiB only");
  }
  const uint64_t bytes = sizeof(map_layout::MapHeader) + stripes * sizeof(map_layout::Stripe);
  const OffsetPtr<> block = AllocateObject(*alloc, ctx, bytes, kKind.name_);
  auto* header = alloc->GetRegion().template At<map_layout::MapHeader>(block.load());
  std::memset(static_cast<void*>(header), 0, bytes);
  header->stripe_count_ = stripes;
  header->first_log2_ = map_layout::TableLog2For(options.expected_entries_, stripes);
  PublishObject(header->tag_, kKind);
  Use(alloc, header);
}

HSHM_MAP_TEMPLATE
void HSHM_MAP_CLASS::shm_attach(AllocT* alloc, OffsetPtr<> offset) {
  RequireEmptyHandle(header_.get(), kKind);
  const Region& region = alloc->GetRegion();
  FindObject(region, offset.load(), sizeof(map_layout::MapHeader), kKind);
  auto* header = region.template At<map_layout::MapHeader>(offset.load());
  const uint64_t behind = region.size_bytes_ - offset.load() - sizeof(map_layout::MapHeader);
  if (!bits::IsPowerOfTwo(header->stripe_count_) ||
      header->stripe_count_ > behind / sizeof(map_layout::Stripe)) {
    ThrowOutOfRange(kKind.name_, "the number of stripes in its header cannot be right");
  }
  Use(alloc, header);
}

HSHM_MAP_TEMPLATE
void HSHM_MAP_CLASS::Use(AllocT* alloc, map_layout::MapHeader* header) noexcept {
  alloc_ = alloc;
  header_ = header;
  base_ = alloc->GetRegion().base_;
  stripe_shift_ = 63 - bits::FloorLog2(header->stripe_count_);
}

HSHM_MAP_TEMPLATE
void HSHM_MAP_CLASS::shm_destroy(const MemContext& ctx) noexcept {
  if (header_.get() == nullptr) return;
  HSHM_CHECK(RetireObject(header_->tag_, kKind));
  clear(ctx);
  alloc_->FreeOffsetNoNullCheck(ctx, offset());
  *this = unordered_map();
}

HSHM_MAP_TEMPLATE
void HSHM_MAP_CLASS::PrefetchSlot(uint64_t hash) const noexcept {
  const map_layout::Stripe& stripe = StripeOf(hash);
  // relaxed: a wrong guess fetches a line in vain
  const uint32_t active = stripe.active_.load(std::memory_order_relaxed);
  const uint64_t table = stripe.tables_[active & 1].load(std::memory_order_relaxed);
  const uint64_t home = map_layout::TagOf(hash) & (map_layout::TableSlots(table) - 1);
  __builtin_prefetch(base_ + map_layout::TableOffset(table) + home * sizeof(map_layout::Slot), 1);
}

HSHM_MAP_TEMPLATE
template <typename Make, typename Found>
MapResult HSHM_MAP_CLASS::Change(const Key& key, const MemContext& ctx, const Make& make,
                                 const Found& found) {
  const uint64_t hash = HashT()(key);
  const uint64_t tag = map_layout::TagOf(hash);
  Stripes stripe = Lock(hash, ctx);
  const auto place = stripe.Find(tag, Is(key));
  if (place.found_) return found(stripe, place.index_, EntryIn(stripe.Read(place.index_)));
  const uint64_t index = stripe.PlaceFor(tag, place.index_);
  if (HSHM_UNLIKELY(index == Stripes::kNoSlot)) return MapResult::kNoRoom;
  const Offset node = NewEntry(key, make(), ctx);
  if (HSHM_UNLIKELY(node == kNullOffset)) return MapResult::kNoRoom;
  stripe.Link(index, tag, node);
  return MapResult::kInserted;
}

HSHM_MAP_TEMPLATE
Offset HSHM_MAP_CLASS::NewEntry(const Key& key, const T& value, const MemContext& ctx) noexcept {
  OffsetPtr<> node;
  if constexpr (alignof(Entry) > kDefaultAlignment) {
    node = alloc_->AlignedAllocateOffset(ctx, sizeof(Entry), alignof(Entry));
  } else {
    node = alloc_->AllocateOffset(ctx, sizeof(Entry));
  }
  if (HSHM_LIKELY(!node.IsNull()))
    ::new (static_cast<void*>(EntryAt(node.load()))) Entry{key, value};
  return node.load();
}

HSHM_MAP_TEMPLATE
MapResult HSHM_MAP_CLASS::Assign(Stripes& stripe, uint64_t index, Entry* entry, const T& value,
                                 const MemContext& ctx) noexcept {
  if constexpr (Entry::kOneStore) {
    std::atomic_ref<T>(entry->value_)
        .store(value, std::memory_order_release);  // pairs with the take-over in Mutex::Lock
  } else {
    const Offset old_node = map_layout::NodeIn(stripe.Read(index));
    const Offset new_node = NewEntry(entry->key_, value, ctx);
    if (new_node == kNullOffset) return MapResult::kNoRoom;
    stripe.Relink(index, new_node);
    FreeEntry(old_node, ctx);
  }
  return MapResult::kFound;
}

HSHM_MAP_TEMPLATE
bool HSHM_MAP_CLASS::erase(const Key& key, const MemContext& ctx) noexcept {
  const uint64_t hash = HashT()(key);
  Offset node = kNullOffset;
  {
    Stripes stripe = Lock(hash, ctx);
    const auto place = stripe.Find(map_layout::TagOf(hash), Is(key));
    if (!place.found_) return false;
    node = map_layout::NodeIn(stripe.Read(place.index_));
    stripe.Unlink(place.index_);
  }
  FreeEntry(node, ctx);  // without the lock: nobody else can name the node
  return true;
}

HSHM_MAP_TEMPLATE
template <typename Fn>
void HSHM_MAP_CLASS::for_each(uint64_t part, uint64_t parts, Fn&& fn) const {
  const uint64_t end = FirstStripe(part + 1, parts);
  for (uint64_t i = FirstStripe(part, parts); i < end; ++i) {
    const Stripes stripe = LockAt(i, HSHM_DEFAULT_MEM_CTX);
    for (uint64_t at = 0; at < stripe.slot_count(); ++at) {
      PrefetchNode(stripe, at + kPrefetchDistance);
      const uint64_t slot = stripe.Read(at);
      if (!map_layout::HasNode(slot)) continue;
      const Entry* entry = EntryIn(slot);
      fn(entry->key_, entry->value_);
    }
  }
}

HSHM_MAP_TEMPLATE
template <typename Pred>
uint64_t HSHM_MAP_CLASS::erase_if(uint64_t part, uint64_t parts, Pred&& pred,
                                  const MemContext& ctx) {
  uint64_t erased = 0;
  const uint64_t end = FirstStripe(part + 1, parts);
  for (uint64_t i = FirstStripe(part, parts); i < end; ++i) {
    Stripes stripe = LockAt(i, ctx);
    for (uint64_t at = 0; at < stripe.slot_count(); ++at) {
      PrefetchNode(stripe, at + kPrefetchDistance);
      const uint64_t slot = stripe.Read(at);
      if (!map_layout::HasNode(slot)) continue;
      const Entry* entry = EntryIn(slot);
      if (!pred(entry->key_, std::as_const(entry->value_))) continue;
      stripe.Unlink(at);
      FreeEntry(map_layout::NodeIn(slot), ctx);
      ++erased;
    }
    stripe.Shrink();
  }
  return erased;
}

HSHM_MAP_TEMPLATE
uint64_t HSHM_MAP_CLASS::size() const noexcept {
  uint64_t sum = 0;
  for (uint64_t i = 0; i < stripe_count(); ++i) {
    sum += header_->stripes()[i].count_.load(
        std::memory_order_relaxed);  // relaxed: each counts by itself
  }
  return sum;
}

HSHM_MAP_TEMPLATE
uint64_t HSHM_MAP_CLASS::bucket_count() const {
  uint64_t sum = 0;
  for (uint64_t i = 0; i < stripe_count(); ++i) {
    sum += LockAt(i, HSHM_DEFAULT_MEM_CTX).slot_count();
  }
  return sum;
}

HSHM_MAP_TEMPLATE
bool HSHM_MAP_CLASS::reserve(uint64_t entries, const MemContext& ctx) {
  const uint32_t log2 = map_layout::TableLog2For(entries, stripe_count());
  for (uint64_t i = 0; i < stripe_count(); ++i) {
    if (!LockAt(i, ctx).Reserve(log2)) return false;
  }
  return true;
}

HSHM_MAP_TEMPLATE
bool HSHM_MAP_CLASS::Check() const {
  if (header_->tag_.magic_.load(std::memory_order_relaxed) != kKind.magic_)  // relaxed: attached
    return false;
  for (uint64_t i = 0; i < stripe_count(); ++i) {
    if (!CheckStripe(i)) return false;
  }
  return true;
}

HSHM_MAP_TEMPLATE
bool HSHM_MAP_CLASS::CheckStripe(uint64_t stripe_index) const {
  const Stripes stripe = LockAt(stripe_index, HSHM_DEFAULT_MEM_CTX);
  if (!stripe.Check()) return false;
  for (uint64_t at = 0; at < stripe.slot_count(); ++at) {
    const uint64_t slot = stripe.Read(at);
    if (!map_layout::HasNode(slot)) continue;
    const Offset node = map_layout::NodeIn(slot);
    if (node > alloc_->GetRegion().size_bytes_ - sizeof(Entry)) return false;
    const Key& key = EntryAt(node)->key_;
    const uint64_t hash = HashT()(key);
    if (&StripeOf(hash) != &header_->stripes()[stripe_index]) return false;
    if (map_layout::TagOf(hash) != map_layout::TagIn(slot)) return false;
    // Where a search ends tells that no empty slot lies before it, and no second entry either.
    const auto place = stripe.Find(map_layout::TagIn(slot), Is(key));
    if (!place.found_ || place.index_ != at) return false;
  }
  return true;
}

}  // namespace hshm::ipc

#undef HSHM_MAP_TEMPLATE
#undef HSHM_MAP_CLASS

#endif  // HSHM_DATA_STRUCTURES_UNORDERED_MAP_IMPLEMENTATION_H_
