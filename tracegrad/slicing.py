"""Views by ints, slices and None: x[1:5, None, -1].

    x[1:5, None, -1]    slice, then reshape            x[::-2]       slice, then flip
"""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from tracegrad.dispatch import dispatch, view
from tracegrad.indexing_keys import WHOLE
from tracegrad.pending import Deferred
from tracegrad.source_lines import at_user_line
from tracegrad.tensors import Tensor


def row(x: Tensor, k: int) -> Tensor:
    """x[k]."""
    size, *others = x.shape
    at, rest = position(k, size, 0), tuple(others)
    cut = {"start": (at, *[0] * len(rest)), "stop": (at + 1, *rest), "step": (1,) * (len(rest) + 1)}
    if isinstance(x, Deferred):
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
    shape: list[int] = []
    reversed_axes: list[int] = []
    sizes = x.shape
    for k in keys:
        axis = len(cuts)
        if k is None:
            shape.append(1)
        elif type(k) is slice:
            steps = range(sizes[axis]) if k is WHOLE else range(*k.indices(sizes[axis]))
            if steps.step < 0:
                reversed_axes.append(axis)
                steps = steps[::-1]
            n = len(steps)
            cuts.append(slice(steps[0], steps[-1] + 1, steps.step) if n else slice(0, 0, 1))
            shape.append(n)
        else:
            at = position(k, sizes[axis], axis)
            cuts.append(slice(at, at + 1, 1))
    kept: Any = (*cuts, ...)                # with ... the result is an array, even of no axes
    wanted = tuple(shape)
    ends = {"start": tuple([cut.start for cut in cuts]), "stop": tuple([cut.stop for cut in cuts]),
            "step": tuple([cut.step for cut in cuts])}
    if isinstance(x, Deferred):
        return _of_deferred(x, ends, tuple(reversed_axes), wanted)
    part = x.array[kept]
    if part.shape != sizes:                 # a slice that keeps every size is the whole
        x = view("slice", x, part, ends)
    elif wanted == sizes and not reversed_axes:
        return view("reshape", x, part, {"shape": sizes})               # x[...]: a view of the whole
    if reversed_axes:
        x = dispatch("flip", x, axes=tuple(reversed_axes))
    return x if x.shape == wanted else view("reshape", x, x.array.reshape(wanted), {"shape": wanted})


def _of_deferred(x: Tensor, ends: dict[str, tuple[int, ...]], reversed_axes: tuple[int, ...],
                 wanted: tuple[int, ...]) -> Tensor:
    """What `basic` gives, of a Tensor whose array is yet to be computed."""
    sizes = x.shape
    if tuple(map(len, map(range, ends["start"], ends["stop"], ends["step"]))) != sizes:
        x = dispatch("slice", x, **ends)
    elif wanted == sizes and not reversed_axes:
        return dispatch("reshape", x, shape=sizes)
    if reversed_axes:
        x = dispatch("flip", x, axes=reversed_axes)
    return x if x.shape == wanted else dispatch("reshape", x, shape=wanted)


def position(k: int, size: int, axis: int) -> int:
    """An int index, counted from the end if below 0."""
    if not -size <= k < size:
        raise IndexError(at_user_line(f"indexing: index {k} is out of bounds for axis {axis} of size {size}"))
    return k % size
