"""What is known of dtypes: limits and kinds, what casts and promotes to what; the inspection of the namespace.

The functions are the Array API standard's, and know bfloat16 beside its dtypes.
"""
from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np

from codegen.ir.structs import struct
from codegen.ir.types import DTYPES
from tracegrad import dtypes
from tracegrad.devices import CPU, Device, device_of
from tracegrad.dtypes import COMPLEX_NUMBERS, FLOATING, INTEGRAL, bool_, dtype_of, promote
from tracegrad.operands import beside, number_dtype
from tracegrad.source_lines import at_user_line

_SIGNED = frozenset(dtype for dtype in INTEGRAL if dtype.kind == "i")

_KINDS: dict[str, frozenset[np.dtype]] = {
    "bool": frozenset({bool_}), "signed integer": _SIGNED, "unsigned integer": INTEGRAL - _SIGNED,
    "integral": INTEGRAL, "real floating": FLOATING, "complex floating": COMPLEX_NUMBERS,
    "numeric": INTEGRAL | FLOATING | COMPLEX_NUMBERS,
}


@struct
class FloatInfo:
    """Limits of a floating-point dtype; of a complex one those of its parts. `eps`: from 1 to the next number."""

    bits: int
    eps: float
    max: float
    min: float
    smallest_normal: float
    smallest_subnormal: float
    resolution: float
    dtype: np.dtype

    @property
    def tiny(self) -> float:
        """`smallest_normal`, by NumPy's and PyTorch's name."""
        return self.smallest_normal


@struct
class IntegerInfo:
    """Limits of an integer dtype."""

    bits: int
    max: int
    min: int
    dtype: np.dtype


def _float_limits(dtype: np.dtype) -> FloatInfo:
    info = ml_dtypes.finfo(dtype)
    names = ("eps", "max", "min", "smallest_normal", "smallest_subnormal", "resolution")
    limits = {name: float(getattr(info, name)) for name in names}
    return FloatInfo(bits=dtype.itemsize * 8, dtype=dtype, **limits)


_FLOAT_LIMITS = {dtype: _float_limits(dtype) for dtype in FLOATING}
_INTEGER_LIMITS = {dtype: IntegerInfo(np.iinfo(dtype).bits, np.iinfo(dtype).max, np.iinfo(dtype).min, dtype)
                   for dtype in INTEGRAL}


def _dtype(x: Any) -> np.dtype:
    return dtype_of(getattr(x, "dtype", x))


def finfo(type: Any, /) -> FloatInfo:
    """The limits of a floating-point or complex dtype, or of that of an array.

        >>> tg.finfo(tg.bfloat16).eps
        0.0078125
    """
    given = _dtype(type)
    dtype = {dtypes.complex64: dtypes.float32, dtypes.complex128: dtypes.float64}.get(given, given)
    if dtype not in FLOATING:
        raise TypeError(at_user_line(f"finfo: {dtype} is no floating-point dtype; iinfo is for integers"))
    return _FLOAT_LIMITS[dtype]


def iinfo(type: Any, /) -> IntegerInfo:
    """The limits of an integer dtype, or of that of an array.

        >>> tg.iinfo(tg.int8).max
        127
    """
    dtype = _dtype(type)
    if dtype not in INTEGRAL:
        raise TypeError(at_user_line(f"iinfo: {dtype} is no integer dtype; finfo is for floating-point ones"))
    return _INTEGER_LIMITS[dtype]


def isdtype(dtype: Any, kind: Any) -> bool:
    """Is `dtype` of a kind: a dtype, the name of a kind, or a tuple of such?

    The kinds are bool, signed integer, unsigned integer, integral, real floating, complex floating, numeric.

        >>> tg.isdtype(tg.int8, "signed integer"), tg.isdtype(tg.float32, ("integral", tg.bool))
        (True, False)
    """
    found = dtype_of(dtype)
    if isinstance(kind, tuple):
        return any(isdtype(found, one) for one in kind)
    if isinstance(kind, str):
        if kind not in _KINDS:
            raise ValueError(at_user_line(f"isdtype: there is no kind {kind!r}; the kinds are {', '.join(_KINDS)}"))
        return found in _KINDS[kind]
    return found == dtype_of(kind)


def can_cast(from_: Any, to: Any, /) -> bool:
    """Does promotion take `from_`, a dtype or an array, to the dtype `to`: is `to` what the two promote to?

        >>> tg.can_cast(tg.int8, tg.int16), tg.can_cast(tg.float64, tg.float32)
        (True, False)
    """
    target = dtype_of(to)
    try:
        return promote(_dtype(from_), target) == target
    except TypeError:
        return False


def promote_types(type1: Any, type2: Any, /) -> np.dtype:
    """The dtype that two dtypes promote to."""
    return promote(dtype_of(type1), dtype_of(type2))


def result_type(*operands: Any) -> np.dtype:
    """The dtype that arrays, dtypes and numbers promote to together; numbers, Python's and NumPy's, are weak.

        >>> tg.result_type(tg.int64, tg.float32), tg.result_type(tg.int8, 1), tg.result_type(tg.int8, 1.0)
        (dtype('float32'), dtype('int8'), dtype('float32'))
    """
    if not operands:
        raise ValueError(at_user_line("result_type: there is no operand"))
    numbers = [o.item() if isinstance(o, np.generic) else o for o in operands
               if isinstance(o, np.generic | bool | int | float | complex)]
    strong = [_dtype(o) for o in operands if not isinstance(o, np.generic | bool | int | float | complex)]
    if not strong:
        strong = [number_dtype(number) for number in numbers]
    result = strong[0]
    for dtype in strong[1:]:
        result = promote(result, dtype)
    for number in numbers:
        result = beside(result, number)
    return result


class NamespaceInfo:
    """What `__array_namespace_info__` gives: what this namespace can do."""

    def capabilities(self) -> dict[str, Any]:
        """What is optional in the standard, and how many axes an array may have."""
        return {"boolean indexing": True, "data-dependent shapes": True, "max dimensions": 64}

    def default_device(self) -> Device:
        """Where arrays are made unless `device=` says otherwise."""
        return CPU

    def devices(self) -> list[Device]:
        """All devices."""
        return [CPU]

    def default_dtypes(self, *, device: Any = None) -> dict[str, np.dtype]:
        """The dtypes of data that have none of their own."""
        device_of(device)
        return {"real floating": dtypes.default_float(), "complex floating": dtypes.default_complex(),
                "integral": dtypes.int64, "indexing": dtypes.int64}

    def dtypes(self, *, device: Any = None, kind: str | tuple[str, ...] | None = None) -> dict[str, np.dtype]:
        """The dtypes of a kind (see isdtype; None: all) by name: those of the standard, so not the halves."""
        device_of(device)
        return {dtype.name: dtype for dtype in DTYPES.values()
                if dtype not in (dtypes.float16, dtypes.bfloat16) and (kind is None or isdtype(dtype, kind))}


def array_namespace_info() -> NamespaceInfo:
    """The namespace's inspection (Array API `__array_namespace_info__`)."""
    return NamespaceInfo()
