#include <algorithm>
#include <cstdio>

#include "commands.h"
#include "describe.h"
#include "finding.h"
#include "text.h"

/** `hshm doctor`: whether this node is fit for heaps, and what to do where it is not. */
namespace hshm::tool {
namespace {

const char* LevelName(Level level) {
  switch (level) {
    case Level::kOk:
      return "ok";
    case Level::kWarn:
      return "warn";
    case Level::kBad:
      return "bad";
  }
  return "";
}

std::vector<Finding> LookAtAll() {
  std::vector<Finding> all;
  for (const auto look : {LookAtSharedMemory, LookAtStaleSegments, LookAtMemory, LookAtHugePages,
                          LookAtNumaNodes, LookAtContainer, LookAtLimits, LookAtKernel}) {
    std::vector<Finding> some = look();
    all.insert(all.end(), std::make_move_iterator(some.begin()),
               std::make_move_iterator(some.end()));
  }
  return all;
}

void PrintJson(const std::vector<Finding>& findings, Level worst) {
  nlohmann::json list = nlohmann::json::array();
  for (const Finding& finding : findings) {
    list.push_back({{"name", finding.name_},
                    {"level", LevelName(finding.level_)},
                    {"what", finding.what_},
                    {"advice", finding.advice_}});
  }
  std::fputs(Dump({{"findings", list}, {"worst", LevelName(worst)}}).c_str(), stdout);
}

void Print(const std::vector<Finding>& findings) {
  for (const Finding& finding : findings) {
    std::printf("%-4s  %-16s  %s\n", LevelName(finding.level_), finding.name_.c_str(),
                Printable(finding.what_).c_str());
    if (!finding.advice_.empty()) {
      std::printf("%24s-> %s\n", "", Printable(finding.advice_).c_str());
    }
  }
}

}  // namespace

ExitStatus RunDoctor(const DoctorOptions& options) {
  const std::vector<Finding> findings = LookAtAll();
  Level worst = Level::kOk;
  for (const Finding& finding : findings) worst = std::max(worst, finding.level_);
  options.json_ ? PrintJson(findings, worst) : Print(findings);
  return worst == Level::kBad ? kUnwell : kWell;
}

}  // namespace hshm::tool
