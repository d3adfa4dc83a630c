"""likeness: groups that are alike but for the values they are of, such as those of the steps of a recurrence.

    group of %9     %7 = slice %1 start=[5,0]   ->    key: 0 = tanh 1, 1 = mul 2 3, 2 = slice 4, 3 and 4 are loaded: ...
                    %8 = mul %7, %2                   values: %9, %8, %7, %2, %1       what is read of %1 begins at 640
                    %9 = tanh %8

1. Two groups with the same key have the same kernels, whose storages are values in the same places of their lists.
2. Slices may begin elsewhere, if that only means that loads are further on, by as much in all loads of one value.
"""
from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import replace
from math import prod
from typing import cast

from codegen.ir.dims import Size
from codegen.ir.graph import attrs_of
from codegen.ir.ops import ELEMENTWISE, OPS
from codegen.ir.structs import struct
from codegen.schedule.expressions import Partial, Storage
from codegen.schedule.forms import StaticGraph
from codegen.schedule.index import shift
from codegen.schedule.kernel import Gather, Kernel, Load, Pass, Statement
from codegen.schedule.partition import Group
from codegen.schedule.passes import Lowered


@struct
class _Described:
    """A group: its key, its values in the order in which they are met, and where what is first read of each begins."""

    key: Hashable
    values: list[int]
    begins: dict[int, int]


class AlikeGroups:
    """The kernels of the groups of a graph that were lowered so far, by what they are."""

    def __init__(self, graph: StaticGraph):
        self._graph = graph
        self._known: dict[Hashable, tuple[_Described, list[Lowered]]] = {}

    def kernels(self, group: Group, loaded: Callable[[int], bool], lower: Callable[[], list[Lowered]]) -> list[Lowered]:
        """What `lower` gives for a group; for one like another it is that of the other, on this one's values."""
        mine = self._described(group, loaded)
        found = self._known.get(mine.key)
        if found is None:
            kernels = lower()
            self._known[mine.key] = mine, kernels
            return kernels
        other, kernels = found
        own = dict(zip(other.values, mine.values))
        further = {v: mine.begins[own[v]] - at for v, at in other.begins.items() if mine.begins[own[v]] != at}
        return [replace(one, kernel=_loading_further(one, further),
                        storages=tuple(_moved(storage, own) for storage in one.storages)) for one in kernels]

    def _described(self, group: Group, loaded: Callable[[int], bool]) -> _Described:
        """What all kernels of a group depend on."""
        number: dict[int, int] = {}
        pending = [*reversed(group.members)]
        while pending:
            v = pending.pop()
            if v not in number:
                number[v] = len(number)
                if not loaded(v):
                    pending += reversed(self._graph.node(v).args)
        begins, anywhere = self._begins(group, loaded)
        rows = tuple(self._row(v, loaded(v), v in anywhere, number) for v in number)
        places = tuple(tuple(number[v] for v in values) for values in (group.members, group.stored))
        apart = tuple((number[v], tuple(at - first for at in rest)) for v, (first, *rest) in begins.items())
        return _Described((group.runs, places, rows, apart), list(number), {v: all[0] for v, all in begins.items()})

    def _row(self, v: int, is_loaded: bool, is_anywhere: bool, number: dict[int, int]) -> Hashable:
        """What a value is; of a slice that may begin anywhere not where."""
        if is_loaded:
            return self._graph.graph.type_of(v)
        node = self._graph.node(v)
        attrs: Hashable = attrs_of(node)["step"] if is_anywhere else node.attrs
        return self._graph.forms[v], node.op, attrs, node.type, tuple(number[a] for a in node.args)

    def _begins(self, group: Group, loaded: Callable[[int], bool]) -> tuple[dict[int, list[int]], set[int]]:
        """For each value that is loaded the elements before what is read of it, each time; slices that add to these."""
        begins: dict[int, list[int]] = {}
        anywhere: set[int] = set()
        seen: set[int] = set()
        pending = [*group.members]
        while pending:
            v = pending.pop()
            if v in seen:
                continue
            seen.add(v)
            node = self._graph.node(v)
            found = None
            if node.op == "slice":
                found = self._elements_before(node.args[0], attrs_of(node)["start"], group, loaded)
            if found is not None:
                anywhere.add(v)
            else:
                found = [(a, 0) for a in node.args if loaded(a)]
                pending += (a for a in node.args if not loaded(a))
            for a, before in found:
                begins.setdefault(a, []).append(before)
        return begins, anywhere

    def _elements_before(self, v: int, start: tuple[Size, ...], group: Group, loaded: Callable[[int], bool]
                         ) -> list[tuple[int, int]] | None:
        """How many elements of what `v` is made of come before those from `start` on; None where it is not only that.
        """
        shape = self._graph.shapes[v]
        if not all(isinstance(n, int) for n in (*shape, *start)):
            return None
        before = sum(cast(int, at) * prod(cast(tuple[int, ...], shape[k + 1:])) for k, at in enumerate(start))
        if loaded(v):
            return [(v, before)]
        node = self._graph.node(v)
        if node.op == "reshape" and loaded(node.args[0]):
            return [(node.args[0], before)]
        if v in group.members or not (node.op in ("constant", "broadcast") or ELEMENTWISE in OPS[node.op].traits):
            return None
        found: list[tuple[int, int]] = []
        for a in node.args:
            source = self._graph.shapes[a]
            aligned = start[len(start) - len(source):]
            more = self._elements_before(a, tuple(0 if n == 1 else at for n, at in zip(source, aligned)), group, loaded)
            if more is None:
                return None
            found += more
        return found


def _moved(storage: Storage, own: dict[int, int]) -> Storage:
    return replace(storage, value=own[storage.value]) if isinstance(storage, Partial) else own[storage]


def _loading_further(lowered: Lowered, further: dict[int, int]) -> Kernel:
    """The kernel, which loads so many elements further on in these storages."""
    by_param = {k: further[storage] for k, storage in enumerate(lowered.storages)
                if isinstance(storage, int) and storage in further and lowered.kernel.params[k].access == "in"}
    if not by_param:
        return lowered.kernel

    def moved(s: Statement) -> Statement:
        match s:
            case Load(buffer) if buffer in by_param:
                return replace(s, index=shift(s.index, by_param[buffer]))
            case Gather(buffer) if buffer in by_param:
                return replace(s, base=shift(s.base, by_param[buffer]))
        return s

    passes = tuple(Pass(one.axes, tuple(map(moved, one.body))) for one in lowered.kernel.passes)
    return replace(lowered.kernel, passes=passes)
