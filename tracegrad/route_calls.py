"""What stays of one call of a route, for its backward: what it was given, and a node for each of its results.

    y = f(x)        y.grad_fn = RouteNode(call, output of the route)        call: the inputs, the saved values
    y.backward()    the cotangent of y goes through the route's derivative to where the inputs came from

See routes for what is differentiated; here is what of it has been used up, and what others watch.
"""
from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from codegen.ir.graph import Graph
from tracegrad import dtypes
from tracegrad.dispatch import GRAD, Node
from tracegrad.source_lines import at_user_line
from tracegrad.tensors import Saved, Tensor

if TYPE_CHECKING:
    from tracegrad.routes import Route

Kept = tuple[tuple[Node | Tensor | None, ...], tuple[Saved | Tensor, ...] | None]
"""For each input of a call: where its gradient goes, and its value."""


class RouteCall:
    """One call of a route, as its backward needs it.

    `freed`: values whose history has been used up. `watched`: the nodes whose cotangents somebody wants to know.
    """

    __slots__ = ("route", "edges", "inputs", "saved", "freed", "watched")

    def __init__(self, route: Route, edges: tuple[Node | Tensor | None, ...], inputs: tuple[Any, ...] | None,
                 saved: tuple[np.ndarray, ...] | None):
        self.route, self.edges, self.inputs, self.saved, self.freed = route, edges, inputs, saved, route.freed
        self.watched: tuple[RouteNode, ...] = ()


TRACED, NO_ATTRS = "traced", dict[str, Any]()
"""The op and the attrs of what a route made."""


class RouteNode(Node):
    """What made one output of a call: its cotangent goes through the route's derivative to the call's inputs.

    After the edges to these come those to the watched nodes of the call, as far as its paths end there.
    """

    __slots__ = ("call", "output", "_pulled")

    def __init__(self, call: RouteCall, output: int):
        edges: list[Node | Tensor | None] = [None] * len(call.edges)
        for k in call.route.sources(output):
            edges[k] = call.edges[k]
        super().__init__(TRACED, NO_ATTRS, tuple(edges), None, None)
        self.call, self.output = call, output
        self._pulled: tuple[int, ...] = ()

    def watch(self) -> None:
        """See Node.watch."""
        if all(node is not self for node in self.call.watched):
            self.call.watched = (*self.call.watched, self)

    def settle(self) -> None:
        """See Node.settle. The nodes of a call come one after another; what comes later in the run is later here."""
        call, route = self.call, self.call.route
        if not call.watched:
            return
        first = int(call.watched[0].sequence)
        self.sequence = first + self.output / (len(route.graph.inputs) + len(route.graph.nodes))
        below = [node for node in call.watched if node.output < self.output]
        stops = tuple(node.output for node in below)
        reached = route.followed(self.output, stops)
        sources = route.sources(self.output, stops)
        self.edges = (*(e if k in sources else None for k, e in enumerate(call.edges)),
                      *(node if node.output in reached else None for node in below))

    @property
    def _stops(self) -> tuple[int, ...]:
        """The values where its paths end."""
        return tuple(e.output for e in self.edges[len(self.call.edges):] if isinstance(e, RouteNode))

    def pull(self, g: Tensor, needed: set[int] | None) -> Iterator[tuple[int, Tensor]]:
        """See Node.pull."""
        call, route = self.call, self.call.route
        wanted = {e.output if isinstance(e, RouteNode) and k >= len(call.edges) else k: e
                  for k, e in enumerate(self.edges) if e is not None and (needed is None or id(e) in needed)}
        if not wanted:
            return
        self._pulled, stops = tuple(wanted), self._stops
        if call.inputs is None or call.freed & route.saving(self.output, self._pulled, stops):
            raise RuntimeError(at_user_line(
                "traced: backward through a graph that was freed: pass retain_graph=True to the first backward"))
        gradients = route.derivative(self.output, stops)(*self._operands(g))
        for value, gradient in zip((*route._wrt, *stops), gradients, strict=True):
            if value in wanted:
                yield id(wanted[value]), gradient

    def derivation(self, g: Tensor) -> tuple[Graph, list[Tensor]]:
        """What `pull` computes: a graph, and what its inputs are."""
        return self.call.route.derivative(self.output, self._stops).graph, self._operands(g)

    def _operands(self, g: Tensor) -> list[Tensor]:
        call = self.call
        assert call.inputs is not None
        inputs = [self._unpack(t, e) for t, e in zip(call.inputs, call.edges)]
        return [*inputs, g, *(self._saved(k) for k in call.route.saved_before(self.output))]

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
        return Tensor(array, True, next((node for node in call.watched if node.output == output), None)
                      or RouteNode(call, output))


def kept_tensor(operand: Tensor | np.ndarray) -> Saved | Tensor:
    """The value of an input, for backward."""
    return operand.save() if isinstance(operand, Tensor) else Tensor(operand)


def way_of(tensor: Tensor) -> Node | Tensor | None:
    """Where a gradient of a Tensor goes."""
    if not tensor.requires_grad:
        return None
    return tensor if tensor.grad_fn is None else tensor.grad_fn
