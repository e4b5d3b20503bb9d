#!/usr/bin/env python3
"""Makes matrices, and checks results of spmv with nothing but Python's own numbers.

    matrices.py make                          writes made_*.mtx into the current folder
    matrices.py product|power|cg MATRIX VECTOR [SHIFT [TOLERANCE]]
        VECTOR is what spmv --output wrote; exit status 1 when it is not right
"""

import gzip
import math
import random
import sys

PRODUCT_TOLERANCE = 1e-12


def start_value(index):
    return 1 + index % 7 / 8


def read(path, shift=0.0):
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
    if shift:
        for i in range(rows):
            elements.setdefault((i, i), []).append(shift)
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


def check(task, matrix, vector, shift=0.0, tolerance=1e-8):
    """@return what is wrong, or nothing"""
    rows, columns, elements = read(matrix, shift)
    found = read_vector(vector)
    if len(found) != rows:
        return f'{len(found)} elements for {rows} rows'
    start = [start_value(i) for i in range(columns)]
    wanted, magnitudes = product(rows, elements, start)
    if task == 'product':
        for i in range(rows):
            if not abs(found[i] - wanted[i]) <= PRODUCT_TOLERANCE * magnitudes[i]:
                return f'row {i + 1} is {found[i]!r}, and should be {wanted[i]!r}'
        return None
    image, _ = product(rows, elements, found)
    if task == 'power':
        value = math.fsum(a * b for a, b in zip(found, image))
        off = length([b - value * a for a, b in zip(found, image)])
        if abs(length(found) - 1) > 1e-12 or not off <= 1.01 * tolerance * abs(value) + 1e-15:
            return f'|v| = {length(found)}, |A v - c v| = {off}, c = {value}'
        return None
    off = length([b - a for a, b in zip(image, wanted)])
    if not off <= 2 * tolerance * length(wanted) + 1e-15:
        return f'|b - A x| = {off}, |b| = {length(wanted)}'
    return None


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
    numbers = [float(argument) for argument in arguments[3:]]
    wrong = check(*arguments[:3], *numbers)
    if wrong:
        print(f'{arguments[1]}, {arguments[0]}: {wrong}')
    return 1 if wrong else 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
