#include <algorithm>
#include <cstdio>

#include "commands.h"
#include "describe.h"
#include "hermes_shm/base/error.h"
#include "open_segment.h"
#include "private_copy.h"
#include "sandbox.h"
#include "text.h"

/** `hshm stat`: what a segment's heap holds, by rank and by size. */
namespace hshm::tool {
namespace {

/** While others work, what is copied may fit together so badly that it leads astray: tried anew. */
constexpr int kMostTries = 5;

/** Who lives there is what the locks say; the copy knows nobody. */
void NameTheLiving(const std::vector<ipc::SlotHolder>& holders, ipc::AllocatorStats* stats) {
  std::erase_if(stats->ranks_, [&](ipc::RankStats& rank) {  // a slot that the look itself took
    rank.is_alive_ = false;
    return rank.unit_bytes_ == 0 && rank.live_bytes_ == 0 && rank.heaps_ == 0;
  });
  for (const ipc::SlotHolder& holder : holders) {
    auto rank = std::find_if(stats->ranks_.begin(), stats->ranks_.end(),
                             [&](const auto& one) { return one.slot_ == holder.slot_; });
    if (rank == stats->ranks_.end()) rank = stats->ranks_.insert(rank, ipc::RankStats());
    rank->slot_ = holder.slot_;
    rank->os_pid_ = holder.os_pid_;
    rank->is_alive_ = true;
  }
  std::sort(stats->ranks_.begin(), stats->ranks_.end(),
            [](const auto& a, const auto& b) { return a.slot_ < b.slot_; });
}

/** For people and for programs at once, in one object, for it comes from a child. */
std::string Count(const OpenedSegment& segment) {
  const ipc::SegmentReport& report = segment.found_.report_;
  const auto original =
      report.is_alive_ ? PrivateCopy::Original::kChanging : PrivateCopy::Original::kQuiet;
  PrivateCopy copy(segment.file_.get(), report.region_bytes_, original);
  ipc::AllocatorStats stats = ipc::CountInCopy(copy.region());
  NameTheLiving(report.holders_, &stats);
  return Dump({{"text", stats.ToText()}, {"stats", nlohmann::json::parse(stats.ToJson())}});
}

struct Answer {
  nlohmann::json json_;
  std::string text_;
  bool is_well_ = true;
};

void Complain(Answer* answer, const std::string& sentence) {
  answer->is_well_ = false;
  answer->json_["problem"] = sentence;
  answer->text_ += "  " + Printable(sentence) + "\n";
}

Answer About(const std::string& name) {
  const OpenedSegment segment = OpenNamed(name);
  const ipc::SegmentReport& report = segment.found_.report_;
  Answer answer;
  if (!segment.is_segment_) {
    answer.json_ = {{"name", name}, {"defect", ErrorCodeName(ErrorCode::kNotASegment)}};
    answer.text_ = Printable(name) + "\n";
    Complain(&answer, "It does not begin like a segment of hshm.");
    return answer;
  }
  answer.json_ = ToJson(segment.found_);
  answer.json_["stats"] = nullptr;
  answer.text_ = Printable(name) + ": " + StateOf(segment.found_) + ", " +
                 Human(report.region_bytes_) + ", " + Human(report.file_.committed_bytes_) +
                 " committed, held by " + HoldersText(segment.found_) + "\n";
  if (report.defect_ != ErrorCode::kNone) {
    Complain(&answer, report.defect_sentence_);
    return answer;
  }
  if (segment.found_.allocator_ == ipc::AllocatorType::kNone) {
    answer.text_ += "  It holds no allocator.\n";
    return answer;
  }
  SandboxResult counted;
  for (int i = 0; i < (report.is_alive_ ? kMostTries : 1) && !counted.is_done_; ++i) {
    counted = RunInSandbox(PatienceFor(segment), [&] { return Count(segment); });
  }
  if (!counted.is_done_) {
    const std::string why =
        counted.lines_.empty() ? "Counting " + counted.how_it_ended_ : counted.lines_.front();
    Complain(&answer, why + ": try `hshm check`.");
    return answer;
  }
  const nlohmann::json both = nlohmann::json::parse(counted.output_);
  answer.json_["stats"] = both["stats"];
  answer.text_ += both["text"].get<std::string>();
  return answer;
}

}  // namespace

ExitStatus RunStat(const StatOptions& options) {
  nlohmann::json list = nlohmann::json::array();
  bool is_well = true;
  for (const std::string& name : options.segments_) {
    const Answer answer = About(name);
    is_well = is_well && answer.is_well_;
    if (options.json_) {
      list.push_back(answer.json_);
    } else {
      std::fputs(answer.text_.c_str(), stdout);
    }
  }
  if (options.json_) std::fputs(Dump({{"segments", list}}).c_str(), stdout);
  return is_well ? kWell : kUnwell;
}

}  // namespace hshm::tool
