"""Random numbers: the stream is Philox's, draws are reproducible and distributed as they should be."""
from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from recordings import recording
from scipy import stats

import tracegrad as tg
from codegen.ir.interpret import interpret
from codegen.ir.program import Exit
from codegen.ir.references import random_bits
from tracegrad.random import normal_quantile
from tracegrad.tensors import Tensor

DRAWS: dict[str, Callable[[tg.Generator], Tensor]] = {
    "rand": lambda g: tg.rand(3, 5, generator=g),
    "rand f64": lambda g: tg.rand(7, dtype=tg.float64, generator=g),
    "rand f16": lambda g: tg.rand(7, dtype=tg.float16, generator=g),
    "randn": lambda g: tg.randn((2, 3), generator=g),
    "randn f64": lambda g: tg.randn(5, dtype=tg.float64, generator=g),
    "randint": lambda g: tg.randint(-3, 9, (4, 2), generator=g),
    "nothing": lambda g: tg.rand(0, generator=g),
    "one": lambda g: tg.rand((), generator=g),
}


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
def test_draws_are_reproducible_and_go_on(draw: Callable[[tg.Generator], Tensor]) -> None:
    g = tg.Generator(5)
    first, second = draw(g), draw(g)
    assert g.manual_seed(5) is g and g.initial_seed() == 5
    np.testing.assert_array_equal(draw(g).array, first.array)
    np.testing.assert_array_equal(draw(g).array, second.array)
    assert first.size == 0 or not np.array_equal(first.array, second.array) or first.size == 1
    assert np.array_equal(draw(tg.Generator(6)).array, first.array) == (first.size == 0)


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
def test_a_recorded_draw_advances_the_counter_it_reads(draw: Callable[[tg.Generator], Tensor]) -> None:
    g = tg.Generator(5)
    before = g.counter.array.copy()
    with recording() as recorder:
        found = draw(g)
    assert not recorder.aborts
    graph = recorder.graph("draw", [found, g.counter], derivatives=False)
    inputs = [g.key.array if entry.tensor is g.key else before for entry in recorder.inputs]
    values = interpret(graph, inputs)
    assert not isinstance(values, Exit)
    np.testing.assert_array_equal(values[0], found.array)
    np.testing.assert_array_equal(values[1], g.counter.array)


def test_the_stream_is_that_of_the_op() -> None:
    g = tg.Generator(123)
    words = random_bits(np.uint64(123), np.uint64(0), shape=(8,))
    np.testing.assert_array_equal(tg.rand(8, generator=g).array, ((words >> 8) * 2.0**-24).astype(np.float32))
    assert g.counter.item() == 2
    np.testing.assert_array_equal(g.bits((3,)).array, random_bits(np.uint64(123), np.uint64(2), shape=(3,)))
    assert g.counter.item() == 3 and g.key.dtype == g.counter.dtype == tg.uint64


def test_the_default_generator() -> None:
    assert tg.manual_seed(3) is tg.default_generator
    a = tg.randn(4)
    tg.manual_seed(3)
    np.testing.assert_array_equal(tg.randn(4).array, a.array)
    tg.manual_seed(-1)                                          # any int is a seed
    assert tg.default_generator.initial_seed() == 2**64 - 1
    tg.manual_seed(0)


N = 200_000


@pytest.mark.parametrize("dtype", [tg.float32, tg.float64], ids=str)
def test_uniforms(dtype: np.dtype) -> None:
    u = tg.rand(N, dtype=dtype, generator=tg.Generator(1)).array
    assert u.dtype == dtype and u.min() >= 0 and u.max() < 1
    assert stats.kstest(u.astype(np.float64), "uniform").pvalue > 0.01
    assert abs(np.corrcoef(u[:-1], u[1:])[0, 1]) < 0.01


@pytest.mark.parametrize("dtype", [tg.float32, tg.float64], ids=str)
def test_normals(dtype: np.dtype) -> None:
    z = tg.randn(N, dtype=dtype, generator=tg.Generator(2)).array
    assert z.dtype == dtype and np.isfinite(z).all()
    assert stats.kstest(z.astype(np.float64), "norm").pvalue > 0.01
    assert abs(z.mean()) < 0.01 and abs(z.std() - 1) < 0.01


def test_integers() -> None:
    k = tg.randint(-2, 5, (N,), generator=tg.Generator(3))
    assert k.dtype == tg.int64
    counts = np.bincount(k.array + 2)
    assert len(counts) == 7 and stats.chisquare(counts).pvalue > 0.01
    assert tg.randint(5).shape == () and tg.randint(1, size=3, dtype=tg.int32).tolist() == [0, 0, 0]


def test_permutations() -> None:
    g = tg.Generator(4)
    a, b = tg.randperm(100, generator=g), tg.randperm(100, generator=g)
    assert sorted(a.tolist()) == sorted(b.tolist()) == list(range(100)) and a.tolist() != b.tolist()
    assert tg.randperm(0).shape == (0,) and a.dtype == tg.int64


def test_the_normal_quantile_is_accurate() -> None:
    p = np.concatenate([np.linspace(1e-6, 1 - 1e-6, 10_001), 2.0 ** -np.arange(1, 54), 1 - 2.0 ** -np.arange(1, 53)])
    expected = stats.norm.ppf(p)
    np.testing.assert_allclose(normal_quantile(tg.tensor(p)).array, expected, rtol=2e-15, atol=1e-15)


def test_the_ends_of_a_draw_are_finite_and_opposite() -> None:
    """The smallest and the largest probability that randn makes of 52 bits."""
    low, high = normal_quantile(tg.tensor([2.0**-53, 1 - 2.0**-53], dtype=tg.float64)).tolist()
    assert -8.3 < low == -high


def test_arguments() -> None:
    assert tg.rand(2, requires_grad=True).requires_grad and tg.randn(2, requires_grad=True).is_leaf
    with pytest.raises(TypeError, match=r"^test_random\.py:\d+: randn: int64 is not a floating-point dtype"):
        tg.randn(2, dtype=tg.int64)
    with pytest.raises(ValueError, match=r"randint: the interval \[3, 3\) is empty"):
        tg.randint(3, 3)
