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
from typing import TYPE_CHECKING, Any

import numpy as np

from codegen import Built, EntryProgram, Register, slot_offset
from codegen.ir.types import DTYPES
from tracegrad.entry import own_memory
from tracegrad.made import Made
from tracegrad.native_guards import C_CONTIGUOUS, TENSOR_SLOTS, NativeGuards, NotNative
from tracegrad.replay_code import needs_arguments, write_before, write_finish
from tracegrad.results import TensorAt, TupleOf
from tracegrad.tensors import Tensor

if TYPE_CHECKING:
    from tracegrad.replay import Root, Trace

WRITEABLE = 0x400


def native_replay(root: Root) -> Built | None:
    """The program of a root; None where a run needs Python, or a guard reads an argument as no instruction can."""
    if root.executable.entry is None:
        return None
    try:
        return _Writer(root).built()
    except NotNative:
        return None


class _Writer:
    """The program of one root, while it is written."""

    def __init__(self, root: Root):
        self.root = root
        guards = root.guards
        positional, names = guards.arguments
        self.guards = NativeGuards(guards, positional, names)
        self.program: EntryProgram = self.guards.program
        self.leaves = [self.guards.register(leaf) for leaf in guards.leaves]
        self.grads: dict[int, Register] = {}

    def built(self) -> Built:
        assert self.root.executable.entry is not None
        self._check_grads()
        self._check_written()
        arrays = self._take_inputs()
        kept = self.program.constant(None)
        if self.root.carries or self.root.written:
            (kept,) = self.program.call(write_before(self.root), [*self.leaves, *arrays])
        for slot, take in enumerate(self.root.outputs, len(arrays)):
            arrays.append(self._allocate(slot, take))
        driven = self.program.drive(self.root.executable.entry, len(self.root.traces))
        depth = self.program.depth
        for end, (trace, places) in enumerate(zip(self.root.traces, self.root.places)):
            self.program.end(driven, end, depth)
            self._finish(trace, places, arrays, kept)
        return self.program.built(self.root, self.root.executable.entry)

    # ---- before the run ---------------------------------------------------------------------------------------------

    def _grad(self, leaf: int) -> Register:
        if leaf not in self.grads:
            self.grads[leaf] = self.program.find("slot", self.leaves[leaf], TENSOR_SLOTS["_grad"])
        return self.grads[leaf]

    def _array_of(self, tensor: Register) -> Register:
        array = self.program.find("slot", tensor, TENSOR_SLOTS["array"])
        self.program.test("type", array, self.program.constant(np.ndarray))
        return array

    def _check_grads(self) -> None:
        """The grads that are read are as they were."""
        present = []
        for expected in self.root.grads_expected:
            grad = self._grad(expected.leaf)
            if expected.type is None:
                self.program.test("is", grad, self.program.constant(None))
            else:
                check = partial(_is_met, expected)
                self.program.call(check, [grad], 0)
                present.append(grad)
        if present and self.root.written:
            self.program.call(partial(_own_memory, len(self.leaves)), [*self.leaves, *present], 0)

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

    def _take_number(self, source: Any, slot: int) -> Register:
        positional, names = self.root.guards.arguments
        place = source.number if isinstance(source.number, int) else positional + names.index(source.number)
        given = self.program.arguments[place]
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

    # ---- after it ---------------------------------------------------------------------------------------------------

    def _finish(self, trace: Trace, places: tuple[int, ...], arrays: list[Register], kept: Register) -> None:
        if _is_plain(trace):
            self.program.test("count", self.program.constant(trace), slot_offset(type(trace), "replays") or 0)
            tensors = [self.leaves[k] for k in trace.leaves]
            tensors += [self.program.find("make", arrays[place], self.program.constant(made.requires_grad))
                        for made, place in zip(trace.made, places)]
            self.program.test("return", self._rebuilt(trace.rebuild, tensors))
            return
        given = [self._packed(arrays), self._packed(self.leaves), kept]
        given += (self.program.find_all(2, "arguments") if needs_arguments(trace)
                  else [self.program.constant(None)] * 2)
        (result,) = self.program.call(write_finish(trace, places), given)
        self.program.test("return", result)

    def _packed(self, objects: Sequence[Register]) -> Register:
        return self.program.find("pack", len(objects), *objects)

    def _rebuilt(self, rebuild: Any, tensors: list[Register]) -> Register:
        if type(rebuild) is TensorAt:
            return tensors[rebuild.place]
        return self._packed([self._rebuilt(part, tensors) for part in rebuild.parts])


def _is_plain(trace: Trace) -> bool:
    """Does a call make nothing but Tensors around what the run gave, and leave nothing else behind?"""
    plain = all(isinstance(made, Made) and made.strides is None and made.writeable for made in trace.makes)
    return plain and _is_native(trace.rebuild) and not (
        trace.route or trace.grad_effects or trace.slot_effects or trace.callbacks)


def _is_native(rebuild: Any) -> bool:
    return type(rebuild) is TensorAt or type(rebuild) is TupleOf and all(map(_is_native, rebuild.parts))


def _is_met(expected: Any, grad: Tensor | None) -> tuple[()] | None:
    return () if expected.is_met(grad) else None


def _own_memory(leaves: int, *tensors: Tensor) -> tuple[()] | None:
    return () if own_memory(tensors[:leaves], tensors[leaves:]) else None
