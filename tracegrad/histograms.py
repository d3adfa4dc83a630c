"""Counts in bins."""
from __future__ import annotations

from typing import Any

import numpy as np

from codegen.ir.type_rules import TypeRuleError
from codegen.ir.types import type_of
from tracegrad import dtypes, host
from tracegrad.dispatch import dispatch
from tracegrad.dtype_info import result_type
from tracegrad.functional import astype, max, min, subtract, sum
from tracegrad.functional import where as choose
from tracegrad.movement import broadcast_to, reshape
from tracegrad.operands import Operand, convert, floating, scalar, tensor_operand
from tracegrad.size_numbers import index
from tracegrad.sorting import searchsorted
from tracegrad.source_lines import at_user_line
from tracegrad.splitting import part
from tracegrad.tensors import Tensor


def counted(places: Tensor, weights: Tensor | None, size: int) -> Tensor:
    """How often each place 0 .. size - 1 is there, or the sum of its weights; others are left out."""
    places = reshape(places, (-1,))
    dtype = dtypes.int64 if weights is None else weights.dtype
    terms = broadcast_to(scalar(1, dtype), places.shape) if weights is None else reshape(weights, (-1,))
    slots = choose((places >= 0) & (places < size), places, size)
    nothing = broadcast_to(scalar(0, dtype), (size + 1,))
    return part(dispatch("scatter_add", nothing, slots, terms, axis=0), 0, 0, size)


def bincount(x: Operand, /, weights: Operand | None = None, minlength: int = 0) -> Tensor:
    """How often each of 0, 1, .. is in x, or the sum of its weights. The largest is read from x.

        >>> tg.bincount(tg.tensor([1, 1, 3]))
        tensor([0, 2, 0, 1])
    """
    x = tensor_operand("bincount", x)
    array = host.read_on_cpu(x, "bincount")
    if array.ndim != 1 or array.dtype.kind not in "iub":
        raise TypeRuleError(at_user_line(f"bincount: {type_of(array)} is not a line of integers"))
    if array.size and array.min() < 0:
        raise ValueError(at_user_line(f"bincount: {array.min()} is below 0"))
    size = np.maximum(array.max(initial=-1) + 1, index(minlength)) if array.size else index(minlength)
    terms = None if weights is None else tensor_operand("bincount", weights)
    if terms is not None and terms.shape != array.shape:
        raise TypeRuleError(at_user_line(f"bincount: weights {type_of(terms)} for {type_of(array)}"))
    return counted(convert(x, dtypes.int64), terms, int(size))


def histogram_bin_edges(x: Operand, /, bins: int | Operand = 10, range: tuple[Any, Any] | None = None) -> Tensor:
    """The edges of `bins` equal bins from the smallest to the largest element, or over `range`."""
    x = tensor_operand("histogram", x)
    if not isinstance(bins, int):
        return tensor_operand("histogram", bins)
    if bins < 1:
        raise ValueError(at_user_line(f"histogram: {bins} bins"))
    values = floating(x)
    count = index(bins)
    if range is not None:
        low, high = (convert(tensor_operand("histogram", end), values.dtype) for end in range)
    elif x.size:
        low, high = min(values), max(values)
    else:
        low, high = scalar(0, values.dtype), scalar(1, values.dtype)
    same = low == high
    low, high = choose(same, low - 0.5, low), choose(same, high + 0.5, high)
    place = dispatch("iota", shape=(count + 1,), axis=0, dtype="i64")
    return choose(place == count, high, low + (high - low) * (astype(place, values.dtype) / float(count)))


def histogram(x: Operand, /, bins: int | Operand = 10, range: tuple[Any, Any] | None = None, *,
              weights: Operand | None = None, density: bool = False) -> tuple[Tensor, Tensor]:
    """How many elements are in each bin (or the sum of their weights), and the edges of the bins (NumPy's).

    A bin holds its left edge, the last one its right edge too. With `density`, the integral over all bins is 1.

        >>> tg.histogram(tg.tensor([1.0, 2.0, 2.0, 5.0]), bins=2)
        (tensor([3, 1]), tensor([1., 3., 5.]))
    """
    x = tensor_operand("histogram", x)
    edges = histogram_bin_edges(x, bins, range)
    n = edges.shape[0]
    place = searchsorted(edges, convert(x, result_type(x, edges)), side="right") - 1
    place = choose(x == part(edges, 0, n - 1, n), n - 2, place)
    counts = counted(place, None if weights is None else tensor_operand("histogram", weights), n - 1)
    if not density:
        return counts, edges
    widths = subtract(part(edges, 0, 1, n), part(edges, 0, 0, n - 1))
    share = convert(counts, edges.dtype) / convert(sum(counts), edges.dtype)
    return share / widths, edges


def histc(x: Operand, /, bins: int = 100, min: float = 0.0, max: float = 0.0) -> Tensor:
    """The counts of `histogram`, in the dtype of x (PyTorch's): from min to max, or over all elements if both are 0.

        >>> tg.histc(tg.tensor([1.0, 2.0, 1.0]), bins=4, min=0.0, max=3.0)
        tensor([0., 2., 1., 0.])
    """
    x = floating(tensor_operand("histc", x))
    counts, _ = histogram(x, bins, None if min == max == 0 else (min, max))
    return convert(counts, x.dtype)
