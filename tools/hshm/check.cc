#include <algorithm>
#include <cstdio>

#include "commands.h"
#include "describe.h"
#include "hermes_shm/base/error.h"
#include "hermes_shm/memory/allocator/allocator_core.h"
#include "open_segment.h"
#include "private_copy.h"
#include "sandbox.h"
#include "text.h"

/** `hshm check`: whether a segment is whole. */
namespace hshm::tool {
namespace {

constexpr int kMostTries = 5;  // as of `hshm stat`

/** What was found, in the end. */
struct Verdict {
  bool is_good_ = true;
  std::vector<std::string> findings_;
  nlohmann::json details_ = nlohmann::json::object();
  std::string summary_;
};

nlohmann::json Held(const ipc::AllocatorStats& stats) {
  return {{"live_bytes", stats.live_bytes_},
          {"live_blocks", stats.live_blocks_},
          {"remote_frees", stats.remote_frees_},
          {"ranks", stats.ranks_.size()}};
}

/** Runs in a child. Of nobody's segment: it is recovered, in the copy. */
std::string Recover(const OpenedSegment& segment) {
  PrivateCopy copy(segment.file_.get(), segment.found_.report_.region_bytes_,
                   PrivateCopy::Original::kQuiet);
  const ipc::RecoveryVerdict verdict = ipc::RecoverCopy(copy.region());
  return Dump({{"is_good", verdict.is_good_},
               {"before", Held(verdict.before_)},
               {"after", Held(verdict.after_)},
               {"adopted_pages", verdict.adopted_pages_},
               {"lost_blocks_at_most", verdict.blocks_in_flight_}});
}

/** Runs in a child. Of a segment in use: what holds at every moment. */
std::string LookOn(const OpenedSegment& segment) {
  PrivateCopy copy(segment.file_.get(), segment.found_.report_.region_bytes_,
                   PrivateCopy::Original::kChanging);
  const auto verdict = ipc::CheckChangingCopy(copy.region(), &copy);
  if (!verdict.has_value()) return Dump({{"is_good", true}, {"headers_only", true}});
  return Dump({{"is_good", verdict->is_good_},
               {"headers_only", false},
               {"spans", verdict->spans_},
               {"unsettled_spans", verdict->unsettled_}});
}

std::string Text(const nlohmann::json& held) {
  return Human(held["live_bytes"].get<uint64_t>()) + " live";
}

std::string Number(const nlohmann::json& json, const char* name) {
  return std::to_string(json[name].get<uint64_t>());
}

void Summarize(const OpenedSegment& segment, Verdict* verdict) {
  const nlohmann::json& details = verdict->details_;
  if (details.contains("before")) {
    verdict->summary_ = "nobody lives in it; recovered in a copy: " + Text(details["before"]) +
                        " as found, " + Text(details["after"]) + " after; adopted of " +
                        Number(details["before"], "ranks") +
                        " dead: " + Number(details, "adopted_pages") +
                        " pages; lost at most: " + Number(details, "lost_blocks_at_most") +
                        " blocks that were in flight (a run of 16 where a thread died posting one)";
  } else if (details.value("headers_only", false)) {
    verdict->summary_ = "in use; " +
                        std::string(ipc::AllocatorTypeName(segment.found_.allocator_)) +
                        " can be walked only while nobody works: its headers are in order";
  } else {
    verdict->summary_ = "in use; " + Number(details, "spans") + " spans of pages looked at, " +
                        Number(details, "unsettled_spans") + " of them too busy to judge";
  }
}

/** Broken words lead a child astray, which is a finding; where others work, only if always. */
Verdict CheckHeap(const OpenedSegment& segment) {
  const bool is_alive = segment.found_.report_.is_alive_;
  SandboxResult result;
  for (int i = 0; i < (is_alive ? kMostTries : 1) && !result.is_done_; ++i) {
    result = RunInSandbox(PatienceFor(segment),
                          [&] { return is_alive ? LookOn(segment) : Recover(segment); });
  }
  Verdict verdict;
  verdict.findings_ = result.lines_;
  if (!result.is_done_) {
    verdict.is_good_ = false;
    verdict.findings_.push_back("hshm: Check " + result.how_it_ended_);
    return verdict;
  }
  verdict.details_ = nlohmann::json::parse(result.output_);
  verdict.is_good_ = verdict.details_["is_good"].get<bool>();
  Summarize(segment, &verdict);
  return verdict;
}

Verdict Check(OpenedSegment* segment) {
  Verdict verdict;
  const ipc::SegmentReport& report = segment->found_.report_;
  if (!segment->is_segment_ || report.defect_ != ErrorCode::kNone) {
    verdict.is_good_ = false;
    verdict.findings_.push_back(segment->is_segment_ ? report.defect_sentence_
                                                     : "It does not begin like a segment of hshm.");
  } else if (segment->found_.allocator_ == ipc::AllocatorType::kNone) {
    verdict.summary_ = "it holds no allocator, and its header is in order";
  } else {
    const bool was_alive = report.is_alive_;
    verdict = CheckHeap(*segment);
    segment->Refresh();
    // Somebody joined, or left, while a copy was made that was right only if nobody did.
    if (was_alive != segment->found_.report_.is_alive_) verdict = CheckHeap(*segment);
  }
  return verdict;
}

void Print(const OpenedSegment& segment, const Verdict& verdict, bool as_json) {
  if (as_json) {
    nlohmann::json json = {{"defect", ErrorCodeName(ErrorCode::kNotASegment)}};
    if (segment.is_segment_) json = ToJson(segment.found_);
    json["name"] = segment.found_.name_;
    json["is_good"] = verdict.is_good_;
    json["findings"] = verdict.findings_;
    json["details"] = verdict.details_;
    std::fputs(Dump(json).c_str(), stdout);
    return;
  }
  std::printf("%s: %s", Printable(segment.found_.name_).c_str(),
              verdict.is_good_ ? "good" : "broken");
  if (!verdict.summary_.empty()) std::printf("; %s", verdict.summary_.c_str());
  std::printf("\n");
  for (const std::string& finding : verdict.findings_) {
    std::printf("  %s\n", Printable(finding).c_str());
  }
}

}  // namespace

ExitStatus RunCheck(const CheckOptions& options) {
  OpenedSegment segment = OpenNamed(options.segment_);
  const Verdict verdict = Check(&segment);
  Print(segment, verdict, options.json_);
  return verdict.is_good_ ? kWell : kUnwell;
}

}  // namespace hshm::tool
