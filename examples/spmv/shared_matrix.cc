#include "shared_matrix.h"

#include <algorithm>
#include <atomic>
#include <utility>

#include "row_split.h"

namespace spmv {
namespace {

constexpr const char* kStarts = "spmv starts";
constexpr const char* kSlices = "spmv slices";

/** How many came before, and one more from now on. */
uint64_t Increment(uint64_t& shared) {
  // relaxed: the numbers of a row need no order among ranks; a barrier stands before they are used
  return std::atomic_ref<uint64_t>(shared).fetch_add(1, std::memory_order_relaxed);
}

}  // namespace

SharedMatrix::SharedMatrix(Team& team, const MatrixSource& source)
    : team_(team), name_(source.name()), rows_(source.rows()), columns_(source.columns()) {
  starts_ = team_.MakeShared<uint64_t>(kStarts, rows() + 1);
  offsets_ = team_.MakeShared<SliceOffsets>(kSlices, team_.node_end() - team_.node_begin());
  Count(source);
  Split();
  Fill(source);
  Finish();
  team_.FreeShared<SliceOffsets>(kSlices);
  team_.FreeShared<uint64_t>(kStarts);
}

SharedMatrix::~SharedMatrix() {
  const auto free = [&](auto& made) {
    if (!made.IsNull()) team_.alloc().Free(HSHM_DEFAULT_MEM_CTX, made);
  };
  free(own_starts_);
  free(own_columns_);
  free(own_values_);
}

/** After it starts_[row] is the number of entries of all rows before, on every node. */
void SharedMatrix::Count(const MatrixSource& source) {
  const uint64_t ranks = offsets_.size();
  const uint64_t rank = team_.part() - team_.node_begin();
  const auto zero = [&](uint64_t part) { return starts_.begin() + starts_.size() * part / ranks; };
  std::fill(zero(rank), zero(rank + 1), 0);
  team_.NodeBarrier();
  uint64_t stored = 0;
  // Parts go by rank, so that the lowest rank that fails has the first mistake of the file.
  const auto part = static_cast<uint64_t>(team_.heap().node_rank());
  Together(team_.all(), [&] {
    stored = source.ForEach(part, ranks, [&](const Entry& e) { Increment(starts_[e.row_]); });
  });
  MPI_Allreduce(MPI_IN_PLACE, &stored, 1, MPI_UINT64_T, MPI_SUM, team_.node());
  Together(team_.all(), [&] { source.CheckStored(stored); });
  if (team_.IsLeader()) {
    uint64_t before = 0;
    for (uint64_t& start : starts_) before += std::exchange(start, before);
  }
  team_.NodeBarrier();
}

void SharedMatrix::Split() {
  bounds_ = SplitRows(starts_, team_.parts());
  slice_.row_count_ = rows_;
  if (!team_.IsReplicated()) {
    slice_.first_row_ = bounds_[team_.part()];
    slice_.row_count_ = bounds_[team_.part() + 1] - slice_.first_row_;
  }
  const uint64_t before = starts_[slice_.first_row_];
  const uint64_t entries = starts_[slice_.first_row_ + slice_.row_count_] - before;
  Together(team_.all(), [&] {
    own_starts_ = team_.Allocate<uint64_t>(slice_.row_count_ + 1);
    own_columns_ = team_.Allocate<uint32_t>(entries);
    own_values_ = team_.Allocate<double>(entries);
    slice_.starts_ = own_starts_.ptr_;
    slice_.columns_ = own_columns_.ptr_;
    slice_.values_ = own_values_.ptr_;
    for (uint64_t i = 0; i <= slice_.row_count_; ++i) {
      slice_.starts_[i] = starts_[slice_.first_row_ + i] - before;
    }
    offsets_[team_.part() - team_.node_begin()] = {slice_.first_row_,
                                                   slice_.row_count_,
                                                   before,
                                                   own_starts_.shm_.off_.load(),
                                                   own_columns_.shm_.off_.load(),
                                                   own_values_.shm_.off_.load()};
  });
}

std::vector<SharedMatrix::NodeSlice> SharedMatrix::NodeSlices() {
  std::vector<NodeSlice> slices;
  for (const SliceOffsets& offsets : offsets_) {
    slices.push_back({{offsets.first_row_, offsets.row_count_,
                       team_.alloc().Convert(hipc::OffsetPtr<uint64_t>(offsets.starts_)),
                       team_.alloc().Convert(hipc::OffsetPtr<uint32_t>(offsets.columns_)),
                       team_.alloc().Convert(hipc::OffsetPtr<double>(offsets.values_))},
                      offsets.entries_before_});
  }
  return slices;
}

void SharedMatrix::Fill(const MatrixSource& source) {
  const std::vector<NodeSlice> slices = NodeSlices();
  const auto part = static_cast<uint64_t>(team_.heap().node_rank());
  Together(team_.all(), [&] {
    source.ForEach(part, offsets_.size(), [&](const Entry& entry) { Put(slices, entry); });
  });
}

/** Into the arrays of the rank of this node that has the row, if one has. */
void SharedMatrix::Put(std::span<const NodeSlice> slices, const Entry& entry) {
  const auto after = std::partition_point(slices.begin(), slices.end(), [&](const NodeSlice& one) {
    return one.slice_.first_row_ <= entry.row_;
  });
  if (after == slices.begin()) return;
  const NodeSlice& place = *(after - 1);
  if (entry.row_ >= place.slice_.first_row_ + place.slice_.row_count_) return;
  const uint64_t at = Increment(starts_[entry.row_]) - place.entries_before_;
  place.slice_.columns_[at] = entry.column_;
  place.slice_.values_[at] = entry.value_;
}

void SharedMatrix::Finish() {
  const uint64_t listed = slice_.EntryCount();
  Together(team_.all(), [&] { SortAndSum(slice_, name_); });
  if (slice_.EntryCount() < listed) {  // where shrinking finds no room the blocks stay as they are
    const auto shrink = [&](auto& made, auto*& array) {
      const auto smaller = team_.alloc().ReallocateObjs(HSHM_DEFAULT_MEM_CTX, made,
                                                        std::max<uint64_t>(slice_.EntryCount(), 1));
      if (!smaller.IsNull()) made = smaller;
      array = made.ptr_;
    };
    shrink(own_columns_, slice_.columns_);
    shrink(own_values_, slice_.values_);
  }
  if (team_.IsReplicated()) {
    const uint64_t begin = bounds_[team_.part()];
    slice_ = slice_.Rows(begin, bounds_[team_.part() + 1] - begin);
  }
  const Fingerprints prints = FingerprintsOf(slice_);
  uint64_t sums[3] = {slice_.EntryCount(), prints.matrix_, prints.transpose_};
  MPI_Allreduce(MPI_IN_PLACE, sums, 3, MPI_UINT64_T, MPI_SUM, team_.all());
  entry_count_ = sums[0];
  is_symmetric_ = rows() == columns() && sums[1] == sums[2];
}

}  // namespace spmv
