"""Guards as a person wants to read them: one sentence for each thing, and what goes without saying left out.

    m.w has type Tensor                                   model.py:9   m.w: f32[4,3]
    m.w has dtype float32                                 model.py:13  scale: 2.0
    m.w has shape (4, 3)                           ->     model.py:14  m.layers[0], m.layers[1]: f32[3,3]
    m.w is contiguous                                     and 31 guards on code, classes and absent names
    M defines none of __abs__, __add__, ...
"""
from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from codegen.ir.types import NAMES
from tracegrad.guards import Guard
from tracegrad.purity.values import PLAIN

UNSAID = ("defines none", "has none", "has the bases", "has no defaults", "is the same object", "has the code",
          "is not a global", "is not in", "are distinct", "are the same", "own their memory", "share", "is contiguous",
          "has the attributes", "is in its module")
NUMBERS = ("float", "int")      # whose value is an input
BUILTIN = ("list", "tuple", "dict", "set", "deque", "slice", "method")
WIDEST = 90             # characters of a list in one sentence


def listed(items: Sequence[str]) -> str:
    """`a, b, c and 3 more`."""
    shown, width = 1, len(items[0])
    while shown < len(items) and width + len(items[shown]) + 2 <= WIDEST:
        width += len(items[shown]) + 2
        shown += 1
    more = len(items) - shown
    return ", ".join(items[:shown]) + (f" and {more} more" if more else "")


class Assumption(NamedTuple):
    """What is assumed of what is found at `routes`, which the user's program reads at `line`."""

    line: str | None
    routes: tuple[str, ...]
    says: str

    def __str__(self) -> str:
        if self.routes == ("args",):
            return f"positional arguments: {self.says.removeprefix('of length ')}"
        return f"{listed(self.routes)}: {self.says}"


def assumptions(guards: Sequence[Guard]) -> tuple[list[Assumption], int]:
    """The assumptions, by line, and how many guards are not told."""
    by_route: dict[str, list[Guard]] = {}
    untold = 0
    for guard in guards:
        if goes_without_saying(guard):
            untold += 1
        else:
            by_route.setdefault(guard.route, []).append(guard)
    merged: dict[tuple[str | None, str], list[str]] = {}
    for route, held in by_route.items():
        says = _together(held)
        if says:
            merged.setdefault((held[0].line, says), []).append(route)
        else:
            untold += len(held)
    found = [Assumption(line, tuple(routes), says) for (line, says), routes in merged.items()]
    return sorted(found, key=_place), untold


def reads_and_rest(inputs: Sequence[tuple[str, str]],
                   told: Sequence[Assumption]) -> tuple[list[Assumption], list[Assumption]]:
    """What is assumed of each input, given as (where it is found, its type), and of everything else."""
    of_route = {route: assumption for assumption in told for route in assumption.routes}
    found = {text for text, _ in inputs}
    reads = [Assumption(of_route[text].line, (text,), of_route[text].says) if text in of_route
             else Assumption(None, (text,), type) for text, type in inputs]
    rest = [a._replace(routes=routes) for a in told if (routes := tuple(r for r in a.routes if r not in found))]
    return sorted(reads, key=_place), rest


def goes_without_saying(guard: Guard) -> bool:
    """Is it on code, on what is absent, or on what nearly everything is like?"""
    if guard.condition.startswith(UNSAID) or guard.route.endswith(" (its class)"):
        return True
    if guard.condition in ("has a history: False", "has hooks: False", "requires grad: False", "is empty"):
        return True
    if ".__defaults__" in guard.route and not guard.condition.startswith("holds "):
        return True
    return guard.condition.startswith("is still ") and (type(guard.expected) not in PLAIN or ".__" in guard.route)


def _together(guards: list[Guard]) -> str:
    """Everything that is assumed of one thing."""
    by_kind = {_kind(guard.condition): guard for guard in guards}
    shape, dtype = by_kind.pop("has shape", None), by_kind.pop("has dtype", None)
    kind, length = by_kind.pop("has type", None), by_kind.get("has length")
    words: list[str] = []
    if shape is not None and dtype is not None and isinstance(dtype.expected, np.dtype):
        sizes = ",".join(map(str, shape.expected))
        words.append(f"{NAMES.get(dtype.expected, str(dtype.expected))}[{sizes}]")
    elif kind is not None and (length is not None or not by_kind):
        name, size = kind.condition.removeprefix("has type "), by_kind.pop("has length", None)
        article = "any" if name in NUMBERS else "a" if name in BUILTIN else "an instance of"
        words.append(f"{article} {name}" + (f" of {size.condition.removeprefix('has ')}" if size is not None else ""))
    for guard in by_kind.values():
        words.append(_briefly(guard.condition))
    return ", ".join(words)


def _kind(condition: str) -> str:
    return next((kind for kind in ("has shape", "has dtype", "has type", "has length")
                 if condition.startswith(kind + " ")), condition)


def _briefly(condition: str) -> str:
    """`equals 2.0` is `2.0` after the route and a colon."""
    for words, instead in (("equals ", ""), ("is still ", ""), ("holds ", ""), ("has length ", "of length "),
                           ("requires grad: True", "requires grad"), ("has a history: True", "computed by others"),
                           ("has hooks: True", "has hooks"), ("has the keys ", "has the keys "), ("is ", "")):
        if condition.startswith(words):
            return instead + condition.removeprefix(words)
    return condition


def _place(assumption: Assumption) -> tuple[bool, str, int]:
    file, _, number = (assumption.line or ":0").rpartition(":")
    return assumption.line is None, file, int(number)
