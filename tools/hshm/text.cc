#include "text.h"

#include <algorithm>
#include <array>
#include <cstdio>

namespace hshm::tool {

std::string Human(uint64_t bytes) {
  constexpr std::array kUnits = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  auto value = static_cast<double>(bytes);
  size_t unit = 0;
  for (; value >= 1000 && unit + 1 < kUnits.size(); ++unit) value /= 1024;
  char text[32];
  const bool is_short = value >= 100 || value == static_cast<double>(static_cast<int>(value));
  std::snprintf(text, sizeof(text), is_short ? "%.0f %s" : "%.1f %s", value, kUnits[unit]);
  return text;
}

std::string HumanAge(uint64_t seconds) {
  const auto text = [](uint64_t count, const char* unit) {
    return std::to_string(count) + " " + unit;
  };
  if (seconds < 60) return text(seconds, "s");
  if (seconds < 3600) return text(seconds / 60, "min");
  if (seconds < 24 * 3600) return text(seconds / 3600, "h") + " " + text(seconds / 60 % 60, "min");
  return text(seconds / (24 * 3600), "d") + " " + text(seconds / 3600 % 24, "h");
}

std::string Printable(const std::string& text) {
  std::string printable = text;
  for (char& letter : printable) {
    const auto byte = static_cast<unsigned char>(letter);
    if (byte < 0x20 || byte == 0x7f) letter = '?';
  }
  return printable;
}

std::string Table::Text() const {
  std::vector<size_t> widths(rows_.front().size());
  for (const auto& row : rows_) {
    for (size_t i = 0; i < row.size(); ++i) {
      const bool is_title = &row == &rows_.front() && row[i].front() == '>';
      widths[i] = std::max(widths[i], row[i].size() - (is_title ? 1 : 0));
    }
  }
  std::string text;
  for (const auto& row : rows_) {
    std::string line;
    for (size_t i = 0; i < row.size(); ++i) {
      const bool is_right = rows_.front()[i].front() == '>';
      const std::string cell = &row == &rows_.front() && is_right ? row[i].substr(1) : row[i];
      const std::string blanks(widths[i] - cell.size(), ' ');
      line += (i == 0 ? "" : "  ") + (is_right ? blanks + cell : cell + blanks);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + "\n";
  }
  return text;
}

}  // namespace hshm::tool
