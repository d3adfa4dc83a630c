"""Random numbers: the stream is Philox's, draws are reproducible and distributed as they should be."""
from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from recordings import recording
from scipy import stats

import tracegrad as tg
from codegen import get_num_threads, set_num_threads
from codegen.ir.interpret import interpret
from codegen.ir.program import Exit
from codegen.ir.references import random_bits
from tracegrad.generators import normal_quantile
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
    graph = recorder.graph("draw", [found, g.counter])
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


# ---- the same numbers eager, traced, in threads, in another process -------------------------------------------------

PINNED = {
    "randint": [39, 73, 97, 69, 1], "randperm": [4, 1, 5, 0, 2, 3],
    "rand": [0.7136122584342957, 0.8073813915252686]}
"""What the stream 0 gives, as seen once: seeds in people's notes must go on to mean the same."""

MORE_DRAWS: dict[str, Callable[[tg.Generator], Tensor]] = {
    **DRAWS,
    "randperm": lambda g: tg.randperm(20, generator=g),
    "rand_like": lambda g: tg.rand_like(tg.zeros(4, dtype=tg.float64), generator=g),
    "randn_like": lambda g: tg.randn_like(tg.zeros(4), generator=g),
    "randint_like": lambda g: tg.randint_like(tg.zeros(4), 7, generator=g),
    "uniform": lambda g: tg.random.uniform(-2.0, tg.tensor([1.0, 3.0]), generator=g),
    "normal": lambda g: tg.normal(tg.tensor([0.0, 10.0]), 2.0, generator=g),
    "exponential": lambda g: tg.random.exponential(3.0, (2, 5), generator=g),
    "integers": lambda g: tg.random.integers(1, 6, 9, endpoint=True, generator=g),
    "bernoulli": lambda g: tg.bernoulli(tg.full((30,), 0.3), generator=g),
    "multinomial": lambda g: tg.multinomial(tg.tensor([1.0, 2.0, 0.0, 4.0]), 3, generator=g),
    "multinomial with replacement": lambda g: tg.multinomial(tg.ones(2, 5), 7, True, generator=g),
    "permutation": lambda g: tg.random.permutation(tg.arange(12).reshape(4, 3), generator=g),
    "choice": lambda g: tg.random.choice(10, (2, 2), generator=g),
    "choice without replacement": lambda g: tg.random.choice(tg.arange(8), 5, False, generator=g),
    "choice by chance": lambda g: tg.random.choice(3, 6, p=tg.tensor([0.2, 0.5, 0.3]), generator=g),
    "fork": lambda g: tg.rand(4, generator=g.fork()),
    "joined": lambda g: tg.concat([tg.rand(n, generator=g) for n in (2, 5, 64, 3)]),
    "joined with others": lambda g: tg.stack([tg.rand(8, generator=g), tg.ones(8), tg.randn(8, generator=g)]),
    "dropout": lambda g: g.set_state(g.get_state()) and tg.rand(3, generator=g),
    **{name: lambda g, name=name: getattr(tg.zeros(3, 4), name)(generator=g) for name in (      # type: ignore[misc]
        "normal_", "uniform_", "bernoulli_", "exponential_", "log_normal_", "cauchy_", "random_")},
    "geometric_": lambda g: tg.zeros(9).geometric_(0.3, generator=g),
}


@pytest.mark.parametrize("draw", MORE_DRAWS.values(), ids=MORE_DRAWS)
def test_traced_draws_replay_and_are_the_eager_ones(draw: Callable[[tg.Generator], Tensor]) -> None:
    g, h = tg.Generator(9), tg.Generator(9)
    traced = tg.trace(lambda: draw(g), strict=True)
    for _ in range(4):
        found, expected = traced(), draw(h)
        assert found.dtype == expected.dtype
        np.testing.assert_allclose(found.array, expected.array, rtol=1e-6)
        assert g.get_state().tolist() == h.get_state().tolist()
    assert traced.stats.replays >= 2, traced.explain()


def test_threads_with_generators_of_their_own_draw_what_one_thread_would() -> None:
    def draws(seed: int) -> list[list[float]]:
        g = tg.Generator(seed)
        step = tg.trace(lambda: tg.randn(50, generator=g))
        return [step().tolist() for _ in range(5)]

    expected = [draws(seed) for seed in range(4)]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(draws, range(4))) == expected


def test_another_number_of_threads_draws_the_same() -> None:
    g = tg.Generator(1)
    step = tg.trace(lambda: tg.randn(100_000, generator=g))
    before = get_num_threads()
    try:
        found = []
        for count in (1, 2, 3):
            set_num_threads(count)
            g.manual_seed(1)
            found.append(step().array.tobytes())
    finally:
        set_num_threads(before)
    assert found[0] == found[1] == found[2] == tg.randn(100_000, generator=tg.Generator(1)).array.tobytes()


def test_another_process_draws_the_same() -> None:
    program = "import tracegrad as tg; tg.manual_seed(5); print(tg.rand(3).tolist(), tg.randperm(6).tolist())"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    tg.manual_seed(5)
    assert run.stdout.strip() == f"{tg.rand(3).tolist()} {tg.randperm(6).tolist()}"


def test_numbers_do_not_change_between_versions() -> None:
    g = tg.Generator(0)
    assert tg.randint(100, size=5, generator=g).tolist() == PINNED["randint"]
    assert tg.randperm(6, generator=g).tolist() == PINNED["randperm"]
    assert tg.rand(2, generator=g).tolist() == PINNED["rand"]


def test_dropout_masks_are_the_same_eager_and_traced() -> None:
    masks = []
    for traced in (True, False):
        tg.manual_seed(3)
        layer = tg.nn.Dropout(0.5)
        run = tg.trace(layer.forward, strict=True) if traced else layer.forward
        masks.append([run(tg.ones(64)).tolist() for _ in range(3)])
    assert masks[0] == masks[1] and masks[0][0] != masks[0][1]


def in_a_fork_of_the_state() -> Tensor:
    with tg.random.fork_rng():
        inside = tg.rand(2)
    return tg.concat([inside, tg.rand(2)])


def from_a_seed() -> Tensor:
    tg.manual_seed(7)
    return tg.rand(2)


def from_a_state() -> Tensor:
    state = tg.get_rng_state()
    first = tg.rand(2)
    tg.set_rng_state(state)
    return first


@pytest.mark.parametrize("draw", [in_a_fork_of_the_state, from_a_seed, from_a_state,
                                  lambda: tg.rand(2, generator=tg.Generator(5))],
                         ids=["fork_rng", "manual_seed", "set_rng_state", "Generator"])
def test_streams_that_a_traced_function_moves_are_where_eager_ones_are(draw: Callable[[], Tensor]) -> None:
    paths = []
    for traced in (True, False):
        tg.manual_seed(2)
        run = tg.trace(draw, strict=True) if traced else draw
        paths.append([run().tolist() for _ in range(3)] + [tg.get_rng_state().tolist()])
        assert not traced or run.stats.replays == 2
    assert paths[0] == paths[1]


def test_a_generator_may_be_an_argument() -> None:
    traced = tg.trace(lambda g: tg.randn(3, generator=g), strict=True)
    for seed in (1, 2, 3):
        assert traced(tg.Generator(seed)).tolist() == pytest.approx(tg.randn(3, generator=tg.Generator(seed)).tolist())
    assert traced.stats.replays == 2


# ---- states ---------------------------------------------------------------------------------------------------------


def test_a_state_goes_back_to_where_it_was_taken() -> None:
    g = tg.Generator(3)
    tg.rand(5, generator=g)
    state = g.get_state()
    a = tg.rand(5, generator=g)
    assert g.set_state(state) is g and tg.rand(5, generator=g).tolist() == a.tolist()
    assert tg.rand(5, generator=tg.Generator().set_state(state)).tolist() == a.tolist()
    with pytest.raises(TypeError, match=r"set_state: f32\[2\] is not u64\[2\]"):
        g.set_state(tg.zeros(2))
    tg.manual_seed(4)
    state = tg.get_rng_state()
    with tg.random.fork_rng():
        inside = tg.rand(3)
    assert tg.rand(3).tolist() == inside.tolist()
    tg.set_rng_state(state)
    assert tg.rand(3).tolist() == inside.tolist()


def test_forks_are_streams_of_their_own() -> None:
    g = tg.Generator(3)
    a, b = g.fork(), g.fork()
    drawn = [tuple(tg.rand(4, generator=x).tolist()) for x in (a, b, g)]
    assert len(set(drawn)) == 3
    h = tg.Generator(3)
    assert tuple(tg.rand(4, generator=h.fork()).tolist()) == drawn[0]


def test_a_seed_of_the_system_is_not_part_of_a_trace() -> None:
    g = tg.Generator(0)
    assert g.seed() == g.initial_seed() != 0
    step = tg.trace(lambda: g.seed())
    with pytest.warns(tg.NotReplayed):
        assert step() != step()


# ---- distributions --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("draw", "distribution"), [
    (lambda g: tg.random.uniform(-1.0, 3.0, N, generator=g), stats.uniform(-1, 4)),
    (lambda g: tg.normal(2.0, 3.0, N, generator=g), stats.norm(2, 3)),
    (lambda g: tg.random.exponential(2.0, N, generator=g), stats.expon(scale=2)),
    (lambda g: tg.zeros(N).normal_(1.0, 0.5, generator=g), stats.norm(1, 0.5)),
    (lambda g: tg.zeros(N).uniform_(2.0, 5.0, generator=g), stats.uniform(2, 3)),
    (lambda g: tg.zeros(N).exponential_(4.0, generator=g), stats.expon(scale=0.25)),
    (lambda g: tg.zeros(N).log_normal_(0.5, 0.5, generator=g), stats.lognorm(0.5, scale=np.exp(0.5))),
    (lambda g: tg.zeros(N).cauchy_(1.0, 2.0, generator=g), stats.cauchy(1, 2)),
], ids=["uniform", "normal", "exponential", "normal_", "uniform_", "exponential_", "log_normal_", "cauchy_"])
def test_draws_have_their_distribution(draw: Callable[[tg.Generator], Tensor], distribution: Any) -> None:
    x = draw(tg.Generator(11)).array.astype(np.float64)
    assert x.shape == (N,) and stats.kstest(x, distribution.cdf).pvalue > 0.01


def test_whole_numbers_have_their_distribution() -> None:
    g = tg.Generator(12)
    tries = tg.zeros(N).geometric_(0.3, generator=g).array
    counts = np.bincount(tries.astype(int))[1:12]
    assert tries.min() == 1 and stats.chisquare(counts, stats.geom(0.3).pmf(np.arange(1, 12)) * counts.sum()
                                                / stats.geom(0.3).pmf(np.arange(1, 12)).sum()).pvalue > 0.01
    assert abs(tg.bernoulli(tg.full((N,), 0.3), generator=g).array.mean() - 0.3) < 0.005
    p = np.array([1, 2, 0, 5]) / 8
    drawn = tg.multinomial(tg.tensor(p), N, True, generator=g).array
    assert np.abs(np.bincount(drawn, minlength=4) / N - p).max() < 0.005
    first = np.array([tg.multinomial(tg.tensor(p), 2, generator=g).tolist() for _ in range(2000)])
    assert (first[:, 0] != first[:, 1]).all() and not (first == 2).any()
    assert abs((first[:, 0] == 3).mean() - 5 / 8) < 0.04
    k = tg.zeros(N, dtype=tg.int64).random_(3, 6, generator=g).array
    assert sorted(set(k.tolist())) == [3, 4, 5]


def test_order_and_choice() -> None:
    g = tg.Generator(13)
    x = tg.arange(20)
    tg.random.shuffle(x, generator=g)
    assert sorted(x.tolist()) == list(range(20)) != x.tolist()
    rows = tg.random.permutation(tg.arange(12).reshape(3, 4), axis=1, generator=g)
    assert sorted(rows.tolist()[0]) == [0, 1, 2, 3] and (rows[1] - rows[0]).tolist() == [4] * 4
    few = tg.random.choice(tg.arange(100), 50, False, generator=g).tolist()
    assert len(set(few)) == 50
    with pytest.raises(ValueError, match="choice: 3 draws of 2 need replace=True"):
        tg.random.choice(2, 3, False)
    with pytest.raises(ValueError, match="multinomial: 3 samples of 2 classes"):
        tg.multinomial(tg.ones(2), 3)
    with pytest.raises(TypeError, match=r"multinomial: f32\[1,1,2\] is neither"):
        tg.multinomial(tg.ones(1, 1, 2), 1)


def test_in_place_draws_keep_the_storage_and_are_not_for_leaves() -> None:
    x = tg.zeros(3)
    storage = x.array
    assert x.normal_() is x and x.array is storage and x.abs().sum().item() > 0
    leaf = tg.zeros(3, requires_grad=True)
    with pytest.raises(RuntimeError, match="a leaf that requires grad"):
        leaf.uniform_()
    with tg.no_grad():
        assert leaf.uniform_(1.0, 2.0).array.min() >= 1
    with pytest.raises(TypeError, match="normal_: int64 is not a floating-point dtype"):
        tg.zeros(2, dtype=tg.int64).normal_()
