#ifndef HSHM_UNIT_TESTS_CRASH_TRACE_LOG_H_
#define HSHM_UNIT_TESTS_CRASH_TRACE_LOG_H_

#include <cstdint>
#include <string>
#include <vector>

namespace hshm::ipc::crash {

/** A block as the process that asked for it knows it; kept outside of the region. */
struct ShadowBlock {
  uint64_t offset_;
  uint32_t size_bytes_;
  uint32_t seed_;    // of its pattern
  uint32_t handle_;  // number of the handle that allocated it
  bool is_certain_;  // false: an operation under way may have freed it, and may write into it
};

/** What must hold of every image that an operation makes. */
struct Phase {
  char what_[48];         // the operation, for messages
  uint32_t first_block_;  // in the pool of shadow blocks
  uint32_t block_count_;
  uint32_t unknown_allowed_;  // blocks that nobody knows of: in flight
  bool has_remains_;          // at its beginning: of somebody dead, not recovered yet
};

/** An 8-byte word of the region that a store changed. */
struct WordChange {
  uint32_t word_;
  uint32_t reserved_;
  uint64_t value_;
};

/** The region after one instruction: the image before it and these changes. */
struct ImageStep {
  uint32_t change_end_;
  uint32_t phase_;
};

/**
 * What a traced child leaves for its parent: the region at first, every change of it, store by
 * store, and what the child knew meanwhile. Lies in memory that both map; one writer.
 */
class TraceLog {
 public:
  explicit TraceLog(uint64_t region_bytes);
  ~TraceLog();
  TraceLog(const TraceLog&) = delete;
  TraceLog& operator=(const TraceLog&) = delete;

  /** Forgets the last child. */
  void Clear();

  // ---- the child -----------------------------------------------------------------------------
  void SetBase(const char* region);
  /** Opens a phase; the images from here on belong to it. False when the log is full. */
  bool BeginPhase(const char* what, const std::vector<ShadowBlock>& blocks,
                  uint32_t unknown_allowed, bool has_remains = false);
  /** Compares bytes [begin, end) with what was logged and notes what changed. Safe in a signal
   * handler. @return whether anything had changed */
  bool Note(const char* region, uint64_t begin, uint64_t end);
  /** An image for the words noted since the last one, also when there are none. */
  void EndImage();
  void SetFinished() { head_->is_finished_ = true; }

  // ---- the parent ----------------------------------------------------------------------------
  bool IsFinished() const { return head_->is_finished_; }
  bool IsTruncated() const { return head_->is_truncated_; }
  uint64_t region_bytes() const { return region_bytes_; }
  const uint64_t* base() const { return base_; }
  uint32_t image_count() const { return head_->image_count_; }
  const ImageStep& image(uint32_t i) const { return images_[i]; }
  uint32_t FirstChange(uint32_t i) const { return i == 0 ? 0 : images_[i - 1].change_end_; }
  const WordChange& change(uint32_t i) const { return changes_[i]; }
  const Phase& phase(uint32_t i) const { return phases_[i]; }
  std::vector<ShadowBlock> BlocksOf(const Phase& phase) const;

 private:
  static constexpr uint32_t kMaxChanges = 1u << 20;
  static constexpr uint32_t kMaxImages = 1u << 17;
  static constexpr uint32_t kMaxPhases = 1u << 10;
  static constexpr uint32_t kMaxBlocks = 1u << 18;

  struct Head {
    bool is_finished_;
    bool is_truncated_;
    uint32_t change_count_;
    uint32_t image_count_;
    uint32_t phase_count_;
    uint32_t block_count_;
  };
  template <typename T>
  T* MapShared(uint64_t count);

  uint64_t region_bytes_;
  std::vector<std::pair<void*, uint64_t>> mappings_;
  Head* head_;
  uint64_t* base_;
  uint64_t* current_;  // the region as logged so far
  WordChange* changes_;
  ImageStep* images_;
  Phase* phases_;
  ShadowBlock* blocks_;
};

/** The byte that belongs at place i of a block. */
inline char PatternByte(uint32_t seed, uint64_t i) {
  return static_cast<char>((seed * 131 + i * 7 + (i >> 8) * 29) & 0xff);
}

}  // namespace hshm::ipc::crash

#endif  // HSHM_UNIT_TESTS_CRASH_TRACE_LOG_H_
