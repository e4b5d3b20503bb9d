#include "hermes_shm/base/size_text.h"

#include <utility>

#include "hermes_shm/base/units.h"

namespace hshm {

std::string SizeText(uint64_t bytes) {
  constexpr std::pair<uint64_t, const char*> kScales[] = {
      {1_GiB, " GiB"}, {1_MiB, " MiB"}, {1_KiB, " KiB"}};
  for (const auto& [scale, name] : kScales) {
    if (bytes >= scale && bytes % scale == 0) return std::to_string(bytes / scale) + name;
  }
  return std::to_string(bytes) + " bytes";
}

}  // namespace hshm
