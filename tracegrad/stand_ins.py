"""StandIns: classes that Tensors have for a while, with the same slots: see `sized`.

    x.__class__ = SIZED.of(Tensor)              x.__class__ = SIZED.plain(type(x))

1. A Tensor has one stand-in at a time: there is none for a stand-in.
2. What is made of a Tensor is of the class that it has when nothing stands in for it; that is its `__class__`, and its
   name is what errors say.
3. Other threads never see a class beside an array that is not for it.
"""
from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from tracegrad.outside import QUIET
from tracegrad.tensors import Tensor

SWAPPING = threading.RLock()
"""Held where Tensors that other threads may have, too, get a stand-in, or their class again."""

become: Callable[[Tensor, type], None] = object.__dict__["__class__"].__set__
"""become(tensor, kind): it is of this class, whatever its own class says of that."""

_KINDS: dict[type, StandIns] = {}
"""By each stand-in those that it is of."""

_ASKED_WHEN_SWAPPED = ("__init_subclass__", "__setattr__")


class StandIns:
    """By the class of a Tensor the one that stands in for it, which has what `base` has before all else."""

    def __init__(self, base: type[Tensor]):
        self._base = base
        base.__name__, base.__qualname__, base.__module__ = Tensor.__name__, Tensor.__qualname__, Tensor.__module__
        self._names = frozenset(name for name in vars(base) if not name.startswith("__"))
        self._of: dict[type, type] = {Tensor: base}
        self._plain: dict[type, type] = {base: Tensor}
        _KINDS[base] = self
        QUIET.add(base)

    def of(self, kind: type) -> type | None:
        """What stands in for Tensors of a class; None for a class that it would not be like.

        It has more in its instances, has its own way of something that the stand-in has, or would be told.
        """
        found = self._of.get(kind)
        if found is None and type(kind) is type and all(map(self._is_free, kind.__mro__)):
            names = {"__slots__": (), "__module__": kind.__module__}
            found = type(kind.__name__, (self._base, kind), names)
            self._plain[found] = kind
            _KINDS[found] = self
            if kind in QUIET:
                QUIET.add(found)
            self._of[kind] = found
        return found

    def _is_free(self, part: type) -> bool:
        """Can what is before this class, one of those that a class has its methods of, be a stand-in?"""
        if part in Tensor.__mro__:
            return True
        names = vars(part)
        return ("__dict__" not in names and not names.get("__slots__", ("",)) and self._names.isdisjoint(names)
                and not any(name in names for name in _ASKED_WHEN_SWAPPED))

    def plain(self, kind: type) -> type:
        """The class that this one stands in for."""
        return self._plain[kind]


def plain_class(value: Any) -> type:
    """The class of a Tensor when nothing stands in for it, or of anything else."""
    kind = type(value)
    stand_ins = _KINDS.get(kind)
    return kind if stand_ins is None else stand_ins.plain(kind)


def put_class(tensor: Tensor, kind: type[Tensor]) -> None:
    """`tensor`, new, is of this class from now on, and what stands in for it of that which stands in for the class."""
    stand_ins = _KINDS.get(type(tensor))
    found = kind if stand_ins is None else stand_ins.of(kind)
    if found is None:
        tensor.array                # noqa: B018 - nothing stands in for it once this is there, or its sizes are read
    become(tensor, found or kind)
