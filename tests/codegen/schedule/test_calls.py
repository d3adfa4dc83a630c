"""How matmuls read their operands: transposes as flags, one product for a shared matrix, copies only where need be."""
from __future__ import annotations

import numpy as np
import pytest
from plan_oracle import agree, kernels_of

from codegen.ir.builder import Builder, Value
from codegen.ir.types import TensorType
from codegen.schedule.pipeline import schedule
from codegen.schedule.plan import Host, Matmul, Plan


def inputs(*shapes: tuple[int, ...], dtype: str = "f64") -> list[Value]:
    b = Builder("f")
    return [b.input(TensorType(dtype, shape)) for shape in shapes]


def planned(*results: Value) -> Plan:
    graph = results[0].builder.graph(results)
    rng = np.random.default_rng(0)
    return agree(graph, [rng.normal(size=t.shape) for t in graph.inputs])


def products(plan: Plan) -> list[Matmul]:
    return [step for step in plan.steps if isinstance(step, Matmul)]


def turned(x: Value) -> Value:
    return x.emit("transpose", axes=(*range(x.ndim - 2), x.ndim - 1, x.ndim - 2))


@pytest.mark.parametrize("turn_a, turn_b", [(False, False), (True, False), (False, True), (True, True)])
@pytest.mark.parametrize("batch", [(), (2,), (2, 3)])
def test_transposes_are_flags(batch: tuple[int, ...], turn_a: bool, turn_b: bool) -> None:
    a, b = inputs((*batch, 4, 5), (*batch, 5, 6))
    if turn_a:
        a, = inputs((*batch, 5, 4))
        b = a.builder.input(TensorType("f64", (*batch, 5, 6)))
    if turn_b:
        b = a.builder.input(TensorType("f64", (*batch, 6, 5)))
    plan = planned((turned(a) if turn_a else a).emit("matmul", turned(b) if turn_b else b))
    (product,) = products(plan)
    assert (product.transpose_a, product.transpose_b) == (turn_a, turn_b)
    assert (product.m, product.n, product.k) == (4, 6, 5) and kernels_of(plan) == []


def test_one_product_for_a_shared_matrix() -> None:
    x, w = inputs((3, 4, 5), (6, 5))
    plan = planned(x.emit("matmul", turned(w.emit("broadcast", shape=(3, 6, 5)))))
    (product,) = products(plan)
    assert (product.batch, product.m, product.transpose_b) == (1, 12, True) and kernels_of(plan) == []


def test_shared_matrix_on_the_left_is_repeated() -> None:
    x, w = inputs((3, 4, 5), (6, 4))
    plan = planned(w.emit("broadcast", shape=(3, 6, 4)).emit("matmul", x))
    assert products(plan)[0].batch == 3 and len(kernels_of(plan)) == 1


def test_reshapes_are_seen_through() -> None:
    x, w = inputs((2, 6, 4), (4, 5))
    plan = planned(x.emit("reshape", shape=(12, 4)).emit("matmul", w).emit("reshape", shape=(2, 6, 5)))
    assert kernels_of(plan) == [] and plan.arena_bytes == 0


def test_parts_are_copied() -> None:
    for first in (0, 2):
        x, w = inputs((8, 4), (4, 5))
        plan = planned(x.emit("slice", start=(first, 0), stop=(first + 4, 4), step=(1, 1)).emit("matmul", w))
        assert len(kernels_of(plan)) == 1


def test_what_is_moved_alike_is_moved_once() -> None:
    """q @ k and p @ turned(k) with k turned by heads: one copy of k."""
    x, q, p = inputs((5, 2, 4), (2, 3, 4), (2, 3, 5))
    heads = x.emit("transpose", axes=(1, 0, 2))
    plan = planned(q.emit("matmul", x.emit("transpose", axes=(1, 2, 0))), p.emit("matmul", heads))
    assert len(kernels_of(plan)) == 1 and sum(b.place.__class__.__name__ == "Arena" for b in plan.buffers) == 1


@pytest.mark.parametrize("m, k, n", [(0, 3, 4), (2, 0, 4), (2, 3, 0), (1, 1, 1)])
def test_small_and_empty(m: int, k: int, n: int) -> None:
    a, b = inputs((m, k), (k, n))
    assert len(products(planned(a.emit("matmul", b)))) == (m * k * n > 0)


def test_integers_are_multiplied_by_the_host() -> None:
    a, b = inputs((2, 3), (3, 2), dtype="i64")
    step, _ = schedule(a.builder.graph([a.emit("matmul", b)])).steps
    assert isinstance(step, Host) and step.op == "matmul"
