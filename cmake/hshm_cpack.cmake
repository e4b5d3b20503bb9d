# `cpack -G DEB` (or TGZ) in the build folder packs what `cmake --install` would install.

set(CPACK_PACKAGE_NAME hshm)
set(CPACK_PACKAGE_VENDOR "the hshm authors")
set(CPACK_PACKAGE_CONTACT "the hshm authors <hshm@localhost>")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "${PROJECT_DESCRIPTION}")
set(CPACK_RESOURCE_FILE_LICENSE "${PROJECT_SOURCE_DIR}/LICENSE")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_VERBATIM_VARIABLES ON)

set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION libdevel)
# What the shared library is linked to; dpkg-shlibdeps (package dpkg-dev) finds the packages.
find_program(HSHM_DPKG_SHLIBDEPS dpkg-shlibdeps)
if(HSHM_DPKG_SHLIBDEPS)
  set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
endif()
set(CPACK_DEBIAN_PACKAGE_GENERATE_SHLIBS ON)
if(HSHM_HAVE_HWLOC AND NOT BUILD_SHARED_LIBS)  # whoever links a static library needs its parts
  set(CPACK_DEBIAN_PACKAGE_DEPENDS "libhwloc-dev, pkg-config")
endif()
# Only who uses pkg-config, or hshm::mpi, needs these.
set(hshm_suggests "pkg-config")
if(HSHM_HAVE_MPI)
  string(APPEND hshm_suggests ", mpi-default-dev")
endif()
set(CPACK_DEBIAN_PACKAGE_SUGGESTS "${hshm_suggests}")

include(CPack)
