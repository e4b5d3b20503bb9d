#ifndef HSHM_TOOLS_HSHM_FIND_SEGMENTS_H_
#define HSHM_TOOLS_HSHM_FIND_SEGMENTS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "hermes_shm/memory/allocator/allocator_header.h"
#include "hermes_shm/memory/backend/segment_report.h"

namespace hshm::tool {

/** How a segment can be had. */
enum class SegmentKind {
  kNamed,     // by its name in a shared-memory directory
  kUnlinked,  // its name is gone: through a process that has it
  kUnnamed,   // it never had one (Naming::kUnnamed): likewise
  kFile,      // by the path of a file, PosixMmap
};
const char* KindName(SegmentKind kind);

struct FoundSegment {
  SegmentKind kind_ = SegmentKind::kNamed;
  std::string name_;   // as its users call it
  std::string where_;  // what opens it here and now
  ipc::SegmentReport report_;
  ipc::AllocatorType allocator_ = ipc::AllocatorType::kNone;
  uint64_t born_ = 0;              // seconds since 1970; 0: not known
  std::vector<uint32_t> open_in_;  // processes, as seen here, that have it open or mapped
};

/**
 * Every segment of hshm on this node that this process may see, told by what the files contain:
 * those with names in $HSHM_SHM_DIR and /dev/shm, and those that processes have open or mapped.
 * @param of_all_users or of this process's user alone
 */
std::vector<FoundSegment> FindSegments(bool of_all_users);

/** Those with names in $HSHM_SHM_DIR, or /dev/shm where it is not set. */
std::vector<FoundSegment> FindNamedSegments(bool of_all_users);

}  // namespace hshm::tool

#endif  // HSHM_TOOLS_HSHM_FIND_SEGMENTS_H_
