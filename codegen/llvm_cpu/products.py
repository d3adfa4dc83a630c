"""products: the functions of our own that multiply matrices, loaded; for a program that is new, before it is scheduled.

They take longest to compile, and what a program multiplies is seen in what was recorded: a thread compiles them while
the program is optimized and scheduled. One that turns out not to be called is kept for the next program.
"""
from __future__ import annotations

from codegen.cache import Cache
from codegen.ir.dims import typical
from codegen.ir.tree import Tree
from codegen.llvm_cpu.blas_panels import LLVM_TYPES, multiplier
from codegen.llvm_cpu.executables import product_key, symbol_of
from codegen.llvm_cpu.features import host_features
from codegen.llvm_cpu.link import PLAIN
from codegen.llvm_cpu.loading import Loading
from codegen.llvm_cpu.matmul import FUNCTIONS


def product(name: str, cache: Cache) -> Loading:
    """One of FUNCTIONS, by its name."""
    emit, dtype = FUNCTIONS[name]
    key = product_key(name)
    symbol = symbol_of(key)
    return Loading(key, cache.disk, lambda: emit(dtype, symbol, host_features()), (symbol,), level=PLAIN)


def begun(tree: Tree, cache: Cache) -> dict[str, Loading]:
    """Functions that the products of a tree will call, by name, unless they are here."""
    found: dict[str, Loading] = {}
    for name in _called(tree):
        if product_key(name) not in cache.addresses:
            found[name] = product(name, cache)
    return found


def _called(tree: Tree) -> list[str]:
    """The functions that products call as they were recorded; what the optimizer makes of them may call others."""
    above, types, names = _most(), tree.types(), dict[str, None]()
    for node in (node for block in tree.blocks for node in block.nodes if node.op == "matmul"):
        a, b = (types[v].shape for v in node.args)
        if node.type.dtype not in LLVM_TYPES or len(a) < 2 or len(b) < 2:
            continue
        m, k, n = typical(a[-2]), typical(a[-1]), typical(b[-1])
        if 0 < m * n * k < above:
            names[f"{'gemm_row' if 1 in (m, n) else 'gemm'}_{node.type.dtype}"] = None
    return list(names)


def _most() -> float:
    """So many multiply-adds of a product are not ours."""
    blas = multiplier(host_features())
    return float("inf") if blas.kind == "own" else blas.above
