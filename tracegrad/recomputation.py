"""What a graph keeps for its derivative, and what that computes again: what is cheap, and what is checkpointed.

    %1 = tanh %0                            %1 = tanh %0                    the region {%1, %2}, whose result is %2
    %2 = exp %1          derivative  ->     %2 = exp %1
    return %2                               %4 = after %0, %3               %3 is the cotangent of %2
                                            %5 = tanh %4                    the region again, when it is asked for
                                            ... %5 ...

A region is what a checkpointed function computed. No value of it is saved but its results. It is computed again from
what it reads, `after` a cotangent that is needed beside it: so it is not what forward computed, and not there before
its time.
"""
from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from heapq import heapify, heappop, heappush
from math import prod

from codegen.ir.builder import Builder, Value
from codegen.ir.dims import evaluate
from codegen.ir.graph import Graph, Node
from codegen.ir.ops import CREATION, ELEMENTWISE, MOVEMENT, OPS, REDUCTION
from codegen.ir.structs import struct
from codegen.ir.types import DTYPES, FLOATS, TensorType

_FUNCTIONS = """
    exp exp2 expm1 log log2 log10 log1p sin cos tan asin acos atan atan2 sinh cosh tanh asinh acosh atanh cbrt pow hypot
    logaddexp erf erfc erfinv lgamma polygamma rem fmod floor_div
"""
COSTLY = frozenset(_FUNCTIONS.split()) | {
    name for name, op in OPS.items() if REDUCTION in op.traits or not op.traits & {ELEMENTWISE, MOVEMENT, CREATION}}
"""Ops whose results are saved for backward where it reads them; the rest is cheaper to do again in a fused kernel."""


@struct
class Region:
    """What a checkpointed function computed, by id in the graph, and what of that it returned."""

    values: frozenset[int]
    results: frozenset[int]

    def moved(self, by: int) -> Region:
        """The same where ids are larger."""
        return Region(frozenset(v + by for v in self.values), frozenset(v + by for v in self.results))


def inside(regions: Collection[Region]) -> frozenset[int]:
    """The values that are not saved."""
    return frozenset(v for region in regions for v in region.values - region.results)


def at_edges(regions: Collection[Region]) -> frozenset[int]:
    """The results that are inside of no other region: they are saved where they are read."""
    return frozenset(v for region in regions for v in region.results) - inside(regions)


def choose_saved(forward: Graph, backward: Graph, cotangents: int, regions: Sequence[Region] = ()) -> tuple[int, ...]:
    """Values of `forward` that its backward reads and that are dear to make again, by forward id; none in a region.

    `backward` is differentiate(forward, ...): its inputs are forward's and
    `cotangents` more, its first nodes are forward's.
    """
    k, n = len(backward.inputs), len(forward.nodes)
    read = {a for node in backward.nodes[n:] for a in node.args} | set(backward.outputs)
    frontier = {v for v in read if k <= v < k + n}
    saved: list[int] = []
    dear: set[int] = set()          # values that take a costly op to make from inputs and saved values
    again, results = inside(regions), at_edges(regions)
    for j, node in enumerate(forward.nodes):
        v = k + j
        if v - cotangents in again:
            continue
        if v - cotangents in results or node.op in COSTLY or any(a in dear for a in backward.nodes[j].args):
            if v in frontier:
                saved.append(v - cotangents)
            else:
                dear.add(v)
    return tuple(saved)


def saved_within(forward: Graph, saved: Sequence[int], budget: int, numbers: Mapping[str, int]) -> tuple[int, ...]:
    """Those of the saved values that are kept in `budget` bytes; backward computes the others again from these.

    One after the other goes what costs the least to compute again, with what went before, for its bytes and for how
    long it would be kept: what forward makes first, backward reads last.
    """
    first, kept = len(forward.inputs), set(saved)
    bytes = {v: bytes_at(forward.type_of(v), numbers) for v in saved}
    left = sum(bytes.values())

    def price(v: int) -> float:
        work, seen, pending = 0, {v}, [v]
        while pending:
            node = forward.nodes[pending.pop() - first]
            work += _work(node, [forward.type_of(a) for a in node.args], numbers)
            new = {a for a in node.args if a >= first and a not in kept} - seen
            seen |= new
            pending += new
        return work / (max(bytes[v], 1) * (first + len(forward.nodes) - v))

    prices = [(price(v), v) for v in saved]
    heapify(prices)
    while left > budget:
        _, v = heappop(prices)
        now = price(v)                  # it only grows as others go
        if prices and now > prices[0][0]:
            heappush(prices, (now, v))
        else:
            kept.remove(v)
            left -= bytes[v]
    return tuple(v for v in saved if v in kept)


def bytes_at(type: TensorType, numbers: Mapping[str, int]) -> int:
    """The bytes of a value whose symbols are these numbers."""
    return prod(evaluate(size, numbers) for size in type.shape) * DTYPES[type.dtype].itemsize


def _work(node: Node, operands: Sequence[TensorType], numbers: Mapping[str, int]) -> int:
    """What it takes to compute a node, in bytes moved."""
    own = bytes_at(node.type, numbers)
    if node.op == "matmul":
        return own * evaluate(operands[0].shape[-1], numbers)
    return 4 * own if node.op in _FUNCTIONS.split() else max(own, *(bytes_at(t, numbers) for t in operands), 1)


def late(graph: Graph, nodes: int, regions: Sequence[Region]) -> Graph:
    """The derivative `graph`, which computes regions again. Its first `nodes` nodes are those it is the derivative of.
    """
    first = len(graph.inputs)
    b = Builder(graph.name)
    values: dict[int, Value] = {k: b.input(type) for k, type in enumerate(graph.inputs)}
    again: dict[int, Value] = {}
    hidden = inside(regions)
    for v, node in enumerate(graph.nodes, first):
        b.line = node.line
        if v >= first + nodes:
            for a in node.args:
                if a in hidden and a not in again:
                    region = next(r for r in regions if a in r.values - r.results)
                    token = next((values[c] for c in node.args if c >= first + nodes), None)
                    _compute_again(graph, region, token, b, values, again)
        read = [again.get(a, values[a]) if v >= first + nodes else values[a] for a in node.args]
        values[v] = b.emit(node.op, *read, **dict(node.attrs))
    b.line = None
    return b.graph([again.get(v, values[v]) for v in graph.outputs])


def _compute_again(graph: Graph, region: Region, token: Value | None, b: Builder, values: dict[int, Value],
                   again: dict[int, Value]) -> None:
    """Emit the region's nodes once more, from what it reads, after the token."""
    first = len(graph.inputs)
    own = sorted(region.values)
    read = {a for v in own for a in graph.nodes[v - first].args} - region.values
    computed = {a for a in read if a >= first}
    found = {a: values[a] for a in read}
    if token is not None:
        for a in computed or read:
            if values[a].dtype in FLOATS and token.dtype in FLOATS:
                found[a] = b.emit("after", values[a], number_of(token, values[a].dtype))
    for v in own:
        node = graph.nodes[v - first]
        b.line = node.line
        found[v] = b.emit(node.op, *(found[a] for a in node.args), **dict(node.attrs))
        if v not in region.results:
            again[v] = found[v]


def number_of(g: Value, dtype: str) -> Value:
    """A number that is there when g is."""
    rank = len(g.shape)
    corner = g.emit("slice", start=(0,) * rank, stop=(1,) * rank, step=(1,) * rank) if rank else g
    number = corner.emit("reshape", shape=()) if rank else corner
    return number if number.dtype == dtype else number.emit("cast", dtype=dtype)
