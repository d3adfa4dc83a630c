"""Programs with branches: every end and exit is taken, its number told, its outputs put where `ends` says."""
from __future__ import annotations

import numpy as np
import pytest

from codegen.cache import Cache
from codegen.compiler import compile_program
from codegen.executable import DONE, Executable, ExitTaken
from codegen.ir.program import SWITCHED, Program, case_number
from codegen.ir.text import parse
from codegen.ir.types import DTYPES, FLOATS, INTEGERS
from codegen.llvm_cpu.blas import OWN
from codegen.llvm_cpu.encode import encode
from codegen.schedule.plan import Launch
from codegen.targets import TARGETS

pytestmark = pytest.mark.usefixtures("oracle_device")

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


@pytest.mark.parametrize("dtype", sorted(SWITCHED))
def test_a_switch_tells_numbers_of_every_dtype_apart(target: str, dtype: str) -> None:
    array = DTYPES[dtype].type
    least, most = (np.iinfo(DTYPES[dtype]).min, np.iinfo(DTYPES[dtype]).max) if dtype in INTEGERS else (-1.5, 2.0)
    numbers = [array(n) for n in (least, most, 0, 1)] + ([array(-0.0), array(np.nan)] if dtype in FLOATS else [])
    distinct = {case_number(n): k for k, n in enumerate(numbers)}
    cases = ", ".join(f"{number}: exit{k + 2}" for number, k in distinct.items())
    executable = compile_program(program(f"""program cases {{
      block0(%0: {dtype}[]):
        switch %0 {{{cases}}}, exit1
    }}"""), target)
    assert executable.ends == ()
    for n in numbers:
        assert executable.run((np.asarray(n),)) == distinct[case_number(n)] + 2
    assert executable.run((np.asarray(array(3)),)) == 1


def test_checks_and_steps_on_the_host_in_any_block(target: str) -> None:
    """A refused operand leaves at exit 0 with nothing written; the branch before it is still taken right."""
    executable = compile_program(program("""program checked {
      block0(%0: f32[4], %1: i64[1], %2: bool[]):
        %3 = gather %0, %1 axis=0 : f32[1]
        branch %2 -> block1(%0, %3), exit3
      block1(%0: f32[4], %1: f32[1]):
        %2 = reshape %0 shape=[2,2] : f32[2,2]
        %3 = cholesky %2 : f32[2,2]
        %4 = reshape %3 shape=[4] : f32[4]
        return %4, %1
    }"""), target, aliases=(((0, 0),),))
    good, bad = np.array([4, 2, 2, 3], np.float32), np.array([-1, 0, 0, 1], np.float32)
    yes, no = np.asarray(True), np.asarray(False)
    for x, index, flag, result in ((good, 1, yes, DONE), (good, 7, yes, 0), (bad, 1, yes, 0), (good, 7, no, 0),
                                   (bad, 1, no, 3), (good, -1, yes, DONE)):
        given, last = x.copy(), np.zeros(1, np.float32)
        assert executable.run((given, np.array([index]), flag, last)) == result
        if result == DONE:
            np.testing.assert_allclose(given.reshape(2, 2), np.linalg.cholesky(x.reshape(2, 2)), rtol=1e-6)
            assert last == x[index]
        else:
            assert np.array_equal(given, x)


def test_blocks_without_work(target: str) -> None:
    """Deciders and outputs that are inputs, one value returned twice, arrays without elements, jumps to exits."""
    executable = compile_program(program("""program idle {
      block0(%0: bool[], %1: f32[0], %2: f32[2]):
        branch %0 -> block1(%0, %1, %2), block4(%0)
      block1(%0: bool[], %1: f32[0], %2: f32[2]):
        jump block2(%0, %1, %2)
      block2(%0: bool[], %1: f32[0], %2: f32[2]):
        %3 = add %1, %1 : f32[0]
        branch %0 -> block3(%2, %3, %2), exit1
      block3(%0: f32[2], %1: f32[0], %2: f32[2]):
        return %0, %1, %2
      block4(%0: bool[]):
        branch %0 -> exit2, block5()
      block5():
        jump exit2
    }"""), target)
    x = np.array([1, 2], np.float32)
    first, empty, second = executable(np.asarray(True), np.empty(0, np.float32), x)
    assert np.array_equal(first, x) and np.array_equal(second, x) and not np.shares_memory(first, second)
    assert empty.shape == (0,)
    with pytest.raises(ExitTaken, match="exit 2"):
        executable(np.asarray(False), np.empty(0, np.float32), x)


def fixed_point(length: int) -> Program:
    """cos again and again, until it is close to what it was."""
    lines = ["program fixed {"]
    for k in range(length):
        lines.append(f"""block{k}(%0: f32[3], %1: f32[]):
            %2 = cos %0 : f32[3]
            %3 = sub %2, %0 : f32[3]
            %4 = abs %3 : f32[3]
            %5 = max %4 axis=[0] keepdims=false : f32[]
            %6 = lt %5, %1 : bool[]
            branch %6 -> block{length + k}(%2), {f"block{k + 1}(%2, %1)" if k + 1 < length else "exit1"}""")
    lines += [f"block{length + k}(%0: f32[3]):\n return %0" for k in range(length)]
    return program("\n".join([*lines, "}"]))


def test_equal_blocks_are_compiled_once() -> None:
    cache = Cache(None)
    short = compile_program(fixed_point(3), cache=cache)
    assert short.kernels_compiled == 1
    assert short.plan is not None and len(short.plan.plans) == 3, "a step, a copy, and nothing where a slot has it all"
    long = compile_program(fixed_point(100), cache=cache)
    assert long.kernels_compiled == 0
    assert long.plan is not None and len(long.plan.plans) == 3
    assert long.plan.arena_bytes <= 4 * 64, "what no later block reads makes room"
    x = y = np.array([0, 1, 2], np.float32)
    steps = 0
    while True:
        x, y, steps = y, np.cos(y), steps + 1
        if np.abs(y - x).max() < 1e-3:
            break
    out = np.empty(3, np.float32)
    assert long.run((np.array([0, 1, 2], np.float32), np.asarray(1e-3, np.float32), out)) == DONE - (steps - 1)
    np.testing.assert_allclose(out, y, rtol=1e-5)
    assert short.run((np.array([0, 1, 2], np.float32), np.asarray(1e-3, np.float32), out)) == 1


def test_a_description_tells_block_by_block_what_runs_and_plans_once(golden) -> None:
    golden("fixed_point.plan", compile_program(fixed_point(2)).describe())


def test_the_words_of_a_program(golden) -> None:
    """With 1000 for the address of every kernel."""
    plan = compile_program(program(WAYS)).plan
    assert plan is not None
    kernels = {id(step.kernel): 1000 for step in plan.steps if isinstance(step, Launch)}
    words = encode(plan, kernels, {"copy": 1001, "fill_zero": 1002, "together": 1003}, OWN).words
    golden("ways.words", "\n".join(" ".join(map(str, words[k:k + 10])) for k in range(0, len(words), 10)) + "\n")
