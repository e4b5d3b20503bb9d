"""The loops of the two benchmark programs, in rounds in which all subjects take turns."""

import json
import os
import random
import re

from .programs import ProgramFailed, run_program
from .subjects import SHARED

FRESH_SUBJECTS = ('shm', 'shm_huge', 'private', 'private_huge')  # of heap_bench, first_touch alone
MANUAL = '/manual_time'
ENDINGS = re.compile(r'/manual_time$|/iterations:\d+$')  # that Google Benchmark adds to a name


def list_loops(program, environment):
    names = run_program([program, '--benchmark_list_tests=true'], environment).output.split('\n')
    return [name.strip() for name in names if name.strip()]


class Turn:
    """One benchmark on one subject."""

    def __init__(self, program, benchmark, loop, subject, environment):
        self.program = program
        self.benchmark = benchmark
        self.loop = loop
        self.subject = subject
        self.environment = environment

    def take(self, figures, min_time_s):
        command = [self.program, f'--benchmark_filter=^{re.escape(self.benchmark)}$',
                   f'--benchmark_min_time={min_time_s}', '--benchmark_format=json']
        outcome = run_program(command, self.environment)
        result = json.loads(outcome.output)['benchmarks'][0]
        if result.get('error_occurred'):
            figures.refuse(self.loop, self.subject, result['error_message'])
            return
        time_ns = result['real_time' if MANUAL in self.benchmark else 'cpu_time']
        figures.add(f'time/{self.loop}', self.subject, time_ns / result['ops'])
        if 'wall_ns' in result:
            figures.add(f'wall/{self.loop}', self.subject, result['wall_ns'] / result['ops'])
        if 'peak_bytes' in result:
            figures.add(f'memory/{self.loop}', self.subject, result['peak_bytes'])


def plan_turns(build_dir, subjects, options):
    """All turns of a round, those of one loop next to each other."""
    extra = {'HSHM_BENCH_CREW_OPS': str(options.crew_ops)}
    malloc_bench = os.path.join(build_dir, 'bench', 'malloc_bench')
    heap_bench = os.path.join(build_dir, 'bench', 'heap_bench')
    turns = []
    for name in list_loops(malloc_bench, subjects[0].environment()):
        for subject in subjects:
            turns.append(Turn(malloc_bench, name, ENDINGS.sub('', name), subject.name,
                              {**subject.environment(keeps_memory=True), **extra}))
    own = {**subjects[0].environment(keeps_memory=True), **extra}
    for name in list_loops(heap_bench, own):
        subject, _, loop = ENDINGS.sub('', name).partition('/')
        turns.append(Turn(heap_bench, name, loop, subject, own))
    order = list(dict.fromkeys(turn.loop for turn in turns))
    turns.sort(key=lambda turn: order.index(turn.loop))
    return [turn for turn in turns if options.wants(turn.loop, turn.subject) and
            not (options.is_short and turn.subject == 'boost' and ':' in turn.loop)]


def run_round(turns, number, figures, options):
    """The subjects of a loop come in an order that is another in each round, so that none always
    finds the caches and the clock as the same neighbour left them."""
    by_loop = {}
    for turn in turns:
        by_loop.setdefault(turn.loop, []).append(turn)
    for of_loop in by_loop.values():
        for turn in random.Random(number).sample(of_loop, len(of_loop)):
            if (turn.loop, turn.subject) in figures.why_not:
                continue
            try:
                turn.take(figures, options.min_time_s)
            except ProgramFailed as failure:
                figures.fail(turn.loop, turn.subject, str(failure))
                options.say(str(failure))


def all_subject_names(subjects):
    return [subject.name for subject in subjects] + list(SHARED) + list(FRESH_SUBJECTS)
