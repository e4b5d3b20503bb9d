#ifndef HSHM_EXAMPLES_KMER_COUNT_EXCHANGE_H_
#define HSHM_EXAMPLES_KMER_COUNT_EXCHANGE_H_

#include <mpi.h>

#include <cstdint>
#include <vector>

#include "kmer.h"
#include "nodes.h"

namespace kmer_count {

/**
 * How k-mers come to the nodes that count them. A rank collects those for each other node in
 * batches, and sends a full one to its partner there; see Nodes::PartnerOf. MPI_THREAD_SINGLE is
 * enough.
 *
 * Memory    A rank has two batches for each node that it sends to, one that fills and one on its
 *           way, and one for each rank that sends to it: at most about kMaxSendBytes both ways. A
 *           send is synchronous, so nothing piles up inside MPI before a slow receiver.
 * No knot   Who waits for a batch to be taken takes what comes meanwhile. So of ranks that wait for
 *           each other each makes room for the other, and no rank waits for all, as in rounds of
 *           MPI_Alltoallv, when one node's text is slower to read.
 * The end   Finish tells each receiver with the last batch, which may be empty, that it is the
 *           last. A rank that fails says so in it; who hears that can stop early.
 */
class Exchange {
 public:
  /** The communicator's point-to-point messages with tag kTag are the exchange's from Start to the
   * end. */
  Exchange(MPI_Comm comm, const Nodes& nodes);
  Exchange(const Exchange&) = delete;
  Exchange& operator=(const Exchange&) = delete;

  /** Before everything else; whoever starts must also Finish or GiveUp. */
  void Start() { ExpectAll(); }

  /** Gives a k-mer on its way to another node. take(kmer) gets those that come meanwhile. */
  template <typename Take>
  void Send(int node, Kmer kmer, Take&& take) {
    Outgoing& out = outgoing_[node];
    std::vector<uint64_t>& batch = out.batches_[out.filling_];
    batch.push_back(kmer);
    if (batch.size() < batch_words_) return;
    SendBatch(out, kMore);
    WaitFor([&] { return IsFillable(out); }, take);
  }

  /** Calls take(kmer) for all that have come by now. @return whether any batch had come */
  template <typename Take>
  bool Receive(Take&& take) {
    bool has_come = false;
    for (int place = 0; (place = NextArrived()) >= 0; has_come = true) {
      const Incoming& in = incoming_[place];
      for (size_t i = kHeadWords; i < in.words_; ++i) take(Kmer{in.batch_[i]});
      Expect(place);
    }
    return has_come;
  }

  /** Sends what is left, and returns when all has come from everybody. Each rank calls it, once. */
  template <typename Take>
  void Finish(Take&& take) {
    FinishAs(kLast, take);
  }

  /** Finish of a rank that failed, in any call or outside: what still comes is thrown away. */
  void GiveUp() {
    ExpectAll();
    FinishAs(kGaveUp, [](Kmer) {});
  }

  /** A rank that sends to this one has failed: the job is lost, and there is no use in going on. */
  bool HasHeardOfFailure() const { return has_heard_of_failure_; }

 private:
  static constexpr int kTag = 31;
  static constexpr size_t kHeadWords = 1;         // a Kind
  static constexpr size_t kMaxBatchWords = 8192;  // 64 KiB: a network's full speed, far below a
                                                  // second-level cache
  static constexpr size_t kMinBatchWords = 512;   // 4 KiB: below, the network is mostly start-up
  static constexpr size_t kMaxSendBytes = size_t{8} << 20;

  enum Kind : uint64_t { kMore, kLast, kGaveUp };

  /** What is on its way to one node. */
  struct Outgoing {
    int partner_ = -1;
    std::vector<uint64_t> batches_[2];
    MPI_Request requests_[2] = {MPI_REQUEST_NULL, MPI_REQUEST_NULL};
    int filling_ = 0;
    bool has_ended_ = false;  // the last batch is on its way
  };

  /** What comes from one rank. */
  struct Incoming {
    int sender_;
    std::vector<uint64_t> batch_;
    size_t words_ = 0;          // in batch_, its head included
    bool has_ended_ = false;    // no batch comes after this one
    bool is_expected_ = false;  // MPI has the batch; else it is ours
  };

  void SendBatch(Outgoing& out, Kind kind);
  bool IsFillable(Outgoing& out);
  int NextArrived();
  void Expect(int place);
  void ExpectAll() {
    for (size_t place = 0; place < incoming_.size(); ++place) Expect(static_cast<int>(place));
  }
  bool IsAllSent();
  bool HasAllCome() const { return ended_ == incoming_.size(); }
  static void Nap();

  template <typename Done, typename Take>
  void WaitFor(Done&& done, Take& take) {
    while (!done()) {
      if (!Receive(take)) Nap();
    }
  }

  template <typename Take>
  void FinishAs(Kind kind, Take&& take) {
    for (Outgoing& out : outgoing_) {
      if (out.partner_ < 0 || out.has_ended_) continue;
      WaitFor([&] { return IsFillable(out); }, take);  // GiveUp may come while a Send waits
      SendBatch(out, kind);
    }
    WaitFor([&] { return IsAllSent() && HasAllCome(); }, take);
  }

  MPI_Comm comm_;
  size_t batch_words_;
  std::vector<Outgoing> outgoing_;  // by node; none to the own
  std::vector<Incoming> incoming_;
  std::vector<MPI_Request> arrivals_;  // of incoming_, in its order
  size_t ended_ = 0;
  bool has_heard_of_failure_ = false;
};

}  // namespace kmer_count

#endif  // HSHM_EXAMPLES_KMER_COUNT_EXCHANGE_H_
