"""predict: the code that a call may run, and what it may read, before it runs.

    fn mentions `model`, `.w`  ─►  the walk finds Model.__call__, whose code mentions `.layers`  ─►  the walk goes
    further, ...  until no new code is found: a fixed point, of which the snapshot is taken.

Each round takes apart anew what has parts by names that were mentioned since, or is looked at in another way; all else
is as the round before found it. What an earlier process found to be mentioned in the end counts from the first round
on; where that is not what the code that is found mentions, the walk is begun again without it.

Where that would go too far only code that earlier runs entered (`extra_codes`) is looked at; with none known, the
run is a rehearsal: it is observed, so that the next prediction knows its code, and cannot be replayed.
"""
from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType
from typing import Any

from codegen.ir.structs import struct
from tracegrad.purity.anatomy import BY_TYPE, parts_of
from tracegrad.purity.classes import flags, mro, namespace
from tracegrad.purity.code_facts import Mentioned, Mentions, mentioned_by
from tracegrad.purity.code_objects import OUTSIDE_NAMESPACE
from tracegrad.purity.declared_pure import HEAP_TYPE
from tracegrad.purity.instances import namespace_of
from tracegrad.purity.kept_facts import KeptFacts
from tracegrad.purity.library import Library, is_standard
from tracegrad.purity.part import Part, View
from tracegrad.purity.stamps import Entry, Stamps
from tracegrad.purity.values import CONTAINERS, PLAIN

MOST_CODES = 600
MOST_OBJECTS = 20_000


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
    """What a call may read. `complete`: was everything in reach walked?

    `asks_for_types`: does anything but its own name lead to `type`? Code may ask for classes that does not say so.
    """

    fn: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    roots: tuple[Root, ...]
    library: Library
    mentions: Mentions
    snapshot: tuple[Entry, ...]
    names_met: frozenset[str]       # read by C code on behalf of objects in reach
    settings: tuple[tuple[str, Any], ...]
    stamps: Stamps
    complete: bool
    hides: bool                     # was anything met that guards cannot watch?
    asks_for_types: bool

    @property
    def codes(self) -> dict[int, CodeType]:
        """The code that may run, by id."""
        return self.mentions.codes


def predict(fn: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], library: Library,
            extra_codes: Iterable[CodeType] = (), extra_roots: Iterable[Root] = (), ahead: bool = True) -> Prediction:
    """Everything that `fn(*args, **kwargs)` may read, with a snapshot of it.

    `extra_codes` are those that earlier runs entered; not `ahead`: no other is expected to run. `extra_roots` are
    further state that runs read without their code naming it.
    """
    roots = (
        Root(_name(fn), fn, "{0}", (fn,)),
        *(Root(f"args[{k}]", value, f"args[{k}]") for k, value in enumerate(args)),
        *(Root(f"kwargs[{name!r}]", value, "kwargs[{0}]", (name,)) for name, value in kwargs.items()),
        *extra_roots)
    settings = tuple((s.name, s.read()) for s in library.settings)
    kept = KeptFacts(fn.__code__ if ahead and type(fn) is FunctionType else None)
    expected = kept.mentioned
    mentions = Mentions(extra_codes, find=kept.facts_of) if ahead else _only_code_that_ran(roots, extra_codes)
    if expected is not None:
        mentions.expect(expected)
    walk = _walked(_Walk(mentions, library, roots, ahead), extra_codes)
    if expected is not None and walk.mentioned() != expected:       # it may have looked further than code leads now
        walk = _walked(_Walk(Mentions(extra_codes, find=kept.facts_of), library, roots, ahead), extra_codes)
    kept.keep(walk.mentions.codes.values(), walk.mentioned)
    snapshot = walk.snapshot()
    return Prediction(fn, args, dict(kwargs), roots, library, walk.mentions, snapshot, frozenset(walk.names_met),
                      settings, Stamps(snapshot), not walk.too_far, walk.hides, walk.asks_for_types)


def _walked(walk: _Walk, extra_codes: Iterable[CodeType]) -> _Walk:
    """The walk when it is over, or where it would go too far one that looks at less."""
    while not walk.is_done():
        if walk.too_far and walk.ahead:
            walk = _Walk(_only_code_that_ran(walk.roots, extra_codes), walk.library, walk.roots, ahead=False)
    return walk


def _name(fn: Any) -> str:
    name = getattr(fn, "__name__", None)
    return name if type(name) is str else type(fn).__name__


def _is_of_standard_library(o: Any) -> bool:
    """Is it a module or a class of Python's own, what has the globals of such a module, or a description of types?"""
    kind = type(o)
    if kind is FunctionType:
        return is_standard(o.__code__.co_filename) and type not in (o.__defaults__ or ())
    if kind is not ModuleType and kind is not type:
        return type(kind) is type and kind.__module__ == "typing"
    name = o.__name__ if kind is ModuleType else o.__module__
    return isinstance(name, str) and name.partition(".")[0] in sys.stdlib_module_names


def _only_code_that_ran(roots: Iterable[Root], extra_codes: Iterable[CodeType]) -> Mentions:
    mentions = Mentions(extra_codes)
    for root in roots:
        if type(root.value) is FunctionType:
            mentions.add_family(root.value.__code__)
    return mentions


class _Walk:
    """A walk over everything in reach of the names mentioned so far, which it adds to if it looks `ahead`: may code
    that is in reach be added to what counts?
    """

    def __init__(self, mentions: Mentions, library: Library, roots: Sequence[Root], ahead: bool):
        self.mentions, self.library, self.roots, self.ahead = mentions, library, roots, ahead
        self.names_met = set[str]()
        self.too_far = False
        self.asks_for_types = any(root.value is type for root in roots)
        self._names_before = set[str]()                         # mentioned when the last round began
        self._how_before: tuple[Any, ...] = ()                  # and how things were looked at
        self._on_self_before = frozenset[int]()                 # and what was known to compute names of its own
        self._values = set[int]()                               # functions that were taken apart as values
        self._tables = set[int]()                               # containers of the standard library
        self._names_of_class: dict[type, frozenset[str]] = {}
        self._met: dict[int, tuple[Any, str | None]] = {}       # every object, in the order of the walk
        self._parts: dict[int, Part] = {}
        self._todo: list[tuple[Any, str | None]] = [(root.value, root.via) for root in roots]

    def is_done(self) -> bool:
        """Walk on; is there nothing more to be found?"""
        computed, before = self.mentions.computed, self._state()
        view = View(self.mentions, self.library)
        names, how = set(self.mentions.attributes), self.mentions.how
        new, all_differs = names - self._names_before, how != self._how_before
        on_self = self.mentions.computes_on_self - self._on_self_before
        for key, (o, via) in list(self._met.items()):
            if _depends_on_names(view, o, via) and (
                    all_differs or self._may_have(key, o, new) or on_self and self._may_have_method(o, on_self)):
                self._take_apart(view, key, o, via)
        self._names_before, self._how_before = names, how
        self._on_self_before |= on_self
        self._go_on(view)
        if self.too_far:
            return not self.ahead
        found = view.names_met - self.names_met
        self.names_met |= found
        self.mentions.attributes |= found
        if self._state() == before and not self.mentions.reads_of_strangers():
            return True
        if self.mentions.computed and not computed:             # everything depends on that
            self._todo += self._met.values()
            self._met.clear()
        return False

    def _state(self) -> tuple[Any, ...]:
        """All that how objects are looked at depends on; each of it only grows."""
        m = self.mentions
        return len(m.attributes), len(m.values), len(m.computes_on_self), m.how

    def snapshot(self) -> tuple[Entry, ...]:
        """What was found, as it is now, but for what cannot change."""
        return tuple(entry(*self._met[key], part) for key, part in self._parts.items()
                     if part.mutable or part.children or part.state is not None or part.names is not None)

    def mentioned(self) -> Mentioned | None:
        """What the code that was found mentions; None if that is not how objects were looked at."""
        if self.too_far or not self.ahead or self.mentions.computed:
            return None
        return mentioned_by(self.mentions.codes.values(), self.names_met)

    @property
    def hides(self) -> bool:
        return any(part.refusal for part in self._parts.values())

    def _go_on(self, view: View) -> None:
        """Functions before anything whose parts depend on names, and modules last: so most names are known in time."""
        todo = self._todo
        later: list[tuple[Any, str | None]] = []
        last: list[tuple[Any, str | None]] = []
        while stack := todo or later or last:
            o, via = stack.pop()
            if id(o) in self._met:
                continue
            if stack is todo and type(o) not in BY_TYPE and type(o) is not FunctionType:
                (last if type(o) is ModuleType else later).append((o, via))
                continue
            if len(self._met) > MOST_OBJECTS or len(self.mentions.codes) > MOST_CODES and self.ahead:
                self.too_far = True
                return
            self._met[id(o)] = o, via
            if self.ahead and type(o) is FunctionType:
                self._grow(o.__code__)
            self._take_apart(view, id(o), o, via)

    def _take_apart(self, view: View, key: int, o: Any, via: str | None) -> None:
        part = self._parts[key] = parts_of(view, o, via)
        if type(o) is FunctionType and view.is_value(via):
            self._values.add(key)
        if key in self._tables or _is_of_standard_library(o):       # its tables by type are no names for `type`
            self._tables |= {id(child.value) for child in part.children if type(child.value) in CONTAINERS}
        elif any(child.value is type and child.via != "type" for child in part.children):
            self.asks_for_types = True
        self._todo += [(child.value, child.via) for child in part.children
                       if type(child.value) not in PLAIN and id(child.value) not in self._met]

    def _may_have(self, key: int, o: Any, names: set[str]) -> bool:
        """May parts of this object be read by any of these names?"""
        kind = type(o)
        if kind is FunctionType:
            read = not (names.isdisjoint(OUTSIDE_NAMESPACE) and names.isdisjoint(o.__dict__))
            return read or key not in self._values
        if kind is BuiltinFunctionType or kind is partial:
            return True
        space = o.__dict__ if kind is ModuleType else namespace_of(o)
        return not (names.isdisjoint(space or ()) and names.isdisjoint(self._class_names(kind))
                    and (not issubclass(kind, type) or names.isdisjoint(self._class_names(o))))

    def _may_have_method(self, o: Any, codes: set[int]) -> bool:
        """May any of this code, by its ids, be a method of the class of this object, or of the object, if it is one?"""
        kind = o if issubclass(type(o), type) else self.library.class_of(o)
        if not flags(kind) & HEAP_TYPE:
            return False
        own = self.mentions.codes_of_class.get(kind)
        return own is None or not codes.isdisjoint(own)         # it is not looked up here: a metaclass might answer

    def _class_names(self, cls: type) -> frozenset[str]:
        """The names in a class and its bases, and those that every class has."""
        found = self._names_of_class.get(cls)
        if found is None:
            found = self._names_of_class[cls] = frozenset(OUTSIDE_NAMESPACE).union(*map(namespace, mro(cls)))
        return found

    def _grow(self, code: CodeType) -> None:
        """A function in reach may run, so its code counts. That of the standard library, which leads far, only if it
        is known to run."""
        if self.library.trust(code) is None and not is_standard(code.co_filename):
            self.mentions.add_family(code)


def _depends_on_names(view: View, o: Any, via: str | None) -> bool:
    """Are the parts of this object others, once other names are mentioned? Not of a function that is only called."""
    kind = type(o)
    if kind is FunctionType:
        return view.is_value(via) or o.__kwdefaults__ is not None
    return kind not in BY_TYPE or kind is partial


def entry(o: Any, via: str | None, part: Part) -> Entry:
    """What the snapshot keeps of an object."""
    names = None if part.names is None else dict(part.names)
    return Entry(o, via, tuple(part.children), part.state, names, part.is_tensor)
