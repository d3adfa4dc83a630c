"""What a plan has to do, checked on NumPy: the outputs of the graph, in its storage, and nothing else.

    agree(graph, inputs, aliases, machine)     schedules, verifies every kernel, runs the plan, compares with interpret
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from codegen.ir.graph import Graph
from codegen.ir.interpret import interpret
from codegen.ir.program import Exit
from codegen.ir.types import DTYPES
from codegen.schedule.kernel import Kernel
from codegen.schedule.kernel_interpret import run_plan
from codegen.schedule.kernel_text import parse_kernel, print_kernel
from codegen.schedule.kernel_verify import verify_kernel
from codegen.schedule.machine import Machine
from codegen.schedule.pipeline import schedule
from codegen.schedule.plan import Arena, Attention, Input, Launch, Output, Plan, Spliced

TINY = Machine(serial_work=8, chunk_work=4, most_chunks=4, least_joined=2)
"""A machine for which small shapes are large: chunks, and reductions in two kernels."""

AT_ONCE = Machine(at_once=True, cheap=64, shelf_worth=0, serial_work=8, chunk_work=4, most_chunks=64, least_joined=2)
"""A GPU for which small shapes are large."""

SPLICING = replace(AT_ONCE, splices=lambda *product: True, attends=lambda *sizes: 1 not in sizes[2:],
                   products=frozenset({"f16", "bf16", "f32", "f64"}))
"""The same, with every product in tiles, and what weights are made for in one launch with what they are made of."""

NARROW = Machine(most_operations=12)
"""A machine that takes short kernels only."""


def kernels_of(plan: Plan) -> list[Kernel]:
    """The kernels of a plan, in the order of their launches."""
    return [step.kernel for step in plan.steps if isinstance(step, Launch)]


def agree(graph: Graph, inputs: Sequence[np.ndarray], aliases: tuple[tuple[int, int], ...] = (),
          machine: Machine | None = None, rtol: float = 1e-4, atol: float = 1e-5) -> Plan:
    """The plan of `graph`, after checking it: well-formed kernels, right outputs, inputs written only where aliased."""
    expected = interpret(graph, inputs)
    plan = schedule(graph, aliases, machine)
    assert_apart(plan)
    parts = [part.kernel for step in plan.steps if isinstance(step, Spliced | Attention) for part in step.parts]
    for kernel in (*kernels_of(plan), *parts):
        verify_kernel(kernel)
        assert parse_kernel(print_kernel(kernel)) == kernel
    given = [np.array(x, order="C") for x in inputs]
    found = run_plan(plan, given)
    written = {input: output for output, input in aliases}
    if isinstance(expected, Exit):
        assert found is None, "the plan goes on where an index is out of bounds"
        written = {}
    else:
        assert found is not None, "the plan leaves at its check, and every index is in bounds"
        for k, (x, y) in enumerate(zip(found, expected, strict=True)):
            assert (x.dtype, x.shape) == (y.dtype, y.shape)
            np.testing.assert_allclose(x, y, rtol=rtol, atol=atol, err_msg=f"output {k}")
    for k, (before, after) in enumerate(zip(inputs, given)):
        wanted = expected[written[k]] if k in written else before
        np.testing.assert_allclose(after, wanted, rtol=rtol, atol=atol, err_msg=f"input {k}")
    return plan


def assert_apart(plan: Plan) -> None:
    """No launch touches memory that another one writes which is done at once with it; `run_plan` does one after the
    other."""
    row: list[Launch] = []
    for step in plan.steps:
        if not isinstance(step, Launch):
            row = []
            continue
        row = [*row, step] if step.beside else [step]
        for other in row[:-1]:
            for one, two in ((step, other), (other, step)):
                for param, written in zip(one.kernel.params, one.buffers, strict=True):
                    shared = [b for b in two.buffers if param.access != "in" and _overlap(plan, written, b)]
                    assert not shared, f"buffer {written} is written at once with what touches buffers {shared}"


def _overlap(plan: Plan, a: int, b: int) -> bool:
    (one, first, end), (two, start, stop) = _memory(plan, a), _memory(plan, b)
    return one == two and first < stop and start < end


def _memory(plan: Plan, number: int) -> tuple[object, int, int]:
    """Whose memory a buffer is, and its first byte and that behind its last one there."""
    buffer = plan.buffers[number]
    item = DTYPES[buffer.dtype].itemsize
    begin, end = int(buffer.start) * item, int(buffer.start + buffer.size) * item
    match buffer.place:
        case Arena(offset):
            return "arena", offset + begin, offset + end
        case Output(output) if output in (shared := dict(plan.aliases)):
            return Input(shared[output]), begin, end
        case place:
            return place, begin, end
