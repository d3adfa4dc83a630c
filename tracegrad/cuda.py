"""tg.cuda: the GPUs of this machine, their streams and their memory, by PyTorch's names.

    if tg.cuda.is_available():
        x = x.pin_memory().to("cuda", non_blocking=True)
        with tg.cuda.Stream() as stream:
            y = model(x)
        stream.synchronize()

A GPU works behind Python, in the order in which each stream was given its work; what reads a value waits for it.
"""
from __future__ import annotations

from types import TracebackType
from typing import Any

from tracegrad.aborts import Abort
from tracegrad.devices import Device, NoGPU, cupy, device_of, gpu_count, several_gpus
from tracegrad.recorder import not_replayed
from tracegrad.source_lines import at_user_line

__all__ = [
    "Event", "NoGPU", "Stream", "current_device", "current_stream", "device_count", "empty_cache",
    "get_device_capability", "get_device_name", "is_available", "memory_allocated", "memory_reserved", "set_device",
    "stream", "synchronize",
]


def is_available() -> bool:
    """Is there a GPU, a driver for it, and what the extra `gpu` installs?"""
    return gpu_count() > 0


def device_count() -> int:
    """How many GPUs there are; 0 where none can be used."""
    return gpu_count()


def current_device() -> int:
    """The number of the GPU that "cuda" means."""
    if several_gpus():
        not_replayed(Abort.HIDDEN_STATE, "which GPU is current")
    return int(cupy().cuda.runtime.getDevice())


def set_device(device: str | int | Device) -> None:
    """Let "cuda" mean this GPU, in this thread."""
    not_replayed(Abort.EFFECT, "which GPU is current")
    cupy().cuda.Device(number(device)).use()


def number(device: str | int | Device | None) -> int:
    """The number of a GPU as users name it."""
    place = "cuda" if device is None else f"cuda:{device}" if isinstance(device, int) else device
    index = device_of(place).index
    if index is None:
        raise ValueError(at_user_line(f"{device!r} is not a GPU"))
    return index


def get_device_name(device: str | int | Device | None = None) -> str:
    """What the maker calls it."""
    return cupy().cuda.runtime.getDeviceProperties(number(device))["name"].decode()


def get_device_capability(device: str | int | Device | None = None) -> tuple[int, int]:
    """The version of what it can do: (9, 0) for an H100."""
    found = cupy().cuda.Device(number(device)).compute_capability
    return int(found[:-1]), int(found[-1])


def synchronize(device: str | int | Device | None = None) -> None:
    """Wait for all work of a GPU."""
    not_replayed(Abort.EFFECT, "it waits for a GPU")
    cupy().cuda.Device(number(device)).synchronize()


def memory_allocated() -> int:
    """Bytes that tensors hold on the current GPU."""
    not_replayed(Abort.HIDDEN_STATE, "how much memory is in use")
    return int(cupy().get_default_memory_pool().used_bytes())


def memory_reserved() -> int:
    """Bytes of the current GPU that the pool holds, in use or not."""
    not_replayed(Abort.HIDDEN_STATE, "how much memory is in use")
    return int(cupy().get_default_memory_pool().total_bytes())


def empty_cache() -> None:
    """Give memory back that the pools hold and nothing uses."""
    not_replayed(Abort.EFFECT, "it gives memory back")
    cupy().get_default_memory_pool().free_all_blocks()
    cupy().get_default_pinned_memory_pool().free_all_blocks()


class Event:
    """A point in the work of a stream; with `enable_timing`, one of two that time is measured between."""

    def __init__(self, enable_timing: bool = False):
        self.cupy_event = cupy().cuda.Event(disable_timing=not enable_timing)

    def record(self, stream: Stream | None = None) -> None:
        """Here, in the work of a stream, the current one unless given."""
        not_replayed(Abort.EFFECT, "an event is recorded")
        self.cupy_event.record((stream or current_stream()).cupy_stream)

    def synchronize(self) -> None:
        """Wait until the work before it is done."""
        not_replayed(Abort.EFFECT, "it waits for an event")
        self.cupy_event.synchronize()

    def query(self) -> bool:
        """Is the work before it done?"""
        not_replayed(Abort.HIDDEN_STATE, "how far a GPU is")
        return bool(self.cupy_event.done)

    def elapsed_time(self, end: Event) -> float:
        """Milliseconds from this to a later event."""
        not_replayed(Abort.HIDDEN_STATE, "the time")
        return float(cupy().cuda.get_elapsed_time(self.cupy_event, end.cupy_event))


class Stream:
    """Work that a GPU does in order, beside that of other streams. Inside `with stream:` it is the current one.

    What another stream computed is used after `wait_stream` or a synchronization, as in PyTorch.
    """

    def __init__(self, device: str | int | Device | None = None, *, cupy_stream: Any = None):
        if cupy_stream is None:
            with cupy().cuda.Device(number(device)):
                cupy_stream = cupy().cuda.Stream(non_blocking=True)
        self.cupy_stream = cupy_stream

    def __enter__(self) -> Stream:
        not_replayed(Abort.EFFECT, "which stream is current")
        self.cupy_stream.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.cupy_stream.__exit__(kind, error, trace)

    def synchronize(self) -> None:
        """Wait for all its work."""
        not_replayed(Abort.EFFECT, "it waits for a stream")
        self.cupy_stream.synchronize()

    def wait_stream(self, other: Stream) -> None:
        """What it is given from now on comes after what `other` has been given."""
        event = Event()
        event.record(other)
        self.wait_event(event)

    def wait_event(self, event: Event) -> None:
        """What it is given from now on comes after an event."""
        not_replayed(Abort.EFFECT, "a stream waits for an event")
        self.cupy_stream.wait_event(event.cupy_event)

    def record_event(self, event: Event | None = None) -> Event:
        """An event after what it has been given."""
        event = Event() if event is None else event
        event.record(self)
        return event

    def query(self) -> bool:
        """Is all its work done?"""
        not_replayed(Abort.HIDDEN_STATE, "how far a GPU is")
        return bool(self.cupy_stream.done)

    def __repr__(self) -> str:
        return f"<tracegrad.cuda.Stream {self.cupy_stream.ptr:#x}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Stream) and other.cupy_stream.ptr == self.cupy_stream.ptr

    def __hash__(self) -> int:
        return hash(self.cupy_stream.ptr)


def stream(stream: Stream) -> Stream:
    """`with tg.cuda.stream(s):` is `with s:`."""
    return stream


def current_stream() -> Stream:
    """The stream that work is given to."""
    not_replayed(Abort.HIDDEN_STATE, "which stream is current")
    return Stream(cupy_stream=cupy().cuda.get_current_stream())
