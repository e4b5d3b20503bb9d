#include "private_count.h"

#include <unordered_map>

#include "fasta.h"
#include "input_error.h"
#include "memory_use.h"
#include "stopwatch.h"

namespace kmer_count {

PrivateCount CountPrivately(const GenomeFile& file, int k) {
  PrivateCount result;
  const uint64_t bytes_before = PrivateBytes();
  Stopwatch watch;
  PrivateText unpacked;
  std::string_view text = file.bytes();
  if (file.compression() != Compression::kNone) {
    file.Decompress(unpacked);
    text = unpacked.view();
  }
  CheckFasta(text, file.path());
  result.read_seconds_ = watch.Lap();

  std::unordered_map<Kmer, uint32_t> counts;
  counts.reserve(MaxDistinct(text.size(), k));  // as the shared map is
  const uint64_t bad = ScanSlice(text, 0, text.size(), k, [&](Kmer kmer) { ++counts[kmer]; });
  if (bad != kNoBadByte) throw InputError(DescribeBadByte(text, bad, file.path()));
  for (const auto& [kmer, count] : counts) result.spectrum_.Add({kmer, count});
  result.count_seconds_ = watch.Lap();
  result.private_bytes_ = PrivateBytes() - bytes_before;
  return result;
}

}  // namespace kmer_count
