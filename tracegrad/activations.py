"""Activation functions, with PyTorch's names, arguments and results; composed of elementary functions.

Where a formula would overflow or lose its digits, another of the same function is used; derivatives follow the code,
and are written so that they stay finite wherever they are.
"""
from __future__ import annotations

import math
from typing import Any

from tracegrad.elementary import erf, expm1, logaddexp
from tracegrad.functional import abs, less, less_equal, logical_and, sigmoid, tanh, where
from tracegrad.operands import Operand, floating, tensor_operand
from tracegrad.tensors import Tensor


def operand_of(name: str, x: Any) -> Tensor:
    return floating(tensor_operand(name, x))


def softplus(x: Operand, /, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """log(1 + exp(beta x)) / beta; x itself where beta x is above `threshold`.

        >>> tg.softplus(tg.tensor([-2.0, 0.0, 100.0]))
        tensor([  0.1269,   0.6931, 100.0000])
    """
    x = operand_of("softplus", x)
    scaled = x * beta if beta != 1 else x
    smooth = logaddexp(scaled, 0.0)
    return where(less(threshold, scaled), x, smooth / beta if beta != 1 else smooth)


def logsigmoid(x: Operand, /) -> Tensor:
    """log(sigmoid(x)), which does not become -inf.

        >>> tg.logsigmoid(tg.tensor([-100.0, 0.0]))
        tensor([-100.0000,   -0.6931])
    """
    return -logaddexp(-operand_of("logsigmoid", x), 0.0)


def silu(x: Operand, /) -> Tensor:
    """x * sigmoid(x)."""
    x = operand_of("silu", x)
    return x * sigmoid(x)


def mish(x: Operand, /) -> Tensor:
    """x * tanh(softplus(x))."""
    x = operand_of("mish", x)
    return x * tanh(softplus(x))


def gelu(x: Operand, /, approximate: str = "none") -> Tensor:
    """x times the probability that a normal number is below x; ValueError for an `approximate` but "none" and "tanh".

        >>> tg.gelu(tg.tensor([-1.0, 0.0, 1.0]))
        tensor([-0.1587,  0.0000,  0.8413])
    """
    x = operand_of("gelu", x)
    if approximate == "tanh":
        return 0.5 * x * (1.0 + tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * (x * x * x))))
    if approximate != "none":
        raise ValueError(f'gelu: approximate is "none" or "tanh", not {approximate!r}')
    return x * 0.5 * (1.0 + erf(x * math.sqrt(0.5)))


def elu(x: Operand, /, alpha: float = 1.0) -> Tensor:
    """x above 0, alpha * (exp(x) - 1) below."""
    x = operand_of("elu", x)
    above = less(0, x)
    return where(above, x, alpha * expm1(where(above, 0, x)))


def celu(x: Operand, /, alpha: float = 1.0) -> Tensor:
    """x above 0, alpha * (exp(x / alpha) - 1) below."""
    x = operand_of("celu", x)
    above = less(0, x)
    return where(above, x, alpha * expm1(where(above, 0, x) / alpha))


def selu(x: Operand, /) -> Tensor:
    """elu scaled so that layers keep mean 0 and variance 1 (Klambauer et al., 2017)."""
    return 1.0507009873554804934193349852946 * elu(x, 1.6732632423543772848170429916717)


def leaky_relu(x: Operand, /, negative_slope: float = 0.01) -> Tensor:
    """x above 0, negative_slope * x below."""
    x = operand_of("leaky_relu", x)
    return where(less(0, x), x, negative_slope * x)


def prelu(x: Operand, weight: Operand, /) -> Tensor:
    """x above 0, weight * x below; a weight of one axis has an element for each channel, axis 1 of x."""
    x, w = operand_of("prelu", x), operand_of("prelu", weight)
    if w.ndim == 1 and w.size > 1 and x.ndim > 2:
        w = w.emit("reshape", shape=(w.size, *(1,) * (x.ndim - 2)))
    return where(less(0, x), x, w * x)


def hardtanh(x: Operand, /, min_val: float = -1.0, max_val: float = 1.0) -> Tensor:
    """x clipped to [min_val, max_val]; at the bounds the derivative is 0, as in PyTorch."""
    x = operand_of("hardtanh", x)
    return where(less_equal(x, min_val), min_val, where(less_equal(max_val, x), max_val, x))


def relu6(x: Operand, /) -> Tensor:
    """x clipped to [0, 6]."""
    return hardtanh(x, 0.0, 6.0)


def hardsigmoid(x: Operand, /) -> Tensor:
    """x / 6 + 1/2, clipped to [0, 1]."""
    return relu6(operand_of("hardsigmoid", x) + 3.0) / 6.0


def hardswish(x: Operand, /) -> Tensor:
    """x * hardsigmoid(x)."""
    x = operand_of("hardswish", x)
    return x * relu6(x + 3.0) / 6.0


def softsign(x: Operand, /) -> Tensor:
    """x / (1 + |x|)."""
    x = operand_of("softsign", x)
    return x / (abs(x) + 1.0)


def tanhshrink(x: Operand, /) -> Tensor:
    """x - tanh(x)."""
    x = operand_of("tanhshrink", x)
    return x - tanh(x)


def softshrink(x: Operand, /, lambd: float = 0.5) -> Tensor:
    """x moved towards 0 by lambd; 0 within lambd of it."""
    x = operand_of("softshrink", x)
    return where(less(lambd, x), x - lambd, where(less(x, -lambd), x + lambd, x * 0.0))


def hardshrink(x: Operand, /, lambd: float = 0.5) -> Tensor:
    """0 where |x| <= lambd, else x."""
    x = operand_of("hardshrink", x)
    return where(logical_and(less_equal(-lambd, x), less_equal(x, lambd)), 0.0, x)


def threshold(x: Operand, threshold: float, value: float, /) -> Tensor:
    """x where it is above `threshold`, else `value`."""
    x = tensor_operand("threshold", x)
    return where(less(threshold, x), x, value)


def glu(x: Operand, /, axis: int = -1) -> Tensor:
    """a * sigmoid(b) for the halves a and b of x along `axis`; ValueError where it has no two halves."""
    x = operand_of("glu", x)
    size = x.shape[axis]
    if size % 2:
        raise ValueError(f"glu: axis {axis} has {size} elements, which is no even number")
    half = [slice(None)] * x.ndim
    first, second = [*half], [*half]
    first[axis], second[axis] = slice(0, size // 2), slice(size // 2, size)
    return x[tuple(first)] * sigmoid(x[tuple(second)])
