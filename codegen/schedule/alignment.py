"""alignment: a matrix of the caller's that many products of one row read is copied, to begin with a line of memory.

    %9 = matmul %8, %1      64 of these, %1 an input       copy of %1, which they read

NumPy's arrays begin anywhere on 16 bytes, so that vectors lie across lines of the cache, each of which takes two reads;
in the arena they do not. A product of one row does little else than to read its matrix: measured, one of 64x64 takes
0.75 to 0.8 of the time, of 128x128 0.8, of 256x256, from the second cache, 0.9, and a copy as long as one of them.
"""
from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from codegen.ir.dims import Dim
from codegen.ir.types import DTYPES
from codegen.schedule.calls import Product
from codegen.schedule.forms import StaticGraph
from codegen.schedule.plan import Decision
from codegen.schedule.tasks import Aligned, Task, copy

MANY = 16
"""Products that a copy is worth."""

MOST_BYTES = 1 << 18
"""Of what is larger, and comes from further away, the time is not that of reads from the first cache."""


def aligned(graph: StaticGraph, tasks: Sequence[Task]) -> tuple[list[Task], list[Decision]]:
    """The tasks, with a copy before the first product that is to read one; and what was decided."""
    matrices = [_matrix(graph, task) for task in tasks]
    counts = Counter(v for v in matrices if v is not None)
    found: list[Task] = []
    decisions: list[Decision] = []
    for task, v in zip(tasks, matrices):
        if v is None or counts[v] < MANY:
            found.append(task)
            continue
        if not any(decision.value == v for decision in decisions):
            found.append(copy(v, Aligned(v)))
            decisions.append(Decision(v, f"input {v} is copied, to begin with a line of memory, since {counts[v]} "
                                         f"products of one row read it"))
        found.append(Task(task.work, task.reads - {v} | {Aligned(v)}, task.writes))
    return found, decisions


def _matrix(graph: StaticGraph, task: Task) -> int | None:
    """The input that a product reads as the matrix beside its one row or column, if it is small enough."""
    match task.work:
        case Product(a, b, batch=1, m=m, n=n) if a != b and 1 in (m, n):
            v = b if m == 1 else a
            size = graph.sizes[v]
            small = not isinstance(size, Dim) and size * DTYPES[graph.dtype(v)].itemsize <= MOST_BYTES
            return v if v < graph.first and small else None
    return None
