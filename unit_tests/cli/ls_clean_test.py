#!/usr/bin/env python3
"""hshm ls finds every segment; hshm clean removes what is dead and nothing else."""

import os
import shutil
import subprocess

from hshm_cli import HOLDER, MIB, TOOL, CliTest, main


class LsTest(CliTest):

    def test_finds_a_named_an_unlinked_and_an_unnamed_segment_of_a_living_process(self):
        kinds = ('named', 'unlinked', 'unnamed')
        holders = {kind: self.hold(kind, f'job-{kind}') for kind in kinds}
        found = {one['kind']: one for one in self.segments().values()}
        self.assertEqual(sorted(found), sorted(kinds))
        self.assertEqual(found['named']['name'], 'job-named')
        self.assertEqual(found['named']['where'], self.path('job-named'))
        self.assertEqual(found['unnamed']['name'], 'job-unnamed')
        for kind, one in found.items():
            pid = holders[kind].pid
            self.assertEqual(one['state'], 'alive')
            self.assertEqual([holder['pid'] for holder in one['holders']], [pid])
            self.assertEqual(one['open_in'], [pid])
            self.assertEqual(one['size_bytes'], 4 * MIB)
            self.assertGreater(one['committed_bytes'], 0)
            self.assertLess(one['age_seconds'], 120)
            self.assertEqual(one['defect'], 'None')
            self.assertEqual(one['allocator'], 'a MultiProcessAllocator')

    def test_a_holder_in_another_pid_namespace_is_seen(self):
        """As a rank in a container is; its number there is 1."""
        within = ['unshare', '--map-root-user', '--pid', '--fork', '--kill-child']
        if not shutil.which('unshare') or subprocess.run(
                [*within, 'true'], capture_output=True, check=False).returncode != 0:
            self.skipTest('no PID namespace may be made here')
        self.hold('named', 'elsewhere', within=within)
        one = self.segments()['elsewhere']
        self.assertEqual(one['state'], 'alive')
        self.assertEqual([(holder['pid'], holder['is_of_this_pid_namespace'])
                          for holder in one['holders']], [(1, False)])
        self.assertIn('1 of another container', self.tool('ls'))
        self.json('clean', 'elsewhere', status=1)
        self.assertEqual(self.names(), ['elsewhere'])

    def test_finds_a_dead_segment_and_one_that_two_processes_hold(self):
        self.hold('named', 'left').kill()
        first = self.hold('named', 'shared')
        second = self.hold('attach', 'shared')
        found = self.segments()
        self.assertEqual(found['left']['state'], 'dead')
        self.assertEqual(found['left']['holders'], [])
        self.assertEqual({one['pid'] for one in found['shared']['holders']},
                         {first.pid, second.pid})
        second.kill()
        self.assertEqual([one['pid'] for one in self.segments()['shared']['holders']], [first.pid])

    def test_a_holder_without_an_allocator_is_seen(self):
        holder = self.hold('named', 'bare', allocator='none')
        one = self.segments()['bare']
        self.assertEqual((one['state'], one['holders'], one['open_in']),
                         ('alive', [], [holder.pid]))
        self.assertIn(f'{holder.pid} without an allocator', self.tool('ls'))

    def test_a_file_is_found_through_the_process_that_has_it(self):
        path = self.path('sub')
        os.mkdir(path)
        self.hold('file', path + '/heap')
        self.assertEqual([one['kind'] for one in self.segments().values()], ['file'])

    def test_tells_segments_by_content_not_by_name(self):
        for name, content in {'hshm': b'x' * 5000, 'empty': b'', 'short': b'HMHSHMR1'}.items():
            with open(self.path(name), 'wb') as file:
                file.write(content)
        self.assertEqual(self.segments(), {})

    def test_names_that_would_move_the_cursor_are_printed_harmlessly(self):
        self.hold('named', 'a\x1b[2Jb\n')
        text = self.tool('ls')
        self.assertNotIn('\x1b', text)
        self.assertIn('a?[2Jb?', text)


class CleanTest(CliTest):

    def test_removes_the_dead_beside_the_living(self):
        self.hold('named', 'dead').kill()
        self.hold('named', 'living')
        self.hold('named', 'bare', allocator='none')
        done = self.json('clean')
        self.assertEqual([one['name'] for one in done['removed']], ['dead'])
        self.assertEqual({one['name'] for one in done['kept']} & {'living', 'bare'},
                         {'living', 'bare'})
        self.assertGreater(done['freed_bytes'], 0)
        self.assertEqual(self.names(), ['bare', 'living'])

    def test_a_dry_run_removes_nothing(self):
        self.hold('named', 'dead').kill()
        done = self.json('clean', '--dry-run')
        self.assertEqual([one['name'] for one in done['removed']], ['dead'])
        self.assertEqual(self.names(), ['dead'])
        self.assertIn('would remove', self.tool('clean', '--dry-run'))

    def test_names_pick_and_a_living_one_is_refused(self):
        for name in ('first', 'second'):
            self.hold('named', name).kill()
        living = self.hold('named', 'living')
        done = self.json('clean', 'first', 'living', self.path('absent'), status=1)
        self.assertEqual([one['name'] for one in done['removed']], ['first'])
        why = {one['name']: one['why_not'] for one in done['kept']}
        self.assertIn(str(living.pid), why['living'])
        self.assertIn('NotFound', why[self.path('absent')])
        self.assertEqual(self.names(), ['living', 'second'])

    def test_a_stopped_holder_is_alive(self):
        holder = self.hold('named', 'stopped')
        holder.stop()
        self.json('clean', 'stopped', status=1)
        self.assertEqual(self.names(), ['stopped'])

    def test_who_attached_keeps_the_segment_of_a_dead_creator(self):
        first = self.hold('named', 'shared')
        self.hold('attach', 'shared')
        first.kill()
        self.json('clean')
        self.assertEqual(self.names(), ['shared'])

    def test_leaves_what_is_no_segment_alone(self):
        self.hold('named', 'hshm.dead').kill()
        os.symlink(self.path('hshm.dead'), self.path('hshm.link'))
        os.mkfifo(self.path('hshm.fifo'))
        os.mkdir(self.path('hshm.directory'))
        with open(self.path('hshm.foreign'), 'wb') as file:
            file.write(b'data' * 100000)
        rest = ['hshm.directory', 'hshm.fifo', 'hshm.foreign', 'hshm.link']
        for name in rest:
            self.assertEqual(self.json('clean', name, status=1)['removed'], [])
        self.assertEqual([one['name'] for one in self.json('clean')['removed']], ['hshm.dead'])
        self.assertEqual(self.names(), rest)

    def test_never_removes_a_file_that_is_meant_to_last(self):
        self.hold('file', self.path('heap')).kill()
        done = self.json('clean', 'heap', status=1)
        self.assertIn('PosixMmap', done['kept'][0]['why_not'])
        self.assertEqual(self.json('clean')['removed'], [])
        self.assertEqual(self.names(), ['heap'])

    def test_segments_of_other_users_are_left_alone_unless_all_is_asked_for(self):
        within = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups']
        if os.geteuid() != 0 or subprocess.run(
                [*within, HOLDER], capture_output=True, check=False).returncode != 2:
            self.skipTest('no process of another user can be started here')
        os.chmod(self.directory, 0o1777)
        self.hold('named', 'mine').kill()
        self.hold('named', 'theirs', within=within).kill()
        self.hold('named', 'living', within=within)
        self.assertEqual(sorted(self.segments()), ['mine'])
        self.assertEqual(sorted(self.segments('--all')), ['living', 'mine', 'theirs'])
        self.assertIn('NotOwner', self.tool('clean', 'theirs', status=1))
        self.assertEqual([one['name'] for one in self.json('clean')['removed']], ['mine'])
        done = self.json('clean', '--all')
        self.assertEqual([one['name'] for one in done['removed']], ['theirs'])
        self.assertEqual(self.names(), ['living'])

    def test_removes_what_a_creator_on_a_poor_file_system_left(self):
        self.hold('named', 'dead').kill()
        hidden = '.dead.1f-2a.new'
        os.rename(self.path('dead'), self.path(hidden))
        self.assertEqual([one['name'] for one in self.json('clean')['removed']], [hidden])

    def test_attachers_and_cleaners_at_once_never_lose_a_living_segment(self):
        """Whoever attached keeps the name: a cleaner that ran meanwhile saw it, or it saw the
        cleaner and found nothing."""
        for _ in range(20):
            self.hold('named', 'raced').kill()
            cleaners = [subprocess.Popen([TOOL, 'clean', 'raced'],
                                         env=self.environment, stdout=subprocess.DEVNULL)
                        for _ in range(2)]
            attacher = self.hold('attach', 'raced')
            for cleaner in cleaners:
                cleaner.wait(timeout=60)
            if attacher.url:
                self.assertEqual(self.names(), ['raced'])
                self.json('clean', status=0)
                self.assertEqual(self.names(), ['raced'])
            else:
                self.assertEqual(self.names(), [])
            attacher.kill()
            self.json('clean')


if __name__ == '__main__':
    main()
