/** What is read of /proc and /sys, and how it is taken apart. */
#include "platform/system_text.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

#include "hermes_shm/platform/memory_limit.h"
#include "support/catch.h"
#include "support/own_directory.h"

namespace hshm {
namespace {

std::vector<std::string> Words(std::string_view text) {
  std::vector<std::string> words;
  for (std::string_view word; TakeWord(&text, &word);) words.emplace_back(word);
  return words;
}

std::vector<std::string> Lines(std::string_view text) {
  std::vector<std::string> lines;
  for (std::string_view line; TakeLine(&text, &line);) lines.emplace_back(line);
  return lines;
}

TEST_CASE("A text is read to its end, whatever length the system says it has") {
  const test::DiskDirectory directory;
  const std::string path = directory.path() + "/text";
  std::string text;
  for (int i = 0; text.size() < 10'000; ++i) text += std::to_string(i) + "\n";
  std::ofstream(path) << text;
  CHECK(SystemText(path) == text);
  CHECK(SystemText("/proc/self/status").find("Name:") == 0);  // its length is said to be 0
  CHECK(SystemText(directory.path() + "/none").empty());
  CHECK(SystemText(directory.path()).empty());  // a folder cannot be read
}

TEST_CASE("Lines end at their ends, and the last one where the text does") {
  CHECK(Lines("").empty());
  CHECK(Lines("a b\n\nc") == std::vector<std::string>{"a b", "", "c"});
  CHECK(Lines("a\n") == std::vector<std::string>{"a"});
}

TEST_CASE("Words lie between blanks, tabs and ends of lines") {
  CHECK(Words("").empty());
  CHECK(Words(" \t\n").empty());
  CHECK(Words(" always [madvise]\tnever\n") ==
        std::vector<std::string>{"always", "[madvise]", "never"});
}

TEST_CASE("A number is taken with the blanks before it, and nothing of what is none") {
  uint64_t number = 5;
  std::string_view text = "  16316412 kB";
  CHECK(TakeNumber(&text, &number));
  CHECK(number == 16316412);
  CHECK(text == " kB");
  for (const char* none : {"", "  ", "max", "-1", "18446744073709551616"}) {
    CAPTURE(none);
    number = 5;
    text = none;
    CHECK_FALSE(TakeNumber(&text, &number));
    CHECK(text == none);
  }
  text = "18446744073709551615";
  CHECK(TakeNumber(&text, &number));
  CHECK(number == ~uint64_t{0});
}

TEST_CASE("Each entry of a folder is visited but itself and the one above; or the errno comes") {
  const test::DiskDirectory directory;
  for (const char* name : {"a", "b", ".hidden"}) std::ofstream(directory.path() + "/" + name);
  std::vector<std::string> names;
  const auto note = [&](const char* name) { names.emplace_back(name); };
  CHECK(ForEachEntry(directory.path(), note) == 0);
  std::sort(names.begin(), names.end());
  CHECK(names == std::vector<std::string>{".hidden", "a", "b"});
  CHECK(ForEachEntry(directory.path() + "/none", note) == ENOENT);
}

TEST_CASE("The memory of the machine is what /proc/meminfo says, and not all of it is available") {
  std::ifstream meminfo("/proc/meminfo");
  std::string key;
  uint64_t total_kib = 0;
  REQUIRE(meminfo >> key >> total_kib);
  REQUIRE(key == "MemTotal:");  // the first of its lines
  const MachineMemory memory = MemoryOfMachine();
  CHECK(memory.total_bytes_ == total_kib * 1024);
  CHECK(memory.available_bytes_ > 0);
  CHECK(memory.available_bytes_ < memory.total_bytes_);
}

}  // namespace
}  // namespace hshm
