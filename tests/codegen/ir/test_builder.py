"""Builder: types are inferred, numbers take the dtype of the value they meet, errors name line, op and operands."""
from __future__ import annotations

import pytest

from codegen.ir.builder import Builder
from codegen.ir.text import parse
from codegen.ir.type_rules import TypeRuleError
from codegen.ir.types import TensorType
from codegen.ir.verify import verify


def test_operators_write_the_graph() -> None:
    b = Builder("f")
    x, y = b.input(TensorType("f32", (2, 3))), b.input(TensorType("f32", (3,)))
    b.line = "model.py:3"
    total = (-(1 - x * y) / 2).emit("sum", axis=(0, 1), keepdims=False)
    graph = b.graph([total, 3 + y])
    verify(graph)
    assert graph == parse("""
        graph f(%0: f32[2,3], %1: f32[3]) {
          %2 = mul %0, %1 : f32[2,3]
          %3 = constant value=1.0 dtype=f32 : f32[]
          %4 = sub %3, %2 : f32[2,3]
          %5 = neg %4 : f32[2,3]
          %6 = constant value=2.0 dtype=f32 : f32[]
          %7 = div %5, %6 : f32[2,3]
          %8 = sum %7 axis=[0,1] keepdims=false : f32[]
          %9 = constant value=3.0 dtype=f32 : f32[]
          %10 = add %9, %1 : f32[3]
          return %8, %10
        }""")
    assert {n.line for n in graph.nodes} == {"model.py:3"}


def test_attrs_in_the_order_of_the_row() -> None:
    b = Builder("f")
    x = b.input(TensorType("f32", (2,)))
    assert b.graph([x.emit("max", keepdims=True, axis=(0,))]).nodes[0].attrs == (("axis", (0,)), ("keepdims", True))


def test_errors() -> None:
    b = Builder("f")
    x = b.input(TensorType("f32", (2,)))
    b.line = "model.py:42"
    with pytest.raises(TypeRuleError, match=r"^model.py:42: matmul: operands f32\[2\] and f32\[2\] must have"):
        x.emit("matmul", x)
    with pytest.raises(ValueError, match=r"sum takes 1 operands and the attrs \['axis', 'keepdims'\]"):
        x.emit("sum", axis=(0,))
    with pytest.raises(ValueError, match="add takes 2 operands"):
        b.emit("add", x)
    x.emit("exp")
    with pytest.raises(ValueError, match="before the first node"):
        b.input(TensorType("f32"))
