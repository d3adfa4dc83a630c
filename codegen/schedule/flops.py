"""flops: how many floating-point operations a step does.

    for i < 4096: pass j < 1024: v1 = exp v0; v2 = accumulate sum v1   ->   4096 * 1024 * (14 + 1)
    matmul 64x784 @ 784x512                                            ->   2 * 64 * 784 * 512

1. Addition, multiplication, division, root, minimum and maximum are one operation for each element, and so is what a
   reduction combines. exp, sin and the like are the additions and multiplications that they are made of, as `costs`
   has them. What moves, compares, selects or converts is none.
2. Operations on integers are none.
"""
from __future__ import annotations

from math import prod
from typing import assert_never

from codegen.ir.dims import number_of
from codegen.ir.types import FLOATS
from codegen.schedule.costs import op_cost
from codegen.schedule.index import coefficient
from codegen.schedule.kernel import Accumulate, Axis, Binary, Kernel, Scan, Statement, Unary, makes_value
from codegen.schedule.plan import Attention, Check, Copy, Host, Launch, Matmul, Spliced, Step
from codegen.schedule.sizes import kernel_at
from codegen.schedule.value_types import COMPARISONS, value_dtypes

_ONE = frozenset({"add", "sub", "mul", "div", "sqrt", "maximum", "minimum"})
_NONE = COMPARISONS | {"neg", "abs", "sign", "floor", "ceil", "trunc", "round", "copysign", "nextafter", "detach",
                       "after"}


def flops_of(step: Step) -> int:
    """The floating-point operations of a step of known sizes; 0 for what the host does, of which nothing is known."""
    match step:
        case Launch(kernel, _, words):
            return flops_of_kernel(kernel_at(kernel, tuple(map(number_of, words))))
        case Matmul():
            return 2 * prod(step.sizes)
        case Spliced(product):
            given = tuple(map(number_of, product.words))
            return flops_of(product) + sum(flops_of_kernel(kernel_at(part.kernel, given)) for part in step.parts)
        case Attention(scores, rows, result):
            given = tuple(map(number_of, scores.product.words))
            batch, m, n, _ = scores.product.sizes
            weights = (3 + op_cost("exp")) * batch * m * n
            return flops_of(scores) + flops_of(result) + flops_of_kernel(kernel_at(rows.kernel, given)) + weights
        case Host() | Copy() | Check():
            return 0
        case _:
            assert_never(step)


def flops_of_kernel(kernel: Kernel) -> int:
    """The floating-point operations of a kernel of known sizes."""
    dtypes = iter(value_dtypes(kernel))
    total = 0
    for one in kernel.passes:
        points = _points((*kernel.axes, *one.axes))
        for statement in one.body:
            if makes_value(statement) and next(dtypes) in FLOATS:
                total += points * _of_element(statement)
    return total


def _of_element(statement: Statement) -> int:
    match statement:
        case Unary(op) | Binary(op):
            return 1 if op in _ONE else 0 if op in _NONE else op_cost(op)
        case Accumulate() | Scan():
            return 1
        case _:
            return 0


def _points(axes: tuple[Axis, ...]) -> int:
    """How often the body of these loops runs; a clipped axis and the one that counts its tiles reach `bound` together.
    """
    points = prod(number_of(axis.extent) for axis in axes)
    for axis in axes:
        if axis.clip is not None:
            index, bound = axis.clip
            reached = prod(number_of(a.extent) for a in axes if coefficient(index, a.name))
            points = points // reached * number_of(bound)
    return points
