"""demand: how each value of a graph is needed: at all, by how many others, at how many points, at every point.

    %2 = gather %0, %1 axis=0 : f32[8]        live, one use, by 4 points; its checks need 8: it has to be stored
    %3 = slice %2 ... : f32[4]

Movement is seen through: it computes nothing, so what it moves is used by those that use it.
"""
from __future__ import annotations

from collections.abc import Iterable

from codegen.ir.dims import typical
from codegen.ir.ops import CHECKED, OPS
from codegen.ir.structs import struct
from codegen.schedule.forms import Form, StaticGraph


@struct
class Demand:
    """For each value: is it live; how many values use it; about the most points at which one of them does.

    `kept`: values that have to be stored: those asked for, and those with a check of points that nothing needs.
    """

    live: tuple[bool, ...]
    uses: tuple[int, ...]
    reach: tuple[int, ...]
    kept: frozenset[int]


def demand_of(graph: StaticGraph, asked: Iterable[int]) -> Demand:
    """The demand on each value when those `asked` for have to be stored."""
    kept = set(asked)
    live, whole = [False] * len(graph.forms), [False] * len(graph.forms)
    size = tuple(map(typical, graph.sizes))
    uses, reach = [0] * len(graph.forms), list(size)
    for v, node in reversed(list(graph.nodes())):
        form = graph.forms[v]
        if form in (Form.ZERO, Form.EMPTY):
            live[v] |= v in kept
            continue
        if v in kept or form is Form.SCATTER or form is Form.REDUCE and live[v]:
            live[v] = whole[v] = True
        elif CHECKED in OPS[node.op].traits and form in (Form.LIGHT, Form.HOST) and not whole[v]:
            kept.add(v)
            live[v] = whole[v] = True
        if not live[v]:
            continue
        through = form is Form.MOVE and v not in kept
        for a in set(node.args):
            live[a] = True
            picked = node.op == "gather" and a not in node.args[1:]
            whole[a] |= whole[v] and not picked and node.op not in ("slice", "shear")
            uses[a] += uses[v] if through else 1
            if through:
                reach[a] = max(reach[a], reach[v])
            elif form is Form.LIGHT:
                reach[a] = max(reach[a], size[v])
    return Demand(tuple(live), tuple(uses), tuple(reach), frozenset(kept))
