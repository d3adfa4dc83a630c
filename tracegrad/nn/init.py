"""Initial values: each function fills a Tensor in place, outside of differentiation, and returns it.

fan_in and fan_out of a weight [out, in, ...] are in * prod(...) and out * prod(...).
"""
from __future__ import annotations

import math

from tracegrad.autograd import no_grad
from tracegrad.random import rand, randn
from tracegrad.tensors import Tensor


def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0) -> Tensor:
    """U(a, b)."""
    with no_grad():
        return tensor.copy_(rand(tensor.shape, dtype=tensor.dtype) * (b - a) + a)


def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0) -> Tensor:
    """N(mean, std ** 2)."""
    with no_grad():
        return tensor.copy_(randn(tensor.shape, dtype=tensor.dtype) * std + mean)


def constant_(tensor: Tensor, value: float) -> Tensor:
    """`value` everywhere."""
    with no_grad():
        return tensor.fill_(value)


def zeros_(tensor: Tensor) -> Tensor:
    """0 everywhere."""
    return constant_(tensor, 0.0)


def ones_(tensor: Tensor) -> Tensor:
    """1 everywhere."""
    return constant_(tensor, 1.0)


def xavier_uniform_(tensor: Tensor, gain: float = 1.0) -> Tensor:
    """U(-b, b), b = gain * sqrt(6 / (fan_in + fan_out)). X. Glorot, Y. Bengio (2010), AISTATS."""
    bound = gain * math.sqrt(6 / sum(fans(tensor)))
    return uniform_(tensor, -bound, bound)


def xavier_normal_(tensor: Tensor, gain: float = 1.0) -> Tensor:
    """N(0, s ** 2), s = gain * sqrt(2 / (fan_in + fan_out)). X. Glorot, Y. Bengio (2010), AISTATS."""
    return normal_(tensor, 0.0, gain * math.sqrt(2 / sum(fans(tensor))))


def kaiming_uniform_(
    tensor: Tensor, a: float = 0.0, mode: str = "fan_in", nonlinearity: str = "leaky_relu",
) -> Tensor:
    """U(-b, b), b = gain * sqrt(3 / fan), gain that of `nonlinearity` with slope `a`. K. He et al. (2015), ICCV."""
    bound = calculate_gain(nonlinearity, a) * math.sqrt(3 / _fan(tensor, mode))
    return uniform_(tensor, -bound, bound)


def kaiming_normal_(
    tensor: Tensor, a: float = 0.0, mode: str = "fan_in", nonlinearity: str = "leaky_relu",
) -> Tensor:
    """N(0, s ** 2), s = gain / sqrt(fan), gain that of `nonlinearity` with slope `a`. K. He et al. (2015), ICCV."""
    return normal_(tensor, 0.0, calculate_gain(nonlinearity, a) / math.sqrt(_fan(tensor, mode)))


def calculate_gain(nonlinearity: str, a: float = 0.01) -> float:
    """The factor that keeps the scale of values through a nonlinearity; `a` is the slope of "leaky_relu"."""
    match nonlinearity:
        case "linear" | "sigmoid":
            return 1.0
        case "tanh":
            return 5 / 3
        case "relu":
            return math.sqrt(2)
        case "leaky_relu":
            return math.sqrt(2 / (1 + a * a))
    raise ValueError(f"no gain is known for {nonlinearity!r}; known are linear, sigmoid, tanh, relu, leaky_relu")


def fans(tensor: Tensor) -> tuple[int, int]:
    """(fan_in, fan_out) of a weight; ValueError for fewer than two axes."""
    if tensor.ndim < 2:
        raise ValueError(f"a Tensor of shape {tensor.shape} has no fan_in and fan_out: it needs two axes")
    field = math.prod(tensor.shape[2:])
    return tensor.shape[1] * field, tensor.shape[0] * field


def _fan(tensor: Tensor, mode: str) -> int:
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f'mode is "fan_in" or "fan_out", not {mode!r}')
    return fans(tensor)[mode == "fan_out"]
