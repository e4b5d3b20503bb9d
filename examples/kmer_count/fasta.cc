#include "fasta.h"

#include <cctype>
#include <cstdio>

#include "input_error.h"

namespace kmer_count {
namespace {

constexpr std::array<uint8_t, 256> MakeByteClasses() {
  std::array<uint8_t, 256> classes{};
  classes.fill(kOther);
  for (int i = 0; i < 26; ++i) classes['A' + i] = classes['a' + i] = kBreak;
  for (char c : {'-', '*'}) classes[c] = kBreak;
  for (char c : {' ', '\t', '\n', '\r', '\v', '\f'}) classes[c] = kBlank;
  for (int base = 0; base < 4; ++base) {
    classes["ACGT"[base]] = static_cast<uint8_t>(base);
    classes["acgt"[base]] = static_cast<uint8_t>(base);
  }
  return classes;
}

bool IsLineEnd(char c) { return c == '\n' || c == '\r'; }

/** Where the line with pos begins, looking back at most kMaxHeaderBytes; else where it gave up. */
uint64_t StartOfLine(std::string_view text, uint64_t pos) {
  const uint64_t limit = pos > kMaxHeaderBytes ? pos - kMaxHeaderBytes : 0;
  while (pos > limit && !IsLineEnd(text[pos - 1])) --pos;
  return pos;
}

bool BeginsLine(std::string_view text, uint64_t pos) {
  return pos == 0 || IsLineEnd(text[pos - 1]);
}

}  // namespace

const std::array<uint8_t, 256> kByteClass = MakeByteClasses();

uint64_t EndOfLine(std::string_view text, uint64_t pos) {
  while (pos < text.size() && !IsLineEnd(text[pos])) ++pos;
  return pos;
}

bool IsInsideHeader(std::string_view text, uint64_t pos) {
  const uint64_t start = StartOfLine(text, pos);
  return start < pos && text[start] == '>' && BeginsLine(text, start);
}

bool IsHeaderStart(std::string_view text, uint64_t pos) {
  return text[pos] == '>' && BeginsLine(text, pos) &&
         EndOfLine(text.substr(0, pos + kMaxHeaderBytes + 1), pos) - pos <= kMaxHeaderBytes;
}

void CheckFasta(std::string_view text, const std::string& name) {
  constexpr std::string_view kBlanks = " \t\n\r\v\f";
  const size_t first = text.find_first_not_of(kBlanks);
  if (first == std::string_view::npos) throw InputError(name + " is empty.");
  if (text[first] != '>') {
    throw InputError(name + " is not FASTA, plain or compressed with gzip or xz: its first " +
                     "character is not '>'.");
  }
  const uint64_t last_line = StartOfLine(text, text.find_last_not_of(kBlanks));
  if (text[last_line] == '>' && BeginsLine(text, last_line)) {
    throw InputError(name + " is truncated: it ends with a header that no sequence follows.");
  }
}

std::string DescribeBadByte(std::string_view text, uint64_t pos, const std::string& name) {
  if (text[pos] == '>' && BeginsLine(text, pos)) {
    return name + " has a header line of more than " + std::to_string(kMaxHeaderBytes) +
           " bytes, at byte " + std::to_string(pos) + ".";
  }
  const auto byte = static_cast<uint8_t>(text[pos]);
  char spelled[8];
  std::snprintf(spelled, sizeof(spelled), std::isgraph(byte) ? "'%c'" : "0x%02x", byte);
  return name + " is not FASTA: " + spelled + " at byte " + std::to_string(pos) +
         " is no letter of a sequence.";
}

}  // namespace kmer_count
