#!/usr/bin/env python3
"""Runs a program twice, on the system's malloc and on libhshm_malloc, and compares what it does.

    run_program.py --library LIB --backend private|shm [--helper PATH]... NAME

Exit status 77, with a line that says why, when the program is not installed. Both runs have the
same environment but for LD_PRELOAD and HSHM_MALLOC_BACKEND, a folder of their own to work in, and
must end with the same status, output and files.
"""
import argparse
import hashlib
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

SKIPPED = 77
TIMEOUT_S = 240

PYTHON_WORK = r'''
import collections, hashlib, json, os, random, subprocess, threading
random.seed(1)
table = {str(i): [random.random() for _ in range(i % 50)] for i in range(3000)}
text = json.dumps(table, sort_keys=True)
assert json.loads(text) == table
print(hashlib.sha256(text.encode()).hexdigest())
results = collections.Counter()
lock = threading.Lock()
def work(seed):
    mine = random.Random(seed)
    words = [str(mine.randrange(10 ** mine.randrange(1, 40))) for _ in range(4000)]
    with lock:
        results[seed] = len(json.dumps(words))
threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(sorted(results.items()))
print(subprocess.run(['echo', 'a child'], capture_output=True, text=True).stdout)
child = os.fork()
if child == 0:
    table.clear()
    os._exit(len(json.dumps([str(i) for i in range(20000)])) % 200)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), len(table))
big = bytearray(50_000_000)
big += b'x' * 1000
print(len(big), sum(big[-1000:]))
'''

PERL_WORK = r'''
my %count;
my $state = 1;
for my $i (1 .. 200000) {
    $state = ($state * 1103515245 + 12345) % 2147483648;
    $count{"key" . ($state % 5000)} .= chr(97 + $state % 26);
    delete $count{"key" . ($i % 5000)} if $i % 7 == 0;
}
my $total = 0;
$total += length $count{$_} for sort keys %count;
print scalar(keys %count), " $total\n";
my $child = fork();
if ($child == 0) { %count = (); exit 3; }
waitpid($child, 0);
print $? >> 8, " ", scalar(keys %count), "\n";
'''

CXX_WORK = r'''
#include <algorithm>
#include <cstdio>
#include <map>
#include <string>
#include <vector>
int main() {
  std::map<std::string, std::vector<int>> table;
  for (int i = 0; i < 1000; ++i) table[std::to_string(i % 37)].push_back(i * 7919 % 1000);
  for (auto& [key, values] : table) std::sort(values.begin(), values.end());
  for (const auto& [key, values] : table) std::printf("%s %d\\n", key.c_str(), values.back());
}
'''

SQL_WORK = '''
CREATE TABLE t(a INTEGER PRIMARY KEY, b TEXT, c REAL);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000)
  INSERT INTO t SELECT i, 'text ' || (i * 7919 % 1000), i * 0.5 FROM n;
CREATE INDEX tb ON t(b);
SELECT b, count(*), sum(c) FROM t GROUP BY b ORDER BY 2 DESC, 1 LIMIT 5;
DELETE FROM t WHERE a % 3 = 0;
SELECT count(*), total(c) FROM t;
VACUUM;
SELECT group_concat(b) FROM (SELECT b FROM t ORDER BY c DESC LIMIT 20);
'''

GIT_WORK = '''
set -e
git init -q -b main repo
cd repo
git config user.name Tester
git config user.email tester@example.org
git config gc.auto 0
for i in 1 2 3 4 5 6 7 8; do
  for f in a b c d e; do seq $((i * 10)) $((i * 1000)) > $f.txt; done
  git add . && git commit -q -m "commit $i"
done
git checkout -q -b side HEAD~3
echo side > side.txt && git add . && git commit -q -m side
git checkout -q main && git merge -q --no-edit side
git gc -q --aggressive --prune=now
git fsck --full --strict
git log --stat --format=%s%n%T | cat
git clone -q . ../copy
git -C ../copy diff HEAD~2 | sha256sum
'''

CMAKE_WORK = '''
cmake_minimum_required(VERSION 3.20)
project(work LANGUAGES NONE)
set(list "")
foreach(i RANGE 2000)
  math(EXPR value "${i} * 7919 % 1000")
  list(APPEND list "v${value}")
endforeach()
list(REMOVE_DUPLICATES list)
list(SORT list)
string(SHA256 hash "${list}")
file(WRITE "${CMAKE_BINARY_DIR}/result.txt" "${hash}")
message(STATUS "hash ${hash}")
'''

SHELL_WORK = r'''
total=0
for i in 1 2 3 4 5 6 7 8 9 10; do
  part=$(seq $i 100 | while read n; do echo $((n * i)); done | sort -n | tail -1)
  total=$((total + part))
done
(total=0; echo "in a subshell: $total")
echo "$total"
'''


def python(_):
    return [['/usr/bin/python3', 'work.py']], {'work.py': PYTHON_WORK}, ['/usr/bin/python3']


def perl(_):
    return [['perl', 'work.pl']], {'work.pl': PERL_WORK}, ['perl']


def gxx(_):
    commands = [['g++', '-O2', '-std=c++20', '-c', 'work.cc', '-o', 'work.o'],
                ['g++', 'work.o', '-o', 'work'], ['./work']]
    return commands, {'work.cc': CXX_WORK}, ['g++']


def sqlite3(_):
    return [['sqlite3', 'work.db', '.read work.sql']], {'work.sql': SQL_WORK}, ['sqlite3']


def git(_):
    return [['bash', 'work.sh']], {'work.sh': GIT_WORK}, ['git', 'bash']


def cmake(_):
    return [['cmake', '-S', '.', '-B', 'build'], ['cat', 'build/result.txt']], \
        {'CMakeLists.txt': CMAKE_WORK}, ['cmake']


def shell(_):
    return [['bash', 'work.sh'], ['sh', 'work.sh']], {'work.sh': SHELL_WORK}, ['bash', 'sh']


def life(helpers):
    return [[helpers[0], helpers[1]]], {}, []


PROGRAMS = {'python3': python, 'perl': perl, 'g++': gxx, 'sqlite3': sqlite3, 'git': git,
            'cmake': cmake, 'shell': shell, 'life': life}
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


def comparable(results, name):
    """cmake says how long it took."""
    if name != 'cmake':
        return results
    return [(status, '\n'.join(line for line in str(text).split('\n') if ' done' not in line))
            for status, text in results]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--library', required=True)
    parser.add_argument('--backend', required=True, choices=['private', 'shm'])
    parser.add_argument('--helper', action='append', default=[])
    parser.add_argument('name', choices=sorted(PROGRAMS))
    options = parser.parse_args()
    commands, files, needed = PROGRAMS[options.name](options.helper)
    missing = [program for program in needed if shutil.which(program) is None]
    if missing:
        print(f'SKIPPED: {", ".join(missing)} not installed')
        return SKIPPED
    expected = run(commands, files, {})
    if any(result[0] != 0 for result in expected if isinstance(result[0], int)):
        print(f'the program fails without the library too: {expected}')
        return 1
    found = run(commands, files, {'LD_PRELOAD': options.library,
                                  'HSHM_MALLOC_BACKEND': options.backend})
    if comparable(found, options.name) == comparable(expected, options.name):
        print(f'{options.name}: the same {len(found)} results')
        return 0
    print(f'without the library:\n{expected}\nwith it:\n{found}')
    return 1


if __name__ == '__main__':
    sys.exit(main())
