"""Churn, and the programs in the published patterns: time and peak memory."""

import json
import os
import random

from .programs import ProgramFailed, run_program
from .subjects import AGAIN

PATTERNS = ('larson', 'xmalloc', 'sh6bench', 'mstress', 'threadtest', 'cache_scratch')
CHURN_TIMEOUT_S = 1800


def run_churn(command, environment, subject, figures, options):
    arguments = [str(value) for value in options.churn]
    result = json.loads(run_program([command] + arguments, environment, CHURN_TIMEOUT_S).output)
    figures.add('time/churn', subject, result['ns'])
    figures.add('memory/churn', subject, result['peak_bytes'])
    figures.add('ratio/churn', subject, result['peak_bytes'] / result['live_bytes'])
    figures.add('failures/churn', subject, result['failures'])
    if 'largest_percent' in result:
        figures.add('largest/churn', subject, result['largest_percent'])


def measure_churn(build_dir, subjects, figures, options):
    programs = [(os.path.join(build_dir, 'bench', 'malloc_churn'), subject.environment(),
                 subject.name) for subject in subjects if subject.name != AGAIN]
    programs.append((os.path.join(build_dir, 'bench', 'heap_churn'), subjects[0].environment(),
                     'default'))
    for program, environment, subject in programs:
        if not options.wants('churn', subject):
            continue
        try:
            run_churn(program, environment, subject, figures, options)
        except ProgramFailed as failure:
            figures.fail('churn', subject, str(failure))
            options.say(str(failure))


def run_pattern_round(build_dir, subjects, number, figures, options):
    program = os.path.join(build_dir, 'bench', 'patterns')
    for pattern in PATTERNS:
        loop = f'pattern/{pattern}'
        for subject in random.Random(number).sample(subjects, len(subjects)):
            if not options.wants(loop, subject.name) or (loop, subject.name) in figures.why_not:
                continue
            try:
                outcome = run_program([program, pattern, str(options.pattern_threads),
                                       str(options.pattern_scale)], subject.environment())
            except ProgramFailed as failure:
                figures.fail(loop, subject.name, str(failure))
                options.say(str(failure))
                continue
            figures.add(f'time/{loop}', subject.name, outcome.cpu_s * 1e9)
            figures.add(f'wall/{loop}', subject.name, outcome.wall_s * 1e9)
            figures.add(f'memory/{loop}', subject.name, json.loads(outcome.output)['peak_bytes'])
