"""loops: a fusion group -> its kernels: axes for its domain, its expressions at their points, chunks, vectors.

    group [4096]x(1024): %3 max, %5 sum, %6 stored

    for i < 4096:                          axes that are kept: outer
      pass j < 1024: accumulate %3         stage 0 of the reduced axes: inner, one pass for each stage
      pass j < 1024: accumulate %5         stage 1: needs %3
      pass j < 1024: store %6              stage 2: needs %5

1. The axes are as fine as the shapes in the group ask for, then as coarse as the indices of its loads and stores allow.
2. A large reduction to few points is two kernels: partial results of blocks of its longest axis, and their combination.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import prod

from codegen.ir.dims import Size, ceil_div, exact_quotient, typical
from codegen.ir.types import DTYPES
from codegen.schedule.costs import cost_of
from codegen.schedule.expressions import Expressions, Partial, reduction_point
from codegen.schedule.forms import Form, StaticGraph
from codegen.schedule.index import axis, coefficient, flatten, unflatten
from codegen.schedule.kernel import Accumulate, Index, Load, Param, Store
from codegen.schedule.machine import Machine
from codegen.schedule.movement import Point, Shape
from codegen.schedule.nest import Nest, blocks_of, cut_in_blocks, depends_on, nest_of, plain_axis
from codegen.schedule.partition import Group
from codegen.schedule.passes import Lowered, emitted
from codegen.schedule.runs import Runs, by_division, divides, prefix_products
from codegen.schedule.tile import (
    COLUMN_LANES,
    ENOUGH_CHUNKS,
    LEAST_TILE,
    POINT_LANES,
    ROW_LANES,
    TILE_LINES,
    TILE_POINTS,
    Layout,
    chunks_wanted,
    layout,
    partial_blocks,
)


def lower_group(graph: StaticGraph, group: Group, loaded: Callable[[int], bool], machine: Machine) -> list[Lowered]:
    """The kernels of a group that is no call; Misplaced if a value in it is read where it cannot be computed.

    `loaded`: is a value read from memory? Those of other groups and the inputs are.
    """
    assert group.runs is not None
    domain = _Domain(graph, group, group.runs, loaded)
    expressions = domain.expressions
    for v in group.members:                         # operands first: what they are made of is found, not recursed into
        expressions.value(v, domain.point_of(v))
    roots = tuple(expressions.store(v, domain.point_of(v)) for v in group.stored)
    nest = nest_of(expressions, roots, domain.kept, domain.reduced)
    blocks = partial_blocks(group.runs, machine, COLUMN_LANES) if nest.can_be_two else 0
    return _in_two(nest, blocks, machine) if blocks else [_kernel_of(nest, machine)]


class _Domain:
    """The axes of a group and the points of its values."""

    def __init__(self, graph: StaticGraph, group: Group, runs: Runs, loaded: Callable[[int], bool]):
        self.graph = graph
        wholes = {v: graph.shapes[graph.node(v).args[0]] for v in group.members if graph.forms[v] is Form.REDUCE}
        shapes = [wholes.get(v, graph.shapes[v]) for v in group.members] + _reshaped(graph, group, loaded)
        self.kept: list[str] = []
        self.reduced: list[str] = []
        self.extents: dict[str, Size] = {}
        for (_, kept), marks in zip(runs, _marks(runs, shapes)):
            for small, large in zip(marks, marks[1:]):
                name = f"a{len(self.extents)}"
                self.extents[name] = large // small
                (self.kept if kept else self.reduced).append(name)
        self.whole_place, self.row_place = self._place(list(self.extents)), self._place(self.kept)
        self.whole_size = prod(n for n, _ in runs)
        whole_points = {v: unflatten(self.whole_place, shape, self.extents) for v, shape in wholes.items()}
        row_points = {v: reduction_point(graph, v, point) for v, point in whole_points.items()}
        self.expressions = Expressions(graph, loaded, self.extents, row_points, whole_points)

    def _place(self, names: Sequence[str]) -> Index:
        sizes = tuple(self.extents[name] for name in names)
        return flatten(tuple(map(axis, names, sizes)), sizes)

    def point_of(self, v: int) -> Point:
        """The point of value `v` at a point of the domain: of all of it or, for a row value, of its kept axes."""
        if v in self.expressions.rows:
            return self.expressions.rows[v]
        place = self.whole_place if self.graph.sizes[v] == self.whole_size else self.row_place
        return unflatten(place, self.graph.shapes[v], self.extents)


def _marks(runs: Runs, shapes: Sequence[Shape]) -> list[tuple[Size, ...]]:
    """For each run the places, as products of sizes, at which it is cut so that the axes of the shapes are its axes."""
    whole, rows = prod(n for n, _ in runs), prod(n for n, kept in runs if kept)
    result: list[tuple[Size, ...]] = []
    for k, (extent, kept) in enumerate(runs):
        before = prod(n for n, _ in runs[:k])
        rows_before = prod(n for n, is_kept in runs[:k] if is_kept)
        chain: set[Size] = {1, extent}
        for shape in shapes:
            total = prod(shape)
            if total == whole:
                start = before
            elif kept and total == rows:
                start = rows_before
            else:
                continue
            for mark in (exact_quotient(p, start) for p in prefix_products(shape)):
                if mark and divides(mark, extent) and all(divides(a, mark) or divides(mark, a) for a in chain):
                    chain.add(mark)
        result.append(by_division(chain))
    return result


def _reshaped(graph: StaticGraph, group: Group, loaded: Callable[[int], bool]) -> list[Shape]:
    """The shapes before reshapes inside the group."""
    found: list[Shape] = []
    seen: set[int] = set()
    pending = list(group.stored)
    while pending:
        v = pending.pop()
        if v in seen or loaded(v):
            continue
        seen.add(v)
        node = graph.node(v)
        pending.extend(node.args)
        if node.op == "reshape" and graph.forms[v] is Form.MOVE:
            found.append(graph.shapes[node.args[0]])
    return found


# ---- nests to kernels ----------------------------------------------------------------------------------------------


def _kernel_of(nest: Nest, machine: Machine, parallel: str | None = None) -> Lowered:
    """The one kernel of a nest; `parallel` names the axis that is to be cut into chunks, if that is not free."""
    chosen = _layout(nest, machine, parallel)
    if not machine.at_once and not nest.inner and len(chosen.outer) > 1 and chosen.vector:
        across = _across(nest, chosen.vector)
        along = typical(nest.extents[chosen.vector])
        if across is not None and min(typical(nest.extents[across]), along) >= LEAST_TILE:
            return _in_tiles(nest, chosen.vector, across, machine)
        first, wanted = typical(nest.extents[chosen.outer[0]]), chunks_wanted(_work(nest), machine)
        if first < min(wanted, ENOUGH_CHUNKS) and along >= 2 * POINT_LANES:
            return _kernel_of(_in_strips(nest, chosen.vector, wanted), machine, blocks_of(chosen.vector))
        if _worth_hoisting(nest, chosen.vector, machine):
            outer = tuple(name for name in nest.outer if name != chosen.vector)
            nest = replace(nest, outer=outer, inner=(chosen.vector,))
            chosen = _layout(nest, machine, parallel)
    return emitted(nest, chosen, machine)


def _in_strips(nest: Nest, vector: str, wanted: int) -> Nest:
    """The nest with its vector axis cut into about as many blocks as chunks are wanted, to be the parallel axis."""
    length = -(-typical(nest.extents[vector]) // (wanted * POINT_LANES)) * POINT_LANES
    outer = tuple(name for name in nest.outer if name != vector)
    return cut_in_blocks(replace(nest, outer=outer, inner=(vector,)), vector, length)


def _across(nest: Nest, vector: str) -> str | None:
    """An axis along which neighbors are read or written that are far apart along the vector axis: a transpose's."""
    for s in (*nest.statements, *nest.roots):
        if isinstance(s, Load | Store) and coefficient(s.index, vector) not in (0, 1):
            for name in nest.outer:
                if coefficient(s.index, name) == 1:
                    return name
    return None


def _in_tiles(nest: Nest, vector: str, across: str, machine: Machine) -> Lowered:
    """The kernel that goes through two axes in tiles, so that a cache line is used up while it is at hand.

    One tile after the other across the vector axis: there what is transposed goes on where it was.
    """
    outer = tuple(name for name in nest.outer if name not in (vector, across))
    tiled = replace(nest, outer=outer, inner=(across, vector))
    for name, length in ((across, TILE_LINES // _element_bytes(nest)), (vector, TILE_POINTS)):
        extent = nest.extents[name]
        tiled = cut_in_blocks(tiled, name, min(length, extent) if isinstance(extent, int) else length)
    order = (blocks_of(vector), *outer, blocks_of(across))
    most = max(order, key=lambda name: typical(tiled.extents[name]))
    first = next((name for name in order if typical(tiled.extents[name]) >= ENOUGH_CHUNKS), most)
    order = (*outer, blocks_of(vector), blocks_of(across))
    return emitted(replace(tiled, outer=order), _layout(tiled, machine, first), machine)


def _layout(nest: Nest, machine: Machine, parallel: str | None) -> Layout:
    deep = nest.deep if nest.inner else [True] * len(nest.statements)
    accesses = [s.index for s, inside in zip(nest.statements, deep) if inside and isinstance(s, Load)]
    stores = [s.index for s in (nest.inner_roots if nest.inner else nest.roots) if isinstance(s, Store)]
    return layout(nest.outer, nest.inner, nest.extents, accesses, _work(nest), _element_bytes(nest), machine, parallel,
                  stores, COLUMN_LANES if nest.can_be_two else ROW_LANES)


def _element_bytes(nest: Nest) -> int:
    return max(DTYPES[param.dtype].itemsize for param in nest.params)


def _work(nest: Nest) -> Size:
    """Elements of a launch, each counted once for every four operations: a load takes as long as four additions."""
    cost = sum(cost_of(s) for s, deep in zip(nest.statements, nest.deep) if deep or not nest.inner)
    return prod(nest.extents.values()) * max(1, cost // 4)


def _worth_hoisting(nest: Nest, vector: str, machine: Machine) -> bool:
    """Is something computed that does not change along the vector axis, and is that axis long enough to gain by it?"""
    if typical(nest.extents[vector]) * _element_bytes(nest) < 4 * machine.vector_bytes:
        return False
    return any(cost_of(s) > 1 and not along for s, along in zip(nest.statements, depends_on(nest, [vector])))


def _in_two(nest: Nest, wanted: int, machine: Machine) -> list[Lowered]:
    """A kernel that reduces blocks of the longest inner axis, and a kernel that combines what the first leaves.

    `wanted`: about how many blocks. Partial results of a reduction lie block after block, each like the kept points.
    """
    cut = max(nest.inner, key=lambda name: typical(nest.extents[name]))
    length = -(-typical(nest.extents[cut]) // wanted)
    if length > 512:
        length = -(-length // 64) * 64
    blocks = ceil_div(nest.extents[cut], length)
    kept = tuple(nest.extents[name] for name in nest.outer)
    counter = blocks_of(cut)
    place = flatten((plain_axis(counter), *map(axis, nest.outer, kept)), (blocks, *kept))
    deep, inner_roots = nest.deep, nest.inner_roots
    sums = {k: s for k, s in enumerate(nest.statements) if isinstance(s, Accumulate)}
    first_buffer = len(nest.storages)
    storages = (*nest.storages, *(Partial(nest.reductions[k][0]) for k in sums))
    params = (*nest.params, *(Param(nest.reductions[k][1], blocks * prod(kept), "in") for k in sums))

    first = replace(nest, roots=inner_roots, checks=tuple(k for k in nest.checks if deep[k]), storages=storages,
                    params=params)
    first = cut_in_blocks(first, cut, length)
    first = replace(first, roots=(*first.roots, *(Store(first_buffer + n, place, k) for n, k in enumerate(sums))))

    count = len(nest.statements)
    statements = [*nest.statements, *(Load(first_buffer + n, place) for n in range(len(sums)))]
    for n, (k, s) in enumerate(sums.items()):
        statements[k] = Accumulate(s.kind, count + n)
    second = replace(
        nest, statements=tuple(statements), stages=(*nest.stages, *(0 for _ in sums)),
        roots=tuple(s for s in nest.roots if s not in inner_roots), checks=tuple(k for k in nest.checks if not deep[k]),
        storages=storages, params=params, inner=(counter,),
        extents={counter: blocks, **{name: nest.extents[name] for name in nest.outer}})
    return [_kernel_of(first, machine, counter), _kernel_of(second, machine)]
