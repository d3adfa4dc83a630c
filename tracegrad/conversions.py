"""Tensor.to and its kin: another dtype, another device, or the same of another tensor, as PyTorch writes them."""
from __future__ import annotations

from typing import Any

from tracegrad.aborts import Abort
from tracegrad.devices import CPU, CUPY, Device, device_of, is_pinned, make_placed, pinned_empty, use_on
from tracegrad.dispatch import transfer
from tracegrad.dtypes import dtype_of
from tracegrad.functional import astype, clone
from tracegrad.operands import convert
from tracegrad.recorder import not_replayed
from tracegrad.source_lines import at_user_line
from tracegrad.tensors import Tensor

DEVICES = ("cpu", "cuda", "gpu", "mps", "xpu")
"""What says, as the first word of a text, that a place is meant and no dtype; only the first two are there."""


def to(x: Tensor, *targets: Any, dtype: Any = None, device: Any = None, copy: bool = False,
       non_blocking: bool = False) -> Tensor:
    """x in a dtype, on a device, or both, or as another tensor is; x itself where it is that already, unless copy=True.

    non_blocking: a copy from pinned memory to a GPU, or from a GPU, which then comes into pinned memory, may still be
    under way when this returns: tg.cuda.synchronize() waits for it.

        >>> tg.ones(2).to(tg.float16)
        tensor([1., 1.], dtype=float16)
        >>> tg.ones(2).to("cpu", tg.int8).to(tg.zeros(1)).dtype
        dtype('float32')
    """
    for target in targets:
        if isinstance(target, Tensor):
            dtype, device = target.dtype, target.device
        elif isinstance(target, Device) or isinstance(target, str) and target.partition(":")[0] in DEVICES:
            device = target
        elif dtype is None:
            dtype = target
        else:
            raise TypeError(at_user_line(f"to: {target!r} is a second dtype"))
    result = x if device is None else moved(x, device_of(device), non_blocking)
    result = result if dtype is None else convert(result, dtype_of(dtype))
    return clone(result) if copy and result is x else result


def moved(x: Tensor, device: Device, non_blocking: bool = False) -> Tensor:
    """x on a device: x itself, if it is there."""
    return x if x.device == device else transfer(x, device, non_blocking)


def placed(made: Tensor, device: str | Device | None) -> Tensor:
    """What was made just now, on the device that the user named, or on the CPU where none was."""
    where = device_of(device)
    if where == CPU:
        if CUPY:
            make_placed(made.held)
        return made
    return moved(made, where)


def cpu(x: Tensor, /) -> Tensor:
    """x on the CPU: x itself, if it is there."""
    return moved(x, CPU)


def cuda(x: Tensor, /, device: str | int | Device | None = None, *, non_blocking: bool = False) -> Tensor:
    """x on a GPU, the current one unless said otherwise: x itself, if it is there."""
    place = "cuda" if device is None else f"cuda:{device}" if isinstance(device, int) else device
    return moved(x, device_of(place), non_blocking)


def pin_memory(x: Tensor, /) -> Tensor:
    """A copy of a CPU tensor in pinned memory, from which `to("cuda", non_blocking=True)` does not wait; x itself if
    it is there already."""
    if x.device != CPU:
        raise RuntimeError(at_user_line(f"pin_memory: only tensors on the CPU are pinned, not one on {x.device}"))
    if is_pinned(x.array):
        return x
    array = pinned_empty(x.shape, x.dtype)
    array[...] = x.array
    return Tensor(array)


def is_in_pinned_memory(x: Tensor, /) -> bool:
    """Is it a CPU tensor in pinned memory?"""
    return x.device == CPU and is_pinned(x.array)


def record_stream(x: Tensor, stream: Any, /) -> None:
    """x, made on another stream, is used on this tg.cuda.Stream: as long as that uses it, its memory is not given to
    anything else. What the stream is given after nothing holds x any more does not count, as in PyTorch.
    """
    if x.device == CPU:
        raise RuntimeError(at_user_line("record_stream: the tensor is on the CPU, which has no streams"))
    not_replayed(Abort.EFFECT, "which stream uses memory")
    use_on(x.memory, stream.cupy_stream)


def type_as(x: Tensor, other: Tensor, /) -> Tensor:
    """x in the dtype of another tensor."""
    return convert(x, other.dtype)


def type_(x: Tensor, dtype: Any = None) -> Tensor | str:
    """x in `dtype`; without one, the name of the dtype it has."""
    return x.dtype.name if dtype is None else astype(x, dtype, copy=False)


def to_device(x: Tensor, device: str | Device, /, *, stream: Any = None) -> Tensor:
    """x on a device (Array API): x itself where it is there already. `stream`: a tg.cuda.Stream, for a GPU.

    ValueError for another device, or for a stream of the CPU, which has none.
    """
    target = device_of(device)
    if stream is None:
        return moved(x, target)
    if CPU in (target, x.device):
        raise ValueError(at_user_line("to_device: the CPU has no streams, so stream has to be None"))
    with stream:
        return moved(x, target)
