#include "load.h"

#include <optional>
#include <string_view>
#include <vector>

#include "market_source.h"
#include "matrix_file.h"
#include "poisson.h"

namespace spmv {
namespace {

constexpr const char* kText = "spmv text";

/** The leader's part of SharedText. Nothing stays in the heap when it throws. */
uint64_t UnpackIntoHeap(Team& team, const MatrixFile& file) {
  hipc::FullPtr<char> text;
  try {
    const uint64_t size = file.Gunzip([&](uint64_t size_bytes) -> char* {
      auto& alloc = team.alloc();
      const auto grown = text.IsNull() ? alloc.Allocate<char>(HSHM_DEFAULT_MEM_CTX, size_bytes)
                                       : alloc.Reallocate(HSHM_DEFAULT_MEM_CTX, text, size_bytes);
      if (!grown.IsNull()) text = grown;
      return grown.ptr_;
    });
    team.alloc().SetRoot(kText, text);
    return size;
  } catch (...) {
    if (!text.IsNull()) team.alloc().Free(HSHM_DEFAULT_MEM_CTX, text);
    throw;
  }
}

/** Collective: the text of a compressed file, once per node. */
std::string_view SharedText(Team& team, const MatrixFile& file) {
  uint64_t size = 0;
  Together(team.all(), [&] {
    if (team.IsLeader()) size = UnpackIntoHeap(team, file);
  });
  MPI_Bcast(&size, 1, MPI_UINT64_T, 0, team.node());
  return {team.alloc().FindRoot<char>(kText).ptr_, size};
}

}  // namespace

std::unique_ptr<SharedMatrix> LoadShared(Team& team, const Options& options) {
  if (options.poisson_side_ != 0) {
    return std::make_unique<SharedMatrix>(team, Poisson(options.poisson_side_));
  }
  std::optional<MatrixFile> file;
  Together(team.all(), [&] { file.emplace(options.matrix_); });
  const std::string_view text = file->IsGzip() ? SharedText(team, *file) : file->bytes();
  std::optional<MarketSource> source;
  Together(team.all(), [&] { source.emplace(options.matrix_, text); });
  auto matrix = std::make_unique<SharedMatrix>(team, *source);
  if (file->IsGzip()) team.FreeShared<char>(kText);
  return matrix;
}

void WithPrivateSource(const Options& options,
                       const std::function<void(const MatrixSource&)>& use) {
  if (options.poisson_side_ != 0) return use(Poisson(options.poisson_side_));
  const MatrixFile file(options.matrix_);
  std::vector<char> unpacked;
  std::string_view text = file.bytes();
  if (file.IsGzip()) {
    const uint64_t size = file.Gunzip([&](uint64_t size_bytes) {
      unpacked.resize(size_bytes);
      return unpacked.data();
    });
    text = {unpacked.data(), size};
  }
  use(MarketSource(options.matrix_, text));
}

}  // namespace spmv
