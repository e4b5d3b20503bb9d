#!/usr/bin/env python3
"""Makes matrices, and checks results of spmv with nothing but Python's own numbers.

    matrices.py make                          writes made_*.mtx into the current folder
    matrices.py product|power|cg MATRIX VECTOR PRINTED [SHIFT [TOLERANCE]]
        VECTOR is what spmv --output wrote, PRINTED its standard output; exit status 1 when they
        are not right

Products are compared with exact sums. A solver's steps are taken again, as many as spmv took: its
eigenvalue and its vector must be the same to 1e-12, its last step, and none before, within the
tolerance.
"""

import gzip
import math
import operator
import random
import re
import sys

TOLERANCE = 1e-12  # of a row's magnitude, of an eigenvalue, of a vector's length
ROUNDING = 1e-13   # of a relative residual


def start_value(index):
    return 1 + index % 7 / 8


def read(path):
    """@return rows, columns, {(row, column): [values]} from 0"""
    with (gzip.open if path.endswith('.gz') else open)(path, 'rt') as file:
        _, _, _, field, symmetry = file.readline().split()
        lines = [line.split() for line in file if line.strip() and not line.startswith('%')]
    rows, columns, stored = map(int, lines[0])
    assert stored == len(lines) - 1, 'entries'
    elements = {}
    for row, column, *value in lines[1:]:
        place = int(row) - 1, int(column) - 1
        number = 1.0 if field == 'pattern' else float(value[0])
        elements.setdefault(place, []).append(number)
        if symmetry != 'general' and place[0] != place[1]:
            mirrored = -number if symmetry == 'skew-symmetric' else number
            elements.setdefault(place[::-1], []).append(mirrored)
    return rows, columns, elements


def product(rows, elements, x):
    """@return the products of the rows with x, and the sums of the magnitudes in each"""
    terms = [[] for _ in range(rows)]
    for (row, column), values in elements.items():
        terms[row].append(math.fsum(values) * x[column])
    return [math.fsum(row) for row in terms], [math.fsum(map(abs, row)) for row in terms]


def length(vector):
    return math.sqrt(math.fsum(element * element for element in vector))


def read_vector(path):
    with open(path) as file:
        assert file.readline() == '%%MatrixMarket matrix array real general\n', 'header'
        size, one = map(int, file.readline().split())
        vector = [float(line) for line in file]
    assert one == 1 and len(vector) == size, 'size'
    return vector


def read_said(path):
    """@return {what: number} of what spmv wrote to standard output; the first line is the matrix"""
    with open(path) as file:
        text = file.read()
    found = re.match(r'.*: (\d+) x (\d+), (\d+) entr(?:y|ies), (not )?symmetric\n', text)
    assert found, 'first line'
    said = dict(zip(('rows', 'columns', 'entries'), map(int, found.groups())))
    said['symmetric'] = found.group(4) is None
    for name, pattern in (('steps', r'^converged after (\d+) iterations'),
                          ('eigenvalue', r'^eigenvalue (\S+)$'),
                          ('error', r'^largest error of an element (\S+)$'),
                          ('sum', r'^(?:product|eigenvector|solution): sum (\S+),'),
                          ('largest', r', largest magnitude (\S+)$')):
        found = re.search(pattern, text, re.M)
        if found:
            said[name] = float(found.group(1))
    return said


def check_said(said, rows, columns, elements, vector):
    """What is printed of the matrix and of any vector."""
    sums = {place: math.fsum(values) for place, values in elements.items()}
    symmetric = rows == columns and all(sums.get(place[::-1], 0.0) == value
                                        for place, value in sums.items())
    wanted = {'rows': rows, 'columns': columns, 'entries': len(elements), 'symmetric': symmetric,
              'largest': max(map(abs, vector))}
    for name, value in wanted.items():
        if said[name] != value:
            return f'{name}: {said[name]} is printed, and should be {value}'
    if not abs(said['sum'] - math.fsum(vector)) <= TOLERANCE * math.fsum(map(abs, vector)):
        return f'sum: {said["sum"]} is printed, and should be {math.fsum(vector)}'
    return None


class Operator:
    """A x, as fast as plain Python does it."""

    def __init__(self, rows, elements):
        self.rows = [([], []) for _ in range(rows)]
        for (row, column), values in sorted(elements.items()):
            self.rows[row][0].append(math.fsum(values))
            self.rows[row][1].append(column)

    def __call__(self, x):
        return [sum(map(operator.mul, values, [x[k] for k in columns]))
                for values, columns in self.rows]


def dot(a, b):
    return math.fsum(map(operator.mul, a, b))


def power(times, start, steps):
    """@return eigenvalue, vector, relative residual of each step"""
    image, residuals = start, []
    for _ in range(steps):
        size = length(image)
        vector = [element / size for element in image]
        image = times(vector)
        value = dot(vector, image)
        residuals.append(length([b - value * a for a, b in zip(vector, image)]) / abs(value))
    return value, vector, residuals


def conjugate_gradients(times, wanted, steps):
    """@return solution, relative residual of each step"""
    x, r, p, residuals = [0.0] * len(wanted), wanted, wanted, []
    square = all_ = dot(r, r)
    for _ in range(steps):
        q = times(p)
        step = square / dot(p, q)
        x = [a + step * b for a, b in zip(x, p)]
        r = [a - step * b for a, b in zip(r, q)]
        before, square = square, dot(r, r)
        p = [a + square / before * b for a, b in zip(r, p)]
        residuals.append(math.sqrt(square / all_))
    return x, residuals


def check_steps(residuals, tolerance):
    """The last step, and none before it, met the tolerance, but for rounding."""
    if residuals[-1] <= tolerance + ROUNDING and min(residuals[:-1],
                                                     default=1) > tolerance - ROUNDING:
        return None
    return f'{len(residuals)} steps to {residuals[-1]}, {residuals[-2:-1]} before the last'


def check_distance(what, found, wanted):
    """Norm-wise; @return what is wrong, or nothing"""
    off = length([a - b for a, b in zip(found, wanted)])
    return None if off <= TOLERANCE * length(wanted) else f'{what} is off by {off / length(wanted)}'


def check_product(rows, elements, start, found):
    wanted, magnitudes = product(rows, elements, start)
    for i in range(rows):
        if not abs(found[i] - wanted[i]) <= TOLERANCE * magnitudes[i]:
            return f'row {i + 1} is {found[i]!r}, and should be {wanted[i]!r}'
    return None


def check_power(rows, elements, start, found, said, tolerance):
    image, _ = product(rows, elements, found)
    exact = dot(found, image)
    off = length([b - exact * a for a, b in zip(found, image)])
    if abs(length(found) - 1) > TOLERANCE or not off <= 1.01 * tolerance * abs(exact) + 1e-15:
        return f'|v| = {length(found)}, |A v - c v| = {off}, c = {exact}'
    value, vector, residuals = power(Operator(rows, elements), start, int(said['steps']))
    for wanted in exact, value:
        if not abs(said['eigenvalue'] - wanted) <= TOLERANCE * abs(wanted):
            return f'eigenvalue: {said["eigenvalue"]} is printed, and should be {wanted}'
    sign = math.copysign(1, dot(found, vector))
    return (check_distance('eigenvector', found, [sign * element for element in vector]) or
            check_steps(residuals, tolerance))


def check_solution(rows, elements, start, found, said, tolerance):
    wanted, _ = product(rows, elements, start)
    image, _ = product(rows, elements, found)
    off = length([b - a for a, b in zip(image, wanted)])
    if not off <= 2 * tolerance * length(wanted) + 1e-15:
        return f'|b - A x| = {off}, |b| = {length(wanted)}'
    error = max(abs(a - b) for a, b in zip(found, start))
    if f'{error:.3e}' != f'{said["error"]:.3e}':
        return f'error: {said["error"]} is printed, and should be {error:.3e}'
    solution, residuals = conjugate_gradients(Operator(rows, elements), wanted, int(said['steps']))
    return check_distance('solution', found, solution) or check_steps(residuals, tolerance)


def check(task, matrix, vector, printed, shift=0.0, tolerance=1e-8):
    """@return what is wrong, or nothing"""
    rows, columns, elements = read(matrix)
    found, said = read_vector(vector), read_said(printed)
    if len(found) != rows:
        return f'{len(found)} elements for {rows} rows'
    wrong = check_said(said, rows, columns, elements, found)
    if wrong:
        return wrong
    for i in range(rows if shift else 0):
        elements.setdefault((i, i), []).append(shift)
    start = [start_value(i) for i in range(columns)]
    if task == 'product':
        return check_product(rows, elements, start, found)
    solver = check_power if task == 'power' else check_solution
    return solver(rows, elements, start, found, said, tolerance)


def write(name, kind, rows, columns, lines):
    with open(f'made_{name}.mtx', 'w') as file:
        file.write(f'%%MatrixMarket matrix coordinate {kind}\n%\n{rows} {columns} {len(lines)}\n')
        file.writelines(line + '\n' for line in lines)


def make():
    seed = random.randrange(1 << 32)
    print(f'seed {seed}')
    rng = random.Random(seed)

    def places(rows, columns, count, lower=None):
        while count:
            row, column = rng.randint(1, rows), rng.randint(1, columns)
            if lower is None or row > column or (row == column and lower == 'with diagonal'):
                count -= 1
                yield row, column

    def value():
        return repr(rng.uniform(-1, 1) * 10.0 ** rng.randint(-6, 6))

    general = [f'{r} {c} {value()}' for r, c in places(301, 200, 4000)]
    general += [f'{r} {c} {value()}' for r, c in places(3, 200, 2000)]  # many entries twice
    write('general', 'real general', 301, 200, general)
    write('symmetric', 'real symmetric', 150, 150,
          [f'{r} {c} {value()}' for r, c in places(150, 150, 900, 'with diagonal')])
    write('skew', 'real skew-symmetric', 90, 90,
          [f'{r} {c} {value()}' for r, c in places(90, 90, 300, 'without')])
    write('pattern', 'pattern general', 40, 3000, [f'{r} {c}' for r, c in places(40, 3000, 2500)])
    write('integer', 'integer general', 5000, 6,
          [f'{r} {c} {rng.randint(-99, 99)}' for r, c in places(5000, 6, 3000)])
    # By Perron and Frobenius its largest eigenvalue is alone, though it is not symmetric.
    write('positive', 'real general', 80, 80,
          [f'{r} {c} {rng.uniform(0.1, 1)!r}' for r, c in places(80, 80, 1500)])
    side = 10
    stencil = []
    for i in range(1, side * side + 1):
        stencil.append(f'{i} {i} 4')
        if i % side:
            stencil.append(f'{i + 1} {i} -1')
        if i + side <= side * side:
            stencil.append(f'{i + side} {i} -1')
    write('poisson10', 'integer symmetric', side * side, side * side, stencil)


def main(arguments):
    if arguments == ['make']:
        make()
        return 0
    numbers = [float(argument) for argument in arguments[4:]]
    wrong = check(*arguments[:4], *numbers)
    if wrong:
        print(f'{arguments[1]}, {arguments[0]}: {wrong}')
    return 1 if wrong else 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
