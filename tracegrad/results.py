"""What a run returned, as a recipe that makes the same structure again around other tensors.

    (loss, {"logits": y, "n": 3})   ->   rebuild(tensors) == (tensors[0], {"logits": tensors[1], "n": 3})
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tracegrad.tensors import Tensor

Rebuild = Callable[[Sequence[Tensor]], Any]

CONSTANTS = (bool, int, float, complex, str, bytes, type(None), type(Ellipsis))
"""Types whose instances are returned as they are: they cannot change."""


class UnknownResult(TypeError):
    """A result that a replay cannot make again."""


def recipe(result: Any, place: Callable[[Tensor], int], known: set[int]) -> Rebuild:
    """How to make `result` again; `place` gives each Tensor in it its position. UnknownResult for anything else.

    Tuples (named ones too), lists, dicts with constant keys, numbers, strings and None are rebuilt; mutable
    containers are new on every call, as they would be if Python had run: one whose id is `known`, since it was there
    before or occurs twice, is not rebuilt.
    """
    kind = type(result)
    if kind is list or kind is dict:
        if id(result) in known:
            raise UnknownResult(f"a {kind.__name__} that something else holds too")
        known.add(id(result))
    if isinstance(result, Tensor):
        k = place(result)
        return lambda tensors: tensors[k]
    if kind in CONSTANTS:
        return lambda tensors: result
    if kind is list or kind is tuple or isinstance(result, tuple) and hasattr(kind, "_make"):
        parts = [recipe(part, place, known) for part in result]
        make = getattr(kind, "_make", kind)
        return lambda tensors: make([part(tensors) for part in parts])
    if kind is dict and all(type(key) in CONSTANTS for key in result):
        items = [(key, recipe(part, place, known)) for key, part in result.items()]
        return lambda tensors: {key: part(tensors) for key, part in items}
    raise UnknownResult(f"{kind.__module__}.{kind.__qualname__}")
