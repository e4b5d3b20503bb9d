#include "progress.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <string>

namespace kmer_count {
namespace {

constexpr int kBarColumns = 40;
constexpr std::chrono::milliseconds kDrawInterval(100);

/** mpirun gives its ranks pipes and writes what comes out of them to its own standard error, so a
 * rank asks what that is. */
bool IsShownOnTerminal() {
  if (isatty(STDERR_FILENO)) return true;
  const std::string path = "/proc/" + std::to_string(getppid()) + "/fd/2";
  const int parents = open(path.c_str(), O_WRONLY | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
  if (parents < 0) return false;
  const bool is_terminal = isatty(parents);
  close(parents);
  return is_terminal;
}

}  // namespace

Progress::Progress(bool shown_here) : shown_(shown_here && IsShownOnTerminal()) {}

Progress::~Progress() {
  if (drawn_) std::fprintf(stderr, "\r%*s\r", kBarColumns + 7, "");
}

void Progress::Show(uint64_t done, uint64_t all) {
  if (!shown_ || all == 0) return;
  const auto now = std::chrono::steady_clock::now();
  if (now < next_draw_) return;
  next_draw_ = now + kDrawInterval;
  drawn_ = true;
  const double part = std::min(1.0, static_cast<double>(done) / static_cast<double>(all));
  std::string bar(static_cast<size_t>(part * kBarColumns), '#');
  bar.resize(kBarColumns, '.');
  std::fprintf(stderr, "\r[%s] %3.0f%%", bar.c_str(), 100 * part);
}

}  // namespace kmer_count
