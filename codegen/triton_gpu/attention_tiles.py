"""attention_tiles: how much of an attention one program computes, by dtype, size and what the processor can do.

    bf16 4096x4096, 64 numbers and 64 columns, 9.0     128 rows, 64 scores of each at a time, 8 warps, 2 loads ahead
    f32 as they are, 128 and 128                       32 rows, 16 scores, 32 numbers of the products at a time

1. A program has all columns of its rows of the result, and where it can all numbers of their left operand.
2. The most rows that leave a program for each of the processors, else the fewest; no more than twice those there are.
"""
from __future__ import annotations

from codegen.ir.dims import Size, typical
from codegen.ir.structs import struct
from codegen.triton_gpu.product_tiles import PROCESSORS, Capability, side


@struct
class AttentionTile:
    """`m` rows of `columns` columns of the result, by `n` scores at a time, of products `k` of which are added at a
    time. `warps` of 32 threads, `stages` loaded ahead."""

    m: int
    n: int
    k: int
    columns: int
    warps: int
    stages: int

    @property
    def constants(self) -> tuple[tuple[str, int], ...]:
        """The sides of the tile, by their names in the text."""
        return ("BM", self.m), ("BN", self.n), ("BK", self.k), ("BV", self.columns)


WIDEST = {"f16": 256, "bf16": 256, "f32": 128, "f64": 64}
"""The most numbers of a row of an operand, and the most columns, for which rows of the result stay in registers."""


def attends(dtype: str, batch: Size, m: Size, n: Size, k: Size, columns: Size) -> bool:
    """Are two products one launch (see schedule.attention)? Where a row fits, and there is more than one of all."""
    widest = WIDEST.get(dtype, 0)
    fits = isinstance(k, int) and isinstance(columns, int) and max(k, columns) <= widest
    return fits and 1 not in (m, n, k, columns)


Row = tuple[int, int, int, int, int]
"""m, n, k, warps and stages of a tile."""


def _rows(text: str) -> dict[int, tuple[Row, ...]]:
    """The tiles for operands and results so wide, the largest first."""
    found: dict[int, tuple[Row, ...]] = {}
    for line in text.strip().splitlines():
        wide, m, n, k, warps, stages = map(int, line.split())
        found[wide] = (*found.get(wide, ()), (m, n, k, warps, stages))
    return found


_HALVES = _rows("""
     64  128  64  64 8 3
     64   64  64  64 4 3
     64   32  64  64 2 3
     64   16  64  64 1 3
    128  128  64 128 8 2
    128   64  64 128 4 2
    128   32  64 128 2 2
    128   16  64 128 1 2
    256   64  32 256 8 2
    256   32  32 256 4 2
    256   16  32 256 4 2
""")

_TF32 = _rows("""
     64  128  32  64 8 2
     64   64  32  64 4 2
     64   32  32  64 4 2
     64   16  32  64 4 2
    128  128  32 128 8 2
    128   64  32 128 8 2
    128   32  32 128 4 2
    128   16  32 128 4 2
""")

_F32 = _rows("""
     64   64  32  16 4 2
     64   32  32  16 4 2
     64   16  32  16 4 2
    128   64  32  16 8 2
    128   32  32  16 4 2
    128   16  32  16 4 2
""")

_F64 = _rows("""
     64   32  16  16 4 2
     64   16  16  16 4 2
""")


def tiles(dtype: str, precision: str, capability: Capability, wide: int) -> tuple[Row, ...]:
    """The tiles there are for operands and results that are `wide`, the largest first."""
    known = _F64 if dtype == "f64" else _HALVES if dtype != "f32" else _TF32 if precision == "tf32" else _F32
    return known[next(width for width in known if width >= wide)]


def attention_tile(dtype: str, sizes: tuple[Size, Size, Size, Size, Size], precision: str, capability: Capability
                   ) -> AttentionTile:
    """The tile for these batch, m, n, k and columns. `precision`: of products of f32, "ieee" or "tf32"."""
    batch, m, n, k, columns = map(typical, sizes)
    wanted = next(count for least, count in reversed(PROCESSORS.items()) if capability >= least)
    known = tiles(dtype, precision, capability, max(k, columns))
    for row in [row for row in known if row[0] <= side(m)] or known[-1:]:
        if batch * -(-m // row[0]) >= wanted:
            break
    rows, block, depth, warps, stages = row
    block = min(block, side(n))
    return AttentionTile(rows, block, min(depth, side(k)), side(columns), warps, stages if n > block else 1)
