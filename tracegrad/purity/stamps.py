"""Stamps: which entries of a snapshot cannot have changed since, by the versions of the namespaces they came from.

    def f(x): return scale * g(x)       `scale` and `g` are what they were as long as the globals of f have this version

Most of what is in reach of a run are functions and classes, which no run changes: to see that is all that is done for
them. Where dicts have no versions nothing is known, and everything is compared.
"""
from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from types import CellType, FunctionType, ModuleType
from typing import Any, NamedTuple

from tracegrad.purity.classes import mro, namespace
from tracegrad.purity.dict_versions import version
from tracegrad.purity.part import Child

_OUTSIDE = frozenset({".__name__", ".__qualname__", ".__doc__", ".__module__"})


class Entry(NamedTuple):
    """One object of a snapshot: what it was made of, and its whole namespace, before the run."""

    object: Any
    via: str | None
    children: tuple[Child, ...]
    state: Any
    names: dict[str, Any] | None
    is_tensor: bool


class Stamps:
    """The versions of the namespaces that functions, classes and modules of a snapshot were read from."""

    def __init__(self, snapshot: Iterable[Entry]):
        self._numbers: dict[int, tuple[Any, int]] = {}              # by id of the namespace, or of the class
        self._mros: dict[int, tuple[type, ...]] = {}                # by id of the class
        for entry in snapshot:
            if issubclass(type(entry.object), type):
                self._mros[id(entry.object)] = mro(entry.object)
            for key, space in _namespaces(entry):
                if key not in self._numbers and (number := version(space)) is not None:
                    self._numbers[key] = number, number.value

    def unchanged(self) -> frozenset[int]:
        """The ids of the namespaces, or of their classes, that nothing has changed."""
        return frozenset(key for key, (number, before) in self._numbers.items() if number.value == before)

    def is_untouched(self, entry: Entry, unchanged: frozenset[int]) -> bool:
        """Is an entry what it was, for certain?"""
        o = entry.object
        if type(o) is FunctionType:
            return not (entry.names or o.__dict__) and all(
                _from(child, unchanged) or type(child.value) is CellType or child.value is _default(o, child)
                or _is_own(o, child) for child in entry.children)
        if type(o) is ModuleType:
            return id(o.__dict__) in unchanged
        return (id(o) in self._mros and mro(o) is self._mros[id(o)]
                and all(key in unchanged for key, _ in _namespaces(entry))
                and all(_from(child, unchanged) or _is_own(o, child) for child in entry.children))


def _from(child: Child, unchanged: frozenset[int]) -> bool:
    """Was it read from one of these namespaces?"""
    once = child.once
    if type(once) is not tuple or once[0] not in ("global", "entry", "import"):
        return False
    return (id(sys.modules) if once[0] == "import" else once[1]) in unchanged


def _default(f: FunctionType, child: Child) -> Any:
    """The default values of a function, if that is where the child was read."""
    return {".__defaults__": f.__defaults__, ".__kwdefaults__": f.__kwdefaults__}.get(child.route, child)


def _is_own(o: Any, child: Child) -> bool:
    """Is it what a function or a class has outside of its namespace, and what that was?"""
    return child.route in _OUTSIDE and getattr(o, child.route[1:], None) is child.value


def _namespaces(entry: Entry) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Those that an entry was read from, if it is one of the kinds that are mostly left alone, and their ids; instead
    of that of a class's, which is another object each time it is asked for, that of the class."""
    o = entry.object
    if type(o) is FunctionType:
        yield id(sys.modules), sys.modules
        yield id(o.__globals__), o.__globals__
        for child in entry.children:
            if type(child.once) is tuple and child.once[0] == "global":
                yield id(child.constants[0]), child.constants[0]
    elif type(o) is ModuleType:
        yield id(o.__dict__), o.__dict__
    elif issubclass(type(o), type):
        yield from ((id(k), namespace(k)) for k in mro(o))
