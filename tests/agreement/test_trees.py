"""Random trees of blocks, compiled as interpreted, along every way; an exit changes nothing that the caller can see."""
from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from graph_strategies import arrays_for
from hypothesis import strategies as st
from random_programs import on_random
from tree_strategies import NUMBERS, trees

from codegen import DONE, Cache, Executable, compile_program
from codegen.ir.edges import same_bits
from codegen.ir.graph import Graph
from codegen.ir.interpret import walk
from codegen.ir.ops import OPS
from codegen.ir.program import Exit, Program, Return
from codegen.ir.types import DTYPES, type_of
from codegen.llvm_cpu.vector_math import FUNCTIONS, FUNCTIONS_OF_TWO

INEXACT = (*FUNCTIONS, *FUNCTIONS_OF_TWO, "sum", "prod", "matmul", "maximum", "minimum", "max", "min", "sign")
EXACT = tuple(name for name in OPS if name not in INEXACT)
CACHE = Cache(None)


@st.composite
def aliased_trees(draw: st.DrawFn) -> tuple[Program, tuple[tuple[tuple[int, int], ...], ...]]:
    """A tree, and for each end pairs of an output and an input whose storage it shares."""
    program = draw(trees(ops=EXACT, sizes=(0, 1, 2, 3, 17), max_nodes=12))
    aliases = []
    for block in program.blocks:
        if isinstance(block.terminator, Return):
            pairs = [(k, i) for k, v in enumerate(block.terminator.values) for i, type in enumerate(program.inputs)
                     if block.type_of(v) == type]
            chosen: dict[int, int] = {}
            for output, input in draw(st.permutations(pairs)) if pairs else ():
                if output not in chosen and input not in chosen.values() and draw(st.integers(0, 2)):
                    chosen[output] = input
            aliases.append(tuple(chosen.items()))
    return program, tuple(aliases)


@on_random(100, aliased_trees(), st.integers(0, 2**32 - 1))
def test_every_way_agrees_to_the_bit(drawn: tuple[Program, tuple], seed: int) -> None:
    check_every_way(*drawn, seed, compile_program(drawn[0], cache=CACHE, aliases=drawn[1]))


@pytest.mark.usefixtures("oracle_device")
@on_random(40, aliased_trees(), st.integers(0, 2**32 - 1), where="a device")
def test_every_way_agrees_on_a_device(drawn: tuple[Program, tuple], seed: int) -> None:
    check_every_way(*drawn, seed, compile_program(drawn[0], "triton_gpu", CACHE, drawn[1]))


def check_every_way(program: Program, aliases: tuple, seed: int, executable: Executable) -> None:
    end_of_block = dict(zip((k for k, b in enumerate(program.blocks) if isinstance(b.terminator, Return)),
                            range(len(program.blocks))))
    given_inputs = arrays_for(Graph("inputs", program.inputs, (), ()), seed)
    for flag, number in product((False, True), NUMBERS):
        inputs = [*given_inputs[:-2], np.asarray(flag), np.asarray(number, np.int32)]
        block, expected = walk(program, inputs)
        arrays = [x.copy() for x in inputs] + [np.empty(t.shape, DTYPES[t.dtype]) for t in executable.slots]
        result = executable.run(tuple(arrays))
        if isinstance(expected, Exit):
            assert result == expected.number
            written: set[int] = set()
        else:
            assert result == DONE - end_of_block[block]
            places = executable.ends[DONE - result]
            written = set(places)
            for place, e in zip(places, expected, strict=True):
                assert type_of(arrays[place]) == type_of(e)
                assert same_bits(arrays[place], e), (arrays[place], e)
        for k, x in enumerate(inputs):
            assert k in written or same_bits(arrays[k], x), f"input {k} changed"
