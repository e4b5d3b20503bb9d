# Finds what hshm can use. Sets HSHM_HAVE_HWLOC, HSHM_HAVE_MPI, HSHM_HAVE_TOOLS, HSHM_HAVE_TESTS and
# HSHM_HAVE_STATIC_RUNTIME to 0 or 1.

find_package(Threads REQUIRED)

set(HSHM_HAVE_HWLOC 0)
if(HSHM_ENABLE_HWLOC)
  find_package(PkgConfig QUIET)
  if(PkgConfig_FOUND)
    # GLOBAL: a static hshm hands the target on to whoever calls add_subdirectory on this project.
    pkg_check_modules(HSHM_HWLOC QUIET IMPORTED_TARGET GLOBAL "hwloc>=2.0")
  endif()
  if(HSHM_HWLOC_FOUND)
    set(HSHM_HAVE_HWLOC 1)
  elseif(NOT HSHM_ENABLE_HWLOC STREQUAL "AUTO")
    message(FATAL_ERROR "HSHM_ENABLE_HWLOC is ON but pkg-config finds no hwloc >= 2.0: install "
      "libhwloc-dev (and pkg-config), or set HSHM_ENABLE_HWLOC to AUTO or OFF")
  endif()
endif()

set(HSHM_HAVE_MPI 0)
if(HSHM_ENABLE_MPI)
  find_package(MPI QUIET COMPONENTS C)
  if(MPI_C_FOUND)
    set(HSHM_HAVE_MPI 1)
  elseif(NOT HSHM_ENABLE_MPI STREQUAL "AUTO")
    message(FATAL_ERROR "HSHM_ENABLE_MPI is ON but no MPI is found: install libopenmpi-dev and "
      "openmpi-bin or libmpich-dev, or set HSHM_ENABLE_MPI to AUTO or OFF")
  endif()
endif()

# Not with a sanitizer: its programs are for tests of the library.
set(HSHM_HAVE_TOOLS 0)
if(HSHM_BUILD_TOOLS AND NOT HSHM_SANITIZE)
  find_package(CLI11 QUIET)
  find_package(nlohmann_json QUIET)
  if(CLI11_FOUND AND nlohmann_json_FOUND)
    set(HSHM_HAVE_TOOLS 1)
  elseif(HSHM_BUILD_TOOLS STREQUAL "AUTO")
    message(STATUS "hshm: bin/hshm is left out: it needs CLI11 and nlohmann_json (the packages "
      "libcli11-dev and nlohmann-json3-dev)")
  else()
    message(FATAL_ERROR "HSHM_BUILD_TOOLS is ON but CLI11 (found: ${CLI11_FOUND}) or nlohmann_json "
      "(found: ${nlohmann_json_FOUND}) is missing: install libcli11-dev and nlohmann-json3-dev, or "
      "set HSHM_BUILD_TOOLS to AUTO or OFF")
  endif()
endif()

set(HSHM_HAVE_TESTS 0)
if(HSHM_BUILD_TESTS)
  find_package(Catch2 QUIET)
  if(Catch2_FOUND)
    set(HSHM_HAVE_TESTS 1)
  elseif(HSHM_BUILD_TESTS STREQUAL "AUTO")
    message(STATUS "hshm: the tests are left out: they need Catch2 2.13.10 or newer (the package "
      "catch2)")
  else()
    message(FATAL_ERROR "HSHM_BUILD_TESTS is ON but Catch2 is not found: install Catch2 2.13.10 or "
      "newer (the package catch2), or set HSHM_BUILD_TESTS to AUTO or OFF")
  endif()
endif()

# Whether a shared library can have the C++ runtime inside: the archive must be there, and be made of
# position-independent code.
set(HSHM_HAVE_STATIC_RUNTIME 0)
if(HSHM_BUILD_MALLOC AND NOT HSHM_SANITIZE)
  include(CheckCXXSourceCompiles)
  set(CMAKE_REQUIRED_FLAGS "-fPIC")
  set(CMAKE_REQUIRED_LINK_OPTIONS -shared -static-libstdc++ -static-libgcc)
  set(CMAKE_REQUIRED_QUIET ON)
  check_cxx_source_compiles([[
#include <stdexcept>
#include <string>
void Throw(const std::string& what) { throw std::runtime_error(what); }
int main() { return 0; }
]] HSHM_STATIC_RUNTIME_LINKS)
  unset(CMAKE_REQUIRED_FLAGS)
  unset(CMAKE_REQUIRED_LINK_OPTIONS)
  unset(CMAKE_REQUIRED_QUIET)
  if(HSHM_STATIC_RUNTIME_LINKS)
    set(HSHM_HAVE_STATIC_RUNTIME 1)
  else()
    message(STATUS "hshm: libhshm_malloc loads the shared C++ runtime: the static one is not found "
      "(the package libstdc++-static, where there is one)")
  endif()
endif()

# The compilers for GPUs are not needed for the library: who asks for them wants to know that device
# code is right for the GPUs at hand. Older versions of nvcc do not compile it.
if(HSHM_ENABLE_CUDA)
  find_package(CUDAToolkit 12.4 QUIET)
  if(NOT CUDAToolkit_FOUND OR NOT CUDAToolkit_NVCC_EXECUTABLE)
    message(FATAL_ERROR "HSHM_ENABLE_CUDA is ON but the CUDA toolkit, 12.4 or newer, is not found "
      "(nvcc '${CUDAToolkit_NVCC_EXECUTABLE}', version '${CUDAToolkit_VERSION}'): name it with "
      "CUDAToolkit_ROOT, or set HSHM_ENABLE_CUDA to OFF")
  endif()
endif()
if(HSHM_ENABLE_ROCM OR HSHM_HAVE_TESTS)
  find_program(HSHM_HIPCC hipcc HINTS /opt/rocm/bin)
  find_library(HSHM_AMDHIP64 amdhip64 HINTS /opt/rocm/lib)
endif()
if(HSHM_ENABLE_ROCM AND NOT (HSHM_HIPCC AND HSHM_AMDHIP64))
  message(FATAL_ERROR "HSHM_ENABLE_ROCM is ON but hipcc ('${HSHM_HIPCC}') or libamdhip64 "
    "('${HSHM_AMDHIP64}') is not found: install ROCm's hip, name its folder in CMAKE_PREFIX_PATH, "
    "or set HSHM_ENABLE_ROCM to OFF")
endif()

message(STATUS "hshm: hwloc ${HSHM_HAVE_HWLOC}, MPI ${HSHM_HAVE_MPI}, tools ${HSHM_HAVE_TOOLS}, "
  "tests ${HSHM_HAVE_TESTS}, CUDA ${HSHM_ENABLE_CUDA}, ROCm ${HSHM_ENABLE_ROCM}, sanitizer '${HSHM_SANITIZE}'")
