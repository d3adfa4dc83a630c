"""Tensor.to and its kin: another dtype, another device, or the same of another tensor, as PyTorch writes them."""
from __future__ import annotations

from typing import Any

from tracegrad.devices import Device, device_of
from tracegrad.dtypes import dtype_of
from tracegrad.functional import astype, clone
from tracegrad.operands import convert
from tracegrad.source_lines import at_user_line
from tracegrad.tensors import Tensor

DEVICES = ("cpu", "cuda", "gpu", "mps", "xpu")
"""What says, as the first word of a text, that a place is meant and no dtype; only the first is there."""


def to(x: Tensor, *targets: Any, dtype: Any = None, device: Any = None, copy: bool = False,
       non_blocking: bool = False) -> Tensor:
    """x in a dtype, on a device, or both, or as another tensor is; x itself where it is that already, unless copy=True.

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
    device_of(device)
    result = x if dtype is None else convert(x, dtype_of(dtype))
    return clone(result) if copy and result is x else result


def type_as(x: Tensor, other: Tensor, /) -> Tensor:
    """x in the dtype of another tensor."""
    return convert(x, other.dtype)


def type_(x: Tensor, dtype: Any = None) -> Tensor | str:
    """x in `dtype`; without one, the name of the dtype it has."""
    return x.dtype.name if dtype is None else astype(x, dtype, copy=False)


def to_device(x: Tensor, device: str | Device, /, *, stream: Any = None) -> Tensor:
    """x on a device (Array API): x itself, since there is only the CPU. ValueError for another device or a stream."""
    device_of(device)
    if stream is not None:
        raise ValueError(at_user_line("to_device: the CPU has no streams, so stream has to be None"))
    return x
