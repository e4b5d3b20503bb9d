#include "crash/trace_log.h"

#include <sys/mman.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace hshm::ipc::crash {

template <typename T>
T* TraceLog::MapShared(uint64_t count) {
  const uint64_t bytes = count * sizeof(T);
  void* mapped = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                      MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapped == MAP_FAILED) std::abort();
  mappings_.emplace_back(mapped, bytes);
  return static_cast<T*>(mapped);
}

TraceLog::TraceLog(uint64_t region_bytes)
    : region_bytes_(region_bytes),
      head_(MapShared<Head>(1)),
      base_(MapShared<uint64_t>(region_bytes / 8)),
      current_(MapShared<uint64_t>(region_bytes / 8)),
      changes_(MapShared<WordChange>(kMaxChanges)),
      images_(MapShared<ImageStep>(kMaxImages)),
      phases_(MapShared<Phase>(kMaxPhases)),
      blocks_(MapShared<ShadowBlock>(kMaxBlocks)) {}

TraceLog::~TraceLog() {
  for (const auto& [base, bytes] : mappings_) munmap(base, bytes);
}

void TraceLog::Clear() { *head_ = Head{}; }

void TraceLog::SetBase(const char* region) {
  std::memcpy(base_, region, region_bytes_);
  std::memcpy(current_, region, region_bytes_);
}

bool TraceLog::BeginPhase(const char* what, const std::vector<ShadowBlock>& blocks,
                          uint32_t unknown_allowed, bool has_remains) {
  if (head_->phase_count_ == kMaxPhases || blocks.size() > kMaxBlocks - head_->block_count_) {
    head_->is_truncated_ = true;
  }
  if (head_->is_truncated_) return false;
  Phase& phase = phases_[head_->phase_count_];
  std::snprintf(phase.what_, sizeof(phase.what_), "%s", what);
  phase.first_block_ = head_->block_count_;
  phase.block_count_ = static_cast<uint32_t>(blocks.size());
  phase.unknown_allowed_ = unknown_allowed;
  phase.has_remains_ = has_remains;
  std::copy(blocks.begin(), blocks.end(), blocks_ + head_->block_count_);
  head_->block_count_ += phase.block_count_;
  ++head_->phase_count_;
  return true;
}

bool TraceLog::Note(const char* region, uint64_t begin, uint64_t end) {
  const auto* now = reinterpret_cast<const uint64_t*>(region);
  bool is_changed = false;
  for (uint64_t word = begin / 8; word < end / 8; ++word) {
    if (now[word] == current_[word]) continue;
    is_changed = true;
    if (head_->change_count_ == kMaxChanges) {
      head_->is_truncated_ = true;
      return true;
    }
    current_[word] = now[word];
    changes_[head_->change_count_++] = {static_cast<uint32_t>(word), 0, now[word]};
  }
  return is_changed;
}

void TraceLog::EndImage() {
  if (head_->image_count_ == kMaxImages) head_->is_truncated_ = true;
  if (head_->is_truncated_) return;
  images_[head_->image_count_++] = {head_->change_count_, head_->phase_count_ - 1};
}

std::vector<ShadowBlock> TraceLog::BlocksOf(const Phase& phase) const {
  const ShadowBlock* first = blocks_ + phase.first_block_;
  return {first, first + phase.block_count_};
}

}  // namespace hshm::ipc::crash
