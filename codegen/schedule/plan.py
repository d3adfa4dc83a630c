"""Plan: what one run of a Graph does, as data: buffers, and steps in the order in which they run.

A ProgramPlan has one for each block of a tree, and says where in the program's storage what it reads and writes is.

1. A step reads only what the caller provided or an earlier step wrote.
2. Arena buffers whose live ranges overlap do not overlap in the arena.
3. No step after which a Check can still fail writes storage that the caller can see (an input or an aliased output).
"""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import field

from codegen.ir.dims import Dim, Size, number_of
from codegen.ir.graph import Attr
from codegen.ir.program import Goto, Return, Terminator, targets_of
from codegen.ir.structs import struct
from codegen.ir.types import TensorType
from codegen.schedule.kernel import Kernel
from codegen.schedule.memory import LiveRange


class CannotLower(Exception):
    """A graph holds what the scheduler or a target has no code for; the message is a sentence that says what."""


class NoDevice(CannotLower):
    """There is nothing here that could run, or compile, what the target makes; the message says what to do."""


class TooMuchMemory(CannotLower):
    """What has symbols for sizes would work in more than its budget, which is met for each size by itself."""


@struct
class Input:
    """The storage of input `index`, C-contiguous."""

    index: int


@struct
class Output:
    """The storage of output `index`, C-contiguous."""

    index: int


@struct
class Arena:
    """Bytes from `offset` (a multiple of 64) in the executable's arena."""

    offset: int


@struct
class Constant:
    """Storage of the executable's own that holds these bytes."""

    data: bytes


@struct
class Lane:
    """Part `index` of the arena of a program with symbols: as long as the longest of what is in it at its time."""

    index: int


Place = Input | Output | Arena | Constant | Lane


@struct
class Buffer:
    """`size` elements of `dtype` at `place`, from element `start` of it on.

    In a plan with symbols, whose arena is not planned yet, the place is a live range.
    """

    dtype: str
    size: Size
    place: Place | LiveRange
    start: Size = 0


@struct
class Launch:
    """Run a kernel on the buffers that are its params, in order, and give it its words.

    `beside`: at once with the launch before it; such launches in a row, and the one before them, touch nothing that
    another of them writes.
    """

    kernel: Kernel
    buffers: tuple[int, ...]
    words: tuple[Size, ...] = ()
    beside: bool = False


@struct
class Matmul:
    """c[n] = a[n] @ b[n] for n < batch, row-major. a is m*k (k*m if transpose_a), b k*n (n*k if transpose_b), c m*n.

    `given`: batch, m, n and k in the words n0, n1, ... where sizes have symbols in them; `words`: what those are.
    """

    a: int
    b: int
    c: int
    dtype: str
    batch: Size
    m: Size
    n: Size
    k: Size
    transpose_a: bool
    transpose_b: bool
    given: tuple[Size, Size, Size, Size] | None = None
    words: tuple[Size, ...] = ()

    @property
    def sizes(self) -> tuple[int, int, int, int]:
        """batch, m, n and k, as numbers."""
        return number_of(self.batch), number_of(self.m), number_of(self.n), number_of(self.k)


NOWHERE = -1
"""The number of a buffer that there is none for."""


@struct
class Part:
    """What is done at the points of a product: a kernel, and the buffers that are its params but for the last.

    That is the tile: an operand, which it stores, or the result, which it loads. Its axes are z < batch and two of
    i < m, j < n and k, its words those of the product.
    """

    kernel: Kernel
    buffers: tuple[int, ...]

    @property
    def tiles(self) -> int:
        """How many params are tiles."""
        return len(self.kernel.params) - len(self.buffers)


@struct
class Spliced:
    """A product in tiles: `left` and `right` make its operands, `behind` is done with its result.

    What is made so, or is read so, is NOWHERE in memory.
    """

    product: Matmul
    left: Part | None = None
    right: Part | None = None
    behind: Part | None = None

    @property
    def parts(self) -> tuple[Part, ...]:
        """Those that there are."""
        return tuple(part for part in (self.left, self.right, self.behind) if part is not None)


@struct
class Attention:
    """Two products: `scores`, behind which a kernel makes scores of its tiles; `result`, whose left operand is made of
    these, row by row, and is nowhere else:

        weight = exp(score - shift)         shift: the largest score of the row, 0 where that is -inf
        result = (weight @ right) * f       f: what `rows` makes of the largest score and of the sum of the weights

    The last two params of what is behind `scores` are its tile, which it loads, and the scores, which it stores. The
    last of `rows`, whose axes are z < batch and i < m, are the largest score, the sum, f, and the `read` numbers of the
    row that are the params of what is behind `result` before its last one. `reach`: in row i all scores are -inf from
    column i + reach on, if that is known.
    """

    scores: Spliced
    rows: Part
    result: Spliced
    read: int
    reach: int | None = None

    @property
    def parts(self) -> tuple[Part, ...]:
        """What is done at the points of products, and of rows."""
        return (*self.scores.parts, self.rows, *self.result.parts)


@struct
class Host:
    """Run the reference of `op` on whole arrays, in Python on the host: what no kernel can be made of.

    operands: the buffer and the type of each; the buffer is None where the type has no elements. The reference may
    refuse its operands; then a later Check leaves.
    """

    op: str
    attrs: tuple[tuple[str, Attr], ...]
    operands: tuple[tuple[int | None, TensorType], ...]
    result: int
    type: TensorType


@struct
class Copy:
    """Copy the whole of buffer `source` to buffer `target`, equal in size."""

    source: int
    target: int


@struct
class Check:
    """Leave at exit 0 if an earlier step failed: a kernel with a check, or a reference that refused its operands."""


Step = Launch | Matmul | Spliced | Attention | Host | Copy | Check


def at_once(steps: Sequence[Step]) -> Iterator[range]:
    """The numbers of steps, those that are one launch together in one range."""
    first = 0
    for k in range(1, len(steps) + 1):
        if k == len(steps) or not (isinstance(step := steps[k], Launch) and step.beside):
            yield range(first, k)
            first = k


def written(step: Step) -> tuple[int, ...]:
    """The buffers that a step writes."""
    match step:
        case Launch(kernel, buffers):
            return _stored(buffers, kernel)
        case Matmul(c=target) | Host(result=target) | Copy(target=target):
            return (target,)
        case Spliced(product, _, _, behind):
            return (product.c,) if behind is None else _stored(behind.buffers, behind.kernel)
        case Attention(_, rows, result):
            return (*_stored(rows.buffers, rows.kernel), *written(result))
        case Check():
            return ()


def _stored(buffers: tuple[int, ...], kernel: Kernel) -> tuple[int, ...]:
    return tuple(b for b, param in zip(buffers, kernel.params) if param.access != "in")


@struct
class Decision:
    """Why steps are as they are: a sentence about a value of the graph. `parts`: it keeps two steps from being one."""

    value: int
    sentence: str
    parts: bool = False


@struct
class Origin:
    """What a step computes: values of the graph, and the user's lines that asked for them. `again`: not for the first
    time."""

    values: tuple[int, ...]
    lines: tuple[str, ...]
    again: bool = False


@struct
class Plan:
    """`inputs` and `outputs` are the types of the graph; aliases maps an output to the input whose storage it shares.

    Sizes may have symbols in them: then a plan is not run but bound to numbers for them (see binding). `symbolic`: the
    sizes in the graph that have, each of which has to be at least 1.
    `decisions`: why the steps are as they are, and `origins`: what each of them computes, for people.
    """

    inputs: tuple[TensorType, ...]
    outputs: tuple[TensorType, ...]
    aliases: tuple[tuple[int, int], ...]
    buffers: tuple[Buffer, ...]
    steps: tuple[Step, ...]
    arena_bytes: int
    symbolic: tuple[Dim, ...] = ()
    decisions: tuple[Decision, ...] = field(default=(), compare=False)
    origins: tuple[Origin, ...] = field(default=(), compare=False)


@struct
class PlannedBlock:
    """A plan among others. `inputs`, `outputs`: where in the program the plan's are; `room`: where its arena begins, or
    the lanes that what it works in lies in (see lanes).

    `terminator`: its Gotos pass nothing. `decider`: where the value is that it looks at, and the dtype of that.
    """

    plan: Plan
    inputs: tuple[Place, ...]
    outputs: tuple[Place, ...]
    room: int | tuple[int, ...]
    terminator: Terminator
    decider: tuple[Place, str] | None = None

    def place(self, place: Place | LiveRange) -> Place:
        """Where in the program a place of the plan is."""
        match place:
            case Input(index):
                return self.inputs[index]
            case Output(index):
                return self.outputs[index]
            case Arena(offset) if isinstance(self.room, int):
                return Arena(self.room + offset)
            case Constant():
                return place
            case _:
                raise ValueError("a plan with symbols has to be bound to numbers first")


@struct
class ProgramPlan:
    """What one run of a tree does. Input(k) is that of the program, Output(k) the array for slot k.

    `ends`: for each block that returns, in order, the position of each output among inputs and slots.
    `unbounded_bytes`: what the arena would be without a budget for it, if it is another.
    """

    inputs: tuple[TensorType, ...]
    slots: tuple[TensorType, ...]
    ends: tuple[tuple[int, ...], ...]
    blocks: tuple[PlannedBlock, ...]
    arena_bytes: int
    unbounded_bytes: int | None = field(default=None, compare=False)

    @property
    def ways(self) -> tuple[tuple[int, ...], ...]:
        """For each block that returns, in order, the blocks on the way to it, itself included."""
        above = {target.block: k for k, block in enumerate(self.blocks) for target in targets_of(block.terminator)
                 if isinstance(target, Goto)}
        found = []
        for k, block in enumerate(self.blocks):
            if isinstance(block.terminator, Return):
                way = [k]
                while way[-1] in above:
                    way.append(above[way[-1]])
                found.append(tuple(reversed(way)))
        return tuple(found)

    @property
    def plans(self) -> tuple[Plan, ...]:
        """The plans of the blocks, in order, each once."""
        return tuple({id(block.plan): block.plan for block in self.blocks}.values())

    @property
    def steps(self) -> tuple[Step, ...]:
        """The steps of these plans."""
        return tuple(step for plan in self.plans for step in plan.steps)
