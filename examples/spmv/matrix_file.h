#ifndef HSHM_EXAMPLES_SPMV_MATRIX_FILE_H_
#define HSHM_EXAMPLES_SPMV_MATRIX_FILE_H_

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace spmv {

/** A regular file, mapped for reading: its pages are the system's, and shared by the ranks. */
class MatrixFile {
 public:
  /** Makes room for so many bytes, and keeps what is there. @return the room, or null: none */
  using Resize = std::function<char*(uint64_t size_bytes)>;

  /** @throws InputError when it is missing, unreadable, no regular file, or empty */
  explicit MatrixFile(const std::string& path);
  ~MatrixFile();
  MatrixFile(const MatrixFile&) = delete;
  MatrixFile& operator=(const MatrixFile&) = delete;

  const std::string& path() const { return path_; }
  std::string_view bytes() const { return bytes_; }
  bool IsGzip() const;

  /**
   * Unpacks a gzip file of one or more members into the room that resize gives.
   * @throws InputError when it is damaged or truncated, std::runtime_error when there is no room.
   * @return bytes of text
   */
  uint64_t Gunzip(const Resize& resize) const;

 private:
  std::string path_;
  std::string_view bytes_;
};

}  // namespace spmv

#endif  // HSHM_EXAMPLES_SPMV_MATRIX_FILE_H_
