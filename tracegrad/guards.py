"""Guards: one generated, straight-line function that finds the Tensors of a path again, or says that the path is off.

    def check(args, kwargs):
        if not (len(args) == 1 and not kwargs): return None        args: has length 1; kwargs: is empty
        v0 = args[0]
        if not (type(v0) is k0): return None                       args[0]: has type Tensor
        ...
        return (v0, v7)

Tests between two reads are one `if`. Guards on what modules and classes hold come first, grouped by namespace; they
are skipped while the version of that namespace is one for which they held. The function that tells which guard failed
is written when it is first asked for.
"""
from __future__ import annotations

import collections
import itertools
import sys
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tracegrad.purity.dict_versions import version
from tracegrad.purity.instances import slot_value
from tracegrad.purity.memory import apart, owner
from tracegrad.purity.part import ABSENT
from tracegrad.purity.values import bits, cell_contents, plain_items

NAMES: dict[str, Any] = {
    **{kind.__name__: kind for kind in (type, int, str, list, tuple, dict, set, frozenset, object, bytearray)},
    **{f.__name__: f for f in (len, id, repr, map, bits, plain_items, slot_value, cell_contents, owner, apart)},
    "deque": collections.deque, "OrderedDict": collections.OrderedDict, "FunctionType": types.FunctionType,
    "ABSENT": ABSENT, "modules": sys.modules}
"""What generated code may name beside its own variables and constants."""

MISSING = (AttributeError, LookupError, TypeError, ValueError, RuntimeError)
"""What reading something raises when it is no longer where it was, or changes in another thread."""


@dataclass(frozen=True, slots=True)
class Guard:
    """One assumption: at `route`, `condition`; `expected` is what was seen."""

    route: str
    condition: str
    expected: Any = None

    def __str__(self) -> str:
        return f"{self.route} {self.condition}"


@dataclass(frozen=True, slots=True)
class Line:
    """One statement of generated code: a read, or a test with its guard."""

    text: str
    route: str
    test: bool = False
    says: str = ""
    expected: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Slot:
    """A place that the run stored a Tensor in, found again by its route."""

    text: str
    assign: Callable[[tuple, Mapping[str, Any], Any], None]
    read: Callable[[tuple, Mapping[str, Any]], Any]


@dataclass(slots=True, eq=False)
class Guards:
    """The assumptions of one path. `sources` are the routes of the Tensors that `check` returns, in their order."""

    sources: tuple[str, ...]
    lines: Sequence[Line]
    leaves: Sequence[str]
    constants: dict[str, Any]
    namespaces: Sequence[tuple[Mapping[str, Any], Sequence[Line]]] = ()
    check: Callable[[tuple, Mapping[str, Any]], tuple[Any, ...] | None] = field(init=False)
    _explain: Callable[..., int] | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        statements: list[str] = []
        for k, (namespace, lines) in enumerate(self.namespaces):
            number = version(namespace)
            if number is None:
                statements += _tested(lines)
            else:
                self.constants |= {f"version{k}": number, f"held{k}": [None]}
                statements += [f"now = version{k}.value", f"if now != held{k}[0]:",
                               *(f" {statement}" for statement in (*_tested(lines), f"held{k}[0] = now"))]
        statements += _tested(self.lines)
        leaves = "".join(f"{name}, " for name in self.leaves)
        self.check = self._compile("check", statements, f"return ({leaves})", "return None")

    def explain(self, args: tuple, kwargs: Mapping[str, Any]) -> tuple[str, str] | None:
        """(route, sentence) of the first guard that does not hold for this call, or None if all hold."""
        if self._explain is None:
            statements = (f"if not ({line.text}): return {k}" if line.test else f"at = {k}; {line.text}"
                          for k, line in enumerate(self._all_lines()))
            self._explain = self._compile("explain", statements, "return -1", "return at")
        at = self._explain(args, kwargs)
        if at < 0:
            return None
        line = self._all_lines()[at]
        return line.route, self._sentence(line)

    def sentences(self) -> tuple[str, ...]:
        """Every assumption as a sentence."""
        return tuple(map(str, self.guards))

    @property
    def guards(self) -> list[Guard]:
        """Every assumption, for display."""
        return [Guard(line.route, self._sentence(line), line.expected[0] if line.expected else None)
                for line in self._all_lines() if line.test]

    def _all_lines(self) -> list[Line]:
        return [*(line for _, lines in self.namespaces for line in lines), *self.lines]

    def slot(self, text: str, reads: Sequence[Line], read: str, write: str) -> Slot:
        """A place to read and write, which the statements `reads` find."""
        statements = [line.text for line in reads]
        return Slot(text, self._compile("assign", statements, write, None, ", t"),
                    self._compile("read", statements, f"return {read}", None))

    @staticmethod
    def _sentence(line: Line) -> str:
        if not line.test:
            return "is no longer there"
        return f"{line.says} {_shown(line.expected[0])}" if line.expected else line.says

    def _compile(self, name: str, statements: Iterable[str], last: str, otherwise: str | None,
                 more: str = "") -> Callable[..., Any]:
        body = [*statements, last]
        if otherwise is not None:
            body = ["at = 0", "try:", *(f" {statement}" for statement in body), "except MISSING:", f" {otherwise}"]
        text = "\n".join((f"def {name}(args, kwargs{more}):", *(f" {statement}" for statement in body)))
        namespace = {**NAMES, **self.constants, "MISSING": MISSING, "__builtins__": {}}
        exec(compile(text, f"<{name} of {len(self.lines)} lines>", "exec"), namespace)
        return namespace[name]


def _tested(lines: Iterable[Line]) -> list[str]:
    """The lines as statements that return None where a test fails; neighboring tests are one statement."""
    statements: list[str] = []
    for are_tests, group in itertools.groupby(lines, lambda line: line.test):
        texts = [line.text for line in group]
        statements += [f"if not ({' and '.join(texts)}): return None"] if are_tests else texts
    return statements


def _shown(expected: Any) -> str:
    """A short text of an expected value, which runs no code of the user's."""
    match expected:
        case type():
            return expected.__qualname__
        case types.FunctionType() | types.BuiltinFunctionType():
            return f"the function {expected.__qualname__}"
        case types.ModuleType():
            return f"the module {expected.__name__}"
        case frozenset():
            names = sorted(map(str, expected))
            return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
        case None | bool() | int() | float() | complex() | str() | bytes() | tuple() | list() | types.CodeType():
            text = repr(expected)
            return text if len(text) <= 80 else text[:77] + "..."
        case _:
            return f"the same {type(expected).__qualname__}"
