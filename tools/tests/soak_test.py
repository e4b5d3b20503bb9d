"""soak tells what ran and what it found, on a build that is made up, in seconds."""

import pathlib
import subprocess
import sys
import tempfile
import unittest

TOOLS = pathlib.Path(__file__).resolve().parent.parent
PROOF = TOOLS.parent / 'unit_tests' / 'crash' / 'proof.py'

STAND_IN = '''#!/bin/sh
echo "kill trials: $(({each} * ${{HSHM_CRASH_FACTOR:-1}})) processes of 1 thread killed"
exit {status}
'''


class SoakTest(unittest.TestCase):
    """A build folder whose tests are scripts."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.build = pathlib.Path(folder.name) / 'build' / 'dev'
        self.build.mkdir(parents=True)

    def add_test(self, name, text, *arguments):
        program = self.build / name
        program.write_text(text, encoding='utf-8')
        program.chmod(0o755)
        with open(self.build / 'CTestTestfile.cmake', 'a', encoding='utf-8') as file:
            file.write(f'add_test({name} "{program}" {" ".join(arguments)})\n')

    def add_kills(self, each, status=0):
        for name in ('crash_kill_test', 'crash_storm_test'):
            self.add_test(name, STAND_IN.format(each=each, status=status))

    def soak(self, *arguments):
        done = subprocess.run(
            [sys.executable, TOOLS / 'soak', '--build-dir', self.build, *arguments],
            capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr

    def test_the_floor_of_kills_goes_with_the_factor(self):
        self.add_kills(each=300)
        status, text = self.soak('--factor', '2', 'kills')
        self.assertIn('1,200 of 1,000', text)
        self.assertEqual(status, 0, text)

    def test_too_few_kills_are_bad(self):
        self.add_kills(each=100)
        status, text = self.soak('--factor', '2', 'kills')
        self.assertIn('400 of 1,000', text)
        self.assertIn('1 bad', text)
        self.assertEqual(status, 1)

    def test_a_test_that_fails_is_bad(self):
        self.add_kills(each=1000, status=1)
        status, text = self.soak('--quick', 'kills')
        self.assertIn('BAD', text)
        self.assertEqual(status, 1)

    def test_what_is_not_built_is_skipped_and_nothing_at_all_is_no_success(self):
        status, text = self.soak('--quick', 'jobs')
        self.assertIn('mpi_killed_jobs', text)
        self.assertIn('1 skipped', text)
        self.assertEqual(status, 1)

    def test_what_may_not_be_tried_here_is_skipped_and_not_bad(self):
        for name in ('damaged_segment_test', 'bus_error_test', 'limits_test'):
            self.add_test(name, '#!/bin/sh\necho fine\n')
        self.add_test('system_call_faults_test', '#!/bin/sh\necho "skipped: no seccomp"\n')
        self.add_test('security_test', '#!/bin/sh\necho "skipped: only root"\n'
                      'echo "skipped: all test cases of this program" >&2\n')
        self.add_test('cli_namespaces_test', '#!/bin/sh\necho "OK (skipped=3)"\nexit 77\n')
        status, text = self.soak('--quick', 'faults')
        self.assertIn('6 lines, 0 bad, 3 skipped', text)
        self.assertIn('skipped: only root', text)
        self.assertEqual(status, 0, text)

    def test_a_failure_with_the_status_of_the_skipped_is_bad(self):
        self.add_kills(each=1000, status=77)
        status, text = self.soak('--quick', 'kills')
        self.assertIn('3 bad', text)
        self.assertEqual(status, 1)

    def test_fuzzers_are_counted_by_what_they_say(self):
        self.add_test('cli_fuzz_test', '#!/bin/sh\necho fine\n')
        fuzzer = '#!/bin/sh\necho "stat::number_of_executed_units: $2"\n'
        for target in ('fuzz_attach', 'fuzz_operations', 'fuzz_checked_operations'):
            self.add_test(target, fuzzer, 'folder', '30', target)
        status, text = self.soak('--factor', '4', 'fuzz')
        self.assertIn('1,000,000 executions of 1,000,000', text)
        self.assertEqual(status, 0, text)

    def test_no_such_part(self):
        status, text = self.soak('nothing')
        self.assertIn('no part nothing', text)
        self.assertEqual(status, 2)


class ProofTest(unittest.TestCase):
    """What two campaigns have both met counts once."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def write(self, name, violations, *lines):
        head = f'campaign 1 plays {violations} violations some name'
        text = '\n'.join((head, *lines, ''))
        (self.folder / f'{name}.tally').write_text(text, encoding='utf-8')

    def proof(self, *arguments):
        done = subprocess.run([sys.executable, PROOF, self.folder, *arguments],
                              capture_output=True, text=True, check=False)
        return done.returncode, done.stdout

    def test_images_of_two_campaigns(self):
        self.write('a', 0, 'start 01', 'image 0a', 'recovery 0b')
        self.write('b', 0, 'start 01', 'image 0a', 'image 0b', 'image 0c')
        status, text = self.proof('--images', '3', '--recoveries', '1', '--starts', '1')
        self.assertIn('3 distinct images, 1 of them of recoverers, from 1 start states', text)
        self.assertEqual(status, 0)
        self.assertEqual(self.proof('--images', '4')[0], 1)
        self.assertEqual(self.proof('--recoveries', '2')[0], 1)
        self.assertEqual(self.proof('--starts', '2')[0], 1)

    def test_a_violation_is_none_the_less_one(self):
        self.write('a', 1, 'image 0a')
        self.assertEqual(self.proof()[0], 1)

    def test_cleared(self):
        self.write('a', 1, 'image 0a')
        self.assertEqual(self.proof('--clear')[0], 0)
        self.assertEqual(list(self.folder.iterdir()), [])


if __name__ == '__main__':
    unittest.main()
