#include "decoder.h"

#include <lzma.h>
#include <zlib.h>

#include <algorithm>
#include <limits>
#include <new>

namespace kmer_count {
namespace {

constexpr size_t kMaxPiece = std::numeric_limits<unsigned>::max() / 2;  // zlib counts in 32 bits

class GzipDecoder final : public Decoder {
 public:
  explicit GzipDecoder(std::string_view input) : input_(input) {
    constexpr int kGzipOnly = 16 + MAX_WBITS;
    if (inflateInit2(&stream_, kGzipOnly) != Z_OK) throw std::bad_alloc();
  }
  ~GzipDecoder() override { inflateEnd(&stream_); }
  GzipDecoder(const GzipDecoder&) = delete;
  GzipDecoder& operator=(const GzipDecoder&) = delete;

  State Fill(char* out, size_t room, size_t& written) override {
    written = 0;
    while (written < room) {
      const int result = Step(out + written, room - written, written);
      if (result == Z_STREAM_END) {
        if (!NextMember()) return input_.empty() ? State::kEnd : State::kDamaged;
      } else if (result == Z_BUF_ERROR || (result == Z_OK && input_.empty() && written < room)) {
        return State::kTruncated;
      } else if (result != Z_OK) {
        return State::kDamaged;
      }
    }
    return State::kMore;
  }

 private:
  int Step(char* out, size_t room, size_t& written) {
    const auto in_piece = static_cast<unsigned>(std::min(input_.size(), kMaxPiece));
    const auto out_piece = static_cast<unsigned>(std::min(room, kMaxPiece));
    stream_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(input_.data()));
    stream_.avail_in = in_piece;
    stream_.next_out = reinterpret_cast<Bytef*>(out);
    stream_.avail_out = out_piece;
    const int result = inflate(&stream_, Z_NO_FLUSH);
    input_.remove_prefix(in_piece - stream_.avail_in);
    written += out_piece - stream_.avail_out;
    return result;
  }

  /** Zeros may pad the last member, as gzip itself allows. */
  bool NextMember() {
    const size_t next = input_.find_first_not_of('\0');
    if (next == std::string_view::npos) {
      input_ = {};
      return false;
    }
    return next == 0 && input_.starts_with("\x1f\x8b") && inflateReset(&stream_) == Z_OK;
  }

  std::string_view input_;
  z_stream stream_{};
};

class XzDecoder final : public Decoder {
 public:
  explicit XzDecoder(std::string_view input) {
    constexpr uint64_t kMemoryLimit = uint64_t{1} << 30;  // of the decoder; xz -9 needs 65 MiB
    if (lzma_stream_decoder(&stream_, kMemoryLimit, LZMA_CONCATENATED) != LZMA_OK) {
      throw std::bad_alloc();
    }
    stream_.next_in = reinterpret_cast<const uint8_t*>(input.data());
    stream_.avail_in = input.size();
  }
  ~XzDecoder() override { lzma_end(&stream_); }
  XzDecoder(const XzDecoder&) = delete;
  XzDecoder& operator=(const XzDecoder&) = delete;

  State Fill(char* out, size_t room, size_t& written) override {
    stream_.next_out = reinterpret_cast<uint8_t*>(out);
    stream_.avail_out = room;
    lzma_ret result = LZMA_OK;
    while (result == LZMA_OK && stream_.avail_out > 0) result = lzma_code(&stream_, LZMA_FINISH);
    written = room - stream_.avail_out;
    switch (result) {
      case LZMA_OK:
        return State::kMore;
      case LZMA_STREAM_END:
        return State::kEnd;
      case LZMA_BUF_ERROR:
        return State::kTruncated;
      default:
        return State::kDamaged;
    }
  }

 private:
  lzma_stream stream_ = LZMA_STREAM_INIT;
};

}  // namespace

std::unique_ptr<Decoder> MakeGzipDecoder(std::string_view input) {
  return std::make_unique<GzipDecoder>(input);
}

std::unique_ptr<Decoder> MakeXzDecoder(std::string_view input) {
  return std::make_unique<XzDecoder>(input);
}

}  // namespace kmer_count
