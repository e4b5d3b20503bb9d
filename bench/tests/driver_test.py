#!/usr/bin/env python3
"""The verdicts of bench/run, on figures that are made up: no program is run but one that fails."""

import os
import sys
import tempfile
import unittest
import xml.dom.minidom

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
from driver import bars, callgrind, plots, table  # noqa: E402  (by that path)
from driver.figures import Figures, NotMeasured  # noqa: E402
from driver.programs import ProgramFailed, run_program  # noqa: E402
from driver.subjects import AGAIN, OURS, PEERS, Subject, find_subjects  # noqa: E402

PAIR_BAR = 'pair_16, hshm private / best'
LARSON_BAR = 'larson/threads:2, hshm private / mimalloc'


def made_up(values, loop='time/pair_16'):
    figures = Figures()
    for subject, samples in values.items():
        for value in samples:
            figures.add(loop, subject, value)
    return figures


def verdict(name, figures):
    return next(bar for bar in bars.all_bars() if bar.name == name).judge(figures)


class BarTest(unittest.TestCase):
    PAIRS = {'glibc': [9], 'mimalloc': [6], 'jemalloc': [8], 'tcmalloc': [5]}

    def test_the_best_of_four_peers_is_compared_with(self):
        result = verdict(PAIR_BAR, made_up({**self.PAIRS, 'hshm private': [5.5]}))
        self.assertAlmostEqual(result['measured'], 1.1)
        self.assertEqual(result['verdict'], 'BROKEN')

    def test_the_limit_itself_holds(self):
        result = verdict(PAIR_BAR, made_up({**self.PAIRS, 'hshm private': [5.25]}))
        self.assertEqual(result['verdict'], 'holds')

    def test_the_limit_of_a_strict_bar_does_not_hold(self):
        figures = made_up({'mimalloc': [10], 'hshm private': [8]}, 'time/larson/threads:2')
        self.assertEqual(verdict(LARSON_BAR, figures)['verdict'], 'BROKEN')

    def test_three_peers_make_no_best(self):
        values = {**self.PAIRS, 'hshm private': [1]}
        del values['jemalloc']
        result = verdict(PAIR_BAR, made_up(values))
        self.assertEqual(result['verdict'], 'not measured')
        self.assertIn('jemalloc', result['why'])

    def test_the_median_of_the_rounds_counts(self):
        result = verdict(PAIR_BAR, made_up({**self.PAIRS, 'hshm private': [5, 5, 50, 5, 900]}))
        self.assertEqual(result['verdict'], 'holds')

    def test_a_bar_of_at_least_is_broken_below(self):
        figures = made_up({'boost': [99], 'default': [5]})
        self.assertEqual(verdict('pair_16, boost / default', figures)['verdict'], 'BROKEN')
        figures = made_up({'boost': [101], 'default': [5]})
        self.assertEqual(verdict('pair_16, boost / default', figures)['verdict'], 'holds')

    def test_a_crash_of_ours_breaks_the_bar_even_after_good_rounds(self):
        figures = made_up({**self.PAIRS, 'hshm private': [1, 1, 1]})
        figures.fail('pair_16', 'hshm private', 'ended with -11')
        result = verdict(PAIR_BAR, figures)
        self.assertEqual(result['verdict'], 'BROKEN')
        self.assertIn('-11', result['why'])

    def test_a_crash_of_a_peer_is_no_failure_of_ours(self):
        figures = made_up({**self.PAIRS, 'hshm private': [1]})
        del figures.samples[('time/pair_16', 'jemalloc')]
        figures.fail('pair_16', 'jemalloc', 'ended with -11')
        self.assertEqual(verdict(PAIR_BAR, figures)['verdict'], 'not measured')
        self.assertFalse(figures.failures)

    def test_each_bar_has_a_name_of_its_own(self):
        names = [bar.name for bar in bars.all_bars()]
        self.assertEqual(len(names), len(set(names)))

    def test_a_limit_can_be_changed_and_only_of_a_bar(self):
        changed = bars.change_limits(bars.all_bars(), [f'{PAIR_BAR}=0.5'])
        self.assertEqual(next(bar for bar in changed if bar.name == PAIR_BAR).limit, 0.5)
        with self.assertRaises(ValueError):
            bars.change_limits(bars.all_bars(), ['pair=1'])


class CallgrindTest(unittest.TestCase):
    # A program of 7 instructions itself, which calls a library of 30.
    TEXT = '\n'.join((
        'ob=(1) /bin/program', 'fn=(1) main', '10 4', '+2 3', 'cob=(2) /lib/malloc.so',
        'cfn=(2) malloc', 'calls=1 5', '* 30', 'ob=(2)', 'fn=(2)', '5 20', '-1 10', ''))

    def test_what_a_callee_costs_is_counted_once(self):
        self.assertEqual(callgrind.costs_by_object(self.TEXT),
                         {'/bin/program': 7, '/lib/malloc.so': 30})


class ProgramsTest(unittest.TestCase):
    ENVIRONMENT = dict(os.environ)

    def test_a_program_that_fails_is_said_with_its_status(self):
        with self.assertRaisesRegex(ProgramFailed, 'ended with 7: why'):
            run_program(['sh', '-c', 'echo why >&2; exit 7'], self.ENVIRONMENT)

    def test_a_program_that_hangs_is_ended(self):
        with self.assertRaisesRegex(ProgramFailed, 'not done after'):
            run_program(['sh', '-c', 'cat /dev/zero >/dev/null'], self.ENVIRONMENT, timeout_s=0.2)

    def test_a_library_that_cannot_be_preloaded_is_no_measurement(self):
        environment = Subject('mimalloc', '/nowhere/libmimalloc.so').environment()
        with self.assertRaisesRegex(ProgramFailed, 'cannot be preloaded'):
            run_program(['true'], environment)

    def test_settings_of_the_caller_do_not_reach_the_subjects(self):
        os.environ['HSHM_MALLOC_SIZE'] = '16M'
        try:
            self.assertNotIn('HSHM_MALLOC_SIZE', Subject('hshm shm').environment())
        finally:
            del os.environ['HSHM_MALLOC_SIZE']

    def test_a_library_that_is_not_built_is_missing(self):
        subjects, missing = find_subjects('/nowhere/libhshm_malloc.so', {})
        self.assertIn('hshm private', missing)
        self.assertEqual({subject.name for subject in subjects} & set(OURS), set())


class ReportTest(unittest.TestCase):
    def test_the_best_peer_has_the_star_and_noise_is_glibc_against_itself(self):
        figures = made_up({'glibc': [10], AGAIN: [11], 'mimalloc': [5], 'hshm private': [4]})
        text = '\n'.join(table.section('title', ['time/pair_16'], figures, with_noise=True))
        self.assertIn('*5', text)
        self.assertIn('10.0%', text)
        self.assertNotIn(AGAIN, text)

    def test_pictures_are_drawn_of_what_there_is(self):
        figures = made_up({name: [5] for name in PEERS + OURS})
        figures.add('wall/random/threads:1', 'hshm & co <shm>', 20)
        figures.add('wall/random/threads:2', 'hshm & co <shm>', 11)
        with tempfile.TemporaryDirectory() as folder:
            names = plots.draw_all(folder, figures)
            self.assertEqual(set(names), {'loops.svg', 'scaling_random.svg'})
            for name in names:
                xml.dom.minidom.parse(os.path.join(folder, name))

    def test_nothing_measured_draws_nothing(self):
        with tempfile.TemporaryDirectory() as folder:
            self.assertEqual(plots.draw_all(folder, Figures()), [])

    def test_asking_for_what_was_not_measured_says_why(self):
        with self.assertRaisesRegex(NotMeasured, 'was not asked for'):
            Figures().median('time/pair_16', 'glibc')


if __name__ == '__main__':
    unittest.main()
