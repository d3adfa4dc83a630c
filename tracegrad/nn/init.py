"""Initial values: each function fills a Tensor in place, outside of differentiation, and returns it.

fan_in and fan_out of a weight [out, in, ...] are in * prod(...) and out * prod(...).
"""
from __future__ import annotations

import math

from tracegrad.creation import eye
from tracegrad.diagonals import diagonal
from tracegrad.elementary import erfinv
from tracegrad.functional import clip, where
from tracegrad.grad_modes import no_grad
from tracegrad.linalg import qr
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


def trunc_normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, a: float = -2.0, b: float = 2.0) -> Tensor:
    """N(mean, std ** 2), drawn anew where it is outside of [a, b]: by the inverse of its distribution function."""
    low, high = (math.erf((end - mean) / (std * math.sqrt(2))) for end in (a, b))
    with no_grad():
        u = rand(tensor.shape, dtype="float64") * (high - low) + low
        return tensor.copy_(clip(erfinv(u) * (std * math.sqrt(2)) + mean, a, b).to(tensor.dtype))


def eye_(tensor: Tensor) -> Tensor:
    """1 on the diagonal of a matrix, 0 elsewhere. ValueError for what is no matrix."""
    if tensor.ndim != 2:
        raise ValueError(f"eye_: a Tensor of shape {tensor.shape} is no matrix")
    with no_grad():
        return tensor.copy_(eye(*tensor.shape, dtype=tensor.dtype))


def dirac_(tensor: Tensor, groups: int = 1) -> Tensor:
    """Filters that give each channel as it is: 1 in the middle of filter k for channel k of its group, 0 elsewhere."""
    if tensor.ndim not in (3, 4, 5) or tensor.shape[0] % groups:
        raise ValueError(f"dirac_: a Tensor of shape {tensor.shape} does not hold filters in {groups} groups")
    per_group = tensor.shape[0] // groups
    middle = tuple(size // 2 for size in tensor.shape[2:])
    with no_grad():
        tensor.zero_()
        for group in range(groups):
            for k in range(min(per_group, tensor.shape[1])):
                tensor[(group * per_group + k, k, *middle)] = 1.0
    return tensor


def orthogonal_(tensor: Tensor, gain: float = 1.0) -> Tensor:
    """Rows (or columns, if there are more rows) that are orthogonal and of norm `gain`, axes after the first as one.

    A. M. Saxe, J. L. McClelland, S. Ganguli (2014), ICLR.
    """
    if tensor.ndim < 2:
        raise ValueError(f"orthogonal_: a Tensor of shape {tensor.shape} needs two axes")
    rows = tensor.shape[0]
    columns = tensor.size // max(rows, 1)
    with no_grad():
        q, r = qr(randn(max(rows, columns), min(rows, columns), dtype="float64"))
        q = q * diagonal(r).sign() * gain               # so that every direction is equally likely
        return tensor.copy_((q if rows >= columns else q.T).reshape(tensor.shape).to(tensor.dtype))


def sparse_(tensor: Tensor, sparsity: float, std: float = 0.01) -> Tensor:
    """N(0, std ** 2), and 0 at a share `sparsity` of each column of a matrix. J. Martens (2010), ICML."""
    if tensor.ndim != 2:
        raise ValueError(f"sparse_: a Tensor of shape {tensor.shape} is no matrix")
    zeros = math.ceil(sparsity * tensor.shape[0])
    with no_grad():
        places = rand(tensor.shape, dtype="float64").argsort(axis=0).argsort(axis=0)
        return tensor.copy_(where(places < zeros, 0.0, randn(tensor.shape, dtype=tensor.dtype) * std))


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
        case "linear" | "sigmoid" | "conv1d" | "conv2d" | "conv3d":
            return 1.0
        case "selu":
            return 3 / 4
        case "tanh":
            return 5 / 3
        case "relu":
            return math.sqrt(2)
        case "leaky_relu":
            return math.sqrt(2 / (1 + a * a))
    raise ValueError(f"no gain is known for {nonlinearity!r}; known are linear, sigmoid, tanh, relu, leaky_relu, selu")


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
