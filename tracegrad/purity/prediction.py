"""predict: the code that a call may run, and what it may read, before it runs.

    fn mentions `model`, `.w`  ─►  the walk finds Model.__call__, whose code mentions `.layers`  ─►  the walk goes
    further, ...  until no new code is found: a fixed point. The last walk leaves a snapshot.

Where that would go too far only code that earlier runs entered (`extra_codes`) is looked at; with none known, the
run is a rehearsal: it is observed, so that the next prediction knows its code, and cannot be replayed.
"""
from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import CodeType, FunctionType, ModuleType
from typing import Any, NamedTuple

from codegen.ir.structs import struct
from tracegrad.purity.anatomy import BY_TYPE, parts_of
from tracegrad.purity.code_facts import Mentions
from tracegrad.purity.library import Library, is_standard
from tracegrad.purity.part import Child, Part, View
from tracegrad.purity.values import PLAIN

MOST_CODES = 600
MOST_OBJECTS = 20_000


class Entry(NamedTuple):
    """One object of the snapshot: what it was made of, and its whole namespace, before the run."""

    object: Any
    via: str | None
    children: tuple[Child, ...]
    state: Any
    names: dict[str, Any] | None
    is_tensor: bool


@struct(eq=False)
class Root:
    """Where the walk begins: something that a call reads, and how generated code reads it."""

    route: str
    value: Any
    read: str
    constants: tuple[Any, ...] = ()
    via: str | None = None


@struct(eq=False)
class Prediction:
    """What a call may read. `complete`: was everything in reach walked?"""

    fn: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    roots: tuple[Root, ...]
    library: Library
    mentions: Mentions
    snapshot: tuple[Entry, ...]
    names_met: frozenset[str]       # read by C code on behalf of objects in reach
    settings: tuple[tuple[str, Any], ...]
    complete: bool

    @property
    def codes(self) -> dict[int, CodeType]:
        """The code that may run, by id."""
        return self.mentions.codes


def predict(fn: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], library: Library,
            extra_codes: Iterable[CodeType] = (), extra_roots: Iterable[Root] = ()) -> Prediction:
    """Everything that `fn(*args, **kwargs)` may read, with a snapshot of it.

    `extra_codes` are those that earlier runs entered; `extra_roots` are further state that runs read without their
    code naming it.
    """
    roots = (
        Root(_name(fn), fn, "{0}", (fn,)),
        *(Root(f"args[{k}]", value, f"args[{k}]") for k, value in enumerate(args)),
        *(Root(f"kwargs[{name!r}]", value, "kwargs[{0}]", (name,)) for name, value in kwargs.items()),
        *extra_roots)
    settings = tuple((s.name, s.read()) for s in library.settings)
    mentions, names_met, ahead = Mentions(extra_codes), set[str](), True
    while True:
        mentions.attributes |= names_met
        walk = _Walk(mentions, library, ahead)
        walk.run(roots)
        if walk.too_far and ahead:
            mentions, ahead = _only_code_that_ran(roots, extra_codes), False
        elif not (walk.grew or walk.view.names_met - names_met or mentions.reads_of_strangers()):
            return Prediction(fn, args, dict(kwargs), roots, library, mentions, tuple(walk.snapshot),
                              frozenset(names_met), settings, complete=not walk.too_far)
        names_met |= walk.view.names_met


def _name(fn: Any) -> str:
    name = getattr(fn, "__name__", None)
    return name if type(name) is str else type(fn).__name__


def _only_code_that_ran(roots: Iterable[Root], extra_codes: Iterable[CodeType]) -> Mentions:
    mentions = Mentions(extra_codes)
    for root in roots:
        if type(root.value) is FunctionType:
            mentions.add_family(root.value.__code__)
    return mentions


class _Walk:
    """One pass over everything in reach of the names mentioned so far."""

    def __init__(self, mentions: Mentions, library: Library, ahead: bool):
        self.ahead = ahead              # may code that is in reach be added to what counts?
        self.view = View(mentions, library)
        self.snapshot: list[Entry] = []
        self.grew = self.too_far = False
        self._seen: dict[int, Any] = {}

    def run(self, roots: Iterable[Root]) -> None:
        """Functions before anything whose parts depend on names, and modules last: so most names are known in time."""
        todo: list[tuple[Any, str | None]] = [(root.value, root.via) for root in roots]
        later: list[tuple[Any, str | None]] = []
        last: list[tuple[Any, str | None]] = []
        while stack := todo or later or last:
            o, via = stack.pop()
            if id(o) in self._seen:
                continue
            if stack is todo and type(o) not in BY_TYPE and type(o) is not FunctionType:
                (last if type(o) is ModuleType else later).append((o, via))
                continue
            if len(self._seen) > MOST_OBJECTS or len(self.view.mentions.codes) > MOST_CODES and self.ahead:
                self.too_far = True
                return
            self._seen[id(o)] = o
            if self.ahead and type(o) is FunctionType:
                self._grow(o.__code__)
            part = parts_of(self.view, o, via)
            if part.mutable or part.children or part.state is not None or part.names is not None:
                self.snapshot.append(entry(o, via, part))
            todo += [(child.value, child.via) for child in part.children
                     if type(child.value) not in PLAIN and id(child.value) not in self._seen]

    def _grow(self, code: CodeType) -> None:
        """A function in reach may run, so its code counts. That of the standard library, which leads far, only if it
        is known to run."""
        if self.view.library.trust(code) is None and not is_standard(code.co_filename):
            self.grew |= self.view.mentions.add_family(code)


def entry(o: Any, via: str | None, part: Part) -> Entry:
    """What the snapshot keeps of an object."""
    names = None if part.names is None else dict(part.names)
    return Entry(o, via, tuple(part.children), part.state, names, part.is_tensor)
