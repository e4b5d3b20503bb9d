"""Runs one of the checks on a small tree that a test makes up."""

import pathlib
import subprocess
import sys
import tempfile
import unittest

TOOLS = pathlib.Path(__file__).resolve().parent.parent


class MadeUpTree(unittest.TestCase):
    """A test case with a folder of its own; `tool` names the check."""

    tool = ''

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = pathlib.Path(folder.name)

    def write(self, path, text):
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding='utf-8')

    def run_tool(self, *arguments):
        """Returns (exit status, lines of output)."""
        done = subprocess.run([sys.executable, str(TOOLS / self.tool), '--root', str(self.root),
                               *arguments], capture_output=True, text=True, check=False)
        self.assertEqual(done.stderr, '')
        return done.returncode, done.stdout.splitlines()

    def assert_clean(self):
        self.assertEqual(self.run_tool(), (0, []))

    def assert_breaches(self, *expected):
        """Each breach, as `path:line: rule`, in order, and no other."""
        status, lines = self.run_tool()
        self.assertEqual([': '.join(line.split(': ')[:2]) for line in lines], list(expected))
        self.assertEqual(status, 1 if expected else 0)
