"""Reading and writing by x[key], x.flat and iteration, on Arrays and Scalars, and values that leave for Python.

    x[1:], x[..., 0]       a view            x[2, 3]     a Scalar            x[[0, 2]]    a copy, gathered
    x[x > 0]               a selection       x[x > 0] = 0   where(x > 0, 0, x), in place
"""
from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tracegrad import assignment, functional, indexing, movement, writes
from tracegrad.lifted import LiftedNumber
from tracegrad.numpy_front.array_methods import copied, ravel
from tracegrad.numpy_front.arrays import (
    Array,
    Operand,
    Scalar,
    Selected,
    Uncounted,
    constant,
    has_symbols,
    holds_operands,
    in_memory,
    is_fixed,
    isinstance_of,
    read,
    real,
    same_mask,
    select,
    tensor_of,
)
from tracegrad.numpy_front.layouts import is_contiguous, laid_as
from tracegrad.numpy_front.ufuncs import BOOL, kind, plain
from tracegrad.operands import convert, scalar
from tracegrad.recorder import ACTIVE
from tracegrad.size_numbers import SizeInt, index, is_size, read_size
from tracegrad.tensors import Tensor

_F, _M = functional, movement
INT = np.dtype(np.int64)


# ---- reading and writing ---------------------------------------------------------------------------------------------


def get_item(x: Operand, key: Any) -> Any:
    """x[key]: a scalar where the key has an integer for each axis, a view of basic indices, else a copy."""
    if type(key) is Array and key.dtype == BOOL and type(x) is Array and ACTIVE.get() is not None:
        return select(x, key)
    keys = key_of(key)
    parts = keys if type(keys) is tuple else (keys,)
    basic = all(type(k) in (int, SizeInt, slice) or k is None or k is Ellipsis for k in parts)
    if type(x) is Scalar and not basic:
        raise Uncounted("a scalar at an array of indices")
    found = indexing.get(x._tensor, keys)
    if not basic:
        if found.ndim == 0:
            return Scalar(found)
        if any(isinstance_of(k, Tensor) and k.ndim == 0 for k in parts):
            raise Uncounted("an index that was computed selects a part that may be written to")
        return Array(found if found.ndim < 2 else laid_as(found, x._tensor.memory[in_memory(key)]))
    if found.ndim or Ellipsis in parts:
        return Array(found)
    return Scalar(_F.clone(found))


def key_of(key: Any) -> Any:
    """The key with Tensors for Arrays and for arrays of integers; Uncounted where a shape would depend on values."""
    if type(key) is tuple:
        return tuple(part for k in key for part in ((key_of(k),) if not _is_known_mask(k) else _places(k)))
    if _is_known_mask(key):
        return _places(key)
    if type(key) is list:
        key = plain(key)
        key = key.astype(INT) if key.size == 0 and type(key) is np.ndarray else key
    if isinstance_of(key, Operand) and not has_symbols(key._tensor) and is_fixed(key):
        key = real(key)
    if isinstance_of(key, Operand):
        if key._tensor.dtype == BOOL:
            raise Uncounted("a mask: the shape of the result depends on its values")
        return key._tensor
    if type(key) is np.ndarray:
        return constant(key)
    if type(key) is slice:
        parts = [real(v) if isinstance_of(v, Operand) and is_fixed(v) else v
                 for v in (key.start, key.stop, key.step)]
        if any(isinstance_of(v, Operand) for v in parts):
            raise Uncounted("the bounds of a slice were computed")
        return slice(*(v if v is None else index(v) for v in parts))
    if isinstance_of(key, np.integer) or type(key) is LiftedNumber:
        return int(key)
    return key


def _is_known_mask(key: Any) -> bool:
    """Is it a mask that follows from guards?"""
    key = plain(key) if type(key) is list else key
    return type(key) is np.ndarray and key.dtype == BOOL and key.ndim > 0 or (
        type(key) is Array and key.dtype == BOOL and is_fixed(key))


def _places(mask: Any) -> tuple[Tensor, ...]:
    """Where a mask holds, along each of its axes."""
    return tuple(map(constant, np.nonzero(real(plain(mask)))))


def set_item(x: Array, key: Any, value: Any) -> None:
    """x[key] = value, cast to the dtype of x whatever is lost."""
    if type(x) is not Array:
        raise Uncounted("a scalar is not written to")
    into = x._tensor
    if type(value) is Selected and value.is_whole and type(key) is Array and key.dtype == BOOL:
        recorder = ACTIVE.get()
        if recorder is not None and same_mask(recorder.key(key._tensor), value.mask_key) and (
                value.whole.shape == into.shape):
            whole = convert(value.whole, into.dtype)
            writes.copy_(into, _F.where(value.everywhere()._tensor, whole, into))
            return
    value = value_for(value, into.dtype)
    masked = _mask_of(key, into.ndim)
    if masked is not None:
        _set_where(into, *masked, value)
        return
    assignment.set_item(into, key_of(key), value)


def value_for(value: Any, dtype: np.dtype) -> Tensor:
    """What is to be written, in the dtype of where it goes. Numbers that do not fit raise what they do in NumPy."""
    if type(value) in (list, tuple) and not holds_operands(value):
        return constant(np.array(real(value), dtype))
    value = plain(value)
    if type(value) is LiftedNumber:
        if np.can_cast(value.tensor.dtype, dtype, "safe" if dtype.kind in "iu" else "same_kind"):
            return convert(value.tensor, dtype)
        value = value.read()                            # whether it fits depends on its value
    if is_size(value):
        if dtype.kind in "fc" or dtype == INT and type(value) is SizeInt:
            return convert(tensor_of(value), dtype)
        value = read_size(value)
    if isinstance_of(value, Operand):
        if type(value) is Scalar and dtype.kind in "iu" and not np.can_cast(value.dtype, dtype):
            raise Uncounted("whether a number fits depends on its value")
        return convert(value._tensor, dtype)
    if type(value) is np.ndarray and value.ndim:
        return convert(constant(value), dtype)
    fitting = np.empty((), dtype)
    fitting[()] = value                                 # what this raises is NumPy's
    return scalar(fitting.item(), dtype)


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
    return mask, ndim - mask.ndim - len(after) if Ellipsis in before else at


def _is_mask(part: Any) -> bool:
    part = plain(part)
    return (isinstance_of(part, Operand) or type(part) is np.ndarray) and kind(part) == BOOL and part.ndim > 0


def _set_where(into: Tensor, mask: Tensor, at: int, value: Tensor) -> None:
    """x[mask] = value: the same value, or the same row, wherever the mask holds."""
    shape, lead = into.shape, mask.ndim
    if mask.shape != shape[at:at + lead]:
        raise IndexError("the mask has another shape")
    if value.ndim > (len(shape) - lead if at == 0 else 0) and value.size != 1:
        raise Uncounted("at a mask: where each value goes depends on the values of the mask")
    value = _M.reshape(value, ()) if value.size == 1 else value
    mask = _M.broadcast_to(_M.reshape(mask, (*mask.shape, *(1,) * (len(shape) - lead - at))), shape)
    writes.copy_(into, _F.where(mask, value, into))


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
    if not x._tensor.ndim:
        raise TypeError("len() of unsized object")
    return x._tensor.shape[0]


def rows(x: Array) -> Iterator[Any]:
    """What iterating gives."""
    if not x._tensor.ndim:
        raise TypeError("iteration over a 0-d array")
    return (get_item(x, k) for k in range(x._tensor.shape[0]))


def fill(x: Array, value: Any) -> None:
    """x.fill(0)."""
    set_item(x, Ellipsis, value)


class Flat:
    """x.flat: reading and writing by one index, over memory in C order."""

    __slots__ = ("_line", "base")

    def __init__(self, x: Array):
        if not is_contiguous(x._tensor):
            raise Uncounted("flat of an array that is not contiguous")
        self.base, self._line = x, ravel(x)

    def __getitem__(self, key: Any) -> Any:
        found = get_item(self._line, key)
        return found if type(found) is Scalar else copied(found)

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
        return copied(self._line)
