#include "node_counter.h"

#include <algorithm>
#include <stdexcept>
#include <string>

#include "fasta.h"
#include "input_error.h"

namespace kmer_count {
namespace {

/** Text in the heap that the ranks share. Frees it unless it was released. */
class HeapText final : public TextBuffer {
 public:
  explicit HeapText(hipc::MultiProcessAllocator& alloc) : alloc_(alloc) {}
  ~HeapText() override {
    if (!offset_.IsNull()) alloc_.FreeOffset(HSHM_DEFAULT_MEM_CTX, offset_);
  }

  char* Resize(uint64_t size_bytes) override {
    const auto grown = alloc_.ReallocateOffset(HSHM_DEFAULT_MEM_CTX, offset_, size_bytes);
    if (grown.IsNull()) return nullptr;
    offset_ = grown;
    return alloc_.Convert(hipc::OffsetPtr<char>(offset_.load()));
  }

  uint64_t Release() {
    const uint64_t offset = offset_.load();
    offset_.SetNull();
    return offset;
  }

 private:
  hipc::MultiProcessAllocator& alloc_;
  hipc::OffsetPtr<> offset_;
};

}  // namespace

NodeCounter::NodeCounter(hshm::mpi::NodeHeap& heap, const GenomeFile& file, int k, MPI_Comm comm,
                         const Nodes& nodes)
    : heap_(heap),
      alloc_(*heap.allocator()),
      file_(file),
      k_(k),
      nodes_(nodes),
      node_(nodes.NodeOf(hshm::mpi::RankIn(comm))),
      exchange_(comm, nodes),
      state_(alloc_.GetCustomHeader<SharedState>()) {}

void NodeCounter::Prepare() {
  if (!heap_.is_leader()) return;
  if (file_.compression() != Compression::kNone) {
    HeapText text(alloc_);
    state_->text_bytes_ = file_.Decompress(text);
    state_->text_offset_ = text.Release();
  }
  map_.shm_init(&alloc_, MapOptions());
  state_->map_offset_ = map_.offset().load();
  ring_.shm_init(&alloc_, kRingParcels);
  state_->ring_offset_ = ring_.offset().load();
}

/** Tables of the final size from the start: growing leaves holes between the ranks' pages. */
NodeCounter::Map::Options NodeCounter::MapOptions() const {
  constexpr uint64_t kBytesPerEntry = 64;  // so that a wrong guess leaves most of the heap free
  const uint64_t text_bytes =
      state_->text_offset_ == 0 ? file_.bytes().size() : state_->text_bytes_;
  Map::Options options;
  const uint64_t all = MaxDistinct(text_bytes, k_);
  options.expected_entries_ = std::min(nodes_.BeginOf(node_ + 1, all) - nodes_.BeginOf(node_, all),
                                       alloc_.GetRegion().size_bytes_ / kBytesPerEntry);
  return options;
}

void NodeCounter::Join() {
  text_ = file_.bytes();
  if (state_->text_offset_ != 0) {
    text_ = {alloc_.Convert(hipc::OffsetPtr<char>(state_->text_offset_)), state_->text_bytes_};
  }
  CheckFasta(text_, file_.path());
  const uint64_t slices = (text_.size() + kSliceBytes - 1) / kSliceBytes;
  first_slice_ = nodes_.BeginOf(node_, slices);
  end_slice_ = nodes_.BeginOf(node_ + 1, slices);
  if (heap_.is_leader()) return;
  map_.shm_attach(&alloc_, hipc::OffsetPtr<>(state_->map_offset_));
  ring_.shm_attach(&alloc_, hipc::OffsetPtr<>(state_->ring_offset_));
}

uint64_t NodeCounter::CountNextSlice() {
  // relaxed: the counter orders nothing but itself; the text was ready before the barrier
  const uint64_t taken = state_->next_slice_.fetch_add(1, std::memory_order_relaxed);
  if (taken >= end_slice_ - first_slice_) return 0;
  const uint64_t begin = (first_slice_ + taken) * kSliceBytes;
  const uint64_t end = std::min<uint64_t>(begin + kSliceBytes, text_.size());
  const uint64_t bad = ScanSliceAt(begin, end);
  if (bad != kNoBadByte) throw InputError(DescribeBadByte(text_, bad, file_.path()));
  exchange_.Receive([this](Kmer kmer) { Add(kmer); });
  if (exchange_.HasHeardOfFailure()) StopNode();
  return taken + 1;
}

/** @return as ScanSlice does */
uint64_t NodeCounter::ScanSliceAt(uint64_t begin, uint64_t end) {
  const auto add = [this](Kmer kmer) { Add(kmer); };
  if (nodes_.count() == 1) return ScanSlice(text_, begin, end, k_, add);
  return ScanSlice(text_, begin, end, k_, [&](Kmer kmer) {
    const int owner = nodes_.OwnerOf(kmer);
    if (owner == node_) {
      add(kmer);
    } else {
      exchange_.Send(owner, kmer, add);
    }
  });
}

void NodeCounter::Add(Kmer kmer) {
  map_.prefetch(kmer);
  Kmer& place = waiting_[added_ % kLookAhead];
  if (added_ >= kLookAhead) AddNow(place);
  place = kmer;
  ++added_;
}

void NodeCounter::AddNow(Kmer kmer) {
  const hipc::MapResult result = map_.upsert(kmer, [](uint32_t& count) { ++count; });
  if (result == hipc::MapResult::kNoRoom) {
    throw std::runtime_error("NoSpace: the shared heap of " +
                             std::to_string(alloc_.GetRegion().size_bytes_ >> 20) +
                             " MiB is full: give a larger --heap, or the host a larger /dev/shm.");
  }
}

void NodeCounter::Flush() {
  const uint64_t waiting = std::min(added_, kLookAhead);
  for (uint64_t i = 0; i < waiting; ++i) AddNow(waiting_[i]);
  added_ = 0;
}

void NodeCounter::Prune() {
  const auto parts = static_cast<uint64_t>(heap_.node_size());
  const uint64_t part = (static_cast<uint64_t>(heap_.node_rank()) + 1) % parts;
  map_.erase_if(part, parts, [this](const Kmer& kmer, const uint32_t& count) {
    spectrum_.Add({kmer, count});
    return count == 1;
  });
}

void NodeCounter::HandOver() {
  if (heap_.is_leader()) {
    Receive(ring_, heap_.node_size() - 1, spectrum_);
  } else {
    Send(ring_, spectrum_);
  }
}

void NodeCounter::Clear() {
  if (!heap_.is_leader()) return;
  map_.shm_destroy();
  ring_.shm_destroy();
  if (state_->text_offset_ != 0) {
    alloc_.FreeOffset(HSHM_DEFAULT_MEM_CTX, hipc::OffsetPtr<>(state_->text_offset_));
  }
}

}  // namespace kmer_count
