#ifndef HSHM_EXAMPLES_KMER_COUNT_DECODER_H_
#define HSHM_EXAMPLES_KMER_COUNT_DECODER_H_

#include <cstddef>
#include <memory>
#include <string_view>

/** gzip and xz behind one interface. */
namespace kmer_count {

/** A stream of compressed bytes on its way to text. */
class Decoder {
 public:
  enum class State { kMore, kEnd, kDamaged, kTruncated };

  virtual ~Decoder() = default;

  /** Fills out as far as the input goes. @param written bytes of text in out, also on kEnd */
  virtual State Fill(char* out, size_t room, size_t& written) = 0;
};

/** Files of several gzip members are read as one text. */
std::unique_ptr<Decoder> MakeGzipDecoder(std::string_view input);

/** Files of several xz streams are read as one text. */
std::unique_ptr<Decoder> MakeXzDecoder(std::string_view input);

}  // namespace kmer_count

#endif  // HSHM_EXAMPLES_KMER_COUNT_DECODER_H_
