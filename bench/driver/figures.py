"""What was measured: samples by loop and subject, taken in rounds."""

import statistics

from .subjects import ORDER, OURS


class NotMeasured(Exception):
    """Why a figure is not there."""


class Failed(NotMeasured):
    """A program on one of our heaps crashed, hung or ran out of memory: worse than any figure."""


class Figures:
    """A loop's name begins with what was measured: time/ (ns of processor time an operation),
    wall/ (ns), memory/ (bytes), instructions/, harness/, failures/, largest/ (percent)."""

    def __init__(self):
        self.samples = {}  # (loop, subject) -> values, one a round
        self.why_not = {}  # (loop or '', subject) -> sentence
        self.failures = {}  # those of why_not in which a program of ours failed

    def add(self, loop, subject, value):
        self.samples.setdefault((loop, subject), []).append(value)

    def refuse(self, loop, subject, why):
        self.why_not[(loop, subject)] = why

    def fail(self, loop, subject, why):
        """A peer's failure is its own affair, and a figure less."""
        self.refuse(loop, subject, why)
        if subject in OURS:
            self.failures[(loop, subject)] = why

    def median(self, loop, subject):
        for key in ((loop, subject), (loop.partition('/')[2], subject), ('', subject)):
            if key in self.failures:
                raise Failed(f'{subject}: {self.failures[key]}')
        if (loop, subject) in self.samples:
            return statistics.median(self.samples[(loop, subject)])
        for key in ((loop, subject), (loop.partition('/')[2], subject), ('', subject)):
            if key in self.why_not:
                raise NotMeasured(f'{subject}: {self.why_not[key]}')
        raise NotMeasured(f'{loop} of {subject} was not asked for')

    def has(self, loop, subject):
        failed = (loop.partition('/')[2], subject) in self.failures
        return (loop, subject) in self.samples and not failed

    def spread(self, loop, subject):
        """Half of what lies between the quartiles, as a part of the median."""
        values = self.samples[(loop, subject)]
        middle = statistics.median(values)
        if len(values) < 3 or not middle:
            return 0.0
        low, _, high = statistics.quantiles(values, n=4)
        return (high - low) / 2 / middle

    def loops(self, kind):
        """Names that begin with `kind`/, in the order of measuring."""
        return list(dict.fromkeys(loop for loop, _ in self.samples if loop.startswith(kind + '/')))

    def subjects(self, loops):
        found = {subject for loop, subject in self.samples if loop in loops}
        return sorted(found, key=lambda name: (ORDER.index(name) if name in ORDER else 99, name))

    def as_json(self):
        return [{'loop': loop, 'subject': subject, 'median': statistics.median(values),
                 'spread': self.spread(loop, subject), 'samples': values}
                for (loop, subject), values in self.samples.items()]
