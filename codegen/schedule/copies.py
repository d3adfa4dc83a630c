"""copies: copying is a launch as well, on a machine where all else is.

    copy %4 to input 2        for i < 768: v0 = load b0[i]; store b1[i] v0

So copies are done together with other small launches (see small_launches), and those of what the caller can see look
at the check themselves.
"""
from __future__ import annotations

from typing import cast

from codegen.ir.dims import Size
from codegen.ir.types import DTYPES
from codegen.schedule.expressions import Storage
from codegen.schedule.kernel import Axis, Index, Kernel, Load, Param, Pass, Store
from codegen.schedule.passes import Lowered
from codegen.schedule.tasks import Task, computed


def as_launch(task: Task, dtype: str, size: Size) -> Task:
    """The launch that copies what a copy does, so many elements; a copy of complex numbers stays one."""
    if DTYPES[dtype].kind == "c":
        return task
    (source,), (target,) = task.reads, task.writes
    axes = () if size == 1 else (Axis("i", size),)
    at = Index(tuple((axis.name, 1) for axis in axes))
    kernel = Kernel((Param(dtype, size, "in"), Param(dtype, size, "out")), axes,
                    (Pass((), (Load(0, at), Store(1, at, 0))),), axes[0].name if axes else None, 0)
    values = tuple(p for p in map(computed, task.writes) if isinstance(p, int))
    storages = cast(tuple[Storage, ...], (source, target))          # names of places are as good: see Task.place
    return Task(Lowered(kernel, storages, values), task.reads, task.writes)
