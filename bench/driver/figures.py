"""What was measured: samples by loop and subject, taken in rounds."""

import statistics


class NotMeasured(Exception):
    """Why a figure is not there."""


class Figures:
    """A loop's name begins with what was measured: time/ (ns of processor time an operation),
    wall/ (ns), memory/ (bytes), instructions/, harness/, failures/, largest/ (percent)."""

    def __init__(self):
        self.samples = {}  # (loop, subject) -> values, one a round
        self.why_not = {}  # (loop or '', subject) -> sentence

    def add(self, loop, subject, value):
        self.samples.setdefault((loop, subject), []).append(value)

    def refuse(self, loop, subject, why):
        self.why_not[(loop, subject)] = why

    def median(self, loop, subject):
        if (loop, subject) in self.samples:
            return statistics.median(self.samples[(loop, subject)])
        for key in ((loop, subject), (loop.partition('/')[2], subject), ('', subject)):
            if key in self.why_not:
                raise NotMeasured(f'{subject}: {self.why_not[key]}')
        raise NotMeasured(f'{loop} of {subject} was not asked for')

    def has(self, loop, subject):
        return (loop, subject) in self.samples

    def spread(self, loop, subject):
        """Half of what lies between the quartiles, as a part of the median."""
        values = self.samples[(loop, subject)]
        if len(values) < 3 or not statistics.median(values):
            return 0.0
        low, _, high = statistics.quantiles(values, n=4)
        return (high - low) / 2 / statistics.median(values)

    def loops(self, kind):
        """Names that begin with `kind`/, in the order of measuring."""
        return list(dict.fromkeys(loop for loop, _ in self.samples if loop.startswith(kind + '/')))

    def subjects(self, loops):
        return list(dict.fromkeys(subject for loop, subject in self.samples if loop in loops))

    def as_json(self):
        return [{'loop': loop, 'subject': subject, 'median': self.median(loop, subject),
                 'spread': self.spread(loop, subject), 'samples': values}
                for (loop, subject), values in self.samples.items()]
