"""Which figures are drawn, and how they are called."""

import os
import re

from . import svg
from .loops import FRESH_SUBJECTS
from .subjects import AGAIN, LIBRARY, OURS, PEERS

LIBRARIES = PEERS + LIBRARY
SHOWN = PEERS + OURS


def groups_of(figures, loops, subjects, value=None):
    groups = []
    for loop in loops:
        members = [(name, value(loop, name) if value else figures.median(loop, name))
                   for name in subjects if figures.has(loop, name)]
        if members:
            groups.append((loop.partition('/')[2], members))
    return groups


def over_best_peer(figures):
    """A value for each (loop, subject): times the best peer that is there."""
    def value(loop, name):
        best = min((figures.median(loop, peer) for peer in PEERS if figures.has(loop, peer)),
                   default=figures.median(loop, name))
        return figures.median(loop, name) / best
    return value


def throughput(figures, loop):
    """Million pairs a second over members, of each subject; processes are a series of their own."""
    series = {}
    for name in figures.loops('wall'):
        found = re.fullmatch(rf'wall/{loop}/(threads|processes):(\d+)', name)
        if not found:
            continue
        for subject in figures.subjects([name]):
            if subject == AGAIN:
                continue
            label = subject + (', processes' if found.group(1) == 'processes' else '')
            point = (int(found.group(2)), 1e3 / figures.median(name, subject))
            series.setdefault(label, (subject, []))[1].append(point)
    return series


def draw_all(folder, figures):
    """Names of the files that were written."""
    times = figures.loops('time')
    apart = re.compile('pattern/|churn|first_touch|block_32m|only_blocks|:1$')
    loops = [loop for loop in times if not apart.search(loop)
             and any(figures.has(loop, peer) for peer in PEERS)]
    patterns = [loop for loop in times if '/pattern/' in loop]
    memory = [loop for loop in figures.loops('memory')
              if re.search('pattern/|churn|random$|log_uniform$', loop)]
    done = []

    def note(name, is_written):
        if is_written:
            done.append(name)

    def path(name):
        return os.path.join(folder, name)

    note('loops.svg', svg.bars(
        path('loops.svg'), 'Allocation and free, times the best of four private mallocs',
        'processor time / best peer (less is better)',
        groups_of(figures, loops, SHOWN, over_best_peer(figures)), mark=1.0))
    note('boost.svg', svg.bars(
        path('boost.svg'), 'Shared memory: MultiProcessAllocator and Boost.Interprocess',
        'ns per allocation and free', groups_of(
            figures, [loop for loop in times if figures.has(loop, 'boost')],
            ('default', 'explicit', 'three', 'boost'))))
    for loop in ('random', 'larson', 'batch_64'):
        note(f'scaling_{loop}.svg', svg.lines(
            path(f'scaling_{loop}.svg'), f'Scaling: {loop}', 'threads or processes',
            'million allocations and frees a second (wall time)', throughput(figures, loop)))
    note('instructions.svg', svg.bars(
        path('instructions.svg'), 'Instructions per allocation and free', 'counted by callgrind',
        groups_of(figures, figures.loops('instructions'), SHOWN + ('boost',))))
    note('patterns.svg', svg.bars(
        path('patterns.svg'), 'Programs in published patterns, times glibc',
        'processor time / glibc (less is better)', groups_of(
            figures, [loop for loop in patterns if figures.has(loop, 'glibc')], LIBRARIES,
            lambda loop, name: figures.median(loop, name) / figures.median(loop, 'glibc')),
        mark=1.0))
    note('memory.svg', svg.bars(
        path('memory.svg'), 'Peak memory', 'MiB',
        groups_of(figures, memory, SHOWN, lambda loop, name: figures.median(loop, name) / 2 ** 20)))
    note('first_touch.svg', svg.bars(
        path('first_touch.svg'), 'First touch of 32 MiB, with and without huge pages',
        'ns for each 4 KiB', groups_of(figures, ['time/first_touch'],
                                       LIBRARIES + FRESH_SUBJECTS)))
    return done
