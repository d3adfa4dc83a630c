"""cublas: NVIDIA's matrix products, by the C interface of the library itself.

CuPy has them too, but refuses them in a stream that is being captured, and whose work is not captured is started call
by call. Two things make a captured product one that may be launched again and again, on any stream: the memory that it
works in is given to it, and is its own; and nothing is created while it is captured.
"""
from __future__ import annotations

import ctypes
from threading import Lock
from typing import Any

WORKSPACE_BYTES = 32 << 20
"""What NVIDIA recommends for GPUs of compute capability 9.0; older ones need less."""

DEFAULT_ALGORITHM = -1

_INT, _LONG, _POINTER = ctypes.c_int, ctypes.c_longlong, ctypes.c_void_p
_MATRIX = (_POINTER, _INT, _INT, _LONG)     # where it is, its dtype, its leading dimension, from one to the next
SIGNATURES = {
    "cublasCreate_v2": (_POINTER,),
    "cublasSetStream_v2": (_POINTER, _POINTER),
    "cublasSetWorkspace_v2": (_POINTER, _POINTER, ctypes.c_size_t),
    "cublasGemmStridedBatchedEx": (_POINTER, *[_INT] * 5, _POINTER, *_MATRIX, *_MATRIX, _POINTER, *_MATRIX,
                                   _INT, _INT, _INT),
}


class CublasError(RuntimeError):
    """cuBLAS is not there, or refuses a call."""


def load() -> Any:
    """The library; CublasError where it is not installed."""
    try:
        from cuda.pathfinder import load_nvidia_dynamic_lib  # which CuPy finds it with
        return ctypes.CDLL(load_nvidia_dynamic_lib("cublas").abs_path)
    except (ImportError, OSError, RuntimeError) as error:
        raise CublasError(f"cuBLAS cannot be loaded: {error}") from error


class Cublas:
    """cuBLAS on the GPU that is current when this is made. Threads may share it."""

    def __init__(self, library: Any):
        self._functions = {}
        for name, types in SIGNATURES.items():
            function = self._functions[name] = getattr(library, name)
            function.argtypes, function.restype = types, _INT
        handle = _POINTER()
        self._call("cublasCreate_v2", ctypes.byref(handle))
        self._handle, self._lock = handle, Lock()

    def multiply(self, stream: int, workspace: int, *product: int) -> None:
        """Start a product on a stream, with WORKSPACE_BYTES at `workspace` to work in: what
        cublasGemmStridedBatchedEx takes after its handle and before the algorithm."""
        with self._lock:
            self._call("cublasSetStream_v2", self._handle, stream)
            self._call("cublasSetWorkspace_v2", self._handle, workspace, WORKSPACE_BYTES)     # a stream forgets it
            self._call("cublasGemmStridedBatchedEx", self._handle, *product, DEFAULT_ALGORITHM)

    def _call(self, name: str, *arguments: Any) -> None:
        status = self._functions[name](*arguments)
        if status:
            raise CublasError(f"{name} gives the status {status}")
