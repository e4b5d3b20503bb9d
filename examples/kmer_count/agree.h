#ifndef HSHM_EXAMPLES_KMER_COUNT_AGREE_H_
#define HSHM_EXAMPLES_KMER_COUNT_AGREE_H_

#include <mpi.h>

#include <exception>
#include <stdexcept>
#include <string>

#include "input_error.h"

/** How one rank's failure becomes everybody's, so that nobody waits for a rank that gave up. */
namespace kmer_count {

enum ExitStatus { kDone = 0, kFailed = 1, kBadInput = 2 };

/** The same on all ranks: what() is the sentence of the lowest rank that failed. */
class Failure : public std::runtime_error {
 public:
  Failure(int status, const std::string& sentence)
      : std::runtime_error(sentence), status_(status) {}
  int status() const { return status_; }

 private:
  int status_;
};

/**
 * Collective. Returns when every rank calls it with kDone. Who waits sleeps: MPI's own waiting
 * would take processor time from ranks that still work. @throws Failure when a rank has another
 * status
 */
void Agree(MPI_Comm comm, int status, const std::string& sentence);

/** Collective: runs step on each rank. @throws Failure on all ranks when any step throws */
template <typename Step>
void Together(MPI_Comm comm, Step&& step) {
  int status = kDone;
  std::string sentence;
  try {
    step();
  } catch (const InputError& error) {
    status = kBadInput;
    sentence = error.what();
  } catch (const std::exception& error) {
    status = kFailed;
    sentence = error.what();
  }
  Agree(comm, status, sentence);
}

}  // namespace kmer_count

#endif  // HSHM_EXAMPLES_KMER_COUNT_AGREE_H_
