"""The casts of an autograd.Function, by PyTorch's names: what forward is given, and that backward is as forward was.

    class Product(tg.autograd.Function):
        @staticmethod
        @tg.amp.custom_fwd(device_type="cuda", cast_inputs=tg.float32)      x, y float32; autocast is off inside
        def forward(ctx, x, y): ...

        @staticmethod
        @tg.amp.custom_bwd(device_type="cuda")                              as it was in forward: off
        def backward(ctx, g): ...
"""
from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tracegrad.dtypes import FLOATING, dtype_of, float64
from tracegrad.mixed_precision import DEVICES, autocast, get_autocast_dtype, is_autocast_enabled
from tracegrad.operands import convert
from tracegrad.source_lines import at_user_line
from tracegrad.tensors import Tensor

Method = Callable[..., Any]


def custom_fwd(fwd: Method | None = None, *, device_type: str, cast_inputs: Any = None) -> Any:
    """A decorator for `forward` of an autograd.Function, which is given ctx first. As in PyTorch.

    Where autocast is on for devices of this type, and `cast_inputs` is a dtype, tensors of floats on them are cast to
    it, all but those of float64, and autocast is off inside. Otherwise forward runs as it would without.

        >>> class Square(tg.autograd.Function):
        ...     @staticmethod
        ...     @tg.amp.custom_fwd(device_type="cpu", cast_inputs=tg.float32)
        ...     def forward(ctx, x):
        ...         ctx.save_for_backward(x)
        ...         return x * x
        ...
        ...     @staticmethod
        ...     @tg.amp.custom_bwd(device_type="cpu")
        ...     def backward(ctx, g):
        ...         return 2 * g * ctx.saved_tensors[0]
        >>> x = tg.ones(3, dtype="bfloat16", requires_grad=True)
        >>> with tg.autocast("cpu"):
        ...     y = Square.apply(x)
        >>> y.sum().backward()
        >>> y.dtype, x.grad.dtype
        (dtype('float32'), dtype(bfloat16))
    """
    _check_type("custom_fwd", device_type)
    if fwd is None:
        return functools.partial(custom_fwd, device_type=device_type, cast_inputs=cast_inputs)
    dtype = None if cast_inputs is None else dtype_of(cast_inputs)

    @functools.wraps(fwd)
    def forward(ctx: Any, *args: Any, **options: Any) -> Any:
        if isinstance(ctx, Tensor):
            raise TypeError(at_user_line("custom_fwd decorates a forward that is given ctx first: what setup_context "
                                         "knows is too late to cast"))
        is_on = is_autocast_enabled(device_type)
        ctx.autocast_of_forward = is_on and dtype is None, get_autocast_dtype(device_type)
        if dtype is None or not is_on:
            return fwd(ctx, *args, **options)
        with autocast(device_type, enabled=False):
            return fwd(ctx, *_cast(args, device_type, dtype), **_cast(options, device_type, dtype))
    return forward


def custom_bwd(bwd: Method | None = None, *, device_type: str) -> Any:
    """A decorator for `backward` of an autograd.Function whose `forward` has custom_fwd: autocast is in it as it was
    there. As in PyTorch."""
    _check_type("custom_bwd", device_type)
    if bwd is None:
        return functools.partial(custom_bwd, device_type=device_type)

    @functools.wraps(bwd)
    def backward(ctx: Any, *grads: Any) -> Any:
        enabled, dtype = ctx.autocast_of_forward
        with autocast(device_type, dtype, enabled):
            return bwd(ctx, *grads)
    return backward


def _check_type(name: str, device_type: Any) -> None:
    if device_type not in DEVICES:
        raise ValueError(at_user_line(f"{name}: {device_type!r} is no type of device: 'cpu' and 'cuda' are"))


def _cast(value: Any, device_type: str, dtype: np.dtype) -> Any:
    """A value with the tensors of floats in it cast, in tuples, lists and mappings."""
    if isinstance(value, Tensor):
        own = value.dtype
        is_meant = own in FLOATING and own not in (float64, dtype) and value.device.type == device_type
        return convert(value, dtype) if is_meant else value
    if isinstance(value, tuple | list):
        return type(value)([_cast(part, device_type, dtype) for part in value])
    if isinstance(value, Mapping):
        return {key: _cast(part, device_type, dtype) for key, part in value.items()}
    return value
