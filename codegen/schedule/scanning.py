"""scanning: a scan -> its kernel.

    %1 = cumsum %0 axis=1        for i < 64: pass j < 5000: v0 = load b0[5000*i+j]; v1 = scan cumsum v0; store b1 ... v1
"""
from __future__ import annotations

from collections.abc import Callable
from math import prod

from codegen.ir.dims import Size
from codegen.ir.graph import attrs_of
from codegen.schedule.costs import cost_of
from codegen.schedule.expressions import Expressions
from codegen.schedule.forms import StaticGraph
from codegen.schedule.index import axis, coefficient, flatten
from codegen.schedule.kernel import Position, Scan, Store, indices_of
from codegen.schedule.machine import Machine
from codegen.schedule.nest import nest_of
from codegen.schedule.passes import Lowered, emitted
from codegen.schedule.tile import ROW_LANES, Layout, grain_of


def lower_scan(graph: StaticGraph, value: int, loaded: Callable[[int], bool], machine: Machine) -> Lowered:
    """The kernel of a scan: in order along its axis, a line in each lane, or each chunk, of the other axes.

    The first point of a recurrence goes on from nothing: its factor is 0.
    """
    node = graph.node(value)
    shape, along = graph.shapes[value], f"a{attrs_of(node)['axis']}"
    axes = {f"a{k}": n for k, n in enumerate(shape)}
    point = tuple(map(axis, axes, shape))
    expressions = Expressions(graph, loaded, dict(axes), {}, {})
    args = [expressions.value(a, point) for a in node.args]
    if node.op == "recurrence":
        place = expressions.add(Position(axis(along, axes[along]), "i64"))
        first = expressions.binary("eq", place, expressions.number(0, "i64"))
        args[0] = expressions.select(first, expressions.number(0, node.type.dtype), args[0])
    root = Store(expressions.buffer(value), flatten(point, shape), expressions.add(Scan(node.op, tuple(args)), *args))
    nest = nest_of(expressions, (root,), [a for a, n in axes.items() if n not in (0, 1) and a != along], (along,))
    (store,) = nest.roots
    lines = nest.outer[-1] if nest.outer and coefficient(indices_of(store)[0], nest.outer[-1]) == 1 else None
    work = prod(shape) * (1 + sum(map(cost_of, nest.statements)))
    grain: Size = 0
    if nest.outer and not machine.at_once:
        grain = grain_of(work, nest.extents[nest.outer[0]], ROW_LANES if nest.outer[0] == lines else 1, machine)
    return emitted(nest, Layout(nest.outer, nest.inner, lines, grain), machine)
