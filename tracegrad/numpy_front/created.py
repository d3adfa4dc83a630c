"""NumPy's functions that make arrays of numbers and shapes: np.zeros, np.arange, np.eye, ... as Arrays.

    np.zeros(x.shape)           of x: f64[b,3] zeros of f64[b,3], whatever b is
    np.arange(0.0, 1.0, 0.1)    of floats: NumPy's own values
"""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tracegrad import creation, functional, movement, sequences
from tracegrad.dtypes import dtype_of
from tracegrad.numpy_front import array_items as items
from tracegrad.numpy_front.array_methods import FLOAT, INT, dtype_given
from tracegrad.numpy_front.arrays import Array, Uncounted, in_memory, number_tensor, tensor_of, wrap
from tracegrad.numpy_front.layouts import Axes, laid_out, order_of
from tracegrad.numpy_front.ufuncs import plain
from tracegrad.operands import convert
from tracegrad.size_numbers import SizeInt, index, is_size

_F, _M = functional, movement


def filled(value: float) -> Callable[..., Any]:
    """np.zeros, np.ones, np.empty. What is not defined is 0."""
    def apply(shape: Any, dtype: Any = float, order: str = "C", *, device: Any = None, like: Any = None) -> Array:
        return full(shape, value, float if dtype is None else dtype, order)
    return apply


def full(shape: Any, fill_value: Any, dtype: Any = None, order: str = "C", *, device: Any = None,
         like: Any = None) -> Array:
    """np.full."""
    to = dtype_given(dtype) if dtype is not None else dtype_of(np.asarray(in_memory(fill_value)).dtype)
    sizes = sizes_of(shape)
    by_columns = order == "F" and len(sizes) > 1
    return _full(sizes, to, tuple(reversed(range(len(sizes)))) if by_columns else None, fill_value)


def sizes_of(shape: Any) -> tuple[int, ...]:
    """A shape= as a tuple; ValueError where a size is below 0."""
    sizes = tuple(map(index, shape if isinstance(shape, tuple | list) else (shape,)))
    if any(size < 0 for size in sizes):
        raise ValueError("negative dimensions are not allowed")
    return sizes


def _full(shape: tuple[int, ...], dtype: np.dtype, axes: Axes | None, fill_value: Any) -> Array:
    """An array of one value, with its axes in memory in this order."""
    value = items.value_for(fill_value, dtype)
    return Array(laid_out(_F.clone(_M.broadcast_to(value, shape)), axes))


def filled_like(value: float) -> Callable[..., Any]:
    """np.zeros_like, np.ones_like, np.empty_like."""
    def apply(a: Any, dtype: Any = None, order: str = "K", subok: bool = True, shape: Any = None, *,
              device: Any = None) -> Array:
        return full_like(a, value, dtype, order, subok, shape)
    return apply


def full_like(a: Any, fill_value: Any, dtype: Any = None, order: str = "K", subok: bool = True, shape: Any = None, *,
              device: Any = None) -> Array:
    """np.full_like."""
    x = tensor_of(plain(a))
    to = dtype_given(x.dtype if dtype is None else dtype)
    if shape is not None and len(sizes := sizes_of(shape)) != x.ndim:
        return full(sizes, fill_value, to, "F" if order == "F" else "C")
    return _full(x.shape if shape is None else sizes, to, order_of(x, order), fill_value)


def arange(*bounds: Any, dtype: Any = None, device: Any = None, like: Any = None) -> Array:
    """np.arange of integers; of floats NumPy's own values are taken."""
    whole = 1 <= len(bounds) <= 3 and all(type(b) in (int, SizeInt) for b in bounds)
    if not whole or dtype is not None and np.dtype(dtype) not in (INT, FLOAT):
        raise Uncounted("of numbers that are not integers, or in a dtype that does not hold them")
    start, stop, step = (0, bounds[0], 1) if len(bounds) == 1 else (*bounds, 1)[:3]
    counted = sequences.arange(start, stop, step)
    return Array(counted if dtype is None else convert(counted, np.dtype(dtype)))


def linspace(start: Any, stop: Any, num: Any = 50, endpoint: bool = True, retstep: bool = False, dtype: Any = None,
             axis: int = 0, *, device: Any = None) -> Any:
    """np.linspace of as many numbers as a size says; else NumPy's own values are taken."""
    if not is_size(num) or dtype is not None or not {type(start), type(stop)} <= {int, float} or num < 2:
        raise Uncounted("of a known number of values, of arrays, or in a dtype that is given")
    values = Array(sequences.linspace(start, stop, num, dtype=FLOAT, endpoint=bool(endpoint)))
    parts = num - 1 if endpoint else num
    return (values, wrap(number_tensor((stop - start) / parts, FLOAT))) if retstep else values


def eye(N: int, M: int | None = None, k: int = 0, dtype: Any = float, order: str = "C", *, device: Any = None,
        like: Any = None) -> Array:
    """np.eye."""
    if order == "F":
        raise Uncounted("in Fortran order")
    return Array(creation.eye(N, M, k=k, dtype=dtype_given(dtype)))


def tri(N: int, M: int | None = None, k: int = 0, dtype: Any = float, *, like: Any = None) -> Array:
    """np.tri."""
    crossing, column = creation.diagonal_places(N, M, k)
    return Array(convert(_F.less_equal(column, crossing), dtype_given(dtype)))


def identity(n: int, dtype: Any = None, *, like: Any = None) -> Array:
    """np.identity."""
    return eye(n, dtype=float if dtype is None else dtype)


COUNTERPARTS: dict[Any, Callable[..., Any]] = {
    np.zeros: filled(0), np.ones: filled(1), np.empty: filled(0), np.full: full,
    np.zeros_like: filled_like(0), np.ones_like: filled_like(1), np.empty_like: filled_like(0),
    np.full_like: full_like, np.arange: arange, np.linspace: linspace, np.eye: eye, np.tri: tri, np.identity: identity,
}
"""What stands in for NumPy's functions."""
