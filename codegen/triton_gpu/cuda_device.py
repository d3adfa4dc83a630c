"""cuda_device: plans on a GPU: memory and streams by CuPy, kernels by launch, work that comes again as CUDA graphs.

    together([launch, launch, copy])        1st call: one after the other;  2nd: captured;  from then on: one launch

1. An array of the device is where it begins and what it holds. It keeps no array of a caller, so what is remembered of
   a run does not. Work is on the stream of CuPy that is current, in whose order CuPy gives memory away again.
2. Nothing that is captured allocates, waits, or looks at the CPU's memory.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import local
from typing import Any

import numpy as np

from codegen.cache import Cache, default_cache
from codegen.executable import clock_ns
from codegen.ir.dims import number_of
from codegen.ir.gpu_references import run
from codegen.ir.ops import OPS
from codegen.ir.structs import struct
from codegen.ir.types import DTYPES, NAMES, TensorType
from codegen.schedule.plan import Host, Matmul
from codegen.triton_gpu.devices import Work
from codegen.triton_gpu.kernels import KernelLaunch
from codegen.triton_gpu.launch import Driver, Launcher
from codegen.triton_gpu.library_products import LibraryProducts
from codegen.triton_gpu.product_tiles import Capability
from codegen.triton_gpu.spec import KernelSpec

FEW_BYTES = 1 << 16
"""So many bytes of memory that is not pinned are put aside by CUDA when they are to be copied: nobody waits."""


@struct(eq=False)
class Span:
    """`size` elements of `dtype` in the GPU's memory; `owner`: what keeps that, where no caller does."""

    address: int
    dtype: str
    size: int
    owner: Any = None

    @property
    def bytes(self) -> int:
        """How many it takes."""
        return self.size * DTYPES[self.dtype].itemsize


class CudaDevice:
    """The GPU of a driver, which is CuPy's current one when this is made."""

    def __init__(self, driver: Driver, cupy: Any) -> None:
        self._driver, self._cupy, self._runtime, self._kind = driver, cupy, cupy.cuda.runtime, cupy.ndarray
        self._launcher = Launcher(driver, default_cache())
        self._number, self._thread = self._runtime.getDevice(), local()
        properties = self._runtime.getDeviceProperties(self._number)
        self.name = f"{properties['name'].decode()}, {properties['totalGlobalMem'] / 2**30:.0f} GiB"
        self._library = LibraryProducts(cupy, self.name, default_cache().disk, self.timed, self.together)

    @property
    def capability(self) -> Capability:
        arch = self._driver.arch
        assert isinstance(arch, tuple)
        return arch

    def elsewhere(self) -> Any:
        if self._runtime.getDevice() != self._number:
            return self._cupy.cuda.Device(self._number)
        if not hasattr(self._thread, "has_context"):
            self._cupy.cuda.Device(self._number).use()      # the driver knows no context of a thread before
            self._thread.has_context = True
        return None

    # ---- kernels ---------------------------------------------------------------------------------------------------

    def prepare(self, specs: Sequence[KernelSpec], cache: Cache) -> list[bool]:
        return Launcher(self._driver, cache).prepare(specs)

    def launch(self, spec: KernelSpec, arrays: Sequence[Span], words: Sequence[int], flag: Span) -> Work:
        failed = flag.address if spec.flagged else 0
        return self._launcher.bind(spec, [array.address for array in arrays], words, failed)

    # ---- memory ----------------------------------------------------------------------------------------------------

    def memory(self, size: int) -> Span:
        array = self._cupy.empty(max(size, 1), np.uint8)            # CuPy's begin at multiples of 512
        return Span(array.data.ptr, "u8", size, array)

    def constant(self, data: bytes) -> Span:
        made = self.memory(len(data))
        if data:
            made.owner[:] = self._cupy.asarray(np.frombuffer(data, np.uint8))
            self._cupy.cuda.get_current_stream().synchronize()      # it is read on all of them
        return made

    def elements(self, memory: Span, dtype: str, offset: int, size: int) -> Span:
        return Span(memory.address + offset, dtype, size, memory.owner)

    def holds(self, array: Any) -> bool:
        return isinstance(array, self._kind)

    def given(self, array: Any) -> Span:
        return Span(array.data.ptr, NAMES[array.dtype], array.size)

    def where(self, arrays: Sequence[Any]) -> tuple[int | None, ...]:
        kind = self._kind
        return tuple([array.data.ptr if type(array) is kind else None for array in arrays])

    def order(self) -> int:
        return self._cupy.cuda.get_current_stream().ptr

    def upload(self, array: np.ndarray, target: Span) -> None:
        if array.nbytes > FEW_BYTES:
            self._array(target)[...] = self._cupy.asarray(array.reshape(-1))
            self._cupy.cuda.get_current_stream().synchronize()      # it may lie where the GPU reads it by itself
            return
        source = array.copy()                           # of memory that is not pinned CUDA takes so much at once
        self._runtime.memcpyAsync(target.address, source.ctypes.data, target.bytes, self._runtime.memcpyHostToDevice,
                                  self.order())

    def download(self, source: Span, array: np.ndarray) -> None:
        array[...] = self._array(source).get().reshape(array.shape)

    def _array(self, span: Span, type: TensorType | None = None) -> Any:
        """As an array of CuPy, of this shape, which owns nothing."""
        memory = self._cupy.cuda.UnownedMemory(span.address, span.bytes, span.owner, self._number)
        shape = (span.size,) if type is None else tuple(map(number_of, type.shape))
        return self._cupy.ndarray(shape, DTYPES[span.dtype], self._cupy.cuda.MemoryPointer(memory, 0))

    # ---- other work ------------------------------------------------------------------------------------------------

    def product(self, step: Matmul, made: KernelLaunch, a: Span, b: Span, c: Span) -> Work:
        given = dict(zip((step.a, step.b, step.c), range(3)))
        order = [given[buffer] for buffer in made.buffers]
        words = tuple(map(number_of, made.words))

        def own(*addresses: int) -> Work:
            return self._launcher.bind(made.spec, [addresses[k] for k in order], words)
        return self._library.chosen(step, made.precision, a.address, b.address, c.address, own)

    def host_call(self, step: Host, operands: Sequence[Span | None], result: Span) -> Work:
        """What runs the reference, or what stands in its place here (see gpu_references)."""
        types = [type for _, type in step.operands]
        arrays = [self._cupy.empty(tuple(map(number_of, type.shape)), DTYPES[type.dtype]) if span is None else
                  self._array(span, type) for span, type in zip(operands, types, strict=True)]
        made, reference, attrs = self._array(result, step.type), OPS[step.op].reference, dict(step.attrs)

        def work() -> None:
            made[...] = run(step.op, reference, self._cupy, arrays, attrs)
        return work

    def copy(self, source: Span, target: Span) -> Work:
        return lambda: self._runtime.memcpyAsync(target.address, source.address, target.bytes,
                                                 self._runtime.memcpyDeviceToDevice, self.order())

    def flag(self) -> _Flag:
        return _Flag(self._cupy, self.elements(self.memory(4), "i32", 0, 1), self._driver.record_in_graph)

    def reading(self, array: Span) -> _Reading:
        return _Reading(self._cupy, array)

    def timed(self, work: Work) -> int:
        begin, end = self._cupy.cuda.Event(), self._cupy.cuda.Event()
        started = clock_ns()
        begin.record()
        work()
        end.record()
        end.synchronize()
        if (milliseconds := self._cupy.cuda.get_elapsed_time(begin, end)) > 0:
            return int(milliseconds * 1e6)
        return clock_ns() - started

    def together(self, works: Sequence[Work]) -> Work:
        return works[0] if len(works) == 1 else _Repeated(self._cupy, works)


class _Reading:
    """The first element of a span, read into memory of the CPU that the GPU writes to by itself."""

    def __init__(self, cupy: Any, span: Span):
        self._cupy, self._span, self._dtype = cupy, span, DTYPES[span.dtype]
        self._memory = cupy.cuda.alloc_pinned_memory(self._dtype.itemsize)
        self._done = cupy.cuda.Event(block=False, disable_timing=True)

    def start(self) -> None:
        stream, runtime = self._cupy.cuda.get_current_stream(), self._cupy.cuda.runtime
        runtime.memcpyAsync(self._memory.ptr, self._span.address, self._dtype.itemsize, runtime.memcpyDeviceToHost,
                            stream.ptr)
        self._done.record(stream)

    def value(self) -> np.generic:
        self._done.synchronize()
        return np.frombuffer(self._memory, self._dtype, 1)[0]


NOT_THERE = -1
"""In the place of an answer."""


class _Flag:
    """A flag that a graph may ask for on its way: the answer is known before all of the graph is done."""

    def __init__(self, cupy: Any, array: Span, record_in_graph: Callable[[int, int], None]):
        self.array, self._cupy, self._runtime, self._record_in_graph = array, cupy, cupy.cuda.runtime, record_in_graph
        self._memory = cupy.cuda.alloc_pinned_memory(array.bytes)
        self._answer = memoryview(self._memory)[:array.bytes].cast("i")
        self._done = cupy.cuda.Event(block=False, disable_timing=True)

    def expect(self) -> None:
        self._answer[0] = NOT_THERE

    def clear(self) -> None:
        self._runtime.memsetAsync(self.array.address, 0, self.array.bytes, self._cupy.cuda.get_current_stream().ptr)

    def ask(self) -> None:
        stream, runtime = self._cupy.cuda.get_current_stream(), self._runtime
        runtime.memcpyAsync(self._memory.ptr, self.array.address, self.array.bytes, runtime.memcpyDeviceToHost,
                            stream.ptr)
        if stream.is_capturing():
            self._record_in_graph(self._done.ptr, stream.ptr)
        else:
            self._done.record(stream)

    def is_set(self) -> bool:
        self._done.synchronize()
        if self._answer[0] == NOT_THERE:        # should an event that a graph records wait for what was before that
            self._cupy.cuda.get_current_stream().synchronize()
        return self._answer[0] != 0


class _Repeated:
    """Work that is captured as a graph when it is done again: by then all that it takes is loaded."""

    def __init__(self, cupy: Any, works: Sequence[Work]):
        self._cupy, self._works, self._start = cupy, works, self._first

    def __call__(self) -> None:
        self._start()

    def _first(self) -> None:
        self._one_by_one()
        self._start = self._second

    def _second(self) -> None:
        try:
            self._start = self._captured().launch
        except Exception:  # noqa: BLE001 - what cannot be captured can be done: it has been
            self._start = self._one_by_one
        self._start()

    def _one_by_one(self) -> None:
        for work in self._works:
            work()

    def _captured(self) -> Any:
        """The work as a graph; threads that do other things meanwhile do not disturb it."""
        stream = self._cupy.cuda.Stream(non_blocking=True)
        with stream:
            stream.begin_capture(self._cupy.cuda.runtime.streamCaptureModeThreadLocal)
            try:
                self._one_by_one()
            finally:
                graph = stream.end_capture()
        return graph
