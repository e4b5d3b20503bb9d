#ifndef HSHM_UNIT_TESTS_FAULTS_PROCESS_STATE_H_
#define HSHM_UNIT_TESTS_FAULTS_PROCESS_STATE_H_

#include <dirent.h>
#include <malloc.h>
#include <sys/stat.h>
#include <unistd.h>

#include <climits>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>
#include <string>

namespace hshm::test {

/** From now on malloc takes memory from the heap's end alone, so that a mapping that is left over
 * is the library's. */
inline void KeepMallocOutOfMappings() {
  mallopt(M_MMAP_THRESHOLD, INT_MAX);
  mallopt(M_TRIM_THRESHOLD, INT_MAX);
  mallopt(M_TOP_PAD, 16 << 20);
  std::free(std::malloc(1));
}

/** What a process holds of the system: descriptors, mappings, and the files of a directory. */
struct ProcessState {
  std::multiset<std::string> descriptors_;
  std::multiset<std::string> mapped_files_;
  uint64_t private_bytes_ = 0;  // mapped, of no file, beside heap and stack
  std::multiset<std::string> files_;

  static ProcessState Now(const std::string& directory) {
    ProcessState state;
    state.ReadDescriptors();
    state.ReadMappings();
    for (const auto& entry : std::filesystem::directory_iterator(directory)) {
      state.files_.insert(entry.path().filename().string());
    }
    return state;
  }

  /** In words; empty when nothing differs. */
  std::string DifferenceTo(const ProcessState& later) const {
    std::string text;
    Compare("descriptor", descriptors_, later.descriptors_, &text);
    Compare("mapping", mapped_files_, later.mapped_files_, &text);
    Compare("file", files_, later.files_, &text);
    if (private_bytes_ != later.private_bytes_) {
      text += " private bytes " + std::to_string(private_bytes_) + " -> " +
              std::to_string(later.private_bytes_) + ";";
    }
    return text;
  }

 private:
  static void Compare(const char* what, const std::multiset<std::string>& before,
                      const std::multiset<std::string>& after, std::string* text) {
    for (const std::string& one : before) {
      if (before.count(one) > after.count(one)) *text += " lost " + (what + (" " + one)) + ";";
    }
    for (const std::string& one : after) {
      if (after.count(one) > before.count(one)) *text += " left " + (what + (" " + one)) + ";";
    }
  }

  void ReadDescriptors() {
    DIR* const directory = opendir("/proc/self/fd");
    while (const dirent* const entry = readdir(directory)) {
      const int fd = std::atoi(entry->d_name);
      if (entry->d_name[0] == '.' || fd == dirfd(directory)) continue;
      char target[PATH_MAX] = {};
      const std::string path = std::string("/proc/self/fd/") + entry->d_name;
      if (readlink(path.c_str(), target, sizeof(target) - 1) < 0) continue;
      descriptors_.insert(path + " " + target);
    }
    closedir(directory);
  }

  /** proc(5), maps: range, access, offset, device, inode, path. */
  void ReadMappings() {
    std::ifstream maps("/proc/self/maps");
    for (std::string line; std::getline(maps, line);) {
      std::istringstream fields(line);
      std::string range;
      std::string access;
      std::string offset;
      std::string device;
      std::string inode;
      std::string path;
      fields >> range >> access >> offset >> device >> inode;
      std::getline(fields >> std::ws, path);
      if (!path.empty() && path.front() == '[') continue;
      if (inode != "0") {
        mapped_files_.insert(access + " " + path);
        continue;
      }
      unsigned long long begin = 0;
      unsigned long long end = 0;
      if (std::sscanf(range.c_str(), "%llx-%llx", &begin, &end) == 2) private_bytes_ += end - begin;
    }
  }
};

}  // namespace hshm::test

#endif  // HSHM_UNIT_TESTS_FAULTS_PROCESS_STATE_H_
