"""Every elementwise op, on every instruction set, against its reference: bit for bit, but for exp, log and tanh."""
from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from native_kernels import compile_kernel, each_features, elementwise_kernel

from codegen.ir.edges import EDGES, Edge, same_bits
from codegen.ir.ops import ELEMENTWISE, OPS
from codegen.ir.type_rules import TypeRuleError
from codegen.ir.types import COMPLEX, DTYPES, FLOATS, INTEGERS, TensorType
from codegen.llvm_cpu.operations import computes
from codegen.llvm_cpu.vector_math import FUNCTIONS, FUNCTIONS_OF_TWO

SUPPORTED = sorted(INTEGERS | FLOATS | {"bool"})
ELEMENTWISE_OPS = [op for op in OPS.values() if ELEMENTWISE in op.traits]
LENGTH = 203      # whole vectors and a remainder, on every instruction set


def cases() -> list[tuple[str, dict[str, str], tuple[str, ...]]]:
    """(op, attrs, dtypes of the operands): all that the type rules allow."""
    found = []
    for op in ELEMENTWISE_OPS:
        for dtype in SUPPORTED:
            for attrs in [{"dtype": d} for d in SUPPORTED] if op.name == "cast" else [{}]:
                if not computes(op.name, dtype):
                    continue
                dtypes = ("bool", dtype, dtype) if op.name == "where" else (dtype,) * op.arity
                try:
                    op.type_rule(*(TensorType(d) for d in dtypes), **attrs)
                except TypeRuleError:
                    continue
                found.append((op.name, attrs, dtypes))
    return found


def numbers(dtype: str, position: int) -> np.ndarray:
    """Special numbers of a dtype, in an order of their own for each operand, then random ones."""
    generator = np.random.default_rng(position)
    type = DTYPES[dtype]
    if dtype == "bool":
        return generator.integers(0, 2, LENGTH).astype(bool)
    if dtype in INTEGERS:
        limits = np.iinfo(type)
        special = np.array([limits.min, limits.min + 1, 0, 1, 2, 7, 31, 33, 64, limits.max - 1, limits.max], type)
        if limits.min < 0:
            special = np.append(special, np.array([-1, -2, -64], type))
        random = generator.integers(limits.min, limits.max, LENGTH, type, endpoint=True)
    else:
        limits = ml_dtypes.finfo(type)
        positive = [0.0, limits.smallest_subnormal, limits.tiny, 0.5, 1.0, 1.5, 127.0, 128.0, 255.5, 256.0, 32768.0,
                    65535.9, 2.0**31, 2.0**32, 2.0**63, 2.0**64, limits.max, np.inf, np.nan]
        with np.errstate(over="ignore"):
            special = np.array([sign * x for x in positive for sign in (1, -1)], type)
            random = (generator.normal(size=LENGTH) * 10.0 ** generator.integers(-3, 12, LENGTH)).astype(type)
    mixed = random.copy()
    mixed[:2 * special.size] = np.tile(generator.permutation(special), 2)
    mixed[special.size:special.size + special.size // 2] = special[:special.size // 2]
    return mixed


def same_numbers(a: np.ndarray, b: np.ndarray, zero_signs: bool) -> bool:
    return same_bits(a, b) if zero_signs else same_bits(a + 0, b + 0)


@each_features
@pytest.mark.parametrize("vector", ["i", None])
@pytest.mark.parametrize("op, attrs, dtypes", cases())
def test_an_op_gives_what_its_reference_gives(op, attrs, dtypes, vector, features):
    operands = [numbers(dtype, k) for k, dtype in enumerate(dtypes)]
    with np.errstate(all="ignore"):
        expected = np.asarray(OPS[op].reference(*operands, **attrs))
    result = np.empty(LENGTH, expected.dtype)
    assert not compile_kernel(elementwise_kernel(op, attrs, dtypes, LENGTH, vector), features)([*operands, result])
    if op in FUNCTIONS or op in FUNCTIONS_OF_TWO and dtypes[0] not in INTEGERS:
        rtol = 8 * float(ml_dtypes.finfo(result.dtype).eps)
        np.testing.assert_allclose(*(x.astype("f8") for x in (result, expected)), rtol, atol=0, equal_nan=True)
    else:
        zero_signs = op not in ("maximum", "minimum", "sign")
        assert same_numbers(result, expected, zero_signs), [
            (*x, r, e) for *x, r, e in zip(*operands, result, expected) if not same_numbers(
                np.array([r]), np.array([e]), zero_signs)]


def in_kernels(edge: Edge) -> bool:
    """Is it of an elementwise op on dtypes that kernels hold?"""
    graph = edge.graph()
    types = (*graph.inputs, *map(graph.type_of, graph.outputs))
    return ELEMENTWISE in OPS[edge.op].traits and not any(t.dtype in COMPLEX for t in types) and computes(
        edge.op, edge.dtype)


ELEMENTWISE_EDGES = list(filter(in_kernels, EDGES))


@each_features
@pytest.mark.parametrize("edge", ELEMENTWISE_EDGES, ids=str)
def test_the_edge_table_holds(edge, features):
    for size in (1, 70):
        operands = edge.inputs((size,))
        graph = edge.graph((size,))
        kernel = elementwise_kernel(edge.op, dict(edge.attrs), tuple(t.dtype for t in graph.inputs), size)
        result = np.empty(size, DTYPES[graph.type_of(graph.outputs[0]).dtype])
        compile_kernel(kernel, features)([*operands, result])
        assert edge.holds([result]), result


def test_what_is_said_to_have_code_has():
    assert {op.name for op in ELEMENTWISE_OPS if any(computes(op.name, dtype) for dtype in SUPPORTED)} > {"add", "exp"}
    assert not computes("div", "i32") and not computes("add", "bool")
