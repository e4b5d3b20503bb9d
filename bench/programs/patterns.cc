/* `patterns NAME THREADS SCALE`: one of patterns/, on the process's malloc; prints JSON. */
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "loops/resident.h"
#include "patterns/pattern.h"

namespace {

struct Pattern {
  std::string_view name_;
  void (*run_)(const hshm::bench::PatternOptions&);
};

constexpr Pattern kPatterns[] = {
    {"larson", hshm::bench::RunLarson},         {"xmalloc", hshm::bench::RunXmalloc},
    {"sh6bench", hshm::bench::RunSh6bench},     {"mstress", hshm::bench::RunMstress},
    {"threadtest", hshm::bench::RunThreadtest}, {"cache_scratch", hshm::bench::RunCacheScratch},
};

}  // namespace

int main(int argc, char** argv) {
  if (argc == 4) {
    hshm::bench::PatternOptions options;
    options.threads_ = static_cast<uint32_t>(std::atoi(argv[2]));
    options.scale_ = static_cast<uint32_t>(std::atoi(argv[3]));
    for (const Pattern& pattern : kPatterns) {
      if (pattern.name_ != argv[1] || options.threads_ == 0) continue;
      pattern.run_(options);
      std::printf("{\"peak_bytes\": %" PRIu64 "}\n", hshm::bench::PeakResidentBytes());
      return 0;
    }
  }
  std::fprintf(stderr, "patterns NAME THREADS SCALE, NAME one of:\n");
  for (const Pattern& pattern : kPatterns) std::fprintf(stderr, "  %s\n", pattern.name_.data());
  return 2;
}
