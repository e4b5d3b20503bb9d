#ifndef HSHM_EXAMPLES_KMER_COUNT_OPTIONS_H_
#define HSHM_EXAMPLES_KMER_COUNT_OPTIONS_H_

#include <cstdint>
#include <string>
#include <vector>

/** The command line. */
namespace kmer_count {

enum class Mode {
  kShared,      // one map in the node's heap, filled by all ranks
  kReplicated,  // every rank counts everything in a std::unordered_map of its own
  kSerial,      // rank 0 alone, in a std::unordered_map
};

struct Options {
  std::string genome_;
  int k_ = 31;
  Mode mode_ = Mode::kShared;
  bool verify_ = false;
  bool help_ = false;
  uint64_t heap_bytes_ = 0;  // 0: half of what shared memory has free
};

extern const char kUsage[];

/** arguments without the program's name. @throws InputError */
Options ParseOptions(const std::vector<std::string>& arguments);

/** "65536", "64k", "64M", "2G", "2GiB": binary multiples, upper or lower case.
 * @throws InputError for anything else, 0 included */
uint64_t ParseBytes(const std::string& text);

}  // namespace kmer_count

#endif  // HSHM_EXAMPLES_KMER_COUNT_OPTIONS_H_
