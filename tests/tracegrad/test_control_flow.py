"""Control flow that depends on values: traced, a program gives and is differentiated to what its Python gives."""
from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from control_flow_programs import PROGRAMS as BRANCHES
from control_flow_programs import Program, numbers
from loop_programs import PROGRAMS as LOOPS

import tracegrad as tg

PROGRAMS = (*BRANCHES, *LOOPS)
pytestmark = pytest.mark.filterwarnings("ignore::tracegrad.NotReplayed")
each_program = pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.name)


def tensors_in(value: Any) -> Iterator[tg.Tensor]:
    if isinstance(value, tg.Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for part in value:
            yield from tensors_in(part)


def gradients(result: Any, wrt: Sequence[tg.Tensor]) -> tuple[tg.Tensor | None, ...]:
    """Of a sum of squares of what a program gave."""
    outputs = [t for t in tensors_in(result) if t.requires_grad]
    loss = sum(((t * t).sum() * 0.5 for t in outputs[1:]), (outputs[0] * outputs[0]).sum())
    return tg.autograd.grad(loss, wrt, allow_unused=True)


def outcome(f: Callable[..., Any], args: tuple) -> Any:
    """What it returns, or what it raises."""
    try:
        return f(*args)
    except (AssertionError, ValueError) as error:
        return f"{type(error).__name__}: {error}"


def assert_same(found: Any, expected: Any, tolerance: float) -> None:
    assert type(found) is type(expected)
    if isinstance(expected, tg.Tensor):
        assert found.dtype == expected.dtype and found.requires_grad == expected.requires_grad
        np.testing.assert_allclose(found.detach().numpy(), expected.detach().numpy(), rtol=tolerance, atol=tolerance)
    elif isinstance(expected, list | tuple):
        assert len(found) == len(expected)
        for f, e in zip(found, expected):
            assert_same(f, e, tolerance)
    else:
        assert found == expected


def play(program: Program, function: Callable[..., Any], target: str,
         afterwards: Callable[[Any, Sequence[tg.Tensor]], Any] = lambda result, wrt: None) -> None:
    """Three rounds over the inputs, each call traced and eager, with what is done `afterwards` to its result.

    After the first round every path is known: each call is a replay, but for those that raise.
    """
    traced = tg.trace(function, target=target)
    raising = len(program.raises)
    for turn in range(3):
        before = copy.copy(traced.stats)
        for k in range(len(program.inputs)):
            came: list[Any] = []
            for f in (traced, traced.eager):
                args = program.arguments(k, program.differentiable)
                result = outcome(f, args)
                wrt = [*(t for t in tensors_in(args) if t.requires_grad), *program.parameters]
                came.append((result, None if k in program.raises else afterwards(result, wrt)))
            assert_same(came[0][0], came[1][0], 0.0 if program.exact else 1e-12)
            assert_same(came[0][1], came[1][1], 1e-12)      # gradients may be added up in another order
            assert isinstance(came[1][0], str) == (k in program.raises)
        if turn:
            assert traced.stats.replays - before.replays == len(program.inputs) - raising, traced.explain()
            assert traced.stats.side_exits - before.side_exits <= raising, traced.explain()


@pytest.mark.parametrize("target", ("interpret", "llvm_cpu"))
@each_program
def test_results_and_their_gradients_are_those_of_the_python(program: Program, target: str) -> None:
    play(program, program.function, target, *([gradients] if program.differentiable else []))


@pytest.mark.parametrize("target", ("interpret", "llvm_cpu"))
@pytest.mark.parametrize("program", [p for p in PROGRAMS if p.differentiable], ids=lambda program: program.name)
def test_the_program_may_differentiate_itself(program: Program, target: str) -> None:
    def function(*args):
        result = program.function(*args)
        return result, gradients(result, [*(t for t in tensors_in(args) if t.requires_grad), *program.parameters])

    play(program, function, target)


@pytest.mark.parametrize("backward", (False, True))
def test_other_lengths_of_a_list_need_no_other_kernels(backward: bool) -> None:
    """A length is a path of its own, of steps that are known."""
    weights = [tg.tensor(numbers(8, 8, seed=k) * 0.3, requires_grad=True) for k in range(2)]

    @tg.trace
    def loss_of(xs):
        h = xs[0] * 0.0
        for x in xs:
            h = tg.tanh(x @ weights[0] + h @ weights[1])
        loss = (h * h).sum()
        if backward:
            return loss, tg.autograd.grad(loss, weights)
        return loss, ()

    def call(length: int) -> None:
        xs = [tg.tensor(numbers(4, 8, seed=k)) for k in range(length)]
        found, expected = loss_of(xs), loss_of.eager(xs)
        assert_same((found[0].detach(), found[1]), (expected[0].detach(), expected[1]), 1e-12)

    for length in (2, 3, 4):
        call(length)
    known = loss_of.stats.kernels_compiled
    for length in (5, 6, 11, 23, 50, 7, 23):
        call(length)
    assert loss_of.stats.kernels_compiled == known and loss_of.stats.replays == 1, loss_of.explain()


def test_a_number_that_one_path_returns_is_guarded_on_the_paths_beside_it() -> None:
    @tg.trace
    def f(x, n):
        return (x, n) if x[0] > 0 else x * 2.0

    up, down = tg.tensor([1.0]), tg.tensor([-1.0])
    for x, n in ((up, 0.5), (up, 1), (up, 2), (down, 2), (up, 1), (up, 2), (down, 1), (up, 3), (up, 1)):
        found = f(x, n)
        assert not isinstance(found, tuple) or found[1] == n
