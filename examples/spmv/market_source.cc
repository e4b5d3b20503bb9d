#include "market_source.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>

#include "input_error.h"

namespace spmv {
namespace {

/** The format's numbers are those of C, where a plus sign may stand in front. */
std::string_view WithoutPlus(std::string_view word) {
  const bool has_plus = word.size() > 1 && word[0] == '+' && word[1] != '-';
  return has_plus ? word.substr(1) : word;
}

/** True when the whole word is a number of type T, or would be if it were not out of range. */
template <typename T>
bool Read(std::string_view word, T& number, std::errc& error) {
  const auto result = std::from_chars(word.data(), word.data() + word.size(), number);
  error = result.ec;
  return result.ec != std::errc::invalid_argument && result.ptr == word.data() + word.size();
}

}  // namespace

MarketSource::MarketSource(const std::string& name, std::string_view text)
    : MatrixSource(name), text_(text), header_(ParseMarketHeader(text, name)) {
  rows_ = header_.rows_;
  columns_ = header_.columns_;
  CheckRoomForEntries();
}

void MarketSource::CheckRoomForEntries() const {
  constexpr uint64_t kShortestLine = 2;  // what is wrong with a short one is told when it is read
  const uint64_t bytes = text_.size() - header_.body_;
  const uint64_t most = (bytes + 1) / kShortestLine;  // the last line end may be missing
  if (header_.entries_ <= most) return;
  throw InputError(name_ + " has too few entries: its size line says " +
                   std::to_string(header_.entries_) + ", and behind it are " +
                   std::to_string(bytes) + " bytes.");
}

uint64_t MarketSource::ForEach(uint64_t part, uint64_t parts, const Visitor& visit) const {
  const uint64_t bytes = text_.size() - header_.body_;
  const auto cut = [&](uint64_t k) {  // where the first line begins at or behind the k-th cut
    const uint64_t at = header_.body_ + bytes / parts * k + bytes % parts * k / parts;
    if (at == header_.body_ || at == text_.size()) return at;
    return std::min<uint64_t>(text_.find('\n', at - 1), text_.size() - 1) + 1;
  };
  const uint64_t end = cut(part + 1);
  uint64_t stored = 0;
  std::string_view line;
  for (uint64_t begin = cut(part); begin < end; begin += line.size() + 1) {
    line = LineAt(text_, begin);
    std::string_view rest = line;
    if (NextWord(rest).empty()) continue;  // the format allows blank lines
    const Entry entry = Parse(line, begin);
    visit(entry);
    ++stored;
    if (header_.symmetry_ == Symmetry::kGeneral || entry.row_ == entry.column_) continue;
    const double sign = header_.symmetry_ == Symmetry::kSymmetric ? 1 : -1;
    visit({entry.column_, entry.row_, sign * entry.value_});
  }
  return stored;
}

Entry MarketSource::Parse(std::string_view line, uint64_t begin) const {
  std::string_view rest = line;
  const std::string_view row = NextWord(rest);
  const std::string_view column = NextWord(rest);
  const bool has_value = header_.field_ != Field::kPattern;
  const std::string_view value = has_value ? NextWord(rest) : row;
  if (column.empty() || value.empty() || !NextWord(rest).empty()) {
    Refuse(begin, "an entry has " +
                      std::string(has_value ? "three numbers, row, column and value"
                                            : "two numbers, row and column") +
                      ", and this one is " + Quoted(line) + ".");
  }
  Entry entry;
  entry.row_ = ParseIndex(row, "row", rows_, begin);
  entry.column_ = ParseIndex(column, "column", columns_, begin);
  entry.value_ = has_value ? ParseValue(value, begin) : 1;
  CheckTriangle(entry, begin);
  return entry;
}

uint32_t MarketSource::ParseIndex(std::string_view word, const char* what, uint64_t most,
                                  uint64_t begin) const {
  int64_t index = 0;  // signed: a negative index is out of range, not garbage
  std::errc error;
  if (!Read(WithoutPlus(word), index, error)) {
    Refuse(begin, "the " + std::string(what) + " " + Quoted(word) + " is no whole number.");
  }
  if (error != std::errc() || index < 1 || static_cast<uint64_t>(index) > most) {
    Refuse(begin, "the " + std::string(what) + " " + Quoted(word) + " is outside 1 to " +
                      std::to_string(most) + ".");
  }
  return static_cast<uint32_t>(index - 1);
}

double MarketSource::ParseValue(std::string_view word, uint64_t begin) const {
  return header_.field_ == Field::kInteger ? ParseInteger(word, begin) : ParseReal(word, begin);
}

double MarketSource::ParseReal(std::string_view word, uint64_t begin) const {
  double value = 0;
  std::errc error;
  if (!Read(WithoutPlus(word), value, error)) {
    Refuse(begin, "the value " + Quoted(word) + " is no number.");
  }
  // from_chars says "out of range" for what is too small as well; strtod tells the two apart.
  if (error != std::errc()) value = std::strtod(std::string(word).c_str(), nullptr);
  if (!std::isfinite(value)) {
    Refuse(begin, "the value " + Quoted(word) + " is not finite, or too large for a double.");
  }
  return value;
}

double MarketSource::ParseInteger(std::string_view word, uint64_t begin) const {
  constexpr int64_t kMostExact = int64_t{1} << 53;  // beyond it a double skips whole numbers
  int64_t value = 0;
  std::errc error;
  if (!Read(WithoutPlus(word), value, error)) {
    Refuse(begin, "the value " + Quoted(word) + " is no whole number.");
  }
  if (error != std::errc() || value > kMostExact || value < -kMostExact) {
    Refuse(begin, "the integer " + Quoted(word) + " is beyond 2^53, where doubles are not exact.");
  }
  return static_cast<double>(value);
}

void MarketSource::CheckTriangle(const Entry& entry, uint64_t begin) const {
  if (header_.symmetry_ == Symmetry::kGeneral || entry.row_ > entry.column_) return;
  if (header_.symmetry_ == Symmetry::kSymmetric && entry.row_ == entry.column_) return;
  Refuse(begin, "entry (" + std::to_string(entry.row_ + 1) + ", " +
                    std::to_string(entry.column_ + 1) + ") is not " +
                    (header_.symmetry_ == Symmetry::kSymmetric ? "on or below" : "below") +
                    " the diagonal, where a " +
                    (header_.symmetry_ == Symmetry::kSymmetric ? "symmetric" : "skew-symmetric") +
                    " matrix is stored.");
}

void MarketSource::CheckStored(uint64_t stored) const {
  if (stored == header_.entries_) return;
  throw InputError(name_ + " has " + (stored < header_.entries_ ? "too few" : "too many") +
                   " entries: its size line says " + std::to_string(header_.entries_) +
                   ", and there are " + std::to_string(stored) + ".");
}

void MarketSource::Refuse(uint64_t begin, const std::string& why) const {
  const auto line = std::count(text_.begin(), text_.begin() + static_cast<int64_t>(begin), '\n');
  throw InputError(name_ + ", line " + std::to_string(line + 1) + ": " + why);
}

}  // namespace spmv
