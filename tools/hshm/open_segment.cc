#include "open_segment.h"

#include <utility>
#include <vector>

#include "hermes_shm/base/error.h"
#include "hermes_shm/memory/allocator/allocator_report.h"
#include "hermes_shm/platform/file_read.h"

namespace hshm::tool {
namespace {

/** The one that has this label, of those that only processes have. */
std::optional<std::string> FindByLabel(const std::string& label) {
  std::vector<std::string> places;
  for (const FoundSegment& segment : FindSegments(true)) {
    if (segment.name_ == label) places.push_back(segment.where_);
  }
  if (places.size() > 1) {
    throw Error(ErrorCode::kNotFound, "Several segments have the label " + label + ", " +
                                          places[0] + " and " + places[1] +
                                          " among them: name one of these.");
  }
  return places.empty() ? std::nullopt : std::optional(places.front());
}

FileDescriptor Open(const std::string& what, std::string* where) {
  try {
    *where = ipc::PathOfSegment(what);
    return ipc::OpenSegmentToRead(*where);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kNotFound) throw;
    const std::optional<std::string> place = FindByLabel(what);
    if (!place.has_value()) throw;
    *where = *place;
  }
  return ipc::OpenSegmentToRead(*where);
}

}  // namespace

void OpenedSegment::Refresh() {
  std::optional<ipc::SegmentReport> report = ipc::ReadSegmentReport(file_.get(), found_.where_);
  is_segment_ = report.has_value();
  if (is_segment_) found_.report_ = std::move(*report);
}

OpenedSegment OpenNamed(const std::string& what) {
  OpenedSegment segment;
  segment.found_.name_ = what;
  segment.file_ = Open(what, &segment.found_.where_);
  segment.Refresh();
  const ipc::SegmentReport& report = segment.found_.report_;
  const std::string& where = segment.found_.where_;
  if (report.type_ == ipc::MemoryBackendType::kPosixMmap) {
    segment.found_.kind_ = SegmentKind::kFile;
  } else if (where.rfind("/proc/", 0) == 0) {
    segment.found_.kind_ = SegmentKind::kUnlinked;
  }
  segment.found_.born_ = BirthTimeOfFile(segment.file_.get());
  segment.found_.allocator_ = ipc::ReadAllocatorType(segment.file_.get(), report.region_bytes_);
  return segment;
}

uint64_t PatienceFor(const OpenedSegment& segment) {
  constexpr uint64_t kLeastSeconds = 20;
  constexpr uint64_t kBytesPerSecond = uint64_t{100} << 20;  // a tenth of what was measured
  return kLeastSeconds + segment.found_.report_.file_.committed_bytes_ / kBytesPerSecond;
}

}  // namespace hshm::tool
