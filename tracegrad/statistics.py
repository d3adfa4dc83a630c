"""Quantiles, averages, spreads and covariances; the same without NaNs. NumPy's names and rules.

Quantiles are read off sorted elements, so they replay and have derivatives. In PyTorch `median` is the lower of two
middle elements; here, as in NumPy, it is their mean.
"""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

from codegen.ir.type_rules import TypeRuleError
from codegen.ir.types import type_of
from tracegrad import dtypes, functional
from tracegrad.classification import isnan
from tracegrad.cumulative import prod, without_nan
from tracegrad.diagonals import diagonal
from tracegrad.dispatch import dispatch
from tracegrad.dtype_info import result_type
from tracegrad.elementary import lerp
from tracegrad.functional import clip, divide, logical_not, matmul, max, maximum, min, root_of, sqrt, sum
from tracegrad.functional import where as choose
from tracegrad.manipulation import moveaxis
from tracegrad.matrix_norms import vector_norm
from tracegrad.movement import broadcast_to, concat, expand_dims, one_axis, reshape, squeeze, swapaxes, take_along_axis
from tracegrad.operands import Axis, Operand, axes_of, convert, floating, operand, refuse_names, scalar, tensor_operand
from tracegrad.sorting import Chosen, chosen, lines
from tracegrad.source_lines import at_user_line
from tracegrad.splitting import part
from tracegrad.tensors import Tensor

INFINITY, NAN = float("inf"), float("nan")


def ptp(x: Operand, /, axis: Axis = None, *, keepdims: bool = False, **names: Any) -> Tensor:
    """The largest element over `axis` (None: all) less the smallest.

        >>> tg.ptp(tg.tensor([3, 1, 7]))
        tensor(6)
    """
    refuse_names("ptp", names)
    return max(x, axis, keepdims=keepdims) - min(x, axis, keepdims=keepdims)


def average(x: Operand, /, axis: Axis = None, weights: Operand | None = None, returned: bool = False, *,
            keepdims: bool = False, **names: Any) -> Any:
    """The mean over `axis`, of elements with weights: of the shape of x, or a line along a single axis.

    With `returned`, the sum of the weights too.

        >>> tg.average(tg.tensor([1.0, 2.0]), weights=tg.tensor([3.0, 1.0]))
        tensor(1.2500)
    """
    refuse_names("average", names)
    x = floating(tensor_operand("average", x))
    if weights is None:
        weight = broadcast_to(convert(tensor_operand("average", 1), x.dtype), x.shape)
    else:
        weight = tensor_operand("average", weights)
        if weight.shape != x.shape:
            k = axes_of(axis, x.ndim)
            if axis is None or len(k) != 1 or weight.shape != (x.shape[k[0]],):
                raise TypeRuleError(at_user_line(
                    f"average: weights {type_of(weight)} are neither of the shape of {type_of(x)} nor a "
                    "line along the axis"))
            weight = reshape(weight, tuple(-1 if j == k[0] else 1 for j in range(x.ndim)))
    total = sum(broadcast_to(weight, x.shape), axis, keepdims=keepdims)
    result = divide(sum(x * weight, axis, keepdims=keepdims), total)
    return (result, convert(total, result.dtype)) if returned else result


# ---- without NaNs -----------------------------------------------------------------------------------------------


def there(x: Tensor, axis: Axis, keepdims: bool) -> Tensor:
    """How many elements are no NaN, in the dtype of x."""
    return convert(sum(logical_not(isnan(x)), axis, keepdims=keepdims), x.dtype)


def nansum(x: Operand, /, axis: Axis = None, *, dtype: Any = None, keepdims: bool = False, **names: Any) -> Tensor:
    """The sum of the elements that are no NaN.

        >>> tg.nansum(tg.tensor([1.0, float("nan"), 2.0]))
        tensor(3.)
    """
    refuse_names("nansum", names)
    return sum(without_nan("nansum", x, 0), axis, dtype=dtype, keepdims=keepdims)


def nanprod(x: Operand, /, axis: Axis = None, *, dtype: Any = None, keepdims: bool = False, **names: Any) -> Tensor:
    """The product of the elements that are no NaN."""
    refuse_names("nanprod", names)
    return prod(without_nan("nanprod", x, 1), axis, dtype=dtype, keepdims=keepdims)


def nanmax(x: Operand, /, axis: Axis = None, *, keepdims: bool = False, **names: Any) -> Tensor:
    """The largest of the elements that are no NaN; NaN if there is none."""
    return extremum("nanmax", max, -INFINITY, x, axis, keepdims, names)


def nanmin(x: Operand, /, axis: Axis = None, *, keepdims: bool = False, **names: Any) -> Tensor:
    """The smallest of the elements that are no NaN; NaN if there is none."""
    return extremum("nanmin", min, INFINITY, x, axis, keepdims, names)


def extremum(op: str, reduce: Callable[..., Tensor], least: float, x: Operand, axis: Axis, keepdims: bool,
             names: dict[str, Any]) -> Tensor:
    refuse_names(op, names)
    x = tensor_operand(op, x)
    if x.dtype.kind in "biu":
        return reduce(x, axis, keepdims=keepdims)
    found = reduce(without_nan(op, x, least), axis, keepdims=keepdims)
    return choose(there(x, axis, keepdims) > 0, found, NAN)


def nanmean(x: Operand, /, axis: Axis = None, *, keepdims: bool = False, **names: Any) -> Tensor:
    """The mean of the elements that are no NaN; NaN if there is none."""
    refuse_names("nanmean", names)
    x = floating(tensor_operand("nanmean", x))
    return nansum(x, axis, keepdims=keepdims) / there(x, axis, keepdims)


def nanvar(x: Operand, /, axis: Axis = None, *, correction: float = 0.0, keepdims: bool = False,
           **names: Any) -> Tensor:
    """`var` of the elements that are no NaN."""
    refuse_names("nanvar", names)
    x = floating(tensor_operand("nanvar", x))
    away = x - nanmean(x, axis, keepdims=True)
    count = there(x, axis, keepdims) - correction
    return choose(count > 0, nansum(away * away, axis, keepdims=keepdims) / count, NAN)


def nanstd(x: Operand, /, axis: Axis = None, *, correction: float = 0.0, keepdims: bool = False,
           **names: Any) -> Tensor:
    """The square root of `nanvar`. Where that is 0, it counts as a constant."""
    return root_of(nanvar(x, axis, correction=correction, keepdims=keepdims, **names))


# ---- quantiles --------------------------------------------------------------------------------------------------

METHODS = ("linear", "lower", "higher", "midpoint", "nearest")


def quantile(x: Operand, /, q: Operand, axis: Axis = None, *, method: str = "linear", keepdims: bool = False,
             **names: Any) -> Tensor:
    """Where a share q (0 to 1) of the elements over `axis` lies below; NaN if one is NaN.

    Several q make a first axis; in a tensor, one outside of 0 to 1 gives NaN. Between two elements the method says
    what is meant: linear, lower, higher, midpoint, nearest.

        >>> tg.quantile(tg.tensor([1.0, 2.0, 3.0, 4.0]), 0.5)
        tensor(2.5000)
    """
    return at_shares("quantile", x, q, axis, method, keepdims, names, False)


def percentile(x: Operand, /, q: Operand, axis: Axis = None, *, method: str = "linear", keepdims: bool = False,
               **names: Any) -> Tensor:
    """`quantile` of q in percent."""
    return at_shares("percentile", x, hundredths(q), axis, method, keepdims, names, False)


def hundredths(q: Operand) -> Operand:
    return q / 100 if isinstance(q, int | float) else divide(q, 100)


def nanquantile(x: Operand, /, q: Operand, axis: Axis = None, *, method: str = "linear", keepdims: bool = False,
                **names: Any) -> Tensor:
    """`quantile` of the elements that are no NaN."""
    return at_shares("nanquantile", x, q, axis, method, keepdims, names, True)


def nanpercentile(x: Operand, /, q: Operand, axis: Axis = None, *, method: str = "linear", keepdims: bool = False,
                  **names: Any) -> Tensor:
    """`percentile` of the elements that are no NaN."""
    return at_shares("nanpercentile", x, hundredths(q), axis, method, keepdims, names, True)


def median(x: Operand, /, axis: Axis = None, *, keepdims: bool = False, **names: Any) -> Tensor:
    """The middle element over `axis`, the mean of the two in the middle of an even number; NaN if one is NaN.

        >>> tg.median(tg.tensor([3.0, 1.0, 2.0, 10.0]))
        tensor(2.5000)
    """
    return at_shares("median", x, 0.5, axis, "linear", keepdims, names, False)


def nanmedian(x: Operand, /, axis: Axis = None, *, keepdims: bool = False, **names: Any) -> Tensor:
    """`median` of the elements that are no NaN."""
    return at_shares("nanmedian", x, 0.5, axis, "linear", keepdims, names, True)


def at_shares(op: str, x: Operand, q: Operand, axis: Axis, method: str, keepdims: bool, names: dict[str, Any],
              skip: bool) -> Tensor:
    """Quantiles: the rows sorted, and read at q times the last place. NaNs are last; with `skip` they do not count."""
    refuse_names(op, names)
    if method not in METHODS:
        raise ValueError(at_user_line(f"{op}: method {method!r} is none of {', '.join(METHODS)}"))
    q = operand(op, q)
    if isinstance(q, int | float) and not 0 <= q <= 1:
        raise ValueError(at_user_line(f"{op}: {q} is not a share from 0 to 1"))
    x = floating(tensor_operand(op, x))
    shares = scalar(float(q), dtypes.float64) if isinstance(q, int | float) else convert(
        tensor_operand(op, q), dtypes.float64)
    axes = tuple(one_axis(op, x, k, x.ndim) for k in axes_of(axis, x.ndim))
    kept = [size for k, size in enumerate(x.shape) if k not in axes]
    rows = reshape(moveaxis(x, axes, tuple(range(-len(axes), 0))), (*kept, -1)) if axes else expand_dims(x, -1)
    n = rows.shape[-1]
    if n == 0:
        raise TypeRuleError(at_user_line(f"{op}: {type_of(x)} has no element along axis {list(axes)}"))
    rows = dispatch("sort", rows, axis=len(kept))
    if skip:
        count = sum(logical_not(isnan(rows)), -1, keepdims=True)
        last = maximum(count - 1, 0)
    else:
        count = None
        last = broadcast_to(tensor_operand(op, n - 1), (*kept, 1))
    places = convert(last, dtypes.float64) * clip(reshape(shares, (-1,)), 0.0, 1.0)        # [*kept, shares]
    result = between(rows, places, method)
    end = take_along_axis(rows, last, axis=-1)
    result = choose(isnan(end) if count is None else count == 0, NAN, result)
    inside = (shares >= 0) & (shares <= 1)
    result = moveaxis(choose(reshape(inside, (-1,)), result, NAN), -1, 0)
    shape = [1 if k in axes else size for k, size in enumerate(x.shape)] if keepdims else kept
    return reshape(result, (*shares.shape, *shape))


def between(rows: Tensor, places: Tensor, method: str) -> Tensor:
    """Sorted rows read at places that lie between elements."""
    low = convert(places, dtypes.int64)
    if method == "nearest":                                 # of a half, the even one
        away = places - low
        return take_along_axis(rows, low + convert((away > 0.5) | (away == 0.5) & (low % 2 == 1), dtypes.int64))
    high = low + convert(places > low, dtypes.int64)
    below, above = take_along_axis(rows, low), take_along_axis(rows, high)
    if method in ("lower", "higher"):
        return below if method == "lower" else above
    weight = choose(low == high, 0.0, 0.5) if method == "midpoint" else places - low
    return choose(below == above, below, lerp(below, above, convert(weight, rows.dtype)))


def mode(x: Operand, /, axis: int = -1, *, keepdims: bool = False, **names: Any) -> Chosen:
    """The element along `axis` that is there most often, of several the smallest, and its last place (PyTorch's).

        >>> tg.mode(tg.tensor([2, 3, 1, 3]))
        Chosen(values=tensor(3), indices=tensor(3))
    """
    refuse_names("mode", names)
    line, k = lines("mode", x, axis)
    places = dispatch("argsort", line, axis=k)
    ordered = take_along_axis(line, places, axis=k)
    n = line.shape[k]
    if n == 0:
        raise TypeRuleError(at_user_line(f"mode: {type_of(line)} has no element along axis {k}"))
    number = dispatch("iota", shape=line.shape, axis=k, dtype="i64")
    differs = dispatch("ne", part(ordered, k, 1, n), part(ordered, k, 0, n - 1))
    first = tensor_operand("mode", True)
    starts = concat([broadcast_to(first, part(line, k, 0, 1).shape), differs], k)
    run = number - dispatch("cummax", choose(starts, number, 0), axis=k)        # how many equal ones come before
    best = dispatch("argmax", run, axis=k, keepdims=True)
    values, indices = (take_along_axis(o, best, axis=k) for o in (ordered, places))
    return chosen(values, indices) if keepdims else chosen(squeeze(values, k), squeeze(indices, k))


# ---- covariance, norms ------------------------------------------------------------------------------------------


def cov(x: Operand, y: Operand | None = None, /, *, rowvar: bool = True, bias: bool = False, ddof: int | None = None,
        correction: int | None = None) -> Tensor:
    """The covariance matrix of variables, one in each row (of each column with rowvar=False), divided by n - 1.

    Divided by n with `bias`, by n - ddof (PyTorch: correction) if that is given.

        >>> tg.cov(tg.tensor([[0.0, 1.0, 2.0], [2.0, 1.0, 0.0]]))
        tensor([[ 1., -1.],
                [-1.,  1.]])
    """
    operands = [tensor_operand("cov", o) for o in (x, y) if o is not None]
    common = result_type(*operands, dtypes.default_float()) if all(
        o.dtype.kind in "biu" for o in operands) else result_type(*operands)
    parts = []
    for o in operands:
        if o.ndim > 2:
            raise TypeRuleError(at_user_line(f"cov: {type_of(o)} has more than 2 axes"))
        rows = reshape(o, (1, -1)) if o.ndim < 2 else o if rowvar else swapaxes(o, 0, 1)
        parts.append(convert(rows, common))
    rows = concat(parts, 0)
    n = rows.shape[1]
    off = ddof if ddof is not None else correction if correction is not None else 0 if bias else 1
    away = rows - functional.mean(rows, 1, keepdims=True)
    result = matmul(away, swapaxes(dispatch("conj", away) if common.kind == "c" else away, 0, 1)) / float(
        n - off if n > off else 0)
    return reshape(result, ()) if result.size == 1 else result


def corrcoef(x: Operand, y: Operand | None = None, /, *, rowvar: bool = True) -> Tensor:
    """The correlations of variables, one in each row: their covariances over the product of their deviations."""
    c = cov(x, y, rowvar=rowvar)
    if c.ndim == 0:
        return c / c
    n = c.shape[0]
    deviation = sqrt(diagonal(c))
    return clip(c / reshape(deviation, (n, 1)) / reshape(deviation, (1, n)), -1.0, 1.0)


def norm(x: Operand, /, p: float | str = 2, axis: Axis = None, *, keepdims: bool = False, **names: Any) -> Tensor:
    """The p-norm over `axis` (None: all) of elements: sum(|x|**p)**(1/p); p may be "fro" (2), inf, -inf and 0.

    Its derivative where all elements are 0 is 0.

        >>> tg.norm(tg.tensor([3.0, 4.0]))
        tensor(5.)
    """
    refuse_names("norm", names)
    if isinstance(p, str) and p != "fro":
        raise ValueError(at_user_line(f"norm: p {p!r} is neither a number nor 'fro'"))
    return vector_norm(x, 2 if isinstance(p, str) else p, axis, keepdims)
