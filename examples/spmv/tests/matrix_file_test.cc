#include "matrix_file.h"

#include <stdlib.h>
#include <unistd.h>
#include <zlib.h>

#include <cstdio>
#include <fstream>
#include <stdexcept>
#include <string>

#include "catch.h"
#include "input_error.h"

namespace spmv {
namespace {

/** A file with the given bytes, gone at the end of the test. */
class TemporaryFile {
 public:
  explicit TemporaryFile(const std::string& bytes) {
    path_ = "/tmp/spmv_test_XXXXXX";
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

std::string Unpacked(const std::string& bytes) {
  const TemporaryFile file(bytes);
  std::string text;
  const uint64_t size = MatrixFile(file.path()).Gunzip([&](uint64_t size_bytes) {
    text.resize(size_bytes);
    return text.data();
  });
  text.resize(size);
  return text;
}

/** What is said about a gzip file that is refused as bad input. */
std::string Refusal(const std::string& bytes) {
  try {
    Unpacked(bytes);
  } catch (const InputError& error) {
    return error.what();
  }
  return "(accepted)";
}

bool Says(const std::string& sentence, const std::string& part) {
  UNSCOPED_INFO(sentence);
  return sentence.find(part) != std::string::npos;
}

std::string Numbers() {
  std::string text;
  for (int i = 0; i < 20'000; ++i) text += std::to_string(i * i % 1009) + " 1 0.5\n";
  return text;
}

TEST_CASE("A compressed text comes back whole, however small it was, of one member or two") {
  const std::string text = Numbers();
  CHECK(Unpacked(Gzip(text)) == text);
  CHECK(Unpacked(Gzip(text) + Gzip("and more")) == text + "and more");
  CHECK(Unpacked(Gzip(std::string(1'000'000, ' '))) == std::string(1'000'000, ' '));
  CHECK(Unpacked(Gzip("")).empty());
}

TEST_CASE("A gzip file that ends too early is truncated, wherever it ends") {
  const std::string bytes = Gzip(Numbers());
  for (const size_t kept : {bytes.size() / 3, bytes.size() - 9, bytes.size() - 1}) {
    CAPTURE(kept);
    CHECK(Says(Refusal(bytes.substr(0, kept)), " is truncated: as gzip, behind "));
  }
}

TEST_CASE("A gzip file with a wrong byte is damaged") {
  std::string bytes = Gzip(Numbers());
  bytes[bytes.size() - 6] ^= 1;  // of the checksum
  CHECK(Says(Refusal(bytes), " is damaged: as gzip, behind "));
}

TEST_CASE("No room for the text is no fault of the input") {
  const TemporaryFile file(Gzip("text"));
  try {
    MatrixFile(file.path()).Gunzip([](uint64_t) -> char* { return nullptr; });
    FAIL("nothing was thrown");
  } catch (const InputError&) {
    FAIL("taken for bad input");
  } catch (const std::runtime_error& error) {
    CHECK(Says(error.what(), "There is no room for the text of " + file.path()));
  }
}

TEST_CASE("What is no file with text is refused") {
  CHECK_THROWS_WITH(MatrixFile("/tmp"), "/tmp is not a regular file.");
  CHECK_THROWS_WITH(MatrixFile("/nowhere"), "Cannot read /nowhere: No such file or directory.");
  const TemporaryFile empty("");
  CHECK_THROWS_WITH(MatrixFile(empty.path()), empty.path() + " is empty.");
  const TemporaryFile plain("%%MatrixMarket");
  CHECK_FALSE(MatrixFile(plain.path()).IsGzip());
}

}  // namespace
}  // namespace spmv
