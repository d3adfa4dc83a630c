"""Replay: run a known path without its Python.

    leaves = trace.guards.check(args, kwargs)        the Tensors the path reads, found again, or None
    result = trace.replay(leaves)                    one native call, then effects, then the result

1. Nothing that the caller can see changes before the native call, and nothing after its last exit is undone: the call
   either returns an exit number with everything as it was, or all effects follow.
2. Tensors that the run wrote in place are written in their own storage.
3. An output's storage is used again when nothing else holds it.
"""
from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from codegen import Executable
from codegen.ir.graph import Graph
from codegen.ir.types import DTYPES, TensorType
from tracegrad.dispatch import GRAD, dispatch
from tracegrad.functional import detach
from tracegrad.guards import Guards, Slot
from tracegrad.lifted import may_be_lifted
from tracegrad.purity.memory import NotOwned, owner
from tracegrad.results import Rebuild
from tracegrad.routes import Route
from tracegrad.tensors import Tensor


@dataclass(frozen=True, slots=True)
class Source:
    """Where an input of the graph is found: a leaf, the grad of one, a number argument, or an array the trace owns."""

    text: str
    leaf: int | None = None
    of_grad: bool = False
    number: int | str | None = None         # position or name of the argument
    array: np.ndarray | None = None
    dtype: np.dtype | None = None           # of a number
    contiguous: bool = False                # guards say that its storage is

    def tensor(self, leaves: Sequence[Tensor]) -> Tensor:
        """The Tensor itself; only for an input with a leaf."""
        assert self.leaf is not None
        found = leaves[self.leaf]
        return found._grad if self.of_grad else found       # type: ignore[return-value]

    def fetch(self, leaves: Sequence[Tensor], args: tuple, kwargs: Mapping[str, Any]) -> np.ndarray:
        """Its storage, made contiguous where it is not."""
        if self.leaf is not None:
            array = self.tensor(leaves).array
            return array if array.flags.c_contiguous else np.ascontiguousarray(array)
        if self.array is not None:
            return self.array
        return np.asarray(self.argument(args, kwargs), self.dtype)

    def argument(self, args: tuple, kwargs: Mapping[str, Any]) -> Any:
        """The argument itself; only for a number."""
        return args[self.number] if isinstance(self.number, int) else kwargs[str(self.number)]


@dataclass(frozen=True, slots=True)
class Made:
    """A Tensor that every call makes anew. `has_history`: is its grad_fn a node of the route?

    `strides` and `writeable` are those of its array, None and True where that is nothing special.
    """

    type: TensorType
    requires_grad: bool
    has_history: bool
    strides: tuple[int, ...] | None = None
    writeable: bool = True

    def tensor(self, values: np.ndarray) -> Tensor:
        """The Tensor, of these values."""
        array = values if self.strides is None else laid_out(values, self.strides)
        if not self.writeable:
            array = array.view()
            array.flags.writeable = False
        return Tensor(array, self.requires_grad)


@dataclass(frozen=True, slots=True)
class MadeView:
    """A Tensor that every call makes anew on the memory of tensor `parent` (see Trace.replay): `op` of it."""

    parent: int
    op: str
    attrs: Mapping[str, Any]
    tracked: bool                           # does differentiation see it as a view?
    writeable: bool = True                  # may it be written to, if the parent may?

    def tensor(self, tensors: Sequence[Tensor]) -> Tensor:
        """The view."""
        parent = tensors[self.parent]
        if self.op == "detach":
            return detach(parent)
        before, GRAD.enabled = GRAD.enabled, self.tracked
        try:
            view = dispatch(self.op, parent, **self.attrs)
        finally:
            GRAD.enabled = before
        if not self.writeable:
            view.array.flags.writeable = False
        return view


def laid_out(values: np.ndarray, strides: tuple[int, ...]) -> np.ndarray:
    """The values in memory of their own with these strides, so that what is a view of them, or a copy, stays so."""
    reach = [(n - 1) * stride for n, stride in zip(values.shape, strides)]
    before = -sum(r for r in reach if r < 0)
    memory = np.empty(before + sum(r for r in reach if r > 0) + values.itemsize, np.uint8)
    array: np.ndarray = np.ndarray(values.shape, values.dtype, memory, before, strides)
    array[...] = values
    return array


@dataclass(frozen=True, slots=True)
class GradExpected:
    """The grad that leaf `leaf` has on entry: none, or a Tensor of this type; does it require grad, by a history?"""

    leaf: int
    type: TensorType | None = None
    requires_grad: bool = False
    has_history: bool = False

    def is_met(self, grad: Tensor | None) -> bool:
        """Is it this one?"""
        if grad is None or self.type is None:
            return grad is None and self.type is None
        array = grad.array
        return (array.shape == self.type.shape and array.dtype is DTYPES[self.type.dtype]
                and grad.requires_grad is self.requires_grad
                and (grad.grad_fn is not None) is self.has_history and grad.hooks is None)


def own_memory(leaves: Sequence[Tensor], grads: Sequence[Tensor]) -> bool:
    """Has each of the grads memory that no other of these Tensors has?"""
    try:
        owners = {id(t.array if t.array.base is None else owner(t.array)) for t in leaves}
        for grad in grads:
            whole = id(grad.array if grad.array.base is None else owner(grad.array))
            if whole in owners:
                return False
            owners.add(whole)
    except NotOwned:
        others = (*grads, *leaves)
        return not any(np.may_share_memory(g.array, t.array) for k, g in enumerate(grads) for t in others[k + 1:])
    return True


@dataclass(frozen=True, slots=True)
class GradEffect:
    """After the call, the grad of leaf `leaf` is made tensor `tensor` (see Trace.replay), or None."""

    leaf: int
    tensor: int | None


@dataclass(frozen=True, slots=True)
class SlotEffect:
    """After the call, a tensor, or a container of them, is put where the run put one."""

    slot: Slot
    rebuild: Rebuild


class OutputPool:
    """Arrays for one output. An array is free again when only the pool holds it.

    One that left as a result of NumPy code may come back with another shape or dtype: it is not used again.
    """

    __slots__ = ("shape", "dtype", "flags", "_arrays")
    SPARE = 2       # a training step's gradient lives until the next call has made its successor

    def __init__(self, type: TensorType):
        self.shape: tuple = type.shape
        self.dtype = DTYPES[type.dtype]
        self.flags = -1
        self._arrays: list[np.ndarray] = []

    def take(self) -> np.ndarray:
        """An uninitialized C-contiguous array that nobody else holds."""
        for array in self._arrays:
            if sys.getrefcount(array) == 3:          # the list, this loop's variable, the argument of getrefcount
                if array.flags.num == self.flags and array.shape == self.shape and array.dtype is self.dtype:
                    return array
        array = np.empty(self.shape, self.dtype)
        self.flags = array.flags.num
        if len(self._arrays) == self.SPARE:
            del self._arrays[0]
        self._arrays.append(array)
        return array


@dataclass(slots=True, eq=False, repr=False)
class Trace:
    """One path of a traced function: what it assumes, what it runs, what it leaves behind.

    Positions of tensors in effects and in the result count the leaves first, then what the call `makes`.
    """

    graph: Graph
    executable: Executable
    guards: Guards
    sources: tuple[Source, ...]
    grads_expected: tuple[GradExpected, ...]                     # where the grad on entry was read
    written: tuple[int, ...]                                     # inputs overwritten in place
    makes: tuple[Made | MadeView, ...]                           # a view comes after what it is a view of
    route: Route | None                                          # what differentiates made tensors with a history
    grad_effects: tuple[GradEffect, ...]
    slot_effects: tuple[SlotEffect, ...]
    rebuild: Rebuild
    seconds: float = 0.0                                         # what recording and compiling took
    replays: int = 0
    exits: int = 0
    made: tuple[Made, ...] = field(init=False)                   # the executable's outputs after the written ones
    pools: tuple[OutputPool, ...] = field(init=False)
    _leaf_of: tuple[int | None, ...] = field(init=False)         # inputs that are the storage of a leaf as it is
    _numbers: tuple[Source, ...] = field(init=False)

    def __post_init__(self) -> None:
        saved = self.route.saved_types if self.route else ()
        self.made = tuple(m for m in self.makes if isinstance(m, Made))
        self.pools = tuple(OutputPool(type) for type in (*(m.type for m in self.made), *saved))
        self._leaf_of = tuple(s.leaf if s.contiguous else None for s in self.sources)
        self._numbers = tuple(s for s in self.sources if s.number is not None)

    def match(self, args: tuple, kwargs: dict) -> tuple[Tensor, ...] | None:
        """The leaves of this call if everything the trace assumes holds."""
        leaves = self.guards.check(args, kwargs)
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
        for k in self.written:
            flags = self.written_tensor(k, leaves).array.flags
            if not (flags.writeable and flags.c_contiguous):
                return None
        return leaves

    def written_tensor(self, k: int, leaves: Sequence[Tensor]) -> Tensor:
        """The Tensor whose storage input k is."""
        leaf = self._leaf_of[k]
        return self.sources[k].tensor(leaves) if leaf is None else leaves[leaf]

    def replay(self, leaves: tuple[Tensor, ...], args: tuple, kwargs: dict) -> tuple[bool, Any]:
        """Run the path. (True, None) if it left at an exit, with nothing changed; else (False, the result)."""
        inputs = [source.fetch(leaves, args, kwargs) if leaf is None else leaves[leaf].array
                  for leaf, source in zip(self._leaf_of, self.sources)]
        if self.route is not None:
            kept = self.route.keep([a if s.leaf is None else s.tensor(leaves) for s, a in zip(self.sources, inputs)])
        for k in self.written:
            self.written_tensor(k, leaves).prepare_write()
        outputs = [pool.take() for pool in self.pools]
        if self.executable.run((*inputs, *outputs)) >= 0:
            self.exits += 1
            return True, None
        self.replays += 1
        made = [m.tensor(array) for array, m in zip(outputs, self.made)]
        if self.route is not None:
            live = [t for t, m in zip(made, self.made) if m.has_history]
            self.route.attach(kept, outputs[len(made):], live)
        tensors = [*leaves, *made]
        if len(made) < len(self.makes):
            self._add_views(tensors, len(leaves))
        for g in self.grad_effects:
            leaves[g.leaf]._grad = None if g.tensor is None else tensors[g.tensor]
        result = self.rebuild(tensors, args, kwargs)        # all of it before slots change what it finds
        stored = [effect.rebuild(tensors, args, kwargs) for effect in self.slot_effects]
        for effect, value in zip(self.slot_effects, stored):
            effect.slot.assign(args, kwargs, value)
        return False, result

    def _add_views(self, tensors: list[Tensor], leaves: int) -> None:
        """Put the views where they belong among what the call has made."""
        for place, entry in enumerate(self.makes, leaves):
            if isinstance(entry, MadeView):
                tensors.insert(place, entry.tensor(tensors))
