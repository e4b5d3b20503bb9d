#include "genome_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <new>
#include <stdexcept>

#include "decoder.h"
#include "input_error.h"

namespace kmer_count {
namespace {

constexpr std::string_view kGzipMagic("\x1f\x8b", 2);
constexpr std::string_view kXzMagic("\xfd\x37\x7a\x58\x5a\x00", 6);
constexpr uint64_t kBasesPerByte = 4;         // two bits a base: what genomes are packed to
constexpr uint64_t kMaxGzipExpansion = 1032;  // of the deflate format
constexpr uint64_t kMinTextBytes = 64 * 1024;

/** A file descriptor that closes. */
struct Descriptor {
  explicit Descriptor(const std::string& path)
      : fd_(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)) {}
  ~Descriptor() {
    if (fd_ >= 0) close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int fd_;
};

[[noreturn]] void ThrowSystem(const std::string& path) {
  throw InputError("Cannot read " + path + ": " + std::strerror(errno) + ".");
}

Compression CompressionOf(std::string_view bytes) {
  if (bytes.starts_with(kGzipMagic)) return Compression::kGzip;
  if (bytes.starts_with(kXzMagic)) return Compression::kXz;
  return Compression::kNone;
}

/** The size that a gzip file's last four bytes tell, modulo 2^32, of its last member. */
uint64_t GzipSize(std::string_view bytes) {
  uint64_t size = 0;
  for (int i = 0; i < 4; ++i) {
    size |= uint64_t{static_cast<uint8_t>(bytes[bytes.size() - 4 + i])} << (8 * i);
  }
  return size;
}

}  // namespace

char* PrivateText::Resize(uint64_t size_bytes) {
  try {
    bytes_.resize(size_bytes);
  } catch (const std::exception&) {  // bad_alloc or length_error
    return nullptr;
  }
  return bytes_.data();
}

GenomeFile::GenomeFile(const std::string& path) : path_(path) {
  const Descriptor file(path);
  struct stat about;
  if (file.fd_ < 0 || fstat(file.fd_, &about) != 0) ThrowSystem(path);
  if (!S_ISREG(about.st_mode)) throw InputError(path + " is not a regular file.");
  if (about.st_size == 0) throw InputError(path + " is empty.");
  const auto size = static_cast<size_t>(about.st_size);
  void* mapping = mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.fd_, 0);
  if (mapping == MAP_FAILED) ThrowSystem(path);
  bytes_ = {static_cast<const char*>(mapping), size};
  compression_ = CompressionOf(bytes_);
}

GenomeFile::~GenomeFile() { munmap(const_cast<char*>(bytes_.data()), bytes_.size()); }

uint64_t GenomeFile::ExpectedTextBytes() const {
  if (compression_ == Compression::kNone) return bytes_.size();
  uint64_t guess = kBasesPerByte * bytes_.size();
  if (compression_ == Compression::kGzip && bytes_.size() >= 4) {
    const uint64_t told = GzipSize(bytes_);
    if (told > bytes_.size() && told <= kMaxGzipExpansion * bytes_.size()) guess = told;
  }
  return std::max(guess, kMinTextBytes);
}

uint64_t GenomeFile::Decompress(TextBuffer& buffer) const {
  const std::unique_ptr<Decoder> decoder =
      compression_ == Compression::kGzip ? MakeGzipDecoder(bytes_) : MakeXzDecoder(bytes_);
  uint64_t size = 0;
  uint64_t room = ExpectedTextBytes() + 1;  // so that a right guess ends without a second round
  for (;;) {
    char* text = buffer.Resize(room);
    if (text == nullptr) {
      throw std::runtime_error("There is no room for the text of " + path_ + ": " +
                               std::to_string(room) +
                               " bytes were asked for; give a larger --heap.");
    }
    size_t written = 0;
    const Decoder::State state = decoder->Fill(text + size, room - size, written);
    size += written;
    if (state == Decoder::State::kEnd) break;
    const std::string what = path_ + (compression_ == Compression::kGzip ? " (gzip)" : " (xz)");
    if (state == Decoder::State::kTruncated) {
      throw InputError(what + " is truncated: it ends after " + std::to_string(size) +
                       " bytes of text.");
    }
    if (state == Decoder::State::kDamaged) {
      throw InputError(what + " is damaged, after " + std::to_string(size) + " bytes of text.");
    }
    room *= 2;
  }
  if (size == 0) throw InputError(path_ + " is empty.");
  if (buffer.Resize(size) == nullptr) throw std::bad_alloc();  // shrinking needs no room
  return size;
}

}  // namespace kmer_count
