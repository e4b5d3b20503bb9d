#ifndef HSHM_TOOLS_HSHM_COMMANDS_H_
#define HSHM_TOOLS_HSHM_COMMANDS_H_

#include <string>
#include <vector>

/** What `hshm` can do, one function each; hshm.1 says what users may rely on. */
namespace hshm::tool {

/** What the process ends with. */
enum ExitStatus : int {
  kWell = 0,    // done, and what was asked about is in order
  kUnwell = 1,  // done, and something is not in order: the output says what
  kFailed = 2,  // not done: wrong usage, no such segment, no permission
};

struct LsOptions {
  bool json_ = false;
  bool all_ = false;  // segments of other users too
};
ExitStatus RunLs(const LsOptions& options);

struct StatOptions {
  bool json_ = false;
  std::vector<std::string> segments_;
};
ExitStatus RunStat(const StatOptions& options);

struct CheckOptions {
  bool json_ = false;
  std::string segment_;
};
ExitStatus RunCheck(const CheckOptions& options);

struct CleanOptions {
  bool json_ = false;
  bool all_ = false;
  bool dry_run_ = false;
  std::vector<std::string> names_;  // none: whatever is dead
};
ExitStatus RunClean(const CleanOptions& options);

struct DoctorOptions {
  bool json_ = false;
};
ExitStatus RunDoctor(const DoctorOptions& options);

}  // namespace hshm::tool

#endif  // HSHM_TOOLS_HSHM_COMMANDS_H_
