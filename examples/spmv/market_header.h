#ifndef HSHM_EXAMPLES_SPMV_MARKET_HEADER_H_
#define HSHM_EXAMPLES_SPMV_MARKET_HEADER_H_

#include <cstdint>
#include <string>
#include <string_view>

/**
 * The first lines of a Matrix Market file. The format: R. F. Boisvert, R. Pozo, K. A. Remington,
 * "The Matrix Market Exchange Formats: Initial Design", NISTIR 5935, 1996.
 */
namespace spmv {

enum class Field { kReal, kInteger, kPattern };

enum class Symmetry { kGeneral, kSymmetric, kSkewSymmetric };

struct MarketHeader {
  Field field_ = Field::kReal;
  Symmetry symmetry_ = Symmetry::kGeneral;
  uint64_t rows_ = 0;     // 1 to kMaxSide
  uint64_t columns_ = 0;  // 1 to kMaxSide
  uint64_t entries_ = 0;  // that are stored, as the file says
  uint64_t body_ = 0;     // byte of the text where the line behind the size line begins
};

/**
 * Banner, comments and size line. `name` is what messages call the file.
 * @throws InputError when they are not a coordinate matrix of a kind that MarketHeader can tell
 */
MarketHeader ParseMarketHeader(std::string_view text, const std::string& name);

/** The line that begins at byte `begin`, without its end. */
std::string_view LineAt(std::string_view text, uint64_t begin);

/** Takes the next word off the front of a line; empty when there is none. */
std::string_view NextWord(std::string_view& line);

/** The text in quotes for a message: cut when it is long, '?' for what cannot be printed. */
std::string Quoted(std::string_view text);

}  // namespace spmv

#endif  // HSHM_EXAMPLES_SPMV_MARKET_HEADER_H_
