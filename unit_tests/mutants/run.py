#!/usr/bin/env python3
"""Seeds one defect after the other in a copy of the tree and demands that a named test finds it.

    run.py [--build-dir DIR] [--jobs N] [--timeout SECONDS] [--list | --check-apply] [NAME ...]

A mutant is a file NAME.patch beside this script, see README.md. A test that fails, crashes or hangs
has found it; the same test must pass without it first. The last line is `N mutants, M found`; the
exit status is 0 when all were, but for those whose tools are missing. --check-apply only looks
whether each patch still fits the tree, and whether the tests that it names are still there.
"""

import argparse
import json
import os
import pathlib
import re
import resource
import shutil
import signal
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
BASELINE_SECONDS = 300  # a test that passes may be slow; one that hangs on a mutant need not be
BREAKS = {'DOES NOT APPLY', 'DOES NOT BUILD', 'TEST DOES NOT PASS WITHOUT IT', 'NOT FOUND'}

# A private /dev/shm and process table where this user may have them: whatever a mutant leaves
# behind goes with the test.
ISOLATION = ['unshare', '--mount', '--pid', '--fork', '--kill-child', '--mount-proc', 'sh', '-c',
             'mount -t tmpfs tmpfs /dev/shm && "$@"; exit $?', 'sh']


class BadPatch(Exception):
    pass


class Mutant:
    """One patch: its header lines and its hunks."""

    def __init__(self, path):
        self.name = path.stem
        self.text = path.read_text()
        self.what = self.header('what')
        found_by = self.header('found by')
        match = re.fullmatch(r'(\w+)(?: "(.*)")?', found_by)
        if not match:
            raise BadPatch(f'{self.name}: cannot read "# found by: {found_by}"')
        self.test, self.case = match.groups()
        tries = re.search(r'^# tries: (\d+)$', self.text, re.M)
        self.tries = int(tries.group(1)) if tries else 1
        needs = re.search(r'^# needs: (\S+)$', self.text, re.M)
        self.needs = needs.group(1) if needs else None
        # hshm_add_mpi_test makes the tests NAME_np2, NAME_np4 ... of the target NAME; of a test of
        # the malloc library there is NAME_shm.
        self.target = re.sub(r'(_np\d+|_on_\w+|_shm)$', '', self.test)
        self.hunks = self.read_hunks()

    def header(self, key):
        match = re.search(rf'^# {key}: (.+)$', self.text, re.M)
        if not match:
            raise BadPatch(f'{self.name}: there is no line "# {key}: ..."')
        return match.group(1)

    def read_hunks(self):
        """[(file, lines before, lines after)] of the unified diff."""
        hunks, path, before, after = [], None, None, None
        for line in self.text.splitlines():
            if line.startswith('+++ b/'):
                path = line[len('+++ b/'):]
                before = None
            elif line.startswith('@@'):
                before, after = [], []
                hunks.append((path, before, after))
            elif before is None or line.startswith('\\'):
                continue
            else:
                if line[:1] in (' ', '-', ''):
                    before.append(line[1:])
                if line[:1] in (' ', '+', ''):
                    after.append(line[1:])
        if not hunks or any(path is None for path, _, _ in hunks):
            raise BadPatch(f'{self.name}: there is no unified diff in it')
        return hunks

    def apply(self, tree):
        """@return {path: new text}. Line numbers do not matter: what a hunk replaces must be in the
        file exactly once."""
        changed = {}
        for name, before, after in self.hunks:
            path = tree / name
            if not path.is_file():
                raise BadPatch(f'{self.name}: there is no file {name}')
            text = changed.get(path) or path.read_text()
            old, new = ('\n'.join(lines + ['']) for lines in (before, after))
            places = ('\n' + text).count('\n' + old)
            if places != 1:
                raise BadPatch(f'{self.name}: what it replaces is {places} times in {name}')
            changed[path] = ('\n' + text).replace('\n' + old, '\n' + new)[1:]
        return changed


def load(names):
    mutants = [Mutant(path) for path in sorted(HERE.glob('*.patch'))]
    unknown = set(names) - {mutant.name for mutant in mutants}
    if unknown:
        raise BadPatch('no such mutant: ' + ', '.join(sorted(unknown)))
    return [mutant for mutant in mutants if not names or mutant.name in names]


def literal_end(case):
    """What stands in the source of a test's name: a suite puts its class in front, a template its
    type behind."""
    return re.sub(r'^\w+(?= )| - \w+$', '', case)


def check_apply(mutants):
    sources = [p.read_text() for folder in ('unit_tests', 'mpi_tests', 'examples')
               for p in (ROOT / folder).rglob('*') if p.suffix in ('.cc', '.h', '.py')]
    # "one" "two" of the language is one string.
    tests = re.sub(r'"\s*"', '', '\n'.join(sources))
    wrong = []
    for mutant in mutants:
        try:
            mutant.apply(ROOT)
            if mutant.case and literal_end(mutant.case) not in tests:
                wrong.append(f'{mutant.name}: no test is named "{mutant.case}"')
            if mutant.case and f'TEMPLATE_TEST_CASE("{mutant.case}"' in tests:
                wrong.append(f'{mutant.name}: "{mutant.case}" is a template, name one of its types')
        except BadPatch as bad:
            wrong.append(str(bad))
    for line in wrong:
        print(line)
    print(f'{len(mutants)} mutants, {len(mutants) - len(wrong)} apply')
    return 1 if wrong else 0


class Copy:
    """The tracked files in a folder of their own, configured and built there."""

    def __init__(self, folder, jobs):
        self.tree = folder / 'tree'
        self.build = folder / 'build'
        self.jobs = jobs
        self.tests = {}
        probe = subprocess.run(ISOLATION + ['true'], stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL)
        self.isolation = ISOLATION if probe.returncode == 0 else []

    def refresh(self):
        """Only files that differ are written, so that only they are compiled."""
        listed = subprocess.run(['git', '-C', ROOT, 'ls-files', '-z'], check=True,
                                stdout=subprocess.PIPE).stdout.decode().split('\0')
        wanted = {name for name in listed if name and (ROOT / name).is_file()}
        for path in [p for p in self.tree.rglob('*') if p.is_file()]:
            if str(path.relative_to(self.tree)) not in wanted:
                path.unlink()
        for name in wanted:
            source, copy = ROOT / name, self.tree / name
            if copy.is_file() and copy.read_bytes() == source.read_bytes():
                continue
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, copy)

    def configure(self):
        command = ['cmake', '-S', self.tree, '-B', self.build, '-DCMAKE_BUILD_TYPE=RelWithDebInfo',
                   '-DHSHM_ENABLE_ASSERTS=ON', '-DHSHM_WERROR=OFF', '-DHSHM_BUILD_EXAMPLES=ON',
                   '-DHSHM_BUILD_BENCHMARKS=ON']
        if shutil.which('ninja') and not (self.build / 'CMakeCache.txt').exists():
            command += ['-G', 'Ninja']
        self.quietly(command, 'cannot configure the copy')
        self.read_tests()

    def read_tests(self):
        """Only tests whose program has been built have a command."""
        shown = subprocess.run(['ctest', '--test-dir', self.build, '--show-only=json-v1'],
                               check=True, stdout=subprocess.PIPE)
        self.tests = {test['name']: test for test in json.loads(shown.stdout)['tests']}

    def quietly(self, command, complaint):
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode != 0:
            sys.exit(f'{complaint}:\n{done.stdout[-4000:]}')

    def compile(self, target):
        """@return the compiler's complaint, '' when it has none"""
        command = ['nice', 'cmake', '--build', self.build, '--target', target, '--parallel',
                   str(self.jobs)]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        return '' if done.returncode == 0 else done.stdout[-3000:]

    def run(self, mutant, timeout):
        """@return (how the test ended, its output): 'passed', 'failed' or 'hung'"""
        test = self.tests[mutant.test]
        command = list(test['command'])
        if mutant.case:
            command.append(re.sub(r'([\\,\["])', r'\\\1', mutant.case))
        environment = dict(os.environ)
        for one in test.get('properties', []):
            if one['name'] == 'ENVIRONMENT':
                environment.update(line.split('=', 1) for line in one['value'])
        process = subprocess.Popen(
            self.isolation + command, cwd=self.build, env=environment, text=True,
            errors='replace', start_new_session=True, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CORE, (0, 0)))
        try:
            output, _ = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            output, _ = process.communicate()
            return 'hung', output
        nothing_ran = 'No test cases matched' in output or 'No tests ran' in output
        return 'passed' if process.returncode == 0 and not nothing_ran else 'failed', output


def passes_without(copy, mutant, seen):
    """Whether the mutant's test passes in the tree as it is. Asked once for each test."""
    key = (mutant.test, mutant.case)
    if key not in seen:
        if mutant.test not in copy.tests:
            seen[key] = f'there is no test {mutant.test}'
        else:
            complaint = copy.compile(mutant.target)
            if not complaint:
                copy.read_tests()
                ended, output = copy.run(mutant, BASELINE_SECONDS)
                complaint = '' if ended == 'passed' else f'{ended}:\n{output[-3000:]}'
            seen[key] = complaint
        if seen[key]:
            print(f'{mutant.test} "{mutant.case}" without a mutant: {seen[key]}', flush=True)
    return not seen[key]


def try_mutant(copy, mutant, timeout, seen):
    """@return the verdict. The copy is as before afterwards."""
    if not passes_without(copy, mutant, seen):
        return 'TEST DOES NOT PASS WITHOUT IT'
    try:
        changed = mutant.apply(copy.tree)
    except BadPatch as bad:
        print(bad, flush=True)
        return 'DOES NOT APPLY'
    original = {path: path.read_text() for path in changed}
    try:
        for path, text in changed.items():
            path.write_text(text)
        complaint = copy.compile(mutant.target)
        if complaint:
            print(complaint, flush=True)
            return 'DOES NOT BUILD'
        for _ in range(mutant.tries):
            ended, _ = copy.run(mutant, timeout)
            if ended != 'passed':
                break
    finally:
        for path, text in original.items():
            path.write_text(text)
    return 'NOT FOUND' if ended == 'passed' else f'found: {ended}'


def run_all(mutants, options):
    copy = Copy(options.build_dir.resolve(), options.jobs)
    copy.refresh()
    copy.configure()
    seen, found, skipped = {}, 0, 0
    width = max(len(mutant.name) for mutant in mutants)
    for mutant in sorted(mutants, key=lambda m: (m.target, m.case or '', m.name)):
        if mutant.needs and not shutil.which(mutant.needs):
            skipped += 1
            print(f'{mutant.name:{width}}  skipped: there is no {mutant.needs}', flush=True)
            continue
        start = time.monotonic()
        verdict = try_mutant(copy, mutant, options.timeout, seen)
        found += verdict not in BREAKS
        print(f'{mutant.name:{width}}  {verdict:14} {time.monotonic() - start:6.1f} s  '
              f'{mutant.test} {mutant.case or ""}', flush=True)
    left_out = f', {skipped} skipped' if skipped else ''
    print(f'{len(mutants)} mutants, {found} found{left_out}')
    return 0 if found + skipped == len(mutants) else 1


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('names', nargs='*', metavar='NAME')
    parser.add_argument('--build-dir', type=pathlib.Path, default=ROOT / 'build' / 'mutants')
    parser.add_argument('--jobs', type=int, default=2)
    parser.add_argument('--timeout', type=float, default=60, help='seconds until a test hangs')
    parser.add_argument('--list', action='store_true')
    parser.add_argument('--check-apply', action='store_true')
    options = parser.parse_args()
    try:
        mutants = load(options.names)
    except BadPatch as bad:
        sys.exit(str(bad))
    if not mutants:
        sys.exit('there are no mutants')
    if options.list:
        for mutant in mutants:
            print(f'{mutant.name}: {mutant.what}\n    {mutant.test} {mutant.case or ""}')
        return 0
    return check_apply(mutants) if options.check_apply else run_all(mutants, options)


if __name__ == '__main__':
    sys.exit(main())
