#!/usr/bin/env python3
"""Each loop of the benchmarks runs, and bench/run says the truth about its bars.

    smoke_test.py BUILD_DIR [unittest's options]

The figures of so short a run mean nothing; what is tested is that they are there.
"""

import json
import os
import subprocess
import sys
import tempfile
import unittest
import xml.dom.minidom

RUN = os.path.join(os.path.dirname(os.path.dirname(os.path.realpath(__file__))), 'run')
ALWAYS = {'glibc', 'hshm private', 'hshm shm'}  # libraries that are there wherever this is built
SINGLE = ('pair_16', 'pair_256', 'batch_64', 'random', 'only_blocks', '16k_64k', 'log_uniform')
build_dir = None


class Run:
    """One run of bench/run: its exit status, its texts, its report and the names of its files."""

    def __init__(self, *arguments):
        with tempfile.TemporaryDirectory() as folder:
            done = subprocess.run(
                [sys.executable, RUN, '--build-dir', build_dir, '--output', folder, '--smoke',
                 *arguments], capture_output=True, text=True, check=False)
            self.status, self.output, self.errors = done.returncode, done.stdout, done.stderr
            self.files = {}
            for name in os.listdir(folder):
                with open(os.path.join(folder, name), encoding='utf-8') as file:
                    self.files[name] = file.read()
        self.report = json.loads(self.files.get('report.json', 'null'))

    def figures(self):
        return {(figure['loop'], figure['subject']): figure['median']
                for figure in self.report['figures']}

    def bar(self, name):
        return next(bar for bar in self.report['bars'] if bar['name'] == name)


class LoopsTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.result = Run('--filter', '^(?!instructions)', '--subjects',
                      'glibc,hshm private,hshm shm,default,explicit,three,boost,shm,private')
        cls.measured = cls.result.figures()

    def assert_measured(self, loop, subjects):
        for subject in subjects:
            self.assertGreater(self.measured.get((loop, subject), 0), 0,
                               f'{loop} of {subject}: {self.result.errors}')

    def test_loops_of_one_thread_run_on_every_heap(self):
        for loop in SINGLE:
            self.assert_measured(f'time/{loop}', ALWAYS | {'default', 'explicit', 'three'})

    def test_loops_of_threads_and_of_started_programs_run(self):
        for loop in ('random', 'batch_64', 'larson', 'hand_off', 'pipeline'):
            self.assert_measured(f'time/{loop}/threads:2', ALWAYS | {'default'})
            self.assert_measured(f'time/{loop}/processes:2', ['default'])

    def test_first_touch_is_touched(self):
        self.assert_measured('time/first_touch', ALWAYS | {'shm', 'private'})

    def test_patterns_run_and_tell_their_peak(self):
        for name in ('larson', 'xmalloc', 'sh6bench', 'mstress', 'threadtest', 'cache_scratch'):
            self.assert_measured(f'time/pattern/{name}', ALWAYS)
            self.assert_measured(f'memory/pattern/{name}', ALWAYS)

    def test_churn_has_at_least_the_memory_that_is_live(self):
        for subject in ALWAYS | {'default'}:
            self.assertGreaterEqual(self.measured[('ratio/churn', subject)], 1.0, subject)

    def test_pictures_are_well_formed(self):
        pictures = [name for name in self.result.files if name.endswith('.svg')]
        self.assertIn('loops.svg', pictures)
        self.assertIn('memory.svg', pictures)
        for name in pictures:
            xml.dom.minidom.parseString(self.result.files[name])

    def test_no_segment_is_left(self):
        left = [name for name in os.listdir('/dev/shm') if name.startswith('hshm-bench')]
        # Boost's have a name for an instant: those of another run, still alive, are its own affair.
        left = [name for name in left if not os.path.exists(f"/proc/{name.rpartition('-')[2]}")]
        self.assertEqual(left, [])


class BarsTest(unittest.TestCase):
    CHURN = 'churn, failures in 1.3 x of what is live'

    def test_a_bar_out_of_reach_makes_it_fail(self):
        run = Run('--filter', '^churn', '--subjects', 'default', '--bar', f'{self.CHURN}=-1')
        self.assertEqual(run.status, 1, run.errors)
        self.assertEqual(run.bar(self.CHURN)['verdict'], 'BROKEN')
        self.assertIn('BROKEN', run.output)

    def test_without_a_broken_bar_it_succeeds(self):
        run = Run('--filter', '^churn', '--subjects', 'default', '--bar', f'{self.CHURN}=1e9',
                  '--bar', 'churn, largest block afterwards=0')
        self.assertEqual(run.status, 0, run.output + run.errors)
        self.assertEqual(run.bar(self.CHURN)['verdict'], 'holds')

    def test_a_missing_peer_is_said_and_its_bars_are_not_measured(self):
        run = Run('--filter', '^pair_16$', '--peer', 'tcmalloc=/nowhere/libtcmalloc.so')
        self.assertIn('missing: tcmalloc: /nowhere/libtcmalloc.so is not there', run.errors)
        bar = run.bar('pair_16, hshm private / best')
        self.assertEqual(bar['verdict'], 'not measured')
        self.assertIn('tcmalloc', bar['why'])

    def test_a_bar_that_does_not_exist_is_refused(self):
        run = Run('--bar', 'no such bar=1')
        self.assertEqual(run.status, 2)
        self.assertIn("there is no bar 'no such bar'", run.errors)

    def test_a_folder_without_a_build_is_said(self):
        run = Run('--build-dir', '/nowhere')
        self.assertEqual(run.status, 2)
        self.assertIn('no benchmarks in /nowhere', run.errors)


class CallgrindTest(unittest.TestCase):
    def test_instructions_are_counted(self):
        run = Run('--filter', '^instructions/pair$', '--subjects', 'glibc,default')
        refused = {entry['subject']: entry['why'] for entry in run.report['not_measured']}
        if 'No such file' in refused.get('glibc', ''):
            self.skipTest('valgrind is not installed')
        measured = run.figures()
        # What a pair can cost at all: more than the loop, less than a system call's detour.
        for subject in ('glibc', 'default'):
            self.assertTrue(11 < measured[('instructions/pair', subject)] < 1000, subject)
        self.assertTrue(5 < measured[('harness/pair', 'glibc')] < 20)


if __name__ == '__main__':
    build_dir = sys.argv.pop(1)
    unittest.main()
