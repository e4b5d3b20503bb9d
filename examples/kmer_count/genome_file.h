#ifndef HSHM_EXAMPLES_KMER_COUNT_GENOME_FILE_H_
#define HSHM_EXAMPLES_KMER_COUNT_GENOME_FILE_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

/** The file with the genome, mapped, and what is in it when it is compressed. */
namespace kmer_count {

/** Room for text that grows; in private memory or in the heap that the ranks share. */
class TextBuffer {
 public:
  virtual ~TextBuffer() = default;

  /** Makes room for size_bytes and keeps what is there. @return the text, or null: no room */
  virtual char* Resize(uint64_t size_bytes) = 0;
};

/** Text in this process's memory. */
class PrivateText final : public TextBuffer {
 public:
  char* Resize(uint64_t size_bytes) override;
  std::string_view view() const { return {bytes_.data(), bytes_.size()}; }

 private:
  std::vector<char> bytes_;
};

enum class Compression { kNone, kGzip, kXz };

/** A regular file, mapped for reading: its pages are the system's, and shared by the ranks. */
class GenomeFile {
 public:
  /** @throws InputError when it is missing, unreadable, no regular file, or empty */
  explicit GenomeFile(const std::string& path);
  ~GenomeFile();
  GenomeFile(const GenomeFile&) = delete;
  GenomeFile& operator=(const GenomeFile&) = delete;

  const std::string& path() const { return path_; }
  std::string_view bytes() const { return bytes_; }
  Compression compression() const { return compression_; }

  /** Bytes of text inside, as far as the file says; a guess where it does not. */
  uint64_t ExpectedTextBytes() const;

  /**
   * Unpacks the whole file. @throws InputError when the compressed data are damaged or end too
   * early, std::runtime_error when the buffer has no room. @return bytes of text; the buffer has
   * just this size
   */
  uint64_t Decompress(TextBuffer& buffer) const;

 private:
  std::string path_;
  std::string_view bytes_;
  Compression compression_ = Compression::kNone;
};

}  // namespace kmer_count

#endif  // HSHM_EXAMPLES_KMER_COUNT_GENOME_FILE_H_
