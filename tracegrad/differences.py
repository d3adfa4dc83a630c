"""Differences of neighbors, and what is made of them: gradients of samples, integrals, interpolation."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from codegen.ir.type_rules import TypeRuleError
from codegen.ir.types import type_of
from tracegrad.dispatch import dispatch
from tracegrad.dtypes import bool_
from tracegrad.functional import clip, divide, multiply, not_equal, subtract, sum
from tracegrad.functional import where as choose
from tracegrad.movement import broadcast_to, concat, one_axis, reshape
from tracegrad.operands import Operand, axes_of, floating, pair, refuse_names, tensor_operand
from tracegrad.sorting import searchsorted
from tracegrad.source_lines import at_user_line
from tracegrad.splitting import part
from tracegrad.tensors import Tensor


def diff(x: Operand, /, n: int = 1, axis: int = -1, *, prepend: Operand | None = None,
         append: Operand | None = None, **names: Any) -> Tensor:
    """x[i+1] - x[i] along `axis`, n times over; of bools, whether they differ. What is joined to x comes first.

        >>> tg.diff(tg.tensor([1, 4, 9]))
        tensor([3, 5])
    """
    refuse_names("diff", names)
    x = tensor_operand("diff", x)
    k = one_axis("diff", x, axis, x.ndim)
    if n < 0:
        raise ValueError(at_user_line(f"diff: {n} times"))
    ends = [None if end is None else tensor_operand("diff", end) for end in (prepend, append)]
    line = tuple(1 if j == k else size for j, size in enumerate(x.shape))
    before, after = (end if end is None or end.ndim else broadcast_to(end, line) for end in ends)
    if ends != [None, None]:
        x = concat([part for part in (before, x, after) if part is not None], k)
    for _ in range(n):
        size = x.shape[k]
        later, earlier = part(x, k, min(1, size), size), part(x, k, 0, max(size - 1, 0))
        x = not_equal(later, earlier) if x.dtype is bool_ else subtract(later, earlier)
    return x


def ediff1d(x: Operand, /, to_end: Operand | None = None, to_begin: Operand | None = None) -> Tensor:
    """The differences of neighbors in the flattened tensor, between what is to begin and to end with."""
    differences = diff(reshape(x, (-1,)))
    ends = [None if end is None else reshape(end, (-1,)) for end in (to_begin, to_end)]
    return concat([part for part in (ends[0], differences, ends[1]) if part is not None])


def trapezoid(y: Operand, /, x: Operand | None = None, dx: float = 1.0, axis: int = -1) -> Tensor:
    """The integral along `axis` of samples y at the places x, or dx apart, by the trapezoidal rule.

        >>> tg.trapezoid(tg.tensor([1.0, 2.0, 3.0]))
        tensor(4.)
    """
    y = floating(tensor_operand("trapezoid", y))
    k = one_axis("trapezoid", y, axis, y.ndim)
    n = y.shape[k]
    means = (part(y, k, min(1, n), n) + part(y, k, 0, max(n - 1, 0))) / 2
    if x is None:
        return sum(means * dx, k)
    places = tensor_operand("trapezoid", x)
    steps = diff(along(places, y, k) if places.ndim == 1 else places, 1, k)
    return sum(means * steps, k)


def along(line: Tensor, x: Tensor, axis: int) -> Tensor:
    """A line of numbers laid along an axis of x."""
    return reshape(line, tuple(-1 if k == axis else 1 for k in range(x.ndim)))


def gradient(f: Operand, /, *spacing: Operand, axis: int | Sequence[int] | None = None, edge_order: int = 1) -> Any:
    """The derivative of samples f along each axis (or those given): central differences, one-sided at the ends.

    `spacing`: nothing (1), one number for all axes, or for each axis a number or the places of the samples. A single
    axis gives a tensor, several a list. The formula for uneven places is the parabola through three of them.

        >>> tg.gradient(tg.tensor([1.0, 2.0, 4.0, 7.0]))
        tensor([1.0000, 1.5000, 2.5000, 3.0000])
    """
    f = floating(tensor_operand("gradient", f))
    axes = [one_axis("gradient", f, k, f.ndim) for k in axes_of(
        axis if axis is None or isinstance(axis, int) else tuple(axis), f.ndim)]
    if edge_order not in (1, 2):
        raise ValueError(at_user_line(f"gradient: edge_order {edge_order} is neither 1 nor 2"))
    steps = list(spacing) or [1.0]
    if len(steps) == 1 and (len(axes) == 1 or tensor_operand("gradient", steps[0]).ndim == 0):
        steps *= len(axes)
    if len(steps) != len(axes):
        raise TypeError(at_user_line(f"gradient: {len(steps)} spacings for {len(axes)} axes"))
    found = [along_axis(f, k, step, edge_order) for k, step in zip(axes, steps)]
    return found[0] if len(axes) == 1 else found


def along_axis(f: Tensor, k: int, spacing: Operand, edge_order: int) -> Tensor:
    """The gradient along one axis."""
    n = f.shape[k]
    if n < edge_order + 1:
        raise ValueError(at_user_line(f"gradient: {n} elements along axis {k}; at least {edge_order + 1} are needed"))
    step = tensor_operand("gradient", spacing)
    if step.ndim > 1 or step.ndim == 1 and step.shape[0] != n:
        raise TypeRuleError(at_user_line(f"gradient: places {type_of(step)} for {n} elements along axis {k}"))
    uneven = step.ndim == 1
    widths = along(diff(step), f, k) if uneven else None
    slopes = divide(diff(f, 1, k), spacing if widths is None else widths)       # between neighbors
    inner, outer = part(slopes, k, 0, n - 2), part(slopes, k, 1, n - 1)
    if widths is None:
        middle = (inner + outer) / 2
    else:
        before, after = part(widths, k, 0, n - 2), part(widths, k, 1, n - 1)
        middle = (inner * after + outer * before) / (before + after)
    first, last = part(slopes, k, 0, 1), part(slopes, k, n - 2, n - 1)
    if edge_order == 2:
        first = first + (first - part(slopes, k, 1, 2)) * ratio(widths, k, 0, 1)
        last = last + (last - part(slopes, k, n - 3, n - 2)) * ratio(widths, k, n - 2, n - 3)
    return concat([first, middle, last], k)


def ratio(widths: Tensor | None, k: int, a: int, b: int) -> Any:
    """The share of step a in steps a and b."""
    if widths is None:
        return 0.5
    one, other = part(widths, k, a, a + 1), part(widths, k, b, b + 1)
    return one / (one + other)


def interp(x: Operand, /, xp: Operand, fp: Operand, left: Operand | None = None,
           right: Operand | None = None) -> Tensor:
    """At x, the line through the points (xp, fp), whose xp ascend; before and after them fp's ends, or left and right.

        >>> tg.interp(tg.tensor([0.5, 9.0]), tg.tensor([0.0, 1.0]), tg.tensor([10.0, 20.0]))
        tensor([15., 20.])
    """
    at, places = (floating(tensor_operand("interp", o)) for o in pair("interp", x, xp))
    values = floating(tensor_operand("interp", fp))
    if places.ndim != 1 or places.shape != values.shape or not places.size:
        raise TypeRuleError(at_user_line(
            f"interp: {type_of(places)} and {type_of(values)} are not the coordinates of points"))
    n, flat = places.shape[0], reshape(at, (-1,))
    below = clip(searchsorted(places, flat, side="right") - 1, 0, max(n - 2, 0))
    above = below + min(1, n - 1)
    x0, x1, y0, y1 = (dispatch("gather", o, k, axis=0) for o in (places, values) for k in (below, above))
    width = x1 - x0
    line = y0 + multiply(y1 - y0, divide(flat - x0, choose(width == 0, 1.0, width)))
    first, last = (part(places, 0, k, k + 1) for k in (0, n - 1))
    start, end = (part(values, 0, k, k + 1) for k in (0, n - 1))
    line = choose(flat < first, start if left is None else left, line)
    line = choose(flat == last, end, choose(flat > last, end if right is None else right, line))
    return reshape(line, at.shape)
