"""The text of a Plan, for people: buffers, steps with their kernels, and why they are as they are."""
from __future__ import annotations

from typing import assert_never

from codegen.ir.types import DTYPES
from codegen.schedule.kernel_text import print_kernel
from codegen.schedule.memory import LiveRange
from codegen.schedule.plan import Arena, Buffer, Check, Constant, Copy, Host, Input, Launch, Matmul, Output, Plan, Step


def print_plan(plan: Plan, decisions: bool = True) -> str:
    """The text of a plan.

        plan (f32[64,32]) -> (f32[64,32]), arena of 128 bytes {
          b0 = f32[2048] of input 0
          b1 = f32[2048] of output 0
          launch b0, b1: ...
        }
    """
    inputs, outputs = (", ".join(map(str, types)) for types in (plan.inputs, plan.outputs))
    lines = [f"plan ({inputs}) -> ({outputs}), arena of {plan.arena_bytes} bytes {{"]
    lines += [f"  output {o} in the storage of input {i}" for o, i in plan.aliases]
    lines += [f"  buffer {k} = {_buffer_text(buffer)}" for k, buffer in enumerate(plan.buffers)]
    for step in plan.steps:
        lines += [f"  {line}" for line in step_text(step).splitlines()]
    if decisions:
        lines += [f"  # {decision}" for decision in plan.decisions]
    return "\n".join([*lines, "}"]) + "\n"


def _buffer_text(buffer: Buffer) -> str:
    match buffer.place:
        case Input(k):
            place = f"input {k}"
        case Output(k):
            place = f"output {k}"
        case Arena(offset):
            place = f"arena at {offset}, {buffer.size * DTYPES[buffer.dtype].itemsize} bytes"
        case Constant():
            place = "the executable"
        case LiveRange(first, last, bytes):
            place = f"arena from step {first} to {last}, {bytes} bytes"
        case _:
            assert_never(buffer.place)
    return f"{buffer.dtype}[{buffer.size}] in {place}"


def step_text(step: Step) -> str:
    """The text of one step."""
    match step:
        case Launch(kernel, buffers, words):
            given = "".join(f", n{k} = {word}" for k, word in enumerate(words))
            return f"launch on {', '.join(map(str, buffers))}, {kernel.chunks} chunks{given}\n{print_kernel(kernel)}"
        case Matmul():
            a = f"{step.a} transposed" if step.transpose_a else f"{step.a}"
            b = f"{step.b} transposed" if step.transpose_b else f"{step.b}"
            sizes = f"{step.batch}x({step.m}x{step.k} @ {step.k}x{step.n})"
            return f"matmul {step.dtype} {sizes} of {a} and {b} into {step.c}"
        case Host(op, attrs, operands, result, type):
            read = ", ".join(f"{type}" if k is None else f"{k}: {type}" for k, type in operands)
            given = "".join(f" {name}={value}" for name, value in attrs)
            return f"host {op}{given} of {read} into {result}: {type}"
        case Copy(source, target):
            return f"copy {source} into {target}"
        case Check():
            return "check"
        case _:
            assert_never(step)
