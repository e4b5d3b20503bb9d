/** `PROGRAM --list` says "name defect" for each misuse that is compiled in, `PROGRAM NAME` does it.
 */
#include <sys/resource.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>

#include "misuse/misuse_case.h"

namespace hshm::misuse {
namespace {

const Case* first_case = nullptr;

}  // namespace

Case::Case(const char* name, const char* defect, void (*run)())
    : name_(name), defect_(defect), run_(run), next_(first_case) {
  first_case = this;
}

void AtTheCall() {
  static constexpr char kLine[] = "at the call\n";
  static_cast<void>(!write(STDERR_FILENO, kLine, sizeof(kLine) - 1));
}

}  // namespace hshm::misuse

int main(int argc, char** argv) {
  using hshm::misuse::first_case;
  if (argc != 2) return 2;
  const bool is_list = std::strcmp(argv[1], "--list") == 0;
  const rlimit no_core{};
  setrlimit(RLIMIT_CORE, &no_core);
  for (const auto* one = first_case; one != nullptr; one = one->next_) {
    if (is_list) std::printf("%s %s\n", one->name_, one->defect_);
    if (!is_list && std::strcmp(argv[1], one->name_) == 0) {
      one->run_();
      return 0;  // nothing was found
    }
  }
  return is_list ? 0 : 2;
}
