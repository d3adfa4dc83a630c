"""The methods and attributes of ndarrays, on Arrays and Scalars: NumPy's names, argument orders and dtypes.

Each takes the Operand first. What raises here is done by NumPy's own method, which decides whether it is an error.
"""
from __future__ import annotations

from collections.abc import Callable, Iterator
from math import prod
from typing import Any

import numpy as np

from tracegrad import assignment, complex_numbers, functional, indexing, movement, numpy_functions, writes
from tracegrad.aborts import Abort
from tracegrad.diagonals import diagonal
from tracegrad.dtypes import FLOATING, INTEGRAL, dtype_of
from tracegrad.lifted import LiftedNumber
from tracegrad.manipulation import repeat as repeated
from tracegrad.numpy_front.arrays import (
    Array,
    Operand,
    Scalar,
    Selected,
    Uncounted,
    constant,
    is_fixed,
    isinstance_of,
    leave,
    read,
    real,
    same_mask,
    select,
    tensor_of,
    wrap,
)
from tracegrad.numpy_front.ufuncs import BOOL, compute, kind, operand, plain, reduce, write
from tracegrad.numpy_front.ufuncs import call as ufunc_call
from tracegrad.operands import convert, scalar
from tracegrad.recorder import ACTIVE
from tracegrad.tensors import Tensor

_F, _M, _N = functional, movement, numpy_functions
FLOAT, INT = np.dtype(np.float64), np.dtype(np.int64)


def in_float(x: Tensor) -> Tensor:
    """Integers and bools in float64, as NumPy has it."""
    return convert(x, FLOAT) if x.array.dtype == BOOL or x.array.dtype in INTEGRAL else x


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
    if type(x) is Selected and x.is_whole and axis in (None, 0) and dtype is out is None and not keepdims:
        counted = x.mask.array.ndim if axis == 0 else None
        n = reduce(np.add, wrap(x.mask), None)
        if counted is None:
            n = ufunc_call(np.multiply, n, prod(x.whole.array.shape[x.lead:]))
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


def reshape(x: Operand, *shape: Any, order: str = "C", copy: bool | None = None) -> Array:
    """x.reshape(2, 3) or x.reshape((2, 3))."""
    sizes = shape[0] if len(shape) == 1 and not isinstance(shape[0], int | np.integer) else shape
    return Array(_N.reshape(x._tensor, tuple(sizes), order, copy=copy))


def ravel(x: Operand, order: str = "C") -> Array:
    """x.ravel(): a view where that is possible."""
    _N.in_c_order("ravel", order)
    return Array(_M.reshape(x._tensor, (-1,)))


def flatten(x: Operand, order: str = "C") -> Array:
    """x.flatten(): always a copy."""
    _N.in_c_order("flatten", order)
    return Array(_F.clone(_M.reshape(x._tensor, (-1,))))


def transpose(x: Operand, *axes: Any) -> Array:
    """x.transpose(), x.transpose(1, 0), x.transpose((1, 0))."""
    given: Any = axes[0] if len(axes) == 1 and not isinstance(axes[0], int | np.integer) else axes or None
    return Array(_N.transpose(x._tensor, None if given is None else tuple(map(int, given))))


def swapaxes(x: Operand, axis1: int, axis2: int) -> Array:
    """x.swapaxes(0, 1)."""
    return Array(_M.swapaxes(x._tensor, axis1, axis2))


def squeeze(x: Operand, axis: Any = None) -> Array:
    """x.squeeze()."""
    return Array(_M.squeeze(x._tensor, axis))


def diagonal_of(x: Operand, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Array:
    """x.diagonal(): as NumPy has it, not to be written to."""
    return Array(_F.clone(diagonal(x._tensor, offset, axis1, axis2)))


def trace(x: Operand, offset: int = 0, axis1: int = 0, axis2: int = 1, dtype: Any = None, out: Any = None) -> Any:
    """x.trace()."""
    return reduce(np.add, diagonal_of(x, offset, axis1, axis2), -1, dtype, out)


def repeat(x: Operand, repeats: Any, axis: int | None = None) -> Array:
    """x.repeat(3, axis=0)."""
    if isinstance_of(repeats, Operand):
        raise Uncounted("the shape of the result depends on values")
    return Array(_F.clone(repeated(x._tensor, real(repeats), axis=axis)))


# ---- elements ------------------------------------------------------------------------------------------------------


def astype(x: Operand, dtype: Any, order: str = "K", casting: str = "unsafe", subok: bool = True,
           copy: bool = True) -> Any:
    """x.astype(dtype)."""
    to, tensor = dtype_given(dtype), x._tensor
    if not np.can_cast(tensor.array.dtype, to, casting):        # type: ignore[arg-type]
        raise TypeError("the rule of casting= forbids it")
    if tensor.array.dtype == to:
        return x if not copy else like(x, _F.clone(tensor))
    return like(x, convert(tensor, to))


def like(x: Operand, tensor: Tensor) -> Any:
    """A scalar of a scalar, an array of an array."""
    return Scalar(tensor) if type(x) is Scalar else Array(tensor)


def copy(x: Operand, order: str = "C") -> Any:
    """x.copy()."""
    _N.in_c_order("copy", order)
    return like(x, _F.clone(x._tensor))


def view(x: Operand, *dtype: Any) -> Array:
    """x.view(): another array on the same memory."""
    if dtype:
        raise Uncounted("in another dtype")
    return Array(_M.reshape(x._tensor, x._tensor.array.shape) if x._tensor.array.flags.c_contiguous
                 else indexing.get(x._tensor, Ellipsis))


def fill(x: Array, value: Any) -> None:
    """x.fill(0)."""
    set_item(x, Ellipsis, value)


def clip(x: Operand, min: Any = None, max: Any = None, out: Any = None, **options: Any) -> Any:
    """x.clip(0, 1): the ufuncs minimum and maximum, so NaN stays."""
    if options:
        raise Uncounted(f"with {', '.join(options)}=")
    bounds = [b for b in (min, max) if b is not None]
    common = np.result_type(x._tensor.array.dtype, *(_weak(b) for b in bounds))
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
    common = np.result_type(x._tensor.array.dtype, kind(plain(other)) if not np.isscalar(other) else _weak(other))
    if common == BOOL:
        raise Uncounted("of bools")
    a, b = (operand(plain(v), common) for v in (x, other))
    return done(_N.dot(a, b if isinstance_of(b, Tensor) else scalar(b, common)), out)


def round_to(x: Operand, decimals: int = 0, out: Any = None) -> Any:
    """x.round(2)."""
    if x._tensor.array.dtype not in FLOATING:
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


# ---- reading and writing ---------------------------------------------------------------------------------------------


def get_item(x: Operand, key: Any) -> Any:
    """x[key]: a scalar where the key has an integer for each axis, a view of basic indices, else a copy."""
    if type(key) is Array and key.dtype == BOOL and type(x) is Array and ACTIVE.get() is not None:
        return select(x, key)
    keys = key_of(key)
    parts = keys if type(keys) is tuple else (keys,)
    basic = all(type(k) in (int, slice) or k is None or k is Ellipsis for k in parts)
    if type(x) is Scalar and not basic:
        raise Uncounted("a scalar at an array of indices")
    found = indexing.get(x._tensor, keys)
    if not basic:
        if found.array.ndim == 0:
            return Scalar(found)
        if any(isinstance_of(k, Tensor) and k.array.ndim == 0 for k in parts):
            raise Uncounted("an index that was computed selects a part that may be written to")
        return Array(found)
    if found.array.ndim or Ellipsis in parts:
        return Array(found)
    return Scalar(_F.clone(found))


def key_of(key: Any) -> Any:
    """The key with Tensors for Arrays and for arrays of integers; Uncounted where a shape would depend on values."""
    if type(key) is tuple:
        return tuple(map(key_of, key))
    if type(key) is list:
        key = plain(key)
        key = key.astype(INT) if key.size == 0 and type(key) is np.ndarray else key
    if isinstance_of(key, Operand) and is_fixed(key):
        key = real(key)
    if isinstance_of(key, Operand):
        if key._tensor.array.dtype == BOOL:
            raise Uncounted("a mask: the shape of the result depends on its values")
        return key._tensor
    if type(key) is np.ndarray:
        return constant(key)
    if type(key) is slice:
        parts = [real(v) if isinstance_of(v, Operand) and is_fixed(v) else v
                 for v in (key.start, key.stop, key.step)]
        if any(isinstance_of(v, Operand) for v in parts):
            raise Uncounted("the bounds of a slice were computed")
        return slice(*(v if v is None else int(v) for v in parts))
    if isinstance_of(key, np.integer) or type(key) is LiftedNumber:
        return int(key)
    return key


def set_item(x: Array, key: Any, value: Any) -> None:
    """x[key] = value, cast to the dtype of x whatever is lost."""
    if type(x) is not Array:
        raise Uncounted("a scalar is not written to")
    into = x._tensor
    if type(value) is Selected and value.is_whole and type(key) is Array and key.dtype == BOOL:
        recorder = ACTIVE.get()
        if recorder is not None and same_mask(recorder.key(key._tensor), value.mask_key) and (
                value.whole.array.shape == into.array.shape):
            whole = convert(value.whole, into.array.dtype)
            writes.copy_(into, _F.where(value.everywhere()._tensor, whole, into))
            return
    value = _value_for(value, into.array.dtype)
    masked = _mask_of(key, into.array.ndim)
    if masked is not None:
        _set_where(into, *masked, value)
        return
    assignment.set_item(into, key_of(key), value)


def _value_for(value: Any, dtype: np.dtype) -> Tensor:
    """What is to be written, in the dtype of where it goes."""
    value = plain(value)
    if isinstance_of(value, Operand):
        return convert(value._tensor, dtype)
    if type(value) is LiftedNumber:
        return convert(value.tensor, dtype)
    if type(value) is np.ndarray and value.ndim:
        return convert(constant(value), dtype)
    if type(value) in (int, float) and dtype.kind in "iu":
        dtype.type(value)                               # OverflowError is NumPy's
    return scalar(np.asarray(value).astype(dtype).item(), dtype)


def _mask_of(key: Any, ndim: int) -> tuple[Tensor, int] | None:
    """The mask and the axis it begins at, if the key is a mask with nothing but whole axes beside it."""
    parts = list(key) if type(key) is tuple else [key]
    masks = [k for k, part in enumerate(parts) if _is_mask(part)]
    others = [part for k, part in enumerate(parts) if k not in masks]
    if len(masks) != 1 or any(part is not Ellipsis and part != slice(None) for part in others):
        return None
    (at,) = masks
    mask = tensor_of(plain(parts[at]))
    before, after = parts[:at], parts[at + 1:]
    return mask, ndim - mask.array.ndim - len(after) if Ellipsis in before else at


def _is_mask(part: Any) -> bool:
    part = plain(part)
    return (isinstance_of(part, Operand) or type(part) is np.ndarray) and kind(part) == BOOL and part.ndim > 0


def _set_where(into: Tensor, mask: Tensor, at: int, value: Tensor) -> None:
    """x[mask] = value: the same value, or the same row, wherever the mask holds."""
    shape, lead = into.array.shape, mask.array.ndim
    if mask.array.shape != shape[at:at + lead]:
        raise IndexError("the mask has another shape")
    if value.array.ndim > (len(shape) - lead if at == 0 else 0) and value.array.size != 1:
        raise Uncounted("at a mask: where each value goes depends on the values of the mask")
    value = _M.reshape(value, ()) if value.array.size == 1 else value
    mask = _M.broadcast_to(_M.reshape(mask, (*mask.array.shape, *(1,) * (len(shape) - lead - at))), shape)
    writes.copy_(into, _F.where(mask, value, into))


# ---- parts, layout --------------------------------------------------------------------------------------------------


def real_part(x: Operand) -> Any:
    """x.real: of real numbers the array itself."""
    return like(x, complex_numbers.real(x._tensor)) if x._tensor.array.dtype.kind == "c" else x


def imaginary_part(x: Operand) -> Any:
    """x.imag."""
    if x._tensor.array.dtype.kind != "c":
        raise Uncounted("of real numbers")
    return like(x, complex_numbers.imag(x._tensor))


class Flags:
    """x.flags, as far as what the guards watch of the arguments decides it: the order of the elements."""

    __slots__ = ("_of",)

    def __init__(self, x: Operand):
        self._of = x

    def __getattr__(self, name: str) -> Any:
        flags, recorder = self._of._tensor.array.flags, ACTIVE.get()
        if name not in LAYOUT or recorder is not None and not recorder.layouts_are_guarded():
            leave(Abort.NOT_RECORDED, f"the flag {name} of an array")
        return getattr(flags, name)

    def __getitem__(self, name: str) -> Any:
        return getattr(self, name.lower())


LAYOUT = frozenset({"c_contiguous", "f_contiguous", "contiguous", "fortran", "forc", "fnc"})


# ---- values that leave for Python ------------------------------------------------------------------------------------


def reading(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """A method that gives Python a value."""
    def apply(x: Operand, *args: Any, **options: Any) -> Any:
        read(x, name)
        return function(real(x), *map(real, args), **options)
    return apply


def as_array(x: Operand, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
    """np.asarray(x) where NumPy itself asks."""
    read(x, "np.asarray")
    return np.array(real(x), dtype, copy=copy)


def length(x: Array) -> int:
    """len(x)."""
    if not x._tensor.array.ndim:
        raise TypeError("len() of unsized object")
    return x._tensor.array.shape[0]


def rows(x: Array) -> Iterator[Any]:
    """What iterating gives."""
    if not x._tensor.array.ndim:
        raise TypeError("iteration over a 0-d array")
    return (get_item(x, k) for k in range(x._tensor.array.shape[0]))


class Flat:
    """x.flat: reading and writing by one index, over memory in C order."""

    __slots__ = ("_line", "base")

    def __init__(self, x: Array):
        if not x._tensor.array.flags.c_contiguous:
            raise Uncounted("flat of an array that is not contiguous")
        self.base, self._line = x, ravel(x)

    def __getitem__(self, key: Any) -> Any:
        found = get_item(self._line, key)
        return found if type(found) is Scalar else copy(found)

    def __setitem__(self, key: Any, value: Any) -> None:
        value = plain(value)
        set_item(self._line, key, ravel(value) if isinstance_of(value, Operand) and value.ndim > 1 else value)

    def __iter__(self) -> Iterator[Any]:
        return rows(self._line)

    def __len__(self) -> int:
        return length(self._line)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return as_array(self._line, dtype, copy)

    def copy(self) -> Any:
        """A copy in one axis."""
        return copy(self._line)
