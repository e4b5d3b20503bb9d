/**
 * The one way into Catch2: its version 2 and version 3 keep the macros but not the include paths.
 */
#ifndef HSHM_UNIT_TESTS_SUPPORT_CATCH_H_
#define HSHM_UNIT_TESTS_SUPPORT_CATCH_H_

#if __has_include(<catch2/catch_all.hpp>)
#include <catch2/catch_all.hpp>
#else
#include <catch2/catch.hpp>
#endif

#endif  // HSHM_UNIT_TESTS_SUPPORT_CATCH_H_
