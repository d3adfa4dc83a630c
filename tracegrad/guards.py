"""Guards: one generated, straight-line function that finds the Tensors of a path again, or says that the path is off.

    def check(args, kwargs):
        if not (len(args) == 1 and not kwargs): return None        args: has length 1; kwargs: is empty
        v0 = args[0]
        if not (type(v0) is k0): return None                       args[0]: has type Tensor
        ...
        return (v0, v7)

Tests between two reads are one `if`. Guards on what modules and classes hold come first, grouped by namespace; they
are skipped while the version of that namespace is one for which they held. The function that tells which guard failed
is written when it is first asked for. Guards that differ in shapes only are one code with other constants.
"""
from __future__ import annotations

import ast
import collections
import itertools
import operator
import re
import sys
import types
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import field
from typing import Any

import numpy as np

from codegen.ir.structs import replaced, struct
from tracegrad.generated import compiled
from tracegrad.known_arrays import KnownArrays, Text, found_elsewhere, with_known
from tracegrad.purity.dict_versions import version
from tracegrad.purity.instances import slot_value
from tracegrad.purity.memory import apart, owner
from tracegrad.purity.part import ABSENT, Absent
from tracegrad.purity.read_lines import ReadLines
from tracegrad.purity.values import PLAIN, bits, cell_contents, held, plain_items
from tracegrad.source_lines import first_line

HAS_SHAPE = "has shape"
NOTHING = object()      # what a test that compares nothing finds
PAST = {"has": "had", "is": "was", "are": "were", "equals": "was", "holds": "held", "requires": "required",
        "defines": "defined", "own": "owned", "share": "shared"}
COMPARED_BY = ("bits", "repr", "plain_items")
MOST_PARTS = 8          # of a container, in a sentence

_KEYS = re.compile(r"\[\*(v\d+)\] == (k\d+) and \[\*map\(type, \1\)\] == k\d+")

NAMES: dict[str, Any] = {
    **{kind.__name__: kind for kind in (type, int, str, list, tuple, dict, set, frozenset, object, bytearray)},
    **{f.__name__: f for f in (len, id, repr, map, all, bits, plain_items, slot_value, cell_contents, owner, apart)},
    "is_": operator.is_, "deque": collections.deque, "OrderedDict": collections.OrderedDict,
    "FunctionType": types.FunctionType, "ABSENT": ABSENT, "NOTHING": NOTHING, "modules": sys.modules}
"""What generated code may name beside its own variables and constants."""

MISSING = (AttributeError, LookupError, TypeError, ValueError, RuntimeError)
"""What reading something raises when it is no longer where it was, or changes in another thread."""


@struct
class Guard:
    """One assumption: at `route`, `condition`; `expected` is what was seen, `line` where the user's program read it."""

    route: str
    condition: str
    expected: Any = None
    line: str | None = None

    def __str__(self) -> str:
        return f"{self.line}: {self.route} {self.condition}" if self.line else f"{self.route} {self.condition}"


@struct
class Line:
    """One statement of generated code: a read, or a test with its guard."""

    text: str
    route: str
    test: bool = False
    says: str = ""
    expected: tuple[Any, ...] = ()


class _AnyShape:
    """Equal to every shape."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = None     # type: ignore[assignment]


ANY_SHAPE = _AnyShape()


@struct(eq=False)
class Slot:
    """A place that the run stored a Tensor in, found again by its route."""

    text: str
    assign: Callable[[tuple, Mapping[str, Any], Any], None]
    read: Callable[[tuple, Mapping[str, Any]], Any]


@struct(frozen=False, eq=False)
class Guards:
    """The assumptions of one path. `sources` are the routes of the Tensors that `check` returns, in their order.

    `function` was called, and `codes` ran: who asks for the line that read something finds it there. `like`: guards
    that differ in the values of constants only.
    """

    sources: tuple[str, ...]
    lines: Sequence[Line]
    leaves: Sequence[str]
    constants: dict[str, Any]
    namespaces: Sequence[tuple[Mapping[str, Any] | type, Sequence[Line]]] = ()
    function: Callable[..., Any] | None = None
    codes: Sequence[types.CodeType] = ()
    like: Guards | None = None
    check: Callable[[tuple, Mapping[str, Any]], tuple[Any, ...] | None] = field(init=False)
    _of_gpu: dict[tuple[str, ...], Callable[..., Any]] = field(init=False, default_factory=dict)   # by what is known
    _explain: Callable[..., int] | None = field(init=False, default=None)
    _shapes: tuple[Line, ...] | None = field(init=False, default=None)
    _but_shapes: Callable[..., tuple[Any, ...] | None] | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        if self.like is not None:
            self.check, self._of_gpu = _with_constants(self.like.check, self.constants), self.like._of_gpu
            self.like = None
            return
        statements = [*self._of_namespaces(), *_tested(self._texts())]
        self.check = self._compile("check", statements, self._found, "return None")

    def _of_namespaces(self) -> Iterator[str]:
        for k, (namespace, lines) in enumerate(self.namespaces):
            number = version(namespace)
            tested = _tested((line.text, line.test) for line in lines)
            if number is None:
                yield from tested
            else:
                self.constants |= {f"version{k}": number, f"held{k}": [None]}
                yield f"now = version{k}.value"
                yield f"if now != held{k}[0]:"
                yield from (f" {statement}" for statement in (*tested, f"held{k}[0] = now"))

    def _texts(self) -> list[Text]:
        return [(self._brief(line), line.test) for line in self.lines]

    def _brief(self, line: Line) -> str:
        """The text of a line; that a dict has no keys, which many have where a module keeps others, is told at once."""
        match = _KEYS.fullmatch(line.text)
        return f"not {match[1]}" if match and self.constants[match[2]] == [] else line.text

    @property
    def _found(self) -> str:
        return f"return ({''.join(f'{name}, ' for name in self.leaves)})"

    def check_of_gpu(self, are_there: Sequence[bool]) -> Callable[[tuple, Mapping[str, Any]], tuple[Any, ...] | None]:
        """What `check` does; of the arrays of these leaves, which are on a GPU, it asks no more than it must."""
        texts = self._texts()
        elsewhere = found_elsewhere(texts)
        lasting = tuple([leaf for leaf, is_there in zip(self.leaves, are_there) if is_there and leaf in elsewhere])
        if not lasting:
            return self.check
        known: dict[str, Any] = {"known": KnownArrays()}
        if lasting not in self._of_gpu:
            before, ask, after = with_known(texts, lasting)
            statements = [*self._of_namespaces(), *_tested(before), *ask, *_tested(after)]
            self._of_gpu[lasting] = self._compile("check", statements, self._found, "return None")
        return _with_constants(self._of_gpu[lasting], self.constants | known)

    @property
    def arguments(self) -> tuple[int, tuple[str, ...]]:
        """How many positional arguments a call has, and the names of the others."""
        # variables of the function may be called args, too: their guards have other texts
        (length,) = (line.expected[0] for line in self.lines if line.text.startswith("len(args) =="))
        named = [line.expected[0] for line in self.lines if line.text.startswith("[*kwargs] ==")]
        return length, tuple(named[0]) if named else ()

    @property
    def shapes(self) -> tuple[Line, ...]:
        """The guard of the shape of each Tensor."""
        if self._shapes is None:
            self._shapes = tuple([line for line in self.lines if line.says == HAS_SHAPE])
        return self._shapes

    @property
    def sizes(self) -> int:
        """A number that tells these shapes from others, all but surely (see other_sizes.sizes_of)."""
        return hash(tuple([line.expected[0] for line in self.shapes]))

    def but_shapes(self, args: tuple, kwargs: Mapping[str, Any]) -> tuple[Any, ...] | None:
        """What `check` gives, if all guards hold but for those of shapes, which may."""
        if self._but_shapes is None:
            self._but_shapes = _with_constants(self.check, {_shape_of(line): ANY_SHAPE for line in self.shapes})
        return self._but_shapes(args, kwargs)

    def with_shapes(self, shapes: Mapping[int, tuple[int, ...]]) -> Guards:
        """The same guards for other shapes, by the number of the Tensor."""
        lines = self.shapes
        others = {id(lines[k]): replaced(lines[k], expected=(shape,)) for k, shape in shapes.items()}
        constants = self.constants | {_shape_of(lines[k]): shape for k, shape in shapes.items()}
        return Guards(self.sources, [others.get(id(line), line) for line in self.lines], self.leaves, constants,
                      self.namespaces, self.function, self.codes, self)

    def explain(self, args: tuple, kwargs: Mapping[str, Any]) -> tuple[str, str] | None:
        """(route, sentence) of the first guard that does not hold for this call, or None if all hold."""
        missed = self.missed(args, kwargs)
        return None if missed is None else (missed.line.route, self._sentence(missed.line))

    def missed(self, args: tuple, kwargs: Mapping[str, Any]) -> Missed | None:
        """The first guard that does not hold for this call, and what is there instead; None if all hold."""
        if self._explain is None:
            statements = (f"if not ({line.text}): return {k}" if line.test else f"at = {k}; {line.text}"
                          for k, line in enumerate(self._all_lines()))
            self._explain = self._compile("explain", statements, "return -1", "return at")
        at = self._explain(args, kwargs)
        if at < 0:
            return None
        *held, line = self._all_lines()[:at + 1]
        now = ABSENT
        if line.test:
            reads = [one.text for one in held if not one.test]
            observe = self._compile("observe", reads, f"return {observed(line.text, line.says)}", "return ABSENT")
            now = observe(args, kwargs)
        return Missed(self, line, ABSENT if now is ABSENT else None if now is NOTHING else shown(now))

    def sentences(self) -> tuple[str, ...]:
        """Every assumption as a sentence."""
        return tuple(f"{guard.route} {guard.condition}" for guard in self.guards)

    @property
    def guards(self) -> list[Guard]:
        """Every assumption, for display."""
        lines = self.read_lines()
        return [Guard(line.route, self._sentence(line), line.expected[0] if line.expected else None,
                      lines.line_of(line.route))
                for line in self._all_lines() if line.test]

    def read_lines(self) -> ReadLines:
        """Where the user's program reads what is guarded."""
        return ReadLines(self.function, self.codes)

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
        return f"{line.says} {expected_text(line)}" if line.expected else line.says

    def _compile(self, name: str, statements: Iterable[str], last: str, otherwise: str | None,
                 more: str = "") -> Callable[..., Any]:
        body = [*statements, last]
        if otherwise is not None:
            body = ["at = 0", "try:", *(f" {statement}" for statement in body), "except MISSING:", f" {otherwise}"]
        text = "\n".join((f"def {name}(args, kwargs{more}):", *(f" {statement}" for statement in body)))
        namespace = {**NAMES, **self.constants, "MISSING": MISSING, "__builtins__": {}}
        exec(compiled(text, f"<{name} of {len(self.lines)} lines>"), namespace)
        return namespace[name]


def _with_constants(function: Callable[..., Any], constants: Mapping[str, Any]) -> Callable[..., Any]:
    """A generated function with other values for some of its constants."""
    return types.FunctionType(function.__code__, {**function.__globals__, **constants}, function.__name__)


def _shape_of(line: Line) -> str:
    """The constant that the guard of a shape compares it with."""
    return line.text.rpartition(" == ")[2]


def _tested(lines: Iterable[Text]) -> list[str]:
    """The lines as statements that return None where a test fails; neighboring tests are one statement."""
    statements: list[str] = []
    for are_tests, group in itertools.groupby(lines, lambda line: line[1]):
        texts = [text for text, _ in group]
        statements += [f"if not ({' and '.join(texts)}): return None"] if are_tests else texts
    return statements


@struct(eq=False)
class Missed:
    """A guard that did not hold for a call. `now`: what was there instead, as text; None if the test compares nothing,
    ABSENT if it could not be read."""

    guards: Guards
    line: Line
    now: str | Absent | None

    def __str__(self) -> str:
        where = self.guards.read_lines().line_of(self.line.route)
        before = f"{where}: " if where else ""
        if not self.line.test or isinstance(self.now, Absent):
            return f"{before}{self.line.route} is no longer there, or is something else"
        verb, _, rest = self.line.says.removesuffix(" still").partition(" ")
        says = f"{PAST.get(verb, verb)} {rest}".rstrip()
        was = f" {expected_text(self.line)}" if self.line.expected else ""
        now = f", now {self.now}" if self.now is not None else "" if was else ", and no longer"
        return f"{before}{self.line.route} {says}{was}{now}"


def observed(test: str, says: str) -> str:
    """An expression for what a test compares with what it expects; None where it tells nothing.

        type(v1) is int and v1 == 3     ->   v1
        v2.shape == k7                  ->   v2.shape
    """
    node: ast.expr = ast.parse(test, mode="eval").body
    while isinstance(node, ast.BoolOp):
        node = node.values[-1 if says == "equals" else 0]
    if not isinstance(node, ast.Compare) or not isinstance(node.ops[0], ast.Eq | ast.Is):
        return "NOTHING"
    seen = node.left
    if isinstance(seen, ast.Call) and isinstance(seen.func, ast.Name) and seen.func.id in COMPARED_BY:
        seen = seen.args[0]
    return ast.unparse(seen)


def expected_text(line: Line) -> str:
    """What a test expects."""
    expected = line.expected[0]
    if line.says in ("holds", "holds in this order") and type(expected) is tuple:
        return shown(held(expected))
    return expected if line.says == "is the same object as" else shown(expected)


def shown(value: Any) -> str:
    """A short text of a value, which runs no code of the user's."""
    kind = type(value)
    if issubclass(kind, type):
        return _name_of(value)
    if kind is types.FunctionType or kind is types.BuiltinFunctionType:
        return f"the function {value.__qualname__}"
    if kind is types.CodeType:
        return f"of {first_line(value)}"
    if kind is types.ModuleType:
        return f"the module {value.__dict__.get('__name__')}"
    if kind is frozenset:
        names = sorted(name for name in value if type(name) is str)
        return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
    if issubclass(kind, np.dtype):
        return str(value)
    if kind in PLAIN or kind in (tuple, list):
        text = _text(value)
        return text if len(text) <= 80 else text[:77] + "..."
    return f"the same {_name_of(kind)}"


def _name_of(cls: type) -> str:
    name: str = vars(type)["__qualname__"].__get__(cls)
    return name


def _text(value: Any) -> str:
    """The repr of plain values, and of tuples and lists of them."""
    if type(value) in (tuple, list):
        parts = [_text(part) for part in value[:MOST_PARTS]] + ["..."] * (len(value) > MOST_PARTS)
        return f"[{', '.join(parts)}]" if type(value) is list else f"({', '.join(parts)}{',' * (len(value) == 1)})"
    return repr(value) if type(value) in PLAIN else shown(value)
