"""What package.py takes from Spack, as far as it does: directives that are written down, and a
spec, a test suite and executables that a test of the recipe can look at afterwards."""

import importlib.util
import os
import re
import sys
import types

# What the helper classes of Spack bring along: variants and their values when switched on.
HELPER_VARIANTS = {'cuda': False, 'cuda_arch': ('none',), 'rocm': False, 'amdgpu_target': ('none',)}

PREFIX = '/prefix'  # where each package of the made-up installation is: /prefix/NAME
TEST_CACHE = '/test-cache'
CXX_COMPILER = '/prefix/compiler/c++'


class Recorder:
    """The directives of a recipe, and what its methods did, as they were called."""

    def __init__(self):
        self.variants = dict(HELPER_VARIANTS)
        self.dependencies = []  # (spec, when)
        self.conflicts = []  # (spec, when)
        self.versions = []
        self.after_install = []  # names of methods
        self.kept = []  # paths of cache_extra_test_sources
        self.ran = []  # (program, arguments)
        self.expected = []  # what check_outputs asked for

    def executable(self, program):
        def run(*arguments, **_):
            self.ran.append((str(program), [str(argument) for argument in arguments]))
            return f'output of {program}'
        return run

    def check_outputs(self, expected, actual):
        if not actual.startswith('output of '):
            raise ValueError('check_outputs looks at what no program printed')
        self.expected += [expected] if isinstance(expected, str) else expected

    def keep(self, _, paths):
        self.kept += [paths] if isinstance(paths, str) else paths

    def run_after(self, phase):
        def note(method):
            if phase == 'install':
                self.after_install.append(method.__name__)
            return method
        return note


class Prefix(str):
    """A folder whose attributes are the folders and files in it."""

    def __getattr__(self, name):
        return Prefix(os.path.join(self, name))


class Value:
    def __init__(self, value):
        self.value = value


class Spec:
    """A concrete spec with the given variants, as far as a recipe asks it."""

    def __init__(self, variants, dependencies=()):
        self.variants = {name: Value(value) for name, value in variants.items()}
        self.dependencies = {re.match(r'[\w-]+', spec).group(0) for spec, when in dependencies
                             if not when or when[1:] in self.variants and self.satisfies(when)}

    def satisfies(self, text):
        name = text[1:]
        if name not in self.variants:
            raise KeyError(f"package.py asks for the variant '{name}', which is not declared")
        return self.variants[name].value is (text[0] == '+')

    def __getitem__(self, name):
        if name not in self.dependencies:
            raise KeyError(f"package.py asks for '{name}', on which it does not depend")
        return types.SimpleNamespace(prefix=Prefix(f'{PREFIX}/{name}'))


class CMakePackage:
    def __init__(self, spec):
        self.spec = spec
        self.prefix = Prefix(f'{PREFIX}/hshm')
        self.compiler = types.SimpleNamespace(cxx=CXX_COMPILER)
        self.test_suite = types.SimpleNamespace(current_test_cache_dir=TEST_CACHE)

    @staticmethod
    def define(name, value):
        if isinstance(value, bool):
            value = 'ON' if value else 'OFF'
            return f'-D{name}:BOOL={value}'
        if isinstance(value, (tuple, list)):
            value = ';'.join(value)
        return f'-D{name}:STRING={value}'

    def define_from_variant(self, name, variant):
        return self.define(name, self.spec.variants[variant].value)


class CudaPackage:
    pass


class ROCmPackage:
    pass


def stand_in(recorder):
    """A module like spack.package, without the build systems."""
    module = types.ModuleType('spack.package')
    module.variant = lambda name, default, description: recorder.variants.update({name: default})
    module.depends_on = lambda spec, when='', type=(): recorder.dependencies.append((spec, when))
    module.conflicts = lambda spec, when='', msg='': recorder.conflicts.append((spec, when))
    module.version = lambda name, **where: recorder.versions.append((name, where))
    module.license = lambda name: None
    module.run_after = recorder.run_after
    module.Executable = recorder.executable
    module.cache_extra_test_sources = recorder.keep
    module.check_outputs = recorder.check_outputs
    module.join_path = os.path.join
    return module


def load(path, is_old):
    """The class Hshm and what its directives said. `is_old`: as Spack 0.23 spells it."""
    recorder = Recorder()
    package = stand_in(recorder)
    modules = {'spack': types.ModuleType('spack'), 'spack.package': package}
    systems = {'cmake': CMakePackage, 'cuda': CudaPackage, 'rocm': ROCmPackage}
    if is_old:
        for system in systems.values():
            setattr(package, system.__name__, system)
    else:
        prefix = 'spack_repo.builtin.build_systems'
        for name in ('spack_repo', 'spack_repo.builtin', prefix):
            modules[name] = types.ModuleType(name)
        for name, system in systems.items():
            module = modules[f'{prefix}.{name}'] = types.ModuleType(f'{prefix}.{name}')
            setattr(module, system.__name__, system)
    names = {name for name in sys.modules if name.split('.')[0] in ('spack', 'spack_repo')}
    for name in names:
        del sys.modules[name]
    sys.modules.update(modules)
    spec = importlib.util.spec_from_file_location('hshm_recipe', path)
    recipe = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(recipe)
    for name in modules:
        del sys.modules[name]
    return recipe.Hshm, recorder
