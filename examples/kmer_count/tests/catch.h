#ifndef HSHM_EXAMPLES_KMER_COUNT_TESTS_CATCH_H_
#define HSHM_EXAMPLES_KMER_COUNT_TESTS_CATCH_H_

/** Catch2, version 2 or 3. */
#if __has_include(<catch2/catch_all.hpp>)
#include <catch2/catch_all.hpp>
using Catch::Matchers::ContainsSubstring;
#else
#include <catch2/catch.hpp>

#include <string>
/** Its name in version 3, where Contains looks for an element of a range. */
inline auto ContainsSubstring(const std::string& part) { return Catch::Matchers::Contains(part); }
#endif

#endif  // HSHM_EXAMPLES_KMER_COUNT_TESTS_CATCH_H_
