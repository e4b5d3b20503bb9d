#ifndef HSHM_TOOLS_HSHM_TEXT_H_
#define HSHM_TOOLS_HSHM_TEXT_H_

#include <cstdint>
#include <string>
#include <vector>

/** How numbers and tables are written for people. */
namespace hshm::tool {

/** "1.5 GiB": three digits at most, rounded. */
std::string Human(uint64_t bytes);

/** "3 d 4 h", "12 min", "5 s". */
std::string HumanAge(uint64_t seconds);

/** What a file or process has called itself, with what would move a terminal's cursor replaced. */
std::string Printable(const std::string& text);

/** Columns as wide as their widest cell; those whose title begins with '>' are set right. */
class Table {
 public:
  explicit Table(std::vector<std::string> titles) : rows_{std::move(titles)} {}
  void Add(std::vector<std::string> cells) { rows_.push_back(std::move(cells)); }
  std::string Text() const;

 private:
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace hshm::tool

#endif  // HSHM_TOOLS_HSHM_TEXT_H_
