"""cupy_driver: the calls of CUDA's driver that launches need, by CuPy, on the device that is current in it.

The context is the one that CuPy and the CUDA runtime share, so memory and streams of CuPy are memory and streams here.
"""
from __future__ import annotations

import ctypes
from functools import cache

from codegen.schedule.plan import NoDevice
from codegen.triton_gpu.compile import Arch, Cubin, shared_limit

MAX_DYNAMIC_SHARED_SIZE_BYTES = 8
"""The attribute of a function; its number in CUDA's driver."""


EVENT_RECORD_EXTERNAL = 1
"""A flag of cuEventRecordWithFlags; its number in CUDA's driver."""


class CupyDriver:
    """Functions and launches on the device of CuPy that is current when this is made."""

    def __init__(self) -> None:
        self.arch = current_capability()
        from cupy.cuda import driver, get_current_stream

        self._driver, self._stream = driver, get_current_stream

    def load(self, cubin: Cubin) -> int:
        module = self._driver.moduleLoadData(cubin.code)
        return self._driver.moduleGetFunction(module, cubin.name)

    def permit_shared(self, function: int, size: int) -> None:
        self._driver.funcSetAttribute(function, MAX_DYNAMIC_SHARED_SIZE_BYTES, size)

    def record_in_graph(self, event: int, stream: int) -> None:
        """By the driver's own call, which CuPy does not have."""
        status = _cuda().cuEventRecordWithFlags(ctypes.c_void_p(event), ctypes.c_void_p(stream), EVENT_RECORD_EXTERNAL)
        if status:
            raise RuntimeError(f"CUDA's driver does not record an event in a graph: it says {status}")

    def launch(self, function: int, programs: int, threads: int, shared: int, parameters: int) -> None:
        self._driver.launchKernel(function, programs, 1, 1, threads, 1, 1, shared, self._stream().ptr, parameters, 0)


@cache
def _cuda() -> ctypes.CDLL:
    return ctypes.CDLL("libcuda.so.1")


def current_number() -> int:
    """The number of CuPy's current device; NoDevice, with what to do, where there is none to use."""
    try:
        import cupy
    except ImportError as error:
        raise NoDevice(f"CuPy, which runs kernels on a GPU, cannot be imported ({error}): "
                       "pip install 'tracegrad[gpu]'") from error
    try:
        return cupy.cuda.runtime.getDevice()
    except Exception as error:              # CUDARuntimeError: a stand-in has another
        raise NoDevice(f"there is no GPU that CuPy can use ({error}): nvidia-smi shows which GPUs and which driver "
                       "there are; TRITON_INTERPRET=1 runs kernels without one, slowly") from error


def current_capability() -> Arch:
    """The compute capability of that device; NoDevice where it is too old."""
    current_number()
    import cupy

    found = cupy.cuda.Device().compute_capability
    arch = int(found[:-1]), int(found[-1])
    shared_limit(arch)
    return arch
