#!/usr/bin/env python3
"""No content of a file makes hshm crash, hang, or end otherwise than with 0 or 1."""

import os
import random
import shutil
import sys

from hshm_cli import MIB, CliTest, main

CASES = int(os.environ.get('HSHM_CLI_FUZZ_CASES', '150'))
PAGE = 4096
HEADERS = 512 * 1024  # of a region of 4 MiB: header, slots, allocator, page table


class FuzzTest(CliTest):

    def setUp(self):
        super().setUp()
        self.seed = int(os.environ.get('HSHM_CLI_FUZZ_SEED', random.randrange(1 << 32)))
        print(f'HSHM_CLI_FUZZ_SEED={self.seed}', file=sys.stderr)
        self.random = random.Random(self.seed)

    def original(self, allocator):
        holder = self.hold('named', f'original-{allocator}', allocator=allocator)
        for size in (24, 100, 3000, 40000, 200000):
            holder.do(f'alloc {size} 12')
        holder.do('free 3 40')
        holder.kill()
        return self.path(f'original-{allocator}')

    def spoil(self, path):
        """One mistake or several, mostly where the headers are."""
        size = os.stat(path).st_size
        with open(path, 'r+b') as file:
            what = self.random.choice(('bits', 'bits', 'words', 'page', 'cut'))
            if what == 'cut':
                file.truncate(self.random.randrange(size // PAGE) * PAGE)
            for _ in range(self.random.choice((1, 1, 4, 64))):
                at = self.random.randrange(self.random.choice((PAGE, HEADERS, size)))
                file.seek(at)
                if what == 'bits':
                    byte = (file.read(1) or b'\0')[0]
                    file.seek(at)
                    file.write(bytes([byte ^ 1 << self.random.randrange(8)]))
                elif what == 'words':
                    file.seek(at // 8 * 8)
                    word = self.random.choice((0, 1, 0xffffffff, (1 << 64) - 1, size, size - 8))
                    file.write(word.to_bytes(8, 'little'))
                elif what == 'page':
                    file.seek(at // PAGE * PAGE)
                    file.write(self.random.randbytes(PAGE))
        return what

    def expect_an_answer(self, name, case):
        for command in ('check', 'stat'):
            done = self.run_tool(command, name, '--json', timeout=40)
            self.assertIn(done.returncode, (0, 1),
                          f'{command}, {case}, seed {self.seed}: {done.stdout}{done.stderr}')

    def test_spoiled_segments_are_answered(self):
        allocators = ('mp', 'checked', 'buddy', 'scalable')
        originals = [self.original(allocator) for allocator in allocators]
        found = 0
        for case in range(CASES):
            shutil.copyfile(self.random.choice(originals), self.path('spoiled'))
            what = self.spoil(self.path('spoiled'))
            self.expect_an_answer('spoiled', f'case {case}, {what}')
            found += self.run_tool('check', 'spoiled').returncode
        print(f'{found} of {CASES} found broken', file=sys.stderr)
        self.assertGreater(found, CASES // 10)

    def test_living_segments_that_are_spoiled_are_answered(self):
        for case in range(CASES // 15):
            holder = self.hold('named', f'living{case}')
            holder.do('alloc 100 2000')
            holder.stop()
            self.spoil(self.path(f'living{case}'))
            self.expect_an_answer(f'living{case}', f'living, case {case}')
            self.assertEqual(self.run_tool('ls', '--json').returncode, 0)
            holder.kill()
            os.unlink(self.path(f'living{case}'))

    def test_garbage_is_answered(self):
        for case in range(10):
            with open(self.path('garbage'), 'wb') as file:
                file.write(b'HMHSHMR1' if case % 2 else b'')
                file.write(self.random.randbytes(self.random.choice((0, 100, PAGE, MIB))))
            self.expect_an_answer('garbage', f'garbage {case}')
            self.run_tool('ls', '--json')


if __name__ == '__main__':
    main()
