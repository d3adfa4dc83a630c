"""effects: what a run changed, by comparing the snapshot with the same objects after the run.

    self.h = h          SLOT     a Tensor replaced by another: a replay can do it again
    self.s = (h, c)     SLOT     so are several, in a container that is otherwise as it was
    loss.backward()     GRAD     the grad of a Tensor: known to the recorder
    self.n += 1         OTHER    refused, in words
"""
from __future__ import annotations

import dis
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import is_dataclass
from enum import Enum, auto
from types import BuiltinFunctionType, CellType, CodeType, MethodType, MethodWrapperType
from typing import Any

from codegen.ir.structs import struct
from tracegrad.aborts import Abort, Aborted
from tracegrad.purity.anatomy import parts_of
from tracegrad.purity.library import Library
from tracegrad.purity.part import ABSENT, Child, Part, View
from tracegrad.purity.prediction import Prediction
from tracegrad.purity.stamps import Entry
from tracegrad.purity.values import bits
from tracegrad.pytrees import opened
from tracegrad.source_lines import line_in

BOUND = (BuiltinFunctionType, MethodType, MethodWrapperType)     # made anew each time they are read

DEEPEST = 8         # how deep containers that are replaced may be nested


class Kind(Enum):
    """What kind of change it is."""

    SLOT = auto()
    GRAD = auto()
    OTHER = auto()


@struct(eq=False)
class Effect:
    """One change: of what `owner` had at `child.route`."""

    kind: Kind
    owner: Any
    child: Child
    before: Any
    after: Any
    what: str

    @property
    def place(self) -> Hashable:
        """The place that changed, whichever way it was found."""
        return self.child.place(self.owner)

    def refusal(self, codes: Iterable[CodeType]) -> Aborted | None:
        """Why the run cannot be replayed because of it, if so, and where one of these codes sets what changed."""
        if self.kind is not Kind.OTHER:
            return None
        places = list(_places_set(codes, self.owner, self.child))
        what, line = self.what, places[0][1] if places else None
        if type(self.owner) is CellType:        # which does not know its name
            what = f"it changed the variable {' or '.join(sorted({name for name, _ in places})) or 'of a closure'}"
        return Aborted(Abort.EFFECT, what, line)


def _places_set(codes: Iterable[CodeType], owner: Any, child: Child) -> Iterator[tuple[str, str]]:
    """Names that codes set which may be that of what changed, and the lines."""
    op = "DEREF" if type(owner) is CellType else "GLOBAL" if child.absolute else "ATTR"
    for code in codes:
        names = {child.route.removeprefix(".")}.intersection(code.co_names) if op != "DEREF" else {*code.co_freevars}
        for step in dis.get_instructions(code) if names else ():
            if step.opname in (f"STORE_{op}", f"DELETE_{op}") and step.argval in names:
                number = step.positions and step.positions.lineno
                yield step.argval, line_in(code, number or code.co_firstlineno)


def effects(prediction: Prediction) -> list[Effect]:
    """Every change of the predicted state since the prediction, in the order of the walk."""
    view = View(prediction.mentions, prediction.library)
    found: list[Effect] = []
    done: set[Hashable] = set()
    stamps, unchanged = prediction.stamps, prediction.stamps.unchanged()
    for entry in prediction.snapshot:
        if stamps.is_untouched(entry, unchanged):
            continue
        part = parts_of(view, entry.object, entry.via)
        _compare_children(found, done, prediction, entry, part)
        _compare_names(found, done, entry, part)
        if entry.state != part.state and not any(e.owner is entry.object and e.kind is not Kind.GRAD for e in found):
            what = f"it changed {_what(entry)} of a {type(entry.object).__name__}"
            found.append(_other(entry.object, Child("", None), what))
    return found


def _what(entry: Entry) -> str:
    return "dtype, shape, requires_grad or history" if entry.is_tensor else "the contents"


def _compare_children(found: list[Effect], done: set[Hashable], prediction: Prediction, entry: Entry,
                      part: Part) -> None:
    if len(entry.children) == len(part.children) and all(
            c.value is d.value and c.route == d.route for c, d in zip(entry.children, part.children)):
        return
    before = {c.once or c.route: c for c in entry.children}
    after = {c.once or c.route: c for c in part.children}
    for key in (*before, *(k for k in after if k not in before)):
        old, new = before.get(key), after.get(key)
        child = old or new
        assert child is not None
        x, y = old.value if old else ABSENT, new.value if new else ABSENT
        if is_equal(x, y):
            continue
        mark = child.place(entry.object)
        if mark not in done:
            done.add(mark)
            found.append(_effect(prediction, entry, child, x, y))


def _effect(prediction: Prediction, entry: Entry, child: Child, x: Any, y: Any) -> Effect:
    if entry.is_tensor and child.route == ".grad":
        return Effect(Kind.GRAD, entry.object, child, x, y, "it changed a grad")
    if child.write is not None and differ_in_tensors(prediction.library, x, y):
        return Effect(Kind.SLOT, entry.object, child, x, y, f"it replaced {_place(entry.object, child)}")
    return _other(entry.object, child, f"it changed {_place(entry.object, child)}", x, y)


def differ_in_tensors(library: Library, x: Any, y: Any, depth: int = 0) -> bool:
    """Are both Tensors, or containers built alike that differ only in their Tensors?"""
    if library.is_tensor(type(x)) and library.is_tensor(type(y)):
        return True
    if depth and is_equal(x, y):
        return True
    if type(x) is not type(y) or depth == DEEPEST or type(x) is dict and not (
            len(x) == len(y) and all(map(is_equal, x, y))):
        return False
    before, after = _parts(x), _parts(y)
    return before is not None and after is not None and len(before) == len(after) and all(
        differ_in_tensors(library, a, b, depth + 1) for a, b in zip(before, after))


def _parts(container: Any) -> tuple[Any, ...] | None:
    """What a tuple, a list, a dict or an instance of a dataclass holds; None for anything else."""
    cls = type(container)
    if cls in (tuple, list, dict) or isinstance(container, tuple) and hasattr(cls, "_make") or is_dataclass(cls):
        node = opened(container)
        return None if node is None else node.children
    return None


def _place(owner: Any, child: Child) -> str:
    if child.absolute:
        return f"the variable {child.route}"
    return f"{child.route} of a {type(owner).__name__}"


def _other(owner: Any, child: Child, what: str, x: Any = None, y: Any = None) -> Effect:
    return Effect(Kind.OTHER, owner, child, x, y, what)


def _compare_names(found: list[Effect], done: set[Hashable], entry: Entry, part: Part) -> None:
    """Changes of a namespace that no child tells of."""
    before, after, owner = entry.names, part.names, entry.object
    if before is None or after is None:
        return
    for n in (*before, *(n for n in after if n not in before)):
        x, y = before.get(n, ABSENT), after.get(n, ABSENT)
        if not is_equal(x, y) and not done & {(id(owner), f".{n}"), ("global", id(after), n)}:
            found.append(_other(owner, Child(f".{n}", x), f"it changed .{n} of a {type(owner).__name__}", x, y))


def store(e: Effect, value: Any) -> None:
    """Put `value` in the place that changed, by hand as generated code does it."""
    names = {"owner": e.owner, "t": value, **{f"k{i}": c for i, c in enumerate(e.child.constants)}}
    assert e.child.write is not None
    exec(e.child.write.format(*(f"k{i}" for i in range(len(e.child.constants))), p="owner",
                              d="object.__getattribute__(owner, '__dict__')"), names)


def is_equal(x: Any, y: Any) -> bool:
    """The same object, or the same plain value."""
    if x is y:
        return True
    if type(x) is not type(y):
        return False
    if type(x) in (int, str, bytes):
        return bool(x == y)
    if type(x) in (float, complex):
        return bits(x) == bits(y)
    return type(x) in BOUND and bool(x == y)
