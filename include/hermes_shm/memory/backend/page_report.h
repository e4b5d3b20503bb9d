#ifndef HSHM_MEMORY_BACKEND_PAGE_REPORT_H_
#define HSHM_MEMORY_BACKEND_PAGE_REPORT_H_

#include <cstdint>
#include <string>

namespace hshm::ipc {

enum class PageKind {
  kSystem,           // the system's usual pages
  kTransparentHuge,  // huge ones where the system finds room for a whole one, else usual ones
  kHugePool,         // huge ones from a pool (hugetlbfs, MAP_HUGETLB), all of them
};

/** Which pages a region has, and why no better ones. */
struct PageReport {
  PageKind kind_ = PageKind::kSystem;
  uint64_t page_bytes_ = 0;  // of the largest pages that the region can have
  /** Bytes that huge pages supply now, counting what this process has touched
   * (/proc/self/smaps: AnonHugePages, ShmemPmdMapped, FilePmdMapped, *_Hugetlb). */
  uint64_t huge_bytes_ = 0;
  /** A sentence that says why there are no huge pages and what to do; empty when there may be. */
  std::string why_not_;
};

}  // namespace hshm::ipc

#endif  // HSHM_MEMORY_BACKEND_PAGE_REPORT_H_
