"""What the steps of a Plan of known sizes do, for people: a line for each, how many bytes it moves, and why it is one.

    kernel (b0: f32[18] in, b1: f32[1] out) { ... }   ->   "kernel over 18: tanh, mul, sum; mul", 76 bytes

Bytes moved are those of every buffer that a step reads or writes, counted once each way: what would pass between
memory and the processor if no cache held any of it.
"""
from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import field, replace
from math import prod
from typing import assert_never

from codegen.ir.dims import number_of
from codegen.ir.structs import struct
from codegen.ir.types import DTYPES
from codegen.schedule.flops import flops_of
from codegen.schedule.half_products import HALVES
from codegen.schedule.kernel import (
    Accumulate,
    Binary,
    Cast,
    Gather,
    Holds,
    Kernel,
    Pass,
    RandomWord,
    Scan,
    Scatter,
    Select,
    Statement,
    Unary,
)
from codegen.schedule.kernel_text import print_kernel
from codegen.schedule.plan import (
    NOWHERE,
    Attention,
    Check,
    Copy,
    Decision,
    Host,
    Launch,
    Matmul,
    Origin,
    Part,
    Plan,
    Spliced,
    Step,
)
from codegen.schedule.plan_text import step_text
from codegen.schedule.sizes import kernel_at

MOST_OPS = 12           # of a pass, the rest is counted


@struct
class Listings:
    """What a target makes of a step, given with those that are one launch with it, as text: LLVM IR or Triton, and
    assembly; "" for what it makes no code of its own for."""

    llvm: Callable[..., str]
    asm: Callable[..., str]
    triton: Callable[..., str] = lambda step, *beside: ""


@struct
class StepTime:
    """How long a step took, over the `runs` that were profiled: in seconds, all of them and the shortest."""

    runs: int = 0
    total: float = 0.0
    shortest: float = float("inf")

    def plus(self, nanoseconds: int) -> StepTime:
        """With one more run."""
        seconds = nanoseconds * 1e-9
        return StepTime(self.runs + 1, self.total + seconds, min(self.shortest, seconds))

    def and_also(self, other: StepTime) -> StepTime:
        """Over the runs of both."""
        return StepTime(self.runs + other.runs, self.total + other.total, min(self.shortest, other.shortest))

    def scaled(self, part: float) -> StepTime:
        """A part of it."""
        return StepTime(self.runs, self.total * part, self.shortest * part)

    @property
    def mean(self) -> float:
        """Seconds of a run."""
        return self.total / self.runs


@struct
class StepReport:
    """One step: what it does, the bytes it moves, all of it as text.

    `bytes_written` are among those moved; `flops`: floating-point operations; `dtype`: of most of its bytes; `lines`:
    the user's, that asked for what it computes; `decisions`: why it is a step, and what others it is not one with;
    `time`: how long it took, if it was ever profiled. `beside`: the steps that are one launch with it.
    """

    summary: str
    bytes_moved: int
    text: str
    bytes_written: int = 0
    flops: int = 0
    dtype: str = ""
    lines: tuple[str, ...] = ()
    decisions: tuple[Decision, ...] = ()
    time: StepTime | None = field(default=None, compare=False)
    step: Step | None = field(default=None, compare=False, repr=False)
    beside: tuple[Step, ...] = field(default=(), compare=False, repr=False)
    listings: Listings | None = field(default=None, compare=False, repr=False)

    @property
    def why(self) -> tuple[str, ...]:
        """Each of the decisions as a sentence."""
        return tuple(decision.sentence for decision in self.decisions)

    @property
    def ir(self) -> str:
        """The text of the kernel; of a step that has none, the step's."""
        return print_kernel(self.step.kernel) if isinstance(self.step, Launch) else self.text

    @property
    def llvm(self) -> str:
        """The LLVM IR that is compiled; "" for a step without code of its own: a copy, a check, a call of the host."""
        return "" if self.listings is None or self.step is None else self.listings.llvm(self.step, *self.beside)

    @property
    def triton(self) -> str:
        """The Triton that is compiled, on a target that works so."""
        return "" if self.listings is None or self.step is None else self.listings.triton(self.step, *self.beside)

    @property
    def asm(self) -> str:
        """The same as assembly of this machine's processor."""
        return "" if self.listings is None or self.step is None else self.listings.asm(self.step, *self.beside)


def step_reports(plan: Plan, listings: Listings | None = None) -> tuple[StepReport, ...]:
    """A report for each step, in order."""
    origins = plan.origins or (Origin((), ()),) * len(plan.steps)
    return tuple(_report(step, origin, plan, listings) for step, origin in zip(plan.steps, origins, strict=True))


def together(reports: Sequence[StepReport]) -> StepReport:
    """What steps that are one launch do, as the report of the first."""
    if len(reports) == 1:
        return reports[0]
    return replace(
        reports[0], summary=f"{len(reports)} at once: {reports[0].summary}", lines=_united(r.lines for r in reports),
        text="\n".join(r.text for r in reports), bytes_moved=sum(r.bytes_moved for r in reports),
        bytes_written=sum(r.bytes_written for r in reports), flops=sum(r.flops for r in reports),
        beside=tuple(r.step for r in reports[1:] if r.step is not None))


def _united(several: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(line for lines in several for line in lines))


def _report(step: Step, origin: Origin, plan: Plan, listings: Listings | None) -> StepReport:
    read, written = _bytes_read_and_written(step, plan)
    decisions = tuple(d for d in plan.decisions if d.value in origin.values)
    summary = "again: " * origin.again + _summary(step)
    return StepReport(summary, read + written, step_text(step), written, flops_of(step), _dtype(step), origin.lines,
                      decisions, None, step, (), listings)


def _summary(step: Step) -> str:
    match step:
        case Launch(kernel, _, words):
            passes = [text for one in kernel.passes if (text := _ops(one))]
            known = kernel_at(kernel, tuple(map(number_of, words)))
            return f"kernel over {_extents(known)}: {'; '.join(passes) or 'copies'}"
        case Matmul():
            batch, m, n, k = step.sizes
            return f"matmul {f'{batch} times ' if batch > 1 else ''}{m}x{k} @ {k}x{n} of {step.dtype}"
        case Spliced(product):
            parts = (("of ", step.left), ("by ", step.right), ("", step.behind))
            more = [f"{name}{_ops(part.kernel.passes[0]) or 'what is moved'}" for name, part in parts if part]
            return f"{_summary(product)}, in its tiles {'; '.join(more)}"
        case Host(op, _, operands, _, type):
            return f"{op} on the host: {', '.join(str(type) for _, type in operands)} -> {type}"
        case Attention(scores, _, result):
            return f"attention: {_summary(scores)}; weights by exp, row by row; {_summary(result)}"
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
        case Holds():
            return None
        case Scatter(kind):
            return f"scatter_{kind}"
        case RandomWord():
            return "random"
        case _:
            return None


def _dtype(step: Step) -> str:
    match step:
        case Launch(kernel, _, words):
            params = kernel_at(kernel, tuple(map(number_of, words))).params
            return max(params, key=lambda p: number_of(p.size) * DTYPES[p.dtype].itemsize).dtype if params else ""
        case Matmul(dtype=dtype):
            return f"products of {dtype}" if dtype in HALVES else dtype
        case Spliced(product):
            return _dtype(product)
        case Attention(scores):
            return _dtype(scores)
        case _:
            return ""


def _bytes_read_and_written(step: Step, plan: Plan) -> tuple[int, int]:
    match step:
        case Launch(kernel, buffers):
            sizes = [(_bytes(plan, k), param.access) for k, param in zip(buffers, kernel.params)]
            return (sum(size for size, access in sizes if access != "out"),
                    sum(size for size, access in sizes if access != "in"))
        case Matmul():
            batch, m, n, k = step.sizes
            item = DTYPES[step.dtype].itemsize
            moved = zip((step.a, step.b, step.c), (m * k, k * n, m * n))
            a, b, c = (0 if buffer == NOWHERE else batch * size * item for buffer, size in moved)
            return a + b, c
        case Spliced(product):
            return _sum([_bytes_read_and_written(product, plan), *(_of_part(part, plan) for part in step.parts)])
        case Attention(scores, rows, result):
            return _sum([*(_bytes_read_and_written(one, plan) for one in (scores, result)), _of_part(rows, plan)])
        case Host(_, _, operands, result, _):
            return sum(_bytes(plan, k) for k, _ in operands if k is not None), _bytes(plan, result)
        case Copy(source, target):
            return _bytes(plan, source), _bytes(plan, target)
        case Check():
            return 0, 0
        case _:
            assert_never(step)


def _of_part(part: Part, plan: Plan) -> tuple[int, int]:
    access = [(_bytes(plan, buffer), param.access) for buffer, param in zip(part.buffers, part.kernel.params)]
    return _sum([(size * (way != "out"), size * (way != "in")) for size, way in access])


def _sum(moved: Sequence[tuple[int, int]]) -> tuple[int, int]:
    return sum(read for read, _ in moved), sum(written for _, written in moved)


def _bytes(plan: Plan, buffer: int) -> int:
    return number_of(plan.buffers[buffer].size) * DTYPES[plan.buffers[buffer].dtype].itemsize
