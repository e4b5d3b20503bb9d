"""The report as text."""

from .subjects import AGAIN, PEERS

MIB = 1 << 20


def columns(rows):
    """Rows of texts, the first column to the left, the others to the right."""
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [row[0].ljust(widths[0])]
        cells += [text.rjust(width) for text, width in zip(row[1:], widths[1:])]
        lines.append('  '.join(cells).rstrip())
    lines.insert(1, '-' * len(lines[0]))
    return lines


def shown(value, unit='', digits=3):
    if value is None:
        return '-'
    is_whole = abs(value) >= 1000 or value == int(value)
    return (f'{value:.0f}' if is_whole else f'{value:.{digits}g}') + unit


def section(title, loops, figures, scale=1.0, with_noise=False):
    """One row a loop, one column a subject; the best peer of each row has a star."""
    if not loops:
        return []
    subjects = [name for name in figures.subjects(loops) if name != AGAIN]
    rows = [['', *subjects, *(['noise'] if with_noise else [])]]
    for loop in loops:
        values = {name: figures.median(loop, name) * scale for name in subjects
                  if figures.has(loop, name)}
        best = min((values[name] for name in PEERS if name in values), default=None)
        row = [loop.partition('/')[2]]
        for name in subjects:
            star = '*' if name in PEERS and values.get(name) == best is not None else ''
            row.append(star + shown(values.get(name)))
        if with_noise:
            row.append(noise(loop, figures))
        rows.append(row)
    return ['', title, *columns(rows)]


def noise(loop, figures):
    """How far glibc is from itself, in the same rounds; else glibc's spread."""
    if figures.has(loop, AGAIN) and figures.has(loop, 'glibc'):
        part = figures.median(loop, AGAIN) / figures.median(loop, 'glibc') - 1
        return f'{abs(part) * 100:.1f}%'
    return '-'


def bar_lines(bars):
    rows = [['bar', 'must be', 'measured', 'verdict']]
    for bar in bars:
        unit = bar['unit']
        rows.append([bar['name'], f"{bar['sign']} {shown(bar['limit'], unit)}",
                     shown(bar['measured'], unit, 4),  # 1.003 is no 1
                     bar['verdict']])
    lines = columns(rows)
    lines += [f"  {bar['name']}: {bar['verdict']}: {bar['why']}" for bar in bars if bar['why']]
    return lines


def refusals(missing, figures):
    """Of loops without a bar as well: huge pages that the system does not give, crashes."""
    lines = []
    for key, why in figures.why_not.items():
        if key[0] and key[1] not in missing:
            word = 'FAILED' if key in figures.failures else 'not measured'
            lines.append(f'{word}: {key[0]} of {key[1]}: {why}')
    return lines


def summary(bars):
    count = {verdict: sum(bar['verdict'] == verdict for bar in bars)
             for verdict in ('holds', 'BROKEN', 'not measured')}
    return (f"{count['holds']} bars hold, {count['BROKEN']} are broken, "
            f"{count['not measured']} were not measured")


def report(machine, missing, figures, bars):
    lines = [f"hshm bench, {machine['when']}: {machine['processor']}, {machine['cores']} cores, "
             f"load {machine['load_before']:.1f} before and {machine['load_after']:.1f} after, "
             f"{machine['rounds']} rounds"]
    if machine['load_before'] > 0.5 * machine['cores']:
        lines.append('The machine was busy: times are provisional, instructions are not.')
    lines += [f'missing: {name}: {why}' for name, why in missing.items()]
    times = figures.loops('time')
    patterns = [loop for loop in times if '/pattern/' in loop]
    touches = [loop for loop in times if loop == 'time/only_blocks']
    loops = [loop for loop in times if loop not in [*patterns, *touches, 'time/churn']]
    lines += section('ns of processor time per allocation and free (* best of the four peers; '
                     'noise: glibc against itself)', loops, figures, with_noise=True)
    lines += section('ns per touch of a block', touches, figures, with_noise=True)
    walls = [loop for loop in figures.loops('wall') if '/pattern/' not in loop]
    lines += section('ns of wall time per allocation and free, all members together',
                     walls, figures)
    lines += section('instructions per allocation and free (nominal loop included)',
                     figures.loops('instructions'), figures)
    lines += section('patterns, ms of processor time', patterns, figures, 1e-6, with_noise=True)
    lines += section('peak memory, MiB: of churn the heap, of the rest resident, program included',
                     figures.loops('memory'), figures, 1 / MIB)
    lines += section('churn: peak memory / bytes requested and live', figures.loops('ratio'),
                     figures)
    lines += section('churn: ns per replacement', [x for x in times if x == 'time/churn'], figures)
    return '\n'.join([*lines, '', *refusals(missing, figures), '', *bar_lines(bars), '',
                      summary(bars), ''])
