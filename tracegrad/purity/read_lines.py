"""Where in the user's program something was read: the line that names it, found again from the code that ran.

    def step(x):                         model.layers[0].w     "model.py:42", the attribute w of what layers holds
        y = x                            args[0]               "model.py:41", the first line that reads x
        for l in model.layers:           len(model.layers)
            y = y @ l.w

1. Nothing of this is computed before somebody asks: a guard keeps its route, its root keeps the code that ran.
2. Where an attribute is named in several lines, the line wins that names it of what the route names before it, then
   one that names it of a local variable, which may be that, then the first in the order in which code was entered.
3. What no line names (a key, an item, the method that an operator calls) is found where what it is a part of is.
"""
from __future__ import annotations

import dis
import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from types import CodeType, FunctionType, MethodType
from typing import Any, NamedTuple

from tracegrad.source_lines import is_inside, line_in

NAMES = frozenset({"LOAD_GLOBAL", "LOAD_NAME", "LOAD_DEREF", "LOAD_CLASSDEREF", "LOAD_FAST", "LOAD_FAST_CHECK",
                   "LOAD_FAST_AND_CLEAR", "LOAD_FROM_DICT_OR_GLOBALS", "LOAD_FROM_DICT_OR_DEREF", "IMPORT_NAME",
                   "LOAD_FAST_LOAD_FAST", "STORE_FAST_LOAD_FAST", "STORE_GLOBAL"})
ATTRIBUTES = frozenset({"LOAD_ATTR", "LOAD_METHOD", "LOAD_SUPER_ATTR", "IMPORT_FROM", "STORE_ATTR"})
ROUTE = re.compile(r"[A-Za-z_]\w*(?:\.\w+|\[[^\]]*\]|\{\d+\}|<key \d+>| \([a-z ]+\))*")
STEP = re.compile(r"\.(\w+)|\[[^\]]*\]|\{\d+\}|<key \d+>| \([a-z ]+\)")
ARGUMENT = re.compile(r"args\[(\d+)\]|kwargs\['(\w+)'\]")


class Mention(NamedTuple):
    """A name in the program: what was named just before it, if that is no local variable, and the line."""

    before: str | None
    line: str


class ReadLines:
    """Finds the line that read what a route leads to, in `codes`, the code that ran, in the order it was entered."""

    def __init__(self, function: Callable[..., Any] | None, codes: Iterable[CodeType]):
        self._parameters = _parameters(function)
        self._own = getattr(function, "__code__", None)         # whose parameters are what routes begin with
        self._names: defaultdict[str, list[Mention]] = defaultdict(list)
        self._attributes: defaultdict[str, list[Mention]] = defaultdict(list)
        for code in codes:
            if not is_inside(code.co_filename):
                self._index(code)

    def line_of(self, route: str) -> str | None:
        """The line, as `model.py:42`; None for what is no route, or is read by no line of the user's."""
        names = self._names_on(route)
        while names:
            if len(names) > 1:
                found, before = self._attributes.get(names[-1], ()), names[-2]
            else:
                found, before = self._names.get(names[0], ()), None
            if found:
                return min(found, key=lambda m: (m.before != before, m.before is not None)).line
            names.pop()
        return None

    def _names_on(self, route: str) -> list[str]:
        """The names on the way, that of a parameter for an argument."""
        argument = ARGUMENT.match(route)
        if argument is not None:
            position, keyword = argument.groups()
            if keyword is None:
                parameter = self._parameters[int(position):int(position) + 1]
                keyword = parameter[0] if parameter else ""
            first, rest = keyword, route[argument.end():]
        elif ROUTE.fullmatch(route):
            first = re.split(r"[.\[{< ]", route, maxsplit=1)[0]
            rest = route[len(first):]
        else:
            return []
        return [first, *(name for name in STEP.findall(rest) if name)]

    def _index(self, code: CodeType) -> None:
        before: str | None = None
        for instruction in dis.get_instructions(code):
            name, value = instruction.opname, instruction.argval
            number = instruction.positions.lineno if instruction.positions else None
            if name not in NAMES and name not in ATTRIBUTES or number is None:
                continue
            line = line_in(code, number)
            for part in value if isinstance(value, tuple) else (value,):
                if name in ATTRIBUTES:
                    self._attributes[part].append(Mention(before, line))
                else:
                    self._names[part].append(Mention(None, line))
                unknown = "FAST" in name and not (code is self._own and part in self._parameters)
                before = None if unknown else part


def _parameters(function: Callable[..., Any] | None) -> tuple[str, ...]:
    """The names of the arguments by position, as the caller counts them; that of *args for all it takes."""
    bound = isinstance(function, MethodType)
    plain = function.__func__ if isinstance(function, MethodType) else function
    if not isinstance(plain, FunctionType):
        return ()
    code = plain.__code__
    names = code.co_varnames[:code.co_argcount]
    if code.co_flags & 4:
        names += (code.co_varnames[code.co_argcount + code.co_kwonlyargcount],) * 64
    return names[bound:]
