"""blockwise: what is large behind a product is computed a part at a time, and never all there.

    %3 = matmul %0, %1   : f32[8,4096,4096]       %3 = slice %0 [0:1]; %4 = slice %1 [0:1]; %5 = slice %2 [0:1]
    %4 = exp %3                              ->   %6 = matmul %3, %4; %7 = exp %6; %8 = matmul %7, %5; the same of [1:2]
    %5 = matmul %4, %2   : f32[8,4096,64]         %9 = concat %8, ..

So attention needs room for the scores of one head, or of some rows of one. Its derivative reads them when much else
was computed in between: then they are computed again, from the largest and the sum of each row, which are kept.

1. *Members* are large values that are made of a product and computed in parts along one axis; *results* are what else
   reads them. A part of a result is made of a part of the members, or a result is the sum of what parts give.
2. A *sweep* goes over all parts and computes some results. What it reads is there before, or of the same part.
3. A result is computed in the first sweep that can; members in each sweep that needs them.
4. Products that take longer to compute again than to be kept are not: then nothing is computed in parts.
5. Only what fits no cache is computed so: by the bytes of what would be stored.
"""
from __future__ import annotations

from codegen.ir.dims import element_count, number_of
from codegen.ir.graph import Graph, Node
from codegen.ir.structs import struct
from codegen.ir.types import DTYPES, TensorType, is_static
from codegen.optimize.movement import MOVEMENT
from codegen.optimize.parts import COMBINED, combined_axes, emit_part, emit_slice, operand_axes
from codegen.optimize.rewrite import Rewriter

LARGE_BYTES = 1 << 25
"""What the product makes is stored as it is if it has fewer: the last cache holds it, or nearly."""

PART_BYTES = 1 << 23
"""About the bytes of a part."""

MOST_PARTS, LEAST_ROWS, MOST_MEMBERS = 16, 64, 64
"""Each part has as many nodes as there are members; fewer rows would arrange the other operand too often."""

MOST_TERMS = 128
"""A product of more terms takes longer to compute again than to be stored and loaded."""

NEAR = 16
"""So many values that are not large, one made of the other, are computed in parts at most."""

NEVER = 1 << 30


def blockwise(graph: Graph, times: int = 1) -> Graph:
    """The graph with all that can be computed part by part, where a cache is so many times as large."""
    while (sweeps := _first_sweeps(graph, times)) is not None:
        graph = sweeps.graph_in_parts()
    return graph


def is_large_product(node: Node, times: int = 1) -> bool:
    """May what it makes better not be there as a whole?"""
    return node.op == "matmul" and _bytes(node.type) >= times * LARGE_BYTES


def _first_sweeps(graph: Graph, times: int) -> _Sweeps | None:
    """For the first product whose result is better not there as a whole."""
    first = len(graph.inputs)
    seeds = [v for v, node in enumerate(graph.nodes, first) if is_large_product(node, times)]
    if not seeds:
        return None
    readers: list[list[int]] = [[] for _ in range(first + len(graph.nodes))]
    for v, node in enumerate(graph.nodes, first):
        for a in dict.fromkeys(node.args):
            readers[a].append(v)
    for seed in seeds:
        for axis in range(graph.type_of(seed).ndim):
            region = _region(graph, readers, seed, axis, times * PART_BYTES)
            if region is not None and (sweeps := _Sweeps(graph, region)).are_worth_it:
                return sweeps
    return None


@struct
class _Region:
    """Members by the axis that is cut, and where it is cut; results by the axis of their parts, None for sums of them.
    """

    axis_of: dict[int, int]
    cuts: tuple[tuple[int, int], ...]
    results: dict[int, int | None]


def _region(graph: Graph, readers: list[list[int]], seed: int, axis: int, part_bytes: int) -> _Region | None:
    """What is cut together with an axis of a product; None where not all of it can be."""
    type = graph.type_of(seed)
    size, rows = type.shape[axis], 1 if axis < type.ndim - 2 else LEAST_ROWS
    parts = min(MOST_PARTS, size // rows, -(-_bytes(type) // part_bytes)) if isinstance(size, int) else 0
    if parts < 2 or not isinstance(size, int):
        return None
    outputs, least = frozenset(graph.outputs), _elements(type) // 4
    if seed in outputs:
        return None
    large: set[int] = set()                         # that are made of a product, and not of what is small alone
    for v, node in enumerate(graph.nodes, len(graph.inputs)):
        if _elements(node.type) >= least and (node.op == "matmul" or not large.isdisjoint(node.args)):
            large.add(v)
    axis_of, reading, pending = {seed: axis}, dict[int, None](), [seed]
    while pending:
        v = pending.pop()
        made = graph.node_of(v)
        operands = None if made is None else operand_axes(graph.type_of, made, axis_of[v])
        if made is None or operands is None or len(axis_of) > MOST_MEMBERS:
            return None
        reading |= dict.fromkeys(readers[v])
        for a in (*made.args, *readers[v]):
            if a not in large or a in outputs or a in axis_of:
                continue
            own = operands.get(a) if a < v else _axis_of_result(graph, a, axis_of)
            if own is None:
                return None
            axis_of[a] = own
            pending.append(a)
    results = {v: _axis_of_result(graph, v, axis_of) for v in reading if v not in axis_of}
    for v, own in results.items():
        node = graph.nodes[v - len(graph.inputs)]
        if _elements(node.type) >= least or own is None and combined_axes(graph.type_of, node, axis_of) is None:
            return None
    step = -(-size // parts)
    cuts = tuple((k, min(k + step, size)) for k in range(0, size, step))
    return _Region(axis_of, cuts, dict(sorted(results.items())))


def _axis_of_result(graph: Graph, value: int, axis_of: dict[int, int]) -> int | None:
    """The axis along which the parts of a value that reads members are made of the parts of those."""
    node = graph.node_of(value)
    assert node is not None
    for axis in range(node.type.ndim):
        operands = operand_axes(graph.type_of, node, axis)
        if operands is not None and all(operands.get(a) == axis_of[a] for a in node.args if a in axis_of):
            return axis
    return None


class _Sweeps:
    """Which sweep computes what of a region. `sweep_of`: of a member the first that can, of a result the one that does,
    of any other value the last one before which it is not there.
    """

    def __init__(self, graph: Graph, region: _Region):
        self.graph, self.region, self.axis_of = graph, region, region.axis_of
        self.sweep_of = [0] * len(graph.inputs)
        self.known: dict[tuple[int, int | None], int] = {}
        for v, node in enumerate(graph.nodes, len(graph.inputs)):
            if v in self.axis_of or v in region.results:
                self.sweep_of.append(max(1, *(self.first_with(a, axis, NEAR) for a, axis in self.operands(v))))
            else:
                self.sweep_of.append(max([self.sweep_of[a] for a in node.args], default=0))
        self.last, self.done = max(self.sweep_of), 0

    def operands(self, v: int, axis: int | None = None) -> list[tuple[int, int | None]]:
        """The operands of a member, a result or a part of another value, and along which axis a part of each is read.
        """
        node = self.graph.node_of(v)
        assert node is not None
        own = self.axis_of.get(v, self.region.results.get(v)) if axis is None else axis
        of = combined_axes(self.graph.type_of, node, self.axis_of) if own is None else operand_axes(
            self.graph.type_of, node, own)
        assert of is not None
        return [(a, of.get(a)) for a in node.args]

    def first_with(self, v: int, axis: int | None, near: int) -> int:
        """The first sweep that can read a part of a value, or all of it (None)."""
        if v in self.axis_of:
            return self.sweep_of[v] if axis == self.axis_of[v] else NEVER
        whole = self.sweep_of[v] + 1
        node = self.graph.node_of(v)
        if axis is None or whole == 1 or node is None or not near or operand_axes(
                self.graph.type_of, node, axis) is None:
            return whole
        if (v, axis) not in self.known:
            local = max([self.first_with(a, own, near - 1) for a, own in self.operands(v, axis)], default=whole)
            self.known[v, axis] = min(whole, local)
        return self.known[v, axis]

    @property
    def are_worth_it(self) -> bool:
        """Is all computed in some sweep, and no product again that takes long?"""
        if self.last >= NEVER:
            return False
        again: dict[int, int] = {}
        for sweep in range(1, self.last + 1):
            for v, _ in self.of_sweep(sweep):
                again[v] = again.get(v, 0) + (v in self.axis_of)
        products = [self.graph.node_of(v) for v, times in again.items() if times > 1]
        return all(node is None or node.op != "matmul" or self.graph.type_of(node.args[0]).shape[-1] <= MOST_TERMS
                   for node in products)

    def of_sweep(self, sweep: int) -> list[tuple[int, int | None]]:
        """What a part of a sweep computes: values, and the axis that each is a part along; operands first."""
        pending: list[tuple[int, int | None]] = [
            (v, axis) for v, axis in self.region.results.items() if self.sweep_of[v] == sweep]
        found = dict.fromkeys(pending)
        while pending:
            for a, own in self.operands(*pending.pop()):
                if (a in self.axis_of or self.sweep_of[a] >= sweep) and (a, own) not in found:
                    found[a, own] = None
                    pending.append((a, own))
        return sorted(found, key=lambda part: part[0])

    def graph_in_parts(self) -> Graph:
        """The graph with the region computed so. All else stays in its order, and a sweep comes when it is read."""
        graph, rewriter = self.graph, Rewriter(self.graph.inputs, MOVEMENT)
        new = dict(enumerate(range(len(graph.inputs))))
        for v in (*range(len(graph.inputs), len(self.sweep_of)), *graph.outputs):
            if v not in self.axis_of and (v in graph.outputs or v not in self.region.results):
                self._make([v], rewriter, new)
        nodes = tuple(node for node in rewriter.nodes[len(graph.inputs):] if node is not None)
        return Graph(graph.name, graph.inputs, nodes, tuple(new[v] for v in graph.outputs))

    def _make(self, values: list[int], rewriter: Rewriter, new: dict[int, int]) -> None:
        """See to it that values are there, in `new`, and before them whatever they are made of."""
        wanted, missing, sweep = list(values), set[int](), 0
        while wanted:
            v = wanted.pop()
            node = self.graph.node_of(v)
            if v in new or v in missing or node is None:
                continue
            if v in self.region.results:
                sweep = max(sweep, self.sweep_of[v])
            else:
                missing.add(v)
                wanted += node.args
        while self.done < sweep:
            self._make([a for v, axis in self.of_sweep(self.done + 1) for a, _ in self.operands(v, axis)
                        if a not in self.axis_of and self.sweep_of[a] <= self.done], rewriter, new)
            self.done += 1
            self._sweep(rewriter, self.done, new)
        for v in sorted(missing - new.keys()):
            node = self.graph.node_of(v)
            assert node is not None
            args = tuple([new[a] for a in node.args])
            new[v] = rewriter.append(Node(node.op, args, node.attrs, node.type, node.line))

    def _sweep(self, rewriter: Rewriter, sweep: int, new: dict[int, int]) -> None:
        """Compute the results of a sweep part by part; `new` has what is there, and gets them."""
        steps, results = self.of_sweep(sweep), self.region.results
        for start, stop in self.region.cuts:
            done: dict[tuple[int, int | None], int] = {}
            for v, axis in steps:
                node = self.graph.node_of(v)
                assert node is not None
                rewriter.line = node.line
                args = []
                for a, own in self.operands(v, axis):
                    if (a, own) not in done:
                        done[a, own] = new[a] if own is None else emit_slice(rewriter, new[a], own, start, stop)
                    args.append(done[a, own])
                done[v, axis] = emit_part(rewriter, node, args, axis, stop - start)
                if v in results and axis == results[v]:
                    if start == 0:
                        new[v] = done[v, axis]
                    elif axis is None:
                        new[v] = rewriter.emit(COMBINED[node.op], new[v], done[v, axis])
                    else:
                        new[v] = rewriter.emit("concat", new[v], done[v, axis], axis=axis)
        rewriter.forget()


def _elements(type: TensorType) -> int:
    return number_of(element_count(type.shape)) if is_static(type) else 0


def _bytes(type: TensorType) -> int:
    return _elements(type) * DTYPES[type.dtype].itemsize
