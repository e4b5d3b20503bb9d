#ifndef HSHM_DATA_STRUCTURES_HASH_H_
#define HSHM_DATA_STRUCTURES_HASH_H_

#include <concepts>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "hermes_shm/base/macros.h"

namespace hshm::ipc {

/**
 * The 64-bit finaliser of MurmurHash3 (A. Appleby): a bijection in which each input bit changes
 * each output bit with a probability close to 1/2. Both ends of the result are used: see
 * unordered_map.
 */
HSHM_INLINE_CROSS_FUN constexpr uint64_t MixBits(uint64_t bits) {
  bits ^= bits >> 33;
  bits *= 0xff51afd7ed558ccd;
  bits ^= bits >> 33;
  bits *= 0xc4ceb9fe1a85ec53;
  return bits ^ (bits >> 33);
}

/** True for types of which equal values have equal bytes: no padding, no floating point. */
template <typename Key>
concept HashableBytes =
    std::is_trivially_copyable_v<Key> && std::has_unique_object_representations_v<Key>;

/**
 * The same number for equal keys in every process, which std::hash does not promise. A hash of
 * one's own must be as well mixed in its highest and lowest bits: end it in MixBits.
 */
template <HashableBytes Key>
struct Hash {
  HSHM_INLINE_CROSS_FUN constexpr uint64_t operator()(const Key& key) const noexcept {
    if constexpr (std::is_integral_v<Key> || std::is_enum_v<Key>) {
      return MixBits(static_cast<uint64_t>(key));
    } else {
      return OfBytes(&key);
    }
  }

 private:
  HSHM_INLINE_CROSS_FUN static uint64_t OfBytes(const Key* key) noexcept {
    constexpr uint64_t kGolden = 0x9e3779b97f4a7c15;  // keeps words of zeroes apart
    const char* bytes = reinterpret_cast<const char*>(key);
    uint64_t hash = sizeof(Key);
    for (size_t done = 0; done < sizeof(Key); done += sizeof(uint64_t)) {
      uint64_t word = 0;
      const size_t left = sizeof(Key) - done;
      std::memcpy(&word, bytes + done, left < sizeof(word) ? left : sizeof(word));
      hash = MixBits(hash + word + kGolden);
    }
    return hash;
  }
};

}  // namespace hshm::ipc

#endif  // HSHM_DATA_STRUCTURES_HASH_H_
