"""The words of derivatives: what rules do to values, whether these compute (Tensors) or write a graph (builder Values).

A value has operators, `shape`, `dtype`, `constant(number)`, `iota(shape, axis)` and `emit(op, *operands, **attrs)`.
Every word here is made of these. Of a real value, the conjugate and the real part are the value itself, so what is
written for complex numbers adds nothing to a real graph.
"""
from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from codegen.ir.dims import Size
from codegen.ir.types import COMPLEX, NAMES

Operand: TypeAlias = Any


def element_type(x: Operand) -> str:
    """The IR's name of the dtype of x."""
    return x.dtype if isinstance(x.dtype, str) else NAMES[x.dtype]


def is_complex(x: Operand) -> bool:
    """Is x a value of a complex dtype?"""
    return hasattr(x, "dtype") and element_type(x) in COMPLEX


def conj(x: Operand) -> Operand:
    """The complex conjugate; of a real value, the value itself."""
    if hasattr(x, "dtype"):
        return x.emit("conj") if element_type(x) in COMPLEX else x
    return x.conjugate()


def conjugated(rule: Callable[..., Operand]) -> Callable[..., Operand]:
    """What `rule`, written for real numbers and linear in g, is for complex ones."""
    return lambda g, y, *operands, **attrs: conj(rule(conj(g), y, *operands, **attrs))


def real(x: Operand) -> Operand:
    """The real part; of a real value, the value itself."""
    return x.emit("real") if is_complex(x) else x


def cast(x: Operand, dtype: str) -> Operand:
    return x if element_type(x) == dtype else x.emit("cast", dtype=dtype)


def choose(condition: Operand, x: Operand, y: Operand) -> Operand:
    return condition.emit("where", x, y)


def zero(g: Operand) -> Operand:
    """A 0-d zero of the dtype of g."""
    return g.constant(0)


def are_equal(a: tuple[Size, ...], b: tuple[Size, ...]) -> bool:
    """Are two shapes the same? Sizes that belong to different axes are not compared: with symbols that tells something.
    """
    return len(a) == len(b) and a == b


def broadcast(x: Operand, shape: tuple[Size, ...]) -> Operand:
    return x if are_equal(x.shape, shape) else x.emit("broadcast", shape=shape)


def reshape(x: Operand, shape: tuple[Size, ...]) -> Operand:
    return x if are_equal(x.shape, shape) else x.emit("reshape", shape=shape)


def swap(x: Operand) -> Operand:
    """The last two axes exchanged."""
    n = len(x.shape)
    return x.emit("transpose", axes=(*range(n - 2), n - 1, n - 2))
