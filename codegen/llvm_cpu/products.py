"""products: the functions of our own that multiply matrices, loaded; for a program that is new, before it is scheduled.

They take longest to compile, and what a program multiplies is seen in what was recorded: a thread compiles them while
the program is optimized and scheduled. One that turns out not to be called is kept for the next program. The usual
function multiplies wide and narrow products, too, until theirs is compiled, which takes as long again and makes them
faster, by 3 % or by a third.
"""
from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from math import inf, prod

from codegen.cache import Cache
from codegen.ir.dims import typical
from codegen.ir.tree import Tree
from codegen.llvm_cpu.blas_panels import FORMS, HALF_PRODUCTS, LLVM_TYPES, multiplier
from codegen.llvm_cpu.executables import product_key, symbol_of
from codegen.llvm_cpu.features import Features, host_features
from codegen.llvm_cpu.gemm import emit_gemm
from codegen.llvm_cpu.gemm_halves import emit_gemm_halves
from codegen.llvm_cpu.gemm_rows import emit_row_product
from codegen.llvm_cpu.link import PLAIN
from codegen.llvm_cpu.loading import Loading
from codegen.llvm_cpu.matmul import function_of
from codegen.llvm_cpu.tile_registers import multiplies_halves

FUNCTIONS: Mapping[str, tuple[Callable[[str, str, Features], str], str]] = {
    f"{name}_{dtype}": (emit, dtype)
    for name, emit in (("gemm", emit_gemm), ("gemm_wide", partial(emit_gemm, width="wide")),
                       ("gemm_narrow", partial(emit_gemm, width="narrow")),
                       ("gemm_row", emit_row_product)) for dtype in LLVM_TYPES} | {
    f"{name}_{dtype}": (emit, dtype) for dtype in HALF_PRODUCTS
    for name, emit in (("gemm", emit_gemm_halves), ("gemm_row", emit_row_product))}
"""Our own functions, by symbol: what writes them (dtype, symbol, features), and the dtype."""

DRAFTED_WORK = 1 << 27
"""Multiply-adds of all products of a run up to which their functions are drafts first: these take four times as long,
up to some ten milliseconds more, where compiling them well takes several tens."""


def product(name: str, cache: Cache, draft: bool = False, meanwhile: Loading | None = None) -> Loading:
    """One of FUNCTIONS, by its name."""
    emit, dtype = FUNCTIONS[name]
    key = product_key(name)
    symbol = symbol_of(key)
    return Loading(key, cache.disk, lambda: emit(dtype, symbol, host_features()), (symbol,), level=PLAIN, draft=draft,
                   meanwhile=meanwhile)


def begun(tree: Tree, cache: Cache) -> dict[str, Loading]:
    """Functions that the products of a tree will call, by name, unless they are here."""
    work = _work_by_function(tree)
    draft = sum(work.values()) <= DRAFTED_WORK
    found: dict[str, Loading] = {}
    for name in sorted(work):               # those of other widths behind the usual ones
        if product_key(name) not in cache.addresses:
            found[name] = product(name, cache, draft, found.get(f"gemm_{FUNCTIONS[name][1]}"))
    return found


def _work_by_function(tree: Tree) -> dict[str, int]:
    """The functions that products call as they were recorded, and what they do; the optimizer's may call others."""
    types, work = tree.types(), dict[str, int]()
    most = {dtype: _most(dtype) for dtype in LLVM_TYPES}
    most |= dict.fromkeys(HALF_PRODUCTS if multiplies_halves(tree) else (), inf)
    for node in (node for block in tree.blocks for node in block.nodes if node.op == "matmul"):
        a, b = (types[v].shape for v in node.args)
        if node.type.dtype not in most or len(a) < 2 or len(b) < 2:
            continue
        m, k, n = typical(a[-2]), typical(a[-1]), typical(b[-1])
        if 0 < m * n * k < most[node.type.dtype]:
            name = function_of(m, n, k, node.type.dtype, host_features())
            batch = prod(map(typical, node.type.shape[:-2]))
            work[name] = work.get(name, 0) + batch * m * n * k
    return work


def _most(dtype: str) -> float:
    """So many multiply-adds of a product are not ours, whatever its form."""
    blas = multiplier(host_features())
    return inf if blas.kind == "own" else max(blas.begins(dtype, form) for form in FORMS)
