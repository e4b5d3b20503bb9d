#ifndef HSHM_DATA_STRUCTURES_STRING_H_
#define HSHM_DATA_STRUCTURES_STRING_H_

#include <algorithm>
#include <compare>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <type_traits>

#include "hermes_shm/base/check.h"
#include "hermes_shm/data_structures/shared_object.h"

namespace hshm::ipc {

/**
 * A string in the region. Zeroed memory is an empty string, so one may be a member of a shared
 * struct. Up to 23 characters lie inside; longer ones in a block of the allocator. Ends with a zero
 * that does not count.
 */
struct SharedString {
  static constexpr uint64_t kInlineCapacity = 23;

  struct Block {
    uint64_t offset_;
    uint64_t capacity_;  // without the terminating zero
  };
  union Body {
    char inline_[kInlineCapacity + 1];
    Block block_;
  };

  uint64_t size_and_kind_;  // [owner] 2 * size, + 1 when the characters lie in a block
  Body body_;               // [owner]

  uint64_t size() const noexcept { return size_and_kind_ / 2; }
  bool HasBlock() const noexcept { return size_and_kind_ % 2 != 0; }
};
static_assert(std::is_standard_layout_v<SharedString>);
static_assert(sizeof(SharedString) == 32);

/**
 * Handle of a SharedString, with the interface of std::string as far as it can fail silently: what
 * needs memory returns false when there is none, and the string is as before. Views and pointers
 * hold in this process until the next change.
 *
 * Not synchronised: one rank changes it at a time while nobody reads, as with std::string. A rank
 * that dies while it changes one leaves it in pieces; no other string and no block suffers.
 */
template <typename AllocT>
class string {
 public:
  using allocator_type = AllocT;

  string() = default;

  /** Makes a string. @throws Error kNoSpace; kBackendInUse: the handle has one */
  void shm_init(AllocT* alloc, std::string_view text = {},
                const MemContext& ctx = HSHM_DEFAULT_MEM_CTX) {
    RequireEmptyHandle(object_.get(), kKind);
    const OffsetPtr<> block = AllocateObject(*alloc, ctx, sizeof(SharedString), kKind.name_);
    alloc_ = alloc;
    object_ = ObjectAt<SharedString>(*alloc, block);
    *object_ = SharedString{};
    if (assign(text, ctx)) return;
    shm_destroy(ctx);
    ThrowNoSpace(kKind.name_, text.size(), alloc->GetRegion().size_bytes_,
                 alloc->GetCurrentlyAllocatedSize());
  }

  /** Uses a string that is there: made by shm_init, or zeroed memory inside something else.
   * @throws Error kOutOfRange; kBackendInUse: the handle has one */
  void shm_attach(AllocT* alloc, OffsetPtr<> offset) {
    RequireEmptyHandle(object_.get(), kKind);
    const Region region = ReachOf(*alloc, offset);
    const Offset at = offset.load();
    if (at == kNullOffset || at % alignof(SharedString) != 0 || at >= region.size_bytes_ ||
        region.size_bytes_ - at < sizeof(SharedString)) {
      ThrowOutOfRange(kKind.name_, "the offset is null, misaligned or outside of the region");
    }
    alloc_ = alloc;
    object_ = region.template At<SharedString>(at);
  }

  /** The handle is empty again; the string stays. */
  void shm_detach() noexcept { *this = string(); }

  /** Frees the characters and the object that shm_init made. */
  void shm_destroy(const MemContext& ctx = HSHM_DEFAULT_MEM_CTX) noexcept {
    if (object_.get() == nullptr) return;
    release(ctx);
    alloc_->FreeOffsetNoNullCheck(ctx, offset());
    *this = string();
  }

  /** Frees the characters; the string is empty. The end of one inside a shared struct. */
  void release(const MemContext& ctx = HSHM_DEFAULT_MEM_CTX) noexcept {
    const bool has_block = object_->HasBlock();
    const OffsetPtr<> block(object_->body_.block_.offset_);
    *object_ = SharedString{};
    if (has_block) alloc_->FreeOffsetNoNullCheck(ctx, block);
  }

  OffsetPtr<> offset() const noexcept {
    return object_.get() == nullptr ? OffsetPtr<>()
                                    : OffsetPtr<>(alloc_->GetRegion().OffsetOf(object_.get()));
  }

  // ---- reading ---------------------------------------------------------------------------------

  size_t size() const noexcept { return object_->size(); }
  size_t length() const noexcept { return size(); }
  bool empty() const noexcept { return size() == 0; }
  size_t capacity() const noexcept {
    return object_->HasBlock() ? object_->body_.block_.capacity_ : SharedString::kInlineCapacity;
  }
  const char* data() const noexcept {
    if (!object_->HasBlock()) return object_->body_.inline_;
    return ObjectAt<char>(*alloc_, OffsetPtr<>(object_->body_.block_.offset_));
  }
  const char* c_str() const noexcept { return data(); }
  std::string_view view() const noexcept { return {data(), size()}; }
  operator std::string_view() const noexcept { return view(); }  // NOLINT: as std::string does
  std::string str() const { return std::string(view()); }
  char operator[](size_t index) const noexcept {
    HSHM_ASSERT(index <= size());
    return data()[index];
  }

  int compare(std::string_view other) const noexcept { return view().compare(other); }
  friend bool operator==(const string& a, std::string_view b) noexcept { return a.view() == b; }
  friend auto operator<=>(const string& a, std::string_view b) noexcept { return a.view() <=> b; }
  friend bool operator==(const string& a, const string& b) noexcept { return a.view() == b.view(); }
  friend auto operator<=>(const string& a, const string& b) noexcept {
    return a.view() <=> b.view();
  }

  // ---- changing --------------------------------------------------------------------------------

  /** text may be a part of this string. */
  bool assign(std::string_view text, const MemContext& ctx = HSHM_DEFAULT_MEM_CTX) noexcept {
    if (text.size() > capacity()) return MoveToBlock(text.size(), {}, text, ctx);
    if (!text.empty()) std::memmove(mutable_data(), text.data(), text.size());
    SetSize(text.size());
    return true;
  }

  /** text may be a part of this string. */
  bool append(std::string_view text, const MemContext& ctx = HSHM_DEFAULT_MEM_CTX) noexcept {
    if (text.size() > kMaxSize - size()) return false;
    const size_t total = size() + text.size();
    if (total > capacity()) {
      return MoveToBlock(std::max(total, 2 * capacity()), view(), text, ctx);
    }
    if (!text.empty()) std::memmove(mutable_data() + size(), text.data(), text.size());
    SetSize(total);
    return true;
  }
  bool push_back(char c, const MemContext& ctx = HSHM_DEFAULT_MEM_CTX) noexcept {
    return append(std::string_view(&c, 1), ctx);
  }
  /** Keeps the memory. */
  void clear() noexcept { SetSize(0); }

  /** Makes room for so many characters in all. */
  bool reserve(size_t size, const MemContext& ctx = HSHM_DEFAULT_MEM_CTX) noexcept {
    return size <= capacity() || MoveToBlock(size, view(), {}, ctx);
  }

 private:
  static constexpr ObjectKind kKind = {"a string", 0, 0, 0, 0};  // a SharedString has no tag
  static constexpr size_t kMaxSize = ~size_t{0} / 4;

  char* mutable_data() noexcept { return const_cast<char*>(data()); }

  void SetSize(size_t size) noexcept {
    mutable_data()[size] = 0;
    object_->size_and_kind_ = 2 * size + (object_->HasBlock() ? 1 : 0);
  }

  /** The string becomes first + second, in a new block; both may be parts of the old one. */
  bool MoveToBlock(size_t capacity, std::string_view first, std::string_view second,
                   const MemContext& ctx) noexcept {
    if (capacity > kMaxSize) return false;
    const OffsetPtr<> block = alloc_->AllocateOffset(ctx, capacity + 1);
    if (block.IsNull()) return false;
    char* to = ObjectAt<char>(*alloc_, block);
    const size_t size = first.size() + second.size();
    std::copy(first.begin(), first.end(), to);
    std::copy(second.begin(), second.end(), to + first.size());
    to[size] = 0;
    release(ctx);
    object_->body_.block_ = {block.load(), capacity};
    object_->size_and_kind_ = 2 * size + 1;
    return true;
  }

  AllocT* alloc_ = nullptr;
  ObjectLink<SharedString, &kKind> object_;
};

}  // namespace hshm::ipc

#endif  // HSHM_DATA_STRUCTURES_STRING_H_
