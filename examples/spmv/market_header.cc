#include "market_header.h"

#include <algorithm>
#include <array>
#include <charconv>

#include "input_error.h"
#include "matrix_source.h"

namespace spmv {
namespace {

constexpr std::string_view kBanner = "%%MatrixMarket";
constexpr std::string_view kBlanks = " \t\r\v\f";
constexpr uint64_t kMostQuoted = 60;

std::string Lower(std::string_view word) {
  std::string lower(word);
  for (char& c : lower) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return lower;
}

/** Hands out lines and knows where they are. */
struct Lines {
  std::string_view text_;
  const std::string& name_;
  uint64_t next_ = 0;    // byte
  uint64_t number_ = 0;  // of the line handed out last, from 1

  bool Next(std::string_view& line) {
    if (next_ >= text_.size()) return false;
    line = LineAt(text_, next_);
    next_ += line.size() + 1;
    ++number_;
    return true;
  }

  [[noreturn]] void Refuse(const std::string& why) const {
    throw InputError(name_ + ", line " + std::to_string(number_) + ": " + why);
  }
};

/** Index of the word among those that are supported. */
template <size_t n>
size_t Choose(const Lines& lines, const char* what, std::string_view word,
              const std::array<const char*, n>& supported) {
  const auto* found = std::find(supported.begin(), supported.end(), Lower(word));
  if (found != supported.end()) return static_cast<size_t>(found - supported.begin());
  std::string known;
  for (const char* one : supported) {
    known += (known.empty() ? "'" : ", '") + std::string(one) + "'";
  }
  lines.Refuse("the " + std::string(what) + " " + Quoted(word) + " is not supported, only " +
               known + (n == 1 ? " is." : " are."));
}

void ParseBanner(Lines& lines, MarketHeader& header) {
  std::string_view line;
  if (!lines.Next(line) || !line.starts_with(kBanner)) {
    throw InputError(lines.name_ +
                     " is not a Matrix Market file: it does not begin with %%MatrixMarket.");
  }
  std::array<std::string_view, 5> words;
  size_t count = 0;
  for (std::string_view rest = line; count <= words.size(); ++count) {
    const std::string_view word = NextWord(rest);
    if (word.empty()) break;
    if (count < words.size()) words[count] = word;
  }
  if (count != words.size() || words[0] != kBanner) {
    lines.Refuse(
        "a header has five words, such as '%%MatrixMarket matrix coordinate real general', and "
        "this one is " +
        Quoted(line) + ".");
  }
  Choose<1>(lines, "object", words[1], {"matrix"});
  Choose<1>(lines, "format", words[2], {"coordinate"});
  header.field_ =
      static_cast<Field>(Choose<3>(lines, "field", words[3], {"real", "integer", "pattern"}));
  header.symmetry_ = static_cast<Symmetry>(
      Choose<3>(lines, "symmetry", words[4], {"general", "symmetric", "skew-symmetric"}));
  if (header.field_ == Field::kPattern && header.symmetry_ == Symmetry::kSkewSymmetric) {
    lines.Refuse("a pattern has no signs, so it cannot be skew-symmetric.");
  }
}

uint64_t ParseSize(const Lines& lines, std::string_view word, std::string_view line) {
  uint64_t size = 0;
  const auto [stop, error] = std::from_chars(word.data(), word.data() + word.size(), size);
  const bool is_whole = !word.empty() && stop == word.data() + word.size();
  if (is_whole && error == std::errc::result_out_of_range) {
    lines.Refuse("the size " + Quoted(word) + " does not fit into 64 bits.");
  }
  if (!is_whole || error != std::errc()) {
    lines.Refuse("a size line has three numbers, rows, columns and entries, and this one is " +
                 Quoted(line) + ".");
  }
  return size;
}

void ParseSizeLine(Lines& lines, MarketHeader& header) {
  std::string_view line;
  std::string_view first;
  std::string_view rest;
  do {
    if (!lines.Next(line)) throw InputError(lines.name_ + " ends before its size line.");
    rest = line;
    first = NextWord(rest);
  } while (first.empty() || first.front() == '%');
  header.rows_ = ParseSize(lines, first, line);
  header.columns_ = ParseSize(lines, NextWord(rest), line);
  header.entries_ = ParseSize(lines, NextWord(rest), line);
  if (!NextWord(rest).empty()) {
    lines.Refuse("a size line has three numbers, rows, columns and entries, and this one is " +
                 Quoted(line) + ".");
  }
  header.body_ = std::min<uint64_t>(lines.next_, lines.text_.size());
  for (const uint64_t side : {header.rows_, header.columns_}) {
    if (side < 1 || side > kMaxSide) {
      lines.Refuse("a matrix has 1 to " + std::to_string(kMaxSide) +
                   " rows and columns here, and this one has " + std::to_string(header.rows_) +
                   " and " + std::to_string(header.columns_) + ".");
    }
  }
  if (header.symmetry_ != Symmetry::kGeneral && header.rows_ != header.columns_) {
    lines.Refuse("a symmetric matrix is square, and this one has " + std::to_string(header.rows_) +
                 " rows and " + std::to_string(header.columns_) + " columns.");
  }
}

}  // namespace

std::string_view LineAt(std::string_view text, uint64_t begin) {
  return text.substr(begin, std::min(text.find('\n', begin), text.size()) - begin);
}

std::string_view NextWord(std::string_view& line) {
  const size_t begin = std::min(line.find_first_not_of(kBlanks), line.size());
  const size_t end = std::min(line.find_first_of(kBlanks, begin), line.size());
  const std::string_view word = line.substr(begin, end - begin);
  line.remove_prefix(end);
  return word;
}

std::string Quoted(std::string_view text) {
  while (!text.empty() && text.back() == '\r') text.remove_suffix(1);
  std::string quoted(text.substr(0, kMostQuoted));
  for (char& c : quoted) {
    if (c < ' ' || c > '~') c = '?';
  }
  return "'" + quoted + (text.size() > kMostQuoted ? "...'" : "'");
}

MarketHeader ParseMarketHeader(std::string_view text, const std::string& name) {
  MarketHeader header;
  Lines lines{text, name};
  ParseBanner(lines, header);
  ParseSizeLine(lines, header);
  return header;
}

}  // namespace spmv
