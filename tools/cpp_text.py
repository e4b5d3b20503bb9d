"""Reads C++ well enough for the checks in this folder: code apart from comments, and functions."""

import re

_TOKEN = re.compile(
    r'(?P<line>//(?:\\\n|[^\n])*)'
    r'|(?P<block>/\*.*?(?:\*/|\Z))'
    r'|(?P<raw>R"(?P<tag>[^()\s\\]{0,16})\(.*?\)(?P=tag)")'
    r'|(?P<string>"(?:\\.|[^"\\\n])*")'
    r"|(?P<char>(?<![0-9a-fA-F])'(?:\\.|[^'\\\n])*')",
    re.DOTALL)


def _blank(text):
    """The same lines, with nothing on them."""
    return re.sub(r'[^\n]', ' ', text)


def split_comments(text):
    """Returns (code, comments): two texts of the shape of `text`; strings are blank in both."""
    code, comments, end = [], [], 0
    for token in _TOKEN.finditer(text):
        plain = text[end:token.start()]
        is_comment = token.lastgroup in ('line', 'block')
        code += [plain, _blank(token.group()) if is_comment else _blank_string(token.group())]
        comments += [_blank(plain), token.group() if is_comment else _blank(token.group())]
        end = token.end()
    code.append(text[end:])
    comments.append(_blank(text[end:]))
    return ''.join(code), ''.join(comments)


def _blank_string(literal):
    """A string keeps its quotes, so that `f("")` still looks like a call."""
    if len(literal) < 2:
        return literal
    return literal[0] + _blank(literal[1:-1]) + literal[-1]


def blank_preprocessor(code):
    """`code` without its preprocessor lines and their continuations."""
    return re.sub(r'^[ \t]*#(?:\\\n|[^\n])*', lambda match: _blank(match.group()), code,
                  flags=re.MULTILINE)


def _strip_groups(statement):
    """`statement` with () for each parenthesis, and without template and subscript brackets."""
    previous = None
    while previous != statement:
        previous = statement
        statement = re.sub(r'\([^()]+\)', '()', statement)
        statement = re.sub(r'\[[^\[\]]*\]', '', statement)
    statement = re.sub(r'operator\s*(?:[-+*/%^&|~!=<>,]+|\(\s*\))', 'operator_', statement)
    previous = None
    while previous != statement:
        previous = statement
        statement = re.sub(r'<[^<>]*>', '', statement)
    return statement


def _kind_of_brace(statement):
    """What the brace after `statement` opens: 'container', 'function', 'initialiser' or 'block'."""
    head = _strip_groups(statement).strip()
    if re.search(r'\b(namespace|class|struct|union|enum)\b', head) or re.search(
            r'\bextern\s*"\s*"$', head):
        return 'container'
    if re.search(r'(?<![=!<>])=(?!=)', head):
        return 'initialiser'
    if '(' not in head and not re.search(r'\boperator_', head):
        return 'block'
    after_arguments = head[head.find(')') + 1:]
    if re.search(r'(?<!:):(?!:)', after_arguments) and re.search(r'[\w>]$', head):
        return 'initialiser'  # a member's braces in a constructor's list
    return 'function'


def functions(code):
    """Yields (first line, last line, name) of each function with a body outside other functions.

    `code` comes from split_comments. Lines count from 1.
    """
    code = blank_preprocessor(code)
    stack = []      # kinds of the braces that are open
    statement = ''  # code since the last statement ended
    start = None    # line on which it began
    line = 1
    function_start = function_name = None
    for char in code:
        inside = 'function' in stack
        if char == '\n':
            line += 1
        if inside and char not in '{}':
            continue
        if char == '{':
            kind = 'block' if inside else _kind_of_brace(statement)
            if kind == 'function':
                function_start, function_name = start or line, _name_of(statement)
            stack.append(kind)
            if kind in ('container', 'function'):
                statement, start = '', None
        elif char == '}':
            kind = stack.pop() if stack else 'block'
            if kind == 'function':
                yield function_start, line, function_name
            if kind != 'initialiser':
                statement, start = '', None
            else:
                statement += '_'
        elif char == ';' and 'initialiser' not in stack:
            statement, start = '', None
        elif 'initialiser' not in stack:
            if start is None and not char.isspace():
                start = line
            statement += char


def _name_of(statement):
    """The name before the first parenthesis that follows a name."""
    statement = re.sub(r'template\s*<[^()]*?>\s', ' ', statement)
    found = re.search(r'([~\w:]+)\s*(?:<[^()]*>)?\s*\(', statement)
    return found.group(1) if found else 'function'
