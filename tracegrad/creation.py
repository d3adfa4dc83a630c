"""Tensors from data and from nothing: tensor, asarray, zeros, full, arange, ...

What is made from attrs alone is made by ops, so that a recording has it as ops; what is made from Python data is
reported to the recorder as such.
"""
from __future__ import annotations

from math import ceil
from operator import index
from typing import Any

import numpy as np

from codegen.ir.references import cast
from tracegrad import dtypes
from tracegrad.devices import Device, device_of
from tracegrad.dispatch import complete, dispatch
from tracegrad.dtypes import dtype_of, name_of
from tracegrad.functional import add, astype, clone, convert, equal, multiply, where
from tracegrad.movement import shape_of
from tracegrad.operands import Number, adopt, number_dtype, scalar
from tracegrad.recorder import ACTIVE
from tracegrad.source_lines import at_user_line
from tracegrad.tensors import Tensor


def array_of(data: Any, dtype: np.dtype | None) -> np.ndarray:
    """A new array of Python data or of an array; numbers without a dtype of their own take the default ones."""
    try:
        array = np.array(data)
    except ValueError as error:
        raise ValueError(at_user_line(f"tensor: {error}")) from None
    if array.dtype == object or array.dtype.kind not in "biufcV":
        raise TypeError(at_user_line(f"tensor: {type(data).__name__} data of dtype {array.dtype} are not numbers"))
    if dtype is None:
        dtype = dtype_of(array.dtype)
        if not isinstance(data, np.ndarray | np.generic):
            defaults = {dtypes.float64: dtypes.default_float(), dtypes.complex128: dtypes.default_complex()}
            dtype = defaults.get(dtype, dtype)
        if array.size == 0 and isinstance(data, list | tuple):
            dtype = dtypes.default_float()
    converted = array if array.dtype is dtype else cast(array.astype(array.dtype.newbyteorder("="), copy=False),
                                                        dtype=name_of(dtype))
    return np.ascontiguousarray(converted).reshape(array.shape)


def tensor(data: Any, dtype: Any = None, device: str | Device | None = None, requires_grad: bool = False) -> Tensor:
    """A new leaf with a copy of `data`: numbers, nested lists of them, an array or a Tensor.

    Python floats get the default floating-point dtype, ints int64; arrays keep theirs.

        >>> tg.tensor([[1.0, 2.0]], requires_grad=True)
        tensor([[1., 2.]], requires_grad=True)
    """
    device_of(device)
    target = None if dtype is None else dtype_of(dtype)
    if isinstance(data, Tensor):
        made = clone(data.detach())
        made = made if target is None else convert(made, target)
    else:
        made = Tensor(array_of(data, target))
        recorder = ACTIVE.get()
        if recorder is not None:
            recorder.record_creation(made, data)
    return made.requires_grad_() if requires_grad else made


def asarray(obj: Any, /, *, dtype: Any = None, device: str | Device | None = None, copy: bool | None = None) -> Tensor:
    """`obj` as a Tensor: a Tensor is itself, a NumPy array shares its memory where it can, other data are copied.

    copy=True always copies; copy=False raises ValueError where a copy would be needed.

        >>> tg.asarray([1, 2], dtype=tg.float64)
        tensor([1., 2.], dtype=float64)
    """
    device_of(device)
    if isinstance(obj, np.ndarray) and copy is not True:
        obj = adopt(obj)
    if isinstance(obj, Tensor):
        result = obj if dtype is None else astype(obj, dtype, copy=False)
        if copy is False and result is not obj:
            raise ValueError(at_user_line(f"asarray: a copy is needed to convert {obj.dtype} to {result.dtype}"))
        return clone(result) if copy and result is obj else result
    if copy is False:
        raise ValueError(at_user_line(f"asarray: a copy is needed to make a tensor of {type(obj).__name__}"))
    return tensor(obj, dtype)


def from_numpy(array: np.ndarray, /) -> Tensor:
    """A Tensor on the memory of `array`: writes to either are seen by both."""
    if not isinstance(array, np.ndarray):
        raise TypeError(at_user_line(f"from_numpy: expected a NumPy array, not {type(array).__name__}"))
    return adopt(array)


def full(shape: Any, fill_value: Any, *, dtype: Any = None, device: str | Device | None = None,
         requires_grad: bool = False) -> Tensor:
    """A Tensor of one number everywhere, in the default dtype of its kind unless `dtype` says otherwise.

        >>> tg.full((2, 2), 0.5)
        tensor([[0.5000, 0.5000],
                [0.5000, 0.5000]])
    """
    device_of(device)
    sizes = shape_of((shape,))
    if isinstance(fill_value, np.generic):
        fill_value = fill_value.item()
    target = number_dtype(fill_value) if dtype is None else dtype_of(dtype)
    value = scalar(fill_value, target)
    made = complete("broadcast", (value,), {"shape": sizes}, Tensor(np.full(sizes, value.array)))
    return made.requires_grad_() if requires_grad else made


def zeros(*shape: Any, dtype: Any = None, device: str | Device | None = None, requires_grad: bool = False) -> Tensor:
    """Zeros, in the default floating-point dtype unless `dtype` says otherwise."""
    target = dtypes.default_float() if dtype is None else dtype
    return full(shape_of(shape), 0, dtype=target, device=device, requires_grad=requires_grad)


def ones(*shape: Any, dtype: Any = None, device: str | Device | None = None, requires_grad: bool = False) -> Tensor:
    """Ones, in the default floating-point dtype unless `dtype` says otherwise."""
    target = dtypes.default_float() if dtype is None else dtype
    return full(shape_of(shape), 1, dtype=target, device=device, requires_grad=requires_grad)


empty = zeros
"""A Tensor of any contents: zeros, so that nothing undefined can be read."""


def full_like(x: Tensor, /, fill_value: Number, *, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """`full` with the shape of x, and its dtype unless given."""
    return full(x.shape, fill_value, dtype=x.dtype if dtype is None else dtype, requires_grad=requires_grad)


def zeros_like(x: Tensor, /, *, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """Zeros with the shape of x, and its dtype unless given."""
    return full_like(x, 0, dtype=dtype, requires_grad=requires_grad)


def ones_like(x: Tensor, /, *, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """Ones with the shape of x, and its dtype unless given."""
    return full_like(x, 1, dtype=dtype, requires_grad=requires_grad)


empty_like = zeros_like


def arange(start: Number, /, stop: Number | None = None, step: Number = 1, *, dtype: Any = None,
           device: str | Device | None = None) -> Tensor:
    """start + i*step for i = 0, 1, ... while below (for a negative step: above) stop. arange(n): 0 .. n-1.

        >>> tg.arange(3)
        tensor([0, 1, 2])
        >>> tg.arange(1.0, 2.0, 0.25)
        tensor([1.0000, 1.2500, 1.5000, 1.7500])
    """
    device_of(device)
    if stop is None:
        start, stop = 0, start
    if step == 0:
        raise ValueError(at_user_line("arange: the step is 0"))
    n = max(0, ceil((stop - start) / step))
    if dtype is None:
        dtype = dtypes.default_float() if any(isinstance(v, float) for v in (start, stop, step)) else dtypes.int64
    target = dtype_of(dtype)
    counted = dispatch("iota", shape=(n,), axis=0, dtype=name_of(target))
    if step != 1:
        counted = multiply(counted, target.type(step).item())
    return counted if start == 0 else add(counted, target.type(start).item())


def linspace(start: float, stop: float, /, num: int, *, dtype: Any = None,
             device: str | Device | None = None) -> Tensor:
    """`num` numbers, equally spaced, from start to stop, both included.

        >>> tg.linspace(0.0, 1.0, 5)
        tensor([0.0000, 0.2500, 0.5000, 0.7500, 1.0000])
    """
    device_of(device)
    target = dtypes.default_float() if dtype is None else dtype_of(dtype)
    n = index(num)
    places = dispatch("iota", shape=(n,), axis=0, dtype="f64")
    if n < 2:
        return convert(add(places, float(start)), target)
    step = (float(stop) - float(start)) / (n - 1)
    values = add(multiply(places, step), float(start))
    return convert(where(equal(places, float(n - 1)), float(stop), values), target)


def eye(n_rows: int, n_cols: int | None = None, /, *, k: int = 0, dtype: Any = None,
        device: str | Device | None = None) -> Tensor:
    """Ones on diagonal k, zeros elsewhere.

        >>> tg.eye(2, 3, k=1)
        tensor([[0., 1., 0.],
                [0., 0., 1.]])
    """
    device_of(device)
    shape = (index(n_rows), index(n_rows if n_cols is None else n_cols))
    rows, columns = (dispatch("iota", shape=shape, axis=axis, dtype="i64") for axis in (0, 1))
    return convert(equal(add(rows, k), columns), dtypes.default_float() if dtype is None else dtype_of(dtype))
