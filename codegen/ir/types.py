"""The type of a value: an element type and a shape whose sizes are ints or Dims.

    f32[b,64]    i64[]    bool[2*b]
"""
from __future__ import annotations

from typing import Protocol

import ml_dtypes
import numpy as np

from codegen.ir.dims import Dim, Size, symbols
from codegen.ir.structs import struct

DTYPES: dict[str, np.dtype] = {
    "bool": np.dtype(np.bool_),
    "i8": np.dtype(np.int8), "i16": np.dtype(np.int16), "i32": np.dtype(np.int32), "i64": np.dtype(np.int64),
    "u8": np.dtype(np.uint8), "u16": np.dtype(np.uint16), "u32": np.dtype(np.uint32), "u64": np.dtype(np.uint64),
    "f16": np.dtype(np.float16), "bf16": np.dtype(ml_dtypes.bfloat16), "f32": np.dtype(np.float32),
    "f64": np.dtype(np.float64), "c64": np.dtype(np.complex64), "c128": np.dtype(np.complex128),
}
"""Every element type by its name in the text, with the NumPy dtype that holds it."""

NAMES: dict[np.dtype, str] = {dtype: name for name, dtype in DTYPES.items()}

SIGNED = frozenset({"i8", "i16", "i32", "i64"})
UNSIGNED = frozenset({"u8", "u16", "u32", "u64"})
INTEGERS = SIGNED | UNSIGNED
FLOATS = frozenset({"f16", "bf16", "f32", "f64"})
COMPLEX = frozenset({"c64", "c128"})
INEXACT = FLOATS | COMPLEX
"""The dtypes that round, which are those that derivatives exist in."""
NUMBERS = INTEGERS | INEXACT

PARTS: dict[str, str] = {"c64": "f32", "c128": "f64"}
"""The dtype of the real and imaginary parts of each complex dtype."""


@struct
class TensorType:
    """Element type (a key of DTYPES) and shape."""

    dtype: str
    shape: tuple[Size, ...] = ()

    def __str__(self) -> str:
        return f"{self.dtype}[{','.join(map(str, self.shape))}]"

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def symbols(self) -> frozenset[str]:
        return frozenset().union(*map(symbols, self.shape)) if self.shape else frozenset()


class Typed(Protocol):
    """What has an element type and a shape: a NumPy array, say."""

    @property
    def dtype(self) -> np.dtype: ...
    @property
    def shape(self) -> tuple[int, ...]: ...


def type_of(array: Typed) -> TensorType:
    """The type of an array; TypeError for a dtype the IR does not have."""
    dtype = array.dtype
    name = NAMES.get(dtype)
    if name is None:
        raise TypeError(f"arrays of dtype {dtype} are not supported; the dtypes are {', '.join(DTYPES)}")
    return TensorType(name, array.shape)


def is_static(type: TensorType) -> bool:
    """Has the type no symbol in it?"""
    return not any(isinstance(size, Dim) for size in type.shape)
