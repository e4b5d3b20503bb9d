#include "hermes_shm/memory/allocator/multi_process_allocator.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <new>
#include <string>

#include "hermes_shm/base/error.h"

namespace hshm::ipc {
namespace multi_process {

HSHM_CONSTINIT thread_local std::array<CachedHeap, kCachedHeaps> cached_heaps = [] {
  std::array<CachedHeap, kCachedHeaps> entries{};
  for (CachedHeap& entry : entries) entry.epoch_ = kUnusedEntry;
  return entries;
}();

namespace {

Atomic<uint32_t> taken_entries;  // of the tables, by bit

/** Names attachments of this process and its children: the thread-local table outlives handles. */
uint64_t NewEpoch() {
  static Atomic<uint64_t> last{kNoEpoch};
  return last.fetch_add(1, std::memory_order_relaxed) + 1;  // relaxed: only to be unique
}

}  // namespace

uint64_t CacheEntryLease::Take() noexcept {
  GiveBack();
  constexpr uint32_t kAll = (1u << kCachedHeaps) - 1;
  uint32_t taken = taken_entries.load(std::memory_order_relaxed);  // relaxed: the CAS re-reads it
  do {
    if (taken == kAll) return (kCachedHeaps - 1) * sizeof(CachedHeap);
    bit_ = ~taken & (taken + 1);
  } while (!taken_entries.compare_exchange_weak(
      taken, taken | bit_,
      std::memory_order_relaxed));  // relaxed: an entry says itself whose it is
  return bits::FloorLog2(bit_) * sizeof(CachedHeap);
}

void CacheEntryLease::GiveBack() noexcept {
  taken_entries.fetch_and(~bit_, std::memory_order_relaxed);  // relaxed: see Take
  bit_ = 0;
}

}  // namespace multi_process

template <typename Config, multi_process::Sharing kSharing>
typename BasicMultiProcessAllocator<Config, kSharing>::Identity
    BasicMultiProcessAllocator<Config, kSharing>::kDetached;

template <typename Config, multi_process::Sharing kSharing>
BasicMultiProcessAllocator<Config, kSharing>::BasicMultiProcessAllocator() = default;

template <typename Config, multi_process::Sharing kSharing>
BasicMultiProcessAllocator<Config, kSharing>::~BasicMultiProcessAllocator() {
  mode_ = DetachMode::kKeepLive;
  if (this->IsAttached()) Detach();
  HSHM_THREAD_MODEL->DestroyTls(tls_key_);
}

template <typename Config, multi_process::Sharing kSharing>
MemContext BasicMultiProcessAllocator<Config, kSharing>::Init(Offset core,
                                                              const MultiProcessOptions& options) {
  multi_process::RootTier<Config>::Init(this->region_, core);
  return Start(core, options, false);
}

template <typename Config, multi_process::Sharing kSharing>
MemContext BasicMultiProcessAllocator<Config, kSharing>::Attach(
    Offset core, const MultiProcessOptions& options) {
  const auto* root = this->region_.template At<multi_process::RootHeader>(core);
  if (root->layout_version_ != multi_process::kMultiProcessLayoutVersion) {
    throw Error(ErrorCode::kVersionMismatch,
                "The allocator in the region has layout " + std::to_string(root->layout_version_) +
                    ", this library knows layout " +
                    std::to_string(multi_process::kMultiProcessLayoutVersion) +
                    ": run all ranks with the same release of hshm.");
  }
  if (!multi_process::RootTier<Config>::FitsRegion(this->region_, core)) {
    throw Error(ErrorCode::kCorrupt,
                "The allocator's header does not fit the region: it was overwritten.");
  }
  return Start(core, options, true);
}

template <typename Config, multi_process::Sharing kSharing>
std::unique_ptr<multi_process::ProcessBlock<Config>>
BasicMultiProcessAllocator<Config, kSharing>::MakeProcess() {
  const auto entry = static_cast<uint32_t>(cache_offset_ / sizeof(multi_process::CachedHeap));
  return std::make_unique<Process>(this->region_, core_, &this->membership_, options_, kSharing,
                                   entry);
}

template <typename Config, multi_process::Sharing kSharing>
MemContext BasicMultiProcessAllocator<Config, kSharing>::Start(Offset core,
                                                               const MultiProcessOptions& options,
                                                               bool is_found) {
  core_ = core;
  options_ = options;
  for (WipeOnForkPage<Identity>& page : identities_) {
    if (const int error = page.Map(); error != 0) {
      throw Error(ErrorCode::kSystem, "The system has no page for the process's identity.", error);
    }
  }
  cache_offset_ = cache_entry_.Take();
  try {
    return ContextOf(Join(is_found));
  } catch (...) {
    cache_entry_.GiveBack();
    throw;
  }
}

/** @return the first thread's heap */
template <typename Config, multi_process::Sharing kSharing>
multi_process::ThreadHeap<Config>* BasicMultiProcessAllocator<Config, kSharing>::Join(
    bool is_found) {
  try {
    process_ = MakeProcess();
    contexts_ = std::make_unique<ThreadContext[]>(multi_process::kMaxThreads);
  } catch (const std::bad_alloc&) {
    throw multi_process::NoNotes(this->region_.size_bytes_, ENOMEM);
  }
  process_->Start(is_found);
  pages_ = process_->pages();
  if (!tls_key_.is_created_ &&
      !HSHM_THREAD_MODEL->CreateTls(tls_key_, static_cast<ThreadContext*>(nullptr))) {
    throw Error(ErrorCode::kSystem,
                "No thread-local key is left: destroy allocators that are no longer used.");
  }
  parents_slots_.reset();
  Identify();
  Heap* heap = FindHeap();
  if (heap == nullptr) throw Error(ErrorCode::kNoSpace, "No room for the first thread's heap.");
  return heap;
}

template <typename Config, multi_process::Sharing kSharing>
void BasicMultiProcessAllocator<Config, kSharing>::Detach() {
  // In a forked child that did not allocate or free, nothing in process_ is ours to leave, whether
  // or not a lock made the child a member.
  const bool is_ours = HasJoined();
  // relaxed: nobody else is in a call
  Current()->epoch_.store(multi_process::kNoEpoch, std::memory_order_relaxed);
  identity_.store(&kDetached, std::memory_order_relaxed);  // relaxed: as above
  cache_entry_.GiveBack();
  if (is_ours) process_->Leave(mode_);
  HSHM_THREAD_MODEL->DestroyTls(tls_key_);
  process_.reset();
  contexts_.reset();
  for (WipeOnForkPage<Identity>& page : identities_) page.Unmap();
}

// ---- contexts --------------------------------------------------------------------------------

template <typename Config, multi_process::Sharing kSharing>
MemContext BasicMultiProcessAllocator<Config, kSharing>::ContextOf(
    const Heap* heap) const noexcept {
  return MemContext(this->membership_.slot(), heap->index());
}

/** False in a forked child until its first call. Else this handle's members are this process's. */
template <typename Config, multi_process::Sharing kSharing>
bool BasicMultiProcessAllocator<Config, kSharing>::HasJoined() const noexcept {
  // pairs with Identify
  return Current()->epoch_.load(std::memory_order_acquire) != multi_process::kNoEpoch;
}

/** Afterwards calls find their way without FindHeap: process_ has started. Nobody looks at the
 * identity that is filled here: it is new, or a parent's of this process, or further back. */
template <typename Config, multi_process::Sharing kSharing>
void BasicMultiProcessAllocator<Config, kSharing>::Identify() noexcept {
  Identity* const first = identities_[0].get();
  Identity& identity = Current() == first ? *identities_[1] : *first;
  std::fill_n(identity.fronts_, multi_process::kMaxThreads, Front::Nobody());
  const uint32_t slot = this->membership_.slot();
  identity.first_context_ = parents_slots_[slot] ? 0 : FirstContextOf(slot);
  noted_slot_ = slot;
  noted_generation_ = this->membership_.generation();
  identity.epoch_.store(multi_process::NewEpoch(),
                        std::memory_order_release);       // pairs with HasJoined
  identity_.store(&identity, std::memory_order_release);  // pairs with Current
}

template <typename Config, multi_process::Sharing kSharing>
void BasicMultiProcessAllocator<Config, kSharing>::GoOnAsParent() noexcept {
  this->membership_.GoOnAs(noted_slot_, noted_generation_);
  Identify();
}

template <typename Config, multi_process::Sharing kSharing>
multi_process::ThreadHeap<Config>* BasicMultiProcessAllocator<Config, kSharing>::GetHeap(
    const MemContext& ctx) noexcept {
  if (ctx.IsArena()) return nullptr;
  Front* front = FrontOf(ctx);
  return front != nullptr && front != Front::Nobody() ? static_cast<Heap*>(front) : FindHeap();
}

template <typename Config, multi_process::Sharing kSharing>
multi_process::ThreadHeap<Config>*
BasicMultiProcessAllocator<Config, kSharing>::FindHeap() noexcept {
  if (Current() == &kDetached) defect::NotAttached("A call");
  if (!HasJoined() && !RejoinForkedChild()) return nullptr;
  Identity& identity = *Current();
  // relaxed: it stands from here on until the handle is detached
  const uint64_t epoch = identity.epoch_.load(std::memory_order_relaxed);
  auto* context = HSHM_THREAD_MODEL->template GetTls<ThreadContext>(tls_key_);
  if (context == nullptr || context->epoch_ != epoch) {
    Heap* heap = process_->AcquireHeap();
    if (heap == nullptr) return nullptr;
    context = &contexts_[heap->index()];
    *context = {this, heap, epoch};
    if (!HSHM_THREAD_MODEL->SetTls(tls_key_, context)) {
      process_->ReleaseHeap(heap);
      return nullptr;
    }
    identity.fronts_[heap->index()] = heap;
  }
  multi_process::CachedHeapAt(cache_offset_) = {epoch, static_cast<Front*>(context->heap_)};
  return context->heap_;
}

template <typename Config, multi_process::Sharing kSharing>
void BasicMultiProcessAllocator<Config, kSharing>::ThreadContext::destroy() noexcept {
  // relaxed: of this thread's own epoch it knows all
  const uint64_t epoch = allocator_->Current()->epoch_.load(std::memory_order_relaxed);
  if (epoch != epoch_) return;  // detached, or a forked child's copy
  // Other destructors of this thread may still call: they get a heap anew.
  multi_process::CachedHeapAt(allocator_->cache_offset_).epoch_ = multi_process::kUnusedEntry;
  allocator_->process_->ReleaseHeap(heap_);  // last: this context is the next thread's from here on
}

/** One thread joins, others wait for it. The copies of the parent's private memory are dropped. */
template <typename Config, multi_process::Sharing kSharing>
bool BasicMultiProcessAllocator<Config, kSharing>::RejoinForkedChild() noexcept {
  Identity& identity = *Current();
  while (identity.is_joining_.exchange(1, std::memory_order_acquire) != 0) {  // pairs with store
    HSHM_THREAD_MODEL->Yield();
  }
  bool is_joined = HasJoined();
  if (!is_joined && this->membership_.Rejoin()) {
    try {
      if (identity.has_process_ == 0) {
        auto process = MakeProcess();
        auto contexts = std::make_unique<ThreadContext[]>(multi_process::kMaxThreads);
        // The old block's mutexes may be held by threads that do not exist here: never touched.
        static_cast<void>(process_.release());
        static_cast<void>(contexts_.release());
        process_ = std::move(process);
        contexts_ = std::move(contexts);
        identity.has_process_ = 1;
      }
      process_->Start();
      HSHM_THREAD_MODEL->SetTls(tls_key_, static_cast<ThreadContext*>(nullptr));
      parents_slots_.set(noted_slot_);
      Identify();
      is_joined = true;
    } catch (const std::exception&) {
      // No room: the next call tries again, and a free finds its way without a heap.
    }
  }
  identity.is_joining_.store(0, std::memory_order_release);  // pairs with the exchange
  return is_joined;
}

template <typename Config, multi_process::Sharing kSharing>
MemContext BasicMultiProcessAllocator<Config, kSharing>::CreateTls(const MemContext& ctx) noexcept {
  Heap* heap = GetHeap(ctx.IsArena() ? MemContext() : ctx);
  return heap == nullptr ? MemContext() : ContextOf(heap);
}

template <typename Config, multi_process::Sharing kSharing>
void BasicMultiProcessAllocator<Config, kSharing>::FreeTls(const MemContext&) noexcept {
  if (Current() == &kDetached) defect::NotAttached("FreeTls");
  auto* context = HSHM_THREAD_MODEL->template GetTls<ThreadContext>(tls_key_);
  if (context == nullptr) return;
  HSHM_THREAD_MODEL->SetTls(tls_key_, static_cast<ThreadContext*>(nullptr));
  context->destroy();
}

// ---- blocks ----------------------------------------------------------------------------------

template <typename Config, multi_process::Sharing kSharing>
OffsetPtr<> BasicMultiProcessAllocator<Config, kSharing>::AlignedAllocateOffset(
    const MemContext& ctx, size_t size, size_t alignment) noexcept {
  if (!bits::IsPowerOfTwo(alignment)) defect::BadAlignment("AlignedAllocateOffset", alignment);
  Heap* heap = GetHeap(ctx);
  if (heap == nullptr) {
    return ctx.IsArena() ? this->AllocateInArena(ctx, size, alignment) : OffsetPtr<>();
  }
  return OffsetPtr<>(heap->AllocateAligned(size, alignment));
}

template <typename Config, multi_process::Sharing kSharing>
OffsetPtr<> BasicMultiProcessAllocator<Config, kSharing>::AllocateZeroedOffset(
    const MemContext& ctx, size_t size) noexcept {
  Heap* heap = GetHeap(ctx);
  return heap != nullptr ? OffsetPtr<>(heap->AllocateZeroed(size))
                         : Base::AllocateZeroedOffset(ctx, size);  // an arena's, or no room
}

template <typename Config, multi_process::Sharing kSharing>
OffsetPtr<> BasicMultiProcessAllocator<Config, kSharing>::ReallocateOffsetNoNullCheck(
    const MemContext& ctx, OffsetPtr<> offset, size_t new_size) noexcept {
  Heap* heap = GetHeap(ctx);
  if (heap == nullptr) {
    return ctx.IsArena() ? this->ReallocateInArena(ctx, offset, new_size) : OffsetPtr<>();
  }
  heap->CheckBlock("Reallocate", offset.load());
  if (heap->ResizeInPlace(offset.load(), new_size)) return offset;
  const uint64_t usable = heap->UsableBytes(offset.load());
  const OffsetPtr<> moved(heap->Allocate(new_size));
  if (moved.IsNull()) return new_size <= usable ? offset : moved;  // shrinking needs no room
  std::memcpy(this->region_.base_ + moved.load(), this->region_.base_ + offset.load(),
              usable < new_size ? usable : new_size);
  heap->Free(offset.load());
  return moved;
}

template <typename Config, multi_process::Sharing kSharing>
OffsetPtr<> BasicMultiProcessAllocator<Config, kSharing>::AllocateRare(uint64_t context,
                                                                       size_t size) noexcept {
  const MemContext ctx = ContextOf(context);
  if (Heap* heap = GetHeap(ctx); HSHM_LIKELY(heap != nullptr)) {
    return OffsetPtr<>(heap->Allocate(size));
  }
  return ctx.IsArena() ? this->AllocateInArena(ctx, size, kDefaultAlignment) : OffsetPtr<>();
}

template <typename Config, multi_process::Sharing kSharing>
void BasicMultiProcessAllocator<Config, kSharing>::FreeRare(uint64_t context,
                                                            OffsetPtr<> block) noexcept {
  const MemContext ctx = ContextOf(context);
  if (block.IsNull()) defect::NullFree("FreeOffset");
  if (Heap* heap = GetHeap(ctx); HSHM_LIKELY(heap != nullptr)) {
    heap->Free(block.load());
  } else if (ctx.IsArena()) {
    this->FreeInArena(ctx, block);
  } else {
    // The thread has no heap and gets none: the block is pushed, or is a large one.
    process_->FreeRemote(block.load());
  }
}

template <typename Config, multi_process::Sharing kSharing>
bool BasicMultiProcessAllocator<Config, kSharing>::ResizeBlock(OffsetPtr<> offset,
                                                               size_t size) noexcept {
  Heap* heap = GetHeap(MemContext());
  if (heap == nullptr) return false;
  heap->CheckBlock("ResizeInPlace", offset.load());
  return heap->ResizeInPlace(offset.load(), size);
}

template <typename Config, multi_process::Sharing kSharing>
size_t BasicMultiProcessAllocator<Config, kSharing>::GetUsableBytes(OffsetPtr<> offset) noexcept {
  Heap* heap = GetHeap(MemContext());
  if (heap == nullptr) return 0;
  heap->CheckBlock("GetUsableSize", offset.load());
  return heap->UsableBytes(offset.load());
}

// ---- everything ------------------------------------------------------------------------------

template <typename Config, multi_process::Sharing kSharing>
size_t BasicMultiProcessAllocator<Config, kSharing>::GetCurrentlyAllocatedSize() noexcept {
  return GetHeap(MemContext()) == nullptr ? 0 : process_->LiveBytes();
}

template <typename Config, multi_process::Sharing kSharing>
UnitPlacement BasicMultiProcessAllocator<Config, kSharing>::GetPlacement() noexcept {
  return GetHeap(MemContext()) == nullptr ? UnitPlacement() : process_->Placement();
}

template <typename Config, multi_process::Sharing kSharing>
void BasicMultiProcessAllocator<Config, kSharing>::AddStats(AllocatorStats* stats) {
  stats->is_complete_ = GetHeap(MemContext()) != nullptr && process_->AddStats(stats);
}

template <typename Config, multi_process::Sharing kSharing>
bool BasicMultiProcessAllocator<Config, kSharing>::Check() noexcept {
  return GetHeap(MemContext()) != nullptr && process_->Check();
}

template <typename Config, multi_process::Sharing kSharing>
uint32_t BasicMultiProcessAllocator<Config, kSharing>::Recover() noexcept {
  Heap* heap = GetHeap(MemContext());
  return heap == nullptr ? 0 : process_->Recover(heap);
}

template <typename Config, multi_process::Sharing kSharing>
bool BasicMultiProcessAllocator<Config, kSharing>::Reclaim(uint32_t slot,
                                                           uint32_t generation) noexcept {
  Heap* heap = GetHeap(MemContext());
  return heap != nullptr && process_->Reclaim(heap, slot, generation);
}

template <typename Config, multi_process::Sharing kSharing>
void BasicMultiProcessAllocator<Config, kSharing>::Trim() noexcept {
  Heap* heap = GetHeap(MemContext());
  if (heap == nullptr) return;
  heap->Flush();
  process_->Trim();
}

template class BasicMultiProcessAllocator<multi_process::LargePages>;
template class BasicMultiProcessAllocator<multi_process::SmallPages>;
template class BasicMultiProcessAllocator<multi_process::LargePages,
                                          multi_process::Sharing::kOneProcess>;
template class BasicMultiProcessAllocator<multi_process::CheckedLargePages>;
template class BasicMultiProcessAllocator<multi_process::CheckedSmallPages>;
template class BasicMultiProcessAllocator<multi_process::CheckedLargePages,
                                          multi_process::Sharing::kOneProcess>;

}  // namespace hshm::ipc
