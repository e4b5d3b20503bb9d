#include "handover.h"

#include <stdexcept>

namespace kmer_count {
namespace {

constexpr uint64_t kPatienceUs = 60'000'000;  // a rank that is not heard of for so long is stuck

void Push(ParcelRing& ring, Parcel::Content content, uint64_t count, uint64_t value) {
  if (ring.push({content, count, value}, kPatienceUs) != hipc::RingResult::kDone) {
    throw std::runtime_error("Nobody takes this rank's results from the ring buffer.");
  }
}

}  // namespace

void Send(ParcelRing& ring, const Spectrum& spectrum) {
  for (const auto& [count, number] : spectrum.numbers()) {
    Push(ring, Parcel::kNumber, count, number);
  }
  for (const CountedKmer& top : spectrum.top()) Push(ring, Parcel::kTopKmer, top.count_, top.kmer_);
  Push(ring, Parcel::kLast, 0, 0);
}

void Receive(ParcelRing& ring, int senders, Spectrum& spectrum) {
  while (senders > 0) {
    Parcel parcel;
    if (ring.pop(parcel, kPatienceUs) != hipc::RingResult::kDone) {
      throw std::runtime_error("Another rank's results do not come through the ring buffer.");
    }
    const auto count = static_cast<uint32_t>(parcel.count_);
    switch (parcel.content_) {
      case Parcel::kNumber:
        spectrum.AddNumber(count, parcel.value_);
        break;
      case Parcel::kTopKmer:
        spectrum.AddTop({parcel.value_, count});
        break;
      case Parcel::kLast:
        --senders;
        break;
    }
  }
}

}  // namespace kmer_count
