"""interpret: values, symbols, exits, loops, and the checks of inputs and results."""
from __future__ import annotations

import numpy as np
import pytest

from codegen.ir import ops
from codegen.ir.graph import Graph
from codegen.ir.interpret import bind, interpret
from codegen.ir.program import CHECK_FAILED, Exit
from codegen.ir.text import parse
from codegen.ir.types import TensorType

STEP = parse("""
    graph step(%0: f32[b,3], %1: f32[3]) {
      %2 = mul %0, %1 : f32[b,3]
      %3 = reshape %2 shape=[3*b] : f32[3*b]
      %4 = broadcast %1 shape=[b,3] : f32[b,3]
      %5 = max %2 axis=[0] keepdims=false : f32[3]
      return %3, %4, %5
    }""")

NEWTON = parse("""
    program newton {
      block0(%0: f64[], %1: f64[]):
        %2 = div %0, %1 : f64[]
        %3 = add %1, %2 : f64[]
        %4 = constant value=2.0 dtype=f64 : f64[]
        %5 = div %3, %4 : f64[]
        %6 = ne %5, %1 : bool[]
        branch %6 -> block0(%0, %5), block1(%5)
      block1(%0: f64[]):
        %1 = cast %0 dtype=i32 : i32[]
        switch %1 {3: block2(%0), -1: exit7}, exit2
      block2(%0: f64[]):
        return %0
    }""")


def test_graph_with_symbols() -> None:
    x, y = np.arange(6, dtype=np.float32).reshape(2, 3), np.float32([1, -1, 2])
    flat, wide, top = interpret(STEP, [x, y])
    assert np.array_equal(flat, (x * y).reshape(-1))
    assert np.array_equal(wide, [y, y]) and np.array_equal(top, [3, -1, 10])
    assert flat.dtype == np.float32 and wide.flags.writeable and wide.flags.c_contiguous


def test_outputs_are_their_own() -> None:
    x = np.zeros(3, np.float32)
    a, b = interpret(Graph("f", (TensorType("f32", (3,)),), (), (0, 0)), [x])
    a[:] = 1
    assert not x.any() and not b.any()


def test_loop_branch_switch_and_exits() -> None:
    root, = interpret(NEWTON, [np.float64(9.0), np.float64(1.0)])
    assert root == 3.0
    assert interpret(NEWTON, [np.float64(4.0), np.float64(1.0)]) == Exit(2)


def test_switch_on_a_float_goes_by_its_bits() -> None:
    program = parse("""
        program f {
          block0(%0: f32[]):
            switch %0 {0: exit1, 2147483648: exit2, 1065353216: exit3, 2143289344: exit4}, exit5
        }""")
    for number, value in enumerate((0.0, -0.0, 1.0, np.nan, 1.5), 1):
        assert interpret(program, [np.float32(value)]) == Exit(number)


def test_failed_check_is_exit_0() -> None:
    graph = parse("""
        graph f(%0: f32[3], %1: i64[2]) {
          %2 = gather %0, %1 axis=0 : f32[2]
          return %2
        }""")
    x = np.float32([5, 6, 7])
    assert interpret(graph, [x, np.array([2, -3])])[0].tolist() == [7, 5]
    assert interpret(graph, [x, np.array([2, 3])]) == CHECK_FAILED
    assert interpret(graph, [x, np.array([-4, 0])]) == CHECK_FAILED


@pytest.mark.filterwarnings("error")
def test_warns_of_nothing() -> None:
    graph = parse("""
        graph f(%0: f32[2]) {
          %1 = div %0, %0 : f32[2]
          %2 = log %1 : f32[2]
          %3 = exp %0 : f32[2]
          return %2, %3
        }""")
    logs, exps = interpret(graph, [np.float32([0, 1e3])])
    assert np.isnan(logs[0]) and exps[1] == np.inf


@pytest.mark.parametrize(("shapes", "message"), [
    ([(2, 3)], "1 inputs for 2"),
    ([(2, 3), (3, 1)], r"input %1 has shape \[3, 1\], not that of f32\[3\]"),
    ([(1, 3), (3,)], "b is 1, which is below 2"),
])
def test_binding_refuses(shapes: list[tuple[int, ...]], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        interpret(STEP, [np.zeros(shape, np.float32) for shape in shapes])


def test_binding() -> None:
    types = parse("graph f(%0: f32[b,2*b], %1: f32[c,b]) { return }").inputs
    assert bind(types, [(3, 6), (5, 3)]) == {"b": 3, "c": 5}
    with pytest.raises(TypeError, match="b is 4, which is also 3"):
        bind(types, [(3, 6), (5, 4)])


def test_inputs_and_results_are_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = parse("graph f(%0: f32[2]) { %1 = exp %0 : f32[2] return %1 }")
    with pytest.raises(TypeError, match=r"input %0 is f64\[2\]"):
        interpret(graph, [np.zeros(2)])
    lying = ops.Op("exp", 1, ops.OPS["exp"].type_rule, lambda x: np.exp(x).astype(np.float64))
    monkeypatch.setitem(ops.OPS, "exp", lying)
    with pytest.raises(TypeError, match=r"%1 = exp %0 : f32\[2\] is f64\[2\]"):
        interpret(graph, [np.zeros(2, np.float32)])
