"""What a run returned, as a recipe that makes the same structure again around other tensors.

    (loss, {"logits": y, "n": 3})   ->   rebuild(tensors, ...) == (tensors[0], {"logits": tensors[1], "n": 3})
    return history                  ->   rebuild(...) is the list `history`, found again where the run found it
"""
from __future__ import annotations

import dataclasses
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from codegen.ir.structs import struct
from tracegrad import pytrees
from tracegrad.devices import Device
from tracegrad.lifted import argument_of
from tracegrad.purity.declared_pure import c_base, is_numpy_value
from tracegrad.returned import ReturnedNumber
from tracegrad.tensors import Tensor

Read = Callable[[tuple, Mapping[str, Any]], Any]
"""Finds an object again, from the arguments of a call."""

Rebuild = Callable[[Sequence[Tensor], tuple, Mapping[str, Any]], Any]
"""Makes a result from the tensors and the arguments of a call."""

CONSTANTS = (bool, int, float, complex, str, bytes, type(None), type(Ellipsis), range, Device)
"""Types whose instances are returned as they are: they cannot change."""


Leaves = Callable[[Any, Callable[[Tensor], int], Callable[[Any], Read | None]], Rebuild | None]
"""How a part of a result is made again, given the position of each Tensor and the source of what was there before;
None for what leaves as it is."""


class UnknownResult(TypeError):
    """A result that a replay cannot make again."""


@struct
class TensorAt:
    """The recipe of a result that is a Tensor: the one at this position."""

    place: int

    def __call__(self, tensors: Sequence[Tensor], args: tuple, kwargs: Mapping[str, Any]) -> Tensor:
        return tensors[self.place]


@struct
class ArrayAt:
    """The recipe of a result that is an array: that of the Tensor at this position."""

    place: int

    def __call__(self, tensors: Sequence[Tensor], args: tuple, kwargs: Mapping[str, Any]) -> np.ndarray:
        return tensors[self.place].array


@struct
class GivenAt:
    """The recipe of a result that the caller gave: the argument, then the keys below it."""

    path: tuple[Any, ...]

    def __call__(self, tensors: Sequence[Tensor], args: tuple, kwargs: Mapping[str, Any]) -> Any:
        first, *keys = self.path
        found = args[first] if isinstance(first, int) else kwargs[first]
        for key in keys:
            found = found[key]
        return found


def given_at(route: str) -> GivenAt:
    """The recipe of an argument that the caller gave."""
    return GivenAt((argument_of(route),))


@struct
class TupleOf:
    """The recipe of a tuple."""

    parts: tuple[Rebuild, ...]

    def __call__(self, tensors: Sequence[Tensor], args: tuple, kwargs: Mapping[str, Any]) -> tuple[Any, ...]:
        return tuple([part(tensors, args, kwargs) for part in self.parts])


def recipe(result: Any, place: Callable[[Tensor], int], source: Callable[[Any], Read | None],
           held: set[int], leaves_as: Leaves | None = None) -> Rebuild:
    """How to make `result` again; `place` gives each Tensor in it its position. UnknownResult for anything else.

    `leaves_as` is asked first: it knows what of the run leaves it as something else.

    What has a `source` was there before the run and is found again. Tuples (named ones too), lists, deques, dicts with
    constant keys, sets of constants, slices, instances of dataclasses and of registered classes, numbers, strings and
    None are rebuilt; what has an identity is new on every call, as it would be if Python had run, so one whose id is in
    `held`, or that occurs twice, is not.
    """
    kind = type(result)
    if leaves_as is not None and (made := leaves_as(result, place, source)) is not None:
        return made
    if isinstance(result, Tensor):
        return TensorAt(place(result))
    if kind is ReturnedNumber:
        k = place(result.tensor)
        return lambda tensors, args, kwargs: tensors[k].array.item()
    if kind in CONSTANTS or is_numpy_value(kind):
        return lambda tensors, args, kwargs: result
    read = source(result)
    if read is not None:
        return lambda tensors, args, kwargs: read(args, kwargs)
    if kind in (list, dict, OrderedDict, set, deque) or is_instance_of_known(kind):
        if id(result) in held:
            raise UnknownResult(f"a {kind.__name__} that something else holds too")
        held.add(id(result))
    if kind is list or kind is tuple or isinstance(result, tuple) and hasattr(kind, "_make"):
        parts = [recipe(part, place, source, held, leaves_as) for part in result]
        if kind is tuple:
            return TupleOf(tuple(parts))
        make = getattr(kind, "_make", kind)
        return lambda tensors, args, kwargs: make([part(tensors, args, kwargs) for part in parts])
    if kind is slice:
        ends = [recipe(end, place, source, held, leaves_as) for end in (result.start, result.stop, result.step)]
        return lambda tensors, args, kwargs: slice(*(end(tensors, args, kwargs) for end in ends))
    if kind is deque:
        parts = [recipe(part, place, source, held, leaves_as) for part in result]
        return lambda tensors, args, kwargs: deque((part(tensors, args, kwargs) for part in parts), result.maxlen)
    if kind in (set, frozenset) and all(type(part) in CONSTANTS for part in result):
        kept = kind(result)
        return lambda tensors, args, kwargs: kind(kept)
    if kind in (dict, OrderedDict) and all(type(key) in CONSTANTS for key in result):
        items = [(key, recipe(part, place, source, held, leaves_as)) for key, part in result.items()]
        return lambda tensors, args, kwargs: kind((key, part(tensors, args, kwargs)) for key, part in items)
    if is_instance_of_known(kind):
        node = pytrees.opened(result)
        assert node is not None
        if node.aux is result:                      # a Module: what it is beside its Tensors is not known
            raise UnknownResult(f"{kind.__module__}.{kind.__qualname__}")
        parts = [recipe(part, place, source, held, leaves_as) for part in node.children]
        if node.make is pytrees.instance:
            return instance_recipe(result, node, parts)
        aux = recipe(node.aux, place, source, held, leaves_as)
        return lambda tensors, args, kwargs: node.make(
            aux(tensors, args, kwargs), [part(tensors, args, kwargs) for part in parts])
    raise UnknownResult(f"{kind.__module__}.{kind.__qualname__}")


def is_instance_of_known(kind: type) -> bool:
    """Is it a class whose instances can be made again: a registered one, or a dataclass that is no C type's?"""
    return pytrees.is_registered(kind) or dataclasses.is_dataclass(kind) and c_base(kind) is object


def instance_recipe(result: Any, node: pytrees.Opened, parts: list[Rebuild]) -> Rebuild:
    """How to make an instance of a dataclass again; UnknownResult if it holds more than its fields."""
    kind, names = node.aux
    if vars(result).keys() - set(names) if hasattr(result, "__dict__") else False:
        raise UnknownResult(f"{kind.__module__}.{kind.__qualname__} with attributes that are no fields")
    if hasattr(kind, "__del__"):
        raise UnknownResult(f"{kind.__module__}.{kind.__qualname__}, which defines __del__")
    return lambda tensors, args, kwargs: pytrees.instance(node.aux, [part(tensors, args, kwargs) for part in parts])
