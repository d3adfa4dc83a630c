"""verify: one call both ways, on copies, and the first operation that differs."""
from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from codegen import compile_program
from codegen.ir.graph import Graph
from codegen.ir.interpret import interpret
from tracegrad import dtypes
from tracegrad.numpy_front.boundary import adopt
from tracegrad.pytrees import opened
from tracegrad.replay import Trace
from tracegrad.tensors import Tensor

if TYPE_CHECKING:
    from tracegrad.tracing import Traced

TOLERANCE = {dtypes.float32: 2e-5, dtypes.float64: 1e-12, dtypes.complex64: 2e-5, dtypes.complex128: 1e-12,
             dtypes.float16: 2e-3, dtypes.bfloat16: 2e-2}
"""Relative to the largest magnitude in the array, by dtype; anything that is not floating point must be equal."""


@dataclass(frozen=True, slots=True)
class Verification:
    """`agrees`: did both ways give the same? `differences`: a sentence for each that does; `first_op`: where."""

    agrees: bool
    differences: tuple[str, ...]
    first_op: str | None

    def __str__(self) -> str:
        if self.agrees:
            return "replay and eager agree"
        first = f"\nthe first operation that differs: {self.first_op}" if self.first_op else ""
        return "replay and eager differ:\n  " + "\n  ".join(self.differences) + first


def differs(expected: np.ndarray, actual: np.ndarray) -> str | None:
    """A sentence if two arrays differ by more than rounding, else None. NaNs are equal."""
    if expected.shape != actual.shape or expected.dtype != actual.dtype:
        return f"{expected.dtype}{list(expected.shape)} against {actual.dtype}{list(actual.shape)}"
    tolerance = TOLERANCE.get(expected.dtype)
    if tolerance is None:
        unequal = np.count_nonzero(expected != actual)
        return f"{unequal} of {expected.size} elements" if unequal else None
    if expected.dtype == dtypes.bfloat16:               # NumPy's functions below do not take it
        expected, actual = expected.astype(np.float32), actual.astype(np.float32)
    finite = expected[np.isfinite(expected)]
    scale = float(np.max(np.abs(finite), initial=0.0))
    with np.errstate(invalid="ignore"):
        close = np.isclose(actual, expected, rtol=tolerance, atol=tolerance * scale, equal_nan=True)
    if close.all():
        return None
    at = tuple(int(k) for k in np.argwhere(~close)[0])
    wrong = np.count_nonzero(~close)
    return f"{wrong} of {close.size} elements, first at {list(at)}: {expected[at]} against {actual[at]}"


def verify(traced: Traced, args: tuple, kwargs: dict) -> Verification:
    """See Traced.verify. ValueError if the function has no path for this call yet."""
    if adopt(args, kwargs, traced._makes_arrays) is not None:
        return _verify_arrays(traced, args, kwargs)
    found = traced._tree.find(args, kwargs)
    if found is None:
        raise ValueError(f"{traced.name}: no path is known for this call; call it once with these arguments first")
    trace, leaves = found
    with _on_copies(trace, leaves, args, kwargs):
        inputs = [s.fetch(leaves, args, kwargs).copy() for s in trace.sources]
        exited, result = trace.replay(leaves, args, kwargs)
        replayed = None if exited else _state(trace, leaves, args, kwargs, result)
    with _on_copies(trace, leaves, args, kwargs):
        expected = _state(trace, leaves, args, kwargs, traced.eager(*args, **kwargs))
    if replayed is None:
        return Verification(True, (), None)         # a call that leaves at an exit is run eagerly: nothing to compare
    differences = [f"{name}: {d}" for name in expected
                   if (d := differs(expected[name], replayed.get(name, np.empty(0)))) is not None]
    if not differences:
        return Verification(True, (), None)
    return Verification(False, tuple(differences), first_difference(trace.graph, inputs))


def _verify_arrays(traced: Traced, args: tuple, kwargs: dict) -> Verification:
    """The same for a call on ndarrays."""
    ours, theirs = copy.deepcopy((args, kwargs)), copy.deepcopy((args, kwargs))
    adopted = adopt(*ours, traced._makes_arrays)
    assert adopted is not None
    tree = traced._array_trees.get(adopted.scalars)
    found = None if tree is None else tree.find(adopted.args, adopted.kwargs)
    if found is None:
        raise ValueError(f"{traced.name}: no path is known for this call; call it once with these arguments first")
    trace, leaves = found
    inputs = [s.fetch(leaves, *ours).copy() for s in trace.sources]
    exited, result = trace.replay(leaves, *ours)
    if exited:
        return Verification(True, (), None)
    expected = dict(_arrays((traced.eager(*theirs[0], **theirs[1]), *theirs), ""))
    replayed = dict(_arrays((result, *ours), ""))
    differences = [f"{name}: {d}" for name in expected
                   if (d := differs(expected[name], replayed.get(name, np.empty(0)))) is not None]
    return Verification(not differences, tuple(differences),
                        first_difference(trace.graph, inputs) if differences else None)


def _arrays(value: Any, path: str) -> Iterator[tuple[str, np.ndarray]]:
    """The arrays and NumPy scalars of (result, args, kwargs), by name."""
    if isinstance(value, np.ndarray | np.generic):
        yield path, np.asarray(value)
    elif isinstance(value, dict):
        for key, part in value.items():
            yield from _arrays(part, f"{path}[{key!r}]")
    elif isinstance(value, list | tuple):
        for k, part in enumerate(value):
            yield from _arrays(part, f"{path}[{k}]" if path else ("result", "args", "kwargs")[k])


def first_difference(graph: Graph, inputs: list[np.ndarray]) -> str | None:
    """The first node whose compiled value differs from its reference's, as text with the user's line."""
    k = len(graph.inputs)
    whole = Graph(graph.name, graph.inputs, graph.nodes, tuple(range(k, k + len(graph.nodes))))
    expected = interpret(whole, inputs)
    assert isinstance(expected, list)           # the call just ran without taking an exit
    actual = compile_program(whole)(*inputs)
    for node, e, a in zip(graph.nodes, expected, actual):
        if (difference := differs(e, a)) is not None:
            return f"{node.line or '?'}: {node.op} : {node.type}: {difference}"
    return None


@contextmanager
def _on_copies(trace: Trace, leaves: tuple[Tensor, ...], args: tuple, kwargs: dict) -> Iterator[None]:
    """Give every Tensor that the trace reads a copy of its storage; put storage, grads and slots back at the end."""
    held = [(t, t.array, t._grad) for t in leaves]
    grads = [(g, g.array) for _, _, g in held if g is not None]
    slots = [(effect.slot, effect.slot.read(args, kwargs)) for effect in trace.slot_effects]
    try:
        for t, array in (*((t, array) for t, array, _ in held), *grads):
            t.array = array.copy()
        yield
    finally:
        for slot, tensor in slots:
            slot.assign(args, kwargs, tensor)
        for t, array, grad in held:
            t.array, t._grad = array, grad
        for g, array in grads:
            g.array = array


def _state(trace: Trace, leaves: tuple[Tensor, ...], args: tuple, kwargs: dict, result: Any) -> dict[str, np.ndarray]:
    """Everything a call leaves behind, by name."""
    state = {f"result{path}": t.array.copy() for path, t in _tensors(result, "")}
    for k, t in enumerate(leaves):
        state[trace.guards.sources[k]] = t.array.copy()
        if t._grad is not None:
            state[f"{trace.guards.sources[k]}.grad"] = t._grad.array.copy()
    for effect in trace.slot_effects:
        state |= {f"{effect.slot.text}{path}": t.array.copy()
                  for path, t in _tensors(effect.slot.read(args, kwargs), "")}
    return state


def _tensors(value: Any, path: str) -> Iterator[tuple[str, Tensor]]:
    if isinstance(value, Tensor):
        yield path, value
    elif (node := opened(value)) is not None:
        keys = value if isinstance(value, dict) else range(len(node.children))
        for key, part in zip(keys, node.children):
            yield from _tensors(part, f"{path}[{key!r}]")


