"""Every core op, over dtypes and shapes: its plan does what its reference does."""
from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from op_cases import cases
from plan_oracle import AT_ONCE, TINY, agree

from codegen.ir.builder import Builder
from codegen.ir.graph import Graph
from codegen.ir.ops import ELEMENTWISE, OPS, Op
from codegen.ir.types import COMPLEX, TensorType, type_of
from codegen.optimize.expand import CORE, expand
from codegen.schedule.forms import UNSUPPORTED
from codegen.schedule.machine import Machine
from codegen.schedule.plan import Check, Host


def graph_of(op: str, operands: list[np.ndarray], attrs: dict[str, object]) -> Graph:
    b = Builder(op)
    return expand(b.graph([b.emit(op, *[b.input(type_of(x)) for x in operands], **attrs)]))


def in_one_dtype(op: str) -> Op:
    """The op, with cases in the first of its dtypes only."""
    return replace(OPS[op], dtypes=OPS[op].dtypes[:1])


@pytest.mark.parametrize("op", sorted(CORE))
def test_op(op: str) -> None:
    """In all dtypes; how work is cut into pieces, of which TINY makes many, does not depend on the dtype."""
    done = 0
    for operands, attrs in cases(OPS[op]):
        agree(graph_of(op, operands, attrs), operands)
        done += 1
    for operands, attrs in cases(in_one_dtype(op)):
        for machine in (TINY, AT_ONCE):
            agree(graph_of(op, operands, attrs), operands, machine=machine)
    assert done > 0


@pytest.mark.parametrize("op", sorted(CORE - {"matmul", "gather", "scatter_add"}))
def test_what_kernels_cannot_be_made_of_runs_on_the_host(op: str) -> None:
    """Also where the host computes one value in the middle of a graph and kernels compute the rest."""
    nothing = Machine(computes=lambda op, dtype: False)
    for operands, attrs in cases(in_one_dtype(op)):
        graph = graph_of(op, operands, attrs)
        plan = agree(graph, operands, machine=nothing)
        if ELEMENTWISE in OPS[op].traits and op != "detach" and graph.type_of(graph.outputs[0]).shape == (2, 3, 4):
            assert [type(step) for step in plan.steps] == [Host, Check], op


@pytest.mark.parametrize("dtype", sorted(UNSUPPORTED))
def test_dtypes_without_kernels(dtype: str) -> None:
    """Their values live in buffers; what only renames a buffer is free, and what makes others of them is fused again.
    """
    b = Builder("f")
    x = b.input(TensorType("f32", (6, 4)))
    y = x.emit("exp").emit("cast", dtype=dtype).emit("reshape", shape=(4, 6))
    real = y.emit("abs") if dtype in COMPLEX else y.emit("cast", dtype="f32")
    outputs = [y, y.emit("transpose", axes=(1, 0)), real.emit("tanh")]
    plan = agree(b.graph(outputs), [np.linspace(-1, 1, 24, dtype=np.float32).reshape(6, 4)])
    hosts = [step.op for step in plan.steps if isinstance(step, Host)]
    assert sorted(hosts) == sorted(["abs" if dtype in COMPLEX else "cast", "cast", "transpose"])


@pytest.mark.parametrize("op, attrs", [
    ("matmul", {}), ("cumsum", {"axis": 1}), ("sort", {"axis": 1}), ("exp", {}), ("scatter_add", {"axis": 1}),
    ("scatter", {"axis": 1})])
@pytest.mark.parametrize("times", [1, 2, 3])
def test_what_is_added_to_is_computed_where_it_is_added_to(op: str, attrs: dict[str, object], times: int) -> None:
    rng = np.random.default_rng(0)
    x, indices, updates = rng.normal(size=(6, 6)), rng.integers(0, 6, (6, 9)), rng.normal(size=(6, 9))
    b = Builder("f")
    value, places, terms = (b.input(type_of(a)) for a in (x, indices, updates))
    others = {"matmul": (value,), "scatter_add": (places, terms), "scatter": (places, terms)}
    result = value.emit(op, *others.get(op, ()), **attrs)
    for k in range(times):
        result = result.emit("scatter_add", places, terms * (k + 2), axis=1)
    agree(b.graph([result]), [x, indices, updates])
