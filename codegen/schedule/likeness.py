"""likeness: groups that are alike but for the values they are of, such as those of the steps of a recurrence.

    group of %9     %8 = mul %7, %2    ->    key: 0 = tanh 1, 1 = mul 2 3, 2 and 3 are loaded: f32[16,128]
                    %9 = tanh %8             values: %9, %8, %7, %2

1. Two groups with the same key have the same kernels, whose storages are values in the same places of their lists.
"""
from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import replace

from codegen.schedule.expressions import Partial, Storage
from codegen.schedule.forms import StaticGraph
from codegen.schedule.partition import Group
from codegen.schedule.passes import Lowered


class AlikeGroups:
    """The kernels of the groups of a graph that were lowered so far, by what they are."""

    def __init__(self, graph: StaticGraph):
        self._graph = graph
        self._known: dict[Hashable, tuple[list[int], list[Lowered]]] = {}

    def kernels(self, group: Group, loaded: Callable[[int], bool], lower: Callable[[], list[Lowered]]) -> list[Lowered]:
        """What `lower` gives for a group; for one like another it is that of the other, on this one's values."""
        key, values = self._described(group, loaded)
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = values, lower()
            return found[1]
        own = dict(zip(found[0], values))
        return [replace(one, storages=tuple(_moved(storage, own) for storage in one.storages)) for one in found[1]]

    def _described(self, group: Group, loaded: Callable[[int], bool]) -> tuple[Hashable, list[int]]:
        """The key of a group: all that its kernels depend on; and its values, in the order in which they are met."""
        number: dict[int, int] = {}
        pending = [*reversed(group.members)]
        while pending:
            v = pending.pop()
            if v not in number:
                number[v] = len(number)
                if not loaded(v):
                    pending += reversed(self._graph.node(v).args)
        rows = tuple(self._row(v, loaded(v), number) for v in number)
        places = tuple(tuple(number[v] for v in values) for values in (group.members, group.stored))
        return (group.runs, places, rows), list(number)

    def _row(self, v: int, is_loaded: bool, number: dict[int, int]) -> Hashable:
        """What a value is."""
        if is_loaded:
            return self._graph.graph.type_of(v)
        node = self._graph.node(v)
        return self._graph.forms[v], node.op, node.attrs, node.type, tuple(number[a] for a in node.args)


def _moved(storage: Storage, own: dict[int, int]) -> Storage:
    return Partial(own[storage.value]) if isinstance(storage, Partial) else own[storage]
