"""Random programs of views, writes and keys: values are NumPy's, gradients those of an oracle that knows no views."""
from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from random_programs import on_random
from view_programs import Dual, ViewProgram, view_programs

import tracegrad as tg

pytestmark = pytest.mark.filterwarnings("ignore::tracegrad.NotReplayed")     # what a mask selects is read


def loss_of(pool: list[Any]) -> Any:
    total = tg.zeros((), dtype=tg.float64)
    for v in pool:
        total = total + (v * v).sum()
    return total


def oracle(program: ViewProgram) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
    """(the values of its arrays, the gradients of the sum of their squares) by an implementation without views."""
    x, w = program.inputs()
    slopes = np.eye(x.size + w.size)
    pool = program.function(np.array)(Dual.new(x, slopes[:x.size]), Dual.new(w, slopes[x.size:]))
    gradient = np.zeros(x.size + w.size)
    for v in pool:
        gradient += (2 * v.values[..., None] * v.slopes).reshape(-1, gradient.size).sum(0)
    return [v.values for v in pool], gradient[:x.size].reshape(x.shape), gradient[x.size:].reshape(w.shape)


def leaves(program: ViewProgram, requires_grad: bool) -> list[tg.Tensor]:
    return [tg.tensor(v, requires_grad=requires_grad) for v in program.inputs()]


def assert_close(found: Any, expected: np.ndarray) -> None:
    array = np.zeros(expected.shape) if found is None else found.array
    np.testing.assert_allclose(array, expected, rtol=1e-9, atol=1e-9 * (1 + np.abs(expected).max(initial=0)))


@on_random(200, view_programs())
def test_eager_programs_are_numpys_and_their_gradients_the_oracles(program: ViewProgram) -> None:
    expected = program.function(np.array)(*program.inputs())
    values, *gradients = oracle(program)
    for requires_grad in (False, True):
        x, w = leaves(program, requires_grad)
        pool = program.function(tg.tensor)(x, w)
        for e, v, f in zip(expected, values, pool, strict=True):
            np.testing.assert_array_equal(v, e)
            np.testing.assert_array_equal(f.array, e)
    loss = loss_of(pool)
    found = tg.autograd.grad(loss, (x, w), allow_unused=True) if loss.requires_grad else (None, None)
    for g, e in zip(found, gradients):
        assert_close(g, e)


@pytest.mark.parametrize(("target", "examples"), [("interpret", 60), ("llvm_cpu", 40)])
def test_traced_programs_do_the_same(target: str, examples: int) -> None:
    calls = replays = 0

    @on_random(examples, view_programs(), where=target)
    def run(program: ViewProgram) -> None:
        nonlocal calls, replays
        values, *gradients = oracle(program)
        arrays = program.function(tg.tensor)

        def step(x: tg.Tensor, w: tg.Tensor) -> tuple[Any, ...]:
            pool = arrays(x, w)
            return loss_of(pool), *(v * 1.0 for v in pool)

        traced = tg.trace(step, target=target)
        for _ in range(2):
            x, w = leaves(program, True)
            loss, *pool = traced(x, w)
            for v, e in zip(pool, values, strict=True):
                assert_close(v, e)
            if loss.requires_grad:
                loss.backward()
                assert_close(x.grad, gradients[0])
                assert_close(w.grad, gradients[1])
        calls, replays = calls + traced.stats.calls, replays + traced.stats.replays

    run()
    assert replays > 0.25 * calls, "falling back too often would hide what replays get wrong"


@pytest.mark.parametrize(("target", "examples"), [("interpret", 40), ("llvm_cpu", 30)])
def test_traced_writes_to_arguments_are_seen_outside(target: str, examples: int) -> None:
    calls = replays = 0

    @on_random(examples, view_programs(start="{}[...]"), where=target)
    def run(program: ViewProgram) -> None:
        nonlocal calls, replays
        arrays = program.inputs()
        expected = [v * 1.0 for v in program.function(np.array)(*arrays)]
        function = program.function(tg.tensor)
        traced = tg.trace(lambda x, w: [v * 1.0 for v in function(x, w)], target=target)
        for _ in range(2):
            given_ = leaves(program, False)
            pool = traced(*given_)
            for v, e in zip((*pool, *given_), (*expected, *arrays), strict=True):
                assert_close(v, e)
        calls, replays = calls + traced.stats.calls, replays + traced.stats.replays

    run()
    assert replays > 0.25 * calls, "falling back too often would hide what replays get wrong"
