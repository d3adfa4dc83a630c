"""f.verify(...): both ways of one call, on copies, and the first operation that differs."""
from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import tracegrad as tg


def choose(x):
    y = tg.exp(x)
    if y.sum() > 10.0:
        return y * 2.0
    return y - 1.0


def traced_choose(*values):
    traced = tg.trace(choose)
    for value in values:
        traced(tg.full((3,), value))
    return traced


def test_every_known_path_agrees_and_nothing_is_counted():
    traced = traced_choose(0.0, 3.0)
    before = str(traced.explain())
    for value in (0.0, 3.0):
        verification = traced.verify(tg.full((3,), value))
        assert verification.agrees and str(verification) == "replay and eager agree"
    assert str(traced.explain()) == before


def test_a_call_that_leaves_its_path_says_where():
    traced = traced_choose(0.0)
    before = str(traced.explain())
    verification = traced.verify(tg.full((3,), 3.0))
    line = choose.__code__.co_firstlineno + 2
    assert verification.agrees and f"test_verification.py:{line}: bool" in str(verification)
    assert "nothing to compare" in str(verification) and str(traced.explain()) == before


def test_an_index_out_of_bounds():
    traced = tg.trace(lambda x, k: tg.take(x, k, axis=0))
    x = tg.ones(3)
    traced(x, tg.tensor([1]))
    with pytest.raises(IndexError):
        traced(x, tg.tensor([5]))
    assert "out of bounds" in str(traced.verify(x, tg.tensor([5])))


@pytest.mark.parametrize("value, op, line", [(0.0, "sub", 4), (3.0, "mul", 3)])
def test_the_first_operation_that_differs_is_named_with_its_line(value, op, line):
    traced = traced_choose(0.0, 3.0)
    root, = traced._tree.roots
    right = root.executable

    def run(arrays):
        end = right.run(arrays)
        for k in range(len(root.sources), len(arrays)):
            arrays[k][...] += 1.0
        return end

    root.executable = replace(right, run=run)
    root.__post_init__()
    verification = traced.verify(tg.full((3,), value))
    assert not verification.agrees and verification.differences[0].startswith("result: ")
    assert str(verification.first_op).startswith(
        f"test_verification.py:{choose.__code__.co_firstlineno + line}: {op} : f32[3]: ")


def test_a_replay_that_goes_the_wrong_way_is_named_by_what_was_read():
    traced = traced_choose(0.0, 3.0)
    root, = traced._tree.roots
    right, other = root.executable, np.full(3, 3.0, np.float32)
    root.executable = replace(right, run=lambda arrays: right.run((other, *arrays[1:])))
    root.__post_init__()
    verification = traced.verify(tg.full((3,), 0.0))
    line = choose.__code__.co_firstlineno + 2
    assert not verification.agrees
    assert str(verification.first_op) == (
        f"test_verification.py:{line}: bool: the replay went another way than its value, False, does")
