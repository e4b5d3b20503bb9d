#ifndef HSHM_EXAMPLES_KMER_COUNT_FASTA_H_
#define HSHM_EXAMPLES_KMER_COUNT_FASTA_H_

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "kmer.h"

/**
 * FASTA text: records of one header line, which begins with '>', and lines of letters. Any of LF,
 * CRLF and CR ends a line; case does not matter; a letter other than A, C, G, T ends the k-mers
 * around it, as does a header.
 *
 * Any range of bytes can be scanned on its own: a k-mer belongs to the slice in which its first
 * base stands, so a scan reads up to k-1 bases beyond its end, and slices that cover the text give
 * each k-mer exactly once, however many there are.
 */
namespace kmer_count {

/** What a byte means in a line of letters. Values below 4 are the bases themselves. */
enum ByteClass : uint8_t { kBreak = 4, kBlank = 5, kOther = 6 };

/** Class of each byte: ACGT 0 to 3; other letters, '-' and '*' break; blanks and line ends. */
extern const std::array<uint8_t, 256> kByteClass;

inline constexpr uint64_t kNoBadByte = ~uint64_t{0};

/** A longer header line is refused, so that finding out whether a slice begins inside of one takes
 * bounded time in a genome without line ends. */
inline constexpr uint64_t kMaxHeaderBytes = 64 * 1024;

/** Position of the end of the line that pos is in: of a CR or LF, or the text's size. */
uint64_t EndOfLine(std::string_view text, uint64_t pos);

/** True when pos is in a header line, after its '>'. */
bool IsInsideHeader(std::string_view text, uint64_t pos);

/** True when a header line of permitted length begins at pos. */
bool IsHeaderStart(std::string_view text, uint64_t pos);

/** @throws InputError when the text, as a whole, cannot be FASTA or ends after a header */
void CheckFasta(std::string_view text, const std::string& name);

/** One sentence about the byte at which ScanSlice stopped. */
std::string DescribeBadByte(std::string_view text, uint64_t pos, const std::string& name);

/**
 * Calls visit(kmer) for the canonical form of each k-mer whose first base stands in [begin, end).
 * @return position of the first byte that has no place in FASTA, or kNoBadByte
 */
template <typename Visit>
uint64_t ScanSlice(std::string_view text, uint64_t begin, uint64_t end, int k, Visit&& visit) {
  KmerRoller roller(k);
  uint64_t pos = IsInsideHeader(text, begin) ? EndOfLine(text, begin) : begin;
  for (; pos < end; ++pos) {
    const uint8_t what = kByteClass[static_cast<uint8_t>(text[pos])];
    if (what < 4) {
      if (roller.Push(what)) visit(roller.Canonical());
    } else if (what != kBlank) {
      roller.Break();
      if (what == kBreak) continue;
      if (!IsHeaderStart(text, pos)) return pos;
      pos = EndOfLine(text, pos);
    }
  }
  // Bases beyond the end complete the k-mers that began before it.
  for (int beyond = 0; roller.run() > 0 && beyond < k - 1 && pos < text.size(); ++pos) {
    const uint8_t what = kByteClass[static_cast<uint8_t>(text[pos])];
    if (what == kBlank) continue;
    if (what >= 4) break;
    ++beyond;
    if (roller.Push(what)) visit(roller.Canonical());
  }
  return kNoBadByte;
}

}  // namespace kmer_count

#endif  // HSHM_EXAMPLES_KMER_COUNT_FASTA_H_
