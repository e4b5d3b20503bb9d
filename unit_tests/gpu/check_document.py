#!/usr/bin/env python3
"""The program of docs/kernels.md is the one that the gates compile: check_document.py SOURCE PAGE"""

import pathlib
import sys

source, page = (pathlib.Path(name).read_text() for name in sys.argv[1:3])
program = source.split('// [begin]\n')[1].split('// [end]')[0]
shown = page.split('```cuda\n')[1].split('```')[0]
if shown != program:
    sys.exit(f'{sys.argv[2]}: its program differs from {sys.argv[1]}')
