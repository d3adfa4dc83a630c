"""Is a reshape a view at other sizes, too? Whether NumPy copies is decided by sizes and strides, here in symbols.

    y = x[:, 1:].reshape(-1), x: f32[4,b]       a copy; but at b = 2, where one column is left, a view

1. NumPy drops axes of size 1; the others give a view if any two neighbors lie as one axis would, or are kept apart in
   the new shape: as many elements are in the axes up to there as in some first axes of the new shape.
2. What is not sure whatever the sizes are is assumed as it is in this run.
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise
from operator import mul
from typing import TYPE_CHECKING, Any

import numpy as np

from codegen.ir.dims import Dim, Size, element_count, evaluate, least_of
from tracegrad.size_numbers import Assumptions, Computed, is_sure

if TYPE_CHECKING:
    from tracegrad.recorder import Recorder
    from tracegrad.symbols import Symbols
    from tracegrad.tensors import Tensor, View

Sizes = tuple[Size, ...]


def strides_of(tensor: Tensor, symbols: Symbols, recorder: Recorder) -> Sizes | None:
    """How many elements apart the neighbors along each axis are, in symbols; None if that is not known."""
    if tensor.view_of is None or not recorder.made(tensor):
        return strides_of_array(tensor.memory, symbols.sizes_of(tensor))
    return strides_in_whole(tensor, tensor.view_of, symbols, recorder)


def strides_in_whole(tensor: Tensor, view: View, symbols: Symbols, recorder: Recorder) -> Sizes | None:
    """Those of a view, in what it is a view of."""
    parent = view.parent
    strides = None if parent is None else symbols.steps_of(parent, recorder)
    if parent is None or strides is None:
        return None
    attrs, sizes, before = symbols.symbolic(view.attrs), symbols.sizes_of(tensor), symbols.sizes_of(parent)
    return strides_of_view(view.op, attrs, sizes, before, strides)


def strides_of_array(array: np.ndarray, sizes: Sizes) -> Sizes | None:
    """Those of an array that is no view: its axes lie in the same order at all sizes, without gaps."""
    if not any(isinstance(size, Dim) for size in sizes):
        return tuple([stride // array.itemsize for stride in array.strides])
    found = [n for n, size in zip(array.shape, sizes) if size != 1]
    if len(found) > 1 and 1 in found:                   # where that axis has its place is not seen
        return None
    strides: list[Size] = [0] * array.ndim
    reach: Size = 1
    width = array.itemsize
    for k in sorted(range(array.ndim), key=lambda k: array.strides[k]):
        if sizes[k] == 1:
            continue
        if array.shape[k] != 1 and array.strides[k] != width:
            return None
        strides[k] = reach
        reach, width = reach * sizes[k], width * array.shape[k]
    return tuple(strides)


def lies_in(order: Sequence[int], sizes: Sizes, strides: Sizes | None) -> bool:
    """Do the axes surely lie in this order, the slowest first, without gaps?"""
    reach: Size = 1
    for k in reversed(order):
        if strides is None or sizes[k] != 1 and strides[k] != reach:
            return False
        reach = reach * sizes[k]
    return True


def strides_of_view(op: str, attrs: Mapping[str, Any], sizes: Sizes, before: Sizes, strides: Sizes) -> Sizes | None:
    """Those of a view, `op` of what has sizes `before` and these strides."""
    match op:
        case "detach":
            return strides
        case "real" | "imag":
            return tuple([stride * 2 for stride in strides])
        case "transpose":
            return tuple([strides[k] for k in attrs["axes"]])
        case "slice":
            return tuple(map(mul, strides, attrs["step"]))
        case "flip":
            return tuple([-stride if k in attrs["axes"] else stride for k, stride in enumerate(strides)])
        case "broadcast":
            new = len(sizes) - len(before)
            return (0,) * new + tuple([s if a == b else 0 for s, a, b in zip(strides, before, sizes[new:])])
        case "shear":
            result = list(strides)
            for axis, other, step, dilation in zip(attrs["axes"], attrs["along"], attrs["step"], attrs["dilation"]):
                result[other] += strides[axis] * dilation
                result[axis] *= step
            return tuple(result)
        case "reshape":
            return strides_reshaped(sizes, before, strides)
    return None


def strides_reshaped(sizes: Sizes, before: Sizes, strides: Sizes) -> Sizes | None:
    """Those of a reshape that is a view: each axis ends where one of the old ones does, or goes on in those after it.
    """
    if lies_in(range(len(before)), before, strides):                    # as each reshape of it does
        return tuple([element_count(sizes[k + 1:]) for k in range(len(sizes))])
    ends = dict(reversed([*zip(accumulate(before, mul), strides)]))      # by number of elements: the first that ends
    result: list[Size] = []
    counts = [*accumulate(sizes, mul)]
    for k in range(len(sizes)):
        inner: Size = 1
        for j in range(k, len(sizes)):
            inner = inner if j == k else inner * sizes[j]
            if counts[j] in ends:
                result.append(ends[counts[j]] * inner)
                break
            if counts[j] == 1:                                          # axes of size 1 in front
                result.append(0)
                break
        else:
            return None
    return tuple(result)


def assume_as_here(symbols: Symbols, sizes: Sizes, strides: Sizes | None, shape: Sizes, is_view: bool) -> None:
    """A reshape from `sizes` to `shape` is a view in this run, or a copy: only sizes at which it is that are served."""
    if strides is None:
        return symbols.give_up("a view or a copy, which of them depends on how a tensor lies in memory")
    axes = [k for k, size in enumerate(sizes) if size != 1]
    counts, parts = [*accumulate(sizes, mul)], [*accumulate(shape, mul)]
    pairs = [[(strides[a], strides[b] * sizes[b]), *((counts[a], part) for part in parts)] for a, b in pairwise(axes)]
    if all(any(a == b for a, b in ways) for ways in pairs):
        return                                                          # a view at all sizes
    numbers, assumptions = symbols.numbers, symbols.assumptions
    for k in axes:
        size = sizes[k]
        least = least_of(size)
        if isinstance(size, Dim) and (least is None or least < 2):
            if evaluate(size, numbers) == 1:
                return symbols.give_up("a view or a copy, since a size is 1")
            assumptions.assume(Computed("ne", size, 1), True)
    holding = [[way for way in ways if evaluate(way[0], numbers) == evaluate(way[1], numbers)] for ways in pairs]
    if all(holding) != is_view:
        return symbols.give_up("a view or a copy, which of them depends on how a tensor lies in memory")
    if is_view:
        for ways in holding:
            a, b = next(((a, b) for a, b in ways if a == b), ways[0])
            _assume_equal(assumptions, a, b, True)
        return
    apart = [ways for ways, found in zip(pairs, holding) if not found]
    for a, b in min(apart, key=lambda ways: sum(not is_sure(a - b, "eq") for a, b in ways)):
        _assume_equal(assumptions, a, b, False)


def _assume_equal(assumptions: Assumptions, a: Size, b: Size, holds: bool) -> None:
    if not is_sure(a - b, "eq"):
        assumptions.assume(Computed("eq", a, b), holds)
