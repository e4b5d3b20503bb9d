#!/usr/bin/env python3
"""hshm stat counts what a process has allocated, dead or alive; hshm check finds what is broken."""

import hashlib
import os
import struct

from hshm_cli import MIB, CliTest, main


class SegmentTest(CliTest):

    def stats(self, name, status=0):
        return self.json('stat', name, status=status)['segments'][0]['stats']

    def classes(self, name):
        return {one['block_bytes']: one for one in self.stats(name)['classes']}

    def check(self, name, status=0):
        done = self.json('check', name, status=status)
        self.assertEqual(done['is_good'], status == 0)
        return done

    def write_word(self, name, offset, word):
        with open(self.path(name), 'r+b') as file:
            file.seek(offset)
            file.write(struct.pack('<Q', word))

    def print_of(self, name):
        """All that a look must not change."""
        with open(self.path(name), 'rb') as file:
            digest = hashlib.sha256(file.read()).hexdigest()
        status = os.stat(self.path(name))
        return digest, status.st_blocks, status.st_mtime_ns, status.st_size


class StatTest(SegmentTest):

    def fill(self, name):
        """1000 blocks of 112 bytes, 3 runs of pages, 5 blocks of a wide page; 20 are freed."""
        holder = self.hold('named', name, 64 * MIB)
        for line in ('alloc 100 1000', 'alloc 200000 3', 'alloc 40000 5', 'free 10 20'):
            self.assertEqual(holder.do(line), 'ok')
        return holder

    def expect_what_was_filled(self, name, live_bytes, pid, is_alive):
        stats = self.stats(name)
        self.assertEqual(stats['live_bytes'], live_bytes)
        self.assertEqual(stats['live_blocks'], 988)
        classes = {one['block_bytes']: one for one in stats['classes']}
        self.assertEqual(sorted(classes), [112, 40960])
        self.assertEqual(classes[112]['live_blocks'], 980)
        self.assertEqual(classes[112]['pages'], 2)
        self.assertEqual(classes[40960]['live_blocks'], 5)
        (rank,) = stats['ranks']
        self.assertEqual((rank['os_pid'], rank['is_alive']), (pid, is_alive))
        self.assertEqual((rank['live_bytes'], rank['heaps']), (live_bytes, 1))
        self.assertGreaterEqual(rank['pages'], 2 + 16 + 3 * 4)
        self.assertLessEqual(rank['largest_free_bytes'], rank['free_bytes'])

    def test_numbers_are_what_was_allocated_while_it_lives_and_after_kill_9(self):
        holder = self.fill('heap')
        live_bytes = int(holder.do('live'))
        self.assertEqual(live_bytes, 980 * 112 + 3 * 4 * 65536 + 5 * 40960)
        self.expect_what_was_filled('heap', live_bytes, holder.pid, True)
        holder.kill()
        self.expect_what_was_filled('heap', live_bytes, holder.pid, False)

    def test_frees_by_others_are_pending_until_the_owner_takes_them(self):
        owner = self.hold('named', 'heap')
        other = self.hold('attach', 'heap')
        owner.do('alloc 100 100')
        for i in range(40):
            other.do('know ' + owner.do(f'offset {i}'))
        other.do('free 0 40')
        stats = self.stats('heap')
        (one,) = (one for one in stats['classes'] if one['block_bytes'] == 112)
        self.assertEqual((one['live_blocks'], one['pending_frees']), (60, 40))
        pending = {rank['os_pid']: rank['pending_frees'] for rank in stats['ranks']}
        self.assertEqual(pending, {owner.pid: 40, other.pid: 0})

    def test_a_segment_without_a_name_is_counted_by_url_path_and_label(self):
        for kind in ('unnamed', 'unlinked'):
            holder = self.hold(kind, f'job-{kind}')
            holder.do('alloc 100 10')
            one = next(one for one in self.segments().values() if one['kind'] == kind)
            self.assertEqual(self.stats(one['where'])['live_blocks'], 10)
            self.check(one['where'])
            self.assertEqual(self.stats(one['name'])['live_blocks'], 10)
            if kind == 'unnamed':
                self.assertEqual(self.stats(holder.url)['live_blocks'], 10)
                holder.kill()
                self.assertEqual(self.run_tool('stat', holder.url).returncode, 2)

    def test_a_segment_is_had_through_who_holds_it_not_through_who_looks_at_it(self):
        holder = self.hold('unnamed', 'job')
        opened = self.segments()['job']['where']
        self.assertTrue(opened.startswith(f'/proc/{holder.pid}/'), opened)
        with open(opened, 'rb') as looked_at:  # by this process, which /proc lists first
            self.assertLess(os.getpid(), holder.pid)
            one = self.segments()['job']
            self.assertEqual(one['where'], opened)
            self.assertIn(os.getpid(), one['open_in'])
            self.assertFalse(looked_at.closed)

    def test_every_allocator_is_counted_and_checked_alive_and_dead(self):
        for allocator in ('buddy', 'scalable', 'checked'):
            holder = self.hold('named', allocator, allocator=allocator)
            holder.do('alloc 1000 50')
            live_bytes = int(holder.do('live'))
            for state in ('alive', 'dead'):
                if state == 'dead':
                    holder.kill()
                stats = self.stats(allocator)
                self.assertEqual(stats['live_bytes'], live_bytes, (allocator, state))
                self.assertEqual([rank['os_pid'] for rank in stats['ranks'] if rank['is_alive']],
                                 [holder.pid] if state == 'alive' else [])
                self.check(allocator)

    def test_a_segment_that_grows_and_a_file_are_counted(self):
        self.hold('growing', 'growing').do('alloc 100000 60')
        self.assertEqual(self.stats('growing')['live_blocks'], 60)
        self.hold('file', self.path('file')).do('alloc 100 7')
        self.assertEqual(self.stats(self.path('file'))['live_blocks'], 7)

    def test_what_is_not_there_ends_with_2_and_what_is_no_segment_with_1(self):
        self.assertEqual(self.run_tool('stat', 'absent').returncode, 2)
        self.assertEqual(self.run_tool('check', 'absent').returncode, 2)
        with open(self.path('foreign'), 'wb') as file:
            file.write(b'x' * MIB)
        self.json('stat', 'foreign', status=1)
        self.assertEqual(self.check('foreign', status=1)['defect'], 'NotASegment')
        os.mkfifo(self.path('fifo'))
        self.assertEqual(self.run_tool('check', 'fifo').returncode, 2)

    def test_a_holder_without_an_allocator_has_nothing_to_count(self):
        self.hold('named', 'bare', allocator='none')
        self.assertIsNone(self.stats('bare'))
        self.check('bare')


class CheckTest(SegmentTest):

    def test_a_dead_segment_is_recovered_in_a_copy_and_not_changed(self):
        first = self.hold('named', 'heap')
        second = self.hold('attach', 'heap')
        for holder in (first, second):
            holder.do('alloc 100 500')
            holder.kill()
        before = self.print_of('heap')
        details = self.check('heap')['details']
        self.assertEqual(details['before']['live_blocks'], 1000)
        self.assertEqual(details['after']['live_blocks'], 1000)
        self.assertEqual(details['lost_blocks_at_most'], 2)
        self.assertGreater(details['adopted_pages'], 0)
        self.stats('heap')
        self.assertEqual(self.print_of('heap'), before)

    def test_a_look_at_a_living_segment_gives_its_file_no_memory(self):
        holder = self.hold('named', 'heap', 64 * MIB)
        holder.do('alloc 100 500')
        before = self.print_of('heap')
        self.check('heap')
        self.stats('heap')
        self.assertEqual(self.print_of('heap'), before)

    def test_a_busy_segment_is_good_and_goes_on(self):
        holders = [self.hold('named', 'heap', 64 * MIB), self.hold('attach', 'heap')]
        for holder in holders:
            holder.do('churn 2')
        spans = 0
        for _ in range(15):
            spans += self.check('heap')['details']['spans']
            self.assertIsNotNone(self.stats('heap'))
        self.assertGreater(spans, 15)
        for holder in holders:
            self.assertEqual(holder.do('alloc 100 1'), 'ok')
            holder.kill()
        self.check('heap')

    def test_a_stopped_process_does_not_hold_a_look_up(self):
        holder = self.hold('named', 'heap')
        holder.do('churn 2')
        holder.stop()
        self.check('heap')
        self.assertIsNotNone(self.stats('heap'))

    def broken_list(self, name):
        """The list of a page is led astray at its first block."""
        holder = self.hold('named', name)
        holder.do('alloc 100 2000')
        holder.do('free 0 50')
        self.write_word(name, int(holder.do('offset 49')), 12345)
        return holder

    def test_a_broken_list_of_a_living_segment_is_found(self):
        self.broken_list('heap')
        self.assertIn('list is broken', ' '.join(self.check('heap', status=1)['findings']))

    def test_a_broken_list_of_a_dead_segment_is_found(self):
        self.broken_list('heap').kill()
        self.assertNotEqual(self.check('heap', status=1)['findings'], [])

    def test_a_flipped_bit_of_the_header_is_found(self):
        self.hold('named', 'heap').kill()
        with open(self.path('heap'), 'r+b') as file:
            file.seek(40)
            byte = file.read(1)[0]
            file.seek(40)
            file.write(bytes([byte ^ 1]))
        done = self.check('heap', status=1)
        self.assertIn(done['defect'], ('Corrupt', 'SizeMismatch', 'Truncated'))

    def test_a_file_cut_short_is_found(self):
        self.hold('named', 'heap').kill()
        os.truncate(self.path('heap'), MIB)
        self.assertEqual(self.check('heap', status=1)['defect'], 'Truncated')


if __name__ == '__main__':
    main()
