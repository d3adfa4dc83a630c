"""matmul: who multiplies the panels that a product is cut into (see cuts), and the LLVM text that calls BLAS for one.

    c[64,512] = a[64,784] @ b[784,512]    ->    4 panels c[:, 0:128], c[:, 128:256], ...    each on one thread

1. With AVX-512 our own code multiplies (see gemm; gemm_rows for one row or column). With AVX2 it does up to 1024^3:
   BLAS arranges its operands anew for each panel, which large products hardly feel and small ones do, but in return
   arranges everything, which helps against lines a power of two apart. On other processors BLAS multiplies, in larger
   panels; where there is none, our own code.
2. A product with an empty sum is zeros, and is asked of no one.
"""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from string import Template

from codegen.ir.structs import struct
from codegen.llvm_cpu import gemm
from codegen.llvm_cpu.blas import OWN, Blas, find_blas
from codegen.llvm_cpu.cuts import Cut, panel
from codegen.llvm_cpu.features import Features
from codegen.llvm_cpu.gemm_panels import LITERALS
from codegen.llvm_cpu.gemm_rows import emit_row_product
from codegen.schedule.plan import Matmul

LLVM_TYPES = {"f32": "float", "f64": "double"}
"""The dtypes that are multiplied."""

_ITEM = {"f32": 4, "f64": 8}

FUNCTIONS: dict[str, tuple[Callable[[str, str, Features], str], str]] = {
    f"{name}_{dtype}": (emit, dtype)
    for name, emit in (("gemm", gemm.emit_gemm), ("gemm_row", emit_row_product)) for dtype in LLVM_TYPES}
"""Our own functions, by symbol: what writes them (dtype, symbol, features), and the dtype."""


ARRANGED = {"copied": 4.0, "transposed": 7.5, "read": 2.0}
"""What it costs to bring an element where the innermost loop reads it (see Cut), measured."""

PANEL_WORK = 1 << 17
"""Multiply-adds of a panel: some two microseconds, which another thread is worth."""

DOTS_CUT = Cut(PANEL_WORK, least=(1, 256), grain=(1, 64))
"""For one row where each column lies together."""

LINES_CUT = Cut(PANEL_WORK, least=(1, 1024), grain=(1, 64))
"""For one row by lines: narrower panels would read pieces of them, on one thread up to 1.5 times as slowly."""

BLAS_CUT = Cut(work=6 << 20, least=(128, 128), grain=(16, 16), of_a=16.0, of_b=16.0)
"""For BLAS, which arranges both."""

_OWN_WORK = 1 << 30
"""Multiply-adds of a product from which on BLAS is asked on processors with AVX2: some 15 % faster there on one thread
and as fast on two; at an eighth of that our own code is as fast on one thread."""


def multiplier(features: Features) -> Blas:
    """Who multiplies on this machine what our own code does not."""
    if features.vector_bytes == 64:
        return OWN
    return replace(find_blas(), above=_OWN_WORK) if features.vector_bytes == 32 and features.fma else find_blas()


def by_blas(step: Matmul, blas: Blas) -> bool:
    """Is this product computed by BLAS?"""
    _, m, n, k = step.sizes
    return blas.kind != "own" and m * n * k >= blas.above and 0 not in step.sizes


def own_function(step: Matmul, blas: Blas) -> str | None:
    """Which of FUNCTIONS computes this product; None for BLAS, and for a product of nothing."""
    return None if 0 in step.sizes or by_blas(step, blas) else launch(step, blas).symbol


@struct
class MatmulLaunch:
    """A launch of `chunks` panels of the function `symbol` on these buffers, followed by literals."""

    symbol: str
    chunks: int
    buffers: tuple[int, ...]
    literals: tuple[int, ...]


_COPY_ROWS = 24
"""Strips of b are copied together for panels with so many rows: enough for the copy to pay."""


def launch(step: Matmul, blas: Blas) -> MatmulLaunch:
    """The launch that computes a product, none of whose sizes is 0."""
    return _blas_launch(step) if by_blas(step, blas) else _own_launch(step)


def _own_launch(step: Matmul) -> MatmulLaunch:
    """For FUNCTIONS. c of one column is computed as the row that it also is: c' = b' a'."""
    a, b, transpose_a, transpose_b = step.a, step.b, step.transpose_a, step.transpose_b
    batch, m, n, k = step.sizes
    if n == 1:
        a, b, m, n, transpose_a, transpose_b = b, a, 1, m, not transpose_b, not transpose_a
    rows, columns = panel(batch, m, n, k, _own_cut(m, k, transpose_a, transpose_b, _ITEM[step.dtype]))
    across, down = -(-n // columns), -(-m // rows)
    value = {
        "m": m, "n": n, "k": k, "a_row": 1 if transpose_a else k, "a_term": m if transpose_a else 1,
        "transposed": transpose_b, "copied": rows >= _COPY_ROWS, "b_pitch": k if transpose_b else n,
        "rows": rows, "columns": columns, "across": across, "panels": across * down,
    }
    literals = tuple(int(value[name]) for name in LITERALS)
    symbol = f"{'gemm_row' if m == 1 else 'gemm'}_{step.dtype}"
    return MatmulLaunch(symbol, batch * across * down, (a, b, step.c), literals)


def _own_cut(m: int, k: int, transpose_a: bool, transpose_b: bool, item: int) -> Cut:
    if m == 1:
        return DOTS_CUT if transpose_b else LINES_CUT
    most = gemm.most_arranged(k, item)
    return Cut(
        PANEL_WORK, least=(12, 32), grain=(12, 32),
        most=(min(most, gemm.MOST_ROWS) if transpose_a else gemm.MOST_ROWS, most),
        of_a=ARRANGED["transposed" if transpose_a else "read"],
        of_b=ARRANGED["transposed" if transpose_b else "copied"])


def _blas_launch(step: Matmul) -> MatmulLaunch:
    """For the functions of `blas_text`; their literals: m, n, k, transpose_a, transpose_b, rows and columns of a panel,
    panels across, panels of one product."""
    batch, m, n, k = step.sizes
    rows, columns = panel(batch, m, n, k, BLAS_CUT)
    across, down = -(-n // columns), -(-m // rows)
    sizes = (m, n, k, int(step.transpose_a), int(step.transpose_b))
    literals = (*sizes, rows, columns, across, across * down)
    return MatmulLaunch(f"blas_matmul_{step.dtype}", batch * across * down, (step.a, step.b, step.c), literals)


# ---- calling BLAS ----------------------------------------------------------------------------------------------------

_PANEL_LOOP = Template("""
; a chunk is a panel: row panel and column panel of one product of the batch
define void @blas_matmul_$dtype(ptr %buffers, i64 %first, i64 %last, ptr %failed) nounwind {
entry:
  %b.at = getelementptr ptr, ptr %buffers, i64 1
  %c.at = getelementptr ptr, ptr %buffers, i64 2
  %literals.at = getelementptr ptr, ptr %buffers, i64 3
  %a = load ptr, ptr %buffers
  %b = load ptr, ptr %b.at
  %c = load ptr, ptr %c.at
  %literals = load ptr, ptr %literals.at
  %n.at = getelementptr i64, ptr %literals, i64 1
  %k.at = getelementptr i64, ptr %literals, i64 2
  %ta.at = getelementptr i64, ptr %literals, i64 3
  %tb.at = getelementptr i64, ptr %literals, i64 4
  %rows.at = getelementptr i64, ptr %literals, i64 5
  %columns.at = getelementptr i64, ptr %literals, i64 6
  %across.at = getelementptr i64, ptr %literals, i64 7
  %panels.at = getelementptr i64, ptr %literals, i64 8
  %m = load i64, ptr %literals
  %n = load i64, ptr %n.at
  %k = load i64, ptr %k.at
  %ta = load i64, ptr %ta.at
  %tb = load i64, ptr %tb.at
  %rows = load i64, ptr %rows.at
  %columns = load i64, ptr %columns.at
  %across = load i64, ptr %across.at
  %panels = load i64, ptr %panels.at
  %a.turned = icmp ne i64 %ta, 0
  %b.turned = icmp ne i64 %tb, 0
  %lda = select i1 %a.turned, i64 %m, i64 %k
  %ldb = select i1 %b.turned, i64 %k, i64 %n
  %a.step = select i1 %a.turned, i64 1, i64 %k      ; elements of a from one row of the product to the next
  %b.step = select i1 %b.turned, i64 %k, i64 1      ; elements of b from one column of the product to the next
  %a.size = mul i64 %m, %k
  %b.size = mul i64 %k, %n
  %c.size = mul i64 %m, %n
  br label %loop
loop:
  %chunk = phi i64 [ %first, %entry ], [ %next, %loop ]
  %product = udiv i64 %chunk, %panels
  %panel = urem i64 %chunk, %panels
  %down = udiv i64 %panel, %across
  %along = urem i64 %panel, %across
  %row = mul i64 %down, %rows
  %column = mul i64 %along, %columns
  %rows.left = sub i64 %m, %row
  %columns.left = sub i64 %n, %column
  %height = call i64 @llvm.umin.i64(i64 %rows, i64 %rows.left)
  %width = call i64 @llvm.umin.i64(i64 %columns, i64 %columns.left)
  %a.product = mul i64 %product, %a.size
  %b.product = mul i64 %product, %b.size
  %c.product = mul i64 %product, %c.size
  %a.row = mul i64 %row, %a.step
  %b.column = mul i64 %column, %b.step
  %c.row = mul i64 %row, %n
  %a.offset = add i64 %a.product, %a.row
  %b.offset = add i64 %b.product, %b.column
  %c.offset.row = add i64 %c.product, %c.row
  %c.offset = add i64 %c.offset.row, %column
  %a.panel = getelementptr $real, ptr %a, i64 %a.offset
  %b.panel = getelementptr $real, ptr %b, i64 %b.offset
  %c.panel = getelementptr $real, ptr %c, i64 %c.offset
  call void @gemm_$dtype(i1 %a.turned, i1 %b.turned, i64 %height, i64 %width, i64 %k, ptr %a.panel, i64 %lda,
    ptr %b.panel, i64 %ldb, ptr %c.panel, i64 %n)
  %next = add i64 %chunk, 1
  %more = icmp ult i64 %next, %last
  br i1 %more, label %loop, label %out
out:
  ret void
}
""")

_SIGNATURE = Template(
    "define internal void @gemm_$dtype(i1 %ta, i1 %tb, i64 %m, i64 %n, i64 %k, "
    "ptr %a, i64 %lda, ptr %b, i64 %ldb, ptr %c, i64 %ldc) nounwind")

_CBLAS64 = Template("""
declare void @blas_$dtype(i32, i32, i32, i64, i64, i64, $real, ptr, i64, ptr, i64, $real, ptr, i64)
$signature {
  %turn.a = select i1 %ta, i32 112, i32 111
  %turn.b = select i1 %tb, i32 112, i32 111
  call void @blas_$dtype(i32 101, i32 %turn.a, i32 %turn.b, i64 %m, i64 %n, i64 %k,
    $real 1.0, ptr %a, i64 %lda, ptr %b, i64 %ldb, $real 0.0, ptr %c, i64 %ldc)
  ret void
}
""")

_CBLAS32 = Template("""
declare void @blas_$dtype(i32, i32, i32, i32, i32, i32, $real, ptr, i32, ptr, i32, $real, ptr, i32)
$signature {
  %turn.a = select i1 %ta, i32 112, i32 111
  %turn.b = select i1 %tb, i32 112, i32 111
  %m.int = trunc i64 %m to i32
  %n.int = trunc i64 %n to i32
  %k.int = trunc i64 %k to i32
  %lda.int = trunc i64 %lda to i32
  %ldb.int = trunc i64 %ldb to i32
  %ldc.int = trunc i64 %ldc to i32
  call void @blas_$dtype(i32 101, i32 %turn.a, i32 %turn.b, i32 %m.int, i32 %n.int, i32 %k.int,
    $real 1.0, ptr %a, i32 %lda.int, ptr %b, i32 %ldb.int, $real 0.0, ptr %c, i32 %ldc.int)
  ret void
}
""")

# Fortran's matrices are stored by columns: what it sees of a, b and c are their transposes, and c' = b' a'.
_FORTRAN = Template("""
declare void @blas_$dtype(ptr, ptr, ptr, ptr, ptr, ptr, ptr, ptr, ptr, ptr, ptr, ptr, ptr)
$signature {
  %turn.a = alloca i8
  %turn.b = alloca i8
  %m.at = alloca i32
  %n.at = alloca i32
  %k.at = alloca i32
  %lda.at = alloca i32
  %ldb.at = alloca i32
  %ldc.at = alloca i32
  %one = alloca $real
  %zero = alloca $real
  %letter.a = select i1 %ta, i8 84, i8 78
  %letter.b = select i1 %tb, i8 84, i8 78
  %m.int = trunc i64 %m to i32
  %n.int = trunc i64 %n to i32
  %k.int = trunc i64 %k to i32
  %lda.int = trunc i64 %lda to i32
  %ldb.int = trunc i64 %ldb to i32
  %ldc.int = trunc i64 %ldc to i32
  store i8 %letter.a, ptr %turn.a
  store i8 %letter.b, ptr %turn.b
  store i32 %m.int, ptr %m.at
  store i32 %n.int, ptr %n.at
  store i32 %k.int, ptr %k.at
  store i32 %lda.int, ptr %lda.at
  store i32 %ldb.int, ptr %ldb.at
  store i32 %ldc.int, ptr %ldc.at
  store $real 1.0, ptr %one
  store $real 0.0, ptr %zero
  call void @blas_$dtype(ptr %turn.b, ptr %turn.a, ptr %n.at, ptr %m.at, ptr %k.at,
    ptr %one, ptr %b, ptr %ldb.at, ptr %a, ptr %lda.at, ptr %zero, ptr %c, ptr %ldc.at)
  ret void
}
""")

_GEMMS = {"cblas64": _CBLAS64, "cblas32": _CBLAS32, "fortran": _FORTRAN}

def blas_text(blas: Blas) -> str:
    """The LLVM text of @blas_matmul_f32 and @blas_matmul_f64, which multiply by `blas`; its `imports` are theirs."""
    if blas.kind == "own":
        return ""
    parts = []
    for dtype, real in LLVM_TYPES.items():
        signature = _SIGNATURE.substitute(dtype=dtype)
        parts.append(_GEMMS[blas.kind].substitute(dtype=dtype, real=real, signature=signature))
        parts.append(_PANEL_LOOP.substitute(dtype=dtype, real=real))
    return "".join(parts)


def blas_symbols(blas: Blas) -> tuple[str, ...]:
    """What blas_text defines for the driver to launch."""
    return () if blas.kind == "own" else tuple(f"blas_matmul_{dtype}" for dtype in LLVM_TYPES)
