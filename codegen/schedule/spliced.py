"""spliced: what is done at each point beside a product becomes part of it, and what lay between them is never stored.

    %3 = product of %0 and %1: 64x512               %3 = product of %0 and %1, whose tiles go on to be
    kernel for i < 32768: load %3[i]          ->      kernel for i < 64: for j < 512: load tile[512*i+j]
      load %2[i%512], add, store %4[i]                  load %2[j], add, store %4[512*i+j]

1. A kernel is spliced behind a product if it is the first to read it and does so over exactly its points. The product
   itself is stored too, by that kernel, if anything else reads it.
2. A kernel is spliced before a product if it makes an operand at its points, which nothing else reads, and is cheap:
   each tile that needs a point computes it.
3. A kernel with reductions, checks or scatters is not spliced.
4. Of a spliced kernel the last param is the tile: it is no storage. Its axes are z < batch and two of i < m, j < n and
   k: (z, i, j) behind, (z, i, k) for the left operand, (z, k, j) for the right one.
"""
from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from math import prod

from codegen.ir.dims import Size, Undecided, typical
from codegen.ir.types import DTYPES
from codegen.schedule.calls import Product
from codegen.schedule.costs import CHEAP, cost_of
from codegen.schedule.index import Extents, axes_of, axis, flatten, substitute, unflatten
from codegen.schedule.kernel import (
    Accumulate,
    Axis,
    Gather,
    Index,
    Kernel,
    Load,
    Param,
    Pass,
    Scan,
    Scatter,
    Statement,
    Store,
    buffer_of,
    makes_value,
    with_indices,
)
from codegen.schedule.machine import Machine
from codegen.schedule.passes import Lowered
from codegen.schedule.plan import Matmul
from codegen.schedule.tasks import Place, Splice, Task, splice_of

MOST_AGAIN = 1024
"""Rows or columns of a result for all of which an operand may be computed again, one tile after the other."""


def spliced(tasks: Sequence[Task], machine: Machine, dtypes: Sequence[str], kept: Collection[Place]) -> list[Task]:
    """The tasks with kernels spliced into products. `dtypes`: of the values; `kept`: those read by more than tasks."""
    found: list[Task | None] = list(tasks)
    for number in reversed(range(len(tasks))):
        splice = _plain(tasks[number], machine, dtypes)
        if splice is not None:
            _splice_behind(found, number, splice, kept)
    for number, task in enumerate(found):
        splice = None if task is None else _plain(task, machine, dtypes)
        if splice is not None:
            _splice_before(found, number, splice, kept)
    return [task for task in found if task is not None]


def _plain(task: Task, machine: Machine, dtypes: Sequence[str]) -> Splice | None:
    """The product that a task is, if something can be spliced into it."""
    splice = splice_of(task, dtypes)
    if splice is None or splice is task.work:
        return splice
    product = splice.product
    fits = machine.splices(splice.dtype, product.batch, product.m, product.n, product.k)
    return splice if fits else None


def _splice_behind(tasks: list[Task | None], number: int, splice: Splice, kept: Collection[Place]) -> None:
    """Move product `number` to the first task that reads it, if that can be spliced behind it."""
    task, value = tasks[number], splice.value
    readers = [k for k, other in enumerate(tasks) if other is not None and value in other.reads]
    if task is None or not readers or is_written(task.reads | {value}, tasks[number + 1:readers[0]]):
        return
    first = tasks[readers[0]]
    assert first is not None
    stored = value in kept or len(readers) > 1
    behind = _behind(first, splice, stored)
    if behind is not None and task.reads.isdisjoint(first.writes):
        tasks[number] = None
        tasks[readers[0]] = Task(replace(splice, behind=behind), task.reads | (first.reads - {value}),
                                 first.writes | (frozenset({value}) if stored else frozenset()))


def _splice_before(tasks: list[Task | None], number: int, splice: Splice, kept: Collection[Place]) -> None:
    """Take in the tasks that make the operands of product `number`, as far as they can be spliced before it."""
    task, product = tasks[number], splice.product
    assert task is not None
    reads = task.reads
    for operand, side in ((product.a, "left"), (product.b, "right")):
        elsewhere = any(operand in part.storages for part in splice.parts)
        if product.a == product.b or operand in kept or elsewhere:
            continue
        made = _maker(tasks, number, operand)
        maker = None if made is None else tasks[made]
        part = None if maker is None else _before(maker, product, operand, side == "left")
        if made is not None and maker is not None and part is not None:
            splice = replace(splice, left=part) if side == "left" else replace(splice, right=part)
            reads = reads - {operand} | maker.reads
            tasks[made] = None
    if splice.parts:
        tasks[number] = Task(splice, reads, task.writes)


def is_written(places: frozenset[Place], tasks: Iterable[Task | None]) -> bool:
    """Does one of these tasks write to one of these places?"""
    return any(task is not None and not places.isdisjoint(task.writes) for task in tasks)


def _maker(tasks: Sequence[Task | None], number: int, operand: int) -> int | None:
    """The task that makes an operand for product `number` alone, and could as well do it when that multiplies."""
    makers = [k for k, task in enumerate(tasks) if task is not None and operand in task.writes]
    readers = [k for k, task in enumerate(tasks) if task is not None and operand in task.reads]
    if len(makers) != 1 or readers != [number]:
        return None
    maker = tasks[makers[0]]
    assert maker is not None
    fits = len(maker.writes) == 1 and not is_written(maker.reads, tasks[makers[0] + 1:number])
    return makers[0] if fits else None


def _behind(task: Task, splice: Splice, stored: bool) -> Lowered | None:
    """The kernel of a task as what is done with the tiles of a product; `stored`: and these are stored, too."""
    work, value = task.work, splice.value
    body = _body(work.kernel) if isinstance(work, Lowered) else None
    if not isinstance(work, Lowered) or body is None or work.storages.count(value) != 1:
        return None
    tile = work.storages.index(value)
    loads = {s.index if isinstance(s, Load) and not s.guards else None for s in body if buffer_of(s) == tile}
    place, extents = place_of(splice.product, "zij")
    at, = loads if len(loads) == 1 else (None,)
    moved = None if at is None else _at_points(work.kernel, body, at, place, extents)
    if moved is None:
        return None
    params, storages = list(work.kernel.params), list(work.storages)
    own = params.pop(tile)
    storages.pop(tile)
    if stored:
        read = next(k for k, s in enumerate(s for s in moved if makes_value(s)) if buffer_of(s) == tile)
        moved = [*moved, Store(len(work.storages), place, read)]
        params.append(replace(own, access="out"))
        storages.append(value)
    moved = [_renumbered(s, tile, len(params)) for s in moved]
    return Lowered(_kernel((*params, own), extents, moved), tuple(storages), work.values)


def _before(task: Task, product: Product, operand: int, is_left: bool) -> Lowered | None:
    """The kernel of a task as what makes the tiles of an operand, if it is cheap enough."""
    work = task.work
    body = _body(work.kernel) if isinstance(work, Lowered) else None
    if not isinstance(work, Lowered) or body is None:
        return None
    tile = work.storages.index(operand)
    at, = (s.index for s in body if isinstance(s, Store))
    place, extents = place_of(product, "zik" if is_left else "zkj")
    moved = _at_points(work.kernel, body, at, place, extents)
    if moved is None or not _is_cheap(work.kernel, moved, product.n if is_left else product.m, tile, extents):
        return None
    params = [*work.kernel.params[:tile], *work.kernel.params[tile + 1:], work.kernel.params[tile]]
    storages = (*work.storages[:tile], *work.storages[tile + 1:])
    moved = [_renumbered(s, tile, len(storages)) for s in moved]
    return Lowered(_kernel(tuple(params), extents, moved), storages, work.values)


def _is_cheap(kernel: Kernel, body: Sequence[Statement], again: Size, tile: int, extents: dict[str, Size]) -> bool:
    """May a kernel run once for each tile along `again` rows or columns? If it is mere movement, or there are few."""
    cost = sum(map(cost_of, body))
    whole = [name for name, extent in extents.items() if extent != 1]
    loaded = sum(DTYPES[kernel.params[s.buffer].dtype].itemsize for s in body
                 if isinstance(s, Load) and axes_of(s.index).issuperset(whole))
    own = DTYPES[kernel.params[tile].dtype].itemsize
    return cost == 0 and loaded <= own or cost <= CHEAP and loaded <= 2 * own and typical(again) <= MOST_AGAIN


# ---- kernels at the points of a product ----------------------------------------------------------------------------


def place_of(product: Product | Matmul, names: str) -> tuple[Index, dict[str, Size]]:
    """Where a point of the result, zij, or of an operand, zik or zkj, lies in memory; and the extents of these axes."""
    sizes = {"z": product.batch, "i": product.m, "j": product.n, "k": product.k}
    extents = {name: sizes[name] for name in names}
    turned = {"zij": False, "zik": product.transpose_a, "zkj": product.transpose_b}[names]
    order = (names[0], names[2], names[1]) if turned else tuple(names)
    return flatten(tuple(axis(name, sizes[name]) for name in order), tuple(sizes[name] for name in order)), extents


def _body(kernel: Kernel) -> list[Statement] | None:
    """The statements of a kernel that does the same at each point of all its axes, if it is one that can be spliced."""
    body = [s for one in kernel.passes for s in one.body]
    inner = {one.axes for one in kernel.passes if one.axes}
    if len(inner) > 1 or any(isinstance(s, Accumulate | Scan | Gather | Scatter) for s in body):
        return None
    if any(a.clip for a in (*kernel.axes, *(a for axes in inner for a in axes))):
        return None
    early = (s for one in kernel.passes if inner and not one.axes for s in one.body)
    return None if any(isinstance(s, Store) for s in early) else body


def _at_points(kernel: Kernel, body: Sequence[Statement], at: Index, place: Index, extents: Extents
               ) -> list[Statement] | None:
    """The statements at the points where `at` is `place`; None if `at` does not go once through all that that does."""
    try:
        points = points_of(kernel, at, place, extents)
        return None if points is None else [
            with_indices(s, lambda index: substitute(index, points.__getitem__, extents)) for s in body]
    except Undecided:
        return None


def points_of(kernel: Kernel, at: Index, place: Index, extents: Extents) -> dict[str, Index] | None:
    """Each axis of a kernel where `at` is `place`; None if `at` does not go once through all that that does. Undecided
    where sizes decide."""
    axes = {a.name: a.extent for a in (*kernel.axes, *(a for one in kernel.passes for a in one.axes))}
    order = _order(at, axes)
    if order is None or prod(axes.values()) != prod(extents.values()):
        return None
    return dict(zip(order, unflatten(place, tuple(axes[name] for name in order), extents)))


def _order(at: Index, axes: dict[str, Size]) -> list[str] | None:
    """The axes, outermost first, if the index is where a point of them lies in row-major order."""
    if at.constant or not all(isinstance(term, str) for term, _ in at.terms):
        return None
    steps = dict(at.terms)
    order = [name for name, extent in axes.items() if extent == 1]
    left = {name: extent for name, extent in axes.items() if extent != 1}
    stride: Size = 1
    while left:
        name = next((name for name in left if steps.get(name) == stride), None)
        if name is None:
            return None
        order.append(name)
        stride = stride * left.pop(name)
    return order[::-1]


def _renumbered(s: Statement, tile: int, last: int) -> Statement:
    """A statement where param `tile` has become the last one."""
    if isinstance(s, Load | Store):
        return replace(s, buffer=last if s.buffer == tile else s.buffer - (s.buffer > tile))
    return s


def _kernel(params: Sequence[Param], extents: dict[str, Size], body: Sequence[Statement]) -> Kernel:
    axes = tuple(Axis(name, extent) for name, extent in extents.items())
    return Kernel(tuple(params), axes, (Pass((), tuple(body)),), None, 0)
