"""host_calls: the Host steps of a plan as functions that native code can call.

    Host(svd of buffer 0 into 3)    ->    an address with the signature of a kernel; the driver launches it as one chunk

1. A launch of one chunk runs in the caller's thread. The function takes the interpreter lock for itself.
2. Where a reference refuses its operands, or fails otherwise, the check fails: the run leaves at its exit before
   anything is written that the caller can see, and whoever runs the program eagerly then meets the same error.
3. An interruption (KeyboardInterrupt, SystemExit) makes the check fail too, and is raised again once the run has left.
4. The arrays by which Python sees buffers are kept by their addresses, which come again with every run: to make one
   takes as long as to multiply a thousand numbers. They own nothing, and are only looked up by a valid address.
"""
from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable
from math import prod

import numpy as np

from codegen.ir.dims import number_of
from codegen.ir.types import DTYPES, TensorType
from codegen.schedule.host import host_work
from codegen.schedule.plan import Host

_KERNEL = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p)

MOST_VIEWS = 32
"""Of one buffer of a step: outputs are elsewhere with every run, where nothing recycles them."""


class HostCalls:
    """The functions of one program, which live as long as this object; and the interruptions that runs have met."""

    def __init__(self) -> None:
        self._functions: list[Callable[..., None]] = []
        self._met = threading.local()

    def __bool__(self) -> bool:
        return bool(self._functions)

    def address(self, step: Host) -> int:
        """The address of a new function that does `step`; its buffers: the operands that have elements, the result."""
        views = [_Views(type) for type in (*(type for k, type in step.operands if k is not None), step.type)]
        empty = {n: np.empty(tuple(map(number_of, type.shape)), DTYPES[type.dtype])
                 for n, (k, type) in enumerate(step.operands) if k is None}
        table, work = ctypes.c_void_p * len(views), host_work(step)

        def run(buffers: int, first: int, last: int, failed: int) -> None:
            try:
                *operands, result = [view.at(pointer) for view, pointer in zip(views, table.from_address(buffers))]
                for n, array in empty.items():
                    operands.insert(n, array)
                work(operands, result)
            except Exception:  # noqa: BLE001 - invariant 2
                ctypes.c_int32.from_address(failed).value = 1
            except BaseException as interruption:  # noqa: BLE001 - invariant 3
                ctypes.c_int32.from_address(failed).value = 1
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


class _Views:
    """The elements of a buffer of one type, as arrays on the memory it has had."""

    def __init__(self, type: TensorType):
        self._shape, self._dtype = tuple(map(number_of, type.shape)), DTYPES[type.dtype]
        self._bytes = ctypes.c_char * (prod(self._shape) * self._dtype.itemsize)
        self._known: dict[int | None, np.ndarray] = {}

    def at(self, pointer: int | None) -> np.ndarray:
        """The array at an address."""
        array = self._known.get(pointer)
        if array is None:
            if len(self._known) >= MOST_VIEWS:
                self._known.clear()
            assert pointer is not None
            memory = memoryview(self._bytes.from_address(pointer))
            array = self._known[pointer] = np.ndarray(self._shape, self._dtype, memory)
        return array
