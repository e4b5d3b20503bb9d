#ifndef HSHM_EXAMPLES_SPMV_MARKET_SOURCE_H_
#define HSHM_EXAMPLES_SPMV_MARKET_SOURCE_H_

#include <string>
#include <string_view>

#include "market_header.h"
#include "matrix_source.h"

namespace spmv {

/** A matrix in the text of a Matrix Market file, which must outlive it. */
class MarketSource final : public MatrixSource {
 public:
  /** @throws InputError, see ParseMarketHeader */
  MarketSource(const std::string& name, std::string_view text);

  const MarketHeader& header() const { return header_; }

  /**
   * A part is a range of bytes, and has the lines that begin in it. Each line is checked: words,
   * range, and the triangle that a symmetric matrix keeps.
   */
  uint64_t ForEach(uint64_t part, uint64_t parts, const Visitor& visit) const override;
  void CheckStored(uint64_t stored) const override;

 private:
  /** A size line may promise anything: nothing is allocated for what the text cannot hold. */
  void CheckRoomForEntries() const;
  Entry Parse(std::string_view line, uint64_t begin) const;
  uint32_t ParseIndex(std::string_view word, const char* what, uint64_t most, uint64_t begin) const;
  double ParseValue(std::string_view word, uint64_t begin) const;
  double ParseReal(std::string_view word, uint64_t begin) const;
  double ParseInteger(std::string_view word, uint64_t begin) const;
  void CheckTriangle(const Entry& entry, uint64_t begin) const;

  /** `begin` is where the line begins that is at fault. */
  [[noreturn]] void Refuse(uint64_t begin, const std::string& why) const;

  std::string_view text_;
  MarketHeader header_;
};

}  // namespace spmv

#endif  // HSHM_EXAMPLES_SPMV_MARKET_SOURCE_H_
