"""host_device: plans on NumPy arrays, with kernels run by Triton's interpreter, every access of which is checked."""
from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from codegen.cache import Cache
from codegen.executable import clock_ns
from codegen.ir.types import DTYPES
from codegen.schedule.host import run_host
from codegen.schedule.plan import Host, Matmul
from codegen.triton_gpu import host_check
from codegen.triton_gpu.devices import Work
from codegen.triton_gpu.kernels import KernelLaunch
from codegen.triton_gpu.spec import KernelSpec

ALIGNMENT = 64


class _Reading:
    def __init__(self, array: np.ndarray):
        self._array = array

    def start(self) -> None:
        self._value = self._array[0]

    def value(self) -> Any:
        return self._value


class _Flag:
    def __init__(self) -> None:
        self.array = np.zeros(1, np.int32)

    def expect(self) -> None:
        pass

    def clear(self) -> None:
        self.array[0] = 0

    def ask(self) -> None:
        self._answer = bool(self.array[0])

    def is_set(self) -> bool:
        return self._answer


class HostDevice:
    """The memory of this process."""

    name = "Triton's interpreter, on NumPy arrays"
    capability = (8, 0)

    def __init__(self) -> None:
        self._known: set[KernelSpec] = set()

    def elsewhere(self) -> None:
        """There is no other."""

    def prepare(self, specs: Sequence[KernelSpec], cache: Cache) -> list[bool]:
        """Nothing is compiled; what is met for the first time is counted as if it were."""
        new = [spec not in self._known for spec in specs]
        self._known.update(specs)
        return new

    def launch(self, spec: KernelSpec, arrays: Sequence[np.ndarray], words: Sequence[int], flag: np.ndarray | None
               ) -> Work:
        def work() -> None:
            if not host_check.run(spec, arrays, words, flag is not None and bool(flag[0])):
                assert flag is not None
                flag[0] = 1
        return work

    def memory(self, size: int) -> np.ndarray:
        room = np.empty(size + ALIGNMENT, np.uint8)
        start = -room.ctypes.data % ALIGNMENT
        return room[start:start + size]

    def constant(self, data: bytes) -> np.ndarray:
        memory = self.memory(len(data))
        memory[:] = np.frombuffer(data, np.uint8)
        return memory

    def elements(self, memory: np.ndarray, dtype: str, offset: int, size: int) -> np.ndarray:
        element = DTYPES[dtype]
        return memory.view(np.uint8)[offset:offset + size * element.itemsize].view(element)

    def holds(self, array: Any) -> bool:
        return isinstance(array, np.ndarray)

    def given(self, array: np.ndarray) -> np.ndarray:
        return array.reshape(-1)

    def upload(self, array: np.ndarray, target: np.ndarray) -> None:
        target[:] = array.reshape(-1)

    def download(self, source: np.ndarray, array: np.ndarray) -> None:
        array.reshape(-1)[:] = source

    def where(self, arrays: Sequence[Any]) -> None:
        """Work that is remembered would keep the caller's arrays."""

    def order(self) -> int:
        return 0

    def product(self, step: Matmul, made: KernelLaunch, a: np.ndarray, b: np.ndarray, c: np.ndarray) -> Work | None:
        return None

    def host_call(self, step: Host, operands: Sequence[np.ndarray | None], result: np.ndarray) -> Work:
        return partial(run_host, step, [np.empty(0) if x is None else x for x in operands], result)

    def copy(self, source: np.ndarray, target: np.ndarray) -> Work:
        return partial(np.copyto, target, source)

    def flag(self) -> _Flag:
        return _Flag()

    def reading(self, array: np.ndarray) -> _Reading:
        return _Reading(array)

    def timed(self, work: Work) -> int:
        begin = clock_ns()
        work()
        return clock_ns() - begin

    def together(self, works: Sequence[Work]) -> Work:
        def run() -> None:
            for work in works:
                work()
        return run
