"""A root as a program for the native entry: its guards, its arrays, its run, and what comes of each of its ends.

    native_replay(root)     ->  what the entry runs, or None where a replay needs Python between guards and result

1. It does what `Root.match` and `Root.replay` do, in their order: nothing that the caller can
   see changes before the run.
2. An end whose results are Tensors around what the run has made, or tuples of them, is native to the last; any other is
   finished by the Python of `replay_code`.
"""
from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from codegen import Built, EntryProgram, Register, slot_offset
from codegen.ir.types import DTYPES, TensorType
from tracegrad.dispatch import next_sequence
from tracegrad.entry import GradExpected, Source, own_memory
from tracegrad.made import Made
from tracegrad.native_guards import NativeGuards
from tracegrad.native_rows import C_CONTIGUOUS, TENSOR_SLOTS, NoProgram, NotNative, offsets_of
from tracegrad.replay_code import needs_arguments, write_finish
from tracegrad.results import ArrayAt, GivenAt, TensorAt, TupleOf
from tracegrad.route_calls import NO_ATTRS, NOTHING, TRACED, RouteCall, RouteNode
from tracegrad.tensors import Tensor

if TYPE_CHECKING:
    from tracegrad.replay import Root, Trace

WRITEABLE = 0x400


def native_replay(root: Root, of_arrays: bool = False) -> Built | None:
    """The program of a root; None where a run needs Python, or a guard reads an argument as no instruction can.

    `of_arrays`: its guards are about Tensors that stand for the arrays of a call.
    """
    if root.executable.entry is None:
        return None
    try:
        return _Writer(root, of_arrays).built()
    except (NotNative, NoProgram):
        return None


class _Writer:
    """The program of one root, while it is written."""

    def __init__(self, root: Root, of_arrays: bool):
        self.root = root
        self.guards = NativeGuards(root.guards, of_arrays)
        self.program: EntryProgram = self.guards.program
        self.made_leaves: dict[int, Register] = {}      # those that stand for arrays, where they were needed
        self.grads: dict[int, Register] = {}
        self.edges: list[Register] = []                 # where gradients of the inputs go
        self.none = self.program.constant(None)
        self.values: list[Register] = []                # what is kept of them

    def built(self) -> Built:
        assert self.root.executable.entry is not None
        self._check_grads()
        self._check_written()
        arrays = self._take_inputs()
        if self.root.carries:
            self._keep()
        for k in self.root.written:
            self._prepare(self.root.sources[k])
        for slot, take in enumerate(self.root.outputs, len(arrays)):
            arrays.append(self._allocate(slot, take))
        driven = self.program.drive(self.root.executable.entry, len(self.root.traces))
        depth = self.program.depth
        for end, (trace, places) in enumerate(zip(self.root.traces, self.root.places)):
            self.program.end(driven, end, depth)
            self._finish(trace, places, arrays)
        return self.program.built(self.root, self.root.executable.entry)

    def leaf(self, k: int) -> Register:
        """Where a leaf is; one that stands for an array is made."""
        leaf = self.root.guards.leaves[k]
        found = self.guards.register(leaf)
        if leaf not in self.guards.adopted:
            return found
        if k not in self.made_leaves:
            self.made_leaves[k] = self.program.find("make", found, self.program.constant(False))
        return self.made_leaves[k]

    @property
    def _leaves(self) -> list[Register]:
        return [self.leaf(k) for k in range(len(self.root.guards.leaves))]

    # ---- before the run ---------------------------------------------------------------------------------------------

    def _grad(self, leaf: int) -> Register:
        if leaf not in self.grads:
            self.grads[leaf] = self.program.find("slot", self.leaf(leaf), TENSOR_SLOTS["_grad"])
        return self.grads[leaf]

    def _array_of(self, tensor: Register) -> Register:
        array = self.program.find("slot", tensor, TENSOR_SLOTS["held"])
        self.program.test("type", array, self.program.constant(np.ndarray))
        return array

    def _check_grads(self) -> None:
        """The grads that are read are as they were."""
        present = []
        for expected in self.root.grads_expected:
            grad = self._grad(expected.leaf)
            if expected.type is None:
                self.program.test("is", grad, self.none)
            else:
                self._check_grad(expected, grad, expected.type)
                present.append(grad)
        if present and self.root.written:
            leaves = self._leaves
            self.program.own_memory([*leaves, *present], partial(_own_memory, len(leaves)))

    def _check_grad(self, expected: GradExpected, grad: Register, type: TensorType) -> None:
        """GradExpected.is_met, of a Tensor and no derived class."""
        k, shape = self.program.constant, cast(tuple[int, ...], type.shape)
        self.program.find(
            "array of", grad, k(Tensor), TENSOR_SLOTS["held"], k(DTYPES[type.dtype]), 0, len(shape), *shape)
        self.program.test("holds", grad, 2, TENSOR_SLOTS["requires_grad"], k(expected.requires_grad),
                          TENSOR_SLOTS["hooks"], self.none)
        history = self.program.find("slot", grad, TENSOR_SLOTS["grad_fn"])
        self.program.test("is not" if expected.has_history else "is", history, self.none)

    def _check_written(self) -> None:
        """What is written in place can be."""
        for k in self.root.written:
            source = self.root.sources[k]
            assert source.leaf is not None
            array = (self._array_of(self._grad(source.leaf)) if source.of_grad
                     else self.guards.array(self.root.guards.leaves[source.leaf]))
            self.program.test("flags", array, WRITEABLE | C_CONTIGUOUS)

    def _take_inputs(self) -> list[Register]:
        arrays = []
        for slot, source in enumerate(self.root.sources):
            if source.leaf is not None:
                array = (self._array_of(self._grad(source.leaf)) if source.of_grad
                         else self.guards.array(self.root.guards.leaves[source.leaf]))
                if source.contiguous:
                    self.program.test("take", array, slot)
                else:
                    array = self.program.find("take in order", array, slot)
            elif source.array is not None:
                self.program.fixed(slot, source.array)
                array = self.program.constant(source.array)
            else:
                array = self._take_number(source, slot)
            arrays.append(array)
        return arrays

    def _take_number(self, source: Source, slot: int) -> Register:
        assert source.number is not None
        given = self._argument(source.number)
        if self.root.carries or source.dtype not in (DTYPES["f64"], DTYPES["i64"]):
            raise NotNative
        self.program.number("take float" if source.dtype == DTYPES["f64"] else "take int", given, slot)
        return self.program.constant(None)

    def _allocate(self, slot: int, take: Any) -> Register:
        """Storage for what the run makes: `take` is what Python calls for it."""
        if isinstance(take, partial):                           # np.empty with shape and dtype
            shape, dtype = take.args
            return self.program.find("allocate", self.program.constant(dtype), slot, len(shape), *shape)
        return self.program.find("ask for", self.program.constant(take), slot)

    def _prepare(self, source: Source) -> None:
        """A Tensor is about to be written to."""
        self.program.test("prepare", self._tensor(source))

    # ---- after it ---------------------------------------------------------------------------------------------------

    def _keep(self) -> None:
        """Keep what a backward needs: where gradients of the inputs go, and their values."""
        for source, carries in zip(self.root.sources, self.root.carries):
            self.edges.append(self._edge(source) if carries else self.program.constant(None))
        if self.root.keeps:
            self.values = [self.program.constant(Tensor(source.array)) if source.array is not None
                           else self.program.find("keep", self._tensor(source)) for source in self.root.sources]

    def _tensor(self, source: Source) -> Register:
        assert source.leaf is not None
        return self._grad(source.leaf) if source.of_grad else self.leaf(source.leaf)

    def _edge(self, source: Source) -> Register:
        """Where the gradient of an input goes, which guards tell."""
        if source.leaf is None:
            return self.program.constant(None)
        if source.of_grad:
            (expected,) = (e for e in self.root.grads_expected if e.leaf == source.leaf)
            requires_grad, has_history = expected.requires_grad, expected.has_history
        else:
            leaf = self.root.guards.leaves[source.leaf]
            requires_grad, has_history = self.guards.requires_grad[leaf], self.guards.has_history[leaf]
        if not requires_grad:
            return self.program.constant(None)
        tensor = self._tensor(source)
        return self.program.find("slot", tensor, TENSOR_SLOTS["grad_fn"]) if has_history else tensor

    def _attach(self, trace: Trace, saved: Sequence[Register], live: Sequence[Register]) -> None:
        """Give what was made its history: what Route.attach makes of it."""
        route, inputs, k = trace.route, trace.path.inputs, self.program.constant
        assert route is not None
        edges = [self.edges[i] for i in inputs]
        of_call = self._packed(edges)
        call = self._new(
            RouteCall, route=k(route), edges=of_call, saved=self._packed(saved), freed=k(route.freed),
            watched=k(NOTHING), first=self.none,
            inputs=self._packed([self.values[i] for i in inputs]) if route.keeps else self.none)
        for output, tensor in zip(route.graph.outputs, live):
            sources = route.sources(output)
            led = [edge if i in sources else self.none for i, edge in enumerate(edges)]
            if all(edge is self.none for edge in led):
                continue
            (sequence,) = self.program.call(next_sequence, [])
            node = self._new(
                RouteNode, op=k(TRACED), attrs=k(NO_ATTRS), edges=of_call if led == edges else self._packed(led),
                operands=self.none, result=self.none, sequence=sequence, hooks=self.none, retained=self.none, call=call,
                output=k(output), _ends=k(()), _stops=k(()), _pulled=k(()))
            for slot, value in (("requires_grad", k(True)), ("grad_fn", node)):
                self.program.test("put", tensor, TENSOR_SLOTS[slot], value)

    def _new(self, cls: type, **slots: Register) -> Register:
        """A new object with these slots."""
        offsets = offsets_of(cls)
        pairs = [word for name, value in slots.items() for word in (offsets[name], value)]
        return self.program.find("new", self.program.constant(cls), len(slots), *pairs)

    def _finish(self, trace: Trace, places: tuple[int, ...], arrays: list[Register]) -> None:
        before = dict(self.made_leaves)
        if _is_plain(trace):
            end = _End(self, trace, [arrays[place] for place in places])
            self.program.test("count", self.program.constant(trace), slot_offset(type(trace), "replays") or 0)
            if trace.route is not None:
                self._attach(trace, [arrays[place] for place in places[len(trace.made):]],
                             [end.tensor(len(trace.leaves) + k) for k, m in enumerate(trace.made) if m.has_history])
            for effect in trace.grad_effects:
                grad = self.program.constant(None) if effect.tensor is None else end.tensor(effect.tensor)
                self.program.test("put", end.tensor(effect.leaf), TENSOR_SLOTS["_grad"], grad)
            result = self._rebuilt(trace.rebuild, end)
        else:
            kept = self.none
            if self.root.carries:
                values = self._packed(self.values) if self.root.keeps else self.none
                kept = self._packed([self._packed(self.edges), values])
            given = [self._packed(arrays), self._packed(self._leaves), kept]
            given += self.program.find_all(2, "arguments") if needs_arguments(trace) else [self.none] * 2
            (result,) = self.program.call(write_finish(trace, places), given)
        self.program.test("return", result)
        self.made_leaves = before                       # another end does not come by here

    def _packed(self, objects: Sequence[Register]) -> Register:
        return self.program.find("pack", len(objects), *objects)

    def _rebuilt(self, rebuild: Any, end: _End) -> Register:
        match rebuild:
            case TensorAt(place):
                return end.tensor(place)
            case ArrayAt(place):
                return end.array(place)
            case GivenAt((argument,)):
                return self._argument(argument)
            case _:
                return self._packed([self._rebuilt(part, end) for part in rebuild.parts])

    def _argument(self, name: int | str) -> Register:
        positional, names = self.root.guards.arguments
        return self.program.arguments[name if isinstance(name, int) else positional + names.index(name)]


class _End:
    """The Tensors of a call at one of its ends, by position: leaves, then what was made, each when it is asked for."""

    def __init__(self, writer: _Writer, trace: Trace, made: list[Register]):
        self._writer, self._trace, self._arrays = writer, trace, made
        self._made: dict[int, Register] = {}

    def tensor(self, place: int) -> Register:
        """Where a Tensor is."""
        k = place - len(self._trace.leaves)
        if k < 0:
            return self._writer.leaf(self._trace.leaves[place])
        if k not in self._made:
            flag = self._writer.program.constant(self._trace.made[k].requires_grad)
            self._made[k] = self._writer.program.find("make", self._arrays[k], flag)
        return self._made[k]

    def array(self, place: int) -> Register:
        """Where its array is."""
        k = place - len(self._trace.leaves)
        leaves = self._writer.root.guards.leaves
        return self._arrays[k] if k >= 0 else self._writer.guards.array(leaves[self._trace.leaves[place]])


def _is_plain(trace: Trace) -> bool:
    """Does a call make nothing but Tensors around what the run gave, and leave nothing else behind?"""
    plain = all(isinstance(made, Made) and made.is_plain for made in trace.makes)
    return plain and _is_native(trace.rebuild) and not (trace.slot_effects or trace.callbacks or trace.calls)


def _is_native(rebuild: Any) -> bool:
    match rebuild:
        case TensorAt() | ArrayAt() | GivenAt((_,)):
            return True
        case TupleOf(parts):
            return all(map(_is_native, parts))
        case _:
            return False


def _own_memory(leaves: int, *tensors: Tensor) -> tuple[()] | None:
    return () if own_memory(tensors[:leaves], tensors[leaves:]) else None
