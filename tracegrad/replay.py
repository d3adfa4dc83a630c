"""Replay: run known paths without their Python.

    leaves = root.match(args, kwargs)           the Tensors that its paths read, found again, or None
    left_at, result = root.replay(leaves, ...)  one native call goes one of the ways; then effects, then the result

1. Nothing that the caller can see changes before the native call, and nothing after its last exit is undone: the call
   either returns an exit number with everything as it was, or all effects of the path that it went follow.
2. Tensors that the run wrote in place are written in their own storage.
3. An output's storage is used again when nothing else holds it.
4. A Root is never changed but for its counts: one more path makes another root, and threads in this one go on.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import field
from typing import Any

import numpy as np

from codegen import Built, Executable
from codegen.ir.graph import Graph
from codegen.ir.structs import struct
from tracegrad.all_sizes import AllSizes
from tracegrad.anomaly import has_nan
from tracegrad.callbacks import Callback
from tracegrad.called import CallAgain
from tracegrad.devices import CPU, CUPY, Device, order_on, several_gpus
from tracegrad.entry import GradExpected, Source, own_memory
from tracegrad.function_nodes import FunctionNode
from tracegrad.guards import Guards, Slot
from tracegrad.lifted import may_be_lifted
from tracegrad.made import GpuPools, Made, MadeView, storage
from tracegrad.purity.observation import Observation
from tracegrad.replay_code import Replay, write_replay
from tracegrad.results import Rebuild
from tracegrad.route_calls import Kept
from tracegrad.routes import Route
from tracegrad.segments import Path, Segment
from tracegrad.spans import moment
from tracegrad.tensors import Tensor


@struct
class GradEffect:
    """After the call, the grad of leaf `leaf` is made tensor `tensor` (see Trace), or None."""

    leaf: int
    tensor: int | None


@struct
class SlotEffect:
    """After the call, a tensor, or a container of them, is put where the run put one."""

    slot: Slot
    rebuild: Rebuild


@struct(frozen=False, eq=False, repr=False)
class Trace:
    """One path of a traced function: what Python read on it, what it leaves behind.

    Positions of tensors in effects and in the result count its leaves first, then what the call `makes`. `leaves`:
    which of the root's leaves those are.
    """

    path: Path
    leaves: tuple[int, ...]
    makes: tuple[Made | MadeView, ...]                           # a view comes after what it is a view of
    route: Route | None                                          # what differentiates made tensors with a history
    grad_effects: tuple[GradEffect, ...]
    slot_effects: tuple[SlotEffect, ...]
    rebuild: Rebuild
    callbacks: tuple[Callback, ...] = ()                         # what looks inside, in order
    seconds: float = 0.0                                         # what recording and compiling took
    replays: int = 0
    because: object = None                                       # why it was recorded, for people: str() says it
    made: tuple[Made, ...] = field(init=False)                   # the path's outputs after the written ones

    def __post_init__(self) -> None:
        self.made = tuple(m for m in self.makes if isinstance(m, Made))

    @property
    def graph(self) -> Graph:
        """The whole path."""
        return self.path.graph

    @property
    def calls(self) -> tuple[CallAgain, ...]:
        """Custom functions whose backward derivatives lead through."""
        return () if self.route is None else self.route.calls

    def attach(self, kept: Kept, saved: Sequence[np.ndarray], live: Sequence[Tensor]) -> list[FunctionNode]:
        """Give the tensors that derivatives lead through their history: see Route.attach."""
        assert self.route is not None
        return self.route.attach(self._of_path(kept), saved, live)

    def give(self, nodes: Sequence[FunctionNode], tensors: Sequence[Tensor], args: tuple, kwargs: dict) -> None:
        """Give custom functions what they left for backward."""
        for call, node in zip(self.calls, nodes, strict=True):
            call.give(node, tensors, args, kwargs)

    def _of_path(self, kept: Kept) -> Kept:
        """What was kept of the root's inputs, for those of the path."""
        edges, values = kept
        inputs = self.path.inputs
        assert self.route is not None
        if values is None or not self.route.keeps:
            return tuple(map(edges.__getitem__, inputs)), None
        return tuple(map(edges.__getitem__, inputs)), tuple(map(values.__getitem__, inputs))


@struct(frozen=False, eq=False, repr=False)
class Root:
    """Paths that assume the same on entry, as one program that goes one of the known ways, or leaves.

    Leaves are the Tensors that the guards find; `sources`: where each input of the program is found. `traces`: by end
    of the program; `exits`: the segment that each exit leaves, from exit 1.

    `match(args, kwargs)`: the leaves of this call if everything that is assumed on entry holds.
    `replay(leaves, args, kwargs)` goes one of the ways: (-1 - its end, the result); or (the number of an exit, None),
    with nothing changed.
    """

    guards: Guards
    sources: tuple[Source, ...]
    grads_expected: tuple[GradExpected, ...]                     # where a grad on entry was read
    lifted: frozenset[str]                                       # routes of numbers that are inputs
    seen: Observation                                            # what its runs did
    tree: Segment
    exits: tuple[Segment, ...]
    traces: tuple[Trace, ...]
    executable: Executable
    refusals: int = 0                                            # how often a checked op refused its operands
    all_sizes: AllSizes | None = None                            # what it is one of, if it was recorded for all sizes
    one_size: str | None = None                                  # why it was not, if that was tried
    device: Device = CPU                                         # where it works, and leaves its results
    places_of_leaves: tuple[Device, ...] = ()
    outputs: tuple[Callable[[], np.ndarray], ...] = field(init=False)       # give storage for what its paths make
    pools: GpuPools = field(init=False)                          # what does on a GPU
    written: tuple[int, ...] = field(init=False)                 # inputs that a path overwrites in place
    places: tuple[tuple[int, ...], ...] = field(init=False)      # for each end, where what it made and saved is found
    carries: tuple[bool, ...] = field(init=False)                # inputs that a derivative of a result leads to
    keeps: bool = field(init=False)                              # does a backward need their values?
    match: Callable[[tuple, dict], tuple[Tensor, ...] | None] = field(init=False)
    replay: Replay = field(init=False)
    _check: Callable[[tuple, dict], tuple[Tensor, ...] | None] = field(init=False)
    _looked_at: list[Source] = field(init=False)                 # what is written, where guards do not say that it can
    native: Built | None = field(init=False, default=None)       # what the native entry runs
    is_written: bool = field(init=False, default=False)          # was it tried to write that?
    _numbers: tuple[Source, ...] = field(init=False)
    _are_on_gpu: list[bool] = field(init=False)

    def __post_init__(self) -> None:
        self._are_on_gpu = [place != CPU for place in self.places_of_leaves]
        slots = self.executable.slots
        self.outputs = tuple(map(storage, slots if self.device == CPU else ()))
        self.pools = GpuPools(() if self.device == CPU else slots, self.device)
        self.written = tuple(sorted({t.path.inputs[k] for t in self.traces for k in t.path.written}))
        self.places = tuple(places[len(t.path.written):] for t, places in zip(self.traces, self.executable.ends))
        routes = [(t.path, t.route) for t in self.traces if t.route is not None]
        carrying = {path.inputs[k] for path, route in routes for k, c in enumerate(route.carries) if c}
        self.carries = tuple(k in carrying for k in range(len(self.sources))) if routes else ()
        self.keeps = any(route.keeps for _, route in routes)
        self._numbers = tuple(s for s in self.sources if s.number is not None)
        self._check = self.guards.check if self.device == CPU else self.guards.check_of_gpu(self._are_on_gpu)
        self._looked_at = [self.sources[k] for k in self.written if not self._is_on_gpu(self.sources[k])]
        more = self._numbers or self.grads_expected or self.written
        self.match = self._match if more else self._check
        self.replay = write_replay(self, self.executable.run)

    def _is_on_gpu(self, source: Source) -> bool:
        """Is it an array of a GPU that guards say is contiguous? None of those is read-only."""
        return source.contiguous and not source.of_grad and source.leaf is not None and any(
            self._are_on_gpu[source.leaf:source.leaf + 1])

    def suits(self, leaves: tuple[Tensor, ...]) -> bool:
        """Are the Tensors that the guards found on the devices where they were?"""
        of_gpu = CUPY[0].ndarray
        if [type(t.held) is of_gpu for t in leaves] != self._are_on_gpu:
            return False
        return not several_gpus() or all(t.device == place for t, place in zip(leaves, self.places_of_leaves))

    @property
    def replays(self) -> int:
        """How many calls went one of its ways to the end."""
        return sum(trace.replays for trace in self.traces)

    def _match(self, args: tuple, kwargs: dict) -> tuple[Tensor, ...] | None:
        """Beside the guards: numbers that can be inputs, grads as they were, memory that can be written."""
        leaves = self._check(args, kwargs)
        if leaves is None:
            return None
        if not all(may_be_lifted(source.argument(args, kwargs)) for source in self._numbers):
            return None
        grads = []
        for expected in self.grads_expected:
            grad = leaves[expected.leaf]._grad
            if not expected.is_met(grad):
                return None
            if grad is not None:
                grads.append(grad)
        if grads and self.written and not own_memory(leaves, grads):
            return None
        for source in self._looked_at:
            array = source.tensor(leaves).array
            flags = array.flags                     # of what is contiguous on a GPU none is read-only
            if not flags.c_contiguous or type(array) is np.ndarray and not flags.writeable:
                return None
        return leaves

    def written_tensor(self, k: int, leaves: Sequence[Tensor]) -> Tensor:
        """The Tensor whose storage input k is."""
        return self.sources[k].tensor(leaves)

    def storage(self) -> Sequence[np.ndarray]:
        """For what its paths make."""
        return [take() for take in self.outputs] if self.device == CPU else self.pools.take(order_on(self.device))

    def fetch(self, leaves: Sequence[Tensor], args: tuple, kwargs: dict) -> list[np.ndarray]:
        """The inputs of the program."""
        return [source.fetch(leaves, args, kwargs) for source in self.sources]

    def replay_watched(self, leaves: tuple[Tensor, ...], args: tuple, kwargs: dict) -> tuple[int, Any]:
        """Like replay; but a NaN in anything that the call would leave behind is an exit, number 0."""
        def run(arrays: tuple[np.ndarray, ...]) -> int:
            before = [(arrays[k], arrays[k].copy()) for k in self.written]
            left_at = self.executable.run(arrays)
            if left_at < 0 and any(has_nan(arrays[k]) for k in (*self.written, *self.places[-1 - left_at])):
                for array, values in before:
                    np.copyto(array, values)
                raise _NaNMet
            return left_at

        try:
            return write_replay(self, run)(leaves, args, kwargs)
        except _NaNMet:
            return 0, None

    def left(self, exit: int) -> int:
        """A call has left at this exit."""
        moment("exit", self.traces[0].graph.name, at=exit)
        if exit:
            self.exits[exit - 1].growth.exits += 1
        else:
            self.refusals += 1
        return exit


class _NaNMet(Exception):
    """A watched replay has computed a NaN."""
