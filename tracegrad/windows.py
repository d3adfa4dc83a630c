"""Windows over axes: what stencils, convolution and pooling are made of.

    windows(x[8], size 3, step 2)       [3, 3]: x[0:3], x[2:5], x[4:7], without a copy
    spread(that, length 8)              [8]: each element added up where it came from: the adjoint of windows

Windows are views: of x repeated along new axes, sheared; of x with its axes split, where windows are side by side.
Compiled, neither is anything but another index into x.
"""
from __future__ import annotations

from collections.abc import Sequence
from operator import index
from typing import Any

from codegen.ir.type_rules import TypeRuleError
from codegen.ir.types import type_of
from tracegrad.dispatch import dispatch
from tracegrad.movement import one_axis
from tracegrad.operands import Operand, refuse_names, tensor_operand
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
    """[.., places, .., *size]: an axis of x becomes the places of its windows; what is in them lies along new axes.

    TypeRuleError, naming `op`, where not one window fits.
    """
    shape = x.array.shape
    for a, k, d in zip(axes, size, dilation):
        if shape[a] < (k - 1) * d + 1:
            raise TypeRuleError(at_user_line(
                f"{op}: windows of {k}, {d} apart, do not fit into axis {a} of {type_of(x.array)}"))
    split = [_side_by_side(*numbers) for numbers in zip(size, step, dilation)]
    x = _cut(x, {a: (k, s) for a, k, s, alone in zip(axes, size, step, split) if alone})
    n, places = x.array.ndim, dict(zip(axes, zip(size, split)))
    apart: list[int] = []                               # the shape with split axes split
    own, within = [], {}                                # where in it an axis of x is, and the rest of one that is split
    for k, length in enumerate(x.array.shape):
        own.append(len(apart))
        width, alone = places.get(k, (1, False))
        apart += [length // width, width] if alone else [length]
        within[k] = own[-1] + 1
    for a, alone in zip(axes, split):
        if not alone:
            within[a] = len(apart)
            apart.append(1)
    x = dispatch("reshape", x, shape=tuple(apart))
    x = dispatch("transpose", x, axes=(*own, *(within[a] for a in axes)))
    return _sheared(x, n, axes, size, step, dilation, split)


def _sheared(x: Tensor, n: int, axes: Sizes, size: Sizes, step: Sizes, dilation: Sizes, split: list[bool]) -> Tensor:
    """The windows that are not side by side; those that are lie along their axes already."""
    moved = [k for k, alone in enumerate(split) if not alone]
    if not moved:
        return x
    x = dispatch("broadcast", x, shape=(*x.array.shape[:n], *size))
    return dispatch("shear", x, axes=tuple(axes[k] for k in moved), along=tuple(n + k for k in moved),
                    step=tuple(step[k] for k in moved), dilation=tuple(dilation[k] for k in moved))


def _side_by_side(size: int, step: int, dilation: int) -> bool:
    """Is an element of an axis in one window at most, and those of a window neighbors?"""
    return size == 1 or size == step and dilation == 1


def _cut(x: Tensor, tiles: dict[int, tuple[int, int]]) -> Tensor:
    """x without what is in no window of a size and step, along the axes of `tiles`, where windows are side by side."""
    stop, stride = list(x.array.shape), [1] * x.array.ndim
    for a, (size, step) in tiles.items():
        if size == 1:
            stride[a] = step
        else:
            stop[a] -= stop[a] % size
    if tuple(stop) == x.array.shape and all(s == 1 for s in stride):
        return x
    return dispatch("slice", x, start=(0,) * x.array.ndim, stop=tuple(stop), step=tuple(stride))


def spread(x: Tensor, axes: Sizes, length: Sizes, step: Sizes, dilation: Sizes) -> Tensor:
    """The adjoint of windows: x [.., places, .., *size] added up to `length` along each of the axes."""
    n = x.array.ndim - len(axes)
    along = tuple(range(n, x.array.ndim))
    if all(_side_by_side(x.array.shape[o], s, d) and x.array.shape[o] == s for o, s, d in zip(along, step, dilation)):
        return _side_to_side(x, axes, length)
    return dispatch("sum", dispatch("unshear", x, axes=axes, along=along, step=step, dilation=dilation, size=length),
                    axis=along, keepdims=False)


def _side_to_side(x: Tensor, axes: Sizes, length: Sizes) -> Tensor:
    """spread, where nothing meets."""
    n = x.array.ndim - len(axes)
    shape, order = list(x.array.shape[:n]), []
    for k in range(n):
        order += [k, n + axes.index(k)] if k in axes else [k]
    for a, size in zip(axes, x.array.shape[n:]):
        shape[a] *= size
    x = dispatch("reshape", dispatch("transpose", x, axes=tuple(order)), shape=tuple(shape))
    missing = [0] * n
    for a, whole in zip(axes, length):
        missing[a] = whole - shape[a]
    if not any(missing):
        return x
    return dispatch("pad", x, low=(0,) * n, high=tuple(missing), interior=(0,) * n)


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
    n = x.array.ndim
    if axis is None:
        axes = tuple(range(n))
    else:
        axes = tuple(one_axis(op, x, k, n) for k in (axis if isinstance(axis, Sequence) else (axis,)))
    if len(axes) != len(size) or any(k < 0 for k in size):
        raise ValueError(at_user_line(f"{op}: window_shape {size} does not say how long each axis of {axes} is"))
    if len(set(axes)) < len(axes):
        raise NotImplementedError(at_user_line(f"{op}: tracegrad has no windows over an axis twice yet: {axes}"))
    ones = (1,) * len(axes)
    return windows(op, x, axes, size, ones, ones)


def unfold(x: Tensor, dimension: int, size: int, step: int, /) -> Tensor:
    """Slices of `size`, `step` apart along an axis, along a new last axis. PyTorch's method.

        >>> tg.arange(5).unfold(0, 3, 2)
        tensor([[0, 1, 2],
                [2, 3, 4]])
    """
    a = one_axis("unfold", x, dimension, x.array.ndim)
    return windows("unfold", x, (a,), one_for_each("unfold", "size", size, 1),
                   one_for_each("unfold", "step", step, 1), (1,))

