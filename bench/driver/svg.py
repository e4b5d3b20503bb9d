"""Plots as SVG: groups of bars, and lines. No library is needed for so little."""

import math
from xml.sax.saxutils import escape, quoteattr

COLOURS = {
    'glibc': '#9aa0a6', 'mimalloc': '#e39b3c', 'jemalloc': '#8e6bbf', 'tcmalloc': '#c9554d',
    'hshm private': '#1f6fb4', 'hshm shm': '#5aa9e6', 'hshm checked': '#123f66',
    'default': '#2e8b57', 'explicit': '#67b587', 'three': '#a5d6b9', 'boost': '#4a4a4a',
    'shm': '#1f6fb4', 'shm_huge': '#5aa9e6', 'private': '#2e8b57', 'private_huge': '#67b587',
}
FONT = 'font-family="DejaVu Sans, Helvetica, Arial, sans-serif"'


def colour(name):
    return COLOURS.get(name, '#777777')


class Drawing:
    def __init__(self, width, height, title):
        self.width = width
        self.height = height
        self.parts = [f'<rect width="{width}" height="{height}" fill="#ffffff"/>']
        self.text(width / 2, 24, title, anchor='middle', size=15, weight='bold')

    def text(self, x, y, text, anchor='start', size=11, weight='normal', fill='#222222'):
        self.parts.append(
            f'<text x="{x:.1f}" y="{y:.1f}" {FONT} font-size="{size}" font-weight="{weight}" '
            f'text-anchor="{anchor}" fill="{fill}">{escape(text)}</text>')

    def rect(self, x, y, width, height, fill, hint=''):
        inner = f'<title>{escape(hint)}</title>' if hint else ''
        self.parts.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 0.5):.1f}" '
                          f'height="{height:.1f}" fill={quoteattr(fill)}>{inner}</rect>')

    def line(self, x1, y1, x2, y2, stroke='#dddddd', width=1.0, dash=''):
        dashes = f' stroke-dasharray="{dash}"' if dash else ''
        self.parts.append(f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" '
                          f'stroke={quoteattr(stroke)} stroke-width="{width}"{dashes}/>')

    def path(self, points, stroke, dash):
        steps = ' '.join(f'{"M" if at == 0 else "L"}{x:.1f},{y:.1f}'
                         for at, (x, y) in enumerate(points))
        self.parts.append(f'<path d="{steps}" fill="none" stroke={quoteattr(stroke)} '
                          f'stroke-width="2" stroke-dasharray="{dash}"/>')
        for x, y in points:
            self.parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" '
                              f'fill={quoteattr(stroke)}/>')

    def legend(self, names, x, y):
        for name in names:
            self.rect(x, y - 9, 11, 11, colour(name))
            self.text(x + 15, y, name)
            x += 30 + 6.6 * len(name)

    def write(self, path):
        body = '\n'.join(self.parts)
        with open(path, 'w', encoding='utf-8') as file:
            file.write(f'<svg xmlns="http://www.w3.org/2000/svg" width="{self.width}" '
                       f'height="{self.height}" viewBox="0 0 {self.width} {self.height}">\n'
                       f'{body}\n</svg>\n')


def ticks(low, high):
    """Round numbers of a logarithmic axis."""
    steps = []
    for power in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1):
        steps += [digit * 10.0 ** power for digit in (1, 2, 5)]
    return [step for step in steps if low <= step <= high]


def number(value):
    return f'{value:.0f}' if value >= 100 else f'{value:.3g}'


def bars(path, title, axis, groups, mark=None):
    """groups: (name, [(subject, value)]). A logarithmic axis; `mark` has a line of its own."""
    row, gap, left, top = 12, 14, 170, 70
    values = [value for _, members in groups for _, value in members if value > 0]
    if not values:
        return False
    names = list(dict.fromkeys(subject for _, members in groups for subject, _ in members))
    height = top + sum(row * len(members) + gap for _, members in groups) + 40
    drawing = Drawing(860, height, title)
    drawing.legend(names, 20, 48)
    low = min(values + ([mark] if mark else [])) * 0.8
    high = max(values + ([mark] if mark else [])) * 1.1
    span = 860 - left - 70

    def at(value):
        return left + span * math.log(max(value, low) / low) / math.log(high / low)

    for tick in ticks(low, high):
        drawing.line(at(tick), top - 8, at(tick), height - 34)
        drawing.text(at(tick), height - 20, number(tick), anchor='middle', size=10)
    drawing.text(left + span / 2, height - 5, axis, anchor='middle')
    y = top
    for name, members in groups:
        drawing.text(left - 8, y + row * len(members) / 2 + 4, name, anchor='end')
        for subject, value in members:
            drawing.rect(left, y, at(value) - left, row - 2, colour(subject),
                         f'{name}, {subject}: {number(value)}')
            drawing.text(at(value) + 4, y + row - 4, number(value), size=9)
            y += row
        y += gap
    if mark:
        drawing.line(at(mark), top - 8, at(mark), height - 34, '#222222', 1.2, '4 3')
    drawing.write(path)
    return True


def lines(path, title, axis_x, axis_y, series):
    """series: {name: (colour's name, [(x, y)])}, dashed where the two differ; axes begin at 0."""
    points = [point for _, of_one in series.values() for point in of_one]
    if not points:
        return False
    left, top, width, height = 80, 70, 640, 320
    drawing = Drawing(860, 460, title)
    most_x = max(x for x, _ in points)
    most_y = max(y for _, y in points) * 1.05

    def at(x, y):
        return left + width * x / most_x, top + height * (1 - y / most_y)

    step = 10.0 ** math.floor(math.log10(most_y / 2))
    step = next(step * digit for digit in (1, 2, 5, 10) if most_y / (step * digit) <= 8)
    for part in range(math.floor(most_y / step) + 1):
        y = part * step
        drawing.line(left, at(0, y)[1], left + width, at(0, y)[1])
        drawing.text(left - 6, at(0, y)[1] + 4, number(y) if y else '0', anchor='end', size=10)
    for x in sorted({x for x, _ in points}):
        drawing.text(at(x, 0)[0], top + height + 16, str(x), anchor='middle', size=10)
    drawing.text(left + width / 2, top + height + 36, axis_x, anchor='middle')
    drawing.text(left, top - 10, axis_y)
    for name, (subject, of_one) in series.items():
        drawing.path([at(x, y) for x, y in sorted(of_one)], colour(subject),
                     'none' if name == subject else '6 3')
    ends = sorted(((at(*max(of_one))[1], name) for name, (_, of_one) in series.items()))
    y = 0
    for end, name in ends:  # names do not cover each other
        y = max(end, y + 13)
        drawing.text(left + width + 8, y + 4, name, size=10, fill=colour(series[name][0]))
    drawing.write(path)
    return True
