"""Tensors from data and from nothing: tensor, asarray, zeros, full, eye, ... (ranges of numbers: `sequences`.)

What is made from attrs alone is made by ops, so that a recording has it as ops; what is made from Python data is
reported to the recorder as such.
"""
from __future__ import annotations

from typing import Any

import numpy as np

from codegen.ir.references import cast
from codegen.ir.type_rules import TypeRuleError
from codegen.ir.types import type_of
from tracegrad import dtypes
from tracegrad.conversions import moved, placed
from tracegrad.devices import CPU, CUPY, Device, device_of, make_placed, make_placeless
from tracegrad.dispatch import dispatch, owned
from tracegrad.dtype_info import result_type
from tracegrad.dtypes import dtype_of, name_of
from tracegrad.exchange import from_dlpack
from tracegrad.functional import add, astype, clone, convert, equal, greater_equal, power
from tracegrad.movement import sizes_of, stack
from tracegrad.operands import Operand, adopt, number_dtype, scalar, tensor_operand
from tracegrad.recorder import ACTIVE
from tracegrad.size_numbers import index, numbers_in
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
    """A new leaf with a copy of `data`: numbers, nested lists of them or of Tensors, an array or a Tensor.

    Python floats get the default floating-point dtype, ints int64; arrays keep theirs.

        >>> tg.tensor([[1.0, 2.0]], requires_grad=True)
        tensor([[1., 2.]], requires_grad=True)
    """
    target = None if dtype is None else dtype_of(dtype)
    where = device_of(device)
    if isinstance(data, list | tuple) and has_tensor(data):
        data = stacked(data)
    elif hasattr(data, "__cuda_array_interface__"):
        data = from_dlpack(data)
    if isinstance(data, Tensor):
        made = data.detach()
        made = clone(made) if device is None or where == data.device else moved(made, where)
        made = made if target is None else convert(made, target)
        if CUPY:
            make_placed(made.held)
    else:
        made = Tensor(array_of(data, target))
        recorder = ACTIVE.get()
        if recorder is not None:
            report = recorder.record_copy if type(data) is np.ndarray else recorder.record_creation
            report(made, data)
        if where != CPU:
            make_placeless(made.array)          # of Python data: the program has it wherever it runs
            made = moved(made, where)
    return made.requires_grad_() if requires_grad else made


def asarray(obj: Any, /, *, dtype: Any = None, device: str | Device | None = None, copy: bool | None = None) -> Tensor:
    """`obj` as a Tensor. A Tensor is itself; what has memory (a NumPy array, a buffer, what speaks DLPack) shares it
    where the dtype allows; numbers and lists are copied, a list of Tensors is their stack, differentiably.

    copy=True always copies; copy=False raises ValueError where a copy would be needed.

        >>> tg.asarray([1, 2], dtype=tg.float64)
        tensor([1., 2.], dtype=float64)
    """
    where = None if device is None else device_of(device)
    if isinstance(obj, Tensor):
        shared: Tensor | None = obj
    elif copy is not False and isinstance(obj, list | tuple) and has_tensor(obj):
        shared, copy = stacked(obj), None
    else:
        shared = on_memory_of(obj)
    if shared is None:
        if copy is False:
            raise ValueError(at_user_line(f"asarray: a copy is needed to make a tensor of {type(obj).__name__}"))
        return tensor(obj, dtype, device)
    if where is not None and where != shared.device and copy is False:
        raise ValueError(at_user_line(f"asarray: a copy is needed to move from {shared.device} to {where}"))
    result = shared if where is None else moved(shared, where)
    result = result if dtype is None else astype(result, dtype, copy=False)
    if copy is False and result is not shared:
        raise ValueError(at_user_line(f"asarray: a copy is needed to convert {shared.dtype} to {result.dtype}"))
    return clone(result) if copy and result is shared else result


def as_tensor(data: Any, dtype: Any = None, device: str | Device | None = None) -> Tensor:
    """`asarray`, by PyTorch's name and with its arguments."""
    return asarray(data, dtype=dtype, device=device)


def on_memory_of(obj: Any) -> Tensor | None:
    """A Tensor on the memory of `obj`, None for what has none."""
    if isinstance(obj, np.generic):
        return None
    if isinstance(obj, np.ndarray):
        return adopt(obj)
    if hasattr(obj, "__dlpack__"):
        return from_dlpack(obj)
    try:
        return adopt(np.asarray(memoryview(obj)))
    except TypeError:
        return None


def has_tensor(data: Any) -> bool:
    """Is there a Tensor in nested lists?"""
    return isinstance(data, Tensor) or isinstance(data, list | tuple) and any(map(has_tensor, data))


def stacked(data: Any) -> Tensor:
    """Nested lists of Tensors and numbers as one Tensor, in their common dtype."""
    leaves: list[Any] = []

    def collect(part: Any) -> None:
        if isinstance(part, list | tuple):
            for one in part:
                collect(one)
        else:
            leaves.append(part)

    collect(data)
    common = result_type(*leaves)

    def join(part: Any) -> Tensor:
        if isinstance(part, list | tuple):
            return stack([join(one) for one in part])
        return convert(part, common) if isinstance(part, Tensor) else tensor(part, common)

    return join(data)


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
    sizes = sizes_of("full", (shape,))
    if isinstance(fill_value, np.generic):
        fill_value = fill_value.item()
    target = number_dtype(fill_value) if dtype is None else dtype_of(dtype)
    value = placed(scalar(fill_value, target), device)
    if value.device != CPU:
        made = clone(dispatch("broadcast", value, shape=sizes))
    else:
        made = owned("broadcast", (value,), {"shape": sizes}, lambda: np.full(numbers_in(sizes), value.array))
    return made.requires_grad_() if requires_grad else made


def zeros(shape: Any = (), *more: Any, dtype: Any = None, device: str | Device | None = None,
          requires_grad: bool = False) -> Tensor:
    """Zeros, in the default floating-point dtype unless `dtype` says otherwise.

        >>> tg.zeros((2, 3)).shape == tg.zeros(2, 3).shape == tg.zeros(shape=(2, 3)).shape
        True
    """
    return _filled(0, (shape, *more), dtype, device, requires_grad)


def ones(shape: Any = (), *more: Any, dtype: Any = None, device: str | Device | None = None,
         requires_grad: bool = False) -> Tensor:
    """Ones, in the default floating-point dtype unless `dtype` says otherwise."""
    return _filled(1, (shape, *more), dtype, device, requires_grad)


def _filled(number: int, shape: tuple[Any, ...], dtype: Any, device: Any, requires_grad: bool) -> Tensor:
    target = dtypes.default_float() if dtype is None else dtype
    sizes = sizes_of("ones" if number else "zeros", shape)
    return full(sizes, number, dtype=target, device=device, requires_grad=requires_grad)


empty = zeros
"""A Tensor of any contents: zeros, so that nothing undefined can be read."""


def full_like(x: Tensor, /, fill_value: Any, *, dtype: Any = None, device: str | Device | None = None,
              requires_grad: bool = False) -> Tensor:
    """`full` with the shape of x, and its dtype unless given."""
    target, place = x.dtype if dtype is None else dtype, x.device if device is None else device
    return full(x.shape, fill_value, dtype=target, device=place, requires_grad=requires_grad)


def zeros_like(x: Tensor, /, *, dtype: Any = None, device: str | Device | None = None,
               requires_grad: bool = False) -> Tensor:
    """Zeros with the shape of x, and its dtype unless given."""
    return full_like(x, 0, dtype=dtype, device=device, requires_grad=requires_grad)


def ones_like(x: Tensor, /, *, dtype: Any = None, device: str | Device | None = None,
              requires_grad: bool = False) -> Tensor:
    """Ones with the shape of x, and its dtype unless given."""
    return full_like(x, 1, dtype=dtype, device=device, requires_grad=requires_grad)


empty_like = zeros_like


def tri(n_rows: int, n_cols: int | None = None, k: int = 0, dtype: Any = None) -> Tensor:
    """Ones on diagonal k and below it, zeros above.

        >>> tg.tri(2, 3)
        tensor([[1., 0., 0.],
                [1., 1., 0.]])
    """
    below, column = diagonal_places(n_rows, n_cols, k)
    target = dtypes.default_float() if dtype is None else dtype_of(dtype)
    return placed(convert(greater_equal(below, column), target), None)


def diagonal_places(n_rows: int, n_cols: int | None, k: int) -> tuple[Tensor, Tensor]:
    """At each place of a matrix: the column in which diagonal k crosses its row, and its own column."""
    shape = (index(n_rows), index(n_rows if n_cols is None else n_cols))
    rows, columns = (dispatch("iota", shape=shape, axis=axis, dtype="i64") for axis in (0, 1))
    return add(rows, max(-shape[0], min(index(k), shape[1]))), columns      # beyond, no diagonal is left: k may be any


def vander(x: Operand, n: int | None = None, /, increasing: bool = False) -> Tensor:
    """The powers of the elements of a line x as columns, n of them (None: as many as x has), the highest first.

        >>> tg.vander(tg.tensor([2.0, 3.0]), 3)
        tensor([[4., 2., 1.],
                [9., 3., 1.]])
    """
    line = tensor_operand("vander", x)
    if line.ndim != 1:
        raise TypeRuleError(at_user_line(f"vander: {type_of(line)} is not a line"))
    count = line.size if n is None else index(n)
    powers = [power(line, k) for k in range(count)]
    if not powers:
        return zeros(line.size, 0, dtype=line.dtype, device=line.device)
    return stack(powers if increasing else powers[::-1], 1)


def eye(n_rows: int, n_cols: int | None = None, /, *, k: int = 0, dtype: Any = None,
        device: str | Device | None = None) -> Tensor:
    """Ones on diagonal k, zeros elsewhere.

        >>> tg.eye(2, 3, k=1)
        tensor([[0., 1., 0.],
                [0., 0., 1.]])
    """
    crossing, column = diagonal_places(n_rows, n_cols, k)
    target = dtypes.default_float() if dtype is None else dtype_of(dtype)
    return placed(convert(equal(crossing, column), target), device)
