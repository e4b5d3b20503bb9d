#ifndef HSHM_EXAMPLES_SPMV_MATRIX_SOURCE_H_
#define HSHM_EXAMPLES_SPMV_MATRIX_SOURCE_H_

#include <cstdint>
#include <functional>
#include <string>

namespace spmv {

/**
 * Most rows, and most columns, of a matrix: indices are kept in 32 bits, and MPI counts elements in
 * an int.
 */
inline constexpr uint64_t kMaxSide = 0x7fffffff;

/** One element, counted from 0. */
struct Entry {
  uint32_t row_;
  uint32_t column_;
  double value_;
};

using Visitor = std::function<void(const Entry&)>;

/**
 * Where a matrix comes from: something that lists its entries, in parts, as often as one likes.
 * Several ranks each take one part at the same time. An element that is listed twice is the sum.
 */
class MatrixSource {
 public:
  virtual ~MatrixSource() = default;

  /** What messages call the matrix. */
  const std::string& name() const { return name_; }
  uint64_t rows() const { return rows_; }
  uint64_t columns() const { return columns_; }

  /**
   * Shows the entries of one of `parts` parts, 0 to parts - 1, to visit; of a matrix that is stored
   * by half also those that follow. @throws InputError. @return how many are stored in this part
   */
  virtual uint64_t ForEach(uint64_t part, uint64_t parts, const Visitor& visit) const = 0;

  /** What ForEach returned, added up over the parts. @throws InputError when that is not right */
  virtual void CheckStored(uint64_t stored) const = 0;

 protected:
  explicit MatrixSource(std::string name) : name_(std::move(name)) {}

  std::string name_;
  uint64_t rows_ = 0;
  uint64_t columns_ = 0;
};

}  // namespace spmv

#endif  // HSHM_EXAMPLES_SPMV_MATRIX_SOURCE_H_
