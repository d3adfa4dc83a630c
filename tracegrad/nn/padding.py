"""Padding layers: see tracegrad.padding.pad_last for what they compute. Widths come with the last axis first."""
from __future__ import annotations

from typing import Any

from tracegrad.nn.modules import Module
from tracegrad.padding import pad_last
from tracegrad.tensors import Tensor
from tracegrad.windows import one_for_each


class Pad(Module):
    """More elements at the ends of the last axes: one width for every end, or one for each."""

    spaces, mode = 0, "constant"

    def __init__(self, padding: Any):
        each = (padding,) * (2 * self.spaces) if isinstance(padding, int) else tuple(padding)
        self.padding = one_for_each(type(self).__name__, "padding", each, 2 * self.spaces, -2**31)

    def forward(self, x: Tensor) -> Tensor:
        return pad_last(x, self.padding, self.mode)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class ConstantPad(Pad):
    """A number at the ends of the last axes."""

    def __init__(self, padding: Any, value: float):
        super().__init__(padding)
        self.value = value

    def forward(self, x: Tensor) -> Tensor:
        return pad_last(x, self.padding, "constant", self.value)

    def extra_repr(self) -> str:
        return f"{self.padding}, value={self.value}"


class ZeroPad1d(Pad):
    """Zeros at the ends of the last axis."""

    spaces = 1


class ZeroPad2d(Pad):
    """Zeros at the ends of the last 2 axes."""

    spaces = 2


class ZeroPad3d(Pad):
    """Zeros at the ends of the last 3 axes."""

    spaces = 3


class ConstantPad1d(ConstantPad):
    """A number at the ends of the last axis."""

    spaces = 1


class ConstantPad2d(ConstantPad):
    """A number at the ends of the last 2 axes."""

    spaces = 2


class ConstantPad3d(ConstantPad):
    """A number at the ends of the last 3 axes."""

    spaces = 3


class ReflectionPad1d(Pad):
    """What is inside, mirrored, at the ends of the last axis."""

    spaces, mode = 1, "reflect"


class ReflectionPad2d(Pad):
    """What is inside, mirrored, at the ends of the last 2 axes."""

    spaces, mode = 2, "reflect"


class ReflectionPad3d(Pad):
    """What is inside, mirrored, at the ends of the last 3 axes."""

    spaces, mode = 3, "reflect"


class ReplicationPad1d(Pad):
    """The outermost elements at the ends of the last axis."""

    spaces, mode = 1, "replicate"


class ReplicationPad2d(Pad):
    """The outermost elements at the ends of the last 2 axes."""

    spaces, mode = 2, "replicate"


class ReplicationPad3d(Pad):
    """The outermost elements at the ends of the last 3 axes."""

    spaces, mode = 3, "replicate"


class CircularPad1d(Pad):
    """What is at the other end at the ends of the last axis."""

    spaces, mode = 1, "circular"


class CircularPad2d(Pad):
    """What is at the other end at the ends of the last 2 axes."""

    spaces, mode = 2, "circular"


class CircularPad3d(Pad):
    """What is at the other end at the ends of the last 3 axes."""

    spaces, mode = 3, "circular"
