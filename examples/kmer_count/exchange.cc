#include "exchange.h"

#include <algorithm>
#include <chrono>
#include <thread>

namespace kmer_count {

Exchange::Exchange(MPI_Comm comm, const Nodes& nodes) : comm_(comm), outgoing_(nodes.count()) {
  int rank = 0;
  MPI_Comm_rank(comm, &rank);
  const size_t batches = 2 * std::max<size_t>(1, outgoing_.size() - 1);
  batch_words_ =
      std::clamp(kMaxSendBytes / sizeof(uint64_t) / batches, kMinBatchWords, kMaxBatchWords);
  for (int node = 0; node < nodes.count(); ++node) {
    if (node == nodes.NodeOf(rank)) continue;
    Outgoing& out = outgoing_[node];
    out.partner_ = nodes.PartnerOf(rank, node);
    for (auto& batch : out.batches_) {
      batch.reserve(batch_words_);
      batch.assign(kHeadWords, kMore);
    }
  }
  if (nodes.count() == 1) return;
  for (const int sender : nodes.PartneredBy(rank)) {
    incoming_.push_back({sender, std::vector<uint64_t>(batch_words_)});
  }
  arrivals_.resize(incoming_.size(), MPI_REQUEST_NULL);
}

/** Hands the filling batch to MPI; the other one fills from now on, once it IsFillable. */
void Exchange::SendBatch(Outgoing& out, Kind kind) {
  std::vector<uint64_t>& batch = out.batches_[out.filling_];
  if (kind == kGaveUp) batch.resize(kHeadWords);
  batch[0] = kind;
  MPI_Issend(batch.data(), static_cast<int>(batch.size()), MPI_UINT64_T, out.partner_, kTag, comm_,
             &out.requests_[out.filling_]);
  out.filling_ ^= 1;
  out.has_ended_ = kind != kMore;
}

/** Whether the batch that is to fill has been received; then it is empty, but for its head. */
bool Exchange::IsFillable(Outgoing& out) {
  MPI_Request& request = out.requests_[out.filling_];
  if (request == MPI_REQUEST_NULL) return true;
  int is_done = 0;
  MPI_Test(&request, &is_done, MPI_STATUS_IGNORE);
  if (is_done != 0) out.batches_[out.filling_].resize(kHeadWords);
  return is_done != 0;
}

/** @return place in incoming_ of a batch that has come and is ours now; -1 when there is none */
int Exchange::NextArrived() {
  int place = MPI_UNDEFINED;
  int has_come = 0;
  MPI_Status status;
  MPI_Testany(static_cast<int>(arrivals_.size()), arrivals_.data(), &place, &has_come, &status);
  if (has_come == 0 || place == MPI_UNDEFINED) return -1;
  Incoming& in = incoming_[place];
  int words = 0;
  MPI_Get_count(&status, MPI_UINT64_T, &words);
  in.words_ = static_cast<size_t>(words);
  in.is_expected_ = false;
  in.has_ended_ = in.batch_[0] != kMore;
  if (in.has_ended_) ++ended_;
  if (in.batch_[0] == kGaveUp) has_heard_of_failure_ = true;
  return place;
}

/** Lets the next batch of a sender come, if there is one and MPI does not wait for it yet. */
void Exchange::Expect(int place) {
  Incoming& in = incoming_[place];
  if (in.has_ended_ || in.is_expected_) return;
  in.is_expected_ = true;
  MPI_Irecv(in.batch_.data(), static_cast<int>(in.batch_.size()), MPI_UINT64_T, in.sender_, kTag,
            comm_, &arrivals_[place]);
}

bool Exchange::IsAllSent() {
  for (Outgoing& out : outgoing_) {
    int is_done = 0;
    MPI_Testall(2, out.requests_, &is_done, MPI_STATUSES_IGNORE);
    if (is_done == 0) return false;
  }
  return true;
}

/** A core that has nothing to do is left to a rank that has. A batch takes a millisecond to count,
 * so so short a pause costs nothing. */
void Exchange::Nap() { std::this_thread::sleep_for(std::chrono::microseconds(50)); }

}  // namespace kmer_count
