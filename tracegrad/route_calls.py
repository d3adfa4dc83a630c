"""What a call of a route leaves for backward: its inputs, saved values, and a node for each value that ways begin at.

    y, z = f(x)         RouteCall(x, saved)  ── RouteNode y ── x,      RouteNode z ── x

The nodes at the `stops` of a route lead to each other, and to the custom functions that were called between them.
"""
from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from codegen.ir.graph import Graph
from tracegrad import dtypes
from tracegrad.dispatch import GRAD, Node, next_sequence
from tracegrad.function_nodes import FunctionNode
from tracegrad.source_lines import at_user_line
from tracegrad.tensors import GONE, Saved, Tensor

if TYPE_CHECKING:
    from tracegrad.routes import Route

Kept = tuple[tuple[Node | Tensor | None, ...], tuple[Saved | Tensor, ...] | None]
"""For each input of a call: where its gradient goes, and its value."""

NOTHING: Mapping[int, Node] = MappingProxyType({})


class RouteCall:
    """One call of a route, as its backward needs it.

    `freed`: values whose history has been used up. `watched`, by value: the nodes whose cotangents somebody wants to
    know. `first`: where its nodes stand in time, if functions are called in it. It knows no node but those watched.
    """

    __slots__ = ("route", "edges", "inputs", "saved", "freed", "watched", "first")

    def __init__(self, route: Route, edges: tuple[Node | Tensor | None, ...], inputs: tuple[Any, ...] | None,
                 saved: tuple[np.ndarray, ...] | None):
        self.route, self.edges, self.inputs, self.saved, self.freed = route, edges, inputs, saved, route.freed
        self.watched: Mapping[int, Node] = NOTHING
        self.first = next_sequence() if route.calls else None

    def begin(self, nodes: dict[int, Node]) -> list[FunctionNode]:
        """Call custom functions again: their nodes. Those at stops join `nodes`, each after what it leads to."""
        route, functions = self.route, list[FunctionNode]()
        calls = {call.first: call for call in route.calls}
        for v in route.stops:
            if v in calls:
                functions.append(calls[v].begin(self, nodes))
            elif v not in nodes:
                nodes[v] = RouteNode(self, v, nodes)
        return functions

    def led(self, sources: tuple[int, ...]) -> tuple[Node | Tensor | None, ...]:
        """Where gradients of the inputs go, for those of `sources`."""
        edges: list[Node | Tensor | None] = [None] * len(self.edges)
        for k in sources:
            edges[k] = self.edges[k]
        return tuple(edges)

    def place(self, value: float) -> float:
        """Where a node stands in time: those of one call one after another, and what comes later in the run later."""
        first = self.first
        if first is None:
            first = int(next(iter(self.watched.values())).sequence)
        return first + value / (len(self.route.graph.inputs) + len(self.route.graph.nodes))

    def way(self, value: int, nodes: Mapping[int, Node]) -> Node | Tensor | None:
        """Where the gradient of a value goes, given the nodes before it."""
        if value < len(self.edges):
            return self.edges[value]
        return nodes.get(value) or RouteNode(self, value, nodes)

    def kept(self, value: int) -> Saved:
        """What a value is."""
        assert self.inputs is not None and self.saved is not None
        if value >= len(self.inputs):
            return Saved(self.saved[self.route.place_of_saved[value]], GONE)
        kept = self.inputs[value]
        return kept if isinstance(kept, Saved) else kept.save()


TRACED, NO_ATTRS = "traced", dict[str, Any]()
"""The op and the attrs of what a route made."""


class RouteNode(Node):
    """What made one output of a call: its cotangent goes through the route's derivative to the call's inputs.

    After the edges to these come those to the nodes at the route's stops, and to the watched nodes of the call, as far
    as its paths end there. `before`: earlier nodes of the call.
    """

    __slots__ = ("call", "output", "_ends", "_stops", "_pulled")

    def __init__(self, call: RouteCall, output: int, before: Mapping[int, Node] = NOTHING):
        stops = tuple([v for v in call.route.below(output) if v in before]) if before else ()
        edges = call.led(call.route.sources(output, stops))
        super().__init__(TRACED, NO_ATTRS, (*edges, *[before[v] for v in stops]) if stops else edges, None, None)
        self.call, self.output = call, output
        self._ends = tuple([(v, before[v]) for v in stops])         # the nodes at the route's stops
        self._stops = stops                         # the values where its paths end
        self._pulled: tuple[int, ...] = ()
        if call.first is not None:
            self.sequence = call.place(output)
        self.settle()

    def watch(self) -> None:
        """See Node.watch."""
        watched = self.call.watched
        if self.output not in watched:
            self.call.watched = {**watched, self.output: self}

    def settle(self) -> None:
        """See Node.settle."""
        call, route = self.call, self.call.route
        if not call.watched:
            return
        self.sequence = call.place(self.output)
        nodes = {**dict(self._ends), **{v: node for v, node in call.watched.items() if v < self.output}}
        below = tuple(nodes)
        reached = route.followed(self.output, below)
        self._stops = tuple([v for v in below if v in reached])
        self.edges = (*call.led(route.sources(self.output, below)), *map(nodes.__getitem__, self._stops))

    def pull(self, g: Tensor, needed: set[int] | None) -> Iterator[tuple[int, Tensor]]:
        """See Node.pull."""
        call, route = self.call, self.call.route
        wanted = {v: e for v, e in zip((*range(len(call.edges)), *self._stops), self.edges)
                  if e is not None and (needed is None or id(e) in needed)}
        if not wanted:
            return
        self._pulled, stops = tuple(wanted), self._stops
        saving = route.saving(self.output, self._pulled, stops)
        if call.freed & saving or call.inputs is None and (saving or not route.calls):
            raise RuntimeError(at_user_line(
                "traced: backward through a graph that was freed: pass retain_graph=True to the first backward"))
        gradients = route.derivative(self.output, stops)(*self._operands(g))
        for value, gradient in zip((*route.sources(self.output, stops), *stops), gradients, strict=True):
            if value in wanted:
                yield id(wanted[value]), gradient

    def derivation(self, g: Tensor) -> tuple[Graph, list[Tensor]]:
        """What `pull` computes: a graph, and what its inputs are."""
        return self.call.route.derivative(self.output, self._stops).graph, self._operands(g)

    def _operands(self, g: Tensor) -> list[Tensor]:
        call = self.call
        if call.inputs is None:                 # nothing of them is read
            return call.route.unread(self.output, self._stops, g)
        inputs = [self._unpack(t, e) for t, e in zip(call.inputs, call.edges)]
        return [*inputs, g, *(self._saved(k) for k in call.route.saved_before(self.output, self._stops))]

    def kept(self) -> Iterator[Any]:
        """See Node.kept."""
        yield from (*(self.call.inputs or ()), *(self.call.saved or ()))

    @property
    def freed(self) -> bool:
        return self.call.inputs is None

    def free(self) -> Any:
        call = self.call
        held = call.inputs, call.saved
        call.freed |= call.route.saving(self.output, self._pulled, self._stops)
        if call.route.spent(call.freed):
            call.inputs = call.saved = None
        return held

    def _saved(self, k: int) -> Tensor:
        """A saved value; where derivatives of derivatives are wanted, with its own history."""
        call = self.call
        assert call.saved is not None
        array = call.saved[k]
        if not GRAD.enabled or array.dtype not in dtypes.INEXACT:
            return Tensor(array)
        output = call.route.saved[k]
        if output == self.output:
            return Tensor(array, True, self)
        ends = dict(self._ends)
        return Tensor(array, True, ends.get(output) or call.watched.get(output) or RouteNode(call, output, ends))


def kept_tensor(operand: Tensor | np.ndarray) -> Saved | Tensor:
    """The value of an input, for backward."""
    return operand.save() if isinstance(operand, Tensor) else Tensor(operand)


def way_of(tensor: Tensor) -> Node | Tensor | None:
    """Where a gradient of a Tensor goes."""
    if not tensor.requires_grad:
        return None
    return tensor if tensor.grad_fn is None else tensor.grad_fn
