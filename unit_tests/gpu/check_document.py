#!/usr/bin/env python3
"""check_document.py SOURCE PAGE: the program of docs/kernels.md is what the gates compile."""

import pathlib
import sys

source, page = (pathlib.Path(name).read_text() for name in sys.argv[1:3])
program = source.split('// [begin]\n')[1].split('// [end]')[0]
shown = page.split('```cuda\n')[1].split('```')[0]
if shown != program:
    sys.exit(f'{sys.argv[2]}: its program differs from {sys.argv[1]}')
