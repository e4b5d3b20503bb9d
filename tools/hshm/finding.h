#ifndef HSHM_TOOLS_HSHM_FINDING_H_
#define HSHM_TOOLS_HSHM_FINDING_H_

#include <string>
#include <vector>

/** What `hshm doctor` sees, one thing to a function. */
namespace hshm::tool {

enum class Level {
  kOk,
  kWarn,  // it works, and will hurt some jobs
  kBad,   // jobs fail
};

struct Finding {
  std::string name_;  // of the thing: "shared memory"
  Level level_ = Level::kOk;
  std::string what_;    // is there
  std::string advice_;  // what to do; empty when all is well
};

/** Room in the directory of segments, and whether a segment can be made there. */
std::vector<Finding> LookAtSharedMemory();
/** Memory of the machine, and what control groups leave of it. */
std::vector<Finding> LookAtMemory();
std::vector<Finding> LookAtHugePages();
std::vector<Finding> LookAtNumaNodes();
/** Whether this is a container, as far as it can be told from inside. */
std::vector<Finding> LookAtContainer();
/** The limits of this process, which those that it starts inherit. */
std::vector<Finding> LookAtLimits();
/** Settings of the kernel. */
std::vector<Finding> LookAtKernel();
/** What dead jobs have left. */
std::vector<Finding> LookAtStaleSegments();

}  // namespace hshm::tool

#endif  // HSHM_TOOLS_HSHM_FINDING_H_
