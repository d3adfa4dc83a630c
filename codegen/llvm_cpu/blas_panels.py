"""blas_panels: who multiplies what our own code does not, and the LLVM text that asks BLAS for a panel of a product.

    c[64,512] = a[64,784] @ b[784,512]    ->    @blas_matmul_f32: chunks are panels, as matmul has cut them

What a process needs that runs products compiled before.
"""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from itertools import product
from math import inf
from string import Template

import numpy as np

from codegen.cache import content_key, default_cache
from codegen.llvm_cpu.blas import OWN, Blas, find_blas
from codegen.llvm_cpu.features import Features, host_features
from codegen.llvm_cpu.identity import machine_identity

LLVM_TYPES = {"f32": "float", "f64": "double"}
"""The dtypes that are multiplied."""

HALF_PRODUCTS = ("bf16",)
"""Those that are where there are tile registers, and never by BLAS."""

_OWN_WORK = 1 << 32
"""Multiply-adds of a product from which on BLAS is asked on processors with AVX2: at twice that it is as fast on two
threads and 6 % faster on one. Up to here our own code takes 0.92 to 1.02 of the time, 0.72 to 0.83 where one of the
sizes is 64 (but 1.05 if it is the rows)."""


FORMS = {"a b": (False, False), "a' b": (True, False), "a b'": (False, True)}
"""Which operands of a product are transposed; what both are counts as the first."""


def form_of(transpose_a: bool, transpose_b: bool) -> str:
    """The name of a form."""
    return next((form for form, turns in FORMS.items() if turns == (transpose_a, transpose_b)), "a b")


@cache
def multiplier(features: Features) -> Blas:
    """Who multiplies on this machine what our own code does not: as was measured, if it was; else by a rule.

    It is the same for as long as the process lives, whatever is measured meanwhile.
    """
    limits = kept_limits() if features == host_features() else None
    if limits is None:
        return by_rule(features)
    if min(limits.values()) == inf:
        return OWN
    return replace(find_blas(), limits=tuple(sorted(limits.items())))


def kept_limits() -> dict[tuple[str, str], float] | None:
    """From how many multiply-adds on BLAS is faster on this machine, by dtype and form, if it was measured."""
    disk = default_cache().disk
    text = disk.get(_limits_key()) if disk else None
    if text is None:
        return None
    try:
        found = {(dtype, form): float(limit)
                 for dtype, form, limit in (line.split(",") for line in text.decode().splitlines())}
    except ValueError:
        return None
    return found if found.keys() == set(product(LLVM_TYPES, FORMS)) else None


def keep_limits(limits: Mapping[tuple[str, str], float]) -> None:
    """Keep them for processes to come, if there is a disk cache."""
    if disk := default_cache().disk:
        disk.discard(_limits_key())
        lines = [f"{dtype},{form},{limit}" for (dtype, form), limit in limits.items()]
        disk.put(_limits_key(), "\n".join(lines).encode())


def _limits_key() -> str:
    return content_key("multiplier", machine_identity(), np.__version__)


def by_rule(features: Features) -> Blas:
    """Who multiplies where nothing was measured."""
    if features.vector_bytes == 64:
        return OWN
    return replace(find_blas(), above=_OWN_WORK) if features.vector_bytes == 32 and features.fma else find_blas()


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

_SIZES = ("m", "n", "k", "lda", "ldb", "ldc")

_NARROWED = "\n".join(f"  %{size}.int = trunc i64 %{size} to i32" for size in _SIZES)
"""The sizes, for a BLAS whose sizes have 32 bits."""

_PLACED = "\n".join(f"  %{size}.at = alloca i32\n  store i32 %{size}.int, ptr %{size}.at" for size in _SIZES)
"""And where Fortran reads them."""

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
$narrowed
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
  %one = alloca $real
  %zero = alloca $real
  %letter.a = select i1 %ta, i8 84, i8 78
  %letter.b = select i1 %tb, i8 84, i8 78
$narrowed
$placed
  store i8 %letter.a, ptr %turn.a
  store i8 %letter.b, ptr %turn.b
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
        parts.append(_GEMMS[blas.kind].substitute(
            dtype=dtype, real=real, signature=signature, narrowed=_NARROWED, placed=_PLACED))
        parts.append(_PANEL_LOOP.substitute(dtype=dtype, real=real))
    return "".join(parts)


def blas_symbols(blas: Blas) -> tuple[str, ...]:
    """What blas_text defines for the driver to launch."""
    return () if blas.kind == "own" else tuple(f"blas_matmul_{dtype}" for dtype in LLVM_TYPES)
