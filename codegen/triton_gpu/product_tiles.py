"""product_tiles: how much of a product one program computes, by dtype, size and what the processor can do.

    bf16 4096x4096, 9.0    128 x 256 of the result, 64 of k at a time, 8 warps, 3 loads of them ahead
    bf16 64x512, 8.0       16 x 32, 64 of k at a time, 4 warps

1. A tile of 16-bit numbers, or of f32 cut to tf32, has sides that tensor cores take: on 9.0 they take 64 rows and 4
   warps at once, which a tile has unless the product has fewer rows.
2. The tiles loaded ahead fit into what a program may share.
3. The largest tile that leaves a program for each of the processors, else the least; no side of it is twice as long as
   the product's, and none shorter than 32 unless that is.
"""
from __future__ import annotations

from collections.abc import Sequence

from codegen.ir.dims import Size, ceil_div, typical
from codegen.ir.structs import struct
from codegen.schedule.costs import TRANSCENDENTAL, cost_of
from codegen.schedule.kernel import Statement, makes_value

Capability = tuple[int, int]

PROCESSORS = {(8, 0): 108, (9, 0): 132}
"""How many programs run beside each other at least."""

SHARED_BYTES = {(8, 0): 166912, (9, 0): 232448}
"""What a program may share."""

LEAST = 16
"""The shortest side of a tile."""


MANY_VALUES = 16
"""So many values at a point of a product take the registers of many of its sums."""


@struct
class ProductTile:
    """`m` x `n` elements of the result, `k` products at a time; `warps` of 32 threads, `stages` loaded ahead."""

    m: int
    n: int
    k: int
    warps: int
    stages: int


def _rows(text: str) -> tuple[ProductTile, ...]:
    return tuple(ProductTile(*map(int, line.split())) for line in text.strip().splitlines())


_HALVES_AMPERE = _rows("""
    128 256  32 8 4
    128 128  32 4 4
    128 128  32 8 4
     64 128  64 4 3
     64  64  64 4 4
     32  64  64 4 4
     32  32  64 4 4
     16  64  64 4 4
     16  32  64 2 4
     16  16  64 1 4
""")

_HALVES_HOPPER = _rows("""
    128 256  64 8 3
    128 128  64 8 4
     64 128  64 4 4
     64  64  64 4 4
     64  32  64 4 4
     64  16  64 4 4
     32  64  64 4 4
     32  32  64 4 4
     16  64  64 4 4
     16  32  64 2 4
     16  16  64 1 4
""")

_TF32 = _rows("""
    128 128  32 8 3
     64 128  32 4 3
     64  64  32 4 4
     64  32  32 4 4
     64  16  32 4 4
     32  64  32 4 4
     32  32  32 4 4
     16  64  32 4 4
     16  32  32 2 4
     16  16  32 1 4
""")

_F32 = _rows("""
    128 128  16 8 2
     64  64  16 4 3
     32  64  32 4 2
     32  32  32 4 2
     16  32  32 2 2
     16  16  32 1 2
""")

_F64 = _rows("""
     64  64  16 4 3
     32  64  16 4 3
     32  32  16 4 3
     16  32  16 2 3
     16  16  16 1 3
""")


def tiles(dtype: str, precision: str, capability: Capability) -> tuple[ProductTile, ...]:
    """The tiles there are, the largest first. `precision`: of products of f32, "ieee" or "tf32"."""
    if dtype == "f64":
        return _F64
    if dtype == "f32":
        return _TF32 if precision == "tf32" else _F32
    return _HALVES_HOPPER if capability >= (9, 0) else _HALVES_AMPERE


def tile_of(dtype: str, sizes: tuple[Size, Size, Size, Size], precision: str, capability: Capability,
            spliced: Sequence[Statement] = ()) -> ProductTile:
    """The tile for a product of these sizes: batch, m, n, k. `spliced`: what else is done at its points."""
    batch, m, n, k = map(typical, sizes)
    in_groups = capability >= (9, 0) and (dtype in ("f16", "bf16") or precision == "tf32" and dtype == "f32")
    rows, columns = range(min(64 if in_groups else 32, side(m)), side(m) + 1), range(min(32, side(n)), side(n) + 1)
    known, most = tiles(dtype, precision, capability), points_of(spliced) // (2 if dtype == "f64" else 1)
    candidates = [t for t in known if t.m in rows and t.n in columns
                  and t.m * t.n <= most * t.warps] or known[-1:]
    wanted = next(count for least, count in reversed(PROCESSORS.items()) if capability >= least)
    for tile in candidates:
        if batch * -(-m // tile.m) * -(-n // tile.n) >= wanted:
            break
    depth = min(tile.k, side(k))
    return ProductTile(tile.m, tile.n, depth, tile.warps, tile.stages if k > depth else 1)


def points_of(spliced: Sequence[Statement]) -> int:
    """How many f32 elements a tile may have for each of its warps, so that nothing spills.

    Of halves a warp has 4096 where little is done with them. With as many, a gelu spills; with 2048, an update of Adam.
    """
    made = [s for s in spliced if makes_value(s)]
    if len(made) > MANY_VALUES:
        return 1024
    return 2048 if any(cost_of(s) >= TRANSCENDENTAL for s in made) else 4096


def tile_counts(tile: ProductTile, m: Size, n: Size) -> tuple[Size, Size]:
    """How many tiles there are down and across a result of m x n."""
    return ceil_div(m, tile.m), ceil_div(n, tile.n)


def side(size: int) -> int:
    """The shortest side of a tile that is as long."""
    return max(LEAST, 1 << (size - 1).bit_length() if size > 1 else LEAST)
