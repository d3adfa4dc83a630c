"""library_products: large products by cuBLAS, where it is faster than a kernel of our own on this GPU.

    bf16 4096x4096 @ 4096x4096      both multiply some matrices of this form, once on a machine: who is faster does it

What was measured is remembered by the process and on disk. Where cuBLAS is not there, refuses, or gives something else
than our kernel, that multiplies.
"""
from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

from codegen.cache import DiskCache, content_key
from codegen.ir.types import DTYPES
from codegen.schedule.plan import Matmul
from codegen.triton_gpu import cublas
from codegen.triton_gpu.devices import Work
from codegen.triton_gpu.kernels import TF32

LEAST_FLOPS = 1 << 27
"""Of fewer floating-point operations, which take some microseconds, a launch takes most of the time."""

RUNS, REPEATS = 5, 8

COMPARED = 1 << 20
"""So many elements of both ends of a result, which may be as large as all others of a program together."""

MOST_WORKSPACES = 8
"""For so many streams cuBLAS has memory to work in."""

NO_TRANSPOSE, TRANSPOSE = 0, 1
DATA = {"f32": 0, "f64": 1, "f16": 2, "bf16": 14}
COMPUTE = {"f64": 70, "f32": 68, "f16": 68, "bf16": 68}
COMPUTE_TF32 = 77
"""Numbers of cuBLAS and CUDA."""

Own = Callable[[int, int, int], Work]
"""The kernel of our own that does a product, on matrices at these addresses."""


class LibraryProducts:
    """Who multiplies on one GPU, of this name; `time(work)` says how long it takes there, `together(works)` does what
    comes again at once, as most products are done."""

    def __init__(self, cupy: Any, name: str, disk: DiskCache | None, time: Callable[[Work], int],
                 together: Callable[[list[Work]], Work]):
        self._cupy, self._name, self._disk, self._time, self._together = cupy, name, disk, time, together
        self._known: dict[str, bool] = {}
        self._cublas: cublas.Cublas | None = None
        self._is_looked_for = False
        self._workspaces: dict[int, Any] = {}       # by stream: products on two may work at the same time

    def chosen(self, step: Matmul, precision: str, a: int, b: int, c: int, own: Own) -> Work:
        """What does a product of matrices at these addresses."""
        if 2 * prod(step.sizes) < LEAST_FLOPS or step.dtype not in DATA or not self._is_there():
            return own(a, b, c)
        key = content_key("product", self._name, precision, step.dtype,
                          str((*step.sizes, step.transpose_a, step.transpose_b)))
        if key not in self._known:
            self._known[key] = self._is_better(key, step, precision, own)
        return self._multiplying(step, precision, a, b, c) if self._known[key] else own(a, b, c)

    def _is_there(self) -> bool:
        if not self._is_looked_for:
            self._is_looked_for = True
            try:
                self._cublas = cublas.Cublas(cublas.load())
            except (cublas.CublasError, AttributeError):            # it is not installed, or too old
                self._cublas = None
        return self._cublas is not None

    def _is_better(self, key: str, step: Matmul, precision: str, own: Own) -> bool:
        kept = None if self._disk is None else self._disk.get(key)
        if kept is not None:
            return kept == b"library"
        try:
            better = self._measured(step, precision, own)
        except Exception:  # noqa: BLE001 - it is a library that may be another, or not be there
            return False
        if self._disk is not None:
            self._disk.put(key, b"library" if better else b"own")
        return better

    def _measured(self, step: Matmul, precision: str, own: Own) -> bool:
        """Does cuBLAS give the same, in less time?"""
        batch, m, n, k = step.sizes
        a, b = (self._matrices(size, step.dtype) for size in (batch * m * k, batch * k * n))
        results = [self._cupy.empty(batch * m * n, DTYPES[step.dtype]) for _ in range(2)]
        works = (own(a.data.ptr, b.data.ptr, results[0].data.ptr),
                 self._multiplying(step, precision, a.data.ptr, b.data.ptr, results[1].data.ptr))
        repeated = [self._together([work] * REPEATS) for work in works]
        times = [min(self._time(work) for _ in range(RUNS)) for work in repeated]
        if times[1] >= times[0]:
            return False
        first, second = (np.concatenate([np.asarray(part.get()).astype(np.float64) for part in (
            result[:COMPARED], result[-COMPARED:])]) for result in results)
        return bool(np.allclose(first, second, 1e-2, 1e-2 * np.abs(first).max(initial=0)))

    def _matrices(self, size: int, dtype: str) -> Any:
        """Small whole numbers, which every dtype and tf32 can hold."""
        some = (np.arange(7 << 12) % 7 - 3).astype(DTYPES[dtype])
        return self._cupy.asarray(np.tile(some, -(-size // len(some)))[:size])

    def _multiplying(self, step: Matmul, precision: str, a: int, b: int, c: int) -> Work:
        """The call of cuBLAS, whose matrices lie by columns: transposed, they are ours in the other order."""
        assert self._cublas is not None
        multiply, current = self._cublas.multiply, self._cupy.cuda.get_current_stream
        batch, m, n, k = step.sizes
        one, zero = (np.asarray(number, np.float64 if step.dtype == "f64" else np.float32) for number in (1, 0))
        data = DATA[step.dtype]
        compute = COMPUTE_TF32 if precision == TF32 and step.dtype == "f32" else COMPUTE[step.dtype]
        left = (TRANSPOSE, k) if step.transpose_b else (NO_TRANSPOSE, n)
        right = (TRANSPOSE, m) if step.transpose_a else (NO_TRANSPOSE, k)
        workspace = self._workspace()
        product = (left[0], right[0], n, m, k, one.ctypes.data, b, data, left[1], k * n, a, data, right[1], m * k,
                   zero.ctypes.data, c, data, n, m * n, batch, compute)

        def work(keep: object = (one, zero, workspace)) -> None:
            multiply(current().ptr, workspace.data.ptr, *product)
        return work

    def _workspace(self) -> Any:
        """What products on the current stream work in, one after the other. Work that is bound keeps it."""
        order = self._cupy.cuda.get_current_stream().ptr
        if order not in self._workspaces:
            if len(self._workspaces) >= MOST_WORKSPACES:
                self._workspaces.clear()
            self._workspaces[order] = self._cupy.empty(cublas.WORKSPACE_BYTES, np.uint8)
        return self._workspaces[order]
