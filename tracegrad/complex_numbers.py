"""Complex numbers: their parts, what is made of two parts, and what is asked of them.

    z = tg.complex(x, y)  ->  x + iy            z.real, z.imag, z.conj(), abs(z), tg.angle(z)

Names and rules are the Array API standard's, PyTorch's and NumPy's. A real tensor is its own real part and its own
conjugate. The parts of a complex tensor are views of it.
"""
from __future__ import annotations

from math import pi
from typing import Any

from codegen.ir.type_rules import TypeRuleError
from codegen.ir.types import type_of
from tracegrad import dtypes
from tracegrad.dispatch import dispatch
from tracegrad.dtypes import COMPLEX_NUMBERS
from tracegrad.functional import equal, exp, less, log, multiply, not_equal, where
from tracegrad.indexing import get
from tracegrad.movement import broadcast_to, stack, swapaxes
from tracegrad.operands import Operand, floating, pair, scalar, tensor_operand
from tracegrad.source_lines import at_user_line
from tracegrad.tensors import Tensor


def is_complex(x: Any, /) -> bool:
    """Is the dtype of `x` a complex dtype?"""
    return dtypes.dtype_of(getattr(x, "dtype", x)) in COMPLEX_NUMBERS


def real(x: Operand, /) -> Tensor:
    """The real part, a view; a real tensor is itself.

        >>> tg.real(tg.tensor([1 + 2j, 3 - 4j]))
        tensor([1., 3.])
    """
    x = tensor_operand("real", x)
    return dispatch("real", x) if is_complex(x) else x


def imag(x: Operand, /) -> Tensor:
    """The imaginary part, a view; of a real tensor, zeros.

        >>> tg.imag(tg.tensor([1 + 2j, 3 - 4j]))
        tensor([ 2., -4.])
    """
    x = tensor_operand("imag", x)
    return dispatch("imag", x) if is_complex(x) else broadcast_to(scalar(0, x.dtype), x.shape)


def conj(x: Operand, /) -> Tensor:
    """The complex conjugate; a real tensor is itself.

        >>> tg.conj(tg.tensor([1 + 2j]))
        tensor([1.-2.j])
    """
    x = tensor_operand("conj", x)
    return dispatch("conj", x) if is_complex(x) else x


def complex(real: Operand, imag: Operand, /) -> Tensor:
    """real + i imag, of float32 or float64 parts that broadcast.

        >>> tg.complex(tg.tensor([1.0, 2.0]), tg.tensor([0.0, -1.0]))
        tensor([1.+0.j, 2.-1.j])
    """
    x, y = pair("complex", tensor_operand("complex", real), tensor_operand("complex", imag))
    return dispatch("complex", floating(x), floating(y))


def angle(x: Operand, /) -> Tensor:
    """The angle of a complex number, above -pi and up to pi; of a real number 0, or pi below 0. At 0 it is a constant.

        >>> tg.angle(tg.tensor([1j, -1 + 0j]))
        tensor([1.5708, 3.1416])
    """
    x = tensor_operand("angle", x)
    if is_complex(x):
        nothing = equal(x, 0)
        return where(nothing, 0.0, dispatch("imag", log(where(nothing, 1.0, x))))
    x = floating(x)
    return where(not_equal(x, x), x, where(less(x, 0.0), pi, scalar(0, x.dtype)))


def polar(abs: Operand, angle: Operand, /) -> Tensor:
    """The complex number of a size and an angle: abs * (cos(angle) + i sin(angle)).

        >>> tg.polar(tg.tensor([2.0]), tg.tensor([0.0]))
        tensor([2.+0.j])
    """
    r, phi = pair("polar", floating(tensor_operand("polar", abs)), floating(tensor_operand("polar", angle)))
    return multiply(r, exp(dispatch("complex", scalar(0, phi.dtype), phi)))


def view_as_real(x: Tensor, /) -> Tensor:
    """The two parts of complex numbers along a new last axis; unlike PyTorch's, a copy.

        >>> tg.view_as_real(tg.tensor([1 + 2j]))
        tensor([[1., 2.]])
    """
    return stack([dispatch("real", x), dispatch("imag", x)], axis=-1)


def view_as_complex(x: Tensor, /) -> Tensor:
    """The complex numbers whose parts lie along the last axis, which has size 2; unlike PyTorch's, a copy."""
    if x.ndim == 0 or x.shape[-1] != 2:
        raise TypeRuleError(at_user_line(f"view_as_complex: the last axis of {type_of(x)} does not have size 2"))
    return dispatch("complex", get(x, (..., 0)), get(x, (..., 1)))


def isreal(x: Operand, /) -> Tensor:
    """Is the imaginary part 0? Elementwise."""
    return equal(imag(x), 0)


def iscomplex(x: Operand, /) -> Tensor:
    """Is the imaginary part not 0? Elementwise."""
    return not_equal(imag(x), 0)


def adjoint(x: Operand, /) -> Tensor:
    """The conjugate transpose of the last two axes: x.mH."""
    return conj(swapaxes(x, -2, -1))


def hermitian(x: Operand, /) -> Tensor:
    """The conjugate transpose of a matrix; what has fewer axes is only conjugated: x.H."""
    x = tensor_operand("H", x)
    if x.ndim > 2:
        raise TypeRuleError(at_user_line(f"H: {type_of(x)} has more than 2 axes; use mH"))
    return conj(dispatch("transpose", x, axes=tuple(reversed(range(x.ndim)))))
