#ifndef HSHM_TOOLS_HSHM_OPEN_SEGMENT_H_
#define HSHM_TOOLS_HSHM_OPEN_SEGMENT_H_

#include <cstdint>
#include <optional>
#include <string>

#include "find_segments.h"
#include "hermes_shm/platform/file_descriptor.h"

namespace hshm::tool {

/** A segment that a user has named, open for reading. */
struct OpenedSegment {
  FileDescriptor file_;
  bool is_segment_ = false;  // it begins like one; else only where_ is known
  FoundSegment found_;

  /** Looks once more at who holds it. */
  void Refresh();
};

/**
 * Opens what `hshm ls` calls a segment: a name in the shared-memory directory, a path, the url or
 * path of a segment without a name, or its label where only one has it.
 * @throws Error kNotFound and as OpenSegmentToRead
 */
OpenedSegment OpenNamed(const std::string& what);

/** How long a look at a segment may take before it is called endless: far more than it does. */
uint64_t PatienceFor(const OpenedSegment& segment);

}  // namespace hshm::tool

#endif  // HSHM_TOOLS_HSHM_OPEN_SEGMENT_H_
