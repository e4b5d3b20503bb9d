#include "hermes_shm/memory/backend/segment_report.h"

#include <sys/stat.h>
#include <unistd.h>

#include <string>

#include "backend/child.h"
#include "backend/error_code.h"
#include "backend/probe_allocator.h"
#include "backend/test_segment.h"
#include "hermes_shm/memory/backend/posix_mmap.h"
#include "hermes_shm/memory/backend/posix_shm_mmap.h"
#include "hermes_shm/platform/byte_lock.h"
#include "support/catch.h"

namespace hshm::ipc::test {
namespace {

constexpr size_t kBytes = 1 << 20;
const MemoryBackendId kId(6);

/** A segment in which nobody lives. */
void MakeDead(const TestSegment& segment) {
  REQUIRE(RunInChild([&] {
            PosixShmMmap backend;
            backend.shm_init(kId, kBytes, segment.url());
            backend.MakeAlloc<ProbeAllocator>(AllocatorId(1, 1));
            _exit(0);
            return 0;
          }) == 0);
}

SegmentReport ReportOn(const std::string& where) {
  const FileDescriptor file = OpenSegmentToRead(where);
  const auto report = ReadSegmentReport(file.get(), where);
  REQUIRE(report.has_value());
  return *report;
}

TEST_CASE("A report names each process whose slot is locked, until it dies") {
  TestSegment segment;
  MakeDead(segment);
  REQUIRE(!ReportOn(segment.path()).is_alive_);
  REQUIRE(ReportOn(segment.path()).holders_.empty());
  LivingChild first([&] {
    auto* backend = new PosixShmMmap;
    backend->shm_attach(segment.url());
    backend->AttachAlloc<ProbeAllocator>();
  });
  LivingChild bare([&] { (new PosixShmMmap)->shm_attach(segment.url()); });
  REQUIRE((first.is_ready() && bare.is_ready()));
  const SegmentReport alive = ReportOn(segment.path());
  REQUIRE(alive.is_alive_);
  REQUIRE(alive.holders_.size() == 1);
  REQUIRE(alive.holders_[0].os_pid_ == static_cast<uint32_t>(first.pid()));
  REQUIRE(alive.region_bytes_ == kBytes);
  REQUIRE(alive.type_ == MemoryBackendType::kPosixShmMmap);
  REQUIRE(alive.defect_ == ErrorCode::kNone);
  first.Kill();
  REQUIRE(ReportOn(segment.path()).holders_.empty());
  REQUIRE(ReportOn(segment.path()).is_alive_);  // who has no allocator lives there, too
  bare.Kill();
  REQUIRE(!ReportOn(segment.path()).is_alive_);
}

TEST_CASE("A report says why attaching would refuse the header") {
  TestSegment segment;
  MakeDead(segment);
  REQUIRE(truncate(segment.path().c_str(), kBytes / 2) == 0);
  const SegmentReport report = ReportOn(segment.path());
  REQUIRE(report.defect_ == ErrorCode::kTruncated);
  REQUIRE(report.defect_sentence_.find("cut short") != std::string::npos);
}

TEST_CASE("Nothing is reported of a file that does not begin like a segment") {
  TestSegment segment;
  segment.Write(0, "no segment", 10);
  const FileDescriptor file = OpenSegmentToRead(segment.path());
  REQUIRE(!ReadSegmentReport(file.get(), segment.path()).has_value());
}

TEST_CASE("A segment without a name is opened by its url as long as a process has it") {
  PosixShmOptions options;
  options.naming_ = Naming::kUnnamed;
  PosixShmMmap backend;
  backend.shm_init(kId, kBytes, "report", options);
  const std::string url = backend.GetUrl();
  REQUIRE(ReportOn(url).is_alive_);
  backend.shm_destroy();
  REQUIRE(CodeOf([&] { OpenSegmentToRead(url); }) == ErrorCode::kNotFound);
}

TEST_CASE("What is no regular file is not opened to be looked at") {
  TestSegment segment;
  REQUIRE(mkfifo(segment.path().c_str(), 0600) == 0);
  REQUIRE(CodeOf([&] { OpenSegmentToRead(segment.path()); }) == ErrorCode::kNotRegularFile);
  REQUIRE(CodeOf([&] { RemoveSegmentIfDead(segment.path()); }) == ErrorCode::kNotRegularFile);
  REQUIRE(unlink(segment.path().c_str()) == 0);
  REQUIRE(symlink("/dev/null", segment.path().c_str()) == 0);
  REQUIRE(CodeOf([&] { OpenSegmentToRead(segment.path()); }) == ErrorCode::kIsSymlink);
  REQUIRE(CodeOf([&] { RemoveSegmentIfDead(segment.path()); }) == ErrorCode::kIsSymlink);
  REQUIRE(segment.Exists());
}

TEST_CASE("Only a dead segment is removed") {
  TestSegment segment;
  REQUIRE(RemoveSegmentIfDead(segment.path()) == RemovalResult::kNothingThere);
  MakeDead(segment);
  {
    PosixShmMmap backend;
    backend.shm_attach(segment.url());
    REQUIRE(RemoveSegmentIfDead(segment.path()) == RemovalResult::kInUse);
    REQUIRE(segment.Exists());
  }
  REQUIRE(RemoveSegmentIfDead(segment.path()) == RemovalResult::kRemoved);
  REQUIRE(!segment.Exists());
}

TEST_CASE("A file that is no segment, and one that is meant to last, are not removed") {
  TestSegment segment;
  segment.Write(0, "no segment", 10);
  REQUIRE(RemoveSegmentIfDead(segment.path()) == RemovalResult::kNotASegment);
  REQUIRE(unlink(segment.path().c_str()) == 0);
  PosixMmap file;
  file.shm_init(kId, kBytes, segment.path());
  file.shm_detach();
  REQUIRE(RemoveSegmentIfDead(segment.path()) == RemovalResult::kPersistent);
  REQUIRE(segment.Exists());
}

TEST_CASE("Who removes waits for nobody that is replacing the segment") {
  TestSegment segment;
  MakeDead(segment);
  FileDescriptor file;
  REQUIRE(OpenFile(segment.path(), &file) == 0);
  HeldByte replacer;
  REQUIRE(replacer.Hold(file.get(), PosixShmMmap::kPresenceByte) == 0);
  REQUIRE(RemoveSegmentIfDead(segment.path()) == RemovalResult::kBusy);
  REQUIRE(segment.Exists());
  REQUIRE(ReportOn(segment.path()).is_alive_);
}

}  // namespace
}  // namespace hshm::ipc::test
