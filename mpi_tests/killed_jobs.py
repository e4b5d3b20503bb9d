#!/usr/bin/env python3
"""MPI jobs that are killed at a random moment, and what they leave:

    killed_jobs.py RUN_RANKS MPIRUN RANKS SECONDS PROGRAM HSHM

A job lives beside them all the while. Of those that are killed (a rank, mpirun, or all at once)
- some gave their segment's name back: nothing of them is left;
- after some `hshm clean` removes what is left;
- after each of them the next job starts under the same url.
The living job's segment is never touched. HSHM_KILLED_JOBS says how many are killed (12; 60 with
HSHM_TEST_FULL=1), HSHM_KILLED_JOBS_SEED repeats a run.
"""

import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import time

RUN_RANKS, MPIRUN, RANKS, SECONDS, PROGRAM, HSHM = sys.argv[1:]
FOR_EVER = 1 << 40
PATIENCE_S = 60
KINDS = ('unlinked', 'restarted', 'cleaned')


def fail(what):
    raise AssertionError(what)


def wait_until(is_so, what):
    end = time.monotonic() + PATIENCE_S
    while not is_so():
        if time.monotonic() > end:
            fail(f'after {PATIENCE_S} s: {what}')
        time.sleep(0.005)


def is_rank(pid):
    """Whether it runs, and is a rank of ours: numbers are reused. A zombie has no program."""
    try:
        return os.path.samefile(f'/proc/{pid}/exe', PROGRAM)
    except OSError:
        return False


def members_of(session):
    """Every process of a session, zombies included."""
    found = []
    for path in pathlib.Path('/proc').glob('[0-9]*/stat'):
        try:
            fields = path.read_text(encoding='utf-8').rsplit(')', 1)[1].split()
        except OSError:
            continue
        if int(fields[3]) == session:  # proc(5): field 6
            found.append(int(path.parent.name))
    return found


def has_gone(pid):
    """Whether its locks are free: the kernel lets them go before it makes a zombie, and after the
    program can be seen no more."""
    try:
        with open(f'/proc/{pid}/stat', encoding='utf-8') as file:
            return file.read().rsplit(')', 1)[1].split()[0] in 'ZX'
    except OSError:
        return True


class Job:
    """One job in a session of its own."""

    def __init__(self, folder, url, naming, rounds):
        self.folder = pathlib.Path(tempfile.mkdtemp(dir=folder))
        self.log = open(self.folder / 'log', 'w', encoding='utf-8')
        self.process = subprocess.Popen(
            [RUN_RANKS, MPIRUN, RANKS, SECONDS, PROGRAM, url, naming, self.folder, str(rounds)],
            stdout=self.log, stderr=self.log, start_new_session=True)

    def ranks(self):
        """Those that live, of those that have begun."""
        return [pid for pid in self.begun() if is_rank(pid)]

    def begun(self):
        """Ranks by what they have written, and by their session while they have not come to it."""
        written = {int(path.suffix[1:]) for path in self.folder.glob('pid.*')}
        return written | set(members_of(self.process.pid))

    def mpirun(self):
        """The only child of `timeout`, which the script has become."""
        try:
            path = f'/proc/{self.process.pid}/task/{self.process.pid}/children'
            with open(path, encoding='utf-8') as file:
                return [int(pid) for pid in file.read().split()]
        except OSError:
            return []  # it has ended

    def wait_ready(self):
        wait_until((self.folder / 'ready').exists, f'no start: {self.text()}')

    def text(self):
        return (self.folder / 'log').read_text(encoding='utf-8')

    def kill(self, victims):
        for pid in victims:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass

    def end(self):
        """What is left of the job ends, as a scheduler ends it."""
        self.process.wait(timeout=PATIENCE_S)
        end = time.monotonic() + 0.2
        while self.ranks() and time.monotonic() < end:
            time.sleep(0.005)
        self.kill(self.ranks())
        self.kill(members_of(self.process.pid))
        wait_until(lambda: all(map(has_gone, self.begun())), 'ranks of a dead job live')
        self.log.close()


def clean():
    done = subprocess.run([HSHM, 'clean', '--json'], capture_output=True, text=True, check=True)
    return [one['name'] for one in json.loads(done.stdout)['removed']]


def finish_one(folder, url):
    job = Job(folder, url, 'named', 20)
    if job.process.wait(timeout=PATIENCE_S) != 0 or 'finished' not in job.text():
        fail(f'a job after a killed one: {job.text()}')
    job.end()


def kill_some_time(job, draw, is_ready):
    """@return whom: a rank, mpirun, or all"""
    wait_until(job.mpirun, 'no mpirun')
    if is_ready:
        job.wait_ready()  # else it may die while it makes the heap
    time.sleep(draw.random() * 0.3)
    everybody = job.ranks() + job.mpirun()
    whom = draw.choice(('one', 'mpirun', 'all'))
    victims = {'one': job.ranks()[:1] or everybody, 'mpirun': job.mpirun(), 'all': everybody}[whom]
    job.kill(victims)
    end = time.monotonic() + 0.3
    while whom == 'one' and job.process.poll() is None and time.monotonic() < end:
        time.sleep(0.005)  # mpirun ends the others, if it has noticed
    return whom


def one_trial(folder, segments, draw, number):
    kind = KINDS[number % 3]
    # Every second job that keeps its name is ready, so that one in three surely leaves a segment.
    is_ready = kind == 'unlinked' or number // 3 % 2 == 0
    naming = 'unlinked' if kind == 'unlinked' else 'named'
    job = Job(folder, 'killed', naming, FOR_EVER)
    try:
        whom = kill_some_time(job, draw, is_ready)
    finally:
        job.kill(job.ranks() + job.mpirun())
        job.end()
    left = sorted(path.name for path in segments.iterdir() if path.name != 'living')
    if kind == 'unlinked' and left:
        fail(f'{left} is left of a job that had given its name back')
    if kind == 'cleaned' and clean() != left:
        fail(f'hshm clean did not remove {left}')
    after = sorted(path.name for path in segments.iterdir())
    if kind != 'restarted' and after != ['living']:
        fail(f'{after} is there after {kind}')
    finish_one(folder, 'killed')
    after = sorted(path.name for path in segments.iterdir())
    if after != ['living']:
        fail(f'{after} is there after the next job')
    return whom, bool(left)


def main():
    seed = int(os.environ.get('HSHM_KILLED_JOBS_SEED', random.randrange(1 << 32)))
    count = int(os.environ.get('HSHM_KILLED_JOBS',
                               '60' if os.environ.get('HSHM_TEST_FULL') == '1' else '12'))
    print(f'HSHM_KILLED_JOBS_SEED={seed}', flush=True)
    draw = random.Random(seed)
    directory = os.environ.get('HSHM_SHM_DIR', '/dev/shm')
    with tempfile.TemporaryDirectory(prefix='hshm-killed-jobs.', dir=directory) as name, \
            tempfile.TemporaryDirectory(prefix='hshm-killed-jobs.') as folder:
        segments = pathlib.Path(name)
        os.environ['HSHM_SHM_DIR'] = name
        # What Open MPI itself leaves of a killed job goes with the folder.
        os.environ['TMPDIR'] = os.environ['OMPI_MCA_btl_vader_backing_directory'] = folder
        living = Job(folder, 'living', 'named', FOR_EVER)
        try:
            living.wait_ready()
            outcomes = [one_trial(folder, segments, draw, number) for number in range(count)]
            if living.process.poll() is not None:
                fail(f'the living job has ended: {living.text()}')
        finally:
            living.kill(living.ranks() + living.mpirun())
            living.end()
        if clean() != ['living']:
            fail('the segment of the last job is not cleaned')
    left = sum(left for _, left in outcomes)
    if left * 4 < count:
        fail(f'{left} of {count} jobs left a segment: too few to say anything')
    killed = {whom: [kind for kind, _ in outcomes].count(whom) for whom in ('one', 'mpirun', 'all')}
    print(f'killed_jobs: {count} jobs killed {killed}, {left} left a segment, all ok')


if __name__ == '__main__':
    main()
