"""Pooling over windows of the last axes, by PyTorch's rules for padding, stride, dilation and ceil_mode.

    max_pool2d(x[b,c,h,w], 2)       the largest of each 2x2 block; its gradient goes to the first of those that tie

1. A window begins inside of x or of the padding in front of it; with ceil_mode the last may reach over the end.
2. Where windows are side by side they are a reshape, else a shear (see windows): pooling copies nothing.
"""
from __future__ import annotations

from collections.abc import Callable
from math import inf, prod
from typing import Any

import numpy as np

from codegen.ir.type_rules import TypeRuleError
from codegen.ir.types import type_of
from tracegrad import functional
from tracegrad.dispatch import GRAD, dispatch
from tracegrad.dtypes import FLOATING, name_of
from tracegrad.movement import reshape
from tracegrad.operands import Operand, floating, tensor_operand
from tracegrad.padding import filled
from tracegrad.source_lines import at_user_line
from tracegrad.tensors import Tensor
from tracegrad.windows import Sizes, one_for_each, windows


def _max_pool(name: str, n: int) -> Callable[..., Any]:
    def apply(x: Operand, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1,
              ceil_mode: bool = False, return_indices: bool = False) -> Any:
        x, size, step, edge = _arguments(name, x, kernel_size, stride, padding, n)
        apart = one_for_each(name, "dilation", dilation, n)
        w = _pool_windows(name, x, size, step, edge, apart, ceil_mode, lowest(x.dtype))
        within = tuple(range(n))
        if not return_indices and not (x.requires_grad and GRAD.enabled):
            return functional.max(w, axis=within)
        first = first_largest(w, n)
        y = functional.sum(functional.where(first, w, 0), axis=within, dtype=x.dtype)
        return (y, _positions(first, x.shape[-n:], step, edge, apart)) if return_indices else y

    apply.__doc__ = f"""The largest element of each window of x [..., *space] over its last {n} axes.

    `stride`: from window to window, `kernel_size` unless given. `padding`: never the largest, at both ends. `dilation`:
    between the elements of a window. `ceil_mode`: a last window may reach over the end. With `return_indices` also
    where each is in the flattened space. NaN where there is one.

        >>> tg.{name}(tg.ones(1, {', '.join('7' * n)}), 3, stride=2).shape
        (1, {', '.join('3' * n)})
    """
    return _named(apply, name)


def _avg_pool(name: str, n: int) -> Callable[..., Tensor]:
    def apply(x: Operand, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False,
              count_include_pad: bool = True, divisor_override: int | None = None) -> Tensor:
        x, size, step, edge = _arguments(name, x, kernel_size, stride, padding, n)
        x = floating(x)
        w = _pool_windows(name, x, size, step, edge, (1,) * n, ceil_mode, 0)
        total = functional.sum(w, axis=tuple(range(n)))
        if divisor_override is not None:
            return total / float(divisor_override)
        for k, (length, s, p, m) in enumerate(zip(x.shape[-n:], size, edge, step)):
            count = _counts(total.shape[k - n], length, s, m, p, count_include_pad, total.dtype)
            total = total / (count if isinstance(count, float) else reshape(count, (-1, *(1,) * (n - 1 - k))))
        return total

    apply.__doc__ = f"""The mean of each window of x [..., *space] over its last {n} axes.

    `stride`: from window to window, `kernel_size` unless given. `padding`: zeros at both ends, which count in the mean
    if `count_include_pad`. `ceil_mode`: a last window may reach over the end; what is beyond does not count.
    `divisor_override`: divide by this instead of the number of elements.

        >>> tg.{name}(tg.ones(1, {', '.join('7' * n)}), 3, stride=2).shape
        (1, {', '.join('3' * n)})
    """
    return _named(apply, name)


def _lp_pool(name: str, n: int, mean: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def apply(x: Operand, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False) -> Tensor:
        whole = prod(one_for_each(name, "kernel_size", kernel_size, n))
        powers = floating(tensor_operand(name, x)) ** norm_type
        return (mean(powers, kernel_size, stride, ceil_mode=ceil_mode) * whole) ** (1 / norm_type)

    apply.__doc__ = f"""(The sum of x**norm_type over each window of x [..., *space], its last {n} axes)**(1/norm_type).

    `stride` and `ceil_mode` as in avg_pool{n}d; a window that reaches over the end counts as if what is in it were its
    mean everywhere.

        >>> tg.nn.functional.{name}(tg.ones(1, {', '.join('4' * n)}), 2, 4).item()
        {2.0 ** n}
    """
    return _named(apply, name)


def _named(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    function.__name__ = function.__qualname__ = name
    return function


def _arguments(op: str, x: Operand, kernel_size: Any, stride: Any, padding: Any,
               n: int) -> tuple[Tensor, Sizes, Sizes, Sizes]:
    x = _spatial(op, x, n)
    size = one_for_each(op, "kernel_size", kernel_size, n)
    step = size if stride is None else one_for_each(op, "stride", stride, n)
    edge = one_for_each(op, "padding", padding, n, 0)
    if any(2 * p > k for p, k in zip(edge, size)):
        raise ValueError(at_user_line(f"{op}: padding {edge} is more than half of kernel_size {size}"))
    return x, size, step, edge


def _spatial(op: str, x: Operand, n: int) -> Tensor:
    x = tensor_operand(op, x)
    if x.ndim not in (n + 1, n + 2):
        raise TypeRuleError(at_user_line(f"{op}: x {type_of(x)} must have {n + 1} or {n + 2} axes"))
    return x


def _pool_windows(op: str, x: Tensor, size: Sizes, step: Sizes, edge: Sizes, dilation: Sizes, ceil_mode: bool,
                  fill: Any) -> Tensor:
    """The windows [*size, ..., *places], in which `fill` stands for what is not in x."""
    n, beyond = len(size), []
    for length, k, s, p, d in zip(x.shape[-n:], size, step, edge, dilation):
        span = d * (k - 1) + 1
        room = length + 2 * p - span
        places = (room + s - 1 if ceil_mode else room) // s + 1
        if ceil_mode and (places - 1) * s >= length + p:
            places -= 1
        if room < 0 or places < 1:
            raise TypeRuleError(at_user_line(f"{op}: windows of {size} do not fit into {type_of(x)}"))
        beyond.append(max(0, (places - 1) * s + span - length - p))
    axes = tuple(range(x.ndim - n, x.ndim))
    return windows(op, filled(x, edge, tuple(beyond), fill), axes, size, step, dilation)


def lowest(dtype: np.dtype) -> Any:
    """What no number of dtype is below."""
    if dtype in FLOATING:
        return -inf
    return 0 if dtype.kind in "ub" else int(np.iinfo(dtype).min)


def first_largest(w: Tensor, n: int) -> Tensor:
    """True at the first of the largest elements over the first n axes, or at the first NaN."""
    w, axes = functional.detach(w), tuple(range(n))
    size = w.shape[:n]
    found = functional.equal(w, functional.max(w, axis=axes, keepdims=True))
    if w.dtype in FLOATING:
        found = dispatch("or", found, dispatch("ne", w, w))
    number = dispatch("iota", shape=(prod(size),), axis=0, dtype="i32")
    number = reshape(number, (*size, *(1,) * (w.ndim - n)))
    earliest = functional.min(functional.where(found, number, prod(size)), axis=axes, keepdims=True)
    return functional.equal(number, earliest)


def _positions(first: Tensor, space: Sizes, step: Sizes, edge: Sizes, dilation: Sizes) -> Tensor:
    """Where in the flattened space the only true element of each window is."""
    n = len(space)
    size, places = first.shape[:n], first.shape[-n:]
    total: Any = 0
    for k in range(n):
        stride = prod(space[k + 1:])
        start = _numbers(places[k], n - 1 - k) * (step[k] * stride)
        within = _numbers(size[k], first.ndim - 1 - k) * (dilation[k] * stride)
        total = total + start + within - edge[k] * stride
    return functional.sum(functional.where(first, total, 0), axis=tuple(range(n)))


def _numbers(count: int, after: int) -> Tensor:
    """0, 1, 2, ... along an axis that has `after` axes after it."""
    return reshape(dispatch("iota", shape=(count,), axis=0, dtype="i64"), (count, *(1,) * after))


def _counts(places: int, length: int, size: int, step: int, edge: int, with_edge: bool, dtype: Any) -> Any:
    """How many elements of each window along an axis count: one number, or a Tensor [places] where they differ."""
    low, high = (0, length + 2 * edge) if with_edge else (edge, edge + length)
    if low == 0 and (places - 1) * step + size <= high:
        return float(size)
    start = dispatch("iota", shape=(places,), axis=0, dtype=name_of(dtype)) * float(step)
    return dispatch("minimum", start + float(size), float(high)) - dispatch("maximum", start, float(low))


# ---- to a given size ----------------------------------------------------------------------------------------------


def _adaptive(name: str, n: int, doc: str, pool: Callable[[Tensor, int, Tensor], Tensor],
              even: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def apply(x: Operand, output_size: Any) -> Tensor:
        x = _spatial(name, x, n)
        shape = x.shape[-n:]
        wanted = output_size if isinstance(output_size, tuple | list) else (output_size,) * n
        filled_in = tuple(own if size is None else size for own, size in zip(shape, wanted, strict=True))
        out = one_for_each(name, "output_size", filled_in, n)
        if all(own and own % size == 0 for own, size in zip(shape, out)):
            return even(x, tuple(own // size for own, size in zip(shape, out)))
        for k in reversed(range(n)):
            x = pool(x, x.ndim - n + k, _parts(shape[k], out[k]))
        return x

    apply.__doc__ = doc
    return _named(apply, name)


def _parts(length: int, out: int) -> Tensor:
    """[out, length]: is an element of an axis in part i of `out`, that is from i*length/out to (i+1)*length/out?"""
    i, k = _numbers(out, 1), _numbers(length, 0)
    return dispatch("and", dispatch("gt", (k + 1) * out, i * length), dispatch("lt", k * out, (i + 1) * length))


def _beside(x: Tensor, axis: int, parts: Tensor) -> tuple[Tensor, Tensor]:
    """x and parts with their axes beside each other: [.., 1, length, ..] and [out, length, 1..]."""
    shape = x.shape
    return reshape(x, (*shape[:axis], 1, *shape[axis:])), reshape(
        parts, (*parts.shape, *(1,) * (len(shape) - axis - 1)))


def _mean_of_parts(x: Tensor, axis: int, parts: Tensor) -> Tensor:
    x, inside = _beside(floating(x), axis, parts)
    count = functional.sum(functional.where(inside, 1.0, 0.0), axis=1)
    return functional.sum(functional.where(inside, x, 0.0), axis=axis + 1) / count.to(x.dtype)


def _max_of_parts(x: Tensor, axis: int, parts: Tensor) -> Tensor:
    x, inside = _beside(x, axis, parts)
    w = functional.where(inside, x, lowest(x.dtype))
    w = dispatch("transpose", w, axes=(axis + 1, *(k for k in range(w.ndim) if k != axis + 1)))
    if not (x.requires_grad and GRAD.enabled):
        return functional.max(w, axis=0)
    return functional.sum(functional.where(first_largest(w, 1), w, 0), axis=0)


max_pool1d, max_pool2d, max_pool3d = (_max_pool(f"max_pool{n}d", n) for n in (1, 2, 3))
avg_pool1d, avg_pool2d, avg_pool3d = (_avg_pool(f"avg_pool{n}d", n) for n in (1, 2, 3))
lp_pool1d, lp_pool2d = (_lp_pool(f"lp_pool{n}d", n, mean) for n, mean in ((1, avg_pool1d), (2, avg_pool2d)))

adaptive_avg_pool1d, adaptive_avg_pool2d = (_adaptive(
    f"adaptive_avg_pool{n}d", n, f"""The means of `output_size` parts of the last {n} axes, which may overlap.

    x [..., *space]; a part i of n is from floor(i*length/n) to ceil((i+1)*length/n); None keeps a size.
    """, _mean_of_parts, avg) for n, avg in ((1, avg_pool1d), (2, avg_pool2d)))
adaptive_max_pool1d, adaptive_max_pool2d = (_adaptive(
    f"adaptive_max_pool{n}d", n, f"""The largest elements of `output_size` parts of the last {n} axes; they may overlap.

    x [..., *space]; a part i of n is from floor(i*length/n) to ceil((i+1)*length/n); None keeps a size.
    """, _max_of_parts, largest) for n, largest in ((1, max_pool1d), (2, max_pool2d)))
