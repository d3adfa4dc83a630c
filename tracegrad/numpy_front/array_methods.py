"""The methods and attributes of ndarrays, on Arrays and Scalars: NumPy's names, argument orders and dtypes.

Each takes the Operand first. What raises here is done by NumPy's own method, which decides whether it is an error.
"""
from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

from tracegrad import complex_numbers, functional, indexing, movement, numpy_functions, sorting, writes
from tracegrad.aborts import Abort
from tracegrad.diagonals import diagonal
from tracegrad.dtypes import FLOATING, INTEGRAL, dtype_of
from tracegrad.manipulation import repeat as repeated
from tracegrad.numpy_front.arrays import (
    Array,
    Operand,
    Scalar,
    Selected,
    Uncounted,
    isinstance_of,
    leave,
    number_tensor,
    real,
    tensor_of,
    wrap,
)
from tracegrad.numpy_front.layouts import in_order, is_by_columns, is_contiguous, laid_out, order_of
from tracegrad.numpy_front.ufuncs import BOOL, compute, kind, operand, plain, reduce, target, write
from tracegrad.numpy_front.ufuncs import call as ufunc_call
from tracegrad.operands import convert
from tracegrad.tensors import Tensor

_F, _M, _N = functional, movement, numpy_functions
FLOAT, INT = np.dtype(np.float64), np.dtype(np.int64)


def in_float(x: Tensor) -> Tensor:
    """Integers and bools in float64, as NumPy has it."""
    return convert(x, FLOAT) if x.dtype == BOOL or x.dtype in INTEGRAL else x


def dtype_given(dtype: Any) -> np.dtype:
    """What dtype= means to NumPy, as a dtype of ours; TypeError if it is none."""
    return dtype_of(np.dtype(dtype))


def done(result: Tensor, out: Any) -> Any:
    """A result, delivered where out= wants it."""
    return wrap(result) if out is None else write(out, result, "unsafe")


# ---- reductions ----------------------------------------------------------------------------------------------------


def reduction(ufunc: np.ufunc) -> Callable[..., Any]:
    """sum, prod, max, min, any, all: a ufunc's reduction over all axes unless one is given."""
    if ufunc in (np.add, np.multiply):
        def apply(x: Operand, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: bool = False,
                  initial: Any = np._NoValue, where: Any = True) -> Any:
            return reduce(ufunc, x, axis, dtype, out, keepdims, initial, where)
    else:
        def apply(x: Operand, axis: Any = None, out: Any = None, keepdims: bool = False,       # type: ignore[misc]
                  initial: Any = np._NoValue, where: Any = True) -> Any:
            return reduce(ufunc, x, axis, None, out, keepdims, initial, where)
    return apply


def mean(x: Operand, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: bool = False, *,
         where: Any = True) -> Any:
    """x.mean()."""
    if (type(x) is Selected and x.is_whole and x.whole.itemsize > 2 and axis in (None, 0)
            and dtype is out is None and where is True and not keepdims):
        each = prod(x.whole.shape[x.lead:]) if axis is None else 1
        n = ufunc_call(np.multiply, reduce(np.add, wrap(x.mask), None), each)
        return ufunc_call(np.divide, reduce(np.add, x.replaced(in_float(x.whole)), axis), n)
    tensor = in_float(x._tensor) if dtype is None else convert(x._tensor, dtype_given(dtype))
    held = where if where is True else convert(tensor_of(where), BOOL)
    return done(_N.mean(tensor, axis, None, None, keepdims, where=held), out)


def deviation(ours: Callable[..., Tensor]) -> Callable[..., Any]:
    """x.var(), x.std()."""
    def apply(x: Operand, axis: Any = None, dtype: Any = None, out: Any = None, ddof: float = 0,
              keepdims: bool = False, *, where: Any = True, mean: Any = None, correction: Any = None) -> Any:
        if where is not True or mean is not None:
            raise Uncounted("with where= or mean=")
        tensor = in_float(x._tensor) if dtype is None else convert(x._tensor, dtype_given(dtype))
        n = float(ddof if correction is None else correction)
        return done(ours(tensor, axis, correction=n, keepdims=bool(keepdims)), out)
    return apply


def position(ours: Callable[..., Tensor]) -> Callable[..., Any]:
    """x.argmax(), x.argmin()."""
    def apply(x: Operand, axis: Any = None, out: Any = None, *, keepdims: bool = False) -> Any:
        return done(ours(x._tensor, axis, keepdims=bool(keepdims)), out)
    return apply


# ---- shape ---------------------------------------------------------------------------------------------------------


def reshape(x: Operand, *shape: Any, order: str = "C", copy: bool | None = None) -> Any:
    """x.reshape(2, 3) or x.reshape((2, 3))."""
    sizes = shape[0] if len(shape) == 1 and not isinstance(shape[0], int | np.integer) else shape
    if is_by_columns(x._tensor, order):
        columns = _N.reshape(_N.transpose(x._tensor), tuple(sizes)[::-1], copy=copy)
        return Array(_N.transpose(columns))
    return like(x, _N.reshape(x._tensor, tuple(sizes), order, copy=copy))


def ravel(x: Operand, order: str = "C") -> Array:
    """x.ravel(): a view where elements lie one after the other, else a copy, also where steps would make a view."""
    x_in_order = in_order(x._tensor, order)
    line = _M.reshape(x_in_order, (-1,))
    is_done = is_contiguous(x_in_order) or not np.may_share_memory(line.memory, x_in_order.memory)
    return Array(line if is_done else _F.clone(line))


def flatten(x: Operand, order: str = "C") -> Array:
    """x.flatten(): always a copy."""
    return Array(_F.clone(_M.reshape(in_order(x._tensor, order), (-1,))))


def transpose(x: Operand, *axes: Any) -> Any:
    """x.transpose(), x.transpose(1, 0), x.transpose((1, 0))."""
    given: Any = axes[0] if len(axes) == 1 and not isinstance(axes[0], int | np.integer) else axes or None
    return like(x, _N.transpose(x._tensor, None if given is None else tuple(map(int, given))))


def swapaxes(x: Operand, axis1: int, axis2: int) -> Array:
    """x.swapaxes(0, 1)."""
    return Array(_M.swapaxes(x._tensor, axis1, axis2))


def squeeze(x: Operand, axis: Any = None) -> Any:
    """x.squeeze()."""
    return like(x, _M.squeeze(x._tensor, axis))


def diagonal_of(x: Operand, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Array:
    """x.diagonal(): a view that is not to be written to."""
    found = diagonal(x._tensor, offset, axis1, axis2)
    if not np.may_share_memory(found.memory, x._tensor.memory) and found.size:
        raise Uncounted("of an array that does not lie in order")
    found.memory.flags.writeable = False
    return Array(found)


def trace(x: Operand, offset: int = 0, axis1: int = 0, axis2: int = 1, dtype: Any = None, out: Any = None) -> Any:
    """x.trace()."""
    return reduce(np.add, Array(diagonal(x._tensor, offset, axis1, axis2)), -1, dtype, out)


def repeat(x: Operand, repeats: Any, axis: int | None = None) -> Array:
    """x.repeat(3, axis=0)."""
    if isinstance_of(repeats, Operand):
        raise Uncounted("the shape of the result depends on values")
    return Array(_F.clone(repeated(x._tensor, real(repeats), axis=axis)))


# ---- elements ------------------------------------------------------------------------------------------------------


def astype(x: Operand, dtype: Any, order: Any = "K", casting: str = "unsafe", subok: bool = True,
           copy: bool = True) -> Any:
    """x.astype(dtype)."""
    to = dtype_given(dtype)
    if type(x) is Selected and x.is_whole and casting == "unsafe" and copy:
        return x.replaced(convert(x.whole, to))
    tensor = x._tensor
    if not np.can_cast(tensor.dtype, to, casting):        # type: ignore[arg-type]
        raise TypeError("the rule of casting= forbids it")
    if tensor.dtype == to:
        return x if not copy else copied(x, order)
    return like(x, laid_out(convert(tensor, to), order_of(tensor, order)))


def like(x: Operand, tensor: Tensor) -> Any:
    """A scalar of a scalar where it has no axes, an array of an array."""
    return Scalar(tensor) if type(x) is Scalar and not tensor.ndim else Array(tensor)


def copied(x: Operand, order: Any = "C") -> Any:
    """x.copy()."""
    if type(x) is Selected and x.is_whole:
        return x.replaced(x.whole)
    return like(x, laid_out(_F.clone(x._tensor), order_of(x._tensor, order)))


def view(x: Operand, *dtype: Any) -> Any:
    """x.view(): another array on the same memory."""
    if dtype:
        raise Uncounted("in another dtype")
    return like(x, _M.reshape(x._tensor, x._tensor.shape) if is_contiguous(x._tensor)
                else indexing.get(x._tensor, Ellipsis))


def conjugate(x: Operand) -> Any:
    """x.conj(): of real numbers the array itself."""
    return like(x, compute(np.conjugate, (x,))) if x._tensor.dtype.kind == "c" else x


def clip(x: Operand, min: Any = None, max: Any = None, out: Any = None, **options: Any) -> Any:
    """x.clip(0, 1): the ufuncs minimum and maximum, so NaN stays."""
    if options:
        raise Uncounted(f"with {', '.join(options)}=")
    bounds = [b for b in (min, max) if b is not None]
    common = np.result_type(x._tensor.dtype, *(_weak(b) for b in bounds))
    result = convert(x._tensor, common)
    if min is not None:
        result = compute(np.maximum, (wrap(result), min))
    if max is not None:
        result = compute(np.minimum, (wrap(result), max))
    return done(_F.clone(result) if result is x._tensor else result, out)


def _weak(x: Any) -> Any:
    """What np.result_type takes: Python numbers as they are."""
    found = kind(plain(x))
    return found if isinstance(found, np.dtype) else found(0)


def dot(x: Operand, other: Any, out: Any = None) -> Any:
    """x.dot(y)."""
    common = np.result_type(x._tensor.dtype, kind(plain(other)) if not np.isscalar(other) else _weak(other))
    if common == BOOL:
        raise Uncounted("of bools")
    a, b = (operand(plain(v), common) for v in (x, other))
    return done(_N.dot(a, b if isinstance_of(b, Tensor) else number_tensor(b, common)), out)


def round_to(x: Operand, decimals: int = 0, out: Any = None) -> Any:
    """x.round(2)."""
    if x._tensor.dtype not in FLOATING:
        if decimals < 0:
            raise Uncounted("of integers to tens")
        return done(_F.clone(x._tensor), out)
    if decimals == 0:
        return done(compute(np.rint, (x,)), out)
    scale = 10.0 ** abs(decimals)
    over, back = (np.multiply, np.divide) if decimals > 0 else (np.divide, np.multiply)
    return done(compute(back, (wrap(compute(np.rint, (wrap(compute(over, (x, scale))),))), scale)), out)


def take(x: Operand, indices: Any, axis: int | None = None, out: Any = None, mode: str = "raise") -> Any:
    """x.take([0, 2], axis=1)."""
    return done(_N.take(x._tensor, convert(tensor_of(indices), INT), axis, None, mode), out)


# ---- order and running results -------------------------------------------------------------------------------------


def running(ours: Callable[..., Tensor]) -> Callable[..., Any]:
    """x.cumsum(), x.cumprod()."""
    def apply(x: Operand, axis: int | None = None, dtype: Any = None, out: Any = None) -> Any:
        return done(ours(x._tensor, axis, dtype=None if dtype is None else dtype_given(dtype)), out)
    return apply


def sort(x: Operand, axis: int = -1, kind: Any = None, order: Any = None, *, stable: Any = None) -> None:
    """x.sort(), in place."""
    refuse_sorting(x, order)
    writes.copy_(target(x), sorting.sort(x._tensor, axis))


def argsort(x: Operand, axis: int | None = -1, kind: Any = None, order: Any = None, *, stable: Any = None) -> Array:
    """x.argsort(), stable: NumPy's order of equal elements is not promised to be another."""
    refuse_sorting(x, order)
    return Array(sorting.argsort(x._tensor, axis))


def refuse_sorting(x: Operand, order: Any) -> None:
    """Uncounted for what is not sorted along an axis."""
    if order is not None or not x._tensor.ndim:
        raise Uncounted("with order=, or without axes")


def searchsorted(x: Operand, v: Any, side: str = "left", sorter: Any = None) -> Any:
    """x.searchsorted(v)."""
    common = np.result_type(x._tensor.dtype, _weak(v))
    values = operand(plain(v), common)
    values = values if isinstance_of(values, Tensor) else number_tensor(values, common)
    order = None if sorter is None else tensor_of(sorter)
    return wrap(sorting.searchsorted(convert(x._tensor, common), values, side=side, sorter=order))


# ---- parts, layout --------------------------------------------------------------------------------------------------


def real_part(x: Operand) -> Any:
    """x.real: of real numbers the array itself."""
    return like(x, complex_numbers.real(x._tensor)) if x._tensor.dtype.kind == "c" else x


def imaginary_part(x: Operand) -> Any:
    """x.imag."""
    if x._tensor.dtype.kind != "c":
        raise Uncounted("of real numbers")
    return like(x, complex_numbers.imag(x._tensor))


class Flags:
    """x.flags, as far as what the guards watch of the arguments decides it: the order of the elements."""

    __slots__ = ("_of",)

    def __init__(self, x: Operand):
        self._of = x

    def __getattr__(self, name: str) -> Any:
        if name not in LAYOUT:
            leave(Abort.NOT_RECORDED, f"the flag {name} of an array")
            return getattr(self._of._tensor.array.flags, name)
        c = is_contiguous(self._of._tensor) if name not in ("f_contiguous", "fortran") else False
        f = is_contiguous(self._of._tensor, by_columns=True) if name not in ("c_contiguous", "contiguous") else False
        return f and not c if name == "fnc" else c or f

    def __getitem__(self, name: str) -> Any:
        return getattr(self, name.lower())


LAYOUT = frozenset({"c_contiguous", "f_contiguous", "contiguous", "fortran", "forc", "fnc"})
