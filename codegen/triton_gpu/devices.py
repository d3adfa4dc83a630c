"""devices: what a plan needs of where it runs: memory, kernels, and the few other steps that a plan has.

    HostDevice      NumPy arrays, kernels in Triton's interpreter: to check without a GPU what one would do
    CudaDevice      CuPy arrays, kernels compiled ahead of time

An array *of the device* is flat, and what its kernels take. What callers give is an array of any shape, C-contiguous,
which lies there or elsewhere. Work is done in the order in which it is started.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

import numpy as np

from codegen.cache import Cache
from codegen.schedule.plan import Host, Matmul
from codegen.triton_gpu.kernels import KernelLaunch
from codegen.triton_gpu.product_tiles import Capability
from codegen.triton_gpu.spec import KernelSpec

Work = Callable[[], object]
"""One step, on arrays that it knows: to call it starts it."""


class Reading(Protocol):
    """The first element of an array, read again and again."""

    def start(self) -> None:
        """Read it once all work started until now is done."""

    def value(self) -> np.generic:
        """Wait for that; what it was then."""


class Flag(Protocol):
    """What checked kernels set where a check fails. Its `array` is one i32 of the device.

    In each run: expect(), then clear() and ask(), started one after the other or together, then is_set().
    """

    array: Any

    def expect(self) -> None:
        """There will be another answer."""

    def clear(self) -> None:
        """Set it to 0."""

    def ask(self) -> None:
        """Read it once all work started until now is done."""

    def is_set(self) -> bool:
        """Wait for that; was it set then?"""


class Device(Protocol):
    """Where plans run."""

    @property
    def name(self) -> str:
        """What it is, for people."""

    @property
    def capability(self) -> Capability:
        """What kernels are written for."""

    def elsewhere(self) -> AbstractContextManager[Any] | None:
        """None where work that is started now is started on this device; else in what it is."""

    def prepare(self, specs: Sequence[KernelSpec], cache: Cache) -> Sequence[bool]:
        """Have these kernels compiled. Was each compiled for this, and not known from before? CannotLower, with a
        sentence, where one cannot be."""

    def launch(self, spec: KernelSpec, arrays: Sequence[Any], words: Sequence[int], flag: Any) -> Work:
        """What launches a kernel that was prepared; `flag`: what a checked one sets, and a conditional one
        looks at."""

    def memory(self, size: int) -> Any:
        """So many uninitialized bytes, from an address on that 64 divides."""

    def constant(self, data: bytes) -> Any:
        """Memory that holds these bytes."""

    def elements(self, memory: Any, dtype: str, offset: int, size: int) -> Any:
        """The array of the device that begins so many bytes after the beginning of an array of it."""

    def holds(self, array: Any) -> bool:
        """Does a caller's array lie there?"""

    def given(self, array: Any) -> Any:
        """A caller's array that lies there, as an array of the device."""

    def upload(self, array: np.ndarray, target: Any) -> None:
        """Start copying an array of the CPU to one of the device. Its values are those that it has now."""

    def download(self, source: Any, array: np.ndarray) -> None:
        """Copy an array of the device to one of the CPU, once all work started until now is done."""

    def where(self, arrays: Sequence[Any]) -> tuple[int | None, ...] | None:
        """Where callers' arrays begin, None for those that lie elsewhere; None where work is not to be remembered."""

    def order(self) -> int:
        """What tells the order in which work is done that is started now from others, a stream's."""

    def product(self, step: Matmul, made: KernelLaunch, a: Any, b: Any, c: Any) -> Work | None:
        """What multiplies matrices where something does it better than the kernel that was made."""

    def host_call(self, step: Host, operands: Sequence[Any], result: Any) -> Work:
        """What runs a reference; it raises what that raises. An operand without elements is None."""

    def copy(self, source: Any, target: Any) -> Work:
        """What copies an array."""

    def flag(self) -> Flag:
        """A new flag."""

    def reading(self, array: Any) -> Reading:
        """What reads the first element."""

    def timed(self, work: Work) -> int:
        """Do work, wait for it, and say how many nanoseconds it took the device."""

    def together(self, works: Sequence[Work]) -> Work:
        """The same work, one after the other, started at once where the device can. None of it waits or may fail."""
