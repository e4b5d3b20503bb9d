"""The bars: each a figure, or a ratio of two taken in one run, and what it must hold."""

import dataclasses
import math
from typing import Callable

from .figures import Failed, NotMeasured
from .memory import PATTERNS
from .subjects import PEERS

BACKENDS = ('hshm private', 'hshm shm')
LOOP_LIMITS = (  # of the best peer's time
    ('pair_16', 1.05), ('pair_256', 1.05),
    ('batch_64', 1.15), ('batch_64/threads:2', 1.15),
    ('random', 1.15), ('random/threads:2', 1.15),
    ('16k_64k', 1.2), ('log_uniform', 1.2),
)
PAIR_INSTRUCTIONS = {'pair': 52, 'random': 95}
# Of typed calls: one more than before the heap survived deaths and knew foreign pointers.
TYPED_INSTRUCTIONS = {'default': 50.5, 'explicit': 50.4, 'three': 53.8}
HAND_OFF = 'hand_off/threads:2'
LARSON = 'larson/threads:2'
CHECKED_LOOPS = tuple(loop for loop, _ in LOOP_LIMITS)


@dataclasses.dataclass
class Bar:
    name: str
    is_least: bool  # the figure must be at least the limit; else at most
    limit: float
    measure: Callable  # figures -> value; raises NotMeasured
    is_strict: bool = False
    unit: str = 'x'

    def sign(self):
        return ('>' if self.is_least else '<') + ('' if self.is_strict else '=')

    def holds(self, value):
        if value == self.limit:
            return not self.is_strict
        return (value > self.limit) == self.is_least

    def judge(self, figures):
        """The bar as it goes into the report."""
        result = {'name': self.name, 'limit': self.limit, 'sign': self.sign(), 'unit': self.unit,
                  'measured': None, 'verdict': 'not measured', 'why': ''}
        try:
            result['measured'] = self.measure(figures)
            result['verdict'] = 'holds' if self.holds(result['measured']) else 'BROKEN'
        except Failed as reason:
            result.update(verdict='BROKEN', why=str(reason))
        except NotMeasured as reason:
            result['why'] = str(reason)
        return result


def best_peer(figures, loop):
    """Of all four: the best of three would be an easier bar."""
    return min(figures.median(loop, peer) for peer in PEERS)


def geometric_mean(values):
    values = list(values)
    return math.exp(sum(math.log(value) for value in values) / len(values))


def ratio(loop, subject, other_subject, other_loop=None):
    return lambda figures: (figures.median(loop, subject) /
                            figures.median(other_loop or loop, other_subject))


def over_best(loop, subject):
    return lambda figures: figures.median(loop, subject) / best_peer(figures, loop)


def at_most(name, limit, measure, **more):
    return Bar(name, False, limit, measure, **more)


def at_least(name, limit, measure, **more):
    return Bar(name, True, limit, measure, **more)


def speed_bars():
    for loop, limit in LOOP_LIMITS:
        for subject in BACKENDS:
            yield at_most(f'{loop}, {subject} / best', limit, over_best(f'time/{loop}', subject))
    for subject in BACKENDS:
        yield at_most(f'{HAND_OFF}, {subject} / best', 1, over_best(f'time/{HAND_OFF}', subject),
                      is_strict=True)
    yield at_most('hand_off, processes / threads', 1.1,
                  ratio('time/hand_off/processes:2', 'default', 'default', f'time/{HAND_OFF}'))
    for subject in BACKENDS:
        yield at_most(f'{LARSON}, {subject} / tcmalloc', 1.3,
                      ratio(f'time/{LARSON}', subject, 'tcmalloc'))
        yield at_most(f'{LARSON}, {subject} / mimalloc', 0.8,
                      ratio(f'time/{LARSON}', subject, 'mimalloc'), is_strict=True)
    # Of blocks that lie where pages begin, and share a set of each cache, it would be 20 and more.
    for subject in BACKENDS:
        yield at_most(f'only_blocks, {subject} / best', 1.5,
                      over_best('time/only_blocks', subject))
    for loop, limit in (('pair_16', 20), ('pair_256', 20), ('random', 40)):
        yield at_least(f'{loop}, boost / default', limit,
                       ratio(f'time/{loop}', 'boost', 'default'))


def instruction_bars():
    for loop, limit in PAIR_INSTRUCTIONS.items():
        for subject in BACKENDS:
            yield at_most(f'instructions of {loop}, {subject}', limit,
                          lambda figures, loop=loop, subject=subject: figures.median(
                              f'instructions/{loop}', subject), unit='')
    for subject, limit in TYPED_INSTRUCTIONS.items():
        yield at_most(f'instructions of pair, {subject}', limit,
                      lambda figures, subject=subject:
                      figures.median('instructions/pair', subject), unit='')
    for subject, limit in (('default', 12), ('explicit', 6), ('three', 12)):
        yield at_most(f'instructions of pair, {subject} - library', limit,
                      lambda figures, subject=subject:
                      figures.median('instructions/pair', subject) -
                      figures.median('instructions/pair', 'hshm private'), unit='')


def speed_up(figures, subject):
    """How many times as fast as on glibc the patterns run, geometric mean."""
    return geometric_mean(figures.median(f'time/pattern/{name}', 'glibc') /
                          figures.median(f'time/pattern/{name}', subject) for name in PATTERNS)


def peak_over_mimalloc(figures, subject):
    return geometric_mean(figures.median(f'memory/pattern/{name}', subject) /
                          figures.median(f'memory/pattern/{name}', 'mimalloc')
                          for name in PATTERNS)


def checked_over_fast(figures):
    return geometric_mean(figures.median(f'time/{loop}', 'hshm checked') /
                          figures.median(f'time/{loop}', 'hshm private') for loop in CHECKED_LOOPS)


def program_bars():
    for subject in BACKENDS:
        yield at_least(f'patterns, speed-up of {subject} / of mimalloc', 0.97,
                       lambda figures, subject=subject: speed_up(figures, subject) /
                       speed_up(figures, 'mimalloc'))
        yield at_most(f'patterns, peak memory of {subject} / mimalloc', 1.1,
                      lambda figures, subject=subject: peak_over_mimalloc(figures, subject))
    yield at_most('Checked / Fast, geometric mean of the loops', 1.5, checked_over_fast)
    yield at_most('churn, failures in 1.3 x of what is live', 0,
                  lambda figures: figures.median('failures/churn', 'default'), unit='')
    for subject in BACKENDS + ('default',):
        yield at_most(f'churn, peak memory of {subject} / mimalloc', 1.0,
                      ratio('memory/churn', subject, 'mimalloc'))
    yield at_least('churn, largest block afterwards', 95,
                   lambda figures: figures.median('largest/churn', 'default'), unit='%')


def all_bars():
    return [*speed_bars(), *instruction_bars(), *program_bars()]


def change_limits(bars, changes):
    """`changes`: 'NAME=LIMIT'. Raises ValueError with a sentence for one that fits no bar."""
    by_name = {bar.name: bar for bar in bars}
    for change in changes:
        name, _, limit = change.rpartition('=')
        if name not in by_name:
            raise ValueError(f"there is no bar '{name}'; --list shows their names")
        by_name[name].limit = float(limit)
    return bars
