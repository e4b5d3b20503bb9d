#include "options.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <iterator>
#include <optional>
#include <string_view>

#include "input_error.h"
#include "poisson.h"

namespace spmv {
namespace {

/** One argument, and the ones behind it that may be its value: `--name value` or `--name=value`. */
struct Argument {
  const std::vector<std::string>& all_;
  size_t& next_;
  std::string name_;
  std::optional<std::string> after_equals_ = {};

  std::string Value() const {
    if (after_equals_) return *after_equals_;
    if (next_ == all_.size()) throw InputError(name_ + " needs a value.");
    return all_[next_++];
  }

  uint64_t Count(uint64_t most) const {
    const std::string text = Value();
    uint64_t count = 0;
    const char* end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data(), end, count);
    if (error != std::errc() || stop != end || count < 1 || count > most) {
      throw InputError(name_ + " must be a number from 1 to " + std::to_string(most) +
                       ", and it is '" + text + "'.");
    }
    return count;
  }

  double Real() const {
    const std::string text = Value();
    double number = 0;
    const char* end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data(), end, number);
    if (error != std::errc() || stop != end || !std::isfinite(number)) {
      throw InputError(name_ + " must be a finite number, and it is '" + text + "'.");
    }
    return number;
  }

  /** "65536", "64k", "64M", "2G": binary multiples. */
  uint64_t Bytes() const {
    const std::string text = Value();
    uint64_t bytes = 0;
    const char* end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data(), end, bytes);
    const size_t power = stop == end ? 0 : std::string_view("kMGT").find(*stop) + 1;  // 0: none
    const bool is_whole = stop == end || (power > 0 && stop + 1 == end);
    if (error != std::errc() || !is_whole || bytes < 1 || bytes > ~uint64_t{0} >> 10 * power) {
      throw InputError(name_ + " must be a number of bytes, or one with k, M, G or T, and it is '" +
                       text + "'.");
    }
    return bytes << 10 * power;
  }
};

bool TakesValue(std::string_view name) {
  constexpr std::string_view kWithValue[] = {"--poisson",    "--repeat", "--shift", "--tolerance",
                                             "--iterations", "--heap",   "--output"};
  return std::ranges::find(kWithValue, name) != std::end(kWithValue);
}

void SetTask(Options& options, Task task) {
  if (options.task_ != Task::kProduct && options.task_ != task) {
    throw InputError("--power and --cg exclude each other.");
  }
  options.task_ = task;
}

void SetMatrix(Options& options, const std::string& name) {
  if (name.size() > 1 && name[0] == '-') {
    throw InputError("There is no option " + name + "; --help lists those that there are.");
  }
  if (!options.matrix_.empty()) {
    throw InputError("One matrix at a time: '" + options.matrix_ + "' and '" + name +
                     "' were given.");
  }
  options.matrix_ = name;
}

void ParseOne(Options& options, const Argument& argument) {
  constexpr uint64_t kMostTimes = 1'000'000'000;
  const std::string& name = argument.name_;
  if (name == "--poisson") {
    options.poisson_side_ = argument.Count(Poisson::kMaxSidePoints);
  } else if (name == "--power") {
    SetTask(options, Task::kPower);
  } else if (name == "--cg") {
    SetTask(options, Task::kConjugateGradients);
  } else if (name == "--repeat") {
    options.repeat_ = argument.Count(kMostTimes);
  } else if (name == "--shift") {
    options.shift_ = argument.Real();
  } else if (name == "--tolerance") {
    options.tolerance_ = argument.Real();
    if (options.tolerance_ <= 0) throw InputError("--tolerance must be above 0.");
  } else if (name == "--iterations") {
    options.most_iterations_ = argument.Count(kMostTimes);
  } else if (name == "--replicated") {
    options.is_replicated_ = true;
  } else if (name == "--verify") {
    options.verify_ = true;
  } else if (name == "--heap") {
    options.heap_bytes_ = argument.Bytes();
  } else if (name == "--output") {
    options.output_ = argument.Value();
  } else if (name == "--help" || name == "-h") {
    options.help_ = true;
  } else {
    SetMatrix(options, name);
  }
}

}  // namespace

const char kUsage[] =
    "usage: mpirun -np N spmv MATRIX.mtx[.gz] [options]\n"
    "Multiplies a sparse matrix, which the ranks of a node share, by a vector.\n"
    "  --poisson N      a matrix that is made, of a grid of N x N points, instead of a file\n"
    "  --power          the eigenvalue of largest magnitude, by power iteration\n"
    "  --cg             solve a system of equations by conjugate gradients\n"
    "  --repeat N       multiply so often without --power and --cg (default 100)\n"
    "  --shift S        add S times the identity to the matrix\n"
    "  --tolerance T    relative residual at which iterations end (default 1e-8)\n"
    "  --iterations N   most iterations (default 10000)\n"
    "  --replicated     each rank keeps the whole matrix for itself, to compare\n"
    "  --verify         do it again on one rank in private memory and compare\n"
    "  --output FILE    write the product, eigenvector or solution as Matrix Market array\n"
    "  --heap SIZE      capacity of the heap, such as 2G (default: half of what is free)\n"
    "The result goes to standard output; times, memory and errors to standard error.\n"
    "Exit status: 0 done, 1 failed, not converged or not verified, 2 bad input.\n";

Options ParseOptions(const std::vector<std::string>& arguments) {
  Options options;
  for (size_t next = 0; next < arguments.size();) {
    const std::string& argument = arguments[next++];
    const size_t equals = argument.starts_with("--") ? argument.find('=') : std::string::npos;
    if (equals != std::string::npos && TakesValue(argument.substr(0, equals))) {
      ParseOne(options, {arguments, next, argument.substr(0, equals), argument.substr(equals + 1)});
    } else {
      ParseOne(options, {arguments, next, argument});
    }
  }
  if (options.help_) return options;
  if (options.matrix_.empty() == (options.poisson_side_ == 0)) {
    throw InputError(options.matrix_.empty()
                         ? "No matrix was given; --help shows how."
                         : "A file and --poisson were given: which of them is the matrix?");
  }
  return options;
}

}  // namespace spmv
