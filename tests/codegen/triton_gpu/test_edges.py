"""The edges of what is no elementwise op (for those: test_operations), through the target, in the interpreter."""
from __future__ import annotations

from itertools import groupby

import pytest
from gpu_extra import needs_triton

from codegen.cache import Cache
from codegen.compiler import compile_program
from codegen.executable import ExitTaken
from codegen.ir.edges import EDGES, Edge
from codegen.ir.ops import ELEMENTWISE, OPS
from codegen.ir.program import CHECK_FAILED, Exit
from codegen.ir.types import COMPLEX

OF_LINES = [edge for edge in EDGES if ELEMENTWISE not in OPS[edge.op].traits and edge.dtype not in COMPLEX]
BY_OP = groupby(sorted(OF_LINES, key=lambda edge: edge.op), lambda edge: edge.op)


@needs_triton
@pytest.mark.parametrize("edges", [pytest.param([*found], id=op) for op, found in BY_OP])
def test_the_edge_table_holds(edges: list[Edge], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    wrong = []
    for edge in edges:
        executable = compile_program(edge.graph(), "triton_gpu", cache=Cache(None))
        outcome: list | Exit
        try:
            outcome = executable(*edge.inputs())
        except ExitTaken as taken:
            outcome = CHECK_FAILED if taken.exit == 0 else [taken]
        if not edge.holds(outcome):
            wrong.append(f"{edge}, not {outcome}")
    assert not wrong, "\n".join(wrong)
