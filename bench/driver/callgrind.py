"""Instructions of a malloc and a free: they repeat exactly, whatever else the machine does."""

import os
import re
import tempfile

from .programs import ProgramFailed, run_program
from .subjects import SHARED, AGAIN

LOOPS = ('pair', 'random')
# The loop's own instructions in the published figures: ours are replaced by them, so that another
# compiler's loop does not change what an allocator costs.
NOMINAL_HARNESS = {'pair': 11, 'random': 42}


def costs_by_object(text):
    """Instructions that each object file executed itself, from callgrind's output."""
    names, costs, current, is_call = {}, {}, None, False
    for line in text.splitlines():
        found = re.match(r'ob=(\(\d+\))(?: (.+))?$', line)
        if found:
            if found.group(2):
                names[found.group(1)] = found.group(2)
            current = found.group(1)
            continue
        found = re.match(r'cob=(\(\d+\)) (.+)$', line)
        if found:
            names[found.group(1)] = found.group(2)
        elif line.startswith('calls='):
            is_call = True  # the next line is what the callee costs
        elif re.match(r'[+\-*\d]', line):
            if not is_call:
                costs[current] = costs.get(current, 0) + int(line.split()[1])
            is_call = False
    return {names.get(key, key): cost for key, cost in costs.items()}


def count(command, environment):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, 'callgrind')
        run_program(['valgrind', '--tool=callgrind', f'--callgrind-out-file={path}'] + command,
                    environment)
        with open(path, encoding='utf-8', errors='replace') as file:
            return costs_by_object(file.read())


def count_pair(command, environment, iterations):
    """(all, those of the program itself) of one iteration, without what comes before the loop."""
    few, many = iterations
    before = count(command + [str(few)], environment)
    after = count(command + [str(many)], environment)
    program = os.path.realpath(command[0])
    total = sum(after.values()) - sum(before.values())
    own = after.get(program, 0) - before.get(program, 0)
    return total / (many - few), own / (many - few)


def count_malloc(loop, program, subject, figures, options):
    total, own = count_pair([program, loop], subject.environment(), options.count_iterations)
    figures.add(f'harness/{loop}', subject.name, own)
    figures.add(f'instructions/{loop}', subject.name, total - own + NOMINAL_HARNESS[loop])


def measure(build_dir, subjects, figures, options):
    malloc_pair = os.path.realpath(os.path.join(build_dir, 'bench', 'malloc_pair'))
    heap_pair = os.path.realpath(os.path.join(build_dir, 'bench', 'heap_pair'))
    work = []
    for loop in LOOPS:
        for subject in subjects:
            if subject.name != AGAIN and options.wants(f'instructions/{loop}', subject.name):
                work.append((loop, subject.name, lambda loop=loop, subject=subject: count_malloc(
                    loop, malloc_pair, subject, figures, options)))
        for name in SHARED:
            if options.wants(f'instructions/{loop}', name):
                work.append((loop, name, lambda loop=loop, name=name: figures.add(
                    f'instructions/{loop}', name,
                    count_pair([heap_pair, loop, name], subjects[0].environment(),
                               options.count_iterations)[0])))
    for loop, name, do in work:
        try:
            do()
        except ProgramFailed as failure:
            figures.fail(f'instructions/{loop}', name, str(failure))
            options.say(str(failure))
        except OSError as error:
            figures.refuse(f'instructions/{loop}', name, f'valgrind: {error.strerror}')
            options.say(f'instructions/{loop}, {name}: valgrind: {error.strerror}')
