"""The programs that run_program.py runs, and the work that each is given.

A maker is called with the paths of the helpers and with `full`, and returns (commands, files,
needed): argument lists, texts by name for the folder they run in, programs that must be there.
Where sizes differ, the first is for every day and takes seconds, the second for full.
"""
import random
import shutil
import subprocess

PYTHON_WORK = r'''
import collections, hashlib, json, os, random, subprocess, threading
random.seed(1)
table = {str(i): [random.random() for _ in range(i % 50)] for i in range(PYTHON_TURNS)}
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
for my $i (1 .. PERL_TURNS) {
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

CXX_HEAD = r'''
#include <algorithm>
#include <cstdio>
#include <map>
#include <numeric>
#include <string>
#include <tuple>
#include <vector>
template <int N> struct Key { int value_; auto operator<=>(const Key&) const = default; };
template <int N> int Count(int turns) {
  std::map<Key<N>, std::vector<std::tuple<int, std::string, Key<N>>>> table;
  for (int i = 0; i < turns; ++i) {
    table[{i % (N + 7)}].emplace_back(i * 7919 % 1000, std::to_string(i * N), Key<N>{i % 13});
  }
  int sum = 0;
  for (auto& [key, rows] : table) {
    std::sort(rows.begin(), rows.end());
    sum += key.value_ + std::get<0>(rows.back());
  }
  return sum;
}
'''

SQL_WORK = '''
CREATE TABLE t(a INTEGER PRIMARY KEY, b TEXT, c REAL);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < SQL_ROWS)
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
git fast-import --quiet < ../history
git checkout -q main
git checkout -q -b side HEAD~3
echo side > side.txt && git add . && git commit -q -m side
git checkout -q main && git merge -q --no-edit side
git count-objects -v | grep -v size
git gc -q --aggressive --prune=now
git count-objects -v | grep -v size
git fsck --full --strict
git log --stat --format=%s%n%T | sha256sum
git rev-list --objects --all | git cat-file --batch-check | sha256sum
git clone -q --no-local . ../copy
git -C ../copy diff HEAD~2 | sha256sum
'''

CMAKE_WORK = '''
cmake_minimum_required(VERSION 3.20)
project(work LANGUAGES NONE)
set(list "")
foreach(i RANGE CMAKE_TURNS)
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
for i in $(seq SHELL_TURNS); do
  part=$(seq $i 100 | while read n; do echo $((n * i)); done | sort -n | tail -1)
  total=$((total + part))
done
(total=0; echo "in a subshell: $total")
echo "$total"
'''


def git_history(commits):
    """Input of git fast-import: text files that change a little with every commit."""
    numbers = random.Random(7)
    texts = [[f'line {i} of {name}: {numbers.randrange(10 ** 9)}\n' for i in range(300)]
             for name in range(20)]
    parts = []
    for commit in range(commits):
        parts.append(f'commit refs/heads/main\nmark :{commit + 1}\n'
                     f'committer T <t@example.org> {1600000000 + commit} +0000\n'
                     f'data {len(str(commit))}\n{commit}\n')
        for _ in range(3):
            name = numbers.randrange(len(texts))
            texts[name][numbers.randrange(300)] = f'changed in {commit}: {numbers.random()}\n'
            text = ''.join(texts[name])
            parts.append(f'M 644 inline folder{name % 4}/{name}.txt\ndata {len(text)}\n{text}\n')
    return ''.join(parts) + 'done\n'


def python3(_, full):
    work = PYTHON_WORK.replace('PYTHON_TURNS', '20000' if full else '3000')
    return [['/usr/bin/python3', 'work.py']], {'work.py': work}, ['/usr/bin/python3']


def python3_tests(_, full):
    """Python's own tests, with malloc for all objects; full: with its own for small ones, too."""
    tests = ['test_dict', 'test_list', 'test_json'] + (['test_threading'] if full else [])
    command = ['/usr/bin/python3', '-m', 'test', '-v', *tests]
    has_tests = subprocess.run(['/usr/bin/python3', '-c', 'import test.test_dict'], check=False,
                               stderr=subprocess.DEVNULL).returncode == 0
    needed = ['/usr/bin/python3' if has_tests else 'libpython3-testsuite']
    with_malloc = ['env', 'PYTHONMALLOC=malloc', *command]
    return [with_malloc, command] if full else [with_malloc], {}, needed


def perl(_, full):
    work = PERL_WORK.replace('PERL_TURNS', '3000000' if full else '200000')
    return [['perl', 'work.pl']], {'work.pl': work}, ['perl']


def gxx(_, full):
    count = 150 if full else 2
    calls = ''.join(f'  std::printf("%d\\n", Count<{i}>({100 + i}));\n' for i in range(count))
    commands = [['g++', '-O2', '-std=c++20', '-c', 'work.cc', '-o', 'work.o'],
                ['g++', 'work.o', '-o', 'work'], ['./work']]
    return commands, {'work.cc': f'{CXX_HEAD}int main() {{\n{calls}}}\n'}, ['g++']


def sqlite3(_, full):
    work = SQL_WORK.replace('SQL_ROWS', '1000000' if full else '50000')
    return [['sqlite3', 'work.db', '.read work.sql']], {'work.sql': work}, ['sqlite3']


def git(_, full):
    return [['bash', 'work.sh']], {'work.sh': GIT_WORK, 'history': git_history(
        4000 if full else 400)}, ['git', 'bash']


def cmake(_, full):
    work = CMAKE_WORK.replace('CMAKE_TURNS', '60000' if full else '2000')
    return [['cmake', '-S', '.', '-B', 'build'], ['cat', 'build/result.txt']], \
        {'CMakeLists.txt': work}, ['cmake']


def shell(_, full):
    work = SHELL_WORK.replace('SHELL_TURNS', '300' if full else '10')
    return [['bash', 'work.sh'], ['sh', 'work.sh']], {'work.sh': work}, ['bash', 'sh']


def life(helpers, _):
    return [[helpers[0], helpers[1]]], {}, []


PROGRAMS = {'python3': python3, 'python3_tests': python3_tests, 'perl': perl, 'g++': gxx,
            'sqlite3': sqlite3, 'git': git, 'cmake': cmake, 'shell': shell, 'life': life}


def missing(needed):
    return [program for program in needed if shutil.which(program) is None]
