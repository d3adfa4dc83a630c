"""The place of a custom function in differentiation: one Node for each call, its outputs before it.

    y, z = Split.apply(x)       y ── OutputNode 0 ──┐
                                                    ├── FunctionNode ── x        Split.backward(ctx, g_y, g_z)
                                z ── OutputNode 1 ──┘

1. `backward` is called once for each walk, with the cotangents of all outputs. A function with one output that is
   differentiated has no OutputNode.
2. What a call saved is kept as operations keep theirs: written to later, it stays what it was. Read again it has the
   history that it had, so `backward` is differentiable in what was saved.
"""
from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, Protocol

from tracegrad.autodiff import edge_of
from tracegrad.creation import zeros
from tracegrad.dispatch import GRAD, Like, LinedNode, Node
from tracegrad.dtypes import INEXACT
from tracegrad.functional import detach
from tracegrad.hooks import Handle
from tracegrad.mutation import write
from tracegrad.packing import Packed, with_history
from tracegrad.recorder import ACTIVE
from tracegrad.source_lines import at_user_line
from tracegrad.tensors import Saved, Tensor

Edge = Node | Tensor | None


class Call(Protocol):
    """One call of a custom function, as its node sees it."""

    name: str

    @property
    def keys(self) -> Sequence[Any]:
        """In a recorded run, what its arguments were, by edge; nothing if that is not known."""

    @property
    def materialize(self) -> bool:
        """Is the cotangent of an output that none arrived at zeros, rather than None?"""

    def gradients(self, node: FunctionNode, cotangents: Sequence[Tensor | None],
                  wanted: tuple[bool, ...]) -> Sequence[Tensor | None]:
        """What the function's backward gives for each argument."""


class Cotangents:
    """Those of some outputs of one call, by position."""

    __slots__ = ("parts",)

    def __init__(self, parts: Mapping[int, Tensor]):
        self.parts = parts

    def __add__(self, other: Cotangents) -> Cotangents:
        parts = dict(self.parts)
        for k, g in other.parts.items():
            parts[k] = parts[k] + g if k in parts else g
        return Cotangents(parts)


class FunctionNode(LinedNode):
    """One call of a custom function: `edges` has one for each argument, `outputs` the types of what it returned."""

    __slots__ = ("call", "outputs", "only", "_saved", "_g")

    runs_python = True

    def __init__(self, call: Call, edges: tuple[Edge, ...], outputs: tuple[Like | None, ...], only: int | None,
                 line: str | None = None):
        super().__init__(call.name, {}, edges, None, None, line=line)
        self.call, self.outputs, self.only = call, outputs, only
        self._saved: list[tuple[Saved | Packed, Edge | int] | None] | None = []
        self._g: Tensor | None = None               # a cotangent that arrived, while backward runs

    def save(self, tensors: Sequence[Tensor | None], results: Sequence[Any]) -> None:
        """Keep what the call saved; of its results, which place they have: no node keeps itself alive."""
        place, recorder = {id(y): k for k, y in enumerate(results)}, ACTIVE.get()
        self._saved = []
        for t in tensors:
            if t is None:
                self._saved.append(None)
                continue
            saved = t.save() if GRAD.packing is None else GRAD.packing.save(t)
            edge = None if not t.requires_grad else place[id(t)] if id(t) in place else edge_of(t)
            self._saved.append((saved, edge))
            if recorder is not None and isinstance(saved, Saved):
                recorder.record_saved(t, saved)

    def saved(self) -> tuple[Tensor | None, ...]:
        """What the call saved, with the history it had. RuntimeError if a backward gave it up."""
        if self._saved is None:
            raise RuntimeError(at_user_line(
                f"{self.op}: backward through a graph that was freed: pass retain_graph=True to the first backward"))
        return tuple(None if kept is None else self._restored(kept[0], self._edge(kept[1])) for kept in self._saved)

    def _restored(self, saved: Saved | Packed, edge: Edge) -> Tensor:
        return self._unpack(saved, edge) if isinstance(saved, Saved) else with_history(saved.unpacked(self._g), edge)

    def _edge(self, kept: Edge | int) -> Edge:
        if not isinstance(kept, int):
            return kept
        return self if self.only is not None else OutputNode(self, kept)

    @property
    def output_of(self) -> tuple[FunctionNode, int | None]:
        """The call of which this is an output, and which."""
        return self, self.only

    def saves(self) -> list[tuple[Saved | None, Edge | int] | None] | None:
        """What the call saved, each with where its gradient goes; instead of what is kept in another form, None."""
        return None if self._saved is None else [
            None if kept is None else (kept[0] if isinstance(kept[0], Saved) else None, kept[1])
            for kept in self._saved]

    def save_again(self, saved: Sequence[tuple[Saved, Edge | int] | None] | None) -> None:
        """Keep what the call saved in an earlier run."""
        self._saved = None if saved is None else list(saved)

    def kept(self) -> Iterator[Any]:
        """See Node.kept."""
        yield from (kept[0] for kept in self._saved or () if kept is not None)

    @property
    def freed(self) -> bool:
        """See Node.freed."""
        return self._saved is None

    def free(self) -> Any:
        """See Node.free."""
        held = self._saved
        if held:
            self._saved = None
        return held

    def arrived(self, g: Any) -> tuple[Tensor | None, ...]:
        """See Node.arrived: one for each output."""
        parts = g.parts if type(g) is Cotangents else {self.only: g}
        return tuple(parts.get(k) for k in range(len(self.outputs)))

    def arriving(self, gradients: tuple[Tensor | None, ...]) -> Any:
        """See Node.arriving."""
        if self.only is not None:
            return gradients[self.only]
        return Cotangents({k: g for k, g in enumerate(gradients) if g is not None})

    def pull(self, g: Any, needed: set[int] | None) -> Iterator[tuple[int, Tensor]]:
        """See Node.pull."""
        wanted = tuple(e is not None and (needed is None or id(e) in needed) for e in self.edges)
        if not any(wanted):
            return
        cotangents: list[Tensor | None] = []
        for there, like in zip(self.arrived(g), self.outputs):
            if there is None and like is not None and self.call.materialize:
                there = zeros(like.shape, dtype=like.dtype, device=like.device)
            cotangents.append(there)
        self._g = next((there for there in self.arrived(g) if there is not None), None)
        try:
            gradients = self.call.gradients(self, cotangents, wanted)
        finally:
            self._g = None
        for edge, is_wanted, gradient in zip(self.edges, wanted, gradients):
            if is_wanted and gradient is not None:
                yield id(edge), gradient


class OutputNode(Node):
    """One output of several of a call."""

    __slots__ = ("position",)

    def __init__(self, of: FunctionNode, position: int):
        super().__init__(of.op, {}, (of,), (), None)
        self.position = position

    @property
    def output_of(self) -> tuple[Any, int]:
        """The call of which this is an output, and which."""
        return self.edges[0], self.position

    @property
    def next_functions(self) -> tuple:
        """See Node.next_functions: those of the call."""
        assert isinstance(self.edges[0], Node)
        return self.edges[0].next_functions

    def register_prehook(self, hook: Callable[[tuple], Any]) -> Handle:
        """See Node.register_prehook: of the call, whose results these are."""
        assert isinstance(self.edges[0], Node)
        return self.edges[0].register_prehook(hook)

    def register_hook(self, hook: Callable[[tuple, tuple], Any]) -> Handle:
        """See Node.register_hook: of the call, whose operands these are."""
        assert isinstance(self.edges[0], Node)
        return self.edges[0].register_hook(hook)

    def as_next(self) -> tuple[Node, int]:
        """See Node.as_next."""
        assert isinstance(self.edges[0], Node)
        return self.edges[0], self.position

    def pull(self, g: Tensor, needed: set[int] | None) -> Iterator[tuple[int, Any]]:
        """See Node.pull."""
        node = self.edges[0]
        if needed is None or id(node) in needed:
            yield id(node), Cotangents({self.position: g})


def attach(call: Call, edges: tuple[Edge, ...], results: Sequence[Any], to_save: Sequence[Tensor | None],
           constant: Collection[int], dirty: Collection[int] = ()) -> None:
    """Give the results of a call their history, but for those whose ids are `constant`.

    `dirty`: places of results that are arguments, changed in place; what shares their memory gets its history, too.
    RuntimeError for one that is a leaf, or a view of a leaf, that requires grad.
    """
    carrying = [k for k, y in enumerate(results)
                if isinstance(y, Tensor) and y.dtype in INEXACT and id(y) not in constant]
    for k in carrying:
        if results[k].is_leaf and results[k].requires_grad:
            raise RuntimeError(at_user_line(
                f"{call.name}: a leaf that requires grad was changed in place; change a clone() of it"))
    if not carrying:
        return
    outputs = tuple(Like(y.shape, y.dtype, device=y.device) if isinstance(y, Tensor) else None for y in results)
    node = FunctionNode(call, edges, outputs, carrying[0] if len(carrying) == 1 else None)
    given = {k: detach(results[k]) if k in dirty else results[k] for k in carrying}
    for k, y in given.items():
        y.requires_grad = True
        y.grad_fn = node if len(carrying) == 1 else OutputNode(node, k)
    recorder = ACTIVE.get()
    if recorder is not None:
        recorder.record_function(node, list(given.values()))
    for k in given:
        if k in dirty:
            write(results[k], given[k])
    node.save(to_save, results)
