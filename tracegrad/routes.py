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

from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import copy
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from codegen import CannotLower, CompileError, Executable
from codegen.ir.dims import evaluate
from codegen.ir.graph import Graph
from codegen.ir.types import DTYPES, INEXACT, TensorType
from tracegrad.autodiff import differentiate, rules_of
from tracegrad.compiling import Compiling
from tracegrad.devices import empty
from tracegrad.dispatch import GRAD, Node, dispatch
from tracegrad.function_nodes import FunctionNode
from tracegrad.made import outputs_of
from tracegrad.recomputation import Region, bytes_at, choose_saved, late, saved_within
from tracegrad.recorder import ACTIVE
from tracegrad.route_calls import Kept, RouteCall, RouteNode, kept_tensor, way_of
from tracegrad.route_graphs import Ways, cut, inputs_read, meetings, saves, with_outputs
from tracegrad.tensors import Tensor

if TYPE_CHECKING:
    from tracegrad.called import CallAgain


class Route:
    """`graph` as a function of Tensors. `carries`: which inputs derivatives are taken for.

    `freed`: values whose history was used up while the graph was recorded; `regions`: what derivatives compute again;
    `numbers`: those of its symbols for which it is decided what is saved;
    `calls`: those of custom functions, whose results come from nowhere in the graph.
    """

    def __init__(self, graph: Graph, carries: tuple[bool, ...], compiling: Compiling,
                 freed: frozenset[int] = frozenset(), regions: tuple[Region, ...] = (),
                 numbers: Mapping[str, int] | None = None, calls: tuple[CallAgain, ...] = ()):
        self.graph, self.carries, self.compiling, self.freed, self.regions = graph, carries, compiling, freed, regions
        self.calls = calls
        self._called = frozenset(v for call in calls for v in call.values.outputs if v is not None)
        self._wrt = tuple(k for k, c in enumerate(carries) if c)
        self._whole: Route | None = None
        self._numbers: Mapping[str, int] = numbers or {}
        self._executables: dict[bool, Executable | None] = {}
        self._derivatives: dict[tuple[int, tuple[int, ...]], Route] = {}
        self._sources: dict[tuple[int, tuple[int, ...]], tuple[int, ...]] = {}
        self._follows: dict[tuple[int, tuple[int, ...]], frozenset[int]] = {}
        self._saving: dict[tuple[int, tuple[int, ...], tuple[int, ...]], frozenset[int]] = {}
        self._spent: dict[frozenset[int], bool] = {}
        self._below: dict[int, tuple[int, ...]] = {}
        self._before: dict[tuple[int, tuple[int, ...]], tuple[int, ...]] = {}

    def at(self, numbers: Mapping[str, int]) -> Route:
        """The route that this one, whose graph has symbols, is at these numbers: what is known of one is, of the other.
        """
        self.saved, self._ways.saving            # noqa: B018 - found out once
        route, whole = copy(self), self._whole or self
        route.calls = tuple([call.at(numbers) for call in whole.calls])
        route._whole, route._numbers, route._executables, route._derivatives = whole, numbers, {}, {}
        return route

    @cached_property
    def saved(self) -> tuple[int, ...]:
        """The values kept for backward, by id in the graph."""
        budget = self.compiling.memory_budget
        if budget is None or self.calls:            # what was called cannot be computed again
            return self.worth_saving
        return saved_within(self.graph, self.worth_saving, budget, self._numbers)

    @cached_property
    def worth_saving(self) -> tuple[int, ...]:
        """Those that would be kept if there was room for all."""
        if not self.keeps:
            return ()
        found = {v for call in self.calls for v in call.kept if v >= len(self.graph.inputs)}
        regions = (*self.regions, Region(frozenset(), self._called))            # what was called is not done again
        for value in self._begins:
            if self.graph.type_of(value).dtype in INEXACT:
                found.update(choose_saved(self.graph, self._backward(value, self.below(value)), 1, regions))
        return tuple(sorted(found))

    @cached_property
    def stops(self) -> tuple[int, ...]:
        """The values where ways end, and others begin, in every call: see meetings."""
        return meetings(self.graph, [call.values for call in self.calls], self._ways.carrying)

    @cached_property
    def _begins(self) -> frozenset[int]:
        """The values that ways begin at which derivatives lead."""
        return frozenset((*self.graph.outputs, *self.stops)) - self._called

    def below(self, value: int) -> tuple[int, ...]:
        """Those of `stops` at which ways from this value end."""
        found = self._below.get(value)
        if found is None:
            earlier = tuple([v for v in self.stops if v < value])
            reached = self.followed(value, earlier)
            found = self._below[value] = tuple([v for v in earlier if v in reached])
        return found

    @cached_property
    def place_of_saved(self) -> dict[int, int]:
        """Where among the saved values each is."""
        return {v: k for k, v in enumerate(self.saved)}

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
        """Is that as little as it can be? At other numbers than those it was decided for it may not be."""
        budget = self.compiling.memory_budget
        return budget is None or bool(self.calls) or self.saved_bytes <= budget

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
        made = outputs_of(executable, [t.array for t in operands], self.compiling.device)
        results = tuple(map(Tensor, made[:len(self.graph.outputs)]))
        if differentiated:
            self.attach(self.keep(operands), made[len(results):], results)
        return results

    def keep(self, operands: Sequence[Tensor]) -> Kept:
        """The inputs of a call about to run, for its backward."""
        edges = tuple(way_of(t) if c else None for t, c in zip(operands, self.carries))
        return edges, tuple(map(kept_tensor, operands)) if self.keeps else None

    def attach(self, kept: Kept, saved: Sequence[np.ndarray], results: Sequence[Tensor]) -> list[FunctionNode]:
        """Give the `results` of a call that derivatives lead through their history. Custom functions are called again
        in it: what they left for backward is to be put there.
        """
        call = RouteCall(self, *kept, tuple(saved))
        nodes: dict[int, Node] = {}
        functions = call.begin(nodes) if self.calls else []
        if functions and self.spent(self.freed):
            call.inputs = call.saved = None
        for output, t in zip(self.graph.outputs, results):
            node = nodes.get(output) or RouteNode(call, output, nodes)
            if any(e is not None for e in node.edges):
                t.requires_grad, t.grad_fn = True, node
        return functions

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

    @property
    def keeps(self) -> bool:
        """Does a call keep its inputs, and the values `saved`? Custom functions may have saved them."""
        return bool(self.calls) or not self.spent(self.freed)

    def spent(self, freed: frozenset[int]) -> bool:
        """Is there, after these were freed, no output that a backward can lead from to any input?

        If functions are called, ways on which nothing is saved do not count: they are gone without what was kept.
        """
        found = self._spent.get(freed)
        if found is None:
            found = self._spent[freed] = all(
                self._is_passed(value, freed) or all(
                    saving & freed or self.calls and not saving
                    for saving in self._saving_from(value, self.below(value)))
                for value in (self._begins if self.calls else self.graph.outputs))
        return found

    def _saving_from(self, value: int, stops: tuple[int, ...]) -> Iterator[frozenset[int]]:
        """What is saved on ways from this value, for each that they lead to."""
        return (self.saving(value, (k,), stops) for k in (*self.sources(value, stops), *stops))

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
        given = (v for call in self.calls for v in call.values.arguments if v is not None)
        return self._ways_of((*self.graph.outputs, *given))

    def _ways_of(self, ends: Sequence[int]) -> Ways:
        """Ways from these values, to inputs and to what calls gave."""
        return Ways(self.graph, (*self._wrt, *self._called), ends)

    def _ways_from(self, output: int) -> Ways:
        """Ways on which `output` is, which may be a saved value that no output is differentiated by."""
        return self._ways if output in self._ways.values else self._ways_of((output,))

    def derivative(self, output: int, stops: tuple[int, ...] = ()) -> Route:
        """(inputs, cotangent, saved values) -> gradients, for the output or saved value with this id.

        The gradients are those of its `sources`, and of the values `stops`, from which no path leads on.
        """
        found = self._derivatives.get((output, stops))
        if found is None and self._whole is not None:
            found = self._derivatives[output, stops] = self._whole.derivative(output, stops).at(self._numbers)
        if found is None:
            backward = self._backward(output, stops)
            places = [k for k, v in enumerate(self.saved)
                      if v < output or output not in self.saved or self.calls and v == output]
            if self.calls:                  # of many ways, each reads a few of the values
                read = inputs_read(cut(backward, [self.saved[k] + 1 for k in places]))
                places = [k for j, k in enumerate(places, len(backward.inputs)) if j in read]
            self._before[output, stops] = tuple(places)
            earlier = [self.saved[k] for k in places]
            graph = cut(backward, [v + 1 for v in earlier])
            carries = (*self.carries, True, *(self.graph.type_of(v).dtype in INEXACT for v in earlier))
            found = self._derivatives[output, stops] = Route(graph, carries, self.compiling, numbers=self._numbers)
        return found

    def saved_before(self, output: int, stops: tuple[int, ...]) -> tuple[int, ...]:
        """Positions, among the saved values, of those that this derivative takes."""
        if (output, stops) not in self._before:
            self.derivative(output, stops)
        return self._before[output, stops]

    def unread(self, output: int, stops: tuple[int, ...], g: Tensor) -> list[Tensor]:
        """What a derivative takes that reads nothing but the cotangent."""
        types = (*self.graph.inputs, *(self.saved_types[k] for k in self.saved_before(output, stops)))
        values = [Tensor(empty(tuple([evaluate(size, self._numbers) for size in type.shape]), DTYPES[type.dtype],
                               self.compiling.device)) for type in types]
        return [*values[:len(self.graph.inputs)], g, *values[len(self.graph.inputs):]]

    def _backward(self, output: int, stops: tuple[int, ...] = ()) -> Graph:
        wrt = *self.sources(output, stops), *stops
        found = differentiate(with_outputs(self.graph, (output,)), wrt, stops)
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
