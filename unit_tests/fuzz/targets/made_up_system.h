#ifndef HSHM_UNIT_TESTS_FUZZ_TARGETS_MADE_UP_SYSTEM_H_
#define HSHM_UNIT_TESTS_FUZZ_TARGETS_MADE_UP_SYSTEM_H_

#include <csetjmp>
#include <cstdint>

#include "hermes_shm/memory/backend/region.h"

/**
 * What a fuzzer has in the place of some of the library's own files, so that a million inputs take
 * a minute:
 *
 *   base/defects.cc           a defect ends the call that met it, not the process
 *   platform/futex            waiting takes no time, and is counted
 *   platform/process          process 1 of the first boot
 *   platform/private_pages    memory of malloc(), whose ends the sanitizer watches
 *
 * A call that a defect has ended unwinds nothing: what it held is lost, as with a killed process.
 */
namespace hshm::fuzz {

/** Ends the fuzzer with a sentence: a promise was broken. */
[[noreturn]] void Fail(const char* what, const char* about = "");

/** A new input: nobody has waited, and who waits for a lock does so in this region, if in any. */
void BeginWaits(const ipc::Region* region);

namespace detail {
extern std::jmp_buf* way_back;
extern const char* defect;
extern const char* about;
}  // namespace detail

/**
 * Runs body(), which throws nothing. @return the name of the defect that ended it, null when it
 * came to its end
 */
template <typename Body>
const char* DefectIn(Body body) {
  static_assert(noexcept(body()));
  std::jmp_buf here;
  detail::defect = nullptr;
  detail::way_back = &here;
  if (setjmp(here) == 0) body();
  detail::way_back = nullptr;
  return detail::defect;
}

}  // namespace hshm::fuzz

#endif  // HSHM_UNIT_TESTS_FUZZ_TARGETS_MADE_UP_SYSTEM_H_
