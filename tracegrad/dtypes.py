"""Element types, promotion between them, and the default floating-point type.

A dtype is a NumPy dtype; what a user writes (`tg.float32`, "float32", np.float32, float) is made one by `dtype_of`.
Promotion is that of the Array API standard, with two rules where it leaves the result open: an integer array
beside a floating-point or complex one takes the latter's dtype, and bool beside anything takes the other's.
"""
from __future__ import annotations

from typing import Any

import numpy as np

from codegen.ir.types import COMPLEX, DTYPES, FLOATS, INTEGERS, NAMES
from tracegrad.devices import is_gpu_array
from tracegrad.source_lines import at_user_line

bool_ = DTYPES["bool"]
int8, int16, int32, int64 = (DTYPES[name] for name in ("i8", "i16", "i32", "i64"))
uint8, uint16, uint32, uint64 = (DTYPES[name] for name in ("u8", "u16", "u32", "u64"))
float16, bfloat16, float32, float64 = (DTYPES[name] for name in ("f16", "bf16", "f32", "f64"))
complex64, complex128 = DTYPES["c64"], DTYPES["c128"]

FLOATING = frozenset(DTYPES[name] for name in FLOATS)
COMPLEX_NUMBERS = frozenset(DTYPES[name] for name in COMPLEX)
INEXACT = FLOATING | COMPLEX_NUMBERS
"""The dtypes that round, which are those that derivatives exist in."""
INTEGRAL = frozenset(DTYPES[name] for name in INTEGERS)
REAL = FLOATING | INTEGRAL
"""The dtypes of real numbers: no bool, no complex number."""

_PYTHON = {bool: bool_, int: int64}

_default_float = float32


def default_float() -> np.dtype:
    """The dtype of floating-point data that has none of its own: float32 unless set_default_dtype said otherwise."""
    return _default_float


def default_complex() -> np.dtype:
    """The dtype of complex data that has none of its own: that whose parts hold the default floating-point dtype."""
    return complex128 if _default_float == float64 else complex64


def set_default_dtype(dtype: Any) -> None:
    """Set the default floating-point dtype; TypeError if `dtype` is not one."""
    global _default_float
    chosen = dtype_of(dtype)
    if chosen not in FLOATING:
        raise TypeError(f"the default dtype must be a floating-point dtype, not {chosen}")
    _default_float = chosen


def dtype_of(dtype: Any) -> np.dtype:
    """The dtype that a user's `dtype=` means; TypeError for one that tensors do not have."""
    if dtype is float:
        return _default_float
    if dtype is complex:
        return default_complex()
    if dtype in _PYTHON:
        return _PYTHON[dtype]
    try:
        if dtype is None:                       # to NumPy that is float64
            raise TypeError
        found = np.dtype(dtype).newbyteorder("=")
    except TypeError:
        raise TypeError(at_user_line(f"{dtype!r} is not a dtype; the dtypes are {_names()}")) from None
    name = NAMES.get(found)
    if name is None:
        raise TypeError(at_user_line(f"tensors of dtype {found} are not supported; the dtypes are {_names()}"))
    return DTYPES[name]


def _names() -> str:
    return ", ".join(d.name for d in NAMES)


def canonical(array: np.ndarray) -> np.ndarray:
    """A plain array with one of our dtype objects: on the same memory, unless the byte order is foreign."""
    dtype = dtype_of(array.dtype)
    array = array if is_gpu_array(array) else np.asarray(array)
    if array.dtype is dtype:
        return array
    return array.view(dtype) if array.dtype == dtype else array.astype(dtype)


def name_of(dtype: np.dtype) -> str:
    """The name of a dtype in the IR: "f32"."""
    return NAMES[dtype]


def promote(a: np.dtype, b: np.dtype) -> np.dtype:
    """The dtype of the result of an operation on arrays of dtypes a and b; TypeError where there is none."""
    if a == b:
        return a
    if a == bool_ or b in INEXACT and a in INTEGRAL:
        return b
    if b == bool_ or a in INEXACT and b in INTEGRAL:
        return a
    if a in FLOATING and b in FLOATING:                     # float16 beside bfloat16: neither holds the other
        return float32 if a.itemsize == b.itemsize else max(a, b, key=lambda dtype: dtype.itemsize)
    if a in COMPLEX_NUMBERS or b in COMPLEX_NUMBERS:
        return complex128 if {a, b} & {float64, complex128} else complex64
    found = np.promote_types(a, b)
    if found in FLOATING:
        raise TypeError(f"{a} and {b} have no common integer dtype: cast one of them")
    return DTYPES[NAMES[found]]


def is_floating_point(x: Any) -> bool:
    """Is the dtype of `x` a floating-point dtype?"""
    return dtype_of(getattr(x, "dtype", x)) in FLOATING
