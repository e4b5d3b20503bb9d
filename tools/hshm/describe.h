#ifndef HSHM_TOOLS_HSHM_DESCRIBE_H_
#define HSHM_TOOLS_HSHM_DESCRIBE_H_

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

#include "find_segments.h"

/** Segments and who lives in them, for people and for programs. */
namespace hshm::tool {

/** "12 (slots 0, 3), 15 of another container": who is in it; "-" when nobody is. */
std::string HoldersText(const FoundSegment& segment);

/** Seconds since the segment was made; nothing known: 0. */
uint64_t AgeOf(const FoundSegment& segment);

/** "alive", "dead", or "stale": dead, and from before the machine's last start. */
const char* StateOf(const FoundSegment& segment);

/** All that `hshm ls --json` says about a segment. */
nlohmann::json ToJson(const FoundSegment& segment);

/** As text, with bytes that are no UTF-8 replaced, and a line's end. */
std::string Dump(const nlohmann::json& json);

}  // namespace hshm::tool

#endif  // HSHM_TOOLS_HSHM_DESCRIBE_H_
