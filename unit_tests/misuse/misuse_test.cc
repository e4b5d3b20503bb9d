/** Each misuse is found at the call, with its name: see misuse_case.h. */
#include <dirent.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <sstream>
#include <string>
#include <vector>

#include "support/catch.h"
#include "support/child_process.h"

namespace {

struct Misuse {
  std::string name_;
  std::string defect_;
};

/** What the program prints. */
std::string OutputOf(const std::string& command) {
  std::string text;
  FILE* pipe = popen(command.c_str(), "r");
  REQUIRE(pipe != nullptr);
  char part[4096];
  for (size_t n = 0; (n = fread(part, 1, sizeof(part), pipe)) > 0;) text.append(part, n);
  REQUIRE(pclose(pipe) == 0);
  return text;
}

std::vector<Misuse> MisusesIn(const char* program) {
  std::vector<Misuse> found;
  std::istringstream lines(OutputOf(std::string(program) + " --list"));
  for (Misuse one; lines >> one.name_ && std::getline(lines >> std::ws, one.defect_);) {
    found.push_back(one);
  }
  return found;
}

size_t FilesIn(const char* folder) {
  size_t count = 0;
  DIR* directory = opendir(folder);
  REQUIRE(directory != nullptr);
  while (const dirent* entry = readdir(directory)) {
    count += std::string(entry->d_name).find(".cc") != std::string::npos;
  }
  closedir(directory);
  return count;
}

/** One run in a process of its own, with these variables set. */
void RequireFound(const char* program, const Misuse& misuse,
                  const std::vector<std::string>& variables) {
  CAPTURE(misuse.name_, misuse.defect_, variables);
  const auto ending = hshm::test::RunInChild([&] {
    for (const std::string& variable : variables) putenv(const_cast<char*>(variable.c_str()));
    alarm(60);
    execl(program, program, misuse.name_.c_str(), nullptr);
  });
  CAPTURE(ending.errors_);
  CHECK(ending.status_ == -SIGABRT);
  // One line that says how far it was right, then the defect, once for each process that it stops.
  std::istringstream lines(ending.errors_);
  std::string line;
  CHECK(std::getline(lines, line));
  CHECK(line == "at the call");
  size_t defects = 0;
  while (std::getline(lines, line)) {
    CHECK(line.find("hshm: " + misuse.defect_ + " ") == 0);
    ++defects;
  }
  CHECK(defects >= 1);
}

void RequireAllFound(const char* program, const char* folder,
                     const std::vector<std::string>& variables) {
  const std::vector<Misuse> misuses = MisusesIn(program);
  REQUIRE(misuses.size() == FilesIn(folder));
  for (const Misuse& misuse : misuses) RequireFound(program, misuse, variables);
}

}  // namespace

TEST_CASE("Every misuse of a heap of the policy Checked is found at the call") {
  RequireAllFound(HSHM_PROGRAM_MISUSE_HEAP_CASES, HSHM_MISUSE_FOLDER "/heap_cases", {});
}

#ifdef HSHM_MALLOC_LIBRARY
TEST_CASE("Every misuse of malloc is found at the call under HSHM_CHECKED=1") {
  for (const char* backend : {"private", "shm"}) {
    RequireAllFound(HSHM_PROGRAM_MISUSE_MALLOC_CASES, HSHM_MISUSE_FOLDER "/malloc_cases",
                    {"HSHM_CHECKED=1", std::string("HSHM_MALLOC_BACKEND=") + backend,
                     "HSHM_MALLOC_SIZE=4G", "LD_PRELOAD=" HSHM_MALLOC_LIBRARY});
  }
}
#endif
