#include "row_work.h"

#include "row_split.h"

namespace spmv {

RowWork::RowWork(Team& team, const SharedMatrix& matrix, double shift)
    : team_(team),
      matrix_(matrix),
      shift_(shift),
      block_rows_(BlockRows(matrix.rows())),
      block_count_((matrix.rows() + block_rows_ - 1) / block_rows_),
      exchange_bounds_(matrix.bounds().size()) {
  for (const uint64_t bound : matrix.bounds()) {  // a multiple of a block's rows, or the end
    block_bounds_.push_back((bound + block_rows_ - 1) / block_rows_);
  }
  buffers_ = team.MakeShared<double>("spmv sums", 2 * kMostSums * block_count_);
}

}  // namespace spmv
