# Copyright (c) 2026, the hshm authors. SPDX-License-Identifier: BSD-3-Clause
"""The Spack package of hshm. One file serves Spack 0.23 and 1.x."""

import os

from spack.package import *

try:  # Spack 1.x keeps the build systems in the repository of the built-in packages
    from spack_repo.builtin.build_systems.cmake import CMakePackage
    from spack_repo.builtin.build_systems.cuda import CudaPackage
    from spack_repo.builtin.build_systems.rocm import ROCmPackage
except ImportError:
    pass  # Spack 0.23 has them in spack.package


class Hshm(CMakePackage, CudaPackage, ROCmPackage):
    """One shared-memory heap for the MPI ranks of a node: any rank and any thread allocates, any
    other frees, and the heap outlives the death of any rank. C++20."""

    # This file lies at the top of the source, and ./spack/packages/hshm links to it.
    git = "file://" + os.path.dirname(os.path.realpath(__file__))

    license("BSD-3-Clause")
    test_requires_compiler = True

    version("main", branch="main")

    variant("shared", default=True, description="Build libhshm as a shared library")
    variant("mpi", default=True, description="Build hshm::mpi, the heap of a job's ranks")
    variant("hwloc", default=True, description="Size and place each rank's memory by NUMA node")
    variant("malloc", default=True, description="Build libhshm_malloc, the heap as malloc")
    variant("tools", default=True, description="Build bin/hshm, the command line")
    variant("checked", default=False, description="Find every misuse of a block at the call")
    variant("tests", default=False, description="Build the unit and MPI tests")
    # With +cuda or +rocm, of the build systems: what kernels may use is compiled for these GPUs, and
    # the build fails where it cannot be. Memory of GPUs is not in this release.

    depends_on("c", type="build")
    depends_on("cxx", type="build")
    depends_on("cmake@3.23:", type="build")
    depends_on("pkgconfig", type="build", when="+hwloc")
    depends_on("mpi", when="+mpi")
    depends_on("hwloc@2:", when="+hwloc")
    depends_on("cli11@2.1:", type="build", when="+tools")
    depends_on("nlohmann-json@3:", type="build", when="+tools")
    depends_on("catch2@2.13.10:", type=("build", "test"), when="+tests")
    depends_on("python@3.8:", type=("build", "test"), when="+tests")
    depends_on("cuda@12.4:", when="+cuda")
    depends_on("hip@5.2:", when="+rocm")

    conflicts("%gcc@:10", msg="hshm is written in C++20: GCC 11 or newer")
    conflicts("%clang@:13", msg="hshm is written in C++20: Clang 14 or newer")
    conflicts("platform=windows", msg="hshm runs on Linux")
    conflicts("platform=darwin", msg="hshm runs on Linux")
    conflicts("+cuda", when="+rocm", msg="a build is for CUDA or for ROCm, not for both")
    conflicts("cuda_arch=none", when="+cuda", msg="name the GPUs, such as cuda_arch=80,90")
    conflicts("amdgpu_target=none", when="+rocm", msg="name the GPUs: amdgpu_target=gfx90a")

    def cmake_args(self):
        args = [
            self.define_from_variant("BUILD_SHARED_LIBS", "shared"),
            self.define_from_variant("HSHM_BUILD_MALLOC", "malloc"),
            self.define_from_variant("HSHM_BUILD_TESTS", "tests"),
            self.define_from_variant("HSHM_BUILD_TOOLS", "tools"),
            self.define_from_variant("HSHM_CHECKED", "checked"),
            self.define_from_variant("HSHM_ENABLE_MPI", "mpi"),
            self.define_from_variant("HSHM_ENABLE_HWLOC", "hwloc"),
            self.define_from_variant("HSHM_ENABLE_CUDA", "cuda"),
            self.define_from_variant("HSHM_ENABLE_ROCM", "rocm"),
        ]
        if self.spec.satisfies("+cuda"):
            gpus = self.spec.variants["cuda_arch"].value
            args.append(self.define("CMAKE_CUDA_ARCHITECTURES", gpus))
        if self.spec.satisfies("+rocm"):
            gpus = self.spec.variants["amdgpu_target"].value
            args.append(self.define("CMAKE_HIP_ARCHITECTURES", gpus))
        return args

    @run_after("install")
    def keep_test_sources(self):
        cache_extra_test_sources(self, join_path("examples", "minimal"))

    def test_minimal(self):
        """build examples/minimal against the installed package and run it"""
        source = join_path(self.test_suite.current_test_cache_dir, "examples", "minimal")
        prefixes = [self.prefix]
        if self.spec.satisfies("+hwloc") and self.spec.satisfies("~shared"):
            prefixes.append(self.spec["hwloc"].prefix)  # a static library leaves it to who links
        cmake = Executable(self.spec["cmake"].prefix.bin.cmake)
        cmake(
            "-S", source, "-B", "minimal",
            self.define("CMAKE_PREFIX_PATH", prefixes),
            # Compilers are build dependencies: a stand-alone test has none in its environment.
            self.define("CMAKE_CXX_COMPILER", self.compiler.cxx),
        )
        cmake("--build", "minimal")
        output = Executable(join_path("minimal", "minimal"))(output=str.split, error=str.split)
        check_outputs("100 squares in one heap, the last is 9801", output)
