#!/usr/bin/env python3
"""Adds up what the crash tests have reached, and demands that it is enough.

    proof.py FOLDER [--images N] [--starts N] [--recoveries N]
    proof.py FOLDER --clear          before the tests run

Each campaign, run with HSHM_CRASH_TALLY=FOLDER, leaves a file there: the hashes of its images, of
those among them that a recoverer has made, and of the regions that its plays began with. An image
that two campaigns have both met counts once. Exit status 1: a floor is missed, or a promise was
broken.
"""

import argparse
import pathlib
import sys


class Tally:
    """The sum of some folders."""

    def __init__(self):
        self.campaigns, self.violations = 0, 0
        self.images, self.recoveries, self.starts = set(), set(), set()

    def add(self, folder):
        for path in sorted(pathlib.Path(folder).glob('*.tally')):
            self.add_file(path)

    def add_file(self, path):
        sets = {'image': self.images, 'recovery': self.recoveries, 'start': self.starts}
        with open(path, encoding='utf-8') as file:
            words = file.readline().split()
            if len(words) < 5 or words[0] != 'campaign':
                raise ValueError(f'{path} is no tally')
            self.campaigns += 1
            self.violations += int(words[3])
            for line in file:
                kind, number = line.split()
                sets[kind].add(int(number, 16))

    def figures(self):
        """Images include those of recoverers."""
        return {'images': len(self.images | self.recoveries), 'starts': len(self.starts),
                'recoveries': len(self.recoveries), 'violations': self.violations}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n', maxsplit=1)[0])
    parser.add_argument('folder', type=pathlib.Path)
    parser.add_argument('--clear', action='store_true')
    for floor in ('images', 'starts', 'recoveries'):
        parser.add_argument(f'--{floor}', type=int, default=0, metavar='N', help='at least')
    options = parser.parse_args()
    if options.clear:
        for path in options.folder.glob('*.tally'):
            path.unlink()
        return 0
    tally = Tally()
    tally.add(options.folder)
    reached = tally.figures()
    print(f'{tally.campaigns} campaigns: {reached["images"]} distinct images, '
          f'{reached["recoveries"]} of them of recoverers, from {reached["starts"]} start states, '
          f'{reached["violations"]} violations')
    missed = [f'{reached[floor]} {floor}, not {getattr(options, floor)}'
              for floor in ('images', 'starts', 'recoveries')
              if reached[floor] < getattr(options, floor)]
    for line in missed:
        print(f'MISSED: {line}')
    return 1 if missed or reached['violations'] else 0


if __name__ == '__main__':
    sys.exit(main())
