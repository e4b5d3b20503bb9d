"""What the tests of the command line share: running `hshm`, and processes with segments."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import unittest

TOOL = os.environ.get('HSHM_TOOL', 'hshm')
HOLDER = os.environ.get('HSHM_CLI_HOLDER', 'cli_holder')
MIB = 1 << 20


def is_looker(pid):
    """Whether it is, or was, an hshm."""
    try:
        return pathlib.Path(f'/proc/{pid}/comm').read_text(encoding='utf-8') == 'hshm\n'
    except OSError:
        return True


class Holder:
    """A process with a segment; dies by kill -9 at the latest with the test."""

    def __init__(self, kind, name, size=4 * MIB, allocator='mp', environment=None, within=()):
        self.process = subprocess.Popen(
            [*within, HOLDER, kind, name, str(size), allocator], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
        self.pid = self.process.pid
        self.url = self.process.stdout.readline().strip()
        if self.url:  # else it could not make or find the segment, and has ended
            self.do('ready')  # its allocator is made

    def do(self, line):
        self.process.stdin.write(line + '\n')
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def stop(self, signal_number=signal.SIGSTOP):
        os.kill(self.pid, signal_number)

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            stream.close()


class CliTest(unittest.TestCase):
    """Each test has a shared-memory directory of its own, in /dev/shm, gone at its end."""

    def setUp(self):
        self.directory = tempfile.mkdtemp(prefix='hshm-cli-test.', dir='/dev/shm')
        self.environment = dict(os.environ, HSHM_SHM_DIR=self.directory)
        self.holders = []

    def tearDown(self):
        for holder in self.holders:
            holder.kill()
        subprocess.run(['rm', '-rf', self.directory], check=True)

    def hold(self, kind, name, size=4 * MIB, allocator='mp', within=()):
        holder = Holder(kind, name, size, allocator, self.environment, within)
        self.holders.append(holder)
        return holder

    def path(self, name):
        return os.path.join(self.directory, name)

    def names(self):
        return sorted(path.name for path in pathlib.Path(self.directory).iterdir())

    def run_tool(self, *arguments, timeout=60):
        return subprocess.run([TOOL, *arguments], env=self.environment, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=timeout,
                              check=False)

    def tool(self, *arguments, status=0):
        """What the tool prints, its exit status as expected."""
        done = self.run_tool(*arguments)
        self.assertEqual(done.returncode, status, f'{arguments}: {done.stdout}{done.stderr}')
        return done.stdout

    def json(self, *arguments, status=0):
        return json.loads(self.tool(*arguments, '--json', status=status))

    def segments(self, *arguments):
        """The segments that `hshm ls` shows, by name, but for those of other tests and for what
        libhshm_malloc is to a process where all tests run on it. Another hshm, of a test that runs
        beside this one, has each of them open for a moment: it is left out."""
        found = self.json('ls', *arguments)['segments']
        for one in found:
            one['open_in'] = [pid for pid in one['open_in'] if not is_looker(pid)]
        ours = {holder.pid for holder in self.holders}
        return {one['name']: one for one in found
                if one['name'] != 'hshm_malloc' and
                (one['where'].startswith(self.directory) or ours & set(one['open_in']))}


def main():
    """Runs the tests of the calling file; arguments are names of tests, without their classes.
    Ends with 77 when all of them were skipped."""
    words = []
    for name in sys.argv[1:]:
        words += [name] if name.startswith('-') else ['-k', name]
    result = unittest.main(module='__main__', argv=[sys.argv[0], *words], exit=False).result
    if result.testsRun == len(result.skipped) > 0:
        sys.exit(77)
    sys.exit(not result.wasSuccessful())
