"""Runs one program: its output, its processor time and its wall time."""

import dataclasses
import os
import signal
import subprocess
import tempfile
import threading
import time


class ProgramFailed(Exception):
    """A sentence that says which program, and how it ended."""


@dataclasses.dataclass
class Outcome:
    output: str
    cpu_s: float
    wall_s: float


def kill_group(process, is_late):
    is_late.set()
    os.killpg(process.pid, signal.SIGKILL)


def run_program(command, environment, timeout_s=300):
    """Raises ProgramFailed unless the program ends with 0 in time, on the library that was asked
    for (the dynamic loader only warns of one that it cannot load)."""
    shown = ' '.join(command)
    with tempfile.TemporaryFile('w+') as output, tempfile.TemporaryFile('w+') as errors:
        start = time.monotonic()
        process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL,
                                   stdout=output, stderr=errors, start_new_session=True)
        is_late = threading.Event()
        timer = threading.Timer(timeout_s, kill_group, (process, is_late))
        timer.start()
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:  # Ctrl-C reaches this process alone
            os.killpg(process.pid, signal.SIGKILL)
            raise
        finally:
            timer.cancel()
        process.returncode = os.waitstatus_to_exitcode(status)  # so that nobody waits for it again
        wall_s = time.monotonic() - start
        errors.seek(0)
        error_text = errors.read()
        output.seek(0)
        if is_late.is_set():
            raise ProgramFailed(f'{shown}: not done after {timeout_s} s')
        if process.returncode != 0:
            raise ProgramFailed(f'{shown}: ended with {process.returncode}: '
                                f'{error_text.strip()[-300:]}')
        if 'cannot be preloaded' in error_text:
            raise ProgramFailed(f'{shown}: {error_text.strip()[-300:]}')
        return Outcome(output.read(), usage.ru_utime + usage.ru_stime, wall_s)
