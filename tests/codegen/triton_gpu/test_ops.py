"""Every core op through the target, kernels in Triton's interpreter: what its reference gives.

By default each op is run in each dtype on one or two shapes. TRACEGRAD_ALL_GPU_OPS=1 runs all cases of `op_cases`
(some minutes).
"""
from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import groupby

import numpy as np
import pytest
from gpu_extra import needs_triton
from op_cases import LIBRARY_OPS, Operands, cases, eps_of, wide

from codegen.cache import Cache
from codegen.compiler import compile_program
from codegen.ir.builder import Builder
from codegen.ir.graph import Graph
from codegen.ir.interpret import interpret
from codegen.ir.ops import OPS, Op
from codegen.ir.program import Exit
from codegen.ir.types import COMPLEX, INEXACT, NAMES, type_of
from codegen.optimize.expand import CORE
from codegen.schedule.half_products import HALVES
from codegen.schedule.plan import Host

ALL = os.environ.get("TRACEGRAD_ALL_GPU_OPS") == "1"

pytestmark = needs_triton

ON_THE_HOST = ("sort", "argsort", "polygamma")
"""And some of what is complex, in half precision, or made of an operand without elements: of all else kernels are made.
"""


def chosen(op: Op) -> Iterator[Operands]:
    """All cases, or of each dtype the last ones, whose operands are the largest."""
    for _, found in groupby(cases(op), lambda case: str(case[1].get("dtype") or [x.dtype for x in case[0]])):
        listed = [*found]
        yield from listed if ALL else listed[-2:]


def graph_of(op: Op, found: list[Operands]) -> tuple[Graph, list[np.ndarray]]:
    """A graph with an output for each case, and its inputs."""
    b = Builder(op.name)
    arrays = [x for operands, _ in found for x in operands]
    inputs = iter([b.input(type_of(x)) for x in arrays])
    return b.graph([b.emit(op.name, *(next(inputs) for _ in operands), **attrs) for operands, attrs in found]), arrays


@pytest.mark.parametrize("op", sorted(CORE - set(LIBRARY_OPS)))
def test_op(op: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    graph, arrays = graph_of(OPS[op], [*chosen(OPS[op])])
    expected = interpret(graph, arrays)
    assert not isinstance(expected, Exit)
    executable = compile_program(graph, "triton_gpu", cache=Cache(None))
    assert executable.plan is not None
    for a, e in zip(executable(*arrays), expected, strict=True):
        assert type_of(a) == type_of(e)
        if NAMES[e.dtype] not in INEXACT:
            np.testing.assert_array_equal(a, e)
            continue
        tolerance = 16 * eps_of(e.dtype)
        np.testing.assert_allclose(wide(a), wide(e), tolerance, tolerance)
    for step in executable.plan.steps:
        if isinstance(step, Host) and step.op not in ON_THE_HOST:
            dtypes = {step.type.dtype, *(type.dtype for _, type in step.operands)}
            assert dtypes & (COMPLEX | HALVES) or any(k is None for k, _ in step.operands), step
