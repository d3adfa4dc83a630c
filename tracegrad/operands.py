"""Operands: what a user may write beside a Tensor, made what dispatch takes; promotion happens here.

    pair("add", f32[3], 2)  ->  f32[3], 2        pair("add", i64[3], 0.5)  ->  f32[3], 0.5
"""
from __future__ import annotations

from math import prod
from typing import Any, TypeAlias

import numpy as np

from codegen.ir.references import literal_text
from codegen.ir.type_rules import TypeRuleError
from codegen.ir.types import type_of
from tracegrad import dtypes
from tracegrad.dispatch import dispatch
from tracegrad.dtypes import COMPLEX_NUMBERS, FLOATING, INEXACT, bool_, name_of, promote
from tracegrad.lifted import LiftedNumber
from tracegrad.recorder import ACTIVE
from tracegrad.size_numbers import index, is_size
from tracegrad.source_lines import at_user_line
from tracegrad.tensors import Tensor

Number: TypeAlias = bool | int | float
Operand: TypeAlias = Tensor | np.ndarray | Number | complex
NUMBERS = frozenset({bool, int, float, complex})
Axis: TypeAlias = int | tuple[int, ...] | None


def scalar(number: Number | complex, dtype: np.dtype) -> Tensor:
    """A 0-d Tensor of a number that is part of the program."""
    name = name_of(dtype)
    return dispatch("constant", value=literal_text(number, name), dtype=name)


def plain_number(number: int | float | complex) -> int | float | complex:
    """The number that an instance of a derived class is, a member of an IntEnum say: it is as weak as any other."""
    base = next(kind for kind in (int, float, complex) if issubclass(type(number), kind))
    return base.__pos__(number)         # type: ignore[arg-type]


def adopt(array: np.ndarray, is_operand: bool = False) -> Tensor:
    """A Tensor on the storage of an array that the caller keeps; TypeError for a dtype tensors do not have.

    As an operand it is what the array holds now.
    """
    tensor = Tensor(dtypes.canonical(array))
    tensor.mark_foreign()
    recorder = ACTIVE.get()
    if recorder is not None:
        report = recorder.record_copy if is_operand and type(array) is np.ndarray else recorder.record_creation
        report(tensor, array)
    return tensor


def operand(op: str, x: Any) -> Any:
    """x as dispatch takes it, a Tensor or a Python number; TypeError if it is no operand."""
    if isinstance(x, Tensor):
        return x
    if type(x) is LiftedNumber:
        return x.read()
    if is_size(x):
        return x
    if isinstance(x, np.generic):       # a NumPy scalar is as weak as a Python number
        x = x.item()
    if isinstance(x, bool | int | float | complex):
        return x if type(x) in NUMBERS else plain_number(x)
    if isinstance(x, np.ndarray):
        return adopt(x, is_operand=True)
    raise TypeError(at_user_line(f"{op}: {type(x).__name__} is neither a tensor nor a number"))


def tensor_operand(op: str, x: Any) -> Tensor:
    """x as a Tensor; a number becomes 0-d, of the default dtype of its kind."""
    x = operand(op, x)
    return x if isinstance(x, Tensor) else scalar(x, number_dtype(x))


def number_dtype(number: Number | complex) -> np.dtype:
    # A lifted number has the class of its number.
    if isinstance(number, complex):
        return dtypes.default_complex()
    return dtypes.default_float() if isinstance(number, float) else dtypes.dtype_of(number.__class__)


def convert(x: Tensor, dtype: np.dtype) -> Tensor:
    """x in `dtype`: x itself if it has it."""
    return x if x.dtype == dtype else dispatch("cast", x, dtype=name_of(dtype))


def floating(x: Tensor) -> Tensor:
    """x itself if it is floating-point or complex, else in the default floating-point dtype."""
    return x if x.dtype in INEXACT else convert(x, dtypes.default_float())


def beside(dtype: np.dtype, number: Number | complex) -> np.dtype:
    """The dtype of the result of an operation on a tensor of `dtype` and a Python number."""
    if isinstance(number, complex):
        if dtype in COMPLEX_NUMBERS:
            return dtype
        return promote(dtype, dtypes.complex64) if dtype in FLOATING else dtypes.default_complex()
    if isinstance(number, float):
        return dtype if dtype in INEXACT else dtypes.default_float()
    if dtype is bool_ and not isinstance(number, bool):
        return dtypes.int64
    return dtype


def lifted(number: LiftedNumber, dtype: np.dtype) -> Tensor | Number:
    """The number as a Tensor; as itself where NumPy would look whether it fits."""
    return convert(number.tensor, dtype) if dtype in FLOATING or dtype == dtypes.int64 else number.read()


def pair(op: str, x: Any, y: Any) -> tuple[Any, Any]:
    """Two operands in their common dtype, at least one a Tensor."""
    if type(y) is LiftedNumber and isinstance(x, Tensor):
        y = lifted(y, beside(x.dtype, y.number))
    elif type(x) is LiftedNumber and isinstance(y, Tensor):
        x = lifted(x, beside(y.dtype, x.number))
    x, y = operand(op, x), operand(op, y)
    if isinstance(x, Tensor):
        if isinstance(y, Tensor):
            common = promote(x.dtype, y.dtype)
            return convert(x, common), convert(y, common)
        return convert(x, beside(x.dtype, y)), y
    if isinstance(y, Tensor):
        return x, convert(y, beside(y.dtype, x))
    dtype = promote(number_dtype(x), number_dtype(y))
    return scalar(x, dtype), y


def truth(x: Operand) -> Tensor:
    """x as bool: what is not 0 is true."""
    return convert(tensor_operand("truth", x), bool_)


def axes_of(axis: Axis, ndim: int) -> tuple[int, ...]:
    """Axes as a tuple, below 0 counted from the end, None for all; what is out of range stays so, for the type rule."""
    if axis is None:
        return tuple(range(ndim))
    try:
        axes = tuple(map(index, axis if isinstance(axis, tuple | list) else (axis,)))
    except TypeError:
        raise TypeError(at_user_line(f"axis={axis!r}: an axis is an int, several are a tuple of ints")) from None
    return tuple(k + ndim if -ndim <= k < 0 else k for k in axes)


def count(x: Tensor, axis: Axis) -> int:
    """How many elements a reduction over `axis` combines."""
    return prod(x.shape[k] for k in axes_of(axis, x.ndim) if 0 <= k < x.ndim)


def refuse_names(op: str, names: dict[str, Any]) -> None:
    """TypeError for keyword arguments that `op` does not have; for PyTorch's dim and keepdim it names ours."""
    for name in names:
        ours = {"dim": "axis", "keepdim": "keepdims", "start_dim": "start_axis", "end_dim": "end_axis"}.get(name)
        remedy = f": write {ours}=" if ours else ""
        raise TypeError(at_user_line(f"{op}: there is no argument {name}={remedy}"))


def contraction_error(a: Tensor, b: Tensor) -> Exception:
    """What is wrong with matmul's operands."""
    x, y = type_of(a), type_of(b)
    if not x.shape or not y.shape:
        return TypeRuleError(at_user_line(f"matmul: operands {x} and {y} must have at least 1 axis"))
    sizes = f"{x.shape[-1]} vs {y.shape[-2 if y.ndim > 1 else 0]}"
    return TypeRuleError(at_user_line(f"matmul: operands {x} and {y} do not contract ({sizes})"))
