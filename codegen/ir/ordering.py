"""Sorting, searching, running results and writes at indices: references and type rules of these ops.

Order is that of numbers, with every NaN after them and equal to the others. What runs along an axis starts with its
first element; half precision is added up and multiplied in f32 and single precision in f64, and rounded at the end.
"""
from __future__ import annotations

from collections.abc import Callable

import numpy as np

from codegen.ir.references import checked_indices
from codegen.ir.type_rules import REAL, TypeRuleError, along, require_axis
from codegen.ir.types import DTYPES, NAMES, NUMBERS, TensorType

# ---- references -------------------------------------------------------------------------------------------------

_WIDER = {"f16": "f32", "bf16": "f32", "f32": "f64", "c64": "c128"}
"""In which dtype a running result is kept, if not in that of the elements."""


def _comparable(x: np.ndarray) -> np.ndarray:
    """x in a dtype that NumPy knows how to order."""
    return x.astype(np.float32) if x.dtype == DTYPES["bf16"] else x


def sort(x: np.ndarray, *, axis: int) -> np.ndarray:
    """The elements along `axis` in ascending order."""
    return np.sort(_comparable(x), axis=axis).astype(x.dtype, copy=False)


def argsort(x: np.ndarray, *, axis: int) -> np.ndarray:
    """Where the elements of `sort` come from; of equal ones the first comes first."""
    return np.argsort(_comparable(x), axis=axis, kind="stable").astype(np.int64, copy=False)


def searchsorted(x: np.ndarray, values: np.ndarray, *, right: bool) -> np.ndarray:
    """How many elements of the sorted rows of x come before each value; if `right`, those equal to it count too.

    Of rows that are not sorted it gives any number of elements.
    """
    x, values = _comparable(x), _comparable(values)
    side = "right" if right else "left"
    result = np.empty(values.shape, np.int64)
    for k in np.ndindex(values.shape[:-1]):
        result[k] = np.searchsorted(x[k], values[k], side)      # type: ignore[call-overload]
    return result


def prod(x: np.ndarray, *, axis: tuple[int, ...], keepdims: bool) -> np.ndarray:
    """The product in the operand's own dtype: small integers wrap; half precision is rounded once."""
    if x.dtype.itemsize == 2 and x.dtype.kind not in "iu":
        return _multiply_up(x, axis, np.float32, keepdims=keepdims).astype(x.dtype)
    return _multiply_up(x, axis, x.dtype, keepdims=keepdims)


_multiply_up: Callable[..., np.ndarray] = np.multiply.reduce


def argmin(x: np.ndarray, *, axis: int, keepdims: bool) -> np.ndarray:
    return np.argmin(x, axis, keepdims=keepdims)


def cumsum(x: np.ndarray, *, axis: int) -> np.ndarray:
    """y[i] = x[0] + .. + x[i] along `axis`."""
    return np.add.accumulate(x, axis, _wide(x)).astype(x.dtype, copy=False)


def cumprod(x: np.ndarray, *, axis: int) -> np.ndarray:
    """y[i] = x[0] * .. * x[i] along `axis`."""
    return np.multiply.accumulate(x, axis, _wide(x)).astype(x.dtype, copy=False)


def cummax(x: np.ndarray, *, axis: int) -> np.ndarray:
    """The greatest of x[0], .., x[i] along `axis`; NaN from the first NaN on."""
    return np.maximum.accumulate(x, axis)


def cummin(x: np.ndarray, *, axis: int) -> np.ndarray:
    """The least of x[0], .., x[i] along `axis`; NaN from the first NaN on."""
    return np.minimum.accumulate(x, axis)


def recurrence(a: np.ndarray, b: np.ndarray, *, axis: int) -> np.ndarray:
    """y[0] = b[0], y[i] = a[i] * y[i-1] + b[i] along `axis`."""
    wide = _wide(b)
    factors, terms = (np.moveaxis(x, axis, 0).astype(wide) for x in (a, b))
    if len(terms) == b.size and wide == np.float64:         # one line: Python's own floats are faster
        line = terms.ravel().tolist()
        for i, factor in enumerate(factors.ravel().tolist()[1:], 1):
            line[i] += factor * line[i - 1]
        return np.array(line, wide).reshape(b.shape).astype(b.dtype)
    for i in range(1, len(terms)):
        terms[i] += factors[i] * terms[i - 1]
    return np.ascontiguousarray(np.moveaxis(terms, 0, axis)).astype(b.dtype, copy=False)


def _wide(x: np.ndarray) -> np.dtype:
    name = NAMES[x.dtype]
    return DTYPES[_WIDER.get(name, name)]


def scatter(x: np.ndarray, indices: np.ndarray, updates: np.ndarray, *, axis: int) -> np.ndarray:
    """x with updates[.., i, ..] written at [.., indices[.., i, ..], ..], in index order: the last one stays."""
    result = x.copy()
    np.put_along_axis(result, checked_indices(indices, x.shape[axis]), np.ascontiguousarray(updates), axis)
    return result


# ---- type rules -------------------------------------------------------------------------------------------------


def ordered(x: TensorType, *, axis: int) -> TensorType:
    _require_order(x)
    require_axis(x, axis)
    return x


def order(x: TensorType, *, axis: int) -> TensorType:
    return TensorType("i64", ordered(x, axis=axis).shape)


def search(x: TensorType, values: TensorType, *, right: bool) -> TensorType:
    _require_order(x)
    if x.dtype != values.dtype:
        raise TypeRuleError(f"operands {x} and {values} have different dtypes")
    if not x.ndim or x.shape[:-1] != values.shape[:-1] or x.ndim != values.ndim:
        raise TypeRuleError(f"{x} and values {values} differ in an axis other than the last")
    return TensorType("i64", values.shape)


def running(x: TensorType, *, axis: int) -> TensorType:
    if x.dtype not in NUMBERS:
        raise TypeRuleError(f"{x} is not a number")
    require_axis(x, axis)
    return x


def running_extremum(x: TensorType, *, axis: int) -> TensorType:
    if x.dtype not in REAL:
        raise TypeRuleError(f"{x} is not a real number")
    require_axis(x, axis)
    return x


def recurring(a: TensorType, b: TensorType, *, axis: int) -> TensorType:
    if a != b:
        raise TypeRuleError(f"the factors {a} and the terms {b} are of different types")
    return running(b, axis=axis)


def scattered(x: TensorType, indices: TensorType, updates: TensorType, *, axis: int) -> TensorType:
    along(x, indices, axis)
    if updates != TensorType(x.dtype, indices.shape):
        raise TypeRuleError(f"updates {updates} are not {TensorType(x.dtype, indices.shape)}")
    return x


def _require_order(x: TensorType) -> None:
    if x.dtype not in REAL and x.dtype != "bool":
        raise TypeRuleError(f"{x} is not a real number or bool")
