#ifndef HSHM_EXAMPLES_SPMV_TESTS_CATCH_H_
#define HSHM_EXAMPLES_SPMV_TESTS_CATCH_H_

/** Catch2, version 2 or 3. */
#if __has_include(<catch2/catch_all.hpp>)
#include <catch2/catch_all.hpp>
using Catch::Approx;
#else
#include <catch2/catch.hpp>
#endif

#endif  // HSHM_EXAMPLES_SPMV_TESTS_CATCH_H_
