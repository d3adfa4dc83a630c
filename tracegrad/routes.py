"""Route: a recorded path as a differentiable function: outputs of a replay have a compiled backward of any order.

    forward    (inputs) -> visible outputs, saved values
    backward   (inputs, cotangent of one output, saved values) -> a gradient for each input that carries one

1. The backward of a route is a route itself, differentiated and compiled when it is first asked for.
2. A value is saved where backward reads it, it is dear to make again, and the memory budget has room for it; saved
   values carry derivatives as outputs do.
3. Inputs are saved as eager operations save theirs, so writing to them later changes no gradient.
4. An output that is computed from another has a path of its own past that one, until somebody wants to know the
   cotangent that arrives there: from then on its paths end there, and go on from there.
5. Where eager autograd has no path there is none, and what one backward has used up no other can use: which operations
   would have saved values is known from the derivative rules.
"""
from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from functools import cached_property, lru_cache

import numpy as np

from codegen import CannotLower, CompileError, Executable
from codegen.ir.builder import Builder, Value
from codegen.ir.dims import evaluate
from codegen.ir.graph import Attr, Graph
from codegen.ir.types import INEXACT, TensorType
from tracegrad.autodiff import differentiate, rules_of
from tracegrad.compiling import Compiling
from tracegrad.derivatives import VJPS
from tracegrad.dispatch import GRAD, dispatch
from tracegrad.recomputation import Region, bytes_at, choose_saved, late, saved_within
from tracegrad.recorder import ACTIVE
from tracegrad.route_calls import Kept, RouteCall, RouteNode, kept_tensor, way_of
from tracegrad.tensors import Tensor


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


class Route:
    """`graph` as a function of Tensors. `carries`: which inputs derivatives are taken for.

    `freed`: values whose history was used up while the graph was recorded; `regions`: what derivatives compute again;
    `numbers`: those of its symbols for which it is decided what is saved.
    """

    def __init__(self, graph: Graph, carries: tuple[bool, ...], compiling: Compiling,
                 freed: frozenset[int] = frozenset(), regions: tuple[Region, ...] = (),
                 numbers: Mapping[str, int] | None = None):
        self.graph, self.carries, self.compiling, self.freed, self.regions = graph, carries, compiling, freed, regions
        self._wrt = tuple(k for k, c in enumerate(carries) if c)
        self._whole: Route | None = None
        self._numbers: Mapping[str, int] = numbers or {}
        self._executables: dict[bool, Executable | None] = {}
        self._derivatives: dict[tuple[int, tuple[int, ...]], Route] = {}
        self._sources: dict[tuple[int, tuple[int, ...]], tuple[int, ...]] = {}
        self._follows: dict[tuple[int, tuple[int, ...]], frozenset[int]] = {}
        self._saving: dict[tuple[int, tuple[int, ...], tuple[int, ...]], frozenset[int]] = {}
        self._spent: dict[frozenset[int], bool] = {}

    def at(self, numbers: Mapping[str, int]) -> Route:
        """The route that this one, whose graph has symbols, is at these numbers: what is known of one is, of the other.
        """
        self.saved, self._ways.saving           # noqa: B018 - found out once
        route = copy(self)
        route._whole, route._numbers, route._executables, route._derivatives = self._whole or self, numbers, {}, {}
        return route

    @cached_property
    def saved(self) -> tuple[int, ...]:
        """The values kept for backward, by id in the graph."""
        budget = self.compiling.memory_budget
        return self.worth_saving if budget is None else saved_within(self.graph, self.worth_saving, budget,
                                                                     self._numbers)

    @cached_property
    def worth_saving(self) -> tuple[int, ...]:
        """Those that would be kept if there was room for all."""
        if self.spent(self.freed):
            return ()
        found: set[int] = set()
        for output in set(self.graph.outputs):
            if self.graph.type_of(output).dtype in INEXACT:
                found.update(choose_saved(self.graph, self._backward(output), 1, self.regions))
        return tuple(sorted(found))

    @property
    def saved_bytes(self) -> int:
        """What a call keeps for its backward beside its inputs."""
        return self.bytes_of(self.saved)

    def bytes_of(self, values: Iterable[int]) -> int:
        """The bytes of values of the graph."""
        return sum(bytes_at(self.graph.type_of(v), self._numbers) for v in values)

    @property
    def saved_types(self) -> tuple[TensorType, ...]:
        return tuple(map(self.graph.type_of, self.saved))

    @property
    def keeps_within_budget(self) -> bool:
        """Is that as little as it should be? At other numbers than those it was decided for it may not be."""
        budget = self.compiling.memory_budget
        return budget is None or self.saved_bytes <= budget

    def saving_graph(self) -> Graph:
        """The graph, returning the saved values too."""
        return with_outputs(self.graph, (*self.graph.outputs, *self.saved))

    def __call__(self, *operands: Tensor) -> tuple[Tensor, ...]:
        """Run it, compiled, or operation by operation where the run is recorded or the target has no code for it."""
        if ACTIVE.get() is not None:
            return self._through_dispatch(operands)
        differentiated = GRAD.enabled and any(operands[k].requires_grad for k in self._wrt)
        executable = self._executable(differentiated)
        if executable is None:
            return self._through_dispatch(operands)
        made = executable(*(t.array for t in operands))
        results = tuple(map(Tensor, made[:len(self.graph.outputs)]))
        if differentiated:
            self.attach(self.keep(operands), made[len(results):], results)
        return results

    def keep(self, operands: Sequence[Tensor]) -> Kept:
        """The inputs of a call about to run, for its backward."""
        edges = tuple(way_of(t) if c else None for t, c in zip(operands, self.carries))
        return edges, None if self.spent(self.freed) else tuple(map(kept_tensor, operands))

    def attach(self, kept: Kept, saved: Sequence[np.ndarray], results: Sequence[Tensor]) -> None:
        """Give the `results` of a call that derivatives lead through their history."""
        call = RouteCall(self, *kept, tuple(saved))
        for output, t in zip(self.graph.outputs, results):
            node = RouteNode(call, output)
            if any(e is not None for e in node.edges):
                t.requires_grad, t.grad_fn = True, node

    def sources(self, output: int, stops: tuple[int, ...] = ()) -> tuple[int, ...]:
        """The inputs that a derivative of this value leads to, on ways that end at `stops`."""
        found = self._sources.get((output, stops))
        if found is None:
            reached = self.followed(output, stops)
            found = self._sources[output, stops] = tuple(k for k in self._wrt if k in reached)
        return found

    def saving(self, output: int, inputs: tuple[int, ...], stops: tuple[int, ...] = ()) -> frozenset[int]:
        """Values whose operations, on the way from this one back to `inputs`, would have saved something.

        The ways end at `stops`; those that are among `inputs` are gone to.
        """
        found = self._saving.get((output, inputs, stops))
        if found is None:
            ways = self._ways_from(output)
            on_the_way = self.followed(output, stops) & ways.depending_on(inputs) - {*stops}
            found = self._saving[output, inputs, stops] = on_the_way & ways.saving
        return found

    def spent(self, freed: frozenset[int]) -> bool:
        """Is there, after these were freed, no output that a backward can lead from to any input?"""
        found = self._spent.get(freed)
        if found is None:
            found = self._spent[freed] = all(
                self._is_passed(output, freed) or all(self.saving(output, (k,)) & freed for k in self.sources(output))
                for output in self.graph.outputs)
        return found

    def _is_passed(self, output: int, freed: frozenset[int]) -> bool:
        """Is among the values that all ways back from `output` lead through one that was freed?

        Such values are known at once where one operation follows another; if there is none, that tells nothing.
        """
        carrying = self._ways_from(output).carrying
        ways = {output} & carrying
        while len(ways) == 1:
            (value,) = ways
            node = self.graph.node_of(value)
            if node is None:
                break
            if value in freed and saves(self.graph, value, carrying):
                return True
            ways = {a for a, rule in zip(node.args, rules_of(node)) if rule is not None and a in carrying}
        return False

    def followed(self, output: int, stops: tuple[int, ...] = ()) -> frozenset[int]:
        """The values that a derivative of `output` leads through, to `stops` and to inputs that carry one."""
        found = self._follows.get((output, stops))
        if found is None:
            ways = self._ways_from(output)
            wanted = {output} & ways.carrying
            for v, args in reversed(ways.steps):
                if v in wanted and v not in stops:
                    wanted.update(a for a in args if a in ways.carrying)
            found = self._follows[output, stops] = frozenset(wanted)
        return found

    @cached_property
    def _ways(self) -> Ways:
        return Ways(self.graph, self._wrt, self.graph.outputs)

    def _ways_from(self, output: int) -> Ways:
        """Ways on which `output` is, which may be a saved value that no output is differentiated by."""
        return self._ways if output in self._ways.values else Ways(self.graph, self._wrt, (output,))

    def derivative(self, output: int, stops: tuple[int, ...] = ()) -> Route:
        """(inputs, cotangent, saved values) -> gradients, for the output or saved value with this id.

        The gradients are those of the inputs that carry one, and of the values `stops`, from which no path leads on.
        """
        found = self._derivatives.get((output, stops))
        if found is None and self._whole is not None:
            found = self._derivatives[output, stops] = self._whole.derivative(output, stops).at(self._numbers)
        if found is None:
            backward = self._backward(output, stops)
            earlier = [v for v in self.saved if v < output or output not in self.saved]
            graph = cut(backward, [v + 1 for v in earlier])
            carries = (*self.carries, True, *(self.graph.type_of(v).dtype in INEXACT for v in earlier))
            found = self._derivatives[output, stops] = Route(graph, carries, self.compiling, numbers=self._numbers)
        return found

    def saved_before(self, output: int) -> tuple[int, ...]:
        """Positions, among the saved values, of those that the derivative of `output` takes."""
        return tuple(k for k, v in enumerate(self.saved) if v < output or output not in self.saved)

    def _backward(self, output: int, stops: tuple[int, ...] = ()) -> Graph:
        found = differentiate(with_outputs(self.graph, (output,)), (*self._wrt, *stops), stops)
        return late(found, len(self.graph.nodes), [r.moved(1) for r in self.regions]) if self.regions else found

    def _executable(self, saving: bool) -> Executable | None:
        if saving not in self._executables:
            whole = self._whole
            known = None if whole is None else whole._executables.get(saving)
            try:
                if known is not None and known.resized is not None:
                    self._executables[saving] = known.resized(self._numbers)
                    return self._executables[saving]
                graph = self.saving_graph() if saving else self.graph
                found = self._executables[saving] = self.compiling.executable(graph, numbers=self._numbers or None)
                self.compiling.stats.compile_seconds += found.compile_seconds
                if whole is not None:
                    whole._executables[saving] = found          # at some numbers
            except (CannotLower, CompileError):
                self._executables[saving] = None
        return self._executables[saving]

    def _through_dispatch(self, operands: Sequence[Tensor]) -> tuple[Tensor, ...]:
        values = list(operands)
        for node in self.graph.nodes:
            attrs = {name: tuple(evaluate(size, self._numbers) for size in value) if isinstance(value, tuple) else value
                     for name, value in node.attrs}
            values.append(dispatch(node.op, *(values[a] for a in node.args), **attrs))
        return tuple(values[v] for v in self.graph.outputs)


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
