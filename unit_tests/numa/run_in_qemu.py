#!/usr/bin/env python3
"""Runs a test program on a virtual machine with four NUMA nodes of one CPU each, without KVM.

    run_in_qemu.py --init INIT --program PROGRAM --pass TEXT [--kernel FILE] [--build-dir DIR]
    run_in_qemu.py --get-kernel DIR

The machine is a kernel and a file system in memory with INIT as its first process, PROGRAM, and the
shared libraries of both. Passes when the machine says TEXT and switches itself off in time. Ends
with 77, which CTest reports as skipped, where QEMU or a kernel is missing.

The kernel is --kernel, or HSHM_QEMU_KERNEL, or one that --get-kernel laid into the build tree, or
the newest in /boot that this user may read. --get-kernel fetches Debian's cloud kernel with apt-get
and unpacks it into DIR; nothing is installed.
"""

import argparse
import gzip
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

SKIPPED = 77
NODES = 4
CPUS_A_NODE = 1
NODE_MIB = 192
KERNEL_FOLDER = 'qemu-kernel'  # of --get-kernel, in the build tree
METAPACKAGE = 'linux-image-cloud-amd64'


class CannotRun(Exception):
    """What a machine needs is not here."""


def newest_kernel(folder):
    """The newest readable kernel below a folder, or None."""
    kernels = [path for path in pathlib.Path(folder).glob('**/vmlinuz-*')
               if path.is_file() and os.access(path, os.R_OK)]
    # By the numbers in the name: 6.1.0-56 comes behind 6.1.0-9.
    return max(kernels, default=None,
               key=lambda path: [int(number) for number in re.findall(r'\d+', path.name)])


def find_kernel(asked, build_dir):
    asked = asked or os.environ.get('HSHM_QEMU_KERNEL')
    if asked:
        return pathlib.Path(asked)
    near = [parent / KERNEL_FOLDER for parent in (build_dir, *build_dir.parents)]
    for folder in [*near, '/boot']:
        kernel = newest_kernel(folder) if pathlib.Path(folder).is_dir() else None
        if kernel:
            return kernel
    raise CannotRun(f'no kernel: run_in_qemu.py --get-kernel BUILD/{KERNEL_FOLDER} fetches one, or '
                    'name one in HSHM_QEMU_KERNEL')


def get_kernel(folder):
    """Debian's newest cloud kernel into the folder, unless it is there."""
    if newest_kernel(folder):
        return
    depends = subprocess.run(['apt-cache', 'depends', METAPACKAGE], check=True,
                             capture_output=True, text=True).stdout
    package = re.search(r'Depends: (linux-image-\S+)', depends).group(1)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        # As the user who asks: apt's own may not write here.
        subprocess.run(['apt-get', 'download', '-qq', '-o', 'APT::Sandbox::User=root', package],
                       check=True, cwd=scratch)
        archive, = pathlib.Path(scratch).glob('*.deb')
        subprocess.run(['dpkg-deb', '-x', archive, f'{scratch}/unpacked'], check=True)
        shutil.copy(newest_kernel(f'{scratch}/unpacked'), folder)


def libraries(program):
    """The shared libraries of a program, its loader included, as the loader finds them here."""
    listed = subprocess.run(['ldd', program], capture_output=True, text=True)
    if listed.returncode != 0:
        return []  # it is linked statically
    return re.findall(r'(/\S+) \(0x', listed.stdout)


class Archive:
    """A cpio archive in the format that the kernel unpacks (newc)."""

    def __init__(self):
        self.data = bytearray()
        self.count = 0
        self.folders = set()

    def add(self, path, mode, content=b'', device=(0, 0)):
        self.count += 1
        name = path.encode() + b'\0'
        fields = [self.count, mode, 0, 0, 1, 0, len(content), 0, 0, *device, len(name), 0]
        self.data += b'070701' + b''.join(b'%08X' % field for field in fields) + name
        self.pad()
        self.data += content
        self.pad()

    def pad(self):
        self.data += bytes(-len(self.data) % 4)

    def add_folders(self, path):
        for parent in reversed(pathlib.PurePosixPath(path).parents):
            if str(parent) not in ('.', '/') and parent not in self.folders:
                self.folders.add(parent)
                self.add(str(parent), 0o040755)

    def add_file(self, path, source):
        path = path.lstrip('/')
        self.add_folders(path)
        self.add(path, 0o100755, pathlib.Path(source).read_bytes())

    def packed(self):
        self.add('TRAILER!!!', 0)
        return gzip.compress(bytes(self.data), compresslevel=1)


def make_initramfs(init, program, destination):
    archive = Archive()
    archive.add_folders('dev/console')
    archive.add('dev/console', 0o020600, device=(5, 1))
    archive.add_file('init', init)
    archive.add_file('program', program)
    for library in sorted({*libraries(init), *libraries(program)}):
        archive.add_file(library, library)
    destination.write_bytes(archive.packed())


def qemu_command(qemu, kernel, initramfs):
    command = [
        qemu, '-accel', 'tcg,thread=multi', '-machine', 'pc', '-cpu', 'max', '-nodefaults',
        '-no-user-config', '-display', 'none', '-serial', 'stdio', '-no-reboot',
        '-m', f'{NODES * NODE_MIB}M', '-smp', str(NODES * CPUS_A_NODE),
        '-kernel', str(kernel), '-initrd', str(initramfs),
        '-append', 'console=ttyS0 quiet panic=-1']
    for node in range(NODES):
        first = node * CPUS_A_NODE
        command += ['-object', f'memory-backend-ram,id=m{node},size={NODE_MIB}M',
                    '-numa', f'node,nodeid={node},memdev=m{node},'
                             f'cpus={first}-{first + CPUS_A_NODE - 1}']
    return command


def run_machine(command, timeout_s):
    """All that the machine said, and whether it switched itself off."""
    machine = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT)
    try:
        said, _ = machine.communicate(timeout=timeout_s)
        is_off = machine.returncode == 0
    except subprocess.TimeoutExpired:
        is_off = False
    finally:
        if machine.poll() is None:
            machine.kill()
            said, _ = machine.communicate()
    return said.decode(errors='replace').replace('\r', ''), is_off


def run_test(arguments):
    qemu = shutil.which('qemu-system-x86_64')
    if not qemu:
        raise CannotRun('no qemu-system-x86_64: install qemu-system-x86')
    build_dir = arguments.build_dir.resolve()
    kernel = find_kernel(arguments.kernel, build_dir)
    with tempfile.TemporaryDirectory(dir=build_dir) as scratch:
        initramfs = pathlib.Path(scratch) / 'initramfs.gz'
        make_initramfs(arguments.init, arguments.program, initramfs)
        said, is_off = run_machine(qemu_command(qemu, kernel, initramfs), arguments.timeout)
    print(said, end='')
    if not is_off:
        print(f'run_in_qemu: the machine did not switch itself off within {arguments.timeout} s')
        return 1
    if getattr(arguments, 'pass') not in said.splitlines():
        print(f'run_in_qemu: the machine did not say "{getattr(arguments, "pass")}"')
        return 1
    return 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n', 1)[0])
    parser.add_argument('--init', type=pathlib.Path)
    parser.add_argument('--program', type=pathlib.Path)
    parser.add_argument('--pass', metavar='TEXT', help='a whole line of the output')
    parser.add_argument('--kernel')
    parser.add_argument('--build-dir', type=pathlib.Path, default=pathlib.Path('.'))
    parser.add_argument('--timeout', type=float, default=100, help='seconds for the machine')
    parser.add_argument('--get-kernel', type=pathlib.Path, metavar='DIR')
    arguments = parser.parse_args()
    has_test = arguments.init and arguments.program and getattr(arguments, 'pass')
    if not arguments.get_kernel and not has_test:
        parser.error('--init, --program and --pass, or --get-kernel')
    try:
        if arguments.get_kernel:
            return get_kernel(arguments.get_kernel)
        return run_test(arguments)
    except CannotRun as reason:
        print(f'run_in_qemu: skipped: {reason}')
        return SKIPPED
    except (OSError, subprocess.SubprocessError) as error:
        print(f'run_in_qemu: {error}')
        return 1


if __name__ == '__main__':
    sys.exit(main())
