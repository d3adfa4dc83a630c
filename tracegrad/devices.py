"""Devices: where a tensor's storage is, and the ways between them. CuPy is imported here, once a GPU is asked for.

    cpu        NumPy arrays
    cuda:0     CuPy arrays on GPU 0; "cuda" is the GPU that is current (`tg.cuda.current_device`), 0 unless set

1. `CUPY` is empty until something is asked for on a GPU: programs on the CPU import no CuPy, and ask this list only.
2. Values go from one device to another where the program says so. Two things go by themselves to the device of what
   they stand beside: a 0-d array on the CPU, as in PyTorch, and what the library makes of an op's attrs alone
   (`placeless`), which is the same wherever it is made.
"""
from __future__ import annotations

import os
import weakref
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from sys import getrefcount
from typing import Any

import numpy as np

from codegen.ir.structs import struct
from tracegrad.source_lines import at_user_line

CUPY: list[Any] = []
"""CuPy, once it is in use."""


@struct
class Device:
    """A place for storage: its type, and which of them where there are more than one."""

    type: str
    index: int | None = None

    def __str__(self) -> str:
        return self.type if self.index is None else f"{self.type}:{self.index}"

    def __repr__(self) -> str:
        return f"device({str(self)!r})"


CPU = Device("cpu")


class NoGPU(RuntimeError):
    """A GPU was asked for, and there is none, or not what it takes to use it."""


def cupy() -> Any:
    """CuPy, on a machine with a GPU; NoGPU, which says what to install, otherwise."""
    if not CUPY:
        found = _imported()
        try:
            count = found.cuda.runtime.getDeviceCount()
        except found.cuda.runtime.CUDARuntimeError as error:
            raise NoGPU(at_user_line(
                f'device "cuda": CuPy {found.__version__} finds no GPU ({error}); it takes an NVIDIA GPU and its '
                f"driver, and the build of CuPy for that driver's CUDA: {_INSTALL}")) from None
        if not count:
            raise NoGPU(at_user_line('device "cuda": this machine has no GPU that CUDA shows'))
        CUPY.append(found)
    return CUPY[0]


def cupy_files() -> tuple[str, ...]:
    """How the names of files begin that CuPy's code is in."""
    file = str(CUPY[0].__file__)
    folder = os.path.dirname(file)
    return (folder + os.sep, folder + "x" + os.sep) if os.path.basename(file) == "__init__.py" else (file,)


_INSTALL = "pip install 'tracegrad[gpu]'"


def _imported() -> Any:
    try:
        import cupy as found
    except ImportError as error:
        raise NoGPU(at_user_line(
            f'device "cuda": tensors on a GPU are CuPy arrays, and CuPy cannot be imported ({error}): {_INSTALL}'
            )) from None
    return found


@cache
def several_gpus() -> bool:
    """Is there more than one, so that the class of an array does not tell where it is?"""
    return gpu_count() > 1


def gpu_count() -> int:
    """How many GPUs there are; 0 where CuPy or the driver is missing."""
    try:
        return cupy().cuda.runtime.getDeviceCount()
    except NoGPU:
        return 0


def device_of(device: str | Device | None) -> Device:
    """The device that a user's `device=` means; ValueError for one that tracegrad does not have, NoGPU for one that
    is not there."""
    if device is None or device == CPU or device == "cpu":
        return CPU
    type, _, index = (device if isinstance(device, str) else str(device)).partition(":")
    if type == "cpu" and index == "0":
        return CPU
    if type != "cuda" or not (index.isdecimal() or not index):
        raise ValueError(at_user_line(f"tracegrad has no device {str(device)!r}; the devices are 'cpu' and 'cuda'"))
    current = cupy().cuda.runtime.getDevice()
    if index and int(index) >= gpu_count():
        raise NoGPU(at_user_line(f"device {str(device)!r}: this machine has {gpu_count()} GPU(s), counted from 0"))
    return Device("cuda", int(index) if index else current)


def is_gpu_array(array: Any) -> bool:
    """Is it a CuPy array?"""
    return bool(CUPY) and isinstance(array, CUPY[0].ndarray)


def holding(held: Any) -> Device:
    """The device of what a Tensor holds."""
    return Device("cuda", int(held.device.id)) if is_gpu_array(held) else CPU


def is_writeable(array: Any) -> bool:
    """May it be written to? CuPy does not say so of a broadcast, whose elements lie in the same place."""
    if is_gpu_array(array):
        return array.flags.c_contiguous or not array.size or all(
            step or size == 1 for size, step in zip(array.shape, array.strides))
    return array.flags.writeable


def address_of(array: Any) -> int:
    """Where its first element is."""
    return int(array.data.ptr if is_gpu_array(array) else array.__array_interface__["data"][0])


def current(device: Device) -> AbstractContextManager[Any]:
    """Makes a GPU the one that is current, for its body."""
    return nullcontext() if device == CPU else CUPY[0].cuda.Device(device.index)


def there(array: Any) -> AbstractContextManager[Any]:
    """Makes the GPU that an array is on the one that is current, for its body: CuPy works on that one alone."""
    return array.device if is_gpu_array(array) else nullcontext()


def empty(shape: tuple[int, ...], dtype: np.dtype, device: Device) -> Any:
    """An uninitialized array on a device, C-contiguous."""
    if device == CPU:
        return np.empty(shape, dtype)
    with CUPY[0].cuda.Device(device.index):
        return CUPY[0].empty(shape, dtype)


def order_on(device: Device) -> int:
    """What tells the order of the work that is given to a GPU now: the stream that is current there."""
    return CUPY[0].cuda.get_current_stream(device.index).ptr


def first_of(many: Any) -> Any:
    """A copy of the first part of an array along its first axis; zeros if it has none."""
    if is_gpu_array(many):
        return many[0].copy() if len(many) else CUPY[0].zeros(many.shape[1:], many.dtype)
    return np.array(many[0]) if len(many) else np.zeros(many.shape[1:], many.dtype)


def copied(array: Any) -> Any:
    """A copy of an array, C-contiguous, where it is."""
    if not is_gpu_array(array):
        return np.array(array, order="C")
    with array.device:
        return array.copy("C")


def contiguous(array: Any) -> Any:
    """The array, or a copy of it that is C-contiguous."""
    return CUPY[0].ascontiguousarray(array) if is_gpu_array(array) else np.ascontiguousarray(array)


def may_share_memory(a: Any, b: Any) -> bool:
    """May a write to one array be seen in the other?"""
    if not CUPY or not (is_gpu_array(a) or is_gpu_array(b)):
        return np.may_share_memory(a, b)
    if not (is_gpu_array(a) and is_gpu_array(b)):
        return False
    first, second = a.data.mem, b.data.mem
    return first is second or first.ptr < second.ptr + second.size and second.ptr < first.ptr + first.size


def overwrite(array: Any, values: Any) -> None:
    """Write values into an array of the same device, which may be a part of the same memory."""
    if not is_gpu_array(array):
        np.copyto(array, values)
        return
    with array.device:                              # a GPU copies in no order
        np.copyto(array, values.copy() if may_share_memory(array, values) else values)


# ---- transfers --------------------------------------------------------------------------------------------------


def transferred(array: Any, device: Device, non_blocking: bool = False) -> Any:
    """A copy on a device of an array that is on another.

    non_blocking: it may come later than this returns, in the order of the current stream: of a pinned array to a GPU,
    or of a GPU into a pinned array.
    """
    if is_gpu_array(array):
        return _to_host(array, non_blocking) if device == CPU else _to_another(array, device)
    module = cupy()
    if _USED:
        let_go_of_used()
    with module.cuda.Device(device.index):
        made = module.empty(array.shape, array.dtype)
        if array.size:
            whole = np.ascontiguousarray(array)
            stream = module.cuda.get_current_stream()
            made.data.copy_from_host_async(whole.ctypes.data, whole.nbytes, stream)     # after what had its memory
            if not module.cuda.pinned_memory.is_memory_pinned(whole.ctypes.data):       # here, or by another library
                pass                        # CUDA returns when it has read memory that is not pinned
            elif non_blocking:
                stream.launch_host_func(_let_go, whole)         # the memory stays until the stream has read it
            else:
                stream.synchronize()
        return made


def _to_host(array: Any, non_blocking: bool) -> np.ndarray:
    with array.device:
        if not non_blocking:
            return np.asarray(array.get())
        made = pinned_empty(array.shape, array.dtype)
        whole = CUPY[0].ascontiguousarray(array)
        if whole.size:
            stream = CUPY[0].cuda.get_current_stream()
            whole.data.copy_to_host_async(made.ctypes.data, whole.nbytes, stream)
            stream.launch_host_func(_let_go, (whole, made))
        return made


def _to_another(array: Any, device: Device) -> Any:
    """On another GPU. Its stream waits for what computes the array, and what takes over the memory for the copy."""
    cuda = CUPY[0].cuda
    before, after = cuda.Event(disable_timing=True), cuda.Event(disable_timing=True)
    with array.device:
        whole, own = CUPY[0].ascontiguousarray(array), cuda.get_current_stream()
        before.record(own)
    with cuda.Device(device.index):
        stream = cuda.get_current_stream()
        stream.wait_event(before)
        made = whole.copy()
        after.record(stream)
    with array.device:
        own.wait_event(after)
    return made


def _let_go(held: Any) -> None:
    """The stream is done with this memory."""


def pinned_empty(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Memory of the CPU that a GPU copies from and to by itself, as an array."""
    size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    memory = cupy().cuda.alloc_pinned_memory(max(size, 1))
    return np.frombuffer(memory, np.uint8, size).view(dtype).reshape(shape)


def is_pinned(array: np.ndarray) -> bool:
    """Is it an array of `pinned_empty`, or a view of one?"""
    base: Any = array
    while isinstance(base, np.ndarray | memoryview):
        base = base.obj if isinstance(base, memoryview) else base.base
    return bool(CUPY) and isinstance(base, CUPY[0].cuda.PinnedMemoryPointer)


# ---- memory that another stream uses ------------------------------------------------------------------------------

_USED: list[_Use] = []


@struct(frozen=False, eq=False)
class _Use:
    """Memory that a stream uses and that was made on another, to which CuPy gives it back when nothing holds it.

    `event`: what the stream has been given by the time that nothing but this held it.
    """

    memory: Any
    stream: Any
    event: Any = None


def use_on(array: Any, stream: Any) -> None:
    """Let the memory of an array wait for what a stream is given as long as something else holds it."""
    let_go_of_used()
    _USED.append(_Use(array.data.mem, stream))


def let_go_of_used() -> None:
    """Give memory back whose streams are done with it."""
    for use in _USED[:]:
        if getrefcount(use.memory) > 2:             # an array has it: there may be more to come
            use.event = None
        elif use.event is None:
            use.event = use.stream.record()
        elif use.event.done:
            _USED.remove(use)


# ---- what is the same on every device ---------------------------------------------------------------------------

_PLACELESS: dict[int, weakref.ref] = {}
"""Arrays on the CPU that the library made of attrs alone, by id, as long as they live."""


def is_placeless(array: Any) -> bool:
    found = _PLACELESS.get(id(array))
    return found is not None and found() is array


def make_placeless(array: np.ndarray) -> None:
    """It goes by itself to the device of what it stands beside."""
    key = id(array)
    _PLACELESS[key] = weakref.ref(array, lambda gone: _PLACELESS.pop(key, None))


def make_placed(array: Any) -> None:
    """It is where the user said, or where nothing said otherwise: on the CPU."""
    _PLACELESS.pop(id(array), None)
