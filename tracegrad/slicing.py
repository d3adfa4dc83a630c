"""Views by ints, slices and None: x[1:5, None, -1].

    x[1:5, None, -1]    slice, then reshape            x[::-2]       slice, then flip
"""
from __future__ import annotations

import operator
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from codegen.ir.structs import struct
from tracegrad.dispatch import dispatch, view
from tracegrad.indexing_keys import WHOLE
from tracegrad.size_numbers import index
from tracegrad.sized import Sized, symbols_of_run
from tracegrad.source_lines import at_user_line
from tracegrad.tensors import Tensor


def row(x: Tensor, k: int) -> Tensor:
    """x[k]."""
    size, *others = x.shape
    at, rest = position(k, size, 0), tuple(others)
    cut = {"start": (at, *[0] * len(rest)), "stop": (at + 1, *rest), "step": (1,) * (len(rest) + 1)}
    if type(x.held) is not np.ndarray or isinstance(x, Sized):
        return dispatch("reshape", dispatch("slice", x, **cut), shape=rest)
    array = x.array
    return view("reshape", view("slice", x, array[at:at + 1], cut), array[at, ...], {"shape": rest})


def rows(x: Tensor, /) -> Iterator[Tensor]:
    """The tensors along the first axis."""
    if x.ndim == 0:
        raise TypeError(at_user_line("iter: a 0-d tensor cannot be iterated over"))
    return (row(x, k) for k in range(x.shape[0]))


def basic(x: Tensor, keys: Sequence[Any]) -> Tensor:
    """x[keys] for ints, slices and None: at most a slice, a flip and a reshape."""
    cuts: list[slice] = []                  # one for each axis, from a start below the stop, forwards
    lengths: list[int] = []
    shape: list[int] = []
    reversed_axes: list[int] = []
    sizes, steps_of = x.shape, range_of if symbols_of_run() is None else Steps.of
    for k in keys:
        axis = len(cuts)
        if k is None:
            shape.append(1)
        elif type(k) is slice:
            steps = steps_of(k, sizes[axis])
            if steps.step < 0:
                reversed_axes.append(axis)
                steps = steps[::-1]
            n = len(steps) if type(steps) is range else steps.count
            cuts.append(slice(steps[0], steps[-1] + 1, steps.step) if n else slice(0, 0, 1))
            shape.append(n)
            lengths.append(n)
        else:
            at = position(k, sizes[axis], axis)
            cuts.append(slice(at, at + 1, 1))
            lengths.append(1)
    kept: Any = (*cuts, ...)                # with ... the result is an array, even of no axes
    wanted = tuple(shape)
    ends = {"start": tuple([cut.start for cut in cuts]), "stop": tuple([cut.stop for cut in cuts]),
            "step": tuple([cut.step for cut in cuts])}
    if type(x.held) is not np.ndarray or isinstance(x, Sized):
        return _by_ops(x, ends, tuple(lengths), tuple(reversed_axes), wanted)
    part = x.array[kept]
    if part.shape != sizes:                 # a slice that keeps every size is the whole
        x = view("slice", x, part, ends)
    elif wanted == sizes and not reversed_axes:
        return view("reshape", x, part, {"shape": sizes})               # x[...]: a view of the whole
    if reversed_axes:
        x = dispatch("flip", x, axes=tuple(reversed_axes))
    return x if x.shape == wanted else view("reshape", x, x.array.reshape(wanted), {"shape": wanted})


def _by_ops(x: Tensor, ends: dict[str, tuple[int, ...]], lengths: tuple[int, ...], reversed_axes: tuple[int, ...],
            wanted: tuple[int, ...]) -> Tensor:
    """What `basic` gives, of a Tensor whose array is yet to be computed, or not to be looked at."""
    sizes = x.shape
    if lengths != sizes:
        x = dispatch("slice", x, **ends)
    elif wanted == sizes and not reversed_axes:
        return dispatch("reshape", x, shape=sizes)
    if reversed_axes:
        x = dispatch("flip", x, axes=reversed_axes)
    return x if x.shape == wanted else dispatch("reshape", x, shape=wanted)


def range_of(k: slice, size: int) -> range:
    """What a slice selects of an axis."""
    return range(size) if k is WHOLE else range(*k.indices(size))


@struct
class Steps:
    """A range where numbers may be SizeNumbers: `count` of them, from `start` on, `step` apart, at least 1 of them if
    any is asked for.
    """

    start: int
    step: int
    count: int

    @staticmethod
    def of(k: slice, size: int) -> Steps:
        """What a slice selects of an axis (see slice.indices)."""
        step = 1 if k.step is None else operator.index(k.step)
        low, high = (0, size) if step > 0 else (-1, size - 1)
        first, last = (low, high) if step > 0 else (high, low)
        start = first if k.start is None else _within(index(k.start), size, low, high)
        stop = last if k.stop is None else _within(index(k.stop), size, low, high)
        apart = stop - start if step > 0 else start - stop
        return Steps(start, step, (apart + (abs(step) - 1)) // abs(step) if apart > 0 else 0)

    def __getitem__(self, k: Any) -> Any:
        if isinstance(k, slice):                        # reversed
            return Steps(self[-1], -self.step, self.count)
        return self.start + (k if k >= 0 else self.count + k) * self.step


def _within(k: int, size: int, low: int, high: int) -> int:
    """The start or the stop of a slice, counted from the end if below 0, and where it is beyond one, that end."""
    k = k + size if k < 0 else k
    return low if k < low else k if k <= high else high


def position(k: int, size: int, axis: int) -> int:
    """An int index, counted from the end if below 0."""
    if not -size <= k < size:
        raise IndexError(at_user_line(f"indexing: index {k} is out of bounds for axis {axis} of size {size}"))
    return k if k >= 0 else k + size
