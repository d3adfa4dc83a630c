"""Windows over axes: what stencils, convolution and pooling are made of.

    windows(x[8], size 3, step 2)       [3, 3], its columns x[0:3], x[2:5], x[4:7], without a copy
    spread(that, length 8)              [8]: each element added up where it came from: the adjoint of windows

Windows are views: of x repeated along new axes, sheared; of x with its axes split, where windows are side by side.
Compiled, neither is anything but another index into x.
"""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from codegen.ir.type_rules import TypeRuleError
from codegen.ir.types import type_of
from tracegrad.dispatch import dispatch
from tracegrad.movement import one_axis
from tracegrad.operands import Operand, refuse_names, tensor_operand
from tracegrad.size_numbers import index, surely_equal
from tracegrad.source_lines import at_user_line
from tracegrad.tensors import Tensor

Sizes = tuple[int, ...]


def one_for_each(op: str, what: str, given: Any, n: int, least: int = 1) -> Sizes:
    """One number for each of n axes, from one number for all, or from n; ValueError for one below `least`."""
    many = isinstance(given, tuple | list)
    numbers = tuple(map(index, given)) if many else (index(given),)
    if len(numbers) == 1:
        numbers *= n
    if len(numbers) != n or any(k < least for k in numbers):
        raise ValueError(at_user_line(f"{op}: {what} must be {n} numbers, at least {least} each, not {given}"))
    return numbers


def windows(op: str, x: Tensor, axes: Sizes, size: Sizes, step: Sizes, dilation: Sizes) -> Tensor:
    """[*size, .., places, ..]: an axis of x becomes the places of its windows; what is in them lies along new axes.

    TypeRuleError, naming `op`, where not one window fits.
    """
    shape = x.shape
    for a, k, d in zip(axes, size, dilation):
        if shape[a] < (k - 1) * d + 1:
            raise TypeRuleError(at_user_line(
                f"{op}: windows of {k}, {d} apart, do not fit into axis {a} of {type_of(x)}"))
    alone = [_side_by_side(*numbers) for numbers in zip(size, step, dilation)]
    if any(alone):
        x = _split(x, axes, size, step, alone)
    moved = [k for k, one in enumerate(alone) if not one]
    if not moved:
        return x
    x = dispatch("broadcast", x, shape=(*size, *x.shape[-len(shape):]))
    return dispatch("shear", x, axes=tuple(len(axes) + axes[k] for k in moved), along=tuple(moved),
                    step=tuple(step[k] for k in moved), dilation=tuple(dilation[k] for k in moved))


def _side_by_side(size: int, step: int, dilation: int) -> bool:
    """Is an element of an axis in one window at most, and those of a window neighbors?"""
    return size == 1 or size == step and dilation == 1


def _split(x: Tensor, axes: Sizes, size: Sizes, step: Sizes, alone: list[bool]) -> Tensor:
    """Windows along those axes where they are side by side; of size 1 along the others."""
    x = _cut(x, {a: (k, s) for a, k, s, one in zip(axes, size, step, alone) if one})
    wide = {a: k for a, k, one in zip(axes, size, alone) if one}
    apart: list[int] = []                               # the shape with those axes in two
    places, within = [], {}
    for k, length in enumerate(x.shape):
        places.append(len(apart))
        within[k] = len(apart) + 1
        apart += [length // wide[k], wide[k]] if k in wide else [length]
    x = dispatch("reshape", x, shape=tuple(apart))
    x = dispatch("transpose", x, axes=(*(within[a] for a in axes if a in wide), *places))
    if all(alone):
        return x
    return dispatch("reshape", x, shape=(*(wide.get(a, 1) for a in axes), *x.shape[len(wide):]))


def _cut(x: Tensor, tiles: dict[int, tuple[int, int]]) -> Tensor:
    """x without what is in no window of a size and step, along the axes of `tiles`, where windows are side by side."""
    stop, stride = list(x.shape), [1] * x.ndim
    for a, (size, step) in tiles.items():
        if size == 1:
            stride[a] = step
        else:
            stop[a] -= stop[a] % size
    if all(map(surely_equal, stop, x.shape)) and all(s == 1 for s in stride):
        return x
    return dispatch("slice", x, start=(0,) * x.ndim, stop=tuple(stop), step=tuple(stride))


def spread(x: Tensor, axes: Sizes, length: Sizes, step: Sizes, dilation: Sizes) -> Tensor:
    """The adjoint of windows: x [*size, .., places, ..] added up to `length` along each of the axes."""
    n = len(axes)
    size = x.shape[:n]
    if all(k == s and d == 1 for k, s, d in zip(size, step, dilation)):
        return _joined(x, axes, length)
    apart = dispatch("unshear", x, axes=tuple(n + a for a in axes), along=tuple(range(n)), step=step,
                     dilation=dilation, size=length)
    return dispatch("sum", apart, axis=tuple(range(n)), keepdims=False)


def _joined(x: Tensor, axes: Sizes, length: Sizes) -> Tensor:
    """spread, where windows are side by side."""
    n = len(axes)
    shape, order = list(x.shape[n:]), []
    for k in range(len(shape)):
        order += [n + k, axes.index(k)] if k in axes else [n + k]
    for a, k in zip(axes, x.shape):
        shape[a] *= k
    x = dispatch("reshape", dispatch("transpose", x, axes=tuple(order)), shape=tuple(shape))
    missing = tuple(dict(zip(axes, length)).get(k, own) - own for k, own in enumerate(shape))
    if not any(missing):
        return x
    none = (0,) * len(shape)
    return dispatch("pad", x, low=none, high=missing, interior=none)


def _last(x: Tensor, n: int) -> Tensor:
    """x with its first n axes last."""
    return dispatch("transpose", x, axes=(*range(n, x.ndim), *range(n)))


def sliding_window_view(x: Operand, window_shape: int | Sequence[int], axis: int | Sequence[int] | None = None,
                        **names: Any) -> Tensor:
    """All windows of a shape, along `axis` (None: every axis), a view that cannot be written to. NumPy's function.

    x [n] gives [n - window_shape + 1, window_shape]; the axes of the windows come last.

        >>> tg.sliding_window_view(tg.arange(4), 2)
        tensor([[0, 1],
                [1, 2],
                [2, 3]])
    """
    op = "sliding_window_view"
    refuse_names(op, names)
    x = tensor_operand(op, x)
    size = tuple(map(index, window_shape)) if isinstance(window_shape, Sequence) else (index(window_shape),)
    n = x.ndim
    if axis is None:
        axes = tuple(range(n))
    else:
        axes = tuple(one_axis(op, x, k, n) for k in (axis if isinstance(axis, Sequence) else (axis,)))
    if len(axes) != len(size) or any(k < 0 for k in size):
        raise ValueError(at_user_line(f"{op}: window_shape {size} does not say how long each axis of {axes} is"))
    if len(set(axes)) < len(axes):
        raise NotImplementedError(at_user_line(f"{op}: tracegrad has no windows over an axis twice yet: {axes}"))
    ones = (1,) * len(axes)
    return _last(windows(op, x, axes, size, ones, ones), len(axes))


def unfold(x: Tensor, dimension: int, size: int, step: int, /) -> Tensor:
    """Slices of `size`, `step` apart along an axis, along a new last axis. PyTorch's method.

        >>> tg.arange(5).unfold(0, 3, 2)
        tensor([[0, 1, 2],
                [2, 3, 4]])
    """
    a = one_axis("unfold", x, dimension, x.ndim)
    width, distance = (one_for_each("unfold", what, given, 1) for what, given in (("size", size), ("step", step)))
    return _last(windows("unfold", x, (a,), width, distance, (1,)), 1)

