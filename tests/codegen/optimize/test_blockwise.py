"""What lies between two products, computed part by part."""
from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from codegen.compiler import compile_program
from codegen.ir.builder import Builder, Value
from codegen.ir.graph import Graph
from codegen.ir.interpret import interpret
from codegen.ir.types import TensorType
from codegen.ir.verify import verify
from codegen.optimize import blockwise
from codegen.optimize.pipeline import optimize
from codegen.schedule.pipeline import schedule

HEADS, LENGTH, WIDTH = 3, 70, 4
LEADS = {"heads": (1, HEADS), "one head": (1, 1), "batches": (2, HEADS), "no batch": ()}


@pytest.fixture(autouse=True)
def everything_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, number in {"LARGE_BYTES": 1, "PART_BYTES": 1 << 13, "LEAST_ROWS": 1}.items():
        monkeypatch.setattr(blockwise, name, number)


def softmax(s: Value) -> Value:
    e = (s - s.emit("max", axis=(s.ndim - 1,), keepdims=True)).emit("exp")
    return e / e.emit("sum", axis=(s.ndim - 1,), keepdims=True)


def softmax_of_reshaped_sums(s: Value) -> Value:
    def line(op: str, x: Value) -> Value:
        return x.emit(op, axis=(s.ndim - 1,), keepdims=False).emit("reshape", shape=(*s.shape[:-1], 1))
    e = (s - line("max", s)).emit("exp")
    return e * (e.constant(1.0) / line("sum", e)).emit("broadcast", shape=s.shape)


def causal(s: Value) -> Value:
    rows, columns = s.iota((LENGTH, 1), 0), s.iota((1, LENGTH), 1)
    return s.builder.emit("where", rows.emit("ge", columns), s, s.constant(float("-inf")))


VARIANTS: dict[str, Callable[[Value, Value], Value]] = {
    "softmax": lambda s, m: softmax(s * 0.5),
    "causal": lambda s, m: softmax(causal(s)),
    "a mask of numbers": lambda s, m: softmax(s + m),
    "reshaped sums": lambda s, m: softmax_of_reshaped_sums(s),
    "no sum": lambda s, m: (s * s).emit("tanh"),
    "nothing": lambda s, m: s,
}


def attention(lead: tuple[int, ...], between: Callable[[Value, Value], Value]) -> Graph:
    b = Builder("attention")
    q, k, v = (b.input(TensorType("f32", (*lead, LENGTH, WIDTH))) for _ in range(3))
    mask = b.input(TensorType("f32", (LENGTH, LENGTH)))
    axes = (*range(len(lead)), len(lead) + 1, len(lead))
    return b.graph([between(q.emit("matmul", k.emit("transpose", axes=axes)), mask).emit("matmul", v)])


def arrays(graph: Graph) -> list[np.ndarray]:
    random = np.random.default_rng(0)
    return [random.standard_normal(type.shape).astype(np.float32) for type in graph.inputs]


@pytest.mark.parametrize("between", VARIANTS.values(), ids=VARIANTS)
@pytest.mark.parametrize("lead", LEADS.values(), ids=LEADS)
def test_scores_are_never_all_there(lead: tuple[int, ...], between: Callable[[Value, Value], Value]) -> None:
    graph = attention(lead, between)
    best = optimize(graph)
    verify(best)
    whole = np.prod((*lead, LENGTH, LENGTH))
    products = [node for node in best.nodes if node.op == "matmul"]
    assert len(products) > 2
    assert max(np.prod(node.type.shape) for node in products) <= (whole + 1) // 2
    (wanted,), (found,) = interpret(graph, arrays(graph)), interpret(best, arrays(graph))
    np.testing.assert_allclose(found, wanted, rtol=2e-5, atol=1e-5)


def test_compiled() -> None:
    graph = attention((1, HEADS), VARIANTS["causal"])
    (wanted,) = interpret(graph, arrays(graph))
    np.testing.assert_allclose(compile_program(graph)(*arrays(graph))[0], wanted, rtol=1e-5, atol=1e-5)


def turned(x: Value) -> Value:
    return x.emit("transpose", axes=(*range(x.ndim - 2), x.ndim - 1, x.ndim - 2))


def trained(lead: tuple[int, ...], between: Callable[[Value], Value]) -> Graph:
    """Attention and the derivatives of something of all its results, which is what `between` makes of them."""
    b = Builder("trained")
    q, k, v = (b.input(TensorType("f32", (*lead, LENGTH, WIDTH))) for _ in range(3))
    p = softmax(causal(q.emit("matmul", turned(k))))
    y = p.emit("matmul", v)
    g = between(y)
    dp = g.emit("matmul", turned(v))
    ds = p * (dp - (dp * p).emit("sum", axis=(p.ndim - 1,), keepdims=True))
    return b.graph([y, ds.emit("matmul", k), turned(ds).emit("matmul", q), turned(p).emit("matmul", g)])


def of_the_same_row(y: Value) -> Value:
    return y * 0.5


def of_all_of_them(y: Value) -> Value:
    return y * (y * y).emit("sum", axis=tuple(range(y.ndim)), keepdims=True)


@pytest.mark.parametrize("between", [of_the_same_row, of_all_of_them])
@pytest.mark.parametrize("lead", LEADS.values(), ids=LEADS)
def test_derivatives_have_the_scores_computed_again(lead: tuple[int, ...], between: Callable[[Value], Value]) -> None:
    graph = trained(lead, between)
    best = optimize(graph)
    verify(best)
    whole = np.prod((*lead, LENGTH, LENGTH))
    assert max(np.prod(node.type.shape) for node in best.nodes if node.op == "matmul") <= (whole + 1) // 2
    assert schedule(best).arena_bytes < 0.6 * schedule(graph).arena_bytes
    for found, wanted in zip(interpret(best, arrays(graph)), interpret(graph, arrays(graph)), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-6 * np.abs(wanted).max())


@pytest.mark.parametrize("lead", LEADS.values(), ids=LEADS)
def test_two_layers_and_their_derivatives_keep_no_scores(lead: tuple[int, ...]) -> None:
    b = Builder("layers")
    x = b.input(TensorType("f32", (*lead, LENGTH, WIDTH)))
    ps = []
    y = x
    for _ in range(2):
        ps.append((y, softmax(causal(y.emit("matmul", turned(y))))))
        y = ps[-1][1].emit("matmul", y) * 0.5
    g = y
    for operand, p in reversed(ps):
        g = g * 0.5
        dp = g.emit("matmul", turned(operand))
        ds = p * (dp - (dp * p).emit("sum", axis=(p.ndim - 1,), keepdims=True))
        g = ds.emit("matmul", operand) + turned(ds).emit("matmul", operand) + turned(p).emit("matmul", g)
    graph = b.graph([y, g])
    best = optimize(graph)
    verify(best)
    whole = np.prod((*lead, LENGTH, LENGTH))
    assert max(np.prod(node.type.shape) for node in best.nodes if node.op == "matmul") <= (whole + 1) // 2
    for wanted, found in zip(interpret(graph, arrays(graph)), interpret(best, arrays(graph))):
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)


def test_what_takes_long_to_compute_again_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blockwise, "MOST_TERMS", WIDTH - 1)
    products = [sum(node.op == "matmul" for node in optimize(trained((1, HEADS), between)).nodes)
                for between in (of_all_of_them, of_the_same_row)]
    assert products[0] == 6 < products[1]


def column_softmax(s: Value, _: Value) -> Value:
    return s / s.emit("sum", axis=tuple(range(s.ndim - 1)), keepdims=True)


@pytest.mark.parametrize("outputs", [
    lambda b, p: [p.emit("exp").emit("matmul", b.constant(0.5, "f32").emit("broadcast", shape=p.shape)), p],
    lambda b, p: [p.emit("tanh").emit("matmul", p)],
    lambda b, p: [p.emit("matmul", p)],
    lambda b, p: [column_softmax(p, p).emit("matmul", p)],
], ids=["read by others too", "both operands", "twice", "over rows"])
def test_what_others_need_is_computed_whole(outputs: Callable[[Builder, Value], list[Value]]) -> None:
    b = Builder("whole")
    x, y = (b.input(TensorType("f32", (LENGTH, LENGTH))) for _ in range(2))
    graph = b.graph(outputs(b, x.emit("matmul", y)))
    best = optimize(graph)
    assert sum(node.op == "matmul" for node in best.nodes) == 2
    for found, wanted in zip(interpret(best, arrays(graph)), interpret(graph, arrays(graph)), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)
