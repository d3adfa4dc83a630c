"""The text of a Plan, for people: buffers, steps with their kernels, and why they are as they are; and of programs."""
from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import assert_never

from codegen.ir.dims import Size
from codegen.ir.program import Branch, Exit, Jump, Return, Switch, Target
from codegen.ir.types import DTYPES
from codegen.schedule.kernel_text import print_kernel
from codegen.schedule.memory import LiveRange
from codegen.schedule.plan import (
    NOWHERE,
    Arena,
    Attention,
    Buffer,
    Check,
    Constant,
    Copy,
    Host,
    Input,
    Lane,
    Launch,
    Matmul,
    Output,
    Place,
    Plan,
    PlannedBlock,
    ProgramPlan,
    Spliced,
    Step,
)


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
        lines += [f"  # {decision.sentence}" for decision in plan.decisions]
    return "\n".join([*lines, "}"]) + "\n"


def print_program_plan(program: ProgramPlan, decisions: bool = True) -> str:
    """The text of a program's plan: its blocks, and the plans that they run; that of its plan if it is one block.

        program (f32[3], bool[]) with slots (f32[3]), arena of 64 bytes {
          block 0: plan A on input 0 into arena at 0
            branch on input 1 -> block 1, exit 1
          block 1: plan A on arena at 0 into slot 0
            return at end 0
        }
        A: plan (f32[3]) -> (f32[3]), arena of 0 bytes {
        ...
    """
    if len(program.blocks) == 1 and not any(isinstance(place, Constant) for place in program.blocks[0].inputs):
        return print_plan(program.blocks[0].plan, decisions)
    names = {id(plan): _name(k) for k, plan in enumerate(program.plans)}
    inputs, slots = (", ".join(map(str, types)) for types in (program.inputs, program.slots))
    lines = [f"program ({inputs}) with slots ({slots}), arena of {program.arena_bytes} bytes {{"]
    ends = iter(range(len(program.ends)))
    for number, block in enumerate(program.blocks):
        parts = [f"  block {number}: plan {names[id(block.plan)]}"]
        parts += [f"on {_places_text(block.inputs)}"] if block.inputs else []
        parts += [f"into {_places_text(block.outputs)}"] if block.outputs else []
        parts += [f"with room in arena at {block.room}"] if block.plan.arena_bytes else []
        lines.append(" ".join(parts))
        lines.append(f"    {_way_text(block, ends)}")
    texts = [f"{names[id(plan)]}: {print_plan(plan, decisions)}" for plan in program.plans]
    return "\n".join([*lines, "}", *texts])


def _name(number: int) -> str:
    """A, B, .. Z, AA, AB, .."""
    first, last = divmod(number, 26)
    return (_name(first - 1) if first else "") + chr(ord("A") + last)


def _places_text(places: Iterable[Place]) -> str:
    return ", ".join(map(_place_text, places))


def _place_text(place: Place) -> str:
    match place:
        case Input(k):
            return f"input {k}"
        case Output(k):
            return f"slot {k}"
        case Arena(offset):
            return f"arena at {offset}"
        case Lane(k):
            return f"lane {k}"
        case Constant():
            return "the executable"
        case _:
            assert_never(place)


def _way_text(block: PlannedBlock, ends: Iterator[int]) -> str:
    on = f" on {block.decider[1]} in {_place_text(block.decider[0])}" if block.decider else ""

    def target(t: Target) -> str:
        return f"exit {t.number}" if isinstance(t, Exit) else f"block {t.block}"

    match block.terminator:
        case Branch(_, then, else_):
            return f"branch{on} -> {target(then)}, {target(else_)}"
        case Switch(_, cases, default):
            return f"switch{on} {{{', '.join(f'{n}: {target(t)}' for n, t in cases)}}}, {target(default)}"
        case Jump(only):
            return f"jump {target(only)}"
        case Return():
            return f"return at end {next(ends)}"
        case _:
            assert_never(block.terminator)


def _buffer_text(buffer: Buffer) -> str:
    match buffer.place:
        case Input(k):
            place = f"input {k}"
        case Output(k):
            place = f"output {k}"
        case Arena(offset):
            place = f"arena at {offset}, {buffer.size * DTYPES[buffer.dtype].itemsize} bytes"
        case Lane(k):
            place = f"lane {k}"
        case Constant():
            place = "the executable"
        case LiveRange(first, last, bytes):
            place = f"arena from step {first} to {last}, {bytes} bytes"
        case _:
            assert_never(buffer.place)
    start = f", from element {buffer.start} on" if buffer.start else ""
    return f"{buffer.dtype}[{buffer.size}] in {place}{start}"


def step_text(step: Step) -> str:
    """The text of one step."""
    match step:
        case Launch(kernel, buffers, words, beside):
            head = f"{'beside it, ' if beside else ''}launch on {', '.join(map(str, buffers))}"
            return f"{head}, {kernel.chunks} chunks{_given_text(words)}\n{print_kernel(kernel)}"
        case Matmul():
            a, b, c = ("its tiles" if k == NOWHERE else str(k) for k in (step.a, step.b, step.c))
            a, b = (f"{x} transposed" if turned else x for x, turned in ((a, step.transpose_a), (b, step.transpose_b)))
            sizes = f"{step.batch}x({step.m}x{step.k} @ {step.k}x{step.n})"
            return f"matmul {step.dtype} {sizes} of {a} and {b} into {c}" + _given_text(step.words)
        case Spliced(product):
            lines = [step_text(product)]
            for name, part in (("left", step.left), ("right", step.right), ("behind", step.behind)):
                if part:
                    on = ", ".join(map(str, (*part.buffers, "tile")))
                    lines += [f"{name} on {on}", print_kernel(part.kernel).rstrip("\n")]
            return "\n".join(lines)
        case Attention(scores, rows, result):
            on = ", ".join(map(str, rows.buffers))
            beyond = "" if step.reach is None else f", in row i -inf from column i + {step.reach} on"
            lines = [f"attention: scores{beyond}", step_text(scores), f"weights of rows{' on ' * bool(on)}{on}",
                     print_kernel(rows.kernel).rstrip("\n"), "result", step_text(result)]
            return "\n".join(lines)
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


def _given_text(words: Iterable[Size]) -> str:
    return "".join(f", n{k} = {word}" for k, word in enumerate(words))
