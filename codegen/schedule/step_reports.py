"""What the steps of a Plan of known sizes do, for people: a line for each, and how many bytes it moves.

    kernel (b0: f32[18] in, b1: f32[1] out) { ... }   ->   "kernel over 18: tanh, mul, sum; mul", 76 bytes

Bytes moved are those of every buffer that a step reads or writes, counted once each way: what would pass between
memory and the processor if no cache held any of it.
"""
from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import assert_never

from codegen.ir.dims import number_of
from codegen.ir.types import DTYPES
from codegen.schedule.kernel import (
    Accumulate,
    Binary,
    Cast,
    Gather,
    Kernel,
    Pass,
    RandomWord,
    Scan,
    Scatter,
    Select,
    Statement,
    Unary,
)
from codegen.schedule.plan import Check, Copy, Host, Launch, Matmul, Plan, Step
from codegen.schedule.plan_text import step_text
from codegen.schedule.sizes import kernel_at

MOST_OPS = 12           # of a pass, the rest is counted


@dataclass(frozen=True, slots=True)
class StepReport:
    """One step: what it does, the bytes it moves, and all of it as text."""

    summary: str
    bytes_moved: int
    text: str


def step_reports(plan: Plan) -> tuple[StepReport, ...]:
    """A report for each step, in order."""
    return tuple(StepReport(_summary(step), _bytes_moved(step, plan), step_text(step)) for step in plan.steps)


def _summary(step: Step) -> str:
    match step:
        case Launch(kernel, _, words):
            passes = [text for one in kernel.passes if (text := _ops(one))]
            known = kernel_at(kernel, tuple(map(number_of, words)))
            return f"kernel over {_extents(known)}: {'; '.join(passes) or 'copies'}"
        case Matmul():
            batch, m, n, k = step.sizes
            return f"matmul {f'{batch} times ' if batch > 1 else ''}{m}x{k} @ {k}x{n} of {step.dtype}"
        case Host(op, _, operands, _, type):
            return f"{op} on the host: {', '.join(str(type) for _, type in operands)} -> {type}"
        case Copy():
            return "copy"
        case Check():
            return "check: leaves if an index was out of bounds, or an operand was refused"
        case _:
            assert_never(step)


def _extents(kernel: Kernel) -> str:
    inner = max((tuple(number_of(axis.extent) for axis in one.axes) for one in kernel.passes), key=prod, default=())
    return "x".join(str(n) for n in (*(axis.extent for axis in kernel.axes), *inner)) or "1"


def _ops(one: Pass) -> str:
    names = [name for statement in one.body if (name := _op(statement))]
    shown, more = names[:MOST_OPS], len(names) - MOST_OPS
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")


def _op(statement: Statement) -> str | None:
    match statement:
        case Unary(op) | Binary(op) | Scan(op):
            return op
        case Accumulate(kind):
            return kind
        case Cast(_, dtype):
            return f"cast to {dtype}"
        case Select():
            return "where"
        case Gather():
            return "gather"
        case Scatter(kind):
            return f"scatter_{kind}"
        case RandomWord():
            return "random"
        case _:
            return None


def _bytes_moved(step: Step, plan: Plan) -> int:
    match step:
        case Launch(kernel, buffers):
            ways = {"in": 1, "out": 1, "inout": 2}
            return sum(_bytes(plan, k) * ways[param.access] for k, param in zip(buffers, kernel.params))
        case Matmul():
            batch, m, n, k = step.sizes
            elements = m * k + k * n + m * n
            return batch * elements * DTYPES[step.dtype].itemsize
        case Host(_, _, operands, result, _):
            return sum(_bytes(plan, k) for k in (*(k for k, _ in operands), result) if k is not None)
        case Copy(source, target):
            return _bytes(plan, source) + _bytes(plan, target)
        case Check():
            return 0
        case _:
            assert_never(step)


def _bytes(plan: Plan, buffer: int) -> int:
    return number_of(plan.buffers[buffer].size) * DTYPES[plan.buffers[buffer].dtype].itemsize
