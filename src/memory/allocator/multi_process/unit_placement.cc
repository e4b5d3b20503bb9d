#include "hermes_shm/memory/allocator/multi_process/unit_placement.h"

#include "hermes_shm/base/size_text.h"

namespace hshm::ipc {

std::string UnitPlacement::Describe() const {
  if (node_ == kAnyNode) return "";
  const std::string where = "placed on node " + std::to_string(node_);
  std::string text;
  if (placed_bytes_ != 0) text = SizeText(placed_bytes_) + " " + where;
  if (refused_bytes_ != 0) {
    text += (text.empty() ? "" : ", ") + SizeText(refused_bytes_) + " not " + where;
  }
  return text;
}

}  // namespace hshm::ipc
