"""What a route asks of its graph: parts of it, what operations save, and where ways meet."""
from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from functools import cached_property, lru_cache

from codegen.ir.builder import Builder, Value
from codegen.ir.graph import Attr, Graph
from codegen.ir.types import INEXACT, TensorType
from tracegrad.autodiff import rules_of
from tracegrad.derivatives import VJPS
from tracegrad.recorded import CallValues


def with_outputs(graph: Graph, outputs: Sequence[int]) -> Graph:
    """The same graph, returning other values."""
    return Graph(graph.name, graph.inputs, graph.nodes, tuple(outputs))


def cut(graph: Graph, values: Sequence[int]) -> Graph:
    """The graph with `values` made inputs, after its own; nodes that only made them are dropped.

        %2 = matmul %0, %1                           graph(%0, %1, %2) {
        %3 = tanh %2            cut at %2   ->         %3 = tanh %2
        return %3                                      return %3
    """
    k, needed = len(graph.inputs), set(graph.outputs)
    cuts = set(values)
    for j in reversed(range(len(graph.nodes))):
        if k + j in needed and k + j not in cuts:
            needed.update(graph.nodes[j].args)
    b = Builder(graph.name)
    made: dict[int, Value] = {i: b.input(type) for i, type in enumerate(graph.inputs)}
    for v in values:
        made[v] = b.input(graph.type_of(v))
    for j, node in enumerate(graph.nodes):
        if k + j in needed and k + j not in cuts:
            b.line = node.line
            made[k + j] = b.emit(node.op, *(made[a] for a in node.args), **dict(node.attrs))
    b.line = None
    return b.graph([made[v] for v in graph.outputs])


def inputs_read(graph: Graph) -> set[int]:
    """The inputs that something is computed from, or that are returned."""
    read = {a for node in graph.nodes for a in node.args} | set(graph.outputs)
    return read & set(range(len(graph.inputs)))


class Ways:
    """The ways on which derivatives of some values of a graph, the `ends`, lead back to inputs, `wrt`.

    Of a run that went backward most of the graph is not on them: nothing is asked of it.
    """

    def __init__(self, graph: Graph, wrt: Iterable[int], ends: Iterable[int]):
        self._graph, self._wrt = graph, tuple(wrt)
        wanted, found = set(ends), []
        k = len(graph.inputs)
        for j in reversed(range(len(graph.nodes))):
            if k + j in wanted and (node := graph.nodes[j]).type.dtype in INEXACT:
                args = [a for a, rule in zip(node.args, rules_of(node)) if rule is not None]
                found.append((k + j, args))
                wanted.update(args)
        self.values: set[int] = wanted
        self.steps: list[tuple[int, list[int]]] = found[::-1]
        """The values that can be differentiated, each with the operands that a derivative leads to."""

    def depending_on(self, inputs: Iterable[int]) -> set[int]:
        """The values on them that depend on `inputs` by a path that can be differentiated; and `inputs`."""
        found = set(inputs)
        for v, args in self.steps:
            if not found.isdisjoint(args):
                found.add(v)
        return found

    @cached_property
    def carrying(self) -> set[int]:
        """Those that depend on an input that derivatives are taken for."""
        return self.depending_on(self._wrt)

    @cached_property
    def saving(self) -> frozenset[int]:
        """Those of them whose operations save something for backward."""
        return frozenset(v for v in self.carrying if saves(self._graph, v, self.carrying))


def saves(graph: Graph, value: int, carried: set[int]) -> bool:
    """Would eager autograd save an operand or the result of the operation that makes `value`?"""
    node = graph.node_of(value)
    if node is None:
        return False
    used = values_read(node.op, node.attrs, tuple(map(graph.type_of, node.args)), node.type,
                       tuple(a in carried for a in node.args))
    return used[-1] or any(u and not _is_number(graph, a) for u, a in zip(used, node.args))


@lru_cache(maxsize=4096)
def values_read(op: str, attrs: tuple[tuple[str, Attr], ...], types: tuple[TensorType, ...], type: TensorType,
                wanted: tuple[bool, ...]) -> tuple[bool, ...]:
    """Which operands, and (last) whether the result, the rules of the wanted operands read the values of."""
    b = Builder(op)
    *operands, y, g = [b.input(t) for t in (*types, type, type)]
    gradients = [rule(g, y, *operands, **dict(attrs)) for w, rule in zip(wanted, VJPS.get(op, ()))
                 if rule is not None and w]
    backward = b.graph(gradients)
    read = {a for n in backward.nodes for a in n.args} | set(backward.outputs)
    return tuple(x.id in read for x in (*operands, y))


def _is_number(graph: Graph, value: int) -> bool:
    node = graph.node_of(value)
    return node is not None and node.op == "constant"


def meetings(graph: Graph, calls: Sequence[CallValues], carrying: Collection[int]) -> tuple[int, ...]:
    """The values where ways back end and others begin, in order, if there are calls of custom functions.

    These are what calls gave, what they were given, and where ways from several of these and of the outputs come
    together: so no way is gone twice.

        %3 = mul %2, 2           returned %7, which is %3 + %6                      %7 ── %6 ── call ── %5 ── %3
        %5 = tanh %3                                                                 └──────────────────────── %3
        %6 = detach ...          a call, given %5                     ->     6, 5, and 3, where both ways arrive
    """
    if not calls:
        return ()
    first = len(graph.inputs)
    made = {v for call in calls for v in call.outputs}
    given = {v for call in calls for v in call.arguments if v is not None and v >= first} - made
    arriving: dict[int, set[int]] = {v: {v} for v in (*graph.outputs, *given)}
    found = made | given
    for v in reversed(range(first, first + len(graph.nodes))):
        ways, node = arriving.get(v, set()), graph.nodes[v - first]
        if len(ways) > 1:
            found.add(v)
        if not ways or v in made or node.type.dtype not in INEXACT:
            continue
        way = v if v in found else next(iter(ways))
        for a, rule in zip(node.args, rules_of(node)):
            if rule is not None and a in carrying:
                arriving.setdefault(a, set()).add(way)
    return tuple(sorted(v for v in found if v is not None))
