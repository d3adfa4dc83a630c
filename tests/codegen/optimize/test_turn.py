"""turn: products that are read only transposed."""
from __future__ import annotations

import numpy as np

from codegen.ir.interpret import interpret
from codegen.ir.text import parse, print_graph
from codegen.ir.verify import verify
from codegen.optimize.prune import prune
from codegen.optimize.turn import turn

WEIGHT_GRADIENT = parse("""
graph f(%0: f32[5,3], %1: f32[5,4]) {
  %2 = transpose %0 axes=[1,0] : f32[3,5]
  %3 = matmul %2, %1 : f32[3,4]
  %4 = transpose %3 axes=[1,0] : f32[4,3]
  return %4
}
""")


def test_a_product_read_only_transposed_is_turned():
    turned = prune(turn(WEIGHT_GRADIENT))
    verify(turned)
    assert print_graph(turned).split("{")[1] == """
  %2 = transpose %1 axes=[1,0] : f32[4,5]
  %3 = matmul %2, %0 : f32[4,3]
  return %3
}
"""
    rng = np.random.default_rng(0)
    x, g = rng.standard_normal((5, 3), np.float32), rng.standard_normal((5, 4), np.float32)
    np.testing.assert_allclose(interpret(turned, [x, g])[0], interpret(WEIGHT_GRADIENT, [x, g])[0], rtol=1e-5)


def test_a_product_that_something_else_reads_stays():
    graph = parse(print_graph(WEIGHT_GRADIENT).replace("return %4", "return %4, %3"))
    assert turn(graph) == graph
