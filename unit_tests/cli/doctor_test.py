#!/usr/bin/env python3
"""hshm doctor tells what a node lacks; the page of the manual knows every option."""

import json
import os
import re
import shutil
import subprocess

from hshm_cli import TOOL, CliTest, main

PAGE = os.environ.get('HSHM_MAN_PAGE', 'hshm.1')
COMMANDS = ('ls', 'stat', 'check', 'clean', 'doctor')


def by_name(done):
    return {finding['name']: finding for finding in done['findings']}


class DoctorTest(CliTest):

    def limited(self, limit):
        self.environment.pop('LD_PRELOAD', None)  # a malloc that needs more than the limit
        done = subprocess.run(['bash', '-c', f'ulimit {limit} && exec "$0" doctor --json', TOOL],
                              env=self.environment, text=True, capture_output=True, check=False)
        return done.returncode, by_name(json.loads(done.stdout))

    def test_every_line_has_a_level_and_what_is_wrong_has_advice(self):
        done = self.run_tool('doctor', '--json')
        findings = json.loads(done.stdout)['findings']
        self.assertGreaterEqual(len(findings), 14)
        for finding in findings:
            self.assertIn(finding['level'], ('ok', 'warn', 'bad'))
            self.assertTrue(finding['what'], finding)
            self.assertTrue(finding['level'] == 'ok' or finding['advice'], finding)
        self.assertEqual(done.returncode, 1 if 'bad' in {f['level'] for f in findings} else 0)
        text = self.run_tool('doctor').stdout
        for finding in findings:
            self.assertIn(finding['name'], text)

    def test_a_dead_segment_is_a_warning_until_it_is_cleaned(self):
        self.assertEqual(by_name(self.json('doctor'))['stale segments']['level'], 'ok')
        self.hold('named', 'dead').kill()
        self.hold('named', 'living')
        stale = by_name(self.json('doctor'))['stale segments']
        self.assertEqual((stale['level'], stale['advice']), ('warn', 'hshm clean'))
        self.assertIn('1 living, 1 dead', stale['what'])
        self.tool('clean')
        self.assertEqual(by_name(self.json('doctor'))['stale segments']['level'], 'ok')

    def test_limits_of_the_process_are_told(self):
        status, findings = self.limited('-f 2048')  # of 1 KiB
        self.assertEqual((status, findings['file size']['level']), (1, 'bad'))
        self.assertIn('2 MiB', findings['file size']['what'])
        status, findings = self.limited('-v 8000000')
        self.assertEqual((status, findings['address space']['level']), (0, 'warn'))
        status, findings = self.limited('-n 100')
        self.assertEqual((status, findings['open files']['level']), (0, 'warn'))

    def test_a_directory_that_is_not_there_is_bad(self):
        self.environment['HSHM_SHM_DIR'] = self.path('absent')
        findings = by_name(self.json('doctor', status=1))
        self.assertEqual(findings['shared memory']['level'], 'bad')
        self.assertEqual(findings['making segments']['level'], 'bad')

    def test_leaves_nothing_behind(self):
        self.run_tool('doctor')
        self.assertEqual(self.names(), [])

    def test_a_dev_shm_of_one_mib_is_bad(self):
        """In a mount namespace of its own, as a container may be."""
        unshare = ['unshare', '--map-root-user', '--mount', 'sh', '-c']
        mount = 'mount -t tmpfs -o size=1m none /dev/shm'
        if not shutil.which('unshare') or subprocess.run(
                [*unshare, mount], capture_output=True, check=False).returncode != 0:
            self.skipTest('no mount namespace may be made here')
        environment = {name: value for name, value in os.environ.items() if name != 'HSHM_SHM_DIR'}
        done = subprocess.run([*unshare, f'{mount} && exec "$0" doctor --json', TOOL],
                              env=environment, text=True, capture_output=True, check=False)
        finding = by_name(json.loads(done.stdout))['shared memory']
        self.assertEqual((done.returncode, finding['level']), (1, 'bad'), done.stderr)
        self.assertIn('of 1 MiB', finding['what'])
        self.assertIn('--shm-size', finding['advice'])


class ManualTest(CliTest):

    def options_of(self, *command):
        """The options that --help shows, the words of the usage line left out."""
        text = self.tool(*command, '--help')
        return set(re.findall(r'(?<![\w-])(--?[a-z][a-z-]*)', text.split('\n', 2)[2]))

    def test_the_page_has_every_command_and_option_of_the_help(self):
        with open(PAGE, encoding='utf-8') as file:
            page = file.read().replace('\\-', '-')
        listed = set(re.findall(r'^  ([a-z]+) ', self.tool('--help').split('Subcommands:')[1],
                                re.MULTILINE))
        self.assertEqual(listed, set(COMMANDS))
        described = page[page.index('.SH OPTIONS'):page.index('.SH EXIT')]
        told = set(re.findall(r'(?<![\w-])(--?[a-z][a-z-]*)', described))
        shown = self.options_of().union(*(self.options_of(command) for command in COMMANDS))
        self.assertEqual(shown - told, set())
        self.assertEqual(told - shown, set())
        for command in COMMANDS:
            self.assertIn(f'.SS hshm {command}\n', page)

    def test_wrong_usage_ends_with_2(self):
        for arguments in ((), ('list',), ('ls', '--jason'), ('doctor', 'extra')):
            self.assertEqual(self.run_tool(*arguments).returncode, 2, arguments)
        self.tool('--version')

    def test_the_page_is_laid_out_without_a_warning(self):
        if not shutil.which('groff'):
            self.skipTest('no groff here')
        done = subprocess.run(['groff', '-man', '-Tutf8', '-ww', PAGE], text=True,
                              capture_output=True, check=True)
        self.assertEqual(done.stderr, '')


if __name__ == '__main__':
    main()
