#include <algorithm>
#include <cstdio>

#include "commands.h"
#include "describe.h"
#include "hermes_shm/base/error.h"
#include "text.h"

/** `hshm clean`: takes away what dead jobs have left. */
namespace hshm::tool {
namespace {

/** What became of one segment, or of a name that is none. */
struct Outcome {
  std::string name_;
  std::string path_;
  uint64_t bytes_ = 0;   // of memory that it had
  std::string why_not_;  // empty: it was removed, or would be
};

std::string WhyNot(ipc::RemovalResult result, const FoundSegment& segment) {
  switch (result) {
    case ipc::RemovalResult::kRemoved:
      return "";
    case ipc::RemovalResult::kNothingThere:
      return "somebody else has removed it meanwhile";
    case ipc::RemovalResult::kInUse:
      return "in use by " + HoldersText(segment);
    case ipc::RemovalResult::kBusy:
      return "another process is replacing it at this moment";
    case ipc::RemovalResult::kNotASegment:
      return "it is no segment of hshm";
    case ipc::RemovalResult::kPersistent:
      return "it is the file of a PosixMmap, which is meant to outlive its processes: remove it "
             "with "
             "rm if its data is not wanted";
  }
  return "";
}

Outcome Remove(const FoundSegment& segment, const CleanOptions& options) {
  Outcome outcome;
  outcome.name_ = segment.name_;
  outcome.path_ = segment.where_;
  outcome.bytes_ = segment.report_.file_.committed_bytes_;
  if (segment.kind_ == SegmentKind::kFile) {
    outcome.why_not_ = WhyNot(ipc::RemovalResult::kPersistent, segment);
  } else if (segment.report_.is_alive_) {
    outcome.why_not_ = WhyNot(ipc::RemovalResult::kInUse, segment);
  } else if (!options.dry_run_) {
    try {  // The report is of a moment ago: what counts is what the locks say now.
      outcome.why_not_ = WhyNot(ipc::RemoveSegmentIfDead(segment.where_, options.all_), segment);
    } catch (const Error& error) {
      outcome.why_not_ = error.what();
    }
  }
  return outcome;
}

/** The segment that a user has named. @throws Error when there is no such, or it is none */
Outcome RemoveNamed(const std::string& name, const CleanOptions& options) {
  Outcome outcome;
  outcome.name_ = name;
  try {
    FoundSegment segment;
    segment.name_ = name;
    segment.where_ = ipc::PathOfSegment(name);
    outcome.path_ = segment.where_;
    const FileDescriptor file = ipc::OpenSegmentToRead(segment.where_);
    const auto report = ipc::ReadSegmentReport(file.get(), segment.where_);
    if (!report.has_value()) {
      outcome.why_not_ = WhyNot(ipc::RemovalResult::kNotASegment, segment);
      return outcome;
    }
    segment.report_ = *report;
    if (report->type_ == ipc::MemoryBackendType::kPosixMmap) segment.kind_ = SegmentKind::kFile;
    return Remove(segment, options);
  } catch (const Error& error) {
    outcome.why_not_ = error.what();
    return outcome;
  }
}

nlohmann::json ToJson(const Outcome& outcome) {
  nlohmann::json json = {
      {"name", outcome.name_}, {"path", outcome.path_}, {"bytes", outcome.bytes_}};
  if (!outcome.why_not_.empty()) json["why_not"] = outcome.why_not_;
  return json;
}

void PrintJson(const std::vector<Outcome>& outcomes, const CleanOptions& options, uint64_t freed) {
  nlohmann::json removed = nlohmann::json::array();
  nlohmann::json kept = nlohmann::json::array();
  for (const Outcome& outcome : outcomes) {
    (outcome.why_not_.empty() ? removed : kept).push_back(ToJson(outcome));
  }
  std::fputs(Dump({{"dry_run", options.dry_run_},
                   {"removed", removed},
                   {"kept", kept},
                   {"freed_bytes", freed}})
                 .c_str(),
             stdout);
}

void Print(const std::vector<Outcome>& outcomes, const CleanOptions& options, uint64_t freed) {
  const char* const verb = options.dry_run_ ? "would remove" : "removed";
  uint64_t count = 0;
  for (const Outcome& outcome : outcomes) {
    const std::string path = Printable(outcome.path_.empty() ? outcome.name_ : outcome.path_);
    if (outcome.why_not_.empty()) {
      ++count;
      std::printf("%s %s, %s\n", verb, path.c_str(), Human(outcome.bytes_).c_str());
    } else {
      std::printf("kept %s: %s\n", path.c_str(), Printable(outcome.why_not_).c_str());
    }
  }
  std::printf("%s %llu %s, %s\n", verb, static_cast<unsigned long long>(count),
              count == 1 ? "segment" : "segments", Human(freed).c_str());
}

}  // namespace

ExitStatus RunClean(const CleanOptions& options) {
  std::vector<Outcome> outcomes;
  for (const std::string& name : options.names_) outcomes.push_back(RemoveNamed(name, options));
  if (options.names_.empty()) {
    for (const FoundSegment& segment : FindNamedSegments(options.all_)) {
      outcomes.push_back(Remove(segment, options));
    }
  }
  uint64_t freed = 0;
  bool any_kept = false;
  for (const Outcome& outcome : outcomes) {
    if (outcome.why_not_.empty()) freed += outcome.bytes_;
    any_kept = any_kept || !outcome.why_not_.empty();
  }
  options.json_ ? PrintJson(outcomes, options, freed) : Print(outcomes, options, freed);
  // Without names a living segment is no mishap: it was not asked for.
  return any_kept && !options.names_.empty() ? kUnwell : kWell;
}

}  // namespace hshm::tool
