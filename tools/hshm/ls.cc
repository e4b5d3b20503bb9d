#include <algorithm>
#include <cstdio>

#include "commands.h"
#include "describe.h"
#include "hermes_shm/base/error.h"
#include "hermes_shm/memory/allocator/allocator_core.h"
#include "text.h"

/** `hshm ls`: which segments are there, and who lives in them. */
namespace hshm::tool {
namespace {

void Print(const std::vector<FoundSegment>& segments) {
  Table table({"NAME", "KIND", "STATE", ">SIZE", ">COMMITTED", "ALLOCATOR", "AGE", "HELD BY"});
  for (const FoundSegment& segment : segments) {
    const ipc::SegmentReport& report = segment.report_;
    std::string allocator = ipc::AllocatorTypeName(segment.allocator_);
    for (const char* article : {"a ", "an "}) {
      if (allocator.rfind(article, 0) == 0) allocator.erase(0, std::string(article).size());
    }
    if (report.defect_ != ErrorCode::kNone) allocator = ErrorCodeName(report.defect_);
    table.Add({Printable(segment.name_), KindName(segment.kind_), StateOf(segment),
               Human(report.region_bytes_), Human(report.file_.committed_bytes_), allocator,
               HumanAge(AgeOf(segment)), HoldersText(segment)});
  }
  std::fputs(table.Text().c_str(), stdout);
  for (const FoundSegment& segment : segments) {
    if (segment.report_.defect_ == ErrorCode::kNone) continue;
    std::printf("%s\n", Printable(segment.report_.defect_sentence_).c_str());
  }
  const bool any_hidden = std::any_of(segments.begin(), segments.end(), [](const auto& segment) {
    return segment.kind_ == SegmentKind::kUnlinked || segment.kind_ == SegmentKind::kUnnamed;
  });
  if (!any_hidden) return;
  std::printf("\nWithout a name, for `hshm stat` and `hshm check`:\n");
  for (const FoundSegment& segment : segments) {
    if (segment.kind_ == SegmentKind::kNamed || segment.kind_ == SegmentKind::kFile) continue;
    std::printf("  %s  %s\n", segment.where_.c_str(), Printable(segment.name_).c_str());
  }
}

}  // namespace

ExitStatus RunLs(const LsOptions& options) {
  const std::vector<FoundSegment> segments = FindSegments(options.all_);
  if (options.json_) {
    nlohmann::json list = nlohmann::json::array();
    for (const FoundSegment& segment : segments) list.push_back(ToJson(segment));
    std::fputs(Dump({{"segments", list}}).c_str(), stdout);
  } else if (segments.empty()) {
    std::printf("No segment of hshm is here.\n");
  } else {
    Print(segments);
  }
  return kWell;
}

}  // namespace hshm::tool
