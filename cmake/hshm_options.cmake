# What a user may choose. Values that the code must know go into hermes_shm/base/config.h as 0 or 1.

if(PROJECT_IS_TOP_LEVEL)  # else it is the parent's, who may have none
  option(BUILD_SHARED_LIBS "Build libhshm as a shared library" ON)
endif()
option(HSHM_BUILD_BENCHMARKS "Build the benchmarks of ./dev bench" OFF)
option(HSHM_BUILD_EXAMPLES "Build the examples against the build tree" OFF)
if(CMAKE_SYSTEM_NAME STREQUAL "Linux")
  set(hshm_build_malloc ${PROJECT_IS_TOP_LEVEL})
endif()
# Not with a sanitizer, which is in the place of malloc itself.
option(HSHM_BUILD_MALLOC "Build libhshm_malloc, the heap as a program's malloc" ${hshm_build_malloc})
option(HSHM_INSTALL "Generate the install rules" ${PROJECT_IS_TOP_LEVEL})
option(HSHM_WERROR "Treat warnings in hshm's own code as errors" OFF)
option(HSHM_ENABLE_ASSERTS "Compile HSHM_ASSERT in; HSHM_CHECK always is" OFF)
option(HSHM_CHECKED "MultiProcessAllocator finds every misuse of a block (policy Checked)" OFF)
# What kernels may use is compiled with the rest, for the GPUs of CMAKE_CUDA_ARCHITECTURES or
# CMAKE_HIP_ARCHITECTURES: see unit_tests/gpu.
option(HSHM_ENABLE_CUDA "Check the device code with nvcc while building" OFF)
option(HSHM_ENABLE_ROCM "Check the device code with hipcc while building" OFF)

# AUTO takes what it needs where it is found; ON fails without it; OFF does not look. The tools are the
# command line, bin/hshm, which needs CLI11 and nlohmann_json; the tests need Catch2.
if(NOT PROJECT_IS_TOP_LEVEL)
  set(HSHM_BUILD_TOOLS OFF CACHE STRING "Build bin/hshm: AUTO, ON or OFF")
  set(HSHM_BUILD_TESTS OFF CACHE STRING "Build the unit, MPI and style tests: AUTO, ON or OFF")
endif()
foreach(package IN ITEMS ENABLE_MPI ENABLE_HWLOC BUILD_TOOLS BUILD_TESTS)
  set(HSHM_${package} AUTO CACHE STRING "${package}: AUTO, ON or OFF")
  set_property(CACHE HSHM_${package} PROPERTY STRINGS AUTO ON OFF)
  if(NOT HSHM_${package} MATCHES "^(AUTO|ON|OFF|TRUE|FALSE|YES|NO|1|0)$")
    message(FATAL_ERROR "HSHM_${package} is '${HSHM_${package}}'; choose AUTO, ON or OFF")
  endif()
endforeach()

set(HSHM_SANITIZE "" CACHE STRING "Sanitizer to build with: empty, address (with undefined) or thread")
set_property(CACHE HSHM_SANITIZE PROPERTY STRINGS "" address thread)
if(NOT HSHM_SANITIZE MATCHES "^(|address|thread)$")
  message(FATAL_ERROR "HSHM_SANITIZE is '${HSHM_SANITIZE}'; choose nothing, address or thread")
endif()
# Half of the time that compiling takes is the tests', whose own speed matters little.
set(HSHM_TEST_FLAGS "" CACHE STRING "Compile options of the unit tests' programs alone, after all others: a list")
option(HSHM_COVERAGE "Count which branches run, for tools/coverage; g++ only" OFF)
if(HSHM_COVERAGE AND (BUILD_SHARED_LIBS OR HSHM_SANITIZE OR NOT CMAKE_CXX_COMPILER_ID STREQUAL "GNU"))
  # A shared library has counters of its own, which a test that is about to die could not save.
  message(FATAL_ERROR "HSHM_COVERAGE needs g++, BUILD_SHARED_LIBS=OFF and no HSHM_SANITIZE")
endif()
if(HSHM_ENABLE_CUDA AND HSHM_ENABLE_ROCM)
  message(FATAL_ERROR "HSHM_ENABLE_CUDA and HSHM_ENABLE_ROCM exclude each other; choose one")
endif()
if(HSHM_SANITIZE AND (HSHM_ENABLE_CUDA OR HSHM_ENABLE_ROCM))
  message(FATAL_ERROR "Code for GPUs is not instrumented: choose HSHM_SANITIZE, or HSHM_ENABLE_CUDA or "
    "HSHM_ENABLE_ROCM")
endif()

if(PROJECT_IS_TOP_LEVEL)
  get_property(multi_config GLOBAL PROPERTY GENERATOR_IS_MULTI_CONFIG)
  if(NOT multi_config AND NOT CMAKE_BUILD_TYPE)
    set(CMAKE_BUILD_TYPE RelWithDebInfo CACHE STRING "Build type" FORCE)
  endif()
endif()
