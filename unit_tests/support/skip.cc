/**
 * Which test cases were skipped, said at the end of each test program. Catch2 knows no such thing
 * before its version 3.3; and its exit status is of no use to CTest, for it may be the number of
 * assertions that failed. So CTest looks for the last sentence here.
 */
#include "support/skip.h"

#include <cstdio>

#define CATCH_CONFIG_EXTERNAL_INTERFACES  // of version 2: listeners

#include "support/catch.h"

namespace hshm::test {
namespace {

bool is_skipped = false;  // the test case that runs

#if CATCH_VERSION_MAJOR >= 3
using Listener = Catch::EventListenerBase;
#else
using Listener = Catch::TestEventListenerBase;
#endif

class SkippedCases : public Listener {
 public:
  using Listener::Listener;

  void testCaseStarting(const Catch::TestCaseInfo& info) override {
    Listener::testCaseStarting(info);
    is_skipped = false;
  }
  void testCaseEnded(const Catch::TestCaseStats& stats) override {
    Listener::testCaseEnded(stats);
    if (is_skipped && stats.totals.assertions.failed == 0) ++skipped_;
  }
  void testRunEnded(const Catch::TestRunStats& stats) override {
    Listener::testRunEnded(stats);
    const auto& cases = stats.totals.testCases;
    if (skipped_ == 0) return;
    std::fflush(stdout);
    if (skipped_ == cases.total()) {
      std::fprintf(stderr, "skipped: all test cases of this program\n");
    } else {
      std::fprintf(stderr, "skipped: %zu of %zu test cases of this program\n", skipped_,
                   static_cast<size_t>(cases.total()));
    }
  }

 private:
  size_t skipped_ = 0;
};
CATCH_REGISTER_LISTENER(SkippedCases)

}  // namespace

void Skip(const std::string& reason) {
  is_skipped = true;
#ifdef SKIP
  SKIP("skipped: " << reason);
#else
  WARN("skipped: " << reason);
  throw Catch::TestFailureException();  // ends the case, and fails nothing
#endif
}

}  // namespace hshm::test
