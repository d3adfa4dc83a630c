"""Every op of the table: eager, interpreted and compiled alike, and so are its first and second derivatives.

All cases of one op and one dtype are one graph, compiled at once: cases of `op_cases`, and larger ones whose sizes are
no multiples of a vector. Element types that kernels do not compute in are left out.
"""
from __future__ import annotations

import zlib
from collections.abc import Iterator
from functools import cache, partial

import numpy as np
import pytest
from op_cases import LIBRARY_OPS, Operands, attrs, cases, complex_cases, drawn, eps_of, has_free_phases, strided, wide
from vector_math_sweep import exact as exact_function

from codegen import Cache, compile_program
from codegen.ir.builder import Builder
from codegen.ir.edges import EDGES, same_bits
from codegen.ir.graph import Graph
from codegen.ir.interpret import interpret
from codegen.ir.ops import CREATION, ELEMENTWISE, MOVEMENT, OPS, Op
from codegen.ir.program import CHECK_FAILED, Exit
from codegen.ir.types import DTYPES, FLOATS, INEXACT, NAMES, type_of
from codegen.llvm_cpu.vector_math import FUNCTIONS, FUNCTIONS_OF_TWO
from tracegrad.autodiff import differentiate
from tracegrad.derivatives import VJPS
from tracegrad.dispatch import dispatch
from tracegrad.tensors import Tensor

LARGE = ((67,), (5, 33, 17), (3, 129), (1031,), (130, 7))
"""An elementwise op of one operand is a loop over all elements, whatever their shape: it has two of them."""
LARGE_PAIRS = (((67,), ()), ((3, 129), (129,)), ((130, 1), (1, 37)), ((1031,), (1031,)), ((5, 33, 17), (33, 1)))
IN_ULPS = dict.fromkeys((*FUNCTIONS, *FUNCTIONS_OF_TWO), 2)
"""Ops whose compiled result is near the correctly rounded one; eager gives NumPy's."""

SUMS = ("sum", "prod", "matmul")
"""Ops that add up, in an order of their own."""


def larger(op: Op) -> Iterator[Operands]:
    """Cases whose loops have a vector part and a rest."""
    for dtype in op.dtypes:
        match op.name:
            case name if name in ("constant", "random_bits", *LIBRARY_OPS):
                pass
            case "iota":
                yield from (([], {"shape": s, "axis": k, "dtype": dtype}) for s in LARGE for k in range(len(s)))
            case "matmul":
                for batch, m, k, n in (((), 65, 33, 17), ((3,), 7, 70, 5), ((), 1, 129, 1), ((), 130, 67, 131)):
                    yield [drawn(op, dtype, (*batch, m, k), 1), drawn(op, dtype, (*batch, k, n), 2)], {}
            case "recurrence" | "concat":
                for shape in LARGE:
                    for axis in range(len(shape)):
                        yield [drawn(op, dtype, shape, 14), drawn(op, dtype, shape, 15)], {"axis": axis}
            case "searchsorted":
                for batch, n, m in (((), 1000, 70), ((3,), 67, 131), ((130,), 8, 3)):
                    x = np.sort(drawn(op, dtype, (*batch, n), 16))
                    yield [x, drawn(op, dtype, (*batch, m), 17)], {"right": n == 67}
            case "gather" | "scatter_add" | "scatter":
                for shape, axis, count in (((67,), 0, 131), ((9, 70), 1, 33), ((70, 9), 0, 5)):
                    where = (*shape[:axis], count, *shape[axis + 1:])
                    indices = np.random.default_rng(3).integers(-shape[axis], shape[axis], where)
                    yield [drawn(op, dtype, shape, 4), indices, drawn(op, dtype, where, 5)][:op.arity], {"axis": axis}
            case "where":
                for a, b in LARGE_PAIRS:
                    yield [drawn(op, "bool", b, 6), drawn(op, dtype, a, 7), drawn(op, dtype, b, 8)], {}
            case _ if op.arity == 2:
                for a, b in LARGE_PAIRS:
                    yield [drawn(op, dtype, a, 9), drawn(op, dtype, b, 10)], {}
            case _:
                for shape in LARGE[:2] if ELEMENTWISE in op.traits else LARGE:
                    for chosen in attrs(op.name, shape):
                        if op.name != "cast" or chosen["dtype"] in ("f32", "f64", "i32", "bool", "u8"):
                            yield [drawn(op, dtype, shape, 13)], chosen


@cache
def every_case(op: Op) -> list[tuple[str, list[Operands]]]:
    """(dtype, its cases) for each dtype of an op."""
    by_dtype: dict[str, list[Operands]] = {}
    for operands, chosen in (*cases(op), *complex_cases(op), *larger(op)):
        dtype = chosen["dtype"] if CREATION in op.traits else NAMES[operands[1 if op.name == "where" else 0].dtype]
        by_dtype.setdefault(str(dtype), []).append((operands, chosen))
    return [*by_dtype.items()]


MOVED_AS_OTHERS = ("i8", "u16", "u32", "u64")
"""Of what only moves, the texts of kernels of these are, word for word, those of u8, i16, i32 and i64."""

TWICE_DIFFERENTIATED = ("f32", "bf16", "c64")
"""Rules do not know how wide a number is, and the kernels of the other types are in first derivatives: these stand for
what computes in its own precision, what does in another, and pairs.
"""

OP_AND_DTYPE = [pytest.param(op, found, id=f"{op.name}-{dtype}") for op in OPS.values()
                for dtype, found in every_case(op) if not (MOVEMENT in op.traits and dtype in MOVED_AS_OTHERS)]
DIFFERENTIATED = [pytest.param(op, found, order, id=f"{op.name}-{dtype}-{order}") for op in OPS.values()
                  if op.name in VJPS for dtype, found in every_case(op) if dtype in INEXACT
                  for order in (1, 2) if order == 1 or dtype in TWICE_DIFFERENTIATED]
"""All but the factors that can be any, which have no derivative."""


def graph_of(op: Op, found: list[Operands]) -> tuple[Graph, list[np.ndarray]]:
    """A graph with an output for each case, and its inputs."""
    b = Builder(op.name)
    arrays = [x for operands, _ in found for x in operands]
    inputs = iter([b.input(type_of(x)) for x in arrays])
    return b.graph([b.emit(op.name, *(next(inputs) for _ in operands), **chosen) for operands, chosen in found]), arrays


def interpreted(graph: Graph, inputs: list[np.ndarray]) -> list[np.ndarray]:
    results = interpret(graph, inputs)
    assert not isinstance(results, Exit)
    return results


def assert_equal(actual: np.ndarray, expected: np.ndarray, zero_signs: bool) -> None:
    assert type_of(actual) == type_of(expected)
    if not zero_signs and type_of(expected).dtype in FLOATS:
        actual, expected = actual + 0, expected + 0
    assert same_bits(actual, expected)


def assert_within(op: Op, operands: list[np.ndarray], chosen: dict, actual: np.ndarray, expected: np.ndarray) -> None:
    """What is promised of ops that round in their own way."""
    assert type_of(actual) == type_of(expected)
    if not expected.size:
        return
    eps = eps_of(expected.dtype)
    exactly = [x.astype(np.longdouble) for x in operands]
    with np.errstate(all="ignore"):
        exact = np.asarray((partial(exact_function, op.name) if op.name in IN_ULPS else op.reference)(
            *exactly, **chosen))
    error = np.abs(actual - exact)
    if op.name in IN_ULPS:
        size = np.maximum(np.abs(exact), 1) if op.name == "logaddexp" else np.abs(exact)     # it may cancel
        assert np.all(error <= IN_ULPS[op.name] * np.spacing(size.astype(expected.dtype)))
        return
    terms = operands[0].shape[-1] if op.name == "matmul" else operands[0].size // expected.size
    # A pairwise sum of n terms is off by at most about log2(n) roundings; the products of a matmul round once more.
    roundings = terms if op.name == "prod" else np.log2(max(terms, 1)) + 3
    scale = np.asarray(op.reference(*map(np.abs, exactly), **chosen))
    assert np.all(error <= roundings * eps * scale)


@pytest.mark.parametrize("op, found", OP_AND_DTYPE)
def test_eager_interpreted_and_compiled_are_the_same(op: Op, found: list[Operands]) -> None:
    graph, arrays = graph_of(op, found)
    expected = interpreted(graph, arrays)
    eager = [dispatch(op.name, *map(Tensor, operands), **chosen).array for operands, chosen in found]
    for a, e in zip(eager, expected, strict=True):
        assert_equal(a, e, True)
    executable = compile_program(graph, cache=Cache(None))
    compiled = executable(*arrays)
    rounds = expected and type_of(expected[0]).dtype in FLOATS and (op.name in IN_ULPS or op.name in SUMS)
    for (operands, chosen), a, e in zip(found, compiled, expected, strict=True):
        if rounds:
            assert_within(op, operands, chosen, a, e)
        else:
            assert_equal(a, e, op.name not in ("maximum", "minimum", "max", "min", "sign"))
    for a, e in zip(executable(*map(strided, arrays)), compiled, strict=True):
        assert_equal(a, e, True)
    strided_eager = [dispatch(op.name, *(Tensor(strided(x)) for x in operands), **chosen).array
                     for operands, chosen in found]
    for a, e in zip(strided_eager, eager, strict=True):
        if op.name in SUMS or op.name in IN_ULPS:       # NumPy adds in the order of memory
            tolerance = (256 if op.name == "prod" else 16) * eps_of(a.dtype)
            np.testing.assert_allclose(wide(a), wide(e), tolerance, 4 * tolerance)
        else:
            assert_equal(a, e, True)


@pytest.mark.parametrize("op, found, order", DIFFERENTIATED)
def test_derivatives_are_the_same_interpreted_and_compiled(op: Op, found: list[Operands], order: int) -> None:
    found = [case for case in found if op.name != "qr" or not has_free_phases(op, *case)]
    chosen = found if order == 1 else found[::3]
    graph, arrays = graph_of(op, chosen)
    rng = np.random.default_rng(zlib.crc32(op.name.encode()))
    for _ in range(order):
        wrt = [k for k, type in enumerate(graph.inputs) if type.dtype in INEXACT]
        types = [graph.type_of(v) for v in graph.outputs if graph.type_of(v).dtype in INEXACT]
        arrays = [*arrays, *(np.asarray(rng.normal(size=t.shape), DTYPES[t.dtype]) for t in types)]
        graph = differentiate(graph, wrt)
    for a, e in zip(compile_program(graph)(*arrays), interpreted(graph, arrays), strict=True):
        assert type_of(a) == type_of(e)
        tolerance = 64 * eps_of(e.dtype)
        np.testing.assert_allclose(wide(a), wide(e), tolerance, tolerance * max(1.0, np.abs(wide(e)).max(initial=0)))


@pytest.mark.parametrize("size", [(), (1,), (70,)], ids=str)
def test_the_edge_table_holds_compiled(size: tuple[int, ...]) -> None:
    for edge in EDGES:
        if size and ELEMENTWISE not in OPS[edge.op].traits:
            continue
        graph = edge.graph(size)
        executable = compile_program(graph)
        outputs = [np.empty(t.shape, DTYPES[t.dtype]) for t in executable.outputs()]
        left_at = executable.run((*(np.require(x, requirements="C") for x in edge.inputs(size)), *outputs))
        assert edge.holds(CHECK_FAILED if left_at >= 0 else outputs), f"{edge}: {outputs}"
