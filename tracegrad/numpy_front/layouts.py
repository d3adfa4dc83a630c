"""How NumPy lays out what it makes: in C order, or, with order="K", in the order of what it is made from.

    np.copy(x.T)    ->   transpose(clone(transpose(...)))      its ravel() is a copy, that of x.T.copy() is a view

In a run that is recorded for all sizes what is asked here of sizes and strides is assumed to be so at the others, too.
"""
from __future__ import annotations

from itertools import pairwise

import numpy as np

from codegen.ir.dims import Dim, Size, evaluate, least_of
from tracegrad.functional import clone
from tracegrad.movement import permute_dims
from tracegrad.recorder import ACTIVE
from tracegrad.size_numbers import Computed, is_sure
from tracegrad.symbols import Symbols
from tracegrad.tensors import Tensor

Axes = tuple[int, ...]


def laid_out(x: Tensor, axes: Axes | None) -> Tensor:
    """A tensor that was just made, with its axes in memory in this order, the slowest first; None is C order."""
    if axes is None and is_contiguous(x) or axes is not None and axes == axes_of(x):
        return x
    if axes is None:
        return clone(x)
    return permute_dims(clone(permute_dims(x, axes)), tuple(map(axes.index, range(len(axes)))))


def laid_as(x: Tensor, like: np.ndarray) -> Tensor:
    """A tensor that was just made, laid out as what NumPy made of the same."""
    _sizes_and_strides(x)
    return laid_out(x, None if like.flags.c_contiguous else _by_steps(like))


def order_of(x: Tensor, order: str | None) -> Axes | None:
    """The order in which the axes of a new array like x lie with order= "C", "F", "A" or "K"; None is C order."""
    if is_by_columns(x, order):
        return tuple(reversed(range(x.ndim)))
    return axes_of(x) if order == "K" and not is_contiguous(x) else None


def in_order(x: Tensor, order: str) -> Tensor:
    """The tensor with its axes in that order in which order= has its elements read: "C", "F", "A" or "K"."""
    axes = order_of(x, order)
    return x if axes is None else permute_dims(x, axes)


def is_by_columns(x: Tensor, order: str | None) -> bool:
    """Does order= mean that the first axis varies fastest?"""
    return order == "F" or order == "A" and is_contiguous(x, by_columns=True) and not is_contiguous(x)


def axes_of(x: Tensor) -> Axes:
    """The axes, from the one with the greatest steps in memory to that with the least."""
    axes, found = _by_steps(x.memory), _sizes_and_strides(x)
    if found is not None:
        symbols, _, strides = found
        distances = [stride if evaluate(stride, symbols.numbers) >= 0 else stride * -1 for stride in strides]
        for a, b in pairwise(axes):
            if not is_sure(distances[a] - distances[b], "ge"):
                symbols.assumptions.assume(Computed("ge", distances[a], distances[b]), True)
    return axes


def _by_steps(array: np.ndarray) -> Axes:
    return tuple(sorted(range(array.ndim), key=lambda k: -abs(array.strides[k])))


def is_contiguous(x: Tensor, *, by_columns: bool = False) -> bool:
    """Do the elements lie one after the other, the last axis varying fastest? Or the first, `by_columns`?"""
    flags = x.memory.flags
    found = _sizes_and_strides(x)
    if found is None:
        return flags.f_contiguous if by_columns else flags.c_contiguous
    symbols, sizes, strides = found
    reach: Size = 1
    for k in range(x.ndim) if by_columns else reversed(range(x.ndim)):
        if sizes[k] == 1:
            continue
        here = evaluate(strides[k], symbols.numbers) == evaluate(reach, symbols.numbers)
        if not is_sure(strides[k] - reach, "eq"):
            symbols.assumptions.assume(Computed("eq", strides[k], reach), here)
        if not here:
            return False
        reach = reach * sizes[k]
    return True


def _sizes_and_strides(x: Tensor) -> tuple[Symbols, tuple[Size, ...], tuple[Size, ...]] | None:
    """Of a tensor with symbols for sizes, which are assumed not to be 1: axes of size 1 lie anywhere."""
    recorder = ACTIVE.get()
    symbols = None if recorder is None else recorder.symbols
    if recorder is None or symbols is None or not symbols.hold or 0 in x.memory.shape:
        return None
    sizes = symbols.sizes_of(x)
    if not any(isinstance(size, Dim) for size in sizes):
        return None
    strides = symbols.steps_of(x, recorder)
    if strides is None or any(isinstance(size, Dim) and n == 1 for size, n in zip(sizes, x.memory.shape)):
        symbols.give_up("a layout in memory that may be another at other sizes")
        return None
    for size in sizes:
        if isinstance(size, Dim) and (least_of(size) or 0) < 2:
            symbols.assumptions.assume(Computed("ne", size, 1), True)
    return symbols, sizes, strides
