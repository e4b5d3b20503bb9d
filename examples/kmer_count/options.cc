#include "options.h"

#include <charconv>
#include <limits>
#include <string_view>

#include "input_error.h"
#include "kmer.h"

namespace kmer_count {
namespace {

/** Hands out the arguments one after the other. */
class Arguments {
 public:
  explicit Arguments(const std::vector<std::string>& all) : all_(all) {}

  bool Next(std::string& argument) {
    if (next_ == all_.size()) return false;
    argument = all_[next_++];
    return true;
  }

  /** The value of an option: what follows '=', else the next argument. */
  std::string Value(const std::string& option, std::string_view after_equals) {
    if (!after_equals.empty()) return std::string(after_equals.substr(1));
    std::string value;
    if (!Next(value)) throw InputError(option + " needs a value.");
    return value;
  }

 private:
  const std::vector<std::string>& all_;
  size_t next_ = 0;
};

int ParseK(const std::string& text) {
  int k = 0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, k);
  if (error != std::errc() || stop != end || k < 1 || k > kMaxK || k % 2 == 0) {
    throw InputError("--k must be an odd number from 1 to " + std::to_string(kMaxK) +
                     ", and it is '" + text + "'.");
  }
  return k;
}

void SetMode(Options& options, Mode mode) {
  if (options.mode_ != Mode::kShared && options.mode_ != mode) {
    throw InputError("--serial and --replicated exclude each other.");
  }
  options.mode_ = mode;
}

void ParseOne(Options& options, const std::string& argument, Arguments& arguments) {
  const size_t equals = argument.find('=');
  const std::string name = argument.substr(0, equals);
  const std::string_view after =
      equals == std::string::npos ? std::string_view() : std::string_view(argument).substr(equals);
  if (name == "--k" || name == "-k") {
    options.k_ = ParseK(arguments.Value(name, after));
  } else if (name == "--heap") {
    options.heap_bytes_ = ParseBytes(arguments.Value(name, after));
  } else if (argument == "--serial") {
    SetMode(options, Mode::kSerial);
  } else if (argument == "--replicated") {
    SetMode(options, Mode::kReplicated);
  } else if (argument == "--verify") {
    options.verify_ = true;
  } else if (argument == "--help" || argument == "-h") {
    options.help_ = true;
  } else if (argument.size() > 1 && argument[0] == '-') {
    throw InputError("There is no option " + argument + "; --help lists those that there are.");
  } else if (!options.genome_.empty()) {
    throw InputError("One genome at a time: '" + options.genome_ + "' and '" + argument +
                     "' were given.");
  } else {
    options.genome_ = argument;
  }
}

}  // namespace

const char kUsage[] =
    "usage: mpirun -np N kmer_count GENOME.fa[.gz|.xz] [options]\n"
    "Counts the words of k bases of a genome, in one map that the ranks of a node share.\n"
    "  --k K         length of a word, odd, 1 to 31 (default 31)\n"
    "  --heap SIZE   capacity of the shared heap, such as 2G (default: half of what is free)\n"
    "  --replicated  instead, every rank counts everything in memory of its own\n"
    "  --serial      instead, rank 0 alone counts in a std::unordered_map\n"
    "  --verify      count again in a std::unordered_map and compare\n"
    "The spectrum goes to standard output; times, memory and errors to standard error.\n"
    "Exit status: 0 done, 1 failed or not verified, 2 bad input.\n";

uint64_t ParseBytes(const std::string& text) {
  uint64_t bytes = 0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, bytes);
  std::string unit(stop, end);
  for (char& c : unit) c = static_cast<char>(c | 0x20);  // to lower case
  if (unit.size() == 2 && unit[1] == 'b') unit.pop_back();
  if (unit.size() == 3 && unit.ends_with("ib")) unit.resize(1);
  const size_t power = unit.empty() ? 0 : std::string_view("kmgt").find(unit) + 1;
  const bool known = unit.empty() || (unit.size() == 1 && power >= 1 && power <= 4);
  if (error != std::errc() || !known || bytes == 0 ||
      bytes > (std::numeric_limits<uint64_t>::max() >> (10 * power))) {
    throw InputError("A size is a number of bytes, or one with k, M, G or T, not '" + text + "'.");
  }
  return bytes << (10 * power);
}

Options ParseOptions(const std::vector<std::string>& all) {
  Options options;
  Arguments arguments(all);
  std::string argument;
  while (arguments.Next(argument)) ParseOne(options, argument, arguments);
  if (options.genome_.empty() && !options.help_) {
    throw InputError("No genome was given; --help shows how.");
  }
  return options;
}

}  // namespace kmer_count
