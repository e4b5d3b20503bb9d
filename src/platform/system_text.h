#ifndef HSHM_SRC_PLATFORM_SYSTEM_TEXT_H_
#define HSHM_SRC_PLATFORM_SYSTEM_TEXT_H_

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

/**
 * What the system says in small texts, in /proc and /sys. Without streams, which would bring the
 * locales of the C++ library along, 300 KiB of code, into each program that the malloc library is
 * loaded into.
 */
namespace hshm {

/** All of the file; what there was until then when it cannot be read, and why. */
std::string SystemText(const std::string& path, int* os_errno = nullptr);

/** Takes the next line, without its end, off a text. False when there is none. */
bool TakeLine(std::string_view* text, std::string_view* line);

/** Takes the next word, between blanks and ends of lines, off a text. False when there is none. */
bool TakeWord(std::string_view* text, std::string_view* word);

/** Takes the next word when it begins with a decimal number, of which the rest of the word stays.
 * False, and nothing is taken, when it does not, or the number is too large. */
bool TakeNumber(std::string_view* text, uint64_t* number);

/** Calls visit(name) for each entry of a folder but "." and "..". @return 0 or the errno */
int ForEachEntry(const std::string& folder, const std::function<void(const char* name)>& visit);

}  // namespace hshm

#endif  // HSHM_SRC_PLATFORM_SYSTEM_TEXT_H_
