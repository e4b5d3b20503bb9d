"""What is compared: peers of private memory, libhshm_malloc, and memory that processes share."""

import dataclasses
import os
import platform
import re
import subprocess

PEERS = ('glibc', 'mimalloc', 'jemalloc', 'tcmalloc')
SHARED = ('default', 'explicit', 'three', 'boost')
LIBRARY = ('hshm private', 'hshm shm', 'hshm checked')
OURS = LIBRARY + ('default', 'explicit', 'three')
ORDER = PEERS + LIBRARY + SHARED  # of columns
AGAIN = 'glibc again'  # the same twice: a difference below theirs is noise

# Sonames, the wanted one first, and the Debian package.
LIBRARIES = {
    'mimalloc': (('libmimalloc.so.2.0', 'libmimalloc.so.2'), 'libmimalloc2.0'),
    'jemalloc': (('libjemalloc.so.2',), 'libjemalloc2'),
    'tcmalloc': (('libtcmalloc_minimal.so.4',), 'libtcmalloc-minimal4'),
}

# glibc gives the top of its heap back in every round of large blocks, which makes it look 30 times
# slower than it is in a program that goes on. Not where memory is measured.
GLIBC_TUNABLES = 'glibc.malloc.trim_threshold=1073741824:glibc.malloc.mmap_threshold=33554432'


@dataclasses.dataclass(frozen=True)
class Subject:
    """A malloc library, as environment variables of whatever program runs on it."""
    name: str
    library: str = ''
    settings: tuple = ()

    def environment(self, keeps_memory=False):
        variables = {key: value for key, value in os.environ.items()
                     if not key.startswith(('LD_PRELOAD', 'HSHM_', 'GLIBC_TUNABLES', 'MALLOC_'))}
        if self.library:
            variables['LD_PRELOAD'] = self.library
        elif keeps_memory:
            variables['GLIBC_TUNABLES'] = GLIBC_TUNABLES
        variables.update(self.settings)
        return variables


def loader_cache():
    """soname -> path, of the dynamic loader."""
    for program in ('ldconfig', '/sbin/ldconfig'):
        try:
            text = subprocess.run([program, '-p'], capture_output=True, text=True,
                                  check=True).stdout
        except (OSError, subprocess.CalledProcessError):
            continue
        found = re.findall(r'^\s*(\S+) \((.*)\) => (\S+)$', text, re.M)
        own = [entry for entry in found if platform.machine().replace('_', '-') in entry[1]]
        return {soname: path for soname, _, path in reversed(own or found)}
    return {}


def find_library(name, cache):
    for soname in LIBRARIES[name][0]:
        if soname in cache:
            return cache[soname]
    return None


def find_subjects(hshm_malloc, chosen_paths):
    """The malloc libraries that are there, and a sentence for each that is not."""
    subjects, missing = [Subject('glibc')], {}
    cache = loader_cache()
    for name, (_, package) in LIBRARIES.items():
        path = chosen_paths.get(name) or find_library(name, cache)
        if path and os.path.exists(path):
            subjects.append(Subject(name, path))
        else:
            missing[name] = f'{path} is not there' if path else f'install {package}'
    if os.path.exists(hshm_malloc):
        for backend in ('private', 'shm'):
            subjects.append(Subject(f'hshm {backend}', hshm_malloc,
                                    (('HSHM_MALLOC_BACKEND', backend),)))
        with open(hshm_malloc, 'rb') as file:
            knows_checked = b'HSHM_CHECKED' in file.read()
        if knows_checked:
            subjects.append(Subject('hshm checked', hshm_malloc, (('HSHM_CHECKED', '1'),)))
        else:
            missing['hshm checked'] = 'libhshm_malloc has no Checked policy'
    else:
        for name in LIBRARY:
            missing[name] = f'{hshm_malloc} is not there'
    subjects.append(Subject(AGAIN))
    return subjects, missing
