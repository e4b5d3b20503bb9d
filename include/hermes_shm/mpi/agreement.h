#ifndef HSHM_MPI_AGREEMENT_H_
#define HSHM_MPI_AGREEMENT_H_

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <exception>
#include <string>
#include <string_view>
#include <utility>

#include "hermes_shm/base/error.h"
#include "hermes_shm/mpi/mpi_c.h"

/**
 * How the ranks of a communicator come to one answer when a step can fail on any of them: each does
 * its part under Outcome::Try, then all call Agree. No rank waits for one that has given up.
 */
namespace hshm::mpi {

/** @throws Error kSystem when an MPI call failed and the communicator's error handler let it return
 */
inline void CheckMpi(int result, const char* call) {
  if (result == MPI_SUCCESS) return;
  char text[MPI_MAX_ERROR_STRING] = "";
  int length = 0;
  MPI_Error_string(result, text, &length);
  throw Error(ErrorCode::kSystem, std::string(call) + " failed: " + text +
                                      ". The other ranks may wait for this one: end the job.");
}

inline int RankIn(MPI_Comm comm) {
  int rank = 0;
  CheckMpi(MPI_Comm_rank(comm, &rank), "MPI_Comm_rank");
  return rank;
}

inline int SizeOf(MPI_Comm comm) {
  int size = 0;
  CheckMpi(MPI_Comm_size(comm, &size), "MPI_Comm_size");
  return size;
}

/** The name that MPI gives to the node of this rank. */
inline std::string HostName() {
  char host[MPI_MAX_PROCESSOR_NAME] = "";
  int length = 0;
  CheckMpi(MPI_Get_processor_name(host, &length), "MPI_Get_processor_name");
  return host;
}

/** One rank's failure, or none, in a form that can be sent to the other ranks. */
struct Failure {
  ErrorCode code_ = ErrorCode::kNone;
  int32_t os_errno_ = 0;
  char sentence_[2040] = "";  // cut when longer

  explicit operator bool() const { return code_ != ErrorCode::kNone; }
  [[noreturn]] void Throw() const { throw Error(code_, sentence_, os_errno_); }
};

/** How this rank's part of a sequence of steps went. Never throws, and allocates nothing. */
class Outcome {
 public:
  /** Runs step() unless one before it failed, and keeps what it throws. */
  template <typename Step>
  void Try(Step&& step) noexcept {
    if (failure_) return;
    try {
      std::forward<Step>(step)();
    } catch (const Error& error) {
      Keep(error.code(), error.os_errno(), SentenceOf(error));
    } catch (const std::exception& error) {
      Keep(ErrorCode::kSystem, 0, error.what());
    } catch (...) {
      Keep(ErrorCode::kSystem, 0, "An exception that is no std::exception was thrown.");
    }
  }

  const Failure& failure() const { return failure_; }

 private:
  /** what() without the "hshm: Code: " in front and the " [errno text]" behind that Error adds. */
  static std::string_view SentenceOf(const Error& error) {
    std::string_view text = error.what();
    const std::string_view code = ErrorCodeName(error.code());
    const size_t front = std::strlen("hshm: ") + code.size() + std::strlen(": ");
    if (text.size() >= front) text.remove_prefix(front);
    const size_t behind = text.rfind(" [");
    if (error.os_errno() != 0 && behind != std::string_view::npos) text = text.substr(0, behind);
    return text;
  }

  void Keep(ErrorCode code, int os_errno, std::string_view sentence) {
    failure_.code_ = code;
    failure_.os_errno_ = os_errno;
    const size_t length = std::min(sentence.size(), sizeof(failure_.sentence_) - 1);
    std::memcpy(failure_.sentence_, sentence.data(), length);
    failure_.sentence_[length] = '\0';
  }

  Failure failure_;
};

/**
 * Collective. The failure of the lowest rank that has one, its rank and host in front of the
 * sentence, the same on all ranks; none when all went well.
 */
inline Failure Agree(MPI_Comm comm, const Outcome& outcome) {
  const int rank = RankIn(comm);
  const int size = SizeOf(comm);
  int first = outcome.failure() ? rank : size;
  CheckMpi(MPI_Allreduce(MPI_IN_PLACE, &first, 1, MPI_INT, MPI_MIN, comm), "MPI_Allreduce");
  Failure agreed;
  if (first == size) return agreed;
  if (first == rank) {
    char host[MPI_MAX_PROCESSOR_NAME] = "";
    int length = 0;
    MPI_Get_processor_name(host, &length);
    agreed.code_ = outcome.failure().code_;
    agreed.os_errno_ = outcome.failure().os_errno_;
    std::snprintf(agreed.sentence_, sizeof(agreed.sentence_),
                  "rank %d of %d on host %.200s: %.1700s", rank, size, host,
                  outcome.failure().sentence_);
  }
  CheckMpi(MPI_Bcast(&agreed, sizeof(agreed), MPI_BYTE, first, comm), "MPI_Bcast");
  return agreed;
}

}  // namespace hshm::mpi

#endif  // HSHM_MPI_AGREEMENT_H_
