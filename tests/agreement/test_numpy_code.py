"""Random NumPy code, traced, against NumPy: results, changed arguments, shared memory, call after call."""
from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy_program_strategies import Program, arguments, namespace, programs

import tracegrad as tg


def sharing(arrays: list[Any]) -> list[bool]:
    """Which of them share memory."""
    found = [a if isinstance(a, np.ndarray) else np.empty(0) for a in arrays]
    return [np.shares_memory(a, b) for k, a in enumerate(found) for b in found[:k]]


def outcome(function: Callable[..., Any], given: dict[str, Any]) -> tuple[list[Any], type | None]:
    """Results and arguments after a call; the kind of error that it raised."""
    try:
        return [*function(**given), *given.values()], None
    except (ValueError, IndexError) as error:
        return [*given.values()], type(error)


def check(program: Program, seeds: list[int], scales: list[float], sizes: Sequence[int] = (4,) * 4) -> Any:
    """Calls with these arguments, of so many rows; between them the globals change."""
    ours, theirs = namespace(), namespace()
    f, expected = tg.trace(program.function(ours)), program.function(theirs)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        for seed, scale, n in zip(seeds, scales, sizes):
            for names in (ours, theirs):
                names["weight"][0] = scale
                names["scale"] = scale
            mine, yours = arguments(seed, n), arguments(seed, n)
            (a, mistake), (b, error) = outcome(f, mine), outcome(expected, yours)
            assert mistake is error, program.text
            for x, y in zip(a, b, strict=True):
                assert type(x) is type(y), program.text
                np.testing.assert_equal(np.shape(x), np.shape(y), program.text)
                if isinstance(x, np.ndarray | np.generic):
                    assert x.dtype == y.dtype, program.text
                    wide = 1e-5 if x.dtype.itemsize <= 4 and x.dtype.kind == "f" else 1e-9
                    np.testing.assert_allclose(x, y, rtol=wide, atol=wide, err_msg=program.text)
            assert sharing(a) == sharing(b), program.text
    return f


@settings(max_examples=40)
@given(programs(), st.lists(st.integers(0, 3), min_size=5, max_size=5),
       st.permutations((4, 6, 7, 5, 4)), st.sampled_from((1.0, 2.0)))
def test_random_numpy_code_at_many_sizes(program: Program, seeds: list[int], sizes: list[int], scale: float) -> None:
    check(program, seeds, [scale] * 5, sizes)


@settings(max_examples=60)
@given(programs(), st.lists(st.integers(0, 3), min_size=3, max_size=4),
       st.lists(st.sampled_from((1.0, 1.0, 2.0)), min_size=4, max_size=4))
def test_random_numpy_code(program: Program, seeds: list[int], scales: list[float]) -> None:
    check(program, seeds, scales)
