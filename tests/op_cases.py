"""Operands and attrs that fit each op of the table, over dtypes and shapes: what generated tests run the ops on."""
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import permutations, product

import ml_dtypes
import numpy as np

from codegen.ir.ops import Op
from codegen.ir.type_rules import TypeRuleError
from codegen.ir.types import COMPLEX, DTYPES, INEXACT, type_of

Operands = tuple[list[np.ndarray], dict[str, object]]

SHAPES = ((), (0,), (1,), (5,), (2, 3), (3, 1), (2, 0, 3), (2, 3, 4))
PAIRS = (((), ()), ((0,), (0,)), ((1,), (0,)), ((1,), (5,)), ((3, 1), (5,)), ((2, 3), (2, 3)), ((), (2, 3)),
         ((2, 0), (1,)))
INDEXED = (((5,), 0, 3), ((2, 3), 1, 1), ((3, 2), 0, 4), ((2, 0), 0, 3), ((2, 3, 4), 1, 0))
"""Shape, axis and number of indices along it."""


def drawn(op: Op, dtype: str, shape: tuple[int, ...], seed: int) -> np.ndarray:
    """Numbers of the op's domain."""
    rng = np.random.default_rng(seed)
    if dtype == "bool":
        return rng.integers(0, 2, shape).astype(bool)
    low, high = op.domain
    if dtype.startswith("u"):
        low = 0
    if dtype in COMPLEX:
        return np.asarray(rng.uniform(low, high, shape) + 1j * rng.uniform(low, high, shape)).astype(DTYPES[dtype])
    return np.asarray(rng.uniform(low, high, shape)).astype(DTYPES[dtype])


def reductions(shape: tuple[int, ...]) -> Iterator[dict[str, object]]:
    for axis in {(), *((k,) for k in range(len(shape))), tuple(range(len(shape)))}:
        for keepdims in (False, True):
            yield {"axis": axis, "keepdims": keepdims}


def attrs(op: str, shape: tuple[int, ...]) -> Iterator[dict[str, object]]:
    """Attrs that fit an operand of this shape."""
    n = len(shape)
    match op:
        case "cast":
            yield from ({"dtype": dtype} for dtype in DTYPES)
        case "polygamma":
            yield from ({"order": order} for order in (0, 1, 2))
        case "sum" | "prod":
            yield from reductions(shape)
        case "max" | "min":
            yield from (a for a in reductions(shape) if all(shape[k] for k in a["axis"]))  # type: ignore[attr-defined]
        case "argmax" | "argmin":
            yield from ({"axis": k, "keepdims": keep} for k in range(n) for keep in (False, True) if shape[k])
        case "broadcast":
            yield {"shape": shape}
            yield {"shape": (2, 1, *(4 if size == 1 else size for size in shape))}
        case "reshape":
            yield {"shape": (int(np.prod(shape)),)}
            yield {"shape": (*shape[::-1], 1)}
        case "transpose":
            yield {"axes": tuple(range(n))}
            yield {"axes": tuple(range(n))[::-1]}
        case "slice":
            yield {"start": (0,) * n, "stop": shape, "step": (1,) * n}
            yield {"start": tuple(s // 3 for s in shape), "stop": tuple(s - s // 4 for s in shape), "step": (2,) * n}
        case "flip":
            yield {"axes": tuple(range(n))}
            yield {"axes": ()}
        case "pad":
            yield {"low": (0,) * n, "high": (0,) * n, "interior": (0,) * n}
            yield {"low": (1,) * n, "high": (2,) * n, "interior": (1,) * n}
        case "shear":
            yield {"axes": (), "along": (), "step": (), "dilation": ()}
            yield from ({"axes": (a,), "along": (o,), "step": (s,), "dilation": (d,)}
                        for a, o in permutations(range(n), 2) for s, d in ((1, 1), (2, 1), (1, 2), (3, 2))
                        if shape[a] > (shape[o] - 1) * d)
        case "unshear":
            yield {"axes": (), "along": (), "step": (), "dilation": (), "size": ()}
            yield from ({"axes": (a,), "along": (o,), "step": (s,), "dilation": (d,),
                         "size": (max(0, (shape[a] - 1) * s + (shape[o] - 1) * d + s),)}
                        for a, o in permutations(range(n), 2) for s, d in ((1, 1), (2, 1), (1, 2), (3, 2)) if shape[a])
        case "cumsum" | "cumprod" | "cummax" | "cummin" | "sort" | "argsort":
            yield from ({"axis": k} for k in range(n))
        case _:
            yield {}


def cases(op: Op) -> Iterator[Operands]:
    """Operands and attrs that fit, over dtypes and shapes."""
    for dtype in op.dtypes:
        match op.name:
            case "constant":
                texts = {"i": ("0", "7"), "u": ("0", "7"), "bool": ("true", "false")}
                for text in texts.get("bool" if dtype == "bool" else dtype[0], ("-0.0", "nan", "0.5")):
                    yield [], {"value": text, "dtype": dtype}
            case "iota":
                for shape in SHAPES[1:]:
                    for axis in range(len(shape)):
                        yield [], {"shape": shape, "axis": axis, "dtype": dtype}
            case "random_bits":
                for shape in SHAPES:
                    yield [np.asarray(np.uint64(2**63 + 5)), np.asarray(np.uint64(2**32 - 1))], {"shape": shape}
            case "matmul":
                for batch, m, k, n in (((), 2, 3, 4), ((), 1, 0, 2), ((), 0, 3, 0), ((5,), 2, 3, 1), ((0,), 2, 3, 4)):
                    yield [drawn(op, dtype, (*batch, m, k), 1), drawn(op, dtype, (*batch, k, n), 2)], {}
            case name if name in MATRIX_OPS:
                yield from matrix_cases(op, dtype)
            case "fft" | "rfft" | "irfft":
                yield from transform_cases(op, dtype)
            case "recurrence":
                for shape in SHAPES[1:]:
                    for axis in range(len(shape)):
                        yield [drawn(op, dtype, shape, 14), drawn(op, dtype, shape, 15)], {"axis": axis}
            case "concat":
                for shape in SHAPES[1:]:
                    for axis in range(len(shape)):
                        longer = (*shape[:axis], shape[axis] + 2, *shape[axis + 1:])
                        yield [drawn(op, dtype, shape, 18), drawn(op, dtype, longer, 19)], {"axis": axis}
            case "searchsorted":
                for batch, n, m in (((), 5, 7), ((), 0, 3), ((), 1, 4), ((3,), 8, 2), ((0,), 2, 3), ((2, 2), 3, 0)):
                    x = np.sort(drawn(op, dtype, (*batch, n), 16))
                    values = drawn(op, dtype, (*batch, m), 17)
                    values[..., :min(n, m):2] = x[..., :min(n, m):2]
                    yield from (([x, values], {"right": right}) for right in (False, True))
            case "gather" | "scatter_add" | "scatter":
                for shape, axis, count in INDEXED:
                    where = (*shape[:axis], count, *shape[axis + 1:])
                    indices = np.random.default_rng(3).integers(-shape[axis], shape[axis], where)
                    operands = [drawn(op, dtype, shape, 4), indices, drawn(op, dtype, where, 5)]
                    yield operands[:op.arity], {"axis": axis}
            case "where":
                for a, b in PAIRS:
                    yield [drawn(op, "bool", b, 6), drawn(op, dtype, a, 7), drawn(op, dtype, b, 8)], {}
            case _ if op.arity == 2:
                for a, b in PAIRS:
                    yield [drawn(op, dtype, a, 9), drawn(op, dtype, b, 10)], {}
                    yield [drawn(op, dtype, b, 11), drawn(op, dtype, a, 12)], {}
            case _:
                for shape in SHAPES:
                    for chosen in attrs(op.name, shape):
                        yield [drawn(op, dtype, shape, 13)], chosen


MATRIX_OPS = ("cholesky", "triangular_solve", "solve", "det", "slogdet", "qr", "svd", "svdvals", "eigh", "eigvalsh",
              "eig", "eigvals", "pinv", "expm")
LIBRARY_OPS = (*MATRIX_OPS, "fft", "rfft", "irfft")
"""Routines of NumPy and SciPy on whole matrices or lines."""

HERMITIAN = ("cholesky", "eigh", "eigvalsh")
"""Ops that read one triangle of a hermitian operand: their derivative is that of the hermitian whole."""


def well_conditioned(op: Op, dtype: str, shape: tuple[int, ...], seed: int) -> np.ndarray:
    """Matrices near n times those with 1, 2, 3, ... on the diagonal; hermitian where the op wants them so."""
    x = drawn(op, dtype, shape, seed) / 3
    if op.name in HERMITIAN:
        x = (x + x.conj().swapaxes(-1, -2)) / 2
    n = min(shape[-2:])
    return (x + n * np.eye(*shape[-2:]) * np.arange(1, shape[-1] + 1)).astype(DTYPES[dtype])


def matrix_cases(op: Op, dtype: str) -> Iterator[Operands]:
    """Square matrices, tall and wide ones where they are taken, batches, nothing."""
    squares = ((3, 3), (1, 1), (0, 0), (2, 2, 2), (0, 3, 3))
    others = ((4, 2), (2, 4), (2, 3, 1), (0, 3), (3, 0))
    any_shape = op.name in ("qr", "svd", "svdvals", "pinv")
    flags = {
        "triangular_solve": [{"lower": lower, "adjoint": adjoint, "unit": unit}
                             for lower, adjoint, unit in product((False, True), repeat=3)],
        "qr": [{"complete": False}, {"complete": True}],
        "svd": [{"full": False}, {"full": True}],
    }
    for shape in (*squares, *others) if any_shape else squares:
        x = well_conditioned(op, dtype, shape, 14)
        for chosen in flags.get(op.name, [{}]):
            if op.name == "pinv":
                yield [x, np.full(shape[:-2], 1e-4, x.real.dtype)], chosen
            elif op.arity == 2:
                yield [x, drawn(op, dtype, (*shape[:-1], 2), 15)], chosen
            elif not (shape == (3, 0) and op.name == "qr" and chosen["complete"]):
                yield [x], chosen


def transform_cases(op: Op, dtype: str) -> Iterator[Operands]:
    """Lines of even and odd length, along each axis and along two."""
    for shape in ((1,), (4,), (5,), (2, 3), (2, 3, 2), (0, 3)):
        x = drawn(op, dtype, shape, 16)
        for k in (k for k in range(len(shape)) if shape[k]):
            match op.name:
                case "fft":
                    for inverse in (False, True):
                        yield [x], {"axes": (k,), "inverse": inverse}
                case "rfft":
                    yield [x], {"axis": k}
                case "irfft":
                    for size in (2 * shape[k] - 2, 2 * shape[k] - 1):
                        if size:
                            yield [x], {"axis": k, "size": size}
    if op.name == "fft":
        yield [drawn(op, dtype, (2, 3), 17)], {"axes": (0, 1), "inverse": False}


def has_free_phases(op: Op, operands: list[np.ndarray], chosen: dict[str, object]) -> bool:
    """Does the result hold vectors that are known up to a phase, or any basis, so that as numbers they do not vary?"""
    x = operands[0] if operands else np.empty(0)
    match op.name:
        case "eig":
            return True
        case "eigh":
            return x.dtype.kind == "c"
        case "svd":
            return x.dtype.kind == "c" or bool(chosen["full"]) and x.shape[-1] != x.shape[-2]
        case "qr":
            return bool(chosen["complete"]) and x.shape[-2] > x.shape[-1]
    return False


def complex_cases(op: Op) -> Iterator[Operands]:
    """Cases of complex operands, for an op whose type rule admits them."""
    if "c128" in op.dtypes:
        return
    for dtype in ("c64", "c128"):
        for operands, chosen in cases(replace(op, dtypes=(dtype,))):
            try:
                op.type_rule(*map(type_of, operands), **chosen)
            except TypeRuleError:
                continue
            if any(x.dtype.kind == "c" for x in operands):
                yield operands, chosen


def wide(x: np.ndarray) -> np.ndarray:
    """The same numbers in 64 bits, each part of a complex one."""
    return x.astype(np.complex128 if x.dtype.kind == "c" else np.float64)


def eps_of(dtype: np.dtype) -> float:
    """The distance from 1 to the next number of a dtype, of its parts if it is complex; 0 of integers."""
    return float(ml_dtypes.finfo(dtype).eps) if type_of(np.empty(0, dtype)).dtype in INEXACT else 0.0


def strided(x: np.ndarray) -> np.ndarray:
    """The same array, every other element of a larger one, last axis first in memory."""
    if x.ndim == 0:
        return x
    wide = np.zeros([2 * size for size in x.shape[::-1]], x.dtype).transpose()
    view = wide[tuple(slice(None, None, 2) for _ in x.shape)]
    view[...] = x
    return view
