"""StandIns: classes that Tensors have for a while, with the same slots: a Deferred, while its array is yet to come.

    x.__class__ = DEFERRED.of(Tensor)           x.__class__ = DEFERRED.plain(type(x))
"""
from __future__ import annotations

from tracegrad.outside import QUIET
from tracegrad.tensors import Tensor


class StandIns:
    """By the class of a Tensor the one that stands in for it, which has what `base` has before all else."""

    def __init__(self, base: type[Tensor]):
        self._base = base
        self._of: dict[type, type] = {Tensor: base}
        self._plain: dict[type, type] = {base: Tensor}
        QUIET.add(base)

    def of(self, kind: type) -> type | None:
        """What stands in for Tensors of a class; None for a class that has more in its instances."""
        found = self._of.get(kind)
        if found is None and all("__dict__" not in k.__dict__ and not k.__dict__.get("__slots__", ("",))
                                 for k in kind.__mro__[:kind.__mro__.index(Tensor)]):
            names = {"__slots__": (), "__module__": kind.__module__}
            found = self._of[kind] = type(kind.__name__, (self._base, kind), names)
            self._plain[found] = kind
            if kind in QUIET:
                QUIET.add(found)
        return found

    def plain(self, kind: type) -> type:
        """The class that this one stands in for."""
        return self._plain[kind]
