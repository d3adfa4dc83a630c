"""matmul: who multiplies the panels that a product is cut into (see cuts; blas_panels for those that BLAS does).

    c[64,512] = a[64,784] @ b[784,512]    ->    4 panels c[:, 0:128], c[:, 128:256], ...    each on one thread

1. Where it was measured (see calibration), whoever was faster multiplies. Elsewhere, with AVX-512 our own code does
   (see gemm; gemm_rows for one row or column), with AVX2 up to 1600^3:
   BLAS arranges its operands anew for each panel, which large products hardly feel and small ones do, but in return
   arranges everything, which helps against lines a power of two apart. On other processors BLAS multiplies, in larger
   panels; where there is none, our own code.
2. A product with an empty sum is zeros, and is asked of no one.
"""
from __future__ import annotations

from dataclasses import replace
from functools import cache

from codegen.ir.structs import struct
from codegen.ir.types import DTYPES
from codegen.llvm_cpu import gemm_halves, gemm_rows
from codegen.llvm_cpu.blas import Blas
from codegen.llvm_cpu.blas_panels import HALF_PRODUCTS, LLVM_TYPES, form_of
from codegen.llvm_cpu.cuts import Cut, panel
from codegen.llvm_cpu.features import Features, host_features
from codegen.llvm_cpu.gemm_panels import LITERALS, MOST_COLUMNS, MOST_ROWS, USUAL, Width, tile
from codegen.llvm_cpu.threads import THREADS
from codegen.schedule.plan import Matmul

WIDE_WORK, WIDE_ROWS = 1 << 25, 64
"""Multiply-adds and rows of a product from which on wide strips are worth a function of their own, if little of the
last is missing: it takes as long to compile as it saves in some seconds of products, once for a machine. A program of
smaller ones comes to its first replay some 30 ms sooner without it."""

NARROW_WORK = 1 << 21
"""Multiply-adds of a product of no more columns than a vector of AVX-512 has from which on strips of one vector are
worth a function: they take 0.65 of the time, 15 microseconds less of 40 here."""

ARRANGED = {"copied": 5.0, "transposed": 7.5, "read": 1.2}
"""What it costs to bring an element where the innermost loop reads it (see Cut), measured."""

ARRANGED_WIDE, END_WIDE = {"copied": 8.0, "transposed": 12.0, "read": 4.0}, 1600.0
"""The same in multiply-adds of 64 bytes, and the end of a row of a panel: of 47 products, cut in up to 30 ways each,
this takes 1.02 of the time of what turned out best for two threads, cuts for two and four threads 1.04."""

PANEL_WORK = 1 << 17
"""Multiply-adds of a row's panel: some two microseconds, which another thread is worth."""

HANDED_WORK, HANDED = 1 << 16, 48
"""The same of a panel of several rows; what reading an element of c that another thread has written costs one. Of f32:
multiply-adds of f64 take twice as long, so half as many are worth it."""

DOTS_CUT = Cut(PANEL_WORK, least=(1, 256), grain=(1, 64))
"""For one row where each column lies together."""

LINES_CUT = Cut(PANEL_WORK, least=(1, 1024), grain=(1, 64))
"""For one row by lines: narrower panels would read pieces of them, on one thread up to 1.5 times as slowly."""

SHARED_LINES_CUT = Cut(PANEL_WORK, least=(1, 256), grain=(1, 64), of_a=100.0)
"""The same where threads have second caches of 1 MB and more, and the last is far: half of a matrix stays in each. With
two threads 1024x1024 takes 0.45 of the time, 512 lines of 784 0.63, 512x512 0.88."""

HALF_LINES_CUT = replace(SHARED_LINES_CUT, most=(1, gemm_rows.MOST_SUMS))
"""And for bf16, of whose sums no more are kept."""

HALVES_CUT = Cut(1 << 20, least=(32, 32), grain=(gemm_halves.BLOCK, gemm_halves.BLOCK),
                 most=(gemm_halves.MOST_ROWS, gemm_halves.MOST_COLUMNS), of_a=64.0, of_b=64.0)
"""For products of bf16, whose multiply-adds are a tenth as dear beside what it takes to arrange operands."""

BLAS_CUT = Cut(work=6 << 20, least=(128, 128), grain=(16, 16), of_a=16.0, of_b=16.0)
"""For BLAS, which arranges both."""


def by_blas(step: Matmul, blas: Blas) -> bool:
    """Is this product computed by BLAS?"""
    _, m, n, k = step.sizes
    return blas.kind != "own" and step.dtype in LLVM_TYPES and 0 not in step.sizes and (
        m * n * k >= blas.begins(step.dtype, form_of(step.transpose_a, step.transpose_b)))


def own_function(step: Matmul, blas: Blas) -> str | None:
    """Which function of our own (see products) computes this product; None for BLAS, and for a product of nothing."""
    return None if 0 in step.sizes or by_blas(step, blas) else launch(step, blas).symbol


@struct
class MatmulLaunch:
    """A launch of `chunks` panels of the function `symbol` on these buffers, followed by literals."""

    symbol: str
    chunks: int
    buffers: tuple[int, ...]
    literals: tuple[int, ...]


_COPY_ROWS, _NEAR_BYTES = 24, 1 << 14
"""Strips of b are copied for panels with so many rows, enough for the copy to pay, if b is larger than what stays in
the first cache as it is."""


def launch(step: Matmul, blas: Blas) -> MatmulLaunch:
    """The launch that computes a product, none of whose sizes is 0."""
    return _blas_launch(step) if by_blas(step, blas) else _own_launch(step)


def _own_launch(step: Matmul) -> MatmulLaunch:
    """For functions of our own. c of one column is computed as the row that it also is: c' = b' a'."""
    a, b, transpose_a, transpose_b = step.a, step.b, step.transpose_a, step.transpose_b
    batch, m, n, k = step.sizes
    if n == 1:
        a, b, m, n, transpose_a, transpose_b = b, a, 1, m, not transpose_b, not transpose_a
    symbol = function_of(m, n, k, step.dtype, host_features())
    rows, columns = panel(batch, m, n, k, _cut(symbol, step.dtype, transpose_a, transpose_b))
    across, down = -(-n // columns), -(-m // rows)
    value = {
        "m": m, "n": n, "k": k, "a_row": 1 if transpose_a else k, "a_term": m if transpose_a else 1,
        "transposed": transpose_b, "copied": rows >= _COPY_ROWS and k * n * DTYPES[step.dtype].itemsize > _NEAR_BYTES,
        "b_pitch": k if transpose_b else n,
        "rows": rows, "columns": columns, "across": across, "panels": across * down,
    }
    literals = tuple([int(value[name]) for name in LITERALS])
    return MatmulLaunch(symbol, batch * across * down, (a, b, step.c), literals)


def _cut(symbol: str, dtype: str, transpose_a: bool, transpose_b: bool) -> Cut:
    if dtype in HALF_PRODUCTS:
        row = symbol.startswith("gemm_row")
        cut = HALVES_CUT if not row else DOTS_CUT if transpose_b else HALF_LINES_CUT
        return replace(cut, threads=(max(2, THREADS.get()),))
    grain = _grain(dtype, host_features(), "wide" if symbol.startswith("gemm_wide") else USUAL)
    return _own_cut(symbol.startswith("gemm_row"), dtype, transpose_a, transpose_b, grain, THREADS.get())


def function_of(m: int, n: int, k: int, dtype: str, features: Features) -> str:
    """Which function of our own computes products of these sizes, if it is not BLAS."""
    if 1 in (m, n):
        return f"gemm_row_{dtype}"
    if dtype in HALF_PRODUCTS:
        return f"gemm_{dtype}"
    width = _width(m, n, k, dtype, features)
    return f"gemm_{dtype}" if width == USUAL else f"gemm_{width}_{dtype}"


def _width(m: int, n: int, k: int, dtype: str, features: Features) -> Width:
    """Which strips are worth a function of their own."""
    usual, wide, narrow = (_strip(dtype, features, width) for width in (USUAL, "wide", "narrow"))
    if n <= narrow < usual and m * n * k >= NARROW_WORK:
        return "narrow"
    if m < WIDE_ROWS or m * n * k < WIDE_WORK:
        return USUAL
    return "wide" if wide != usual and -(-n // wide) * wide <= 1.03 * (-(-n // usual) * usual) else USUAL


def _strip(dtype: str, features: Features, width: Width) -> int:
    """The columns of a strip."""
    return tile(features, width).vectors * features.vector_bytes // DTYPES[dtype].itemsize


def _grain(dtype: str, features: Features, width: Width) -> tuple[int, int]:
    """What rows and columns of panels are multiples of. With AVX-512 a smaller block takes what is left of rows at
    little cost, where panels of 264 and 248 of 512 rows would leave one of two threads 3 % more to do."""
    rows = tile(features, width).few if features.vector_bytes == 64 else 12
    return rows, max(32, _strip(dtype, features, width))


@cache
def _own_cut(row: bool, dtype: str, transpose_a: bool, transpose_b: bool, grain: tuple[int, int], threads: int) -> Cut:
    wide = host_features().vector_bytes == 64
    if row and not transpose_b and wide:
        return replace(SHARED_LINES_CUT, threads=(max(2, threads),))
    if row:
        return DOTS_CUT if transpose_b else LINES_CUT
    arranged = ARRANGED_WIDE if wide else ARRANGED
    slower = DTYPES[dtype].itemsize // 4
    return Cut(
        HANDED_WORK // slower, handed=HANDED // slower, least=(12, 32), grain=grain, most=(MOST_ROWS, MOST_COLUMNS),
        of_a=arranged["transposed" if transpose_a else "read"],
        of_b=arranged["transposed" if transpose_b else "copied"],
        of_end=END_WIDE if wide else 0.0, threads=(max(2, threads),) if wide else (2, 4))


def _blas_launch(step: Matmul) -> MatmulLaunch:
    """For the functions of `blas_text`; their literals: m, n, k, transpose_a, transpose_b, rows and columns of a panel,
    panels across, panels of one product."""
    batch, m, n, k = step.sizes
    rows, columns = panel(batch, m, n, k, BLAS_CUT)
    across, down = -(-n // columns), -(-m // rows)
    sizes = (m, n, k, int(step.transpose_a), int(step.transpose_b))
    literals = (*sizes, rows, columns, across, across * down)
    return MatmulLaunch(f"blas_matmul_{step.dtype}", batch * across * down, (step.a, step.b, step.c), literals)
