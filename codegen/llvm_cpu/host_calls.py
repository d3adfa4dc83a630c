"""host_calls: the Host steps of a plan as functions that native code can call.

    Host(svd of buffer 0 into 3)    ->    an address with the signature of a kernel; the driver launches it as one chunk

1. A launch of one chunk runs in the caller's thread. The function takes the interpreter lock for itself.
2. Where a reference refuses its operands, or fails otherwise, the check fails: the run leaves at its exit before
   anything is written that the caller can see, and whoever runs the program eagerly then meets the same error.
3. An interruption (KeyboardInterrupt, SystemExit) makes the check fail too, and is raised again once the run has left.
"""
from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable
from math import prod

import numpy as np

from codegen.ir.types import DTYPES, TensorType
from codegen.schedule.host import run_host
from codegen.schedule.plan import Host

_KERNEL = ctypes.CFUNCTYPE(None, ctypes.POINTER(ctypes.c_void_p), ctypes.c_int64, ctypes.c_int64,
                           ctypes.POINTER(ctypes.c_int32))


class HostCalls:
    """The functions of one program, which live as long as this object; and the interruptions that runs have met."""

    def __init__(self) -> None:
        self._functions: list[Callable[..., None]] = []
        self._met = threading.local()

    def __bool__(self) -> bool:
        return bool(self._functions)

    def address(self, step: Host) -> int:
        """The address of a new function that does `step`; its buffers: the operands that have elements, the result."""
        def run(buffers, first, last, failed) -> None:
            try:
                pointers = iter(range(len(step.operands) + 1))
                operands = [np.empty(0) if k is None else _array(buffers[next(pointers)], type)
                            for k, type in step.operands]
                run_host(step, operands, _array(buffers[next(pointers)], step.type))
            except Exception:  # noqa: BLE001 - invariant 2
                failed[0] = 1
            except BaseException as interruption:  # noqa: BLE001 - invariant 3
                failed[0] = 1
                self._met.interruption = interruption

        function = _KERNEL(run)
        self._functions.append(function)
        address = ctypes.cast(function, ctypes.c_void_p).value
        assert address is not None
        return address

    def raise_interruption(self) -> None:
        """Raise what interrupted a host call of the run that this thread has just made, if anything did."""
        interruption = getattr(self._met, "interruption", None)
        if interruption is not None:
            self._met.interruption = None
            raise interruption


def _array(pointer: int, type: TensorType) -> np.ndarray:
    """The elements of a buffer, flat."""
    dtype = DTYPES[type.dtype]
    size = prod(map(int, type.shape)) * dtype.itemsize      # type: ignore[arg-type]
    return np.ndarray((size,), np.uint8, memoryview((ctypes.c_char * size).from_address(pointer))).view(dtype)
