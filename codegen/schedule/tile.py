"""tile: which axis is vector, which parallel and in what chunks, and which reductions are cut in two. By shapes alone.

    sum over (1048576)       64 partial sums over (16384) by 64 chunks, then a kernel that adds the 64
    sum over (65536)x128     64 partial rows of 128, then a kernel that adds them
    sum over 4096x(1024)     chunks of 16 rows; nothing to cut
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod

from codegen.ir.dims import Size, ceil_div, typical
from codegen.ir.structs import struct
from codegen.schedule.index import coefficient
from codegen.schedule.kernel import Index
from codegen.schedule.machine import Machine

ROW_LANES = 64
"""Points of a vector axis that a chunk is a multiple of when each point is a whole reduction: 256 bytes of f32."""

COLUMN_LANES = 1024
"""The same where rows can be cut instead: memory is read row by row, and the more at a time, the better."""

POINT_LANES = 1024
"""The same when each point is one element: chunks start at whole cache lines and pages."""


TILE_LINES, TILE_POINTS, LEAST_TILE = 128, 512, 8
"""A tile of a transpose: bytes across the vector axis, two lines of memory, and points along it. Measured in C, x + x.T
of 64 MB: 5.3 to 5.7 ms from 512 points on, 6.1 with 128; of 4095x4095, where no row begins with a line, 9 and 12.6.
There are no tiles where one of the axes is shorter than the last number."""

ENOUGH_CHUNKS = 8
"""Chunks for the threads of a common machine; a kernel that has work for more than it has chunks is cut otherwise."""

LONGEST_COLUMN, FEW_POINTS = 512, 1 << 19
"""Rows that several passes of a kernel go down, some columns at a time; so few points lie in the nearest caches anyway.
Measured, passes that are kernels of their own: 4096 rows of 1024 0.27 of the time for a variance, 0.24 for normalizing,
0.31 for a softmax; 1024 rows of 1024 0.5 to 0.6; 512 rows of 2048 0.8 to 1.2, 4096 rows of 32 1.0 to 1.2."""

PROGRAM_COLUMNS = 32
"""So many columns has a program of a machine that computes all points at once, where columns are reduced."""

APART = 8
"""What a program of such a machine would go through is so many times what is worth one, where reductions are kernels
of their own though there is more to be done with the result: a pass of the same kernel would save a launch or two, and
reading memory again; but a program by itself mostly waits for memory."""

STRIDED, SCATTERED = 16, 48
"""A load and a store of a vector whose lanes are not neighbors, in loads of one whose lanes are."""

FEW_APART = 4
"""Lanes at most so far apart are loaded as parts of a longer vector."""


def partial_blocks(runs: Sequence[tuple[Size, bool]], machine: Machine, lanes: int = ROW_LANES) -> int:
    """Into how many blocks a large reduction to few points is cut so that it has chunks; 0 when it is not.

    `lanes`: how many columns a chunk has at least, where columns are reduced. Where symbols decide, a reduction may be
    large: a second kernel costs little, and one chunk of 4096x1024 takes three times as long as 64.
    """
    if machine.at_once:
        return _blocks_at_once(runs, machine)
    sizes = [(typical(n), k) for n, k in runs]
    known = all(isinstance(n, int) for n, _ in runs)
    kept = prod(n for n, k in sizes if k)
    reduced = prod(n for n, k in sizes if not k)
    work = kept * reduced
    if reduced == 1 or known and work < 4 * machine.serial_work:
        return 0
    columns = sizes[-1][0] if sizes[-1][1] else 1         # the vector axis when the last axis is kept
    chunks = kept // columns * max(1, columns // lanes)
    if chunks >= ENOUGH_CHUNKS:
        return 0
    largest = max(n for n, k in sizes if not k)
    blocks = min(machine.most_chunks, work // machine.chunk_work, largest // 4)
    return blocks if blocks > 1 else 0


def _blocks_at_once(runs: Sequence[tuple[Size, bool]], machine: Machine, least: int = 1) -> int:
    """The same for a machine that computes all points at once: where few programs would go through a large reduction,
    each through at least so many times what is worth a program."""
    sizes = [(typical(n), k) for n, k in runs]
    kept = prod(n for n, k in sizes if k)
    reduced = prod(n for n, k in sizes if not k)
    if reduced == 1:
        return 0
    columns = sizes[-1][0] if sizes[-1][1] else 1
    programs = kept // columns * -(-columns // PROGRAM_COLUMNS)
    whole = max(4 * machine.serial_work, least * programs * machine.chunk_work)
    if kept * reduced < whole or 2 * programs > machine.most_chunks:
        return 0
    largest = max(n for n, k in sizes if not k)
    blocks = min(machine.most_chunks // programs, kept * reduced // (programs * machine.chunk_work), largest // 4)
    return blocks if blocks > 1 else 0


def scan_blocks(lines: Sequence[Size], length: Size, beside: bool, machine: Machine) -> int:
    """Into how many blocks lines are cut that are scanned at once; 0 when they are not.

    `beside`: are neighbors in other lines? They are more blocks than those of a reduction, which are not gone through
    again: each is soon in registers.
    """
    count, points = prod(map(typical, lines)), typical(length)
    columns = typical(lines[-1]) if beside else 1
    programs = count // columns * -(-columns // PROGRAM_COLUMNS)
    if 2 * programs > machine.most_chunks:
        return 0
    blocks = min(4 * machine.most_chunks // programs, count * points // (programs * machine.chunk_work), points // 4)
    return blocks if blocks >= 4 else 0


def passes_apart(runs: Sequence[tuple[Size, bool]], machine: Machine) -> bool:
    """Is what comes after a reduction better computed by another kernel than by another pass of the same?

    Where the reduction is finished by a second kernel, and where columns are so long that no cache of one processor
    keeps some of them from pass to pass: then each pass is to go through memory row by row.
    """
    if machine.at_once:
        return _blocks_at_once(runs, machine, APART) > 0
    if partial_blocks(runs, machine):
        return True
    rows = prod(typical(n) for n, kept in runs if not kept)
    columns = typical(runs[-1][0]) if runs and runs[-1][1] else 0
    return rows > LONGEST_COLUMN and rows * columns > FEW_POINTS


def chunks_wanted(operations: Size, machine: Machine) -> int:
    """How many chunks a launch of so many operations is worth."""
    work = typical(operations)
    return max(1, min(machine.most_chunks, work // machine.chunk_work)) if work >= machine.serial_work else 1


def grain_of(work: Size, extent: Size, lanes: int, machine: Machine) -> Size:
    """How many points of an axis make a chunk, a multiple of `lanes`; 0 where all of them do.

    A known launch has as many chunks as its operations, `work`, are worth. Where symbols decide, a chunk is worth two.
    """
    if not isinstance(work, int) or not isinstance(extent, int):
        return ceil_div(ceil_div(2 * machine.chunk_work, work // extent), lanes) * lanes
    wanted = chunks_wanted(work, machine)
    each = -(-extent // wanted)
    grain = -(-each // lanes) * lanes
    return grain if wanted > 1 and grain < extent else 0


@struct
class Layout:
    """The outer and inner axes in order, the vector axis, and how many points of the first outer axis make a chunk."""

    outer: tuple[str, ...]
    inner: tuple[str, ...]
    vector: str | None
    grain: Size


def layout(outer: Sequence[str], inner: Sequence[str], extents: Mapping[str, Size], accesses: Sequence[Index],
           work: Size, dtype_bytes: int, machine: Machine, parallel: str | None = None,
           stores: Sequence[Index] = (), columns: int = ROW_LANES) -> Layout:
    """The order of the axes and the chunks of a kernel.

    `accesses` are the indices that its loops load at, `stores` those that they store at, `work` the operations on
    elements of the whole launch.
    The vector axis is that along which the most accesses are to neighbors. `parallel` names the axis to be cut into
    chunks, when there is no choice. `columns`: how many a chunk has at least, where columns are reduced.
    """
    lanes = 2 * machine.vector_bytes // dtype_bytes
    candidates = [name for name in (*inner, *outer) if name != parallel]
    vector = min(candidates, key=lambda name: (_vector_cost(name, typical(extents[name]), accesses, stores, lanes),
                                               name in outer, -([*outer, *inner].index(name))), default=None)
    inner_order = tuple(sorted(inner, key=lambda name: name == vector))
    rest = [name for name in outer if name not in (vector, parallel)]
    wanted = chunks_wanted(work, machine)
    if not machine.at_once and parallel is None and rest and wanted > 1 and typical(extents[rest[0]]) < ENOUGH_CHUNKS:
        rest.sort(key=lambda name: -typical(extents[name]))
    outer_order = (*((parallel,) if parallel else ()), *rest, *((vector,) if vector in outer else ()))
    if not outer_order or machine.at_once:
        return Layout(outer_order, inner_order, vector, 0)
    first = outer_order[0]
    lane_points = 1 if first != vector else columns if inner else POINT_LANES
    return Layout(outer_order, inner_order, vector, grain_of(work, extents[first], lane_points, machine))


def _vector_cost(name: str, extent: int, accesses: Sequence[Index], stores: Sequence[Index], lanes: int) -> float:
    """What the accesses cost per point: a strided one fills its lanes one by one; a short axis leaves lanes empty."""
    cost = sum(_load_cost(coefficient(index, name)) for index in accesses) + 1
    cost += sum(1 if coefficient(index, name) in (0, 1) else SCATTERED for index in stores)
    return cost / min(1.0, extent / lanes)


def _load_cost(step: Size | None) -> int:
    if not isinstance(step, int) or not 0 <= step <= FEW_APART:
        return STRIDED
    return 1 if step < 2 else 2 * step - 1
