"""Convolution, by PyTorch's rules: correlation of [batch, channels, *space] with filters, channels first.

    conv2d(x[n,c,h,w], weight[o,c,3,3])     weight[o, c*9] @ windows of x [c*9, n*h*w], in one product: [o, n*h*w]

1. Products are of whole batches, so the space of the result is last in memory and its channels first: what follows
   reads it along its rows, and both derivatives are again one product.
2. Filters of one channel each are no product worth the name: they are multiplied and added up in place.
"""
from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

from codegen.ir.type_rules import TypeRuleError
from codegen.ir.types import type_of
from tracegrad.dispatch import dispatch
from tracegrad.functional import add, matmul, multiply, sum
from tracegrad.movement import reshape
from tracegrad.operands import Operand, pair, tensor_operand
from tracegrad.padding import padded
from tracegrad.source_lines import at_user_line
from tracegrad.tensors import Tensor
from tracegrad.windows import Sizes, one_for_each, spread, windows

Padding = int | str | tuple[int, ...]


def _convolution(name: str, n: int) -> Callable[..., Tensor]:
    def apply(x: Operand, weight: Operand, bias: Operand | None = None, stride: Any = 1, padding: Padding = 0,
              dilation: Any = 1, groups: int = 1) -> Tensor:
        x, weight = _operands(name, x, weight, n)
        step, apart = one_for_each(name, "stride", stride, n), one_for_each(name, "dilation", dilation, n)
        size = weight.shape[2:]
        low, high = _edges(name, padding, size, step, apart)
        _require_channels(name, x, weight, n, weight.shape[1] * groups, weight.shape[0], groups)
        y = _convolved(name, padded(_batch(x, n), low, high), weight, bias, step, apart, groups)
        return y if x.ndim == n + 2 else reshape(y, y.shape[1:])

    spaces = ",".join("dhw"[3 - n:])
    apply.__doc__ = f"""Filters over {n} {'axis' if n == 1 else 'axes'}.

    x [b,c,{spaces}] or [c,{spaces}], weight [o,c/groups,*size], bias [o].
    `padding`: zeros at both ends, "valid" (none), or "same" (as many as keep the size, for stride 1). The result is
    [b,o,*places]: (size of x + 2*padding - dilation*(size - 1) - 1) // stride + 1 places along an axis.

        >>> tg.{name}(tg.ones(1, 2, {', '.join('5' * n)}), tg.ones(3, 2, {', '.join('3' * n)})).shape
        (1, 3, {', '.join('3' * n)})
    """
    return _named(apply, name)


def _transposed(name: str, n: int) -> Callable[..., Tensor]:
    def apply(x: Operand, weight: Operand, bias: Operand | None = None, stride: Any = 1, padding: Any = 0,
              output_padding: Any = 0, groups: int = 1, dilation: Any = 1) -> Tensor:
        x, weight = _operands(name, x, weight, n)
        step, apart = one_for_each(name, "stride", stride, n), one_for_each(name, "dilation", dilation, n)
        cut = one_for_each(name, "padding", padding, n, 0)
        more = one_for_each(name, "output_padding", output_padding, n, 0)
        if any(k >= max(s, d) for k, s, d in zip(more, step, apart)):
            raise ValueError(at_user_line(
                f"{name}: output_padding {more} is not smaller than stride {step} or dilation {apart}"))
        _require_channels(name, x, weight, n, weight.shape[0], weight.shape[1] * groups, groups)
        y = _spread_out(_batch(x, n), weight, step, apart, groups)
        y = cropped(padded(y, (0,) * n, more), cut)
        if bias is not None:
            y = add(y, reshape(tensor_operand(name, bias), (-1, *(1,) * n)))
        return y if x.ndim == n + 2 else reshape(y, y.shape[1:])

    spaces = ",".join("dhw"[3 - n:])
    apply.__doc__ = f"""The adjoint of a conv{n}d of those filters.

    x [b,c,{spaces}] or [c,{spaces}], weight [c,o/groups,*size], bias [o]. The result is [b,o,*space], of
    (places - 1)*stride - 2*padding + dilation*(size - 1) + output_padding + 1 elements along an
    axis; `output_padding` chooses among the sizes that a convolution of that stride takes to the same places.

        >>> tg.{name}(tg.ones(1, 3, {', '.join('3' * n)}), tg.ones(3, 2, {', '.join('2' * n)}), stride=2).shape
        (1, 2, {', '.join('6' * n)})
    """
    return _named(apply, name)


def _named(function: Callable[..., Tensor], name: str) -> Callable[..., Tensor]:
    function.__name__ = function.__qualname__ = name
    return function


# ---- operands -----------------------------------------------------------------------------------------------------


def _operands(op: str, x: Operand, weight: Operand, n: int) -> tuple[Tensor, Tensor]:
    a: Tensor
    b: Tensor
    a, b = pair(op, tensor_operand(op, x), tensor_operand(op, weight))
    if a.ndim not in (n + 1, n + 2) or b.ndim != n + 2:
        raise TypeRuleError(at_user_line(
            f"{op}: x {type_of(a)} must have {n + 1} or {n + 2} axes, weight {type_of(b)} {n + 2}"))
    return a, b


def _batch(x: Tensor, n: int) -> Tensor:
    """x with an axis for the batch."""
    return x if x.ndim == n + 2 else reshape(x, (1, *x.shape))


def _require_channels(op: str, x: Tensor, weight: Tensor, n: int, into: int, out: int, groups: int) -> None:
    channels = x.shape[-n - 1]
    if groups < 1 or channels != into or channels % groups or out % groups:
        raise TypeRuleError(at_user_line(
            f"{op}: x {type_of(x)} has {channels} channels; weight {type_of(weight)} in {groups} groups "
            f"takes {into} to {out}"))


def _edges(op: str, padding: Padding, size: Sizes, step: Sizes, dilation: Sizes) -> tuple[Sizes, Sizes]:
    """How many zeros before and after each axis."""
    if padding == "valid":
        return (0,) * len(size), (0,) * len(size)
    if padding == "same":
        if any(s != 1 for s in step):
            raise ValueError(at_user_line(f'{op}: padding="same" asks for stride 1, not {step}'))
        whole = [d * (k - 1) for k, d in zip(size, dilation)]
        return tuple(k // 2 for k in whole), tuple(k - k // 2 for k in whole)
    if isinstance(padding, str):
        raise ValueError(at_user_line(f'{op}: padding is a number, "same" or "valid", not {padding!r}'))
    both = one_for_each(op, "padding", padding, len(size), 0)
    return both, both


def cropped(x: Tensor, edge: Sizes) -> Tensor:
    """x without an edge around its last axes."""
    if not any(edge):
        return x
    whole = (0,) * (x.ndim - len(edge))
    start = (*whole, *edge)
    stop = tuple(max(a, size - a) for size, a in zip(x.shape, start))
    return dispatch("slice", x, start=start, stop=stop, step=(1,) * x.ndim)


# ---- what they compute --------------------------------------------------------------------------------------------


def _convolved(op: str, x: Tensor, weight: Tensor, bias: Operand | None, step: Sizes, dilation: Sizes,
               groups: int) -> Tensor:
    n = len(step)
    space, size = tuple(range(2, n + 2)), weight.shape[2:]
    batch, channels, out = x.shape[0], x.shape[1], weight.shape[0]
    w = windows(op, x, space, size, step, dilation)
    places = w.shape[n + 2:]
    if channels == groups > 1:
        return _filtered(w, weight, bias, n)
    order = (n + 1, *range(n), n, *range(n + 2, 2 * n + 2))                 # channels, size, batch, places
    terms, count = channels // groups * prod(size), batch * prod(places)
    columns = reshape(dispatch("transpose", w, axes=order), _grouped(groups, terms, count))
    y = matmul(reshape(weight, _grouped(groups, out // groups, terms)), columns)
    y = reshape(y, (out, count))
    if bias is not None:
        y = add(y, reshape(tensor_operand(op, bias), (-1, 1)))
    return _channels_second(reshape(y, (out, batch, *places)))


def _filtered(w: Tensor, weight: Tensor, bias: Operand | None, n: int) -> Tensor:
    """One channel to a group: windows w [*size, batch, channels, *places] times weight [out, 1, *size], summed."""
    size, (batch, channels, *places) = w.shape[:n], w.shape[n:]
    out = weight.shape[0]
    if out != channels:
        w = reshape(w, (*size, batch, channels, 1, *places))
    fan = (channels, out // channels) if out != channels else (channels,)
    filters = dispatch("transpose", reshape(weight, (out, *size)), axes=(*range(1, n + 1), 0))
    y = sum(multiply(w, reshape(filters, (*size, 1, *fan, *(1,) * n))), axis=tuple(range(n)))
    y = reshape(y, (batch, out, *places))
    return y if bias is None else add(y, reshape(bias, (-1, *(1,) * n)))


def _spread_out(x: Tensor, weight: Tensor, step: Sizes, dilation: Sizes, groups: int) -> Tensor:
    n = len(step)
    size, space = weight.shape[2:], tuple(range(2, n + 2))
    batch, channels, *places = x.shape
    out, fan = weight.shape[1] * groups, channels // groups
    count, terms = batch * prod(places), weight.shape[1] * prod(size)
    rows = reshape(_channels_second(x), _grouped(groups, fan, count))
    filters = reshape(weight, _grouped(groups, fan, terms))
    columns = matmul(dispatch("transpose", filters, axes=(*range(filters.ndim - 2), -1 + filters.ndim,
                                                          -2 + filters.ndim)), rows)
    columns = reshape(columns, (out, *size, batch, *places))
    order = (*range(1, n + 1), n + 1, 0, *range(n + 2, 2 * n + 2))          # size, batch, channels, places
    length = tuple((p - 1) * s + d * (k - 1) + 1 for p, s, d, k in zip(places, step, dilation, size))
    return spread(dispatch("transpose", columns, axes=order), space, length, step, dilation)


def _grouped(groups: int, rows: int, columns: int) -> Sizes:
    """The shape of a matrix for each group."""
    return (rows, columns) if groups == 1 else (groups, rows, columns)


def _channels_second(x: Tensor) -> Tensor:
    """The first two axes exchanged."""
    return dispatch("transpose", x, axes=(1, 0, *range(2, x.ndim)))


conv1d, conv2d, conv3d = (_convolution(f"conv{n}d", n) for n in (1, 2, 3))
conv_transpose1d, conv_transpose2d, conv_transpose3d = (_transposed(f"conv_transpose{n}d", n) for n in (1, 2, 3))
