"""loops: a fusion group -> its kernels. Axes for the domain of the group, its expressions at their points, passes around them.

    group [4096]x(1024): %3 max, %5 sum, %6 stored

    for i < 4096:                          axes that are kept: outer
      for j < 1024: accumulate %3          stage 0 of the reduced axes: inner, one pass for each stage
      for j < 1024: accumulate %5          stage 1: needs %3
      for j < 1024: store %6               stage 2: needs %5

1. The axes are as fine as the shapes in the group ask for, then as coarse as the indices of its loads and stores allow.
2. An expression of kept axes alone is computed once for each of their points; any other, in each pass that needs it.
3. A large reduction to few points is two kernels: partial results of blocks of its first axis, and their combination.
"""
from __future__ import annotations

from collections.abc import Sequence
from math import prod

from codegen.ir.graph import Graph
from codegen.schedule.expressions import Expressions, operand_shape, reduction_points
from codegen.schedule.forms import Form, points
from codegen.schedule.index import ZERO, axis, flatten, unflatten
from codegen.schedule.kernel import Index, ScatterAdd, Store
from codegen.schedule.machine import Machine
from codegen.schedule.movement import Point
from codegen.schedule.nest import Lowered, Nest, coalesced, emitted, in_two, kernel_of
from codegen.schedule.partition import Group, Runs, prefix_products
from codegen.schedule.tile import Layout, partial_blocks


# ---- a group to kernels -----------------------------------------------------------------------------------------------


def lower_group(graph: Graph, forms: tuple[Form, ...], group: Group, loaded: set[int], machine: Machine) -> list[Lowered]:
    """The kernels of a group that is no call; Misplaced if a value in it is read where it cannot be computed.

    `loaded`: the values that are read from memory, those of other groups and the inputs.
    """
    assert group.runs is not None
    domain = _Domain(graph, forms, group, loaded)
    expressions = domain.expressions
    roots = tuple(expressions.store(v, domain.point_of(v)) for v in group.stored)
    nest = _nest(expressions, roots, domain.kept, domain.reduced)
    blocks = partial_blocks(group.runs, machine)
    return in_two(nest, blocks, machine) if blocks and nest.can_be_two else [kernel_of(nest, machine)]


def _nest(expressions: Expressions, roots: tuple[Store | ScatterAdd, ...], outer: Sequence[str], inner: Sequence[str]) -> Nest:
    return coalesced(Nest(tuple(expressions.statements), tuple(expressions.stages), roots, tuple(expressions.checks),
                          expressions.reductions, tuple(expressions.storages), tuple(expressions.params),
                          tuple(outer), tuple(inner), {a: expressions.extents[a] for a in (*outer, *inner)}))


def lower_scatter(graph: Graph, forms: tuple[Form, ...], value: int, loaded: set[int], machine: Machine) -> Lowered:
    """The kernel that adds the updates of scatter_add `value` to a buffer that already holds its first operand."""
    node = graph.node_of(value)
    assert node is not None
    _, indices, updates = node.args
    along = dict(node.attrs)["axis"]
    shape = graph.type_of(indices).shape
    axes = {f"a{k}": n for k, n in enumerate(shape)}
    point = tuple(axis(f"a{k}", n) for k, n in enumerate(shape))
    expressions = Expressions(graph, forms, loaded, dict(axes), {}, {})
    k, x = expressions.value(indices, point), expressions.value(updates, point)
    base = flatten((*point[:along], ZERO, *point[along + 1:]), node.type.shape)
    scatter = ScatterAdd(expressions.buffer(value), base, k, prod(node.type.shape[along + 1:]), node.type.shape[along], x)
    nest = _nest(expressions, (scatter,), [a for a, n in axes.items() if n > 1], ())
    return emitted(nest, Layout(nest.outer, (), None, 0))


class _Domain:
    """The axes of a group and the points of its values."""

    def __init__(self, graph: Graph, forms: tuple[Form, ...], group: Group, loaded: set[int]):
        assert group.runs is not None
        self.graph, self.group = graph, group
        wholes = {v: operand_shape(graph, v) for v in group.members if forms[v] is Form.REDUCE}
        shapes = [wholes.get(v, graph.type_of(v).shape) for v in group.members]
        shapes += _reshaped(graph, forms, group, loaded)
        self.axes: list[tuple[str, bool]] = []
        self.extents: dict[str, int] = {}
        for (extent, kept), marks in zip(group.runs, _marks(group.runs, shapes)):
            for small, large in zip(marks, marks[1:]):
                name = f"a{len(self.axes)}"
                self.axes.append((name, kept))
                self.extents[name] = large // small
        self.kept = [name for name, kept in self.axes if kept]
        self.reduced = [name for name, kept in self.axes if not kept]
        self.whole_place = self._place([name for name, _ in self.axes])
        self.row_place = self._place(self.kept)
        self.whole_size = prod(n for n, _ in group.runs)
        whole_points = {v: unflatten(self.whole_place, shape, self.extents) for v, shape in wholes.items()}
        row_points = {v: reduction_points(graph, v, point) for v, point in whole_points.items()}
        self.expressions = Expressions(graph, forms, loaded, self.extents, row_points, whole_points)

    def _place(self, names: Sequence[str]) -> Index:
        sizes = tuple(self.extents[name] for name in names)
        return flatten(tuple(map(axis, names, sizes)), sizes)

    def point_of(self, v: int) -> Point:
        """The point of value `v` at a point of the domain: of all of it or, for a row value, of its kept axes."""
        if v in self.expressions.rows:
            return self.expressions.rows[v]
        type = self.graph.type_of(v)
        place = self.whole_place if points(type) == self.whole_size else self.row_place
        return unflatten(place, type.shape, self.extents)


def _marks(runs: Runs, shapes: Sequence[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """For each run the places, as products of sizes, at which it has to be cut so that axes of the shapes are its axes."""
    kept_runs = [n for n, kept in runs if kept]
    all_products = prefix_products(n for n, _ in runs)
    kept_products = prefix_products(kept_runs)
    result: list[tuple[int, ...]] = []
    for k, (extent, kept) in enumerate(runs):
        before = prod(n for n, _ in runs[:k])
        kept_before = prod(n for n, is_kept in runs[:k] if is_kept)
        chain = {1, extent}
        for shape in shapes:
            total = prod(shape)
            if total == all_products[-1]:
                start = before
            elif kept and total == kept_products[-1]:
                start = kept_before
            else:
                continue
            for mark in (p // start for p in prefix_products(shape) if p % start == 0 and p < start * extent):
                if all(mark % other == 0 or other % mark == 0 for other in chain):
                    chain.add(mark)
        result.append(tuple(sorted(chain)))
    return result


def _reshaped(graph: Graph, forms: tuple[Form, ...], group: Group, loaded: set[int]) -> list[tuple[int, ...]]:
    """The shapes before reshapes inside the group."""
    found: list[tuple[int, ...]] = []
    seen: set[int] = set()
    pending = list(group.stored)
    while pending:
        v = pending.pop()
        node = graph.node_of(v)
        if node is None or v in seen or v in loaded:
            continue
        seen.add(v)
        pending.extend(node.args)
        if node.op == "reshape" and forms[v] is Form.MOVE:
            found.append(graph.type_of(node.args[0]).shape)
    return found
