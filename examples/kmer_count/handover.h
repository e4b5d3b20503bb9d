#ifndef HSHM_EXAMPLES_KMER_COUNT_HANDOVER_H_
#define HSHM_EXAMPLES_KMER_COUNT_HANDOVER_H_

#include "hermes_shm/data_structures/ring_buffer.h"
#include "hermes_shm/memory/allocator/multi_process_allocator.h"
#include "spectrum.h"

/** How the ranks' parts of a spectrum reach the rank that adds them up: through a ring buffer in
 * the shared heap, a few words at a time. */
namespace kmer_count {

struct Parcel {
  enum Content : uint64_t { kNumber, kTopKmer, kLast };
  Content content_;
  uint64_t count_;
  uint64_t value_;  // how many k-mers, or which one
};

using ParcelRing = hipc::ring_buffer<Parcel, hipc::MultiProcessAllocator, hipc::RingKind::kMpsc>;

/** Pushes a whole spectrum. @throws std::runtime_error when nobody takes it */
void Send(ParcelRing& ring, const Spectrum& spectrum);

/** Adds to `spectrum` what `senders` ranks send. @throws std::runtime_error when one does not */
void Receive(ParcelRing& ring, int senders, Spectrum& spectrum);

}  // namespace kmer_count

#endif  // HSHM_EXAMPLES_KMER_COUNT_HANDOVER_H_
