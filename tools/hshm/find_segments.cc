#include "find_segments.h"

#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <map>
#include <optional>
#include <set>
#include <system_error>
#include <utility>

#include "hermes_shm/memory/allocator/allocator_report.h"
#include "hermes_shm/platform/file_read.h"
#include "hermes_shm/platform/process.h"

namespace hshm::tool {
namespace {

namespace fs = std::filesystem;

constexpr const char* kSystemDirectory = "/dev/shm";
constexpr const char* kDeleted = " (deleted)";  // proc(5): behind the path of a file without a name
constexpr const char* kMemoryFile = "/memfd:";  // memfd_create(2): in front of the label

using Key = std::pair<uint64_t, uint64_t>;  // device, inode

bool IsDeleted(const std::string& path) { return path.ends_with(kDeleted); }

/** A file that a process has, by the path that /proc shows for it. */
std::string NameOf(std::string path) {
  if (IsDeleted(path)) path.erase(path.size() - std::string(kDeleted).size());
  if (path.rfind(kMemoryFile, 0) == 0) return path.substr(std::string(kMemoryFile).size());
  return path;
}

std::optional<uint32_t> PidIn(const std::string& name) {
  uint32_t pid = 0;
  const char* const end = name.data() + name.size();
  const auto [stop, error] = std::from_chars(name.data(), end, pid);
  if (error != std::errc() || stop != end) return std::nullopt;
  return pid;
}

std::vector<fs::path> EntriesOf(const std::string& directory) {
  std::vector<fs::path> entries;
  std::error_code error;
  for (fs::directory_iterator entry(directory, error), end; !error && entry != end;
       entry.increment(error)) {
    entries.push_back(entry->path());
  }
  std::sort(entries.begin(), entries.end());
  return entries;
}

/** Collects segments; each file once, however many ways lead to it. */
class Search {
 public:
  explicit Search(bool of_all_users) : of_all_users_(of_all_users) {}

  void Directory(const std::string& directory) {
    for (const fs::path& path : EntriesOf(directory)) {
      FoundSegment segment;
      segment.name_ = path.filename().string();
      segment.where_ = path.string();
      Look(std::move(segment));
    }
  }

  /** Of every process that lets us look: what it has open, and what it has mapped. */
  void Processes() {
    for (const fs::path& process : EntriesOf("/proc")) {
      const std::optional<uint32_t> pid = PidIn(process.filename().string());
      struct stat status = {};
      if (!pid.has_value() || *pid == ProcessId()) continue;
      if (stat(process.c_str(), &status) != 0) continue;
      if (!of_all_users_ && status.st_uid != UserId()) continue;
      Descriptors(process.string(), *pid);
      Mappings(process.string(), *pid);
    }
  }

  std::vector<FoundSegment> Take() { return std::move(found_); }

 private:
  /** @return the segment's index in found_, or -1 */
  int Look(FoundSegment segment) {
    FileDescriptor file;
    FileStatus status;
    if (OpenToRead(segment.where_, &file) != 0) return -1;
    if (StatusOfFile(file.get(), &status) != 0) return -1;
    const Key key{status.identity_.device_, status.identity_.inode_};
    if (const auto known = index_.find(key); known != index_.end()) return known->second;
    index_[key] = -1;
    if (!of_all_users_ && status.user_id_ != UserId()) return -1;
    std::optional<ipc::SegmentReport> report =
        ipc::ReadSegmentReport(file.get(), Named(segment.name_));
    if (!report.has_value()) return -1;
    segment.report_ = std::move(*report);
    segment.allocator_ = ipc::ReadAllocatorType(file.get(), segment.report_.region_bytes_);
    segment.born_ = BirthTimeOfFile(file.get());
    if (segment.report_.type_ == ipc::MemoryBackendType::kPosixMmap) {
      segment.kind_ = SegmentKind::kFile;
    }
    index_[key] = static_cast<int>(found_.size());
    found_.push_back(std::move(segment));
    return index_[key];
  }

  static std::string Named(const std::string& name) { return "The segment " + name; }

  void Has(int index, uint32_t pid) {
    if (index < 0) return;
    std::vector<uint32_t>& pids = found_[static_cast<size_t>(index)].open_in_;
    if (pids.empty() || pids.back() != pid) pids.push_back(pid);
  }

  bool IsHolder(int index, uint32_t pid) const {
    const ipc::SegmentReport& report = found_[static_cast<size_t>(index)].report_;
    return report.creator_pid_ == pid ||
           std::any_of(report.holders_.begin(), report.holders_.end(),
                       [&](const ipc::SlotHolder& holder) { return holder.os_pid_ == pid; });
  }
  /** Who only looks at a segment, as another hshm does, closes it soon. */
  void PreferHolder(int index, const std::string& entry, uint32_t pid) {
    if (passing_.count(index) == 0 || !IsHolder(index, pid)) return;
    found_[static_cast<size_t>(index)].where_ = entry;
    passing_.erase(index);
  }

  static FoundSegment Through(const std::string& entry, const std::string& path) {
    FoundSegment segment;
    const bool is_memory_file = path.rfind(kMemoryFile, 0) == 0;
    segment.kind_ = is_memory_file ? SegmentKind::kUnnamed : SegmentKind::kUnlinked;
    segment.name_ = NameOf(path);
    const bool has_path = !is_memory_file && !IsDeleted(path);
    if (has_path) segment.kind_ = SegmentKind::kNamed;  // in a directory that we do not look into
    segment.where_ = entry;
    return segment;
  }

  void Descriptors(const std::string& process, uint32_t pid) {
    for (const fs::path& entry : EntriesOf(process + "/fd")) {
      struct stat status = {};
      if (stat(entry.c_str(), &status) != 0 || !S_ISREG(status.st_mode)) continue;
      const auto known = index_.find({status.st_dev, status.st_ino});
      if (known != index_.end()) {
        Has(known->second, pid);
        PreferHolder(known->second, entry.string(), pid);
        continue;
      }
      if (static_cast<uint64_t>(status.st_size) < ipc::kBackendHeaderBytes) continue;
      std::error_code error;
      const std::string path = fs::read_symlink(entry, error).string();
      if (error) continue;
      const int index = Look(Through(entry.string(), path));
      Has(index, pid);
      if (index >= 0 && !IsHolder(index, pid)) passing_.insert(index);
    }
  }

  /** proc(5), maps: "from-to rwxp offset major:minor inode   path". */
  void Mappings(const std::string& process, uint32_t pid) {
    std::ifstream lines(process + "/maps");
    for (std::string line; std::getline(lines, line);) {
      char range[64];
      unsigned long long offset = 0;
      unsigned major_number = 0;
      unsigned minor_number = 0;
      unsigned long long inode = 0;
      int path_at = 0;
      if (std::sscanf(line.c_str(), "%63s %*s %llx %x:%x %llu %n", range, &offset, &major_number,
                      &minor_number, &inode, &path_at) != 5 ||
          inode == 0 || path_at == 0) {
        continue;
      }
      const auto known = index_.find({makedev(major_number, minor_number), inode});
      if (known != index_.end()) {
        Has(known->second, pid);
        continue;
      }
      const std::string path = line.substr(static_cast<size_t>(path_at));
      // What still has a path and is a segment of hshm is open somewhere, or in a directory.
      if (offset == 0 && IsDeleted(path)) {
        Has(Look(Through(process + "/map_files/" + range, path)), pid);
      }
    }
  }

  bool of_all_users_;
  std::map<Key, int> index_;  // into found_; -1: looked at, and no segment of ours
  std::vector<FoundSegment> found_;
  std::set<int> passing_;  // those found through a process that is none of their holders
};

}  // namespace

const char* KindName(SegmentKind kind) {
  switch (kind) {
    case SegmentKind::kNamed:
      return "named";
    case SegmentKind::kUnlinked:
      return "unlinked";
    case SegmentKind::kUnnamed:
      return "unnamed";
    case SegmentKind::kFile:
      return "file";
  }
  return "";
}

std::vector<FoundSegment> FindNamedSegments(bool of_all_users) {
  Search search(of_all_users);
  search.Directory(SharedMemoryDirectory());
  return search.Take();
}

std::vector<FoundSegment> FindSegments(bool of_all_users) {
  Search search(of_all_users);
  search.Directory(SharedMemoryDirectory());
  if (SharedMemoryDirectory() != kSystemDirectory) search.Directory(kSystemDirectory);
  search.Processes();
  return search.Take();
}

}  // namespace hshm::tool
