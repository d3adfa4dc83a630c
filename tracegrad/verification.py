"""verify: one call both ways, on copies, and the first operation that differs."""
from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from codegen import CannotLower, CompileError, Executable, ExitTaken, compile_program
from codegen.ir.graph import Graph, Node
from codegen.ir.interpret import interpret
from codegen.ir.program import case_number
from codegen.ir.structs import struct
from tracegrad import dtypes
from tracegrad.numpy_front.boundary import adopt
from tracegrad.pytrees import opened
from tracegrad.replay import Root, Trace
from tracegrad.results import CONSTANTS
from tracegrad.tensors import Tensor

if TYPE_CHECKING:
    from tracegrad.tracing import Traced

TOLERANCE = {dtypes.float32: 2e-5, dtypes.float64: 1e-12, dtypes.complex64: 2e-5, dtypes.complex128: 1e-12,
             dtypes.float16: 2e-3, dtypes.bfloat16: 2e-2}
"""Relative to the largest magnitude in the array, by dtype; anything that is not floating point must be equal."""


@struct
class Verification:
    """`agrees`: did both ways give the same? `differences`: a sentence for each that does not; `first_op`: where.

    `left_at`: where the call would leave its path and be run as Python; then there is nothing to compare.
    """

    agrees: bool
    differences: tuple[str, ...] = ()
    first_op: str | None = None
    left_at: str | None = None

    def __str__(self) -> str:
        if self.left_at is not None:
            return f"the call leaves its path {self.left_at}; it runs as Python, so there is nothing to compare"
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


class Found:
    """A container that is part of a result. If it is one and the same in two calls, both found it: the run did not make
    it, and what the run changed in it is told by effects."""

    __slots__ = ("container",)

    def __init__(self, container: Any):
        self.container = container


def compared(expected: dict[str, Any], actual: dict[str, Any]) -> tuple[str, ...]:
    """A sentence for everything in which what two calls left behind is not the same."""
    differences = []
    found = tuple(f"{name[:-1]}[" for name, value in expected.items() if isinstance(value, Found)
                  and isinstance(actual.get(name), Found) and actual[name].container is value.container)
    for name in expected | actual:
        if isinstance(expected.get(name, actual.get(name)), Found) or name.startswith(found):
            continue
        if name not in actual or name not in expected:
            differences.append(f"{name}: only {'eager' if name in expected else 'the replay'} has it")
        elif (difference := _value_differs(expected[name], actual[name])) is not None:
            differences.append(f"{name}: {difference}")
    return tuple(differences)


def _value_differs(expected: Any, actual: Any) -> str | None:
    if isinstance(expected, np.ndarray) and isinstance(actual, np.ndarray):
        return differs(expected, actual)
    alike = type(expected) is type(actual)
    if type(expected) in CONSTANTS:
        alike = alike and repr(expected) == repr(actual)        # NaN is NaN, and -0.0 is not 0.0
    return None if alike else f"{_brief(expected)} against {_brief(actual)}"


def _brief(value: Any) -> str:
    return repr(value) if type(value) in CONSTANTS else f"a {type(value).__name__}"


def verify(traced: Traced, args: tuple, kwargs: dict) -> Verification:
    """See Traced.verify. ValueError if the function has no path for this call yet."""
    if adopt(args, kwargs, traced._makes_arrays) is not None:
        return _verify_arrays(traced, args, kwargs)
    found = traced._tree.find(args, kwargs)
    if found is None:
        raise ValueError(f"{traced.name}: no path is known for this call; call it once with these arguments first")
    root, leaves = found
    with _on_copies(root, leaves, args, kwargs):
        inputs = [array.copy() for array in root.fetch(leaves, args, kwargs)]
        left_at, result = uncounted(root).replay(leaves, args, kwargs)
        if left_at >= 0:
            return Verification(True, left_at=exit_taken(root, left_at))
        trace = root.traces[-1 - left_at]
        replayed = left_behind(root, trace, leaves, result, _stored(trace, args, kwargs))
    with _on_copies(root, leaves, args, kwargs):
        result = traced.eager(*args, **kwargs)
        expected = left_behind(root, trace, leaves, result, _stored(trace, args, kwargs))
    differences = compared(expected, replayed)
    return Verification(not differences, differences, first_difference(root, trace, inputs) if differences else None)


def _verify_arrays(traced: Traced, args: tuple, kwargs: dict) -> Verification:
    """The same for a call on ndarrays."""
    ours, theirs = copy.deepcopy((args, kwargs)), copy.deepcopy((args, kwargs))
    adopted = adopt(*ours, traced._makes_arrays)
    assert adopted is not None
    tree = traced._array_trees.get(adopted.scalars)
    found = None if tree is None else tree.find(adopted.args, adopted.kwargs)
    if found is None:
        raise ValueError(f"{traced.name}: no path is known for this call; call it once with these arguments first")
    root, leaves = found
    inputs = [array.copy() for array in root.fetch(leaves, *ours)]
    left_at, result = uncounted(root).replay(leaves, *ours)
    if left_at >= 0:
        return Verification(True, left_at=exit_taken(root, left_at))
    trace = root.traces[-1 - left_at]
    expected = dict(_parts((traced.eager(*theirs[0], **theirs[1]), *theirs), "", {}))
    replayed = dict(_parts((result, *ours), "", {}))
    differences = compared(expected, replayed)
    return Verification(not differences, differences, first_difference(root, trace, inputs) if differences else None)


def uncounted(root: Root) -> Root:
    """The same root, whose replays are not counted, and call nobody back."""
    return replace(root, traces=tuple(replace(trace, callbacks=()) for trace in root.traces))


def exit_taken(root: Root, left_at: int) -> str:
    """Where an uncounted replay left: it is taken from the counts of the root's segments, and said in words."""
    if left_at == 0:
        return "because an index was out of bounds or an operand was refused"
    segment = root.exits[left_at - 1]
    segment.growth.exits -= 1
    assert segment.read is not None
    return f"at {segment.read.line or '?'}: {segment.read.what}, which goes a way that is not known"


def first_difference(root: Root, trace: Trace, inputs: list[np.ndarray]) -> str | None:
    """The first operation whose compiled value differs from its reference's, as text with the user's line.

    Where none does, each compiled by itself, it is the one that makes the first wrong output of the path. `inputs`:
    those of the root.
    """
    given, inputs = inputs, [inputs[k] for k in trace.path.inputs]
    graph, k = trace.graph, len(trace.graph.inputs)
    whole = Graph(graph.name, graph.inputs, graph.nodes, tuple(range(k, k + len(graph.nodes))))
    expected = interpret(whole, inputs)
    if not isinstance(expected, list):          # the replay should have left: its checks are what differs
        return None
    for node, e, a in zip(graph.nodes, expected, _one_by_one(whole, inputs)):
        if (difference := differs(e, a)) is not None:
            return _operation(node, difference)
    for read in trace.path.reads:
        value = inputs[read.value] if read.value < k else expected[read.value - k]
        if case_number(value.reshape(())[()]) != read.number:
            return f"{read.line or '?'}: {read.what}: the replay went another way than its value, {value}, does"
    for output, a in zip(graph.outputs, _outputs(root.executable, given)):
        maker = graph.node_of(output)
        if maker is not None and (difference := differs(expected[output - k], a)) is not None:
            return _operation(maker, difference)
    return None


def _one_by_one(whole: Graph, inputs: list[np.ndarray]) -> tuple[np.ndarray, ...]:
    """Every value of a graph, compiled; nothing where not all of them can be outputs."""
    try:
        return _outputs(compile_program(whole), inputs)
    except (CannotLower, CompileError):
        return ()


def _outputs(executable: Executable, inputs: list[np.ndarray]) -> tuple[np.ndarray, ...]:
    try:
        return executable(*inputs)
    except ExitTaken:                           # it should not have: then no operation can be blamed
        return ()


def _operation(node: Node, difference: str) -> str:
    return f"{node.line or '?'}: {node.op} : {node.type}: {difference}"


@contextmanager
def _on_copies(root: Root, leaves: tuple[Tensor, ...], args: tuple, kwargs: dict) -> Iterator[None]:
    """Give every Tensor that the paths read a copy of its storage; put storage, grads and slots back at the end."""
    held = [(t, t.array, t._grad) for t in leaves]
    grads = [(g, g.array) for _, _, g in held if g is not None]
    slots = [(effect.slot, effect.slot.read(args, kwargs)) for trace in root.traces
             for effect in trace.slot_effects]
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


def _stored(trace: Trace, args: tuple, kwargs: dict) -> list[Any]:
    return [effect.slot.read(args, kwargs) for effect in trace.slot_effects]


def left_behind(root: Root, trace: Trace, leaves: Sequence[Tensor], result: Any, stored: Sequence[Any],
                twins: Sequence[Tensor] | None = None) -> dict[str, Any]:
    """Everything a call leaves behind, by name: `result`, the leaves and their grads, what was `stored` in slots.

    If the call ran on `twins` of the leaves, the twins count, wherever a leaf is met.
    """
    standing_in: dict[int, Any] = {}
    for leaf, twin in zip(leaves, twins or ()):
        standing_in |= {id(leaf): twin, id(leaf.array): twin.array}
        if isinstance(leaf.array.base, np.ndarray) and leaf.array.base.shape == leaf.array.shape:
            standing_in[id(leaf.array.base)] = twin.array       # an argument, of which the leaf is a view
    state = dict(_parts(result, "result", standing_in))
    for text, leaf in zip(root.guards.sources, twins or leaves):
        state[text] = leaf.array.copy()
        if leaf._grad is not None:
            state[f"{text}.grad"] = leaf._grad.array.copy()
    for effect, value in zip(trace.slot_effects, stored):
        state |= _parts(value, effect.slot.text, standing_in)
    return state


def _parts(value: Any, path: str, standing_in: Mapping[int, Any]) -> Iterator[tuple[str, Any]]:
    """The arrays and what else is in a value, by name; of (result, args, kwargs), whose path is empty, theirs."""
    value = standing_in.get(id(value), value)
    if isinstance(value, Tensor):
        yield path, value.array.copy()
    elif isinstance(value, np.ndarray | np.generic):
        yield path, np.array(value)
    elif (node := opened(value)) is not None and value is not None:
        yield f"{path} ", Found(value)          # no part of it has such a name
        keys = value if isinstance(value, dict) else range(len(node.children))
        for key, part in zip(keys, node.children):
            yield from _parts(part, f"{path}[{key!r}]" if path else ("result", "args", "kwargs")[key], standing_in)
    else:
        yield path, value
