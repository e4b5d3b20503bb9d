# Beside the five lines that a user needs: what the tests of hshm itself run.
target_compile_options(minimal PRIVATE -Wall -Wextra)
include(CTest)
if(BUILD_TESTING)
  add_test(NAME minimal_runs COMMAND minimal)
  set_tests_properties(minimal_runs PROPERTIES
    PASS_REGULAR_EXPRESSION "100 squares in one heap, the last is 9801" TIMEOUT 60)
endif()
