"""Convolution layers: see tracegrad.convolution for what they compute.

weight [out, in / groups, *size] and bias [out] are drawn from U(-b, b), b = 1 / sqrt(fan_in), as PyTorch does.
"""
from __future__ import annotations

import math
from typing import Any

from tracegrad.creation import empty
from tracegrad.nn import functional as F
from tracegrad.nn import init
from tracegrad.nn.modules import Module, Parameter
from tracegrad.padding import pad_last
from tracegrad.tensors import Tensor
from tracegrad.windows import one_for_each

PADDING_MODES = ("zeros", "reflect", "replicate", "circular")


class ConvolutionLayer(Module):
    """What convolutions, and their adjoints, have in common: options, weight and bias."""

    spaces = 0                  # how many axes are filtered
    transposed = False

    def __init__(self, in_channels: int, out_channels: int, kernel_size: Any, stride: Any, padding: Any, dilation: Any,
                 groups: int, bias: bool, dtype: Any):
        name, n = type(self).__name__, self.spaces
        if groups < 1 or in_channels % groups or out_channels % groups:
            raise ValueError(f"{name}: {in_channels} and {out_channels} channels do not make {groups} equal groups")
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.kernel_size = one_for_each(name, "kernel_size", kernel_size, n)
        self.stride = one_for_each(name, "stride", stride, n)
        self.dilation = one_for_each(name, "dilation", dilation, n)
        if isinstance(padding, str) and padding not in ("same", "valid"):
            raise ValueError(f'{name}: padding is a number, "same" or "valid", not {padding!r}')
        self.padding = padding if isinstance(padding, str) else one_for_each(name, "padding", padding, n, 0)
        first, second = (in_channels, out_channels) if self.transposed else (out_channels, in_channels)
        self.weight = Parameter(empty((first, second // groups, *self.kernel_size), dtype=dtype))
        self.bias = Parameter(empty((out_channels,), dtype=dtype)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new initial values."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            fan_in, _ = init.fans(self.weight)
            bound = 1 / math.sqrt(fan_in) if fan_in else 0.0
            init.uniform_(self.bias, -bound, bound)

    def extra_repr(self) -> str:
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
        ones = (1,) * self.spaces
        for name, value, usual in (("padding", self.padding, (0,) * self.spaces), ("dilation", self.dilation, ones),
                                   ("groups", self.groups, 1), ("bias", self.bias is not None, True)):
            if value != usual:
                text += f", {name}={value}"
        return text


class Convolution(ConvolutionLayer):
    """Filters over the last axes."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: Any, stride: Any = 1, padding: Any = 0,
                 dilation: Any = 1, groups: int = 1, bias: bool = True, padding_mode: str = "zeros",
                 dtype: Any = None):
        if padding_mode not in PADDING_MODES:
            raise ValueError(
                f"{type(self).__name__}: padding_mode {padding_mode!r} is none of {', '.join(PADDING_MODES)}")
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, dtype)
        self.padding_mode = padding_mode

    def padded(self, x: Tensor) -> tuple[Tensor, Any]:
        """x, and the zeros that the convolution is to put around it; padding of another mode is done here."""
        if self.padding_mode == "zeros" or self.padding == "valid":
            return x, self.padding
        ends = [(n, n) for n in self.padding if isinstance(n, int)]
        if self.padding == "same":
            ends = [(n // 2, n - n // 2) for n in (d * (k - 1) for d, k in zip(self.dilation, self.kernel_size))]
        return pad_last(x, [n for pair in reversed(ends) for n in pair], self.padding_mode), 0


class TransposedConvolution(ConvolutionLayer):
    """The adjoint of filters over the last axes."""

    transposed = True

    def __init__(self, in_channels: int, out_channels: int, kernel_size: Any, stride: Any = 1, padding: Any = 0,
                 output_padding: Any = 0, groups: int = 1, bias: bool = True, dilation: Any = 1,
                 padding_mode: str = "zeros", dtype: Any = None):
        if padding_mode != "zeros":
            raise ValueError(f"{type(self).__name__}: padding_mode is \"zeros\", not {padding_mode!r}")
        self.output_padding = one_for_each(type(self).__name__, "output_padding", output_padding, self.spaces, 0)
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, dtype)


class Conv1d(Convolution):
    """Filters over 1 axis: [n, in, l] -> [n, out, *places]."""

    spaces = 1

    def forward(self, x: Tensor) -> Tensor:
        x, padding = self.padded(x)
        return F.conv1d(x, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)


class Conv2d(Convolution):
    """Filters over 2 axes: [n, in, h, w] -> [n, out, *places]."""

    spaces = 2

    def forward(self, x: Tensor) -> Tensor:
        x, padding = self.padded(x)
        return F.conv2d(x, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)


class Conv3d(Convolution):
    """Filters over 3 axes: [n, in, d, h, w] -> [n, out, *places]."""

    spaces = 3

    def forward(self, x: Tensor) -> Tensor:
        x, padding = self.padded(x)
        return F.conv3d(x, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)


class ConvTranspose1d(TransposedConvolution):
    """The adjoint of filters over 1 axis: [n, in, l] -> [n, out, *space]."""

    spaces = 1

    def forward(self, x: Tensor) -> Tensor:
        return F.conv_transpose1d(x, self.weight, self.bias, self.stride, self.padding, self.output_padding,
                                   self.groups, self.dilation)


class ConvTranspose2d(TransposedConvolution):
    """The adjoint of filters over 2 axes: [n, in, h, w] -> [n, out, *space]."""

    spaces = 2

    def forward(self, x: Tensor) -> Tensor:
        return F.conv_transpose2d(x, self.weight, self.bias, self.stride, self.padding, self.output_padding,
                                   self.groups, self.dilation)


class ConvTranspose3d(TransposedConvolution):
    """The adjoint of filters over 3 axes: [n, in, d, h, w] -> [n, out, *space]."""

    spaces = 3

    def forward(self, x: Tensor) -> Tensor:
        return F.conv_transpose3d(x, self.weight, self.bias, self.stride, self.padding, self.output_padding,
                                   self.groups, self.dilation)
