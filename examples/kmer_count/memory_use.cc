#include "memory_use.h"

#include <fstream>
#include <string>

namespace kmer_count {

uint64_t PrivateBytes() {
  std::ifstream rollup("/proc/self/smaps_rollup");
  for (std::string word; rollup >> word;) {
    uint64_t kib = 0;
    if (word == "Anonymous:" && rollup >> kib) return kib * 1024;
  }
  return 0;
}

}  // namespace kmer_count
