#include "memory/backend/new_file.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <utility>

#include "hermes_shm/platform/futex.h"
#include "hermes_shm/platform/process.h"
#include "memory/backend/segment_file.h"

namespace hshm::ipc {
namespace {

constexpr const char* kHiddenSuffix = ".new";

/** What the hidden names for a path begin with. */
std::string HiddenPrefix(const std::string& path) {
  const size_t slash = path.rfind('/');
  std::string prefix(".");
  prefix.append(path, slash == std::string::npos ? 0 : slash + 1).append(".");
  return prefix;
}

/** Whether MakeHiddenFile gives such names: a prefix, and as it writes them "PID-TIME.new". Others
 * that look like it are the user's own. */
bool IsHiddenName(const std::string& name, const std::string& prefix) {
  if (name.rfind(prefix, 0) != 0 || !name.ends_with(kHiddenSuffix)) return false;
  const size_t suffix_bytes = std::strlen(kHiddenSuffix);
  if (name.size() < prefix.size() + suffix_bytes) return false;
  const std::string unique = name.substr(prefix.size(), name.size() - prefix.size() - suffix_bytes);
  const size_t dash = unique.find('-');
  return dash != 0 && dash != std::string::npos && dash + 1 != unique.size() &&
         unique.find_first_not_of("0123456789abcdef") == dash &&
         unique.find_first_not_of("0123456789abcdef", dash + 1) == std::string::npos;
}

/** Whether a file can be one that a creator left: it has begun a region, or not even that. */
bool MayBeOurs(int fd, const FileStatus& status) {
  if (status.size_bytes_ == 0) return true;
  if (status.size_bytes_ < kMinRegionBytes) return false;
  BackendHeader header;
  if (CopyHeader(fd, &header) != 0) return false;
  return header.magic_ == kBackendMagic || header.magic_ == 0;
}

/** Removes a hidden file whose creator has died. Who lives in it shares its presence byte. */
void RemoveIfAbandoned(const std::string& path) {
  FileDescriptor file;
  FileStatus opened;
  FileStatus named;
  if (OpenFile(path, &file) != 0 || StatusOfFile(file.get(), &opened) != 0) return;
  if (!opened.is_regular_ || opened.user_id_ != UserId()) return;
  if (!MayBeOurs(file.get(), opened)) return;
  HeldByte presence;
  if (presence.Hold(file.get(), PosixShmMmap::kPresenceByte) != 0) return;
  if (StatusOfPath(path, &named) != 0 || named.identity_ != opened.identity_) return;
  static_cast<void>(UnlinkFile(path));  // what stays is in nobody's way
}

void RemoveAbandoned(const std::string& path) {
  const std::string prefix = HiddenPrefix(path);
  std::error_code error;
  for (std::filesystem::directory_iterator entry(DirectoryOf(path), error), end;
       !error && entry != end; entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    if (IsHiddenName(name, prefix)) RemoveIfAbandoned(entry->path().string());
  }
}

/** Says that this process is here. @return 0, EAGAIN when the file is being removed, an errno */
int Join(SegmentFile* segment, bool has_name) {
  const int fd = segment->file_.get();
  FileStatus status;
  int error = segment->presence_.Hold(fd, PosixShmMmap::kPresenceByte, ByteLockMode::kShared);
  if (error == 0) error = StatusOfFile(fd, &status);
  if (error == 0 && has_name && status.links_ == 0) return EAGAIN;
  segment->identity_ = status.identity_;
  return error;
}

/** As CreateUnnamedFile, where there are only files with names. */
int MakeHiddenFile(SegmentFile* segment, HiddenName* hidden) {
  RemoveAbandoned(segment->path_);
  for (;;) {
    char unique[64];
    std::snprintf(unique, sizeof(unique), "%x-%llx%s", ProcessId(),
                  static_cast<unsigned long long>(MonotonicUs()), kHiddenSuffix);
    const std::string path =
        DirectoryOf(segment->path_) + "/" + HiddenPrefix(segment->path_) + unique;
    const int created = CreateNamedFile(path, &segment->file_);
    if (created == EEXIST) continue;
    if (created != 0) return created;
    hidden->Set(path);
    const int joined = Join(segment, true);
    if (joined != EAGAIN) return joined;
    hidden->Remove();  // somebody took it for abandoned before the byte was locked
  }
}

}  // namespace

void HiddenName::Remove() noexcept {
  if (IsNeeded()) static_cast<void>(UnlinkFile(path_));  // RemoveAbandoned may have been faster
  path_.clear();
}

std::string DirectoryOf(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

SegmentFile MakeFile(const std::string& path, HiddenName* hidden) {
  SegmentFile segment;
  segment.path_ = path;
  int error = CreateUnnamedFile(DirectoryOf(path), &segment.file_);
  if (error == 0) {
    error = Join(&segment, false);
  } else if (error == EOPNOTSUPP || error == EISDIR) {  // open(2): what such a file system says
    error = MakeHiddenFile(&segment, hidden);
  }
  if (error != 0) throw FileError("Creating a segment in " + DirectoryOf(path), error);
  return segment;
}

int NameFile(const SegmentFile& segment, HiddenName* hidden) {
  int error = PublishFile(segment.file_.get(), segment.path_);
  if (!hidden->IsNeeded()) return error;
  if (error == EPERM || error == EOPNOTSUPP) {  // link(2): a file system without hard links
    error = RenameFile(hidden->path(), segment.path_);
    if (error == 0) hidden->Forget();
  }
  if (error == 0) hidden->Remove();
  return error;
}

}  // namespace hshm::ipc
