"""Handed: objects that a run gives to callbacks and does nothing else with, so that no guard need look into them.

    tg.debug.callback(losses.append, y)     losses grows with every call: its identity is guarded, not its contents

That nothing else is done with it follows from the code that ran: no name that leads to it is read but right in front
of the method that is handed over.
"""
from __future__ import annotations

from collections.abc import Collection, Mapping
from types import FunctionType
from typing import Any

from tracegrad.purity.code_facts import Mentions
from tracegrad.purity.declared_pure import c_base
from tracegrad.purity.part import Child, Condition, Part, is_same


def handed_routes(mentions: Mentions, fn: Any) -> dict[str, set[str]]:
    """Where a run of `fn` finds what is only handed over (a name that ends a route, an argument), and its methods."""
    names = mentions.only_handed()
    code = fn.__code__ if type(fn) is FunctionType else None
    parameters = code.co_varnames[:code.co_argcount + code.co_kwonlyargcount] if code is not None else ()
    for k, name in enumerate(parameters):
        if name in names:
            names[f"args[{k}]"] = names[f"kwargs[{name!r}]"] = names[name]
    return names


def methods_handed(routes: Mapping[str, set[str]], route: str) -> set[str] | None:
    """The methods that callbacks are given of what is found there; None where it may be used otherwise."""
    return routes.get(route) or routes.get(route.rpartition(".")[2])


def of_handed(o: Any, methods: Collection[str]) -> Part:
    """The part of such an object: that it is the same, and has the same methods."""
    part, cls = Part([is_same(o)]), type(o)
    if c_base(cls) is not cls:
        part.children.append(Child(" (its class)", cls, "{0}", (cls,), once=("type", id(cls))))
        if hasattr(o, "__dict__"):
            part.conditions.append(Condition("{0}.isdisjoint(object.__getattribute__({p}, '__dict__'))",
                                             "has no attributes of its own that are called", (frozenset(methods),)))
    return part
