#!/usr/bin/env python3
"""Runs a program twice, on the system's malloc and on libhshm_malloc, and compares what it does.

    run_program.py --set NAME=VALUE... [--helper PATH]... [--full] NAME

Both runs have the same environment but for what --set says, a folder of their own to work in, and
must end with the same status, output and files. Exit status 77, with a line that says why, when the
program is not installed. --full, or HSHM_TEST_FULL=1: large work, up to minutes, in place of small.
"""
import argparse
import difflib
import hashlib
import os
import pathlib
import re
import subprocess
import sys
import tempfile

from programs import PROGRAMS, missing

SKIPPED = 77
TIMEOUT_S = 500

# Compared as files too; what else a program leaves has dates and paths in it.
COMPARED_FILES = ('work.o', 'work.db', 'build/result.txt')


def run(commands, files, extra_environment):
    """All commands in a new folder: (status, output) of each, and digests of files."""
    environment = {**os.environ, 'LC_ALL': 'C', 'PYTHONHASHSEED': '0', 'HOME': '/nonexistent',
                   'GIT_AUTHOR_DATE': '1700000000 +0000', 'GIT_COMMITTER_DATE': '1700000000 +0000',
                   **extra_environment}
    results = []
    with tempfile.TemporaryDirectory(prefix='hshm_malloc_') as folder:
        for name, text in files.items():
            pathlib.Path(folder, name).write_text(text, encoding='utf-8')
        for command in commands:
            done = subprocess.run(command, cwd=folder, env=environment, text=True,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                  timeout=TIMEOUT_S, check=False)
            results.append((done.returncode, done.stdout.replace(folder, 'FOLDER')))
        for name in COMPARED_FILES:
            path = pathlib.Path(folder, name)
            if path.exists():
                results.append((name, hashlib.sha256(path.read_bytes()).hexdigest()))
    return results


def verdicts(text):
    """Of Python's unittest -v, which also says how long it took: each test with its verdict."""
    found = re.findall(r'^(test\w+ \([\w.]+\)).*?\.\.\. .*?(ok|FAIL|ERROR|skipped [^\n]*)$', text,
                       re.MULTILINE | re.DOTALL)
    return sorted(found) + re.findall(r'^Result: .*|^Tests result: .*', text, re.MULTILINE)


def comparable(results, name):
    """Without how long it took."""
    if name == 'cmake':
        return [(status, '\n'.join(line for line in str(text).split('\n') if ' done' not in line))
                for status, text in results]
    if name == 'python3_tests':
        return [(status, verdicts(text)) for status, text in results]
    return results


def lines_of(results):
    return [f'{what}: {line}' for what, text in results
            for line in (text.split('\n') if isinstance(text, str) else text)]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n', maxsplit=1)[0])
    parser.add_argument('--set', action='append', default=[], dest='settings')
    parser.add_argument('--helper', action='append', default=[])
    parser.add_argument('--full', action='store_true',
                        default=os.environ.get('HSHM_TEST_FULL') == '1')
    parser.add_argument('name', choices=sorted(PROGRAMS))
    options = parser.parse_args()
    commands, files, needed = PROGRAMS[options.name](options.helper, options.full)
    if missing(needed):
        print(f'SKIPPED: {", ".join(missing(needed))} not installed')
        return SKIPPED
    expected = comparable(run(commands, files, {}), options.name)
    if any(result[0] != 0 for result in expected if isinstance(result[0], int)):
        print('the program fails without the library too:', *lines_of(expected), sep='\n')
        return 1
    settings = dict(setting.split('=', 1) for setting in options.settings)
    found = comparable(run(commands, files, settings), options.name)
    if found == expected:
        print(f'{options.name}: the same {len(found)} results')
        return 0
    print('\n'.join(difflib.unified_diff(lines_of(expected), lines_of(found), 'without the library',
                                         'with it', lineterm='', n=2)))
    return 1


if __name__ == '__main__':
    sys.exit(main())
