#include "genome_file.h"

#include <lzma.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>

#include "catch.h"
#include "input_error.h"
#include "private_count.h"

namespace kmer_count {
namespace {

/** A file with the given bytes, gone at the end of the test. */
class TemporaryFile {
 public:
  explicit TemporaryFile(const std::string& bytes) {
    path_ = "/tmp/kmer_count_test_XXXXXX";
    close(mkstemp(path_.data()));
    std::ofstream(path_, std::ios::binary) << bytes;
  }
  ~TemporaryFile() { std::remove(path_.c_str()); }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

std::string Gzip(const std::string& text) {
  z_stream stream{};
  REQUIRE(deflateInit2(&stream, 9, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY) == Z_OK);
  std::string out(deflateBound(&stream, text.size()), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<unsigned>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<unsigned>(out.size());
  REQUIRE(deflate(&stream, Z_FINISH) == Z_STREAM_END);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

std::string Xz(const std::string& text) {
  std::string out(lzma_stream_buffer_bound(text.size()), '\0');
  size_t size = 0;
  REQUIRE(lzma_easy_buffer_encode(
              1, LZMA_CHECK_CRC64, nullptr, reinterpret_cast<const uint8_t*>(text.data()),
              text.size(), reinterpret_cast<uint8_t*>(out.data()), &size, out.size()) == LZMA_OK);
  out.resize(size);
  return out;
}

std::string Unpacked(const std::string& bytes) {
  const TemporaryFile file(bytes);
  PrivateText text;
  GenomeFile(file.path()).Decompress(text);
  return std::string(text.view());
}

/** Long enough that the first guess of its size is too small. */
std::string Text() {
  std::string text = ">r\n";
  while (text.size() < 500000) text += "ACGTTGCATT\n";
  return text;
}

TEST_CASE("gzip and xz are unpacked, also in several members") {
  const std::string text = Text();
  CHECK(Unpacked(Gzip(text)) == text);
  CHECK(Unpacked(Xz(text)) == text);
  CHECK(Unpacked(Gzip(text) + Gzip("ACG\n")) == text + "ACG\n");
  CHECK(Unpacked(Xz(text) + Xz("ACG\n")) == text + "ACG\n");
  CHECK(Unpacked(Gzip(text) + std::string(512, '\0')) == text);  // padded, as on tapes
}

TEST_CASE("A compressed file that was cut anywhere is called truncated") {
  for (const std::string& whole : {Gzip(Text()), Xz(Text())}) {
    for (const size_t size : {size_t{7}, whole.size() / 2, whole.size() - 5, whole.size() - 1}) {
      CAPTURE(size, whole.size());
      CHECK_THROWS_WITH(Unpacked(whole.substr(0, size)), ContainsSubstring("truncated"));
    }
  }
}

TEST_CASE("A compressed file with a wrong byte is called damaged") {
  for (std::string bytes : {Gzip(Text()), Xz(Text())}) {
    bytes[bytes.size() / 2] = static_cast<char>(bytes[bytes.size() / 2] ^ 0x55);
    CHECK_THROWS_AS(Unpacked(bytes), InputError);
  }
  CHECK_THROWS_WITH(Unpacked(Gzip(Text()) + "junk"), ContainsSubstring("damaged"));
}

TEST_CASE("A file that is missing, empty or no file is refused in one sentence") {
  CHECK_THROWS_WITH(GenomeFile("/nonexistent/g.fa"),
                    "Cannot read /nonexistent/g.fa: No such file or directory.");
  CHECK_THROWS_AS(GenomeFile("/tmp"), InputError);
  CHECK_THROWS_AS(GenomeFile("/dev/null"), InputError);
  const TemporaryFile empty("");
  CHECK_THROWS_WITH(GenomeFile(empty.path()), empty.path() + " is empty.");
  CHECK_THROWS_WITH(Unpacked(Gzip("")), ContainsSubstring("is empty."));
}

TEST_CASE("Counting in private gives the spectrum known by hand, packed or not") {
  const std::string text = ">r\nACGTTNAC\n";  // 3-mers: ACG twice, AAC
  Spectrum expected;
  expected.Add({0b000110, 2});  // ACG
  expected.Add({0b000001, 1});  // AAC
  for (const std::string& bytes : {text, Gzip(text), Xz(text)}) {
    const TemporaryFile file(bytes);
    CHECK(CountPrivately(GenomeFile(file.path()), 3).spectrum_ == expected);
  }
}

}  // namespace
}  // namespace kmer_count
