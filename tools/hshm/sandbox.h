#ifndef HSHM_TOOLS_HSHM_SANDBOX_H_
#define HSHM_TOOLS_HSHM_SANDBOX_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace hshm::tool {

/** How a task in a child has ended. */
struct SandboxResult {
  bool is_done_ = false;            // it has returned
  std::string output_;              // what it returned
  std::vector<std::string> lines_;  // what it said on standard error
  std::string how_it_ended_;        // where it has not returned: "after 20 s", "by signal 6"
};

/**
 * Runs a task in a child that may crash, hang or abort without harm: it leaves no core dump, is
 * killed after timeout_s seconds, and with this process.
 * @throws Error kSystem when there can be no child
 */
SandboxResult RunInSandbox(uint64_t timeout_s, const std::function<std::string()>& task);

}  // namespace hshm::tool

#endif  // HSHM_TOOLS_HSHM_SANDBOX_H_
