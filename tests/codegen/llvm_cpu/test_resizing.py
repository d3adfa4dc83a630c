"""Programs with several blocks and symbols, at numbers that are filled in: as the interpreter has them."""
from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from codegen import Cache, CannotLower, ExitTaken, Program, compile_program, parse
from codegen.ir.dims import evaluate
from codegen.ir.interpret import interpret
from codegen.ir.program import Exit
from codegen.ir.types import TensorType

WAYS = parse("""
    program ways {
      block0(%0: f32[b,3], %1: f32[c], %2: f32[3,4], %3: i64[]):
        %4 = tanh %0 : f32[b,3]
        %5 = matmul %4, %2 : f32[b,4]
        %6 = sum %5 axis=[0,1] keepdims=false : f32[]
        %7 = constant value=0.0 dtype=f32 : f32[]
        %8 = gt %6, %7 : bool[]
        branch %8 -> block1(%0, %1, %4, %5, %3), block4(%1, %5)
      block1(%0: f32[b,3], %1: f32[c], %2: f32[b,3], %3: f32[b,4], %4: i64[]):
        %5 = exp %2 : f32[b,3]
        %6 = sum %1 axis=[0] keepdims=true : f32[1]
        switch %4 {0: block2(%0, %2, %5, %6), 7: block3(%1, %3, %6)}, exit1
      block2(%0: f32[b,3], %1: f32[b,3], %2: f32[b,3], %3: f32[1]):
        %4 = mul %1, %2 : f32[b,3]
        %5 = add %4, %3 : f32[b,3]
        return %5, %2
      block3(%0: f32[c], %1: f32[b,4], %2: f32[1]):
        %3 = sub %0, %2 : f32[c]
        %4 = sum %1 axis=[0] keepdims=false : f32[4]
        return %3, %4
      block4(%0: f32[c], %1: f32[b,4]):
        %2 = cumsum %1 axis=0 : f32[b,4]
        %3 = neg %0 : f32[c]
        return %3, %2
    }""")


def at(program: Program, numbers: dict[str, int]) -> Program:
    """The program with numbers for its symbols."""
    def known(type: TensorType) -> TensorType:
        return TensorType(type.dtype, tuple(evaluate(n, numbers) for n in type.shape))

    return replace(program, blocks=tuple(
        replace(block, inputs=tuple(map(known, block.inputs)),
                nodes=tuple(replace(node, type=known(node.type)) for node in block.nodes)) for block in program.blocks))


@pytest.mark.parametrize("aliases", [(), (((0, 0),), ((0, 1),), ((0, 1),))], ids=["fresh", "in place"])
def test_every_way_at_other_numbers_is_what_the_interpreter_goes(aliases: tuple) -> None:
    assert isinstance(WAYS, Program)
    made = compile_program(WAYS, cache=Cache(None), aliases=aliases, numbers={"b": 5, "c": 9})
    assert made.resized is not None
    rng = np.random.default_rng(0)
    for b, c in ((5, 9), (2, 3), (64, 4), (9, 9), (300, 1000)):
        resized, program = made.resized({"b": b, "c": c}), at(WAYS, {"b": b, "c": c})
        assert resized.kernels_compiled == 0 and resized.inputs == program.blocks[0].inputs
        for sign, number in ((1, 0), (1, 7), (-1, 0), (1, 3)):
            inputs = [rng.uniform(0.1, 1, (b, 3)).astype("f") * sign, rng.uniform(-1, 1, c).astype("f"),
                      np.ones((3, 4), "f"), np.array(number)]
            expected = interpret(program, inputs)
            if isinstance(expected, Exit):
                with pytest.raises(ExitTaken, match=str(expected.number)):
                    resized(*inputs)
                continue
            for found, value in zip(resized(*[x.copy() for x in inputs]), expected, strict=True):
                np.testing.assert_allclose(found, value, rtol=1e-5, atol=1e-6)


def test_a_number_that_no_symbol_stands_for_is_refused() -> None:
    made = compile_program(WAYS, cache=Cache(None), numbers={"b": 5, "c": 9})
    assert made.resized is not None
    with pytest.raises(CannotLower, match="size"):
        made.resized({"b": 0, "c": 4})
