# Finds what hshm can use. Sets HSHM_HAVE_HWLOC, HSHM_HAVE_MPI and HSHM_HAVE_TOOLS to 0 or 1.

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

message(STATUS "hshm: hwloc ${HSHM_HAVE_HWLOC}, MPI ${HSHM_HAVE_MPI}, tools ${HSHM_HAVE_TOOLS}, "
  "CUDA ${HSHM_ENABLE_CUDA}, ROCm ${HSHM_ENABLE_ROCM}, sanitizer '${HSHM_SANITIZE}'")
