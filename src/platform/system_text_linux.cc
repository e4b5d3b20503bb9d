#include "platform/system_text.h"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <memory>

#include "hermes_shm/platform/cancellation.h"
#include "hermes_shm/platform/file_descriptor.h"

namespace hshm {
namespace {

constexpr std::string_view kBlanks = " \t\n";

}  // namespace

std::string SystemText(const std::string& path, int* os_errno) {
  const NoCancellation no_cancellation;
  std::string text;
  int error = 0;
  const FileDescriptor file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file.IsOpen()) error = errno;
  char part[4096];
  while (error == 0) {
    const ssize_t got = read(file.get(), part, sizeof(part));
    if (got < 0 && errno != EINTR) error = errno;
    if (got < 0) continue;
    if (got == 0) break;
    text.append(part, static_cast<size_t>(got));
  }
  if (os_errno != nullptr) *os_errno = error;
  return text;
}

bool TakeLine(std::string_view* text, std::string_view* line) {
  if (text->empty()) return false;
  const size_t end = std::min(text->find('\n'), text->size());
  *line = text->substr(0, end);
  text->remove_prefix(std::min(end + 1, text->size()));
  return true;
}

bool TakeWord(std::string_view* text, std::string_view* word) {
  text->remove_prefix(std::min(text->find_first_not_of(kBlanks), text->size()));
  *word = text->substr(0, text->find_first_of(kBlanks));
  text->remove_prefix(word->size());
  return !word->empty();
}

bool TakeNumber(std::string_view* text, uint64_t* number) {
  const size_t begin = std::min(text->find_first_not_of(kBlanks), text->size());
  const char* const end = text->data() + text->size();
  const auto result = std::from_chars(text->data() + begin, end, *number);
  if (result.ec != std::errc()) return false;
  text->remove_prefix(static_cast<size_t>(result.ptr - text->data()));
  return true;
}

int ForEachEntry(const std::string& folder, const std::function<void(const char* name)>& visit) {
  const NoCancellation no_cancellation;
  const std::unique_ptr<DIR, int (*)(DIR*)> entries(opendir(folder.c_str()), &closedir);
  if (entries == nullptr) return errno;
  for (;;) {
    errno = 0;
    const dirent* entry = readdir(entries.get());
    if (entry == nullptr) return errno;
    const bool is_link_up =
        std::strcmp(entry->d_name, ".") == 0 || std::strcmp(entry->d_name, "..") == 0;
    if (!is_link_up) visit(entry->d_name);
  }
}

}  // namespace hshm
