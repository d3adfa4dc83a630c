"""Differentiation: one reverse walk, for graphs and for what ran eagerly.

    graph f(%0, %1) { %2 = mul %0, %1   return %2 }
    differentiate(f, wrt=(0,))  ->  graph f.backward(%0, %1, %2) { %3 = mul %0, %1   %4 = mul %2, %1   return %4 }

1. `reverse_walk` visits steps so that each comes after every step that uses its result, adds up cotangents, and
   hands each step the whole cotangent of its result.
2. In a graph a step is a node, and the rules write nodes; in an eager run it is a Node, and the rules compute.
3. A graph's derivative is a graph again, an eager backward with create_graph has a history: every order exists.
"""
from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from operator import attrgetter
from typing import Protocol, TypeVar

from codegen.ir.builder import Builder, Value
from codegen.ir.graph import Graph
from codegen.ir.graph import Node as GraphNode
from codegen.ir.types import INEXACT, type_of
from tracegrad.aborts import Abort
from tracegrad.creation import ones_like
from tracegrad.derivatives import NON_DIFFERENTIABLE, VJPS, broadcast, unbroadcast
from tracegrad.dispatch import GRAD, Node
from tracegrad.dtypes import COMPLEX_NUMBERS, FLOATING
from tracegrad.functional import clone, convert
from tracegrad.hooks import AFTER, fitting, hooked_steps
from tracegrad.outside import pause, resume
from tracegrad.recorder import ACTIVE
from tracegrad.source_lines import at_user_line, user_line
from tracegrad.tensors import Tensor
from tracegrad.writes import write

C = TypeVar("C")


class Step(Protocol[C]):
    """One operation, seen backward."""

    def pull(self, g: C, needed: set[int] | None) -> Iterable[tuple[int, C]]:
        """(key of an operand, its cotangent) for each operand there is a path to."""


def reverse_walk(steps: Iterable[tuple[int, Step[C]]], cotangents: dict[int, C], needed: set[int] | None,
                 arrived: Callable[[int, C], C]) -> None:
    """Carry cotangents, by key, through steps (key of the result, step); what no step makes stays in `cotangents`."""
    for key, step in steps:
        g = cotangents.pop(key, None)
        if g is None:
            continue
        for to, cotangent in step.pull(arrived(key, g), needed):
            before = cotangents.get(to)
            cotangents[to] = cotangent if before is None else before + cotangent    # type: ignore[operator]


# ---- graphs -----------------------------------------------------------------------------------------------------


class GraphStep:
    """A node of a graph, with the values it is built from."""

    __slots__ = ("node", "values", "result", "builder")

    def __init__(self, node: GraphNode, values: dict[int, Value], result: Value, builder: Builder):
        self.node, self.values, self.result, self.builder = node, values, result, builder

    def pull(self, g: Value, needed: set[int] | None) -> Iterator[tuple[int, Value]]:
        node = self.node
        self.builder.line = node.line
        operands = [self.values[a] for a in node.args]
        for a, x, rule in zip(node.args, operands, rules_of(node)):
            if rule is not None and (needed is None or a in needed):
                yield a, unbroadcast(rule(g, self.result, *operands, **dict(node.attrs)), x.shape)


def rules_of(node: GraphNode) -> tuple:
    """The vjp rules of a node's op; NotImplementedError if it has none and is not declared to have none."""
    rules = VJPS.get(node.op)
    if rules is None:
        if node.op not in NON_DIFFERENTIABLE:
            where = f"{node.line}: " if node.line else ""
            raise NotImplementedError(f"{where}{node.op} has no derivative: derivatives.py has no row for it")
        return (None,) * len(node.args)
    return rules


def carrying(graph: Graph, wrt: Iterable[int]) -> set[int]:
    """The values that depend on `wrt` by a path that can be differentiated, `wrt` included."""
    found = set(wrt)
    for value, node in enumerate(graph.nodes, len(graph.inputs)):
        if node.type.dtype in INEXACT:
            if any(a in found and rule is not None for a, rule in zip(node.args, rules_of(node))):
                found.add(value)
    return found


def differentiate(graph: Graph, wrt: Sequence[int], stops: Collection[int] = ()) -> Graph:
    """The vjp of a graph: from its inputs and a cotangent for each inexact output to one for each of `wrt`.

    `wrt` are value ids. A value there is no path to gets zeros. No path leads on from the values `stops`. The graph's
    own nodes come first, in order.
    """
    b = Builder(f"{graph.name}.backward")
    values: dict[int, Value] = {k: b.input(type) for k, type in enumerate(graph.inputs)}
    outputs = [v for v in graph.outputs if graph.type_of(v).dtype in INEXACT]
    seeds = [(v, b.input(graph.type_of(v))) for v in outputs]
    for value, node in enumerate(graph.nodes, len(graph.inputs)):
        b.line = node.line
        values[value] = b.emit(node.op, *(values[a] for a in node.args), **dict(node.attrs))
    needed = carrying(graph, wrt)
    b.line = None
    cotangents: dict[int, Value] = {}
    for v, seed in seeds:
        if v in needed:
            cotangents[v] = cotangents[v] + seed if v in cotangents else seed
    arrivals: dict[int, Value] = {}

    def arrived(key: int, g: Value) -> Value:
        arrivals[key] = g
        return g

    first = len(graph.inputs)
    steps = ((first + j, GraphStep(graph.nodes[j], values, values[first + j], b))
             for j in reversed(range(len(graph.nodes))) if first + j not in stops)
    reverse_walk(steps, cotangents, needed, arrived)
    b.line = None
    arrivals.update(cotangents)
    return b.graph([arrivals[v] if v in arrivals else zeros(b, values[v]) for v in wrt])


def zeros(b: Builder, like: Value) -> Value:
    return broadcast(b.constant(0, like.dtype), like.shape)


# ---- what ran eagerly -------------------------------------------------------------------------------------------


def edge_of(x: Tensor) -> Node | Tensor:
    """Where the cotangent of x goes: its Node, or x itself if it is a leaf."""
    return x if x.grad_fn is None else x.grad_fn


def history(roots: Iterable[Node | Tensor]) -> list[Node]:
    """Every Node that the roots were computed by, latest first."""
    found: dict[int, Node] = {}
    waiting = [r for r in roots if not isinstance(r, Tensor)]
    while waiting:
        node = waiting.pop()
        if id(node) not in found:
            node.settle()
            found[id(node)] = node
            for e in node.edges:
                if e is not None and not isinstance(e, Tensor):
                    waiting.append(e)
    return sorted(found.values(), key=attrgetter("sequence"), reverse=True)


def leading_to(nodes: list[Node], targets: set[int]) -> set[int]:
    """The targets, and the ids of the Nodes (latest first) from which a path leads to one."""
    found = set(targets)
    for node in reversed(nodes):
        for e in node.edges:
            if e is not None and id(e) in found:
                found.add(id(node))
                break
    return found


def seed_of(output: Tensor, gradient: Tensor | None) -> Tensor:
    """The cotangent that backward starts from at `output`."""
    if not output.requires_grad:
        raise RuntimeError(at_user_line(
            "backward: the tensor does not require grad and has no grad_fn: compute it from one that requires grad, "
            "with gradients enabled"))
    if gradient is None:
        if output.size != 1:
            raise RuntimeError(at_user_line(f"backward: the tensor has shape {list(output.shape)}: with "
                                            f"{'more than' if output.size else 'less than'} one element, pass a "
                                            "gradient, or sum it"))
        if output.dtype in COMPLEX_NUMBERS:
            raise RuntimeError(at_user_line(
                f"backward: the tensor is {output.dtype}: only a real loss goes without a gradient"))
        return ones_like(output)
    if not isinstance(gradient, Tensor):
        raise TypeError(at_user_line(f"backward: the gradient is a {type(gradient).__name__}, not a Tensor"))
    if gradient.shape != output.shape:
        raise RuntimeError(at_user_line(f"backward: the gradient has shape {list(gradient.shape)}, the tensor "
                                        f"{list(output.shape)}: pass one of the tensor's shape"))
    if gradient.dtype in COMPLEX_NUMBERS and output.dtype not in COMPLEX_NUMBERS:
        raise RuntimeError(at_user_line(f"backward: the gradient is {gradient.dtype}, the tensor {output.dtype}: "
                                        "pass its real part"))
    return convert(gradient, output.dtype)


def pull_back(seeds: Sequence[tuple[Tensor, Tensor]], targets: Sequence[Tensor] | None, create_graph: bool,
              retain_graph: bool, forward: bool = False) -> list[Tensor | None]:
    """Walk back from (output, cotangent) pairs: to the targets' cotangents, or without them into the grad of leaves.

    forward: nobody looks at the cotangents, but at how they depend on those that it begins with (see func).
    """
    edges = [edge_of(output) for output, _ in seeds]
    for t in targets or ():
        if t.grad_fn is not None:
            t.grad_fn.watch()
    recorder = ACTIVE.get()
    watch = None if recorder is None else pause(())
    try:
        nodes = history(edges)
        by_id = {id(node): node for node in nodes}
        leaves: dict[int, Tensor] = {id(e): e for e in edges if isinstance(e, Tensor)}
        leaves.update((id(e), e) for node in nodes for e in node.edges if isinstance(e, Tensor))
        wanted = None if targets is None else {id(edge_of(t)) for t in targets}
        needed = None if wanted is None else leading_to(nodes, wanted)
        inside = set() if recorder is None else recorder.nodes()
        watched = bool(AFTER) or any(node.runs_python or node.hooks or node.retained for node in nodes) or any(
            leaf.hooks for leaf in leaves.values())
    finally:
        resume(watch)
    given_out: set[int] = {id(g) for _, g in seeds}         # ids of cotangents that something else holds too
    captured: dict[int, Tensor] = {}
    walked: list[Node] = []

    def arrived(key: int, g: Tensor) -> Tensor:
        node = by_id[key]
        if recorder is not None and key not in inside:          # no guard tells what it computes, or its hooks
            recorder.abort(Abort.HOOK if node.hooks else Abort.UNKNOWN_TENSOR,
                           f"{node.op}, which a backward in the run goes through and the run did not do")
        if recorder is not None and AFTER.get(node):
            recorder.abort(Abort.HOOK, f"{node.op} has a hook that is called after it")
        g = hooked(node.hooks, g, given_out)
        if needed is None or not needed.isdisjoint(map(id, node.edges)):
            walked.append(node)
        retained = None if node.retained is None else node.retained()
        if retained is not None:
            accumulate(retained, g, create_graph, given_out)
        if wanted is not None and key in wanted:
            captured[key] = clone(g) if retained is not None else g
        return g

    watch = None
    if recorder is not None and not watched:
        watch, recorder.line = pause(leaves.values()), user_line()
    before = GRAD.enabled, GRAD.forward, GRAD.casting
    GRAD.enabled, GRAD.forward, GRAD.casting = create_graph, forward, None
    try:
        cotangents: dict[int, Tensor] = {}
        for edge, (_, g) in zip(edges, seeds):
            if needed is None or id(edge) in needed:
                cotangents[id(edge)] = cotangents[id(edge)] + g if id(edge) in cotangents else g
        steps = nodes if GRAD.anomaly is None else GRAD.anomaly.steps(nodes)
        if AFTER:
            steps = hooked_steps(nodes, steps)
        reverse_walk(((id(node), step) for node, step in zip(nodes, steps)), cotangents, needed, arrived)
        for key, g in cotangents.items():
            leaf = leaves[key]
            if leaf.dtype not in FLOATING and leaf.dtype not in COMPLEX_NUMBERS:
                raise RuntimeError(at_user_line(f"backward: requires_grad was set on {type_of(leaf)}, which is neither "
                                                "floating-point nor complex: it has no derivative; cast it"))
            g = hooked(leaf.hooks, g, given_out)
            if wanted is None:
                accumulate(leaf, g, create_graph, given_out)
            else:
                captured[key] = g
        given_up = [] if retain_graph else [node.free() for node in walked]
    finally:
        GRAD.enabled, GRAD.forward, GRAD.casting = before
        if recorder is not None:
            recorder.line = None
        resume(watch)
    del given_up                        # not before: finalizers are the user's
    return [] if targets is None else [captured.get(id(edge_of(t))) for t in targets]


def hooked(hooks: list[Callable[[Tensor], Tensor | None]] | None, g: Tensor, given_out: set[int]) -> Tensor:
    """g as the hooks leave it: those that are there when it arrives."""
    if not hooks:
        return g
    for hook in tuple(hooks):
        given_out.add(id(g))
        changed = hook(g)
        if changed is not None:
            g = fitting(changed, g, "a tensor") if isinstance(g, Tensor) else changed
            given_out.add(id(g))
    return g


def accumulate(x: Tensor, g: Tensor, create_graph: bool, given_out: set[int]) -> None:
    """Add g to the grad of x: in the grad's own memory where it exists, unless a graph of it is being made."""
    grad = x.grad
    if grad is None:
        if id(g) in given_out or g.storage is not None or not create_graph and g.requires_grad:
            g = clone(g)
        given_out.add(id(g))
        x.grad = g
    elif create_graph:
        x.grad = grad + g
    else:
        write(grad, grad + g)


def pull_into(seeds: Sequence[tuple[Tensor, Tensor]], inputs: Sequence[Tensor] | None, create_graph: bool,
              retain_graph: bool | None) -> None:
    """Walk back from (output, cotangent) pairs into the grad of `inputs`, or of every leaf."""
    if inputs is not None and not (inputs and all(x.requires_grad for x in inputs)):
        raise RuntimeError(at_user_line("backward: inputs are tensors that require grad, and at least one: leave them "
                                        "out for every leaf"))
    keep = create_graph if retain_graph is None else retain_graph
    found = pull_back(seeds, inputs, create_graph, keep)
    given_out: set[int] = {id(g) for _, g in seeds}
    for x, g in zip(inputs or (), found):
        if g is not None:
            accumulate(x, g, create_graph, given_out)


def backward(x: Tensor, /, gradient: Tensor | None = None, retain_graph: bool | None = None,
             create_graph: bool = False, *, inputs: Sequence[Tensor] | Tensor | None = None) -> None:
    """Add the derivative of x, times `gradient`, to the `.grad` of every leaf that x was computed from.

    gradient: of the shape of x; may be left out if x has one element. retain_graph: keep the saved values for
    another backward (default: create_graph). create_graph: make the gradients differentiable themselves. inputs: the
    tensors whose `.grad` it is added to, instead of every leaf.

        >>> x = tg.tensor([1.0, 3.0], requires_grad=True)
        >>> (x * x).sum().backward()
        >>> x.grad
        tensor([2., 6.])
    """
    wanted = [inputs] if isinstance(inputs, Tensor) else inputs
    pull_into([(x, seed_of(x, gradient))], wanted, create_graph, retain_graph)
