"""objects: how this interpreter and NumPy lay out the objects that native code reads, and where their functions are.

    layout = object_layout()            offsets in bytes, or None where any of them is not as expected
    slot_offset(Point, "x")             where instances of a class with __slots__ keep an attribute

1. Nothing is taken on trust: each offset is tried on objects whose contents Python tells too.
2. What is not laid out as expected (another interpreter, a build that counts references otherwise) is never read.
"""
from __future__ import annotations

import ctypes
import importlib
import sys
import sysconfig
import types
from collections.abc import Iterator
from enum import Enum, auto
from functools import cache
from typing import Any

import numpy as np

from codegen.ir.structs import struct

_WORD = ctypes.sizeof(ctypes.c_void_p)

FUNCTIONS = """
    PyCell_Get PyContextVar_Get PyDict_GetItemWithError PyDict_New PyDict_Next PyDict_SetItem PyDict_Size PyErr_Clear
    PyErr_Occurred PyEval_RestoreThread PyEval_SaveThread PyLong_AsLongLong PyLong_FromLongLong PyObject_CallNoArgs
    PyObject_GenericGetDict PyObject_GetAttr PyObject_RichCompareBool PyObject_Vectorcall PySet_Contains PyTuple_New
    PyThreadState_Get PyThreadState_GetID PyType_GenericAlloc PyWeakref_NewRef Py_DecRef Py_IncRef _Py_Dealloc
""".split()
"""The functions of the interpreter that the entry calls."""

NUMPY_FUNCTIONS = {"PyArray_NewCopy": 85, "PyArray_NewFromDescr": 94, "PyArray_EquivTypes": 182}
"""Those of NumPy, by their place in its table, which is part of its ABI."""

TYPES = {f"type_{name}": kind for name, kind in {
    "tuple": tuple, "list": list, "dict": dict, "float": float, "int": int, "str": str, "array": np.ndarray,
    "function": types.FunctionType, "cell": types.CellType}.items()}


NAMESPACE = sys.intern("__dict__")


class Counting(Enum):
    """How references are counted, in the first word of an object."""

    PLAIN = auto()              # an i64
    IMMORTAL = auto()           # an i64; one whose lower half is negative as an i32 is never changed
    UNKNOWN = auto()            # in some other way, which the interpreter's functions know


@struct
class Layout:
    """Byte offsets, from the start of an object; and how references are counted."""

    counting: Counting
    type: int           # of any object, its class
    size: int           # of a tuple or a list, how many items it has
    items: int          # of a tuple, the first item; of a list, where its items are
    number: int         # of a float, its value
    digit: int          # of an int of one digit, that; an i32
    one_digit: int      # what such an int, above 0, has where others have their size
    data: int           # of an array: its first element,
    rank: int           # an i32: how many dimensions,
    shape: int          # where they are,
    strides: int
    base: int           # whose memory it is, null for its own
    dtype: int
    flags: int          # an i32
    code: int           # of a function
    globals: int
    namespace: int
    defaults: int
    keyword_defaults: int
    name: int
    qualified_name: int
    module: int
    mro: int            # of a class
    class_name: int
    qualified_class_name: int


LARGEST_DIGIT = (1 << 30) - 1

C_CONTIGUOUS, ALIGNED, WRITEABLE = 0x1, 0x100, 0x400
"""Flags of an array."""


@cache
def object_layout() -> Layout | None:
    """The layout of the objects of this process, or None where any is not laid out as expected."""
    if sys.implementation.name != "cpython" or _WORD != 8:          # elsewhere id() is no address
        return None
    if sysconfig.get_config_var("Py_GIL_DISABLED") or sysconfig.get_config_var("Py_TRACE_REFS"):
        return None
    head = object.__basicsize__
    if (head, tuple.__basicsize__, list.__basicsize__) != (16, 24, 40):
        return None
    known = _function_offsets()
    if known is None:
        return None
    one_digit = 1 if sys.version_info < (3, 12) else 1 << 3
    of_array = (head + k for k in (0, 8, 16, 24, 32, 40, 48))
    layout = Layout(_counting(), 8, head, head + 8, head, head + 8, one_digit, *of_array, *known)
    return layout if all(_agree(layout)) else None


def _counting() -> Counting:
    version = tuple(sys.version_info)
    if version < (3, 12):
        return Counting.PLAIN
    return Counting.IMMORTAL if version < (3, 14) and _int(None, 0) < 0 else Counting.UNKNOWN


def _pointer(o: Any, offset: int) -> int | None:
    return ctypes.c_void_p.from_address(id(o) + offset).value


def _int(o: Any, offset: int) -> int:
    return ctypes.c_int32.from_address(id(o) + offset).value


def _offsets(o: Any, *parts: Any) -> tuple[int, ...]:
    """Where an object has its parts, found by looking; -1 for what is not there."""
    held = {_pointer(o, at): at for at in reversed(range(object.__basicsize__, type(o).__basicsize__, _WORD))}
    return tuple(held.get(id(part), -1) for part in parts)


def _function_offsets() -> tuple[int, ...] | None:
    """Where a function has its code, globals, namespace, defaults and names, and a class its bases and names."""
    def probe(x=1, *, y=2):
        return x, y
    probe.note = 1                  # type: ignore[attr-defined]
    cls = type("Probe", (), {})
    cls.__qualname__ = "objects.Probe"
    found = (*_offsets(probe, probe.__code__, probe.__globals__, probe.__dict__, probe.__defaults__,
                       probe.__kwdefaults__, probe.__name__, probe.__qualname__, probe.__module__),
             *_offsets(cls, cls.__mro__, cls.__name__, cls.__qualname__))
    return None if -1 in found or found[2] != type(probe).__dictoffset__ else found


def _agree(layout: Layout) -> Iterator[bool]:
    """Does what is found at the offsets agree with what Python says?"""
    for array in _samples():
        yield _pointer(array, layout.type) == id(np.ndarray)
        yield _pointer(array, layout.data) == array.ctypes.data
        yield _int(array, layout.rank) == array.ndim
        for at, numbers in ((layout.shape, array.shape), (layout.strides, array.strides)):
            where = _pointer(array, at)
            yield not numbers or tuple((ctypes.c_ssize_t * array.ndim).from_address(where or 0)) == numbers
        yield _pointer(array, layout.base) == (None if array.base is None else id(array.base))
        yield _pointer(array, layout.dtype) == id(array.dtype)
        flags = _int(array, layout.flags)
        yield bool(flags & C_CONTIGUOUS) == array.flags.c_contiguous
        yield bool(flags & ALIGNED) == array.flags.aligned
        yield bool(flags & WRITEABLE) == array.flags.writeable
    parts = [object() for _ in range(3)]
    yield ctypes.c_ssize_t.from_address(id(parts) + layout.size).value == 3
    items = _pointer(parts, layout.items)
    yield items is not None and list((ctypes.c_void_p * 3).from_address(items)) == list(map(id, parts))
    pack, number = tuple(parts), 2.5
    yield list((ctypes.c_void_p * 3).from_address(id(pack) + layout.items)) == list(map(id, pack))
    yield ctypes.c_double.from_address(id(number) + layout.number).value == number
    for count in (1, 300, LARGEST_DIGIT, LARGEST_DIGIT + 1, -300):
        fits = ctypes.c_int64.from_address(id(count) + layout.size).value == layout.one_digit
        yield fits is (0 < count <= LARGEST_DIGIT) and (not fits or _int(count, layout.digit) == count)
    before, held = ctypes.c_int64.from_address(id(parts)).value, [parts, parts]
    yield ctypes.c_int64.from_address(id(parts)).value == before + 2 and sys.getrefcount(held) == 2


def _samples() -> tuple[np.ndarray, ...]:
    whole = np.arange(24.0).reshape(2, 3, 4)
    closed = np.zeros(3, np.int16)
    closed.flags.writeable = False
    packed = np.zeros(9, np.uint8)[1:].view(np.float32)
    return whole, whole.T, whole[1:, ::2, 1], closed, np.zeros((), np.float16), np.zeros((0, 2), np.int64), packed


def slot_offset(cls: Any, name: str) -> int | None:
    """Where instances of `cls` keep what its slot `name` holds; None if that is not as expected."""
    if object_layout() is None:
        return None
    described = cls.__dict__[name]
    offset = member_offset(described)
    if offset is None:
        return None
    probe, sentinel = cls.__new__(cls), object()
    described.__set__(probe, sentinel)
    return offset if _pointer(probe, offset) == id(sentinel) else None


def member_offset(member: Any) -> int | None:
    """Where the slot that a member descriptor of a Python class stands for is; None if that is not as expected."""
    if object_layout() is None:
        return None
    described = _pointer(member, type(member).__basicsize__ - _WORD)      # its last field: name, type, offset, ...
    offset = -1 if described is None else ctypes.c_ssize_t.from_address(described + 2 * _WORD).value
    return offset if object.__basicsize__ <= offset <= member.__objclass__.__basicsize__ - _WORD else None


def attribute_offsets(kind: type) -> dict[str, int]:
    """Where a function, or a class that Python code made, has attributes that it keeps nowhere else.

    Nothing where that is not known, and for other kinds of objects.
    """
    layout = object_layout()
    if layout is None or kind not in (types.FunctionType, type):
        return {}
    if kind is type:
        return {"__mro__": layout.mro, "__name__": layout.class_name, "__qualname__": layout.qualified_class_name}
    return {"__defaults__": layout.defaults, "__kwdefaults__": layout.keyword_defaults, "__name__": layout.name,
            "__qualname__": layout.qualified_name, "__module__": layout.module}


@cache
def addresses() -> dict[str, int]:
    """The address of everything that the entry names."""
    python = {name: _address(getattr(ctypes.pythonapi, name)) for name in FUNCTIONS}
    return {**python, **_numpy_addresses(), **{name: id(kind) for name, kind in TYPES.items()},
            "none": id(None), "true": id(True), "false": id(False), "namespace": id(NAMESPACE)}


def _address(function: Any) -> int:
    value = ctypes.cast(function, ctypes.c_void_p).value
    assert value is not None
    return value


def _numpy_addresses() -> dict[str, int]:
    numpy: Any = importlib.import_module("numpy._core._multiarray_umath")
    read = ctypes.pythonapi.PyCapsule_GetPointer
    read.restype, read.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    table = read(numpy._ARRAY_API, None)
    return {name: (ctypes.c_void_p * (place + 1)).from_address(table)[place] or 0
            for name, place in NUMPY_FUNCTIONS.items()}
