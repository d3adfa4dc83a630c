"""Every core op, over dtypes and shapes: its plan does what its reference does."""
from __future__ import annotations

import numpy as np
import pytest
from op_cases import cases
from plan_oracle import TINY, agree

from codegen.ir.builder import Builder
from codegen.ir.graph import Graph
from codegen.ir.ops import OPS
from codegen.ir.types import COMPLEX, type_of
from codegen.optimize.expand import CORE
from codegen.schedule.forms import UNSUPPORTED
from codegen.schedule.pipeline import schedule
from codegen.schedule.plan import CannotLower


def graph_of(op: str, operands: list[np.ndarray], attrs: dict[str, object]) -> Graph:
    b = Builder(op)
    return b.graph([b.emit(op, *[b.input(type_of(x)) for x in operands], **attrs)])


@pytest.mark.parametrize("op", sorted(CORE))
def test_op(op: str) -> None:
    done = 0
    for operands, attrs in cases(OPS[op]):
        graph = graph_of(op, operands, attrs)
        if {t.dtype for t in (*graph.inputs, graph.type_of(graph.outputs[0]))} & UNSUPPORTED:
            continue
        try:
            agree(graph, operands)
            agree(graph, operands, machine=TINY)
            done += 1
        except CannotLower as refusal:
            assert op in ("gather", "scatter_add") and "without elements" in str(refusal)
    assert done > 0


@pytest.mark.parametrize("dtype", sorted(UNSUPPORTED))
def test_dtypes_without_kernels(dtype: str) -> None:
    b = Builder("f")
    x = b.constant(1, "f32").emit("cast", dtype=dtype) if dtype not in COMPLEX else b.constant(1, dtype)
    with pytest.raises(CannotLower, match=f"kernels do not compute in {dtype} "):
        schedule(b.graph([x]))
