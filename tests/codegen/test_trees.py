"""Programs with branches: every end and exit is taken, its number told, its outputs put where `ends` says."""
from __future__ import annotations

import numpy as np
import pytest

from codegen.compiler import compile_program
from codegen.executable import DONE, Executable, ExitTaken
from codegen.ir.program import Program
from codegen.ir.text import parse
from codegen.targets import TARGETS

WAYS = """
program ways {
  block0(%0: f32[3], %1: i32[]):
    %2 = sum %0 axis=[0] keepdims=false : f32[]
    switch %1 {0: block1(%0, %2), 7: block2(%0, %2), -1: exit5}, exit2
  block1(%0: f32[3], %1: f32[]):
    %2 = mul %0, %1 : f32[3]
    return %2, %1, %2
  block2(%0: f32[3], %1: f32[]):
    %2 = constant value=0.0 dtype=f32 : f32[]
    %3 = gt %1, %2 : bool[]
    branch %3 -> block3(%0, %1), exit1
  block3(%0: f32[3], %1: f32[]):
    %2 = neg %0 : f32[3]
    return %1, %2
}
"""
X = np.array([1, 2, 4], np.float32)


@pytest.fixture(params=TARGETS)
def target(request: pytest.FixtureRequest) -> str:
    return request.param


def program(text: str) -> Program:
    parsed = parse(text)
    assert isinstance(parsed, Program)
    return parsed


def number(n: int) -> np.ndarray:
    return np.asarray(n, np.int32)


def ways(target: str, aliases: tuple = ()) -> Executable:
    return compile_program(program(WAYS), target, aliases=aliases)


def test_ends_share_slots_by_type(target: str) -> None:
    executable = ways(target)
    assert list(map(str, executable.slots)) == ["f32[3]", "f32[]", "f32[3]"]
    assert executable.ends == ((2, 3, 4), (3, 2))
    assert list(map(str, executable.outputs(1))) == ["f32[]", "f32[3]"]


def test_a_call_gives_the_outputs_of_the_end_it_comes_to(target: str) -> None:
    executable = ways(target)
    first, total, again = executable(X, number(0))
    assert np.array_equal(first, 7 * X)
    assert np.array_equal(again, 7 * X)
    assert not np.shares_memory(first, again)
    assert total == 7
    total, negated = executable(X, number(7))
    assert total == 7
    assert np.array_equal(negated, -X)


@pytest.mark.parametrize(("x", "n", "exit"), [(X, -1, 5), (X, 3, 2), (-X, 7, 1)])
def test_exits_have_their_numbers(target: str, x: np.ndarray, n: int, exit: int) -> None:
    with pytest.raises(ExitTaken) as info:
        ways(target)(x, number(n))
    assert info.value.exit == exit


def test_a_run_tells_which_end_it_came_to_and_writes_over_aliased_inputs(target: str) -> None:
    executable = ways(target, ((), ((1, 0),)))
    assert executable.ends == ((2, 3, 4), (3, 0))
    slots = np.empty(3, np.float32), np.empty((), np.float32), np.empty(3, np.float32)
    x = X.copy()
    assert executable.run((x, number(0), *slots)) == DONE
    assert np.array_equal(x, X)
    assert executable.run((x, number(7), *slots)) == DONE - 1
    assert np.array_equal(x, -X)
    assert executable.run((x, number(7), *slots)) == 1
    assert np.array_equal(x, -X)


@pytest.mark.parametrize("aliases", [((),), ((), (), ()), (((1, 0),), ()), ((), ((1, 1),)), ((), ((2, 0),))])
def test_wrong_aliases_are_refused(aliases: tuple) -> None:
    with pytest.raises(ValueError, match="alias|share"):
        ways("interpret", aliases)
