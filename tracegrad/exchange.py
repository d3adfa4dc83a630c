"""DLPack: storage that other libraries and Tensors share, in both directions, without a copy on the CPU.

NumPy makes and reads the capsules. It knows no bfloat16, so there its bits travel: a capsule that NumPy made for u16 is
told that it holds bfloat16, one that holds bfloat16 is read as u16. That is one byte of the struct that a capsule
points to, which DLPack's specification lays down (dlpack.h, versions 0.x and 1.x):

    DLTensor                  data: 8 bytes, device: 8, ndim: 4, then the dtype: its code 1, bits 1, lanes 2; ...
    DLManagedTensor           DLTensor, ...                                                         "dltensor"
    DLManagedTensorVersioned  version: 8, manager: 8, deleter: 8, flags: 8, DLTensor            "dltensor_versioned"
"""
from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

from tracegrad.conversions import moved
from tracegrad.devices import CPU, Device, cupy, device_of
from tracegrad.dtypes import bfloat16
from tracegrad.functional import clone
from tracegrad.host import read
from tracegrad.operands import adopt
from tracegrad.source_lines import at_user_line
from tracegrad.tensors import Tensor

CPU_DEVICE = (1, 0)
"""DLPack's name of the CPU."""
CUDA, CUDA_HOST, CUDA_MANAGED = 2, 3, 13
"""DLPack's numbers for GPUs, for pinned memory of the CPU, and for memory that both read."""

_DTYPE_AT = {b"dltensor": 20, b"dltensor_versioned": 52}
_UINT, _BFLOAT = 1, 4


def dlpack(x: Tensor, /, *, stream: Any = None, max_version: tuple[int, int] | None = None,
           dl_device: tuple[int, int] | None = None, copy: bool | None = None) -> Any:
    """A DLPack capsule of the storage: writes to either side are seen by both, unless copy=True.

    BufferError for a tensor that requires grad, for another device than its own, and for read-only storage where the
    consumer takes only capsules that cannot say so (max_version below 1.0). A stream, which the CPU has not, is a
    ValueError; that of a GPU is the one on which the consumer goes on (CuPy makes the capsule).
    """
    if x.requires_grad:
        raise BufferError(at_user_line(
            "__dlpack__: the tensor requires grad, which a capsule cannot say; use x.detach()"))
    if x.device != CPU:
        read(x, "DLPack")
        return x.hand_out().__dlpack__(stream=stream, max_version=max_version, dl_device=dl_device, copy=copy)
    if stream is not None:
        raise ValueError(at_user_line("__dlpack__: the CPU has no streams, so stream has to be None"))
    if dl_device is not None and tuple(dl_device) != CPU_DEVICE:
        raise BufferError(at_user_line(f"__dlpack__: the tensor is on the CPU, {CPU_DEVICE}, not on {dl_device}"))
    read(x, "DLPack")
    array = x.hand_out()
    half = array.dtype == bfloat16
    capsule = (array.view(np.uint16) if half else array).__dlpack__(max_version=max_version, copy=copy)
    if half:
        _dtype_code(capsule).value = _BFLOAT
    return capsule


def dlpack_device(x: Tensor, /) -> tuple[int, int]:
    """DLPack's (device type, number)."""
    return CPU_DEVICE if x.device == CPU else (CUDA, x.device.index or 0)


def from_dlpack(x: Any, /, *, device: str | Device | None = None, copy: bool | None = None) -> Tensor:
    """A Tensor on the memory of anything that speaks DLPack, read-only if that says so; copy=True: on its own.

    What is on a GPU stays there unless device="cpu". BufferError for what is elsewhere and may not be copied,
    ValueError where copy=False and a copy is needed.

        >>> tg.from_dlpack(np.arange(3.0))
        tensor([0., 1., 2.], dtype=float64)
    """
    where = None if device is None else device_of(device)
    if not hasattr(x, "__dlpack__"):
        raise TypeError(at_user_line(f"from_dlpack: {type(x).__name__} has no method __dlpack__"))
    kind, number = x.__dlpack_device__()
    if kind in (CUDA, CUDA_MANAGED) and where != CPU:
        made = adopt(cupy().from_dlpack(x))
        if copy is False and where is not None and where.index != number:
            raise ValueError(at_user_line(f"from_dlpack: a copy is needed to move from cuda:{number} to {where}"))
        made = made if where is None else moved(made, where)
        return clone(made) if copy else made
    here = (kind, number) == CPU_DEVICE or kind == CUDA_HOST
    if where is not None and where != CPU:
        if copy is False:
            raise ValueError(at_user_line(f"from_dlpack: a copy is needed to move to {where}"))
        return moved(from_dlpack(x, device="cpu"), where)
    options = {"copy": copy, "dl_device": None if here else CPU_DEVICE}
    capsule = _capsule_of(x, {name: value for name, value in options.items() if value is not None})
    code = _dtype_code(capsule)
    half = code.value == _BFLOAT
    if half:
        code.value = _UINT
    array = np.from_dlpack(_Exporter(capsule))
    return adopt(array.view(bfloat16) if half else array)


def _capsule_of(x: Any, options: dict[str, Any]) -> Any:
    """The newest kind of capsule that x makes."""
    try:
        return x.__dlpack__(max_version=(1, 0), **options)
    except TypeError:                       # an exporter of before 2023: it knows no such argument
        if options:
            raise BufferError(at_user_line(
                f"from_dlpack: {type(x).__name__} knows none of {', '.join(options)}, so a copy cannot be asked for"
                )) from None
        return x.__dlpack__()


class _Exporter:
    """A capsule of memory on the CPU, as np.from_dlpack takes it."""

    def __init__(self, capsule: Any):
        self._capsule = capsule

    def __dlpack__(self, **options: Any) -> Any:
        return self._capsule

    def __dlpack_device__(self) -> tuple[int, int]:
        return CPU_DEVICE


def _dtype_code(capsule: Any) -> ctypes.c_uint8:
    """The byte of a capsule's struct that says which kind of number it holds."""
    name = _capsule_name(capsule)
    return ctypes.c_uint8.from_address(_capsule_pointer(capsule, name) + _DTYPE_AT[name])


_capsule_name = ctypes.pythonapi.PyCapsule_GetName
_capsule_name.argtypes, _capsule_name.restype = (ctypes.py_object,), ctypes.c_char_p
_capsule_pointer = ctypes.pythonapi.PyCapsule_GetPointer
_capsule_pointer.argtypes, _capsule_pointer.restype = (ctypes.py_object, ctypes.c_char_p), ctypes.c_void_p
