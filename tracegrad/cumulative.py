"""Products, running results along an axis, and recurrences; sums of integers are in 64 bits, as `sum` has them."""
from __future__ import annotations

from typing import Any

from codegen.ir.type_rules import TypeRuleError
from codegen.ir.types import type_of
from tracegrad import dtypes
from tracegrad.dispatch import dispatch
from tracegrad.dtypes import bool_, dtype_of
from tracegrad.functional import abs, add, detach, exp, less, log, not_equal, subtract
from tracegrad.functional import where as choose
from tracegrad.movement import broadcast_shapes, broadcast_to, concat, one_axis
from tracegrad.mutation import deliver
from tracegrad.operands import Axis, Operand, axes_of, convert, floating, pair, refuse_names, scalar, tensor_operand
from tracegrad.sorting import Chosen, chosen, lines, real
from tracegrad.source_lines import at_user_line
from tracegrad.splitting import part
from tracegrad.tensors import Tensor


def widened(x: Tensor, dtype: Any) -> Tensor:
    """x in the dtype that it is added up and multiplied in."""
    if dtype is not None:
        return convert(x, dtype_of(dtype))
    if x.dtype.kind in "biu":
        return convert(x, dtypes.uint64 if x.dtype.kind == "u" else dtypes.int64)
    return x


def prod(x: Operand, /, axis: Axis = None, *, dtype: Any = None, keepdims: bool = False,
         out: Tensor | None = None, **names: Any) -> Tensor:
    """The product over `axis` (None: all). Integers and bools narrower than 64 bits are multiplied in 64.

    Its derivative is right at zeros too.

        >>> tg.prod(tg.tensor([[1.0, 2.0], [3.0, 4.0]]), axis=0)
        tensor([3., 8.])
    """
    if out is not None:
        return deliver(out, prod(x, axis, dtype=dtype, keepdims=keepdims, **names), "prod")
    refuse_names("prod", names)
    x = widened(tensor_operand("prod", x), dtype)
    return dispatch("prod", x, axis=axes_of(axis, x.ndim), keepdims=keepdims)


# ---- running results --------------------------------------------------------------------------------------------


def cumsum(x: Operand, /, axis: int | None = None, *, dtype: Any = None,
           out: Tensor | None = None, **names: Any) -> Tensor:
    """x[0] + .. + x[i] at i along `axis` (None: of the flattened tensor). f32 is added up in f64 and rounded once.

        >>> tg.cumsum(tg.tensor([1, 2, 3]))
        tensor([1, 3, 6])
    """
    if out is not None:
        return deliver(out, cumsum(x, axis, dtype=dtype, **names), "cumsum")
    refuse_names("cumsum", names)
    line, k = lines("cumsum", x, axis)
    return dispatch("cumsum", widened(line, dtype), axis=k)


def cumprod(x: Operand, /, axis: int | None = None, *, dtype: Any = None,
            out: Tensor | None = None, **names: Any) -> Tensor:
    """x[0] * .. * x[i] at i along `axis` (None: of the flattened tensor). Its derivative is right at zeros too.

        >>> tg.cumprod(tg.tensor([1, 2, 3]))
        tensor([1, 2, 6])
    """
    if out is not None:
        return deliver(out, cumprod(x, axis, dtype=dtype, **names), "cumprod")
    refuse_names("cumprod", names)
    line, k = lines("cumprod", x, axis)
    return dispatch("cumprod", widened(line, dtype), axis=k)


def cumulative_sum(x: Operand, /, *, axis: int | None = None, dtype: Any = None, include_initial: bool = False,
                   **names: Any) -> Tensor:
    """cumsum, along an axis that only a 1-d tensor may leave out; with include_initial a 0 comes first.

        >>> tg.cumulative_sum(tg.tensor([1, 2, 3]), include_initial=True)
        tensor([0, 1, 3, 6])
    """
    return cumulative("cumulative_sum", cumsum, 0, x, axis, dtype, include_initial, names)


def cumulative_prod(x: Operand, /, *, axis: int | None = None, dtype: Any = None, include_initial: bool = False,
                    **names: Any) -> Tensor:
    """cumprod, along an axis that only a 1-d tensor may leave out; with include_initial a 1 comes first."""
    return cumulative("cumulative_prod", cumprod, 1, x, axis, dtype, include_initial, names)


def cumulative(op: str, function: Any, first: int, x: Operand, axis: int | None, dtype: Any, include_initial: bool,
               names: dict[str, Any]) -> Tensor:
    refuse_names(op, names)
    x = tensor_operand(op, x)
    if axis is None and x.ndim != 1:
        raise TypeRuleError(at_user_line(f"{op}: axis= must say along which of the axes of {type_of(x)}"))
    k = one_axis(op, x, 0 if axis is None else axis, x.ndim)
    result = function(x, k, dtype=dtype)
    if not include_initial:
        return result
    shape = tuple(1 if j == k else size for j, size in enumerate(result.shape))
    return concat([broadcast_to(scalar(first, result.dtype), shape), result], k)


def nancumsum(x: Operand, /, axis: int | None = None, *, dtype: Any = None) -> Tensor:
    """cumsum, with NaNs counted as 0."""
    return cumsum(without_nan("nancumsum", x, 0), axis, dtype=dtype)


def nancumprod(x: Operand, /, axis: int | None = None, *, dtype: Any = None) -> Tensor:
    """cumprod, with NaNs counted as 1."""
    return cumprod(without_nan("nancumprod", x, 1), axis, dtype=dtype)


def without_nan(op: str, x: Operand, number: float) -> Tensor:
    """x with this number in place of NaNs."""
    x = tensor_operand(op, x)
    return x if x.dtype.kind in "biu" else choose(not_equal(x, x), number, x)


def cummax(x: Operand, axis: int, /, **names: Any) -> Chosen:
    """The greatest element so far along `axis` (NaN once there was one), and the last place where it is (PyTorch's).

        >>> tg.cummax(tg.tensor([1, 3, 2, 3]), 0)
        Chosen(values=tensor([1, 3, 3, 3]), indices=tensor([0, 1, 1, 3]))
    """
    return extremum("cummax", x, axis, names)


def cummin(x: Operand, axis: int, /, **names: Any) -> Chosen:
    """The least element so far along `axis` (NaN once there was one), and the last place where it is (PyTorch's)."""
    return extremum("cummin", x, axis, names)


def extremum(op: str, x: Operand, axis: int, names: dict[str, Any]) -> Chosen:
    refuse_names(op, names)
    line, k = lines(op, x, axis)
    flag = real(op, line).dtype is bool_
    line = convert(line, dtypes.uint8) if flag else line
    values = dispatch(op, line, axis=k)
    found = dispatch("or", dispatch("eq", line, values), dispatch("ne", line, line))
    place = dispatch("iota", shape=line.shape, axis=k, dtype="i64")
    places = dispatch("cummax", dispatch("where", found, place, 0), axis=k)
    return chosen(convert(values, bool_) if flag else values, places)


def logcumsumexp(x: Operand, axis: int, /, **names: Any) -> Tensor:
    """log(exp(x[0]) + .. + exp(x[i])) at i along `axis`, each computed around the largest so far: nothing overflows.

        >>> tg.logcumsumexp(tg.tensor([1000.0, 1000.0]), 0)
        tensor([1000.0000, 1000.6932])
    """
    refuse_names("logcumsumexp", names)
    line, k = lines("logcumsumexp", x, axis)
    line = floating(line)
    largest = detach(dispatch("cummax", line, axis=k))
    center = choose(less(abs(largest), float("inf")), largest, 0.0)
    n = line.shape[k]
    first = part(center, k, 0, min(n, 1))
    shrunk = exp(subtract(concat([first, part(center, k, 0, max(n - 1, 0))], k), center))
    return add(log(dispatch("recurrence", shrunk, exp(subtract(line, center)), axis=k)), center)


def linear_recurrence(a: Operand, b: Operand, /, axis: int = -1, **names: Any) -> Tensor:
    """y[0] = b[0], y[i] = a[i] * y[i-1] + b[i] along `axis`; a and b broadcast. a[0] is not used.

        >>> tg.linear_recurrence(tg.tensor(0.5), tg.tensor([1.0, 1.0, 1.0]))
        tensor([1.0000, 1.5000, 1.7500])
    """
    refuse_names("linear_recurrence", names)
    factors, terms = (tensor_operand("linear_recurrence", x) for x in pair("linear_recurrence", a, b))
    shape = broadcast_shapes("linear_recurrence", factors.shape, terms.shape)
    factors, terms = (widened(broadcast_to(x, shape), None) for x in (factors, terms))
    return dispatch("recurrence", factors, terms, axis=one_axis("linear_recurrence", terms, axis, len(shape)))
