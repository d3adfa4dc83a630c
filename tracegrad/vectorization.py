"""vmap: a function of one example as a function of many.

    f(x, y) for every x of xs [n, ...] and one y      ->      vmap(f, in_axes=(0, None))(xs, y)

    f runs on the first example and is recorded       mul : f32[3], f32[3] -> f32[3]
    its operations are done for all at once           mul : f32[n,3], f32[3] -> f32[n,3]      by the rules of `batching`

1. What comes out is made by ordinary operations on what came in and what f read: it is differentiated, recorded and
   vectorized again like anything else.
2. Where the operations on one example need not be those on another (f reads a value, writes to what it did not make,
   keeps a tensor, looks inside), f runs for each example, on views of what came in, and results are stacked.
"""
from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from codegen.ir.graph import Graph
from codegen.ir.ops import CHECKED, OPS
from codegen.ir.types import type_of
from tracegrad.batching import RULES, whole
from tracegrad.conversions import moved
from tracegrad.creation import asarray
from tracegrad.devices import CPU, CUPY, Device, first_of
from tracegrad.dispatch import FOLLOWER, GRAD, dispatch
from tracegrad.example_runs import Draws, ExampleRecorder, PerExample, within
from tracegrad.function_examples import EXAMPLES, Examples, VmapInfo
from tracegrad.generators import DRAWS
from tracegrad.indexing import get
from tracegrad.manipulation import moveaxis
from tracegrad.movement import concat, stack
from tracegrad.pytrees import LEAF, Structure, opened, tree_flatten, tree_unflatten
from tracegrad.recorder import ACTIVE
from tracegrad.source_lines import at_user_line
from tracegrad.tensors import Tensor

Axes = Any
"""An axis, or None for what all examples share; or a tree of such, of which one may stand for a whole tree."""

RANDOMNESS = ("error", "different", "same")
NUMBERS = (bool, int, float, complex)
Many = tuple[Tensor, bool]
"""A Tensor, and has it examples along its first axis? Else it is the same for all."""


def vmap(func: Callable, in_axes: Axes = 0, out_axes: Axes = 0, randomness: str = "error", *, in_dims: Axes = 0,
         out_dims: Axes = 0, chunk_size: int | None = None) -> Callable:
    """A function that does for every example along an axis of its arguments what func does for one, at once.

    in_axes: for each positional argument the axis, or None for one that all share; one number for all arguments; or
    trees of these for trees. Keyword arguments are shared. out_axes: where the axis is in the results. in_dims and
    out_dims are PyTorch's names of the same. randomness: "error"; "different" numbers for each example, or the "same".
    chunk_size: how many examples are computed at once (None: all).

    Where func reads a value in Python (`if x.sum() > 0`), or does what no recording has, it runs for each example:
    then what else it does is done that often, and perhaps once more in part, on the first.

        >>> tg.vmap(lambda x, w: (x * w).sum(), in_axes=(0, None))(tg.ones(2, 3), tg.arange(3.0))
        tensor([3., 3.])
    """
    if randomness not in RANDOMNESS:
        raise ValueError(at_user_line(f"vmap: randomness={randomness!r} is none of {RANDOMNESS}"))
    if chunk_size is not None and chunk_size < 1:
        raise ValueError(at_user_line(f"vmap: chunk_size={chunk_size} is not positive"))
    into, out = in_axes if in_dims == 0 else in_dims, out_axes if out_dims == 0 else out_dims

    @functools.wraps(func)
    def vectorized(*args: Any, **kwargs: Any) -> Any:
        leaves, structure = tree_flatten(args)
        axes = axes_like("in_axes", into if isinstance(into, tuple | list) else (into,) * len(args), args)
        given, count = examples_of(leaves, axes)
        return Call(func, structure, kwargs, out, randomness)(given, count, chunk_size)
    return vectorized


def axes_like(what: str, axes: Axes, tree: Any) -> list[int | None]:
    """An axis, or None, for each leaf of a tree; ValueError where `axes` has a node that the tree has not."""
    found: list[int | None] = []
    _place(found, what, axes, tree)
    return found


def _place(found: list[int | None], what: str, axes: Axes, tree: Any) -> None:
    if axes is None or isinstance(axes, int):
        found.extend([axes] * len(tree_flatten(tree)[0]))
        return
    node, given = opened(tree), opened(axes)
    if node is None or given is None or len(node.children) != len(given.children):
        raise ValueError(at_user_line(f"vmap: {what} has {axes!r} where there is {_described(tree)}"))
    beside = given.children
    if isinstance(tree, dict) and isinstance(axes, dict):
        if axes.keys() != tree.keys():
            raise ValueError(at_user_line(f"vmap: {what} has the keys {list(axes)}, and there are {list(tree)}"))
        beside = tuple(axes[key] for key in tree)
    for one, child in zip(beside, node.children):
        _place(found, what, one, child)


def _described(x: Any) -> str:
    node = opened(x)
    return f"a {type(x).__name__} of {len(node.children)}" if node else str(type_of(x)) if isinstance(x, Tensor) \
        else f"a {type(x).__name__}"


def examples_of(leaves: Sequence[Any], axes: Sequence[int | None]) -> tuple[list[tuple[Any, bool]], int]:
    """The leaves with their examples along the first axis, and whether each has any; how many there are."""
    given: list[tuple[Any, bool]] = []
    unlike: list[Tensor] = []           # one for each number of examples
    for x, axis in zip(leaves, axes):
        if axis is None:
            given.append((x, False))
            continue
        x = asarray(x) if isinstance(x, np.ndarray | np.generic) else x
        if not isinstance(x, Tensor):
            raise TypeError(at_user_line(f"vmap: a {type(x).__name__} has no axis of examples: in_axes=None says that "
                                         "all share it"))
        if not -x.ndim <= axis < x.ndim:
            raise ValueError(at_user_line(f"vmap: {type_of(x)} has no axis {axis}"))
        x = moveaxis(x, axis, 0) if axis % x.ndim else x
        if all(x.shape[0] != other.shape[0] for other in unlike):
            unlike.append(x)
        given.append((x, True))
    if len(unlike) != 1:
        raise ValueError(at_user_line(
            f"vmap: there are {' and '.join(f'{x.shape[0]} examples in {type_of(x)}' for x in unlike)}" if unlike else
            "vmap: no argument has examples: an axis of at least one is in in_axes"))
    return given, unlike[0].shape[0]


class Call:
    """One call of a function of examples."""

    def __init__(self, func: Callable, structure: Structure, kwargs: dict[str, Any], out_axes: Axes, randomness: str):
        self.func, self.structure, self.kwargs = func, structure, kwargs
        self.out_axes, self.randomness = out_axes, randomness

    def __call__(self, given: Sequence[tuple[Any, bool]], count: int, chunk: int | None) -> Any:
        """What it gives for all examples; `chunk`: how many are computed at once."""
        if chunk is None or chunk >= count or self.randomness == "same":
            leaves, structure = self._found(given, count)
            return self._placed(leaves, structure, count)
        parts = []
        for k in range(0, count, chunk):
            stop = min(k + chunk, count)
            part = [(get(x, slice(k, stop)), True) if is_batched else (x, False) for x, is_batched in given]
            leaves, structure = self._found(part, stop - k)
            parts.append([whole(x, is_batched, stop - k) for x, is_batched in leaves])
        return self._placed([(concat(column), True) for column in zip(*parts)], structure, count)

    def _found(self, given: Sequence[tuple[Any, bool]], count: int) -> tuple[list[Many], Structure]:
        try:
            return self._at_once(given, count)
        except PerExample as why:
            if count == 0:
                raise ValueError(at_user_line(f"vmap: the function runs for each example, since {why}; there is none")
                                 ) from None
        return self._one_by_one(given, count)

    def _at_once(self, given: Sequence[tuple[Any, bool]], count: int) -> tuple[list[Many], Structure]:
        recorder, draws = ExampleRecorder(), Draws(self.randomness, count)
        all_of: dict[int, Tensor] = {}

        def computed(tensors: list[Tensor], differentiated: bool,
                     entered: Sequence[tuple[Tensor, Tensor]]) -> list[Many]:
            all_of.update((id(one), many) for one, many in (*draws.words, *entered))
            graph = recorder.recording("vmap", tensors).graph
            where = device_of_run(recorder, tensors)
            return done_for_all(graph, values_of(recorder, all_of, where), count, differentiated, where)

        examples = Examples(recorder, VmapInfo(count, self.randomness), computed)
        leaves = []
        for x, is_batched in given:
            if is_batched:
                one = Tensor(first_of(x.memory), x.requires_grad)
                all_of[id(one)] = x
                x = one
            leaves.append(x)
        with within((ACTIVE, recorder), (FOLLOWER, None), (DRAWS, draws), (EXAMPLES, examples)):
            result = self.func(*tree_unflatten(self.structure, leaves), **self.kwargs)
        found, structure = results_of(result)
        tensors = [t for t in found if isinstance(t, Tensor)]
        recorder.require_own_history(tensors)
        recorder.require_own_sizes(all_of.values())
        del result
        ones = [one for one, _ in (*draws.words, *examples.entered)]
        if recorder.given_up or recorder.callbacks or recorder.hooked():
            raise PerExample("it looks inside")
        if recorder.escaped([*tensors, *ones]):
            raise PerExample("it keeps a tensor")
        recording = recorder.recording("vmap", tensors)
        if (recording.lost or recording.calls) and any(t.requires_grad for t in tensors):
            raise PerExample("its derivative is not that of its operations")
        made = iter(computed(tensors, any(t.requires_grad for t in tensors), examples.entered))
        return [next(made) if isinstance(t, Tensor) else (asarray(t), False) for t in found], structure

    def _one_by_one(self, given: Sequence[tuple[Any, bool]], count: int) -> tuple[list[Many], Structure]:
        draws, rows, structure = Draws(self.randomness, None), [], LEAF
        for k in range(count):
            if k:
                draws.next_example()
            leaves = [get(x, k) if is_batched else x for x, is_batched in given]
            with within((DRAWS, draws)):
                result = self.func(*tree_unflatten(self.structure, leaves), **self.kwargs)
            before, (found, structure) = structure, results_of(result)
            if k and structure != before:
                raise ValueError(at_user_line("vmap: the function returns other trees for some examples"))
            rows.append(found)
        columns = [[asarray(x) for x in column] for column in zip(*rows)]
        for column in columns:
            if any(x.shape != column[0].shape or x.dtype != column[0].dtype for x in column):
                raise ValueError(at_user_line(
                    f"vmap: results of several types have no axis of examples: {' and '.join(map(_typed, column))}"))
        same = [all(x is row for row in column) for column in zip(*rows) for x in column[:1]]
        return [(column[0], False) if is_same else (stack(column), True)
                for column, is_same in zip(columns, same)], structure

    def _placed(self, leaves: Sequence[Many], structure: Structure, count: int) -> Any:
        tree = tree_unflatten(structure, [x for x, _ in leaves])
        out = []
        for (x, is_batched), axis in zip(leaves, axes_like("out_axes", self.out_axes, tree)):
            if axis is None:
                if is_batched:
                    raise ValueError(at_user_line(f"vmap: out_axes=None for what differs: {type_of(x)}"))
                out.append(x)
                continue
            y = whole(x, is_batched, count)
            if not -y.ndim <= axis < y.ndim:
                raise ValueError(at_user_line(f"vmap: {type_of(y)} has no axis {axis}: see out_axes"))
            out.append(moveaxis(y, 0, axis) if axis % y.ndim else y)
        return tree_unflatten(structure, out)


def _typed(x: Tensor) -> str:
    return str(type_of(x))


def results_of(result: Any) -> tuple[list[Any], Structure]:
    """The tensors and numbers in what a function returned, and its structure; TypeError for anything else."""
    leaves, structure = tree_flatten(result)
    for x in leaves:
        if not isinstance(x, (Tensor, *NUMBERS)):
            raise TypeError(at_user_line(f"vmap: the function returns tensors, and it returned a {type(x).__name__}"))
    return leaves, structure


def device_of_run(recorder: ExampleRecorder, results: Sequence[Tensor]) -> Device:
    """Where all that a run computes is, but for numbers of the CPU beside tensors of a GPU."""
    if not CUPY:
        return CPU
    met = [entry.tensor for entry in recorder.inputs if entry.frozen is None and entry.tensor.ndim]
    devices = {x.device for x in (*met, *results)}
    if len(devices) > 1:
        raise PerExample("it computes on more than one device")
    return devices.pop() if devices else CPU


def values_of(recorder: ExampleRecorder, all_of: dict[int, Tensor], where: Device) -> list[Many]:
    """What entered a run, for all examples."""
    values: list[Many] = []
    for entry in recorder.inputs:
        if entry.frozen is not None:
            values.append((moved(constant(entry.frozen), where), False))
        elif (batch := all_of.get(id(entry.tensor))) is not None:
            values.append((batch, True))
        else:
            values.append((entry.tensor, False))
    return values


def constant(array: np.ndarray) -> Tensor:
    """A Tensor of numbers that the function has in its text, or of an array that it read."""
    made, recorder = Tensor(array), ACTIVE.get()
    if recorder is not None:
        recorder.record_constant(made)
    return made


def done_for_all(graph: Graph, values: list[Many], count: int, differentiated: bool, where: Device) -> list[Many]:
    """The outputs of a graph for `count` examples, from its inputs. `differentiated`: has an output a history?
    `where` is what is made of nothing."""
    first = len(graph.inputs)
    needed = set(graph.outputs)
    for k in range(first + len(graph.nodes) - 1, first - 1, -1):
        node = graph.nodes[k - first]
        if k in needed or CHECKED in OPS[node.op].traits:
            needed.update((k, *node.args))
    before, GRAD.enabled = GRAD.enabled, GRAD.enabled and differentiated
    recorder = ACTIVE.get()
    line = None if recorder is None else recorder.line
    try:
        for k, node in enumerate(graph.nodes, first):
            if k not in needed:
                values.append((None, False))        # type: ignore[arg-type] # nothing uses it
                continue
            if recorder is not None:
                recorder.line = line or node.line           # where the function does it
            operands = [values[a] for a in node.args]
            if node.op == "detach" and not GRAD.enabled:
                values.append(operands[0])
                continue
            xs, batched, attrs = [x for x, _ in operands], [b for _, b in operands], dict(node.attrs)
            if any(batched):
                values.append((RULES[node.op](node.op, xs, batched, count, **attrs), True))
            elif xs:
                values.append((dispatch(node.op, *xs, **attrs), False))
            else:
                values.append((moved(dispatch(node.op, **attrs), where), False))
    finally:
        GRAD.enabled = before
        if recorder is not None:
            recorder.line = line
    return [values[v] for v in graph.outputs]
