# The CMake package (also usable from the build tree, in package/) and the pkg-config file.

include(CMakePackageConfigHelpers)

set(hshm_cmake_dir "${CMAKE_INSTALL_LIBDIR}/cmake/hshm")
set(hshm_package_dir "${PROJECT_BINARY_DIR}/package")
configure_package_config_file(
  "${PROJECT_SOURCE_DIR}/cmake/hshmConfig.cmake.in" "${hshm_package_dir}/hshmConfig.cmake"
  INSTALL_DESTINATION "${hshm_cmake_dir}"
  NO_SET_AND_CHECK_MACRO)
write_basic_package_version_file("${hshm_package_dir}/hshmConfigVersion.cmake"
  COMPATIBILITY SameMinorVersion)  # below 1.0 a minor version may change everything

if(NOT HSHM_INSTALL)
  return()
endif()

install(TARGETS hshm EXPORT hshmTargets)
export(EXPORT hshmTargets NAMESPACE hshm:: FILE "${hshm_package_dir}/hshmTargets.cmake")
install(EXPORT hshmTargets NAMESPACE hshm:: DESTINATION "${hshm_cmake_dir}")
if(HSHM_HAVE_MPI)
  install(TARGETS hshm_mpi EXPORT hshmMpiTargets)
  export(EXPORT hshmMpiTargets NAMESPACE hshm:: FILE "${hshm_package_dir}/hshmMpiTargets.cmake")
  install(EXPORT hshmMpiTargets NAMESPACE hshm:: DESTINATION "${hshm_cmake_dir}")
endif()

if(TARGET hshm_malloc)
  install(TARGETS hshm_malloc)  # for LD_PRELOAD: no header, nothing to find
endif()

install(DIRECTORY "${PROJECT_SOURCE_DIR}/include/" "${PROJECT_BINARY_DIR}/include/"
  DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}" FILES_MATCHING PATTERN "*.h")
install(FILES
  "${hshm_package_dir}/hshmConfig.cmake" "${hshm_package_dir}/hshmConfigVersion.cmake"
  DESTINATION "${hshm_cmake_dir}")

# A static library hands its private dependencies on; a shared one keeps them to itself.
set(hshm_pc_requires "")
if(HSHM_HAVE_HWLOC AND NOT BUILD_SHARED_LIBS)
  set(hshm_pc_requires "hwloc >= 2.0")
endif()
# From where the file lies, so that the package may be moved or installed to any prefix.
file(RELATIVE_PATH hshm_pc_up "/${CMAKE_INSTALL_LIBDIR}/pkgconfig" "/")
string(REGEX REPLACE "/$" "" hshm_pc_up "${hshm_pc_up}")
configure_file("${PROJECT_SOURCE_DIR}/cmake/hshm.pc.in" "${hshm_package_dir}/hshm.pc" @ONLY)
install(FILES "${hshm_package_dir}/hshm.pc" DESTINATION "${CMAKE_INSTALL_LIBDIR}/pkgconfig")
install(FILES "${PROJECT_SOURCE_DIR}/LICENSE" DESTINATION "${CMAKE_INSTALL_DOCDIR}")
