"""The same mathematics in other words comes to as few kernels, passes and loads: no rule names softmax or heat."""
from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from native_kernels import compile_kernel, each_features
from plan_oracle import agree, kernels_of
from training_graphs import inputs_for

from codegen.ir.builder import Builder, Value
from codegen.ir.graph import Graph
from codegen.ir.types import TensorType
from codegen.optimize.pipeline import optimize
from codegen.schedule.kernel import Load, Store, Unary
from codegen.schedule.kernel_interpret import run_kernel
from codegen.schedule.machine import Machine
from codegen.schedule.plan import Plan
from codegen.schedule.shelves import MOST_POINTS, shelved_values

ROWS, COLUMNS = 64, 96


def reduced(x: Value, op: str = "sum") -> Value:
    return x.emit(op, axis=(1,), keepdims=True)


def planned(graph: Graph, machine: Machine | None = None) -> Plan:
    graph = optimize(graph)
    return agree(graph, inputs_for(graph), machine=machine, rtol=1e-3, atol=1e-4)


def graph_of_rows(function: Callable[..., list[Value]], operands: int) -> Graph:
    b = Builder("rows")
    return b.graph(function(*(b.input(TensorType("f32", (ROWS, COLUMNS))) for _ in range(operands))))


SOFTMAXES: dict[str, Callable[[Value], Value]] = {
    "around the largest": lambda x: (e := (x - reduced(x, "max")).emit("exp")) / reduced(e),
    "as it is defined": lambda x: x.emit("exp") / reduced(x.emit("exp")),
    "by a reciprocal": lambda x: (e := (x - reduced(x, "max")).emit("exp")) * (1.0 / reduced(e)),
    "by logarithms": lambda x: ((a := x - reduced(x, "max")) - reduced(a.emit("exp")).emit("log")).emit("exp"),
    "around the least, upside down": lambda x: (e := (-(-x - reduced(-x, "min"))).emit("exp")) / reduced(e),
}


@pytest.mark.parametrize("room", [MOST_POINTS, 0])
@pytest.mark.parametrize("name", SOFTMAXES)
def test_softmax_and_its_derivative(name: str, room: int) -> None:
    """One kernel; each exponential once, what it gives is shelved, or left in a result where there is no room."""
    def both(x: Value, g: Value) -> list[Value]:
        y = SOFTMAXES[name](x)
        return [y, y * (g - reduced(g * y))]

    (kernel,) = kernels_of(planned(graph_of_rows(both, 2), Machine(shelf_points=room)))
    exponentials = [s for one in kernel.passes for s in one.body if isinstance(s, Unary) and s.op == "exp"]
    assert len(exponentials) == 1 + (name == "by logarithms")
    assert sum(bool(one.axes) for one in kernel.passes) <= 4
    assert bool(shelved_values(kernel)) == bool(room) and any(p.access == "inout" for p in kernel.params) != bool(room)


def test_what_is_left_in_a_result_is_not_written_over_the_operand() -> None:
    """The result is to be in the storage of x, which is read once more after the exponential is known."""
    def function(x: Value) -> list[Value]:
        e = (x - reduced(x, "max")).emit("exp")
        return [e / reduced(e) + x]

    graph = optimize(graph_of_rows(function, 1))
    plan = agree(graph, inputs_for(graph), ((0, 0),), Machine(shelf_points=0), rtol=1e-3, atol=1e-4)
    assert any(isinstance(s, Store) for s in kernels_of(plan)[0].passes[2].body)


VARIANCES: dict[str, tuple[Callable[[Value], Value], int]] = {          # and how often it goes over the rows
    "mean of squares around the mean": (lambda x: (a := x - reduced(x) / COLUMNS) and reduced(a * a) / COLUMNS, 2),
    "squared differences, summed": (
        lambda x: reduced((x - reduced(x) * (1 / COLUMNS)) * (x - reduced(x) * (1 / COLUMNS))) * (1 / COLUMNS), 2),
    "mean of squares less the squared mean": (
        lambda x: reduced(x * x) / COLUMNS - (reduced(x) / COLUMNS) * (reduced(x) / COLUMNS), 1),
}


@pytest.mark.parametrize("name", VARIANCES)
def test_layer_norm(name: str) -> None:
    variance, passes = VARIANCES[name]

    def norm(x: Value) -> list[Value]:
        return [(x - reduced(x) / COLUMNS) / (variance(x) + 1e-5).emit("sqrt")]

    (kernel,) = kernels_of(planned(graph_of_rows(norm, 1)))
    assert sum(bool(one.axes) for one in kernel.passes) == passes + 1


def sliced(u: Value, start: tuple[int, int], size: tuple[int, int]) -> Value:
    return u.emit("slice", start=start, stop=tuple(a + n for a, n in zip(start, size)), step=(1, 1))


def padded(u: Value, low: tuple[int, int], high: tuple[int, int]) -> Value:
    return u.emit("pad", low=low, high=high, interior=(0, 0))


def by_slices(u: Value) -> Value:
    """The inside is computed from slices and written into the array."""
    n, m = (s - 2 for s in u.shape)
    parts = [sliced(u, start, (n, m)) for start in ((1, 1), (0, 1), (2, 1), (1, 0), (1, 2))]
    new = parts[0] + (parts[1] + parts[2] + parts[3] + parts[4] - parts[0] * 4.0) * 0.2
    inside = u.builder.constant(True, "bool").emit("broadcast", shape=(n, m))
    return padded(inside, (1, 1), (1, 1)).emit("where", padded(new, (1, 1), (1, 1)), u)


def by_rolling(u: Value) -> Value:
    """Each neighbor is the array turned round by one, so that the edges meet."""
    def rolled(axis: int, by: int) -> Value:
        size = u.shape[axis]
        cut = size - 1 if by > 0 else 1
        starts, sizes = [[0, 0], [0, 0]], [list(u.shape), list(u.shape)]
        starts[0][axis], sizes[0][axis], sizes[1][axis] = cut, size - cut, cut
        parts = [sliced(u, tuple(a), tuple(n)) for a, n in zip(starts, sizes)]
        room = [[0, 0], [0, 0]]
        room[0][axis], room[1][axis] = cut, size - cut
        return padded(parts[0], (0, 0), tuple(room[0])) + padded(parts[1], tuple(room[1]), (0, 0))
    return u + (rolled(0, 1) + rolled(0, -1) + rolled(1, 1) + rolled(1, -1) - u * 4.0) * 0.2


def by_padding(u: Value) -> Value:
    """Beyond the edges it is 0."""
    wide = padded(u, (1, 1), (1, 1))
    around = [sliced(wide, start, u.shape) for start in ((0, 1), (2, 1), (1, 0), (1, 2))]
    return u + (around[0] + around[1] + around[2] + around[3] - u * 4.0) * 0.2


@pytest.mark.parametrize("step", [by_slices, by_rolling, by_padding])
def test_a_stencil_is_one_kernel_a_step(step: Callable[[Value], Value]) -> None:
    b = Builder("heat")
    u = b.input(TensorType("f32", (48, 40)))
    for _ in range(4):
        u = step(u)
    kernels = kernels_of(planned(b.graph([u])))
    assert len(kernels) == 4
    assert len(set(kernels)) == 1


@each_features
@pytest.mark.parametrize("step", [by_slices, by_rolling, by_padding])
def test_code_where_all_guards_hold_and_where_not(step: Callable[[Value], Value], features) -> None:
    """Large enough to be written twice: the kernel is right at the edges and inside."""
    b = Builder("heat")
    graph = optimize(b.graph([step(b.input(TensorType("f32", (70, 1001))))]))
    (kernel,) = kernels_of(planned(graph))
    assert any(isinstance(s, Load) and s.guards for one in kernel.passes for s in one.body)
    x = np.random.default_rng(0).normal(size=70 * 1001).astype(np.float32)
    found, expected = np.zeros_like(x), np.zeros_like(x)
    assert not compile_kernel(kernel, features)([x, found])
    assert run_kernel(kernel, [x, expected])
    np.testing.assert_array_equal(found, expected)
