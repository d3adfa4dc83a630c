"""host_device: plans on NumPy arrays, with kernels run by Triton's interpreter, every access of which is checked."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from codegen.cache import Cache
from codegen.ir.ops import OPS
from codegen.ir.types import DTYPES
from codegen.schedule.host import run_host
from codegen.schedule.kernel import Kernel
from codegen.schedule.plan import CannotLower, Host, Matmul
from codegen.triton_gpu.devices import Loaded, Work

ALIGNMENT = 64


class HostDevice:
    """The memory of this process."""

    name = "Triton's interpreter, on NumPy arrays"

    def load(self, kernels: Sequence[Kernel], cache: Cache) -> Sequence[Loaded]:
        if kernels:
            raise CannotLower("no kernel is written in Triton yet")
        return ()

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

    def given(self, array: np.ndarray, is_read: bool) -> np.ndarray:
        return array.reshape(-1)

    def give_back(self, given: np.ndarray, array: np.ndarray) -> None:
        """They are one."""

    def address(self, array: np.ndarray) -> None:
        """Steps that are remembered would keep the caller's arrays."""

    def product(self, step: Matmul, a: np.ndarray, b: np.ndarray, c: np.ndarray) -> Work:
        return partial(multiply, step, a, b, c)

    def host_call(self, step: Host, operands: Sequence[np.ndarray | None], result: np.ndarray) -> Work:
        return partial(run_host, step, [np.empty(0) if x is None else x for x in operands], result)

    def copy(self, source: np.ndarray, target: np.ndarray) -> Work:
        return partial(np.copyto, target, source)

    def clear(self, flag: np.ndarray) -> None:
        flag[0] = 0

    def ask(self, array: np.ndarray) -> Callable[[], np.generic]:
        value = array[0]
        return lambda: value

    def together(self, works: Sequence[Work]) -> Work:
        def run() -> None:
            for work in works:
                work()
        return run


def multiply(step: Matmul, a: Any, b: Any, c: Any) -> None:
    """What a Matmul says, by NumPy's function on arrays of any kind."""
    batch, m, n, k = step.sizes
    a = a.reshape(batch, *((k, m) if step.transpose_a else (m, k)))
    b = b.reshape(batch, *((n, k) if step.transpose_b else (k, n)))
    a = a.swapaxes(1, 2) if step.transpose_a else a
    b = b.swapaxes(1, 2) if step.transpose_b else b
    with np.errstate(all="ignore"):
        c.reshape(batch, m, n)[...] = OPS["matmul"].reference(a, b)
