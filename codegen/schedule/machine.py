"""Machine: what the scheduler knows of the machine it schedules for; not how many threads it has.

A chunk's size is a matter of shapes and of these constants, so a plan for one Machine is the same on every run.
"""
from __future__ import annotations

from collections.abc import Callable

from codegen.ir.dims import Size
from codegen.ir.structs import struct
from codegen.schedule.costs import CHEAP
from codegen.schedule.shelves import MOST_POINTS, WORTH


def anything(op: str, dtype: str) -> bool:
    """A machine that has code for every elementwise op."""
    return True


def never(dtype: str, batch: Size, m: Size, n: Size, k: Size) -> bool:
    """A machine whose products are nothing but products."""
    return False


def nowhere(dtype: str, batch: Size, m: Size, n: Size, k: Size, columns: Size) -> bool:
    """A machine that computes no weights between two products."""
    return False


@struct
class Machine:
    """`vector_bytes`: the width of a vector register.

    `at_once`: it computes all points of a launch at once, as a GPU does: nothing is cut for threads or for caches, and
    what a pass computes stays in registers for the next one. Chunks are the programs of a reduction to few points.

    `serial_work`: elements below which a launch is one chunk. `chunk_work`: the least in a chunk of several.
    `most_chunks`: about how many a large launch is cut into. `most_operations`: how long a kernel may be, in additions.
    `least_joined`: from so many elements on a concat is put together in memory, not chosen from at each element.
    `products`: the dtypes whose matrices it multiplies.
    `arena_bytes`: what a plan is to work in at most, for which some of it may be done again; None: as much as it likes.
    `cheap`: what takes no more operations, in additions, every kernel, and pass, that needs it may compute again.
    `shelf_points`: points of values that later passes use again, `shelf_worth`: what it takes to be one of them.
    `splices(dtype, batch, m, n, k)`: is such a product done in tiles that can do more at their points (see spliced)?
    `attends(dtype, batch, m, n, k, columns)`: are two products one launch, that of m x n scores, of k numbers each, and
    that by n x columns of the weights made of them (see attention)?
    `computes(op, dtype)`: is there code for this elementwise op on operands of this dtype? Other ops run on the host.
    """

    vector_bytes: int = 64
    serial_work: int = 1 << 15
    chunk_work: int = 1 << 14
    most_chunks: int = 64
    most_operations: int = 640
    least_joined: int = 256
    products: frozenset[str] = frozenset({"f32", "f64"})
    arena_bytes: int | None = None
    splices: Callable[[str, Size, Size, Size, Size], bool] = never
    attends: Callable[[str, Size, Size, Size, Size, Size], bool] = nowhere
    computes: Callable[[str, str], bool] = anything
    at_once: bool = False
    cheap: int = CHEAP
    shelf_points: int = MOST_POINTS
    shelf_worth: int = WORTH
