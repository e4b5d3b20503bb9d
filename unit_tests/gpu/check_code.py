#!/usr/bin/env python3
"""Looks at the code that a compiler for GPUs made of atomic_probe.cc.

    check_code.py cuda FILE.ptx...    |    check_code.py hip FILE.ll...

Each operation of Atomic must have become the one instruction that does it, with the scope of the
whole system: nvcc drops what it does not know in silence, and a narrower scope is right on one GPU
until the host looks. Prints `FILE: KERNEL: sentence` for each breach and exits 1 when there is one.
"""

import pathlib
import re
import sys

# kernel: what must be in its body, in this order.
PTX = {
    'load_relaxed': [r'ld\.relaxed\.sys\.b64'],
    'load_acquire': [r'ld\.acquire\.sys\.b64'],
    'load_seq_cst': [r'fence\.sc\.sys', r'ld\.acquire\.sys\.b64'],
    'store_relaxed': [r'st\.relaxed\.sys\.b64'],
    'store_release': [r'st\.release\.sys\.b64'],
    'store_seq_cst': [r'fence\.sc\.sys', r'st\.(relaxed|release)\.sys\.b64'],
    'exchange_acquire': [r'atom\.exch\.acquire\.sys\.b64'],
    'cas_acq_rel': [r'atom\.cas\.acq_rel\.sys\.b64'],
    'cas_seq_cst': [r'fence\.sc\.sys', r'atom\.cas\.acquire\.sys\.b32'],
    'add_relaxed': [r'atom\.add\.relaxed\.sys\.u64'],
    'sub_release': [r'atom\.add\.release\.sys\.u64'],
    'or_seq_cst': [r'fence\.sc\.sys', r'atom\.or\.acquire\.sys\.b64'],
    'and_acq_rel': [r'atom\.and\.acq_rel\.sys\.b64'],
    'check_stops': [r'__assertfail'],
}
# "one-as" is the whole system, for one address space; sequentially consistent ones are for all.
SYSTEM = r'(syncscope\("one-as"\) )?'
LLVM = {
    'load_relaxed': [rf'load atomic i64, .* {SYSTEM}monotonic'],
    'load_acquire': [rf'load atomic i64, .* {SYSTEM}acquire'],
    'load_seq_cst': [r'load atomic i64, ptr addrspace\(1\) %\d+ seq_cst'],
    'store_relaxed': [rf'store atomic i64 .* {SYSTEM}monotonic'],
    'store_release': [rf'store atomic i64 .* {SYSTEM}release'],
    'store_seq_cst': [r'store atomic i64 %\d+, ptr addrspace\(1\) %\d+ seq_cst'],
    'exchange_acquire': [rf'atomicrmw xchg .* {SYSTEM}acquire'],
    'cas_acq_rel': [rf'cmpxchg .* i64 7 {SYSTEM}acq_rel monotonic'],
    'cas_seq_cst': [r'cmpxchg .* i32 7 seq_cst seq_cst'],
    'add_relaxed': [rf'atomicrmw add .* {SYSTEM}monotonic'],
    'sub_release': [rf'atomicrmw add .* {SYSTEM}release'],
    'or_seq_cst': [r'atomicrmw or .* i64 %\d+ seq_cst'],
    'and_acq_rel': [rf'atomicrmw and .* {SYSTEM}acq_rel'],
    'check_stops': [r'__assert_fail'],
}
KINDS = {
    'cuda': (PTX, r'\.entry {}\(.*?^}}', r'\.(cta|cluster|gpu)\b.*'),
    'hip': (LLVM, r'amdgpu_kernel void @{}\(.*?^}}',
            r'syncscope\("(agent|workgroup|wavefront|single).*'),
}


def check_kernel(body, wanted, narrow):
    """Yields a sentence for each thing that is wrong with a kernel's code."""
    at = 0
    for pattern in wanted:
        found = re.compile(pattern).search(body, at)
        if not found:
            yield f'no {pattern} in\n{body}'
            return
        at = found.end()
    found = re.search(narrow, body)
    if found:
        yield f'narrower than the system: {found.group()}'


def check_file(path, kind):
    kernels, entry, narrow = KINDS[kind]
    text = pathlib.Path(path).read_text()
    for name, wanted in kernels.items():
        found = re.search(entry.format(name), text, re.DOTALL | re.MULTILINE)
        sentences = check_kernel(found.group(), wanted, narrow) if found else ['is not there']
        for sentence in sentences:
            yield f'{path}: {name}: {sentence}'


def main():
    if len(sys.argv) < 3 or sys.argv[1] not in KINDS:
        sys.exit(__doc__)
    breaches = [breach for path in sys.argv[2:] for breach in check_file(path, sys.argv[1])]
    for breach in breaches:
        print(breach)
    print(f'{len(sys.argv) - 2} files looked at, {len(breaches)} breaches')
    return 1 if breaches else 0


if __name__ == '__main__':
    sys.exit(main())
