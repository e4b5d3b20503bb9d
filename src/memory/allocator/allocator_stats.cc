#include "hermes_shm/memory/allocator/allocator_stats.h"

#include <cinttypes>
#include <cstdio>
#include <string_view>

namespace hshm::ipc {
namespace {

/** Writes objects and arrays of names, numbers and truth values; commas come by themselves. */
class JsonWriter {
 public:
  void Begin(char bracket) {
    Separate();
    text_ += bracket;
    is_first_ = true;
  }
  void End(char bracket) {
    text_ += bracket;
    is_first_ = false;
  }
  void Name(std::string_view name) {
    Separate();
    Quote(name);
    text_ += ':';
    is_first_ = true;  // no comma before the value
  }
  void Member(std::string_view name, uint64_t value) {
    Name(name);
    Raw(std::to_string(value));
  }
  void Member(std::string_view name, bool value) {
    Name(name);
    Raw(value ? "true" : "false");
  }
  void Member(std::string_view name, std::string_view value) {
    Name(name);
    Separate();
    Quote(value);
  }
  void Share(std::string_view name, double value) {
    // In parts of a million, so that no locale's decimal point comes in.
    const auto parts = static_cast<unsigned>(value * 1e6 + 0.5);
    char text[24];
    std::snprintf(text, sizeof(text), "%u.%06u", parts / 1000000, parts % 1000000);
    Name(name);
    Raw(text);
  }
  std::string Take() { return std::move(text_); }

 private:
  void Separate() {
    if (!is_first_) text_ += ',';
    is_first_ = false;
  }
  void Raw(std::string_view value) {
    Separate();
    text_ += value;
  }
  void Quote(std::string_view value) {
    text_ += '"';
    for (const char letter : value) {
      if (letter == '"' || letter == '\\') text_ += '\\';
      text_ += static_cast<unsigned char>(letter) < 0x20 ? ' ' : letter;
    }
    text_ += '"';
  }

  std::string text_;
  bool is_first_ = true;
};

template <typename... Args>
void Append(std::string* text, const char* format, Args... args) {
  char line[256];
  std::snprintf(line, sizeof(line), format, args...);
  *text += line;
}

/** Sums up in whole KiB, but for less than that. */
std::string Bytes(uint64_t bytes) {
  return bytes % 1024 != 0 || bytes == 0 ? std::to_string(bytes) + " B"
                                         : std::to_string(bytes / 1024) + " KiB";
}

}  // namespace

void AllocatorStats::LeaveOutEmpty() {
  std::erase_if(ranks_, [](const RankStats& rank) {
    return !rank.is_alive_ && rank.unit_bytes_ == 0 && rank.live_bytes_ == 0 && rank.heaps_ == 0;
  });
  std::erase_if(classes_, [](const SizeClassStats& one) { return one.pages_ == 0; });
}

std::string AllocatorStats::ToJson() const {
  JsonWriter json;
  json.Begin('{');
  json.Member("allocator", std::string_view(allocator_));
  json.Member("region_bytes", region_bytes_);
  json.Member("capacity_bytes", capacity_bytes_);
  json.Member("committed_bytes", committed_bytes_);
  json.Member("live_bytes", live_bytes_);
  json.Member("live_blocks", live_blocks_);
  json.Member("peak_bytes", peak_bytes_);
  json.Member("peak_counts", std::string_view(peak_counts_));
  json.Member("free_bytes", free_bytes_);
  json.Member("largest_free_bytes", largest_free_bytes_);
  json.Share("fragmentation", Fragmentation());
  json.Member("remote_frees", remote_frees_);
  json.Name("deaths");
  json.Begin('{');
  json.Member("processes", deaths_.processes_);
  json.Member("heaps", deaths_.heaps_);
  json.Member("adopted_pages", deaths_.adopted_pages_);
  json.Member("adopted_bytes", deaths_.adopted_bytes_);
  json.Member("deleted_bytes", deaths_.deleted_bytes_);
  json.Member("lost_blocks_at_most", deaths_.LostBlocksAtMost());
  json.End('}');
  json.Member("is_complete", is_complete_);
  json.Name("classes");
  json.Begin('[');
  for (const SizeClassStats& c : classes_) {
    json.Begin('{');
    json.Member("block_bytes", c.block_bytes_);
    json.Member("live_blocks", c.live_blocks_);
    json.Member("free_blocks", c.free_blocks_);
    json.Member("pages", c.pages_);
    json.Member("pending_frees", c.pending_frees_);
    json.End('}');
  }
  json.End(']');
  json.Name("ranks");
  json.Begin('[');
  for (const RankStats& rank : ranks_) {
    json.Begin('{');
    json.Member("slot", uint64_t{rank.slot_});
    json.Member("os_pid", uint64_t{rank.os_pid_});
    json.Member("is_alive", rank.is_alive_);
    json.Member("unit_bytes", rank.unit_bytes_);
    json.Member("live_bytes", rank.live_bytes_);
    json.Member("heaps", uint64_t{rank.heaps_});
    json.Member("pages", rank.pages_);
    json.Member("free_bytes", rank.free_bytes_);
    json.Member("largest_free_bytes", rank.largest_free_bytes_);
    json.Share("fragmentation", rank.Fragmentation());
    json.Member("pending_frees", rank.pending_frees_);
    json.End('}');
  }
  json.End(']');
  json.End('}');
  return json.Take();
}

std::string AllocatorStats::ToText() const {
  std::string text = allocator_ + (is_complete_ ? "\n" : " (a lock could not be had)\n");
  const auto row = [&](const char* name, uint64_t bytes) {
    Append(&text, "  %-14s %20s\n", name, Bytes(bytes).c_str());
  };
  row("region", region_bytes_);
  row("capacity", capacity_bytes_);
  row("committed", committed_bytes_);
  row("live", live_bytes_);
  if (*peak_counts_ != 0) row("peak", peak_bytes_);
  row("free", free_bytes_);
  row("largest free", largest_free_bytes_);
  Append(&text, "  %-14s %18.1f %%\n", "fragmentation", 100 * Fragmentation());
  Append(&text, "  %-14s %20" PRIu64 "\n", "live blocks", live_blocks_);
  Append(&text, "  %-14s %20" PRIu64 "\n", "remote frees", remote_frees_);
  if (deaths_.processes_ != 0) {
    Append(&text, "  %-14s %20" PRIu64 "\n", "gone processes", deaths_.processes_);
    row("adopted", deaths_.adopted_bytes_);
    row("deleted", deaths_.deleted_bytes_);
    Append(&text, "  %-14s %20" PRIu64 "\n", "lost at most", deaths_.LostBlocksAtMost());
  }
  if (!classes_.empty()) {
    Append(&text, "  %11s %12s %12s %10s %10s\n", "block bytes", "live", "free", "pages",
           "pending");
  }
  for (const SizeClassStats& c : classes_) {
    Append(&text, "  %11" PRIu64 " %12" PRIu64 " %12" PRIu64 " %10" PRIu64 " %10" PRIu64 "\n",
           c.block_bytes_, c.live_blocks_, c.free_blocks_, c.pages_, c.pending_frees_);
  }
  if (!ranks_.empty()) {
    Append(&text, "  %5s %10s %5s %16s %16s %16s %7s %10s %6s\n", "slot", "pid", "alive", "units",
           "live", "free", "frag.", "pending", "heaps");
  }
  for (const RankStats& rank : ranks_) {
    Append(&text, "  %5u %10u %5s %16s %16s %16s %5.1f %% %10" PRIu64 " %6u\n", rank.slot_,
           rank.os_pid_, rank.is_alive_ ? "yes" : "no", Bytes(rank.unit_bytes_).c_str(),
           Bytes(rank.live_bytes_).c_str(), Bytes(rank.free_bytes_).c_str(),
           100 * rank.Fragmentation(), rank.pending_frees_, rank.heaps_);
  }
  return text;
}

}  // namespace hshm::ipc
