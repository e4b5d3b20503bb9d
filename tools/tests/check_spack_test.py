"""check_spack finds what would break the Spack package on a user's machine only."""

import pathlib
import shutil
import unittest

from made_up_tree import MadeUpTree, TOOLS

TOP = TOOLS.parent
FILES = ('CMakeLists.txt', 'package.py', 'Spackfile', 'spack/repo.yaml')
FOLDERS = ('cmake', 'examples/minimal')


class CheckSpackTest(MadeUpTree):
    """A copy of the package's files with one mistake in it."""

    tool = 'check_spack'

    def setUp(self):
        super().setUp()
        lists = [path.relative_to(TOP) for folder in ('tools', 'unit_tests')
                 for path in (TOP / folder).rglob('CMakeLists.txt')]
        for name in [*FILES, *lists]:
            (self.root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(TOP / name, self.root / name)
        for name in FOLDERS:
            shutil.copytree(TOP / name, self.root / name)
        for name in ('include', 'src'):
            (self.root / name).symlink_to(TOP / name)
        link = self.root / 'spack/packages/hshm/package.py'
        link.parent.mkdir(parents=True)
        link.symlink_to('../../../package.py')

    def change(self, path, old, new):
        text = (self.root / path).read_text(encoding='utf-8')
        self.assertIn(old, text)
        (self.root / path).write_text(text.replace(old, new), encoding='utf-8')

    def assert_found(self, words):
        status, lines = self.run_tool()
        self.assertEqual(status, 1)
        self.assertTrue(any(words in line for line in lines), lines)

    def test_the_files_as_they_are_have_no_mistake(self):
        self.assert_clean()

    def test_a_variant_must_reach_cmake(self):
        self.change('package.py', 'self.define_from_variant("HSHM_ENABLE_HWLOC", "hwloc"),', '')
        self.assert_found("the variant 'hwloc' does not reach CMake")

    def test_an_option_must_exist(self):
        self.change('package.py', 'HSHM_BUILD_TESTS', 'HSHM_BUILD_TEST')
        self.assert_found('HSHM_BUILD_TEST, set for the variant')

    def test_an_option_that_cmake_drops_is_noticed(self):
        self.change('cmake/hshm_options.cmake', 'option(HSHM_ENABLE_ROCM', 'option(HSHM_WITH_ROCM')
        self.assert_found('HSHM_ENABLE_ROCM, set for the variant')

    def test_an_option_that_only_messages_name_is_noticed(self):
        self.change('cmake/hshm_dependencies.cmake', 'if(HSHM_ENABLE_CUDA)', 'if(HSHM_CUDA)')
        self.change('unit_tests/gpu/CMakeLists.txt', '${HSHM_ENABLE_CUDA}', 'OFF')
        self.change('CMakeLists.txt', 'HSHM_ENABLE_CUDA OR ', '')
        self.assert_found("HSHM_ENABLE_CUDA, set for the variant 'cuda', is read by nobody")

    def test_the_gpus_of_a_variant_must_be_read(self):
        self.change('unit_tests/gpu/CMakeLists.txt', 'CMAKE_HIP_ARCHITECTURES', 'MY_GPUS')
        self.assert_found("CMAKE_HIP_ARCHITECTURES, set for the variant 'amdgpu_target'")

    def test_an_option_of_the_code_must_be_read_there(self):
        for name in ('include', 'src'):
            (self.root / name).unlink()
        self.write('include/hermes_shm/policy.h', '/* Beside HSHM_CHECKED there is nothing. */\n')
        self.assert_found("HSHM_CHECKED, set for the variant 'checked', is read by nobody")

    def test_what_cmake_looks_for_must_be_a_dependency(self):
        self.change('package.py', 'depends_on("hwloc@2:", when="+hwloc")', 'pass')
        self.assert_found("the CMake files look for 'hwloc'")

    def test_a_dependency_must_be_looked_for(self):
        self.change('package.py', 'depends_on("mpi", when="+mpi")', 'depends_on("numactl")')
        self.assert_found("nothing in the CMake files looks for the dependency 'numactl'")

    def test_a_condition_must_name_a_variant(self):
        self.change('package.py', 'when="+hwloc"', 'when="+topology"')
        self.assert_found("hangs on '+topology'")

    def test_both_spellings_of_spack_are_loaded(self):
        self.change('package.py', 'except ImportError', 'except KeyError')
        with self.assertRaises(AssertionError):  # the tool itself stops
            self.run_tool()

    def test_the_sources_of_the_stand_alone_test_must_exist(self):
        self.change('package.py', 'sources(self, join_path("examples", "minimal"))',
                    'sources(self, join_path("examples", "smallest"))')
        self.assert_found("keeps 'examples/smallest', which does not exist")
        self.assert_found("builds 'examples/minimal', which it does not keep")

    def test_the_stand_alone_test_must_run_what_it_builds(self):
        self.change('examples/minimal/CMakeLists.txt', 'executable(minimal', 'executable(least')
        self.assert_found("runs 'minimal', which examples/minimal does not build")

    def test_the_stand_alone_test_must_expect_what_is_printed(self):
        self.change('package.py', 'the last is 9801', 'the last is 9800')
        self.assert_found("the last is 9800', which examples/minimal/test.cmake does not")

    def test_the_stand_alone_test_must_name_the_compiler(self):
        self.change('package.py', 'self.define("CMAKE_CXX_COMPILER", self.compiler.cxx),', '')
        self.assert_found('does not name the compiler')

    def test_the_stand_alone_test_must_lead_a_static_library_to_hwloc(self):
        self.change('package.py', 'prefixes.append(self.spec["hwloc"].prefix)', 'pass')
        self.assert_found('does not name the prefix of hwloc')

    def test_the_stand_alone_test_may_ask_only_for_what_there_is(self):
        self.change('package.py', 'if self.spec.satisfies("+hwloc") and', 'if')
        self.assert_found("asks for 'hwloc', on which it does not depend")

    def test_there_must_be_a_stand_alone_test(self):
        self.change('package.py', 'def test_minimal', 'def minimal')
        self.assert_found('package.py has no documented stand-alone test')

    def test_the_repository_must_lead_to_this_file(self):
        link = self.root / 'spack/packages/hshm/package.py'
        link.unlink()
        link.write_text(pathlib.Path(self.root / 'package.py').read_text(encoding='utf-8'),
                        encoding='utf-8')
        self.assert_found('is no link to the package.py')

    def test_the_environment_must_ask_for_variants_that_exist(self):
        self.change('Spackfile', '+hwloc', '+numa')
        self.assert_found("Spackfile asks for the variant 'numa'")

    def test_the_environment_must_not_name_repositories(self):
        self.change('Spackfile', '  view: true', '  repos: [./spack]')
        self.assert_found('must not name repos')


if __name__ == '__main__':
    unittest.main()
