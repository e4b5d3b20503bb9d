#ifndef HSHM_EXAMPLES_KMER_COUNT_REPORT_H_
#define HSHM_EXAMPLES_KMER_COUNT_REPORT_H_

#include "figures.h"
#include "options.h"
#include "spectrum.h"

namespace kmer_count {

/** The result, to standard output: the same text however it was counted. */
void PrintSpectrum(const Options& options, const Spectrum& spectrum);

/** Times and memory, to standard error. */
void PrintFigures(const Options& options, const Figures& figures);

}  // namespace kmer_count

#endif  // HSHM_EXAMPLES_KMER_COUNT_REPORT_H_
