#ifndef HSHM_EXAMPLES_SPMV_AGREE_H_
#define HSHM_EXAMPLES_SPMV_AGREE_H_

#include <mpi.h>

#include <exception>
#include <stdexcept>
#include <string>

#include "input_error.h"

/** What fails on one rank fails on all, so that nobody waits for a rank that gave up. */
namespace spmv {

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

/** Collective. @throws Failure on all ranks when one of them has another status than kDone */
void Agree(MPI_Comm comm, int status, const std::string& sentence);

/** Collective: runs step on each rank. @throws Failure on all ranks when it throws on any */
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

}  // namespace spmv

#endif  // HSHM_EXAMPLES_SPMV_AGREE_H_
