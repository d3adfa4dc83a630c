"""matmul: how a product is cut into panels, and the LLVM text that multiplies one, by BLAS or by a loop of our own.

    c[64,512] = a[64,784] @ b[784,512]    ->    4 panels c[:, 0:128], c[:, 128:256], ...    one call each

1. Panels are cut by shape alone, never by the number of threads, so results do not depend on that number.
2. A panel runs on one thread.
3. A product with an empty sum is zeros; it is not asked of BLAS.
"""
from __future__ import annotations

from dataclasses import dataclass
from string import Template

from codegen.llvm_cpu.blas import Blas
from codegen.schedule.plan import Matmul

LLVM_TYPES = {"f32": "float", "f64": "double"}
"""The dtypes that are multiplied."""

_PANEL_WORK = 6 << 20
"""Multiply-adds that are worth a panel of their own."""

_MOST_PANELS = 32
_PANEL_COLUMNS, _PANEL_ROWS = 64, 64
"""A cut leaves at least so many columns or rows in each panel."""


# ---- panels --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Panels:
    """How one product of a batch is cut: panels of `rows` by `columns` (less at the ends)."""

    rows: int
    columns: int


def cut(m: int, n: int, k: int) -> Panels:
    """Panels of an m*k by k*n product, about equal, each worth a thread's while; along the longer side first.

    A panel's width is a multiple of 16, so that all but the last are made of whole registers.
    """
    pieces = max(1, min(m * n * k // _PANEL_WORK, _MOST_PANELS))
    across = _pieces(n, pieces, _PANEL_COLUMNS) if n >= m else 1
    down = _pieces(m, pieces // across, _PANEL_ROWS)
    if n < m:
        across = _pieces(n, pieces // down, _PANEL_COLUMNS)
    return Panels(_share(m, down), _share(n, across))


def _pieces(size: int, wanted: int, least: int) -> int:
    """The largest power of two of pieces that is at most `wanted` and leaves `least` in each."""
    most = max(1, min(wanted, size // least))
    return 1 << (most.bit_length() - 1)


def _share(size: int, pieces: int) -> int:
    return size if pieces == 1 else -(-size // (16 * pieces)) * 16


# ---- what the driver runs ------------------------------------------------------------------------------------------


def matmul_launch(step: Matmul) -> tuple[str, int, tuple[int, ...]]:
    """The symbol, the number of chunks and the literals of the launch of a product; its params are a, b, c.

    Literals, in the order in which `@matmul_<dtype>` reads them: m, n, k, transpose_a, transpose_b, rows and columns
    of a panel, panels across, panels of one product.
    """
    panels = cut(step.m, step.n, step.k)
    across, down = -(-step.n // panels.columns), -(-step.m // panels.rows)
    sizes = (step.m, step.n, step.k, int(step.transpose_a), int(step.transpose_b))
    literals = (*sizes, panels.rows, panels.columns, across, across * down)
    return f"matmul_{step.dtype}", step.batch * across * down, literals


_PANEL_LOOP = Template("""
; a chunk is a panel: row panel and column panel of one product of the batch
define void @matmul_$dtype(ptr %buffers, i64 %first, i64 %last, ptr %failed) nounwind {
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

_OWN = Template("""
$signature {
entry:
  %a.row = select i1 %ta, i64 1, i64 %lda
  %a.column = select i1 %ta, i64 %lda, i64 1
  %b.row = select i1 %tb, i64 1, i64 %ldb
  %b.column = select i1 %tb, i64 %ldb, i64 1
  br label %rows
rows:
  %i = phi i64 [ 0, %entry ], [ %i.next, %row.end ]
  %a.i.offset = mul i64 %i, %a.row
  %a.i = getelementptr $real, ptr %a, i64 %a.i.offset
  %c.i.offset = mul i64 %i, %ldc
  %c.i = getelementptr $real, ptr %c, i64 %c.i.offset
  br label %columns
columns:
  %j = phi i64 [ 0, %rows ], [ %j.next, %column.end ]
  %b.j.offset = mul i64 %j, %b.column
  %b.j = getelementptr $real, ptr %b, i64 %b.j.offset
  br label %terms
terms:
  %p = phi i64 [ 0, %columns ], [ %p.next, %terms ]
  %sum = phi $real [ 0.0, %columns ], [ %sum.next, %terms ]
  %a.offset = mul i64 %p, %a.column
  %b.offset = mul i64 %p, %b.row
  %a.at = getelementptr $real, ptr %a.i, i64 %a.offset
  %b.at = getelementptr $real, ptr %b.j, i64 %b.offset
  %x = load $real, ptr %a.at
  %y = load $real, ptr %b.at
  %xy = fmul $real %x, %y
  %sum.next = fadd $real %sum, %xy
  %p.next = add i64 %p, 1
  %p.more = icmp ult i64 %p.next, %k
  br i1 %p.more, label %terms, label %column.end
column.end:
  %c.at = getelementptr $real, ptr %c.i, i64 %j
  store $real %sum.next, ptr %c.at
  %j.next = add i64 %j, 1
  %j.more = icmp ult i64 %j.next, %n
  br i1 %j.more, label %columns, label %row.end
row.end:
  %i.next = add i64 %i, 1
  %i.more = icmp ult i64 %i.next, %m
  br i1 %i.more, label %rows, label %out
out:
  ret void
}
""")

_GEMMS = {"cblas64": _CBLAS64, "cblas32": _CBLAS32, "fortran": _FORTRAN, "own": _OWN}

def matmul_text(blas: Blas) -> str:
    """The LLVM text of @matmul_f32 and @matmul_f64, which multiply by `blas`; its `imports` are theirs."""
    parts = []
    for dtype, real in LLVM_TYPES.items():
        signature = _SIGNATURE.substitute(dtype=dtype)
        parts.append(_GEMMS[blas.kind].substitute(dtype=dtype, real=real, signature=signature))
        parts.append(_PANEL_LOOP.substitute(dtype=dtype, real=real))
    return "".join(parts)
