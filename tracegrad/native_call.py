"""Calls of traced functions without Python: the native entry is their `__call__`, once there is something to replay.

    f(x)  ──►  native: no mode, no recorder ─ a root's guards hold ─ run ─ Tensors
                 └─ anything else ──► Traced.in_python(args, kwargs), which is all there is where this cannot be

1. The entry is compiled once for a machine, in a thread; until it is there, every call is one in Python.
2. What the entry runs is data on the TraceTree, which forgets it whenever its roots change.
3. A root is written for the entry when Python has replayed it a few times; one beside others when calls come back.
"""
from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from codegen import EntryHost, Keeping, NativeMethod, native_call
from tracegrad.modes import MODE
from tracegrad.recorder import ACTIVE
from tracegrad.stats import Stats
from tracegrad.tensors import FOLLOWERS, GONE, Saved, Storage, Tensor

if TYPE_CHECKING:
    from tracegrad.replay import Root

class Called:
    """What the entry reads of a traced function: its TraceTree."""

    __slots__ = ("_tree",)


class Entry:
    """What the entry tries for the calls of one function: the programs of its roots, which it reorders by use."""

    __slots__ = ("order", "roots", "stats")

    def __init__(self, roots: tuple[Root, ...], stats: Stats):
        self.roots, self.stats = roots, stats
        addresses = [root.native.address for root in roots if root.native is not None]
        self.order = np.array([len(addresses), id(stats), *addresses], np.int64)

    def by_use(self) -> list[Root]:
        """The roots that are native, the last used one first."""
        roots = {root.native.address: root for root in self.roots if root.native is not None}
        return [roots[address] for address in self.order[2:].tolist()]


def install(traced: type, tree: type, wait: bool = False) -> bool | None:
    """Make the entry the `__call__` of the class of traced functions, if that can be; can it?

    None while it is being compiled, unless that is waited for. It is a method of their base `Called`: a class that has
    methods in C itself would be taken for one of C.
    """
    return _installed(traced, tree) if wait or _native(traced, tree).is_ready else None


@cache
def _installed(traced: type, tree: type) -> bool:
    method: Any = _native(traced, tree).get()
    if method is not None:
        setattr(traced, "__call__", method)     # noqa: B010 - a method cannot be assigned
    return method is not None


@cache
def _native(traced: type, tree: type) -> NativeMethod:
    keeping = Keeping(
        kept="kept", known="saved", shared="storage", value=(Saved, "held"), owner="tensor",
        sharing=(Storage, "_saved"), foreign="foreign", gone=GONE, watching=FOLLOWERS,
        keep=Tensor.keep, prepare=Tensor.prepare_write)
    host = EntryHost(
        tree=(Called, "_tree"), entry=(tree, "entry"), order=(Entry, "order"),
        made=Tensor, array="held", flag="requires_grad",
        others=tuple(name for name in Tensor.__slots__ if name not in ("held", "requires_grad", "__weakref__")),
        keeping=keeping, counts=(Stats, ("calls", "replays")), idle=(MODE, ACTIVE),
        otherwise=vars(traced)["in_python"], left=vars(traced)["left"])
    return native_call(host)
