#include "matrix_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <stdexcept>

#include "input_error.h"

namespace spmv {
namespace {

constexpr uint64_t kUsualExpansion = 4;  // of numbers as text; a wrong guess costs a longer copy

struct CloseGzip {
  void operator()(gzFile file) const { gzclose_r(file); }
};

[[noreturn]] void ThrowSystem(const std::string& path) {
  throw InputError("Cannot read " + path + ": " + std::strerror(errno) + ".");
}

}  // namespace

MatrixFile::MatrixFile(const std::string& path) : path_(path) {
  // O_NONBLOCK: opening a named pipe does not wait for somebody who writes.
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) ThrowSystem(path);
  struct stat about;
  const bool has_status = fstat(fd, &about) == 0;
  void* mapping = MAP_FAILED;
  if (has_status && S_ISREG(about.st_mode) && about.st_size > 0) {
    mapping = mmap(nullptr, static_cast<size_t>(about.st_size), PROT_READ, MAP_PRIVATE, fd, 0);
  }
  const int why = errno;
  close(fd);
  errno = why;
  if (!has_status) ThrowSystem(path);
  if (!S_ISREG(about.st_mode)) throw InputError(path + " is not a regular file.");
  if (about.st_size == 0) throw InputError(path + " is empty.");
  if (mapping == MAP_FAILED) ThrowSystem(path);
  bytes_ = {static_cast<const char*>(mapping), static_cast<size_t>(about.st_size)};
}

MatrixFile::~MatrixFile() { munmap(const_cast<char*>(bytes_.data()), bytes_.size()); }

bool MatrixFile::IsGzip() const { return bytes_.starts_with("\x1f\x8b"); }

uint64_t MatrixFile::Gunzip(const Resize& resize) const {
  const std::unique_ptr<gzFile_s, CloseGzip> file(gzopen(path_.c_str(), "rb"));
  if (file == nullptr) ThrowSystem(path_);
  uint64_t size = 0;
  for (uint64_t room = kUsualExpansion * bytes_.size() + 1;; room *= 2) {
    char* text = resize(room);
    if (text == nullptr) {
      throw std::runtime_error("There is no room for the text of " + path_ + ": " +
                               std::to_string(room) +
                               " bytes were asked for; give a larger --heap.");
    }
    while (size < room) {
      const auto piece = static_cast<unsigned>(std::min<uint64_t>(room - size, 1u << 30));
      const int got = gzread(file.get(), text + size, piece);
      if (got > 0) size += static_cast<uint64_t>(got);
      if (got == static_cast<int>(piece)) continue;
      int problem = Z_OK;
      gzerror(file.get(), &problem);
      if (problem == Z_OK || problem == Z_STREAM_END) return size;
      throw InputError(path_ + (problem == Z_BUF_ERROR ? " is truncated" : " is damaged") +
                       ": as gzip, behind " + std::to_string(size) + " bytes of text.");
    }
  }
}

}  // namespace spmv
