"""Writes in place, as users call them: x += y, x.copy_(y), x.exp_(), out=.

    x op= y       the operation, then a write of its result; where it has no history and is not recorded, one pass of
                  NumPy over the memory
    x.exp_()      the same

What a write means for views and for differentiation is said in `mutation`; x[key] = y is in `assignment`, and the table
of all in-place forms in `updates`.
"""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from codegen.ir.type_rules import TypeRuleError
from codegen.ir.types import type_of
from tracegrad import functional
from tracegrad.complex_numbers import complex, imag, is_complex, real
from tracegrad.devices import CUPY
from tracegrad.dispatch import FOLLOWER, GRAD
from tracegrad.dtypes import INEXACT, bfloat16
from tracegrad.float_errors import restore, silence
from tracegrad.movement import broadcast_to
from tracegrad.mutation import another, assigned, fitted, write
from tracegrad.operands import Operand, scalar
from tracegrad.recorder import ACTIVE
from tracegrad.source_lines import at_user_line
from tracegrad.tensors import FOLLOWERS, Tensor


def copy_(target: Tensor, value: Operand, /) -> Tensor:
    """Write `value`, broadcast and cast, into target. Floats are truncated where target holds integers.

        >>> tg.zeros(2, 2).copy_(tg.tensor([1, 2]))
        tensor([[1., 2.],
                [1., 2.]])
    """
    write(target, another(assigned(target.dtype, target.shape, value, "copy_")))
    return target


def set_real(target: Tensor, value: Operand, /) -> None:
    """x.real = value; the imaginary part stays. Of a real tensor, all of it."""
    copy_(target, complex(broadcast_to(value, target.shape), imag(target)) if is_complex(target) else value)


def set_imag(target: Tensor, value: Operand, /) -> None:
    """x.imag = value; the real part stays. TypeError for a real tensor."""
    if not is_complex(target):
        raise TypeError(at_user_line(f"imag: {type_of(target)} has no imaginary part to write to"))
    copy_(target, complex(real(target), broadcast_to(value, target.shape)))


def zero_(target: Tensor, /) -> Tensor:
    """Write zeros."""
    return copy_(target, scalar(0, target.dtype))


def fill_(target: Tensor, number: Any, /) -> Tensor:
    """Write one number everywhere."""
    return copy_(target, number)


UFUNCS = {"add": np.add, "subtract": np.subtract, "multiply": np.multiply, "divide": np.divide}
"""Operations whose result NumPy can write where it belongs."""


def fits_directly(x: Tensor, other: Any) -> bool:
    """Is x op= other nothing but a write to memory: no history, no recording, no conversion?"""
    if x.dtype not in INEXACT or ACTIVE.get() is not None or GRAD.anomaly is not None:
        return False
    if CUPY or FOLLOWERS and FOLLOWER.get() is not None or not x.array.flags.writeable:
        return False
    if GRAD.enabled and x.requires_grad:
        return False
    if isinstance(other, Tensor):
        y = other.array
        followed = GRAD.enabled and other.requires_grad
        return y.dtype is x.dtype and y.shape in (x.shape, ()) and not followed
    return type(other) is float and x.dtype is not bfloat16


def update(op: Callable[..., Tensor], name: str) -> Callable[..., Tensor]:
    """The in-place form of an operation: x op= y."""
    ufunc = UFUNCS.get(op.__name__)

    def apply(x: Tensor, other: Operand, /) -> Tensor:
        if ufunc is not None and fits_directly(x, other):
            x.prepare_write()
            errors = silence()
            try:
                ufunc(x.array, other.array if isinstance(other, Tensor) else other, out=x.array)
            finally:
                restore(errors)
            return x
        return put(x, op(x, other), name)
    return named(apply, op, name, "(x, other)")


def in_place(op: Callable[..., Tensor], name: str) -> Callable[..., Tensor]:
    """The in-place form of a function of x and maybe other arguments."""
    def apply(x: Tensor, /, *args: Any, **options: Any) -> Tensor:
        return put(x, op(x, *args, **options), name)
    return named(apply, op, name, "(x, ...)")


def put(x: Tensor, value: Tensor, name: str) -> Tensor:
    """x, now with the result of an operation on it."""
    if value.shape != x.shape:
        raise TypeRuleError(at_user_line(
            f"{name}: the result {type_of(value)} does not fit into {type_of(x)}"))
    write(x, value if value.dtype == x.dtype else fitted(x, value, name))
    return x


def named(function: Callable[..., Tensor], op: Callable, name: str, arguments: str) -> Callable[..., Tensor]:
    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"x = {op.__name__}{arguments}, in place."
    return function


add_, sub_ = update(functional.add, "add_"), update(functional.subtract, "sub_")
mul_, div_ = update(functional.multiply, "mul_"), update(functional.divide, "div_")


def set_data(x: Tensor, value: Tensor, /) -> None:
    """x.data = value: write without differentiation. `x.data -= y` has done so already."""
    if value.memory is not x.memory:
        before, GRAD.enabled = GRAD.enabled, False
        try:
            copy_(x, value)
        finally:
            GRAD.enabled = before
