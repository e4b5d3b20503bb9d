#include "describe.h"

#include <algorithm>
#include <ctime>
#include <vector>

#include "hermes_shm/memory/allocator/allocator_core.h"
#include "hermes_shm/memory/backend/header_rules.h"
#include "hermes_shm/platform/process.h"

namespace hshm::tool {
namespace {

constexpr size_t kMostHolders = 8;  // in a line for people

bool IsElsewhere(const ipc::SlotHolder& holder) { return holder.pid_namespace_ != PidNamespace(); }

void Append(std::string* list, const std::string& item) {
  if (!list->empty()) *list += ", ";
  *list += item;
}

}  // namespace

std::string HoldersText(const FoundSegment& segment) {
  std::vector<std::string> who;
  std::vector<uint32_t> named;
  for (const ipc::SlotHolder& holder : segment.report_.holders_) {
    std::string text = std::to_string(holder.os_pid_);
    if (IsElsewhere(holder)) text += " of another container";
    if (std::find(who.begin(), who.end(), text) == who.end()) who.push_back(text);
    if (!IsElsewhere(holder)) named.push_back(holder.os_pid_);
  }
  for (const uint32_t pid : segment.open_in_) {
    if (std::find(named.begin(), named.end(), pid) != named.end()) continue;
    who.push_back(std::to_string(pid) + " without an allocator");
  }
  std::string text;
  for (size_t i = 0; i < who.size() && i < kMostHolders; ++i) Append(&text, who[i]);
  if (who.size() > kMostHolders) {
    Append(&text, "and " + std::to_string(who.size() - kMostHolders) + " more");
  }
  if (!text.empty()) return text;
  return segment.report_.is_alive_ ? "a process without an allocator" : "-";
}

uint64_t AgeOf(const FoundSegment& segment) {
  const auto now = static_cast<uint64_t>(std::time(nullptr));
  return segment.born_ == 0 || segment.born_ > now ? 0 : now - segment.born_;
}

const char* StateOf(const FoundSegment& segment) {
  if (segment.report_.is_alive_) return "alive";
  return segment.report_.is_from_this_boot_ ? "dead" : "stale";
}

nlohmann::json ToJson(const FoundSegment& segment) {
  const ipc::SegmentReport& report = segment.report_;
  nlohmann::json holders = nlohmann::json::array();
  for (const ipc::SlotHolder& holder : report.holders_) {
    holders.push_back({{"slot", holder.slot_},
                       {"pid", holder.os_pid_},
                       {"start_time", holder.start_time_},
                       {"pid_namespace", holder.pid_namespace_},
                       {"is_of_this_pid_namespace", !IsElsewhere(holder)}});
  }
  return {{"name", segment.name_},
          {"kind", KindName(segment.kind_)},
          {"where", segment.where_},
          {"state", StateOf(segment)},
          {"is_alive", report.is_alive_},
          {"size_bytes", report.region_bytes_},
          {"file_bytes", report.file_.size_bytes_},
          {"committed_bytes", report.file_.committed_bytes_},
          {"user_id", report.file_.user_id_},
          {"backend", ipc::BackendTypeName(report.type_)},
          {"backend_id", report.backend_id_},
          {"layout_version", report.layout_version_},
          {"allocator", ipc::AllocatorTypeName(segment.allocator_)},
          {"creator_pid", report.creator_pid_},
          {"age_seconds", AgeOf(segment)},
          {"holders", holders},
          {"open_in", segment.open_in_},
          {"defect", ErrorCodeName(report.defect_)},
          {"defect_sentence", report.defect_sentence_}};
}

std::string Dump(const nlohmann::json& json) {
  return json.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

}  // namespace hshm::tool
