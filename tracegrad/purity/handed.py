"""Handed: objects that a run gives to callbacks and does nothing else with, so that no guard need look into them.

    tg.debug.callback(losses.append, y)     losses grows with every call: its identity is guarded, not its contents

That nothing else is done with it follows from the code that ran: no name that leads to it is read but right in front
of the method that is handed over.
"""
from __future__ import annotations

from collections.abc import Iterable, Iterator
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import Any

from tracegrad.purity.code_facts import Mentions
from tracegrad.purity.declared_pure import c_base, is_of_module
from tracegrad.purity.part import Child, Condition, Handed, Part, is_same


def handed(callbacks: Iterable[Any], mentions: Mentions, fn: Any) -> Iterator[Handed]:
    """What these callbacks are called on, or are themselves, in a run of `fn` whose code mentions that."""
    code = fn.__code__ if type(fn) is FunctionType else None
    parameters = code.co_varnames[:code.co_argcount + code.co_kwonlyargcount] if code is not None else ()
    for function in callbacks:
        kind = type(function)
        if kind is MethodType or kind is BuiltinFunctionType and not is_of_module(function):
            method = None if kind is BuiltinFunctionType else function.__name__
            if names := mentions.handed_by(function.__name__):
                yield Handed(function.__self__, method, frozenset(routes(names, parameters)))
        if kind is not FunctionType and (names := mentions.handed_by(None)):
            method = "__call__" if c_base(kind) is object else None
            yield Handed(function, method, frozenset(routes(names, parameters)))


def routes(names: set[str], parameters: tuple[str, ...]) -> set[str]:
    """The names, and how arguments of these names are found."""
    return names.union(f"args[{k}]" for k, name in enumerate(parameters) if name in names).union(
        f"kwargs[{name!r}]" for name in parameters if name in names)


def of_handed(handed: Handed, route: str) -> Part:
    """The part of such an object, refused where it was found by another name."""
    o, method, names = handed
    part = Part([is_same(o)])
    if method is not None:
        cls = type(o)
        part.children.append(Child(" (its class)", cls, "{0}", (cls,), once=("type", id(cls))))
        if hasattr(o, "__dict__"):
            part.conditions.append(Condition("{0} not in object.__getattribute__({p}, '__dict__')",
                                             "has no attribute of its own that is called", (method,)))
    if route not in names and route.rpartition(".")[2] not in names:
        part.refusal = "a callback may change it, and the function reads it"
    return part
