#!/usr/bin/env python3
"""Two containers that share one directory of segments: each has process numbers and mounts of its
own, so its rank is process 1, and a /dev/shm of its own, in which the shared directory lies. The
ranks have one heap; one is killed, the other goes on."""

import json
import os
import pathlib
import select
import shutil
import signal
import subprocess

from hshm_cli import TOOL, CliTest, main

WATCHDOG_SECONDS = 2
SHARED = '/dev/shm/shared'
KILLS_AT_WORK = 10
BLOCK = 100
BLOCKS = 2000

# A user without rights has them in a user namespace of its own.
UNSHARE = ['unshare', *(['--map-root-user'] if os.geteuid() else []), '--pid', '--mount', '--fork',
           '--kill-child', '--mount-proc', '--propagation', 'private']
# The directory comes along below the tmpfs that is put over /dev/shm.
MOUNT = (f'mount --bind "$1" /mnt && mount -t tmpfs tmpfs /dev/shm && mkdir {SHARED} && '
         f'mount --bind /mnt {SHARED} && umount /mnt && shift && exec "$@"')


class NamespacesTest(CliTest):

    def setUp(self):
        super().setUp()
        probe = [*self.container(), 'true']
        if not shutil.which('unshare') or subprocess.run(probe, capture_output=True,
                                                         check=False).returncode != 0:
            self.skipTest('no namespaces of processes and mounts may be made here')

    def container(self):
        return [*UNSHARE, 'sh', '-c', MOUNT, 'sh', self.directory]

    def rank(self, kind, name='heap', **rest):
        """A rank in a container of its own."""
        outside = self.environment
        self.environment = dict(outside, HSHM_SHM_DIR=SHARED)
        try:
            rank = self.hold(kind, name, within=self.container(), **rest)
        finally:
            self.environment = outside
        self.assertTrue(rank.url, f'{kind} {name} failed')
        children = pathlib.Path(f'/proc/{rank.pid}/task/{rank.pid}/children').read_text().split()
        rank.inner_pid = int(children[0])
        return rank

    def ask(self, rank, line):
        """What the rank answers; it has as long as nobody may hang."""
        rank.process.stdin.write(line + '\n')
        rank.process.stdin.flush()
        ready, _, _ = select.select([rank.process.stdout], [], [], WATCHDOG_SECONDS)
        self.assertTrue(ready, f'no answer to "{line}" for {WATCHDOG_SECONDS} s')
        return rank.process.stdout.readline().strip()

    def kill(self, rank):
        os.kill(rank.inner_pid, signal.SIGKILL)
        rank.process.wait()

    def offsets(self, rank, count):
        return [self.ask(rank, f'offset {i}') for i in range(count)]

    def tool_in(self, rank, *arguments, status=0):
        """The command line, as a process of the rank's container."""
        user = ['--user', '--preserve-credentials'] if os.geteuid() else []
        done = subprocess.run(
            ['nsenter', f'--target={rank.inner_pid}', *user, '--pid', '--mount', TOOL, *arguments,
             '--json'], env=dict(self.environment, HSHM_SHM_DIR=SHARED), text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60, check=False)
        if status is not None:
            self.assertEqual(done.returncode, status, f'{arguments}: {done.stdout}{done.stderr}')
        return json.loads(done.stdout)

    def stale_in(self, rank):
        """What the doctor says there of stale segments, whatever else may be wrong."""
        findings = self.tool_in(rank, 'doctor', status=None)['findings']
        return {one['name']: one['what'] for one in findings}['stale segments']

    def two_ranks(self):
        first = self.rank('named')
        second = self.rank('attach')
        found = self.segments()['heap']
        self.assertEqual([one['pid'] for one in found['holders']], [1, 1], 'the numbers collide')
        return first, second

    def test_ranks_of_two_containers_free_each_others_blocks(self):
        first, second = self.two_ranks()
        for rank in (first, second):
            self.assertEqual(self.ask(rank, f'alloc {BLOCK} {BLOCKS}'), 'ok')
        for rank, other in ((first, second), (second, first)):
            for offset in self.offsets(rank, 100):
                self.ask(other, f'know {offset}')
        for rank in (first, second):
            self.assertEqual(self.ask(rank, f'free {BLOCKS} 100'), 'ok')
        live = int(self.ask(first, 'live'))
        self.assertEqual(live, int(self.ask(second, 'live')))
        self.assertEqual(self.ask(first, 'check'), 'ok')

    def the_other_goes_on(self, dead, living):
        """One has blocks and is killed, the other takes its place."""
        self.assertEqual(self.ask(living, f'alloc {BLOCK} {BLOCKS}'), 'ok')
        self.ask(living, f'stamp {BLOCK} 90')
        empty = int(self.ask(living, 'fill 3000'))
        self.assertEqual(self.ask(dead, f'alloc {BLOCK} {BLOCKS}'), 'ok')
        left = self.offsets(dead, 500)
        self.assertEqual(self.ask(living, 'recover'), '0', 'a living peer was taken for dead')
        self.kill(dead)
        self.assertEqual(self.ask(living, 'recover'), '1')
        self.assertEqual(self.ask(living, f'stamped {BLOCK} 90 {BLOCKS}'), 'ok')
        for offset in left:
            self.ask(living, f'know {offset}')
        self.assertEqual(self.ask(living, f'free {BLOCKS} 500'), 'ok')
        self.assertEqual(self.ask(living, 'check'), 'ok')
        rest = int(self.ask(living, 'fill 3000'))
        lost_at_most = (BLOCKS - 500) * 128 // 3000 + 64
        self.assertGreaterEqual(rest, empty - lost_at_most)
        self.assertEqual(self.ask(living, f'stamped {BLOCK} 90 {BLOCKS}'), 'ok')

    def test_the_creator_is_killed_and_the_other_container_goes_on(self):
        first, second = self.two_ranks()
        self.the_other_goes_on(first, second)

    def test_who_attached_is_killed_and_the_creators_container_goes_on(self):
        first, second = self.two_ranks()
        self.the_other_goes_on(second, first)

    def test_who_finds_no_room_robs_no_living_rank_of_the_other_container(self):
        first, second = self.two_ranks()
        for rank, byte in ((first, 1), (second, 2)):
            self.assertEqual(self.ask(rank, f'alloc {BLOCK} {BLOCKS}'), 'ok')
            self.ask(rank, f'stamp {BLOCK} {byte}')
        for rank in (first, second):
            self.assertGreater(int(self.ask(rank, 'fill 3000')), 0)
        for rank, byte in ((first, 1), (second, 2)):
            self.assertEqual(self.ask(rank, f'stamped {BLOCK} {byte} {BLOCKS}'), 'ok')
            self.assertEqual(self.ask(rank, 'recover'), '0')
            self.assertEqual(self.ask(rank, 'check'), 'ok')

    def test_ranks_killed_at_work_are_survived_each_time(self):
        """With its locks held, often; the next rank has the dead one's number again."""
        survivor = self.rank('named')
        self.ask(survivor, f'alloc {BLOCK} {BLOCKS}')
        self.ask(survivor, f'stamp {BLOCK} 7')
        for trial in range(KILLS_AT_WORK):
            victim = self.rank('attach')
            self.assertEqual(self.ask(victim, 'churn 2'), 'ok')
            self.ask(survivor, f'alloc {BLOCK} 100')
            self.ask(survivor, f'free {BLOCKS + 100 * trial} 100')
            self.kill(victim)
            self.assertEqual(self.ask(survivor, 'recover'), '1', f'kill {trial}')
            self.assertEqual(self.ask(survivor, 'check'), 'ok', f'kill {trial}')
            victim.kill()
        self.assertGreater(int(self.ask(survivor, 'fill 3000')), 0)
        self.assertEqual(self.ask(survivor, f'stamped {BLOCK} 7 {BLOCKS}'), 'ok')

    def test_a_stopped_rank_of_the_other_container_lives(self):
        first, second = self.two_ranks()
        self.ask(first, f'alloc {BLOCK} 10')
        os.kill(first.inner_pid, signal.SIGSTOP)
        self.assertEqual(self.ask(second, 'recover'), '0')
        self.assertEqual(self.ask(second, f'alloc {BLOCK} {BLOCKS}'), 'ok')
        os.kill(first.inner_pid, signal.SIGCONT)
        self.assertEqual(self.ask(first, 'recover'), '0')

    def test_the_command_line_in_one_container_keeps_what_lives_in_the_other(self):
        first = self.rank('named')
        self.ask(first, f'alloc {BLOCK} 10')
        second = self.rank('named', 'another')
        one = {found['name']: found for found in self.tool_in(second, 'ls')['segments']}['heap']
        self.assertEqual(one['state'], 'alive')
        self.assertEqual([(holder['pid'], holder['is_of_this_pid_namespace'])
                          for holder in one['holders']], [(1, False)])
        self.tool_in(second, 'stat', 'heap')
        self.assertTrue(self.tool_in(second, 'check', 'heap')['is_good'])
        self.tool_in(second, 'clean', 'heap', status=1)
        self.assertEqual(self.tool_in(second, 'clean')['removed'], [])
        self.assertIn('2 living, 0 dead', self.stale_in(second))
        self.assertEqual(self.names(), ['another', 'heap'])
        self.kill(first)
        self.assertIn('1 living, 1 dead', self.stale_in(second))
        removed = self.tool_in(second, 'clean')['removed']
        self.assertEqual([gone['name'] for gone in removed], ['heap'])
        self.assertEqual(self.names(), ['another'])

    def test_the_next_job_starts_under_the_name_of_two_killed_ranks(self):
        for rank in self.two_ranks():
            self.kill(rank)
        third = self.rank('named')
        self.assertEqual(self.ask(third, f'alloc {BLOCK} {BLOCKS}'), 'ok')


if __name__ == '__main__':
    main()
