"""binding: a plan with symbols and numbers for them -> a plan of numbers, whose kernels are the same ones.

    plan (f32[b,64], f32[]) -> ...          at b = 24, with 0.125 for input 1:
      buffer 0 = f32[64*b] of input 0         buffer 0 = f32[1536] of input 0
      buffer 1 = f32[] of input 1             buffer 1 = f32[1] in the executable
      launch on 0, 1, 2, n0 = b               launch on 0, 1, 2, n0 = 24

Nothing is compiled: words, chunks and places are data. CannotLower where the plan does not serve these numbers.
"""
from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from codegen.ir.dims import Size, evaluate
from codegen.ir.graph import Attr
from codegen.ir.types import TensorType
from codegen.schedule.kernel import Kernel
from codegen.schedule.memory import LiveRange, arena_offsets
from codegen.schedule.plan import (
    NOWHERE,
    Arena,
    Attention,
    Buffer,
    CannotLower,
    Constant,
    Host,
    Input,
    Launch,
    Matmul,
    Part,
    Plan,
    Spliced,
    Step,
)
from codegen.schedule.sizes import LARGEST, fits, kernel_at


def plan_at(plan: Plan, binding: Mapping[str, int], constants: Sequence[np.ndarray] = ()) -> Plan:
    """The plan where each symbol is the number in `binding`, and the last inputs are these constants of their types."""
    if any(number < 2 for number in binding.values()):
        raise CannotLower(f"a symbol stands for sizes from 2 on, not for one of {dict(binding)}")
    for size in plan.symbolic:
        if evaluate(size, binding) < 1:
            raise CannotLower(f"the size {size} is {evaluate(size, binding)} at {dict(binding)}")
    first = len(plan.inputs) - len(constants)

    def at(type: TensorType) -> TensorType:
        return TensorType(type.dtype, tuple(evaluate(size, binding) for size in type.shape))

    def attr_at(value: Attr) -> Attr:
        return tuple(evaluate(size, binding) for size in value) if isinstance(value, tuple) else value

    def too_large() -> CannotLower:
        return CannotLower(f"at {dict(binding)} an index of a kernel is too large for 30 bits")

    def words_at(kernels: Iterable[tuple[Kernel, int]], words: tuple[Size, ...]) -> tuple[int, ...]:
        numbers = tuple(evaluate(word, binding) for word in words)
        if not all(fits(kernel_at(kernel, numbers), tiles) for kernel, tiles in kernels):
            raise too_large()
        return numbers

    def product_at(step: Matmul, parts: tuple[Part, ...] = ()) -> Matmul:
        batch, m, n, k = (evaluate(size, binding) for size in (step.batch, step.m, step.n, step.k))
        sizes = ((step.a, m * k), (step.b, k * n), (step.c, m * n))
        if step.words and any(batch * size >= LARGEST for buffer, size in sizes if buffer != NOWHERE):
            raise too_large()
        words = words_at([(part.kernel, part.tiles) for part in parts], step.words)
        return replace(step, batch=batch, m=m, n=n, k=k, words=words)

    def spliced_at(step: Spliced) -> Spliced:
        return replace(step, product=product_at(step.product, step.parts))

    def step_at(step: Step) -> Step:
        match step:
            case Launch(kernel, _, words) if words:
                return replace(step, words=words_at([(kernel, 0)], words))
            case Matmul():
                return product_at(step)
            case Spliced():
                return spliced_at(step)
            case Attention(scores, rows, result):
                words_at([(rows.kernel, rows.tiles)], scores.product.words)
                return replace(step, scores=spliced_at(scores), result=spliced_at(result))
            case Host(op, attrs, operands, result, type):
                given = tuple((name, attr_at(value)) for name, value in attrs)
                return Host(op, given, tuple((k, at(one)) for k, one in operands), result, at(type))
            case _:
                return step

    ranges = {id(b.place): replace(b.place, bytes=evaluate(b.place.bytes, binding)) for b in plan.buffers
              if isinstance(b.place, LiveRange)}
    offsets, arena_bytes = arena_offsets([*ranges.values()]) if ranges else ([], plan.arena_bytes)
    offset_of = dict(zip(ranges, offsets))

    def buffer_at(buffer: Buffer) -> Buffer:
        size, start = evaluate(buffer.size, binding), evaluate(buffer.start, binding)
        match buffer.place:
            case LiveRange():
                return Buffer(buffer.dtype, size, Arena(offset_of[id(buffer.place)]), start)
            case Input(index) if index >= first:
                return Buffer(buffer.dtype, size, Constant(constants[index - first].tobytes()), start)
            case _:
                return Buffer(buffer.dtype, size, buffer.place, start)

    return replace(plan, inputs=tuple(map(at, plan.inputs[:first])), outputs=tuple(map(at, plan.outputs)),
                   buffers=tuple(map(buffer_at, plan.buffers)), steps=tuple(map(step_at, plan.steps)),
                   arena_bytes=arena_bytes, symbolic=())
