"""Recorded for all sizes: a path with symbols serves sizes that no call had, where what it took for granted holds."""
from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from datetime import timedelta
from operator import attrgetter
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

import tracegrad as tg
from codegen.ir.dims import symbol
from tracegrad.recorder import ACTIVE, Recorder
from tracegrad.size_numbers import Assumptions, SizeFloat, SizeInt, SizeNumber
from tracegrad.sized import Sized
from tracegrad.symbols import Symbols

F = tg.nn.functional
SIZES = (5, 9, 12, 4, 33, 2, 12, 7)


def parts(value: Any) -> list[Any]:
    return [leaf for one in value for leaf in parts(one)] if isinstance(value, tuple) else [value]


def compare(found: Any, expected: Any) -> None:
    for a, b in zip(parts(found), parts(expected), strict=True):
        if isinstance(b, tg.Tensor):
            assert type(a) is type(b) and a.shape == b.shape and all(type(n) is int for n in a.shape)
            assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-4, atol=1e-5)
        else:
            assert type(a) is type(b) and a == b


def at_sizes(function: Callable, inputs: Callable[[int], tuple], sizes: tuple[int, ...] = SIZES) -> Any:
    """The traced function, after calls at these sizes, each of which gave what the eager one gives."""
    traced = tg.trace(function)
    for n in sizes:
        given = inputs(n)
        compare(traced(*given), function(*given))
    return traced


def rows(n: int) -> tuple:
    return (tg.randn(n, 4),)


READS_NO_NUMBER: dict[str, Callable] = {
    "mean of a number": lambda x: x.sum() / x.shape[0],
    "arithmetic": lambda x: x * ((x.shape[0] * 3 - 1) // 2 + x.shape[0] % 4) - x.shape[0] ** -0.5,
    "float arithmetic": lambda x: x * (1.0 / x.shape[0] + 0.5) - (x.shape[0] - 1.0) // 2.0 * 0.25,
    "tests that hold for all": lambda x: x * 2 if x.shape[0] > 1 and x.shape[0] != 0 else x,
    "shape arguments": lambda x: tg.zeros(x.shape[0], 2).sum(axis=1) + x.reshape(x.size // 4, 4).sum(axis=1),
    "slices": lambda x: (x[1:] + x[:-1]).sum(axis=0) + x[x.shape[0] // 2:].sum(axis=0) + x[-1],
    "steps": lambda x: x[::2].sum(axis=0) + x[::-1][0] + x[1::3].mean(axis=0),
    "ranges": lambda x: x * tg.arange(x.shape[0])[:, None] + tg.linspace(0.0, 1.0, x.shape[0])[:, None],
    "products": lambda x: (x @ x.T) @ x / x.shape[0],
    "statistics": lambda x: ((x - x.mean(axis=0)) / x.std(axis=0, correction=1), x.var()),
    "joined": lambda x: tg.concat([x, x[:1] * 2]).cumsum(axis=0).flip(0) * 2,
    "equal shapes": lambda x: x + 1 if x.shape == (x * 2).shape else x,
    "returned": lambda x: (x * 2, x.shape[0], (x.shape, x.size + 1)),
    "views": lambda x: (x[1:], x.T, x.reshape(-1)),
    "attention": lambda x: tg.softmax(tg.where(tg.tril(tg.ones(x.shape[0], x.shape[0])) > 0, x @ x.T, -9.0)) @ x,
    "a mask": lambda x: tg.where(x > 0, x, x.shape[0] * 1.0).sum(axis=0),
    "padding": lambda x: tg.pad(x, ((1, 2), (0, 0)))[2:],
    "diagonals": lambda x: (tg.diagonal(x @ x.T, 1) * x[1:, 0], tg.linalg.trace(x @ x.T)),
    "noise": lambda x: F.dropout(x * 0 + 1, 0.5).shape[0] * x,
}


@pytest.mark.parametrize("name", READS_NO_NUMBER)
def test_what_reads_no_number_is_recorded_twice(name: str) -> None:
    tg.manual_seed(0)
    stats = at_sizes(READS_NO_NUMBER[name], rows).stats
    assert (stats.recordings, stats.replays, stats.follows) == (2, len(SIZES) - 2, 0) and not stats.aborts


def test_what_it_took_for_granted_sends_other_sizes_elsewhere() -> None:
    def f(x):
        n = x.shape[0]
        if n > 8:
            return x * n
        return x.sum(axis=0) if n % 2 else x - n

    traced = at_sizes(f, rows, (9, 12, 30, 11, 5, 9, 6, 4, 8, 3, 7, 12, 30, 10))
    assert "b0 > 8" in str(traced.explain())


def images(n: int) -> tuple:
    return (tg.randn(2, 3, 2 * n, 4 * n, requires_grad=True),)


def patches(x: tg.Tensor) -> tuple:
    b, c, h, w = x.shape
    tokens = x.reshape(b, c, h // 2, 2, w // 4, 4).permute(0, 2, 4, 1, 3, 5).reshape(b, -1, c * 8)
    (tokens.tanh() * tokens.softmax(1)).sum().backward()
    gradient, x.grad = x.grad, None
    return tokens.mean(1), gradient


DIVIDED: dict[str, tuple] = {
    "halves": (lambda x: (x.reshape(2, x.shape[0] // 2, 4) * 3).sum(0), lambda n: rows(2 * n)),
    "what is left": (lambda x: x.reshape(3, -1).cumsum(1) + 1, lambda n: rows(3 * n)),
    "of products": (lambda x: (x @ x.T).reshape(-1, x.shape[0] // 2).softmax(1), lambda n: rows(2 * n)),
    "two sizes": (lambda x, y: x.reshape(y.shape) * y, lambda n: (tg.randn(3 * n, 4), tg.randn(n, 12))),
    "patches": (patches, images),
}


@pytest.mark.parametrize("name", DIVIDED)
def test_a_reshape_takes_for_granted_that_a_size_is_divided(name: str) -> None:
    traced = at_sizes(*DIVIDED[name])
    assert (traced.stats.recordings, traced.stats.replays) == (2, len(SIZES) - 2), traced.explain()


def test_a_size_that_is_not_divided_is_refused_as_in_python() -> None:
    traced = at_sizes(lambda x: x.reshape(2, x.shape[0] // 2, 4) * 3, lambda n: rows(2 * n))
    with pytest.raises(TypeError, match=r"f32\[7,4\] does not reshape to \[2,3,4\]"):
        traced(*rows(7))
    assert traced(*rows(40)).shape == (2, 20, 4)


READS: dict[str, Callable] = {
    "len": lambda x: x.sum(axis=0) / len(x),
    "a loop": lambda x: sum((x[k] * (k + 1) for k in range(x.shape[0])), tg.zeros(4)),
    "text": lambda x: x * len(f"{x.shape[0]:>{x.shape[0]}}"),
    "a dict": lambda x: x * {2: 3.0}.get(x.shape[0], 1.0),
    "NumPy": lambda x: x + np.arange(x.shape[0] * 4, dtype=np.float32).reshape(x.shape[0], 4),
    "iteration": lambda x: tg.stack([row * 2 for row in x]),
    "a condition on a number": lambda x: x * 2 if x.shape[0] == 12 else x,
    "float": lambda x: x * float(x.shape[0]),
    "identity of what is cached": lambda x: x * (x.shape[0] in {2, 5, 33}),
    "min": lambda x: x[:min(x.shape[0], 7)],
    "infinity": lambda x: x * (x.shape[0] < float("inf")),
    "steps backwards": lambda x: x[::-2].mean(axis=0),
    "a flipped result": lambda x: x.flip(0),
    "bits": lambda x: x * (x.shape[0] & 5),
    "nothing": lambda x: x * (x.shape[0] == None or x.shape[0] == "n"),      # noqa: E711
}


@pytest.mark.parametrize("name", READS)
def test_a_number_that_python_reads_is_right_at_every_size(name: str) -> None:
    tg.manual_seed(0)
    at_sizes(READS[name], rows, (*SIZES, *SIZES[::-1]))


def test_two_sizes_that_change_apart_and_together() -> None:
    def f(x, y):
        return x[:, None] * y[None] + (x.sum() if x.shape == y.shape else y.sum())

    traced = tg.trace(f)
    for n, m in ((3, 4), (5, 7), (8, 6), (9, 9), (6, 6), (9, 9), (2, 13), (7, 5), (5, 5)):
        x, y = tg.randn(n), tg.randn(m)
        compare(traced(x, y), f(x, y))
    alike = tg.trace(lambda x, y: x + y)
    for n in (3, 5, 7, 9):
        alike(tg.randn(n), tg.randn(n))
    assert alike.stats.recordings == 2 and alike.stats.replays == 2
    compare(alike(tg.randn(1), tg.zeros(6)).shape, (6,))


def test_zero_and_one_are_sizes_of_their_own() -> None:
    at_sizes(lambda x, y: x + y.sum(axis=0), lambda n: (tg.randn(n, 4), tg.randn(n, 4)), (5, 8, 1, 0, 1, 3, 0, 2, 1))


def test_derivatives_of_results_at_new_sizes_to_the_second_order() -> None:
    w = tg.randn(4, 3, requires_grad=True)

    def f(x):
        return (tg.tanh(x @ w) ** 2).mean()

    traced = tg.trace(f)
    for n in (5, 9, 12, 4, 33):
        x = tg.randn(n, 4, requires_grad=True)
        found, expected = [], []
        for call, into in ((traced, found), (f, expected)):
            first = tg.autograd.grad(call(x), (x, w), create_graph=True)
            into += [*first, *tg.autograd.grad((first[0] ** 2).sum(), (x, w))]
        compare(tuple(found), tuple(expected))
    assert traced.stats.recordings == 2 and not traced.stats.follows
    kernels = traced.stats.kernels_compiled
    tg.autograd.grad(traced(tg.randn(77, 4)), w)
    assert traced.stats.kernels_compiled == kernels


def test_a_training_step_with_its_optimizer_at_many_sizes() -> None:
    def learner():
        tg.manual_seed(1)
        model = tg.nn.Sequential(tg.nn.Linear(4, 8), tg.nn.ReLU(), tg.nn.BatchNorm1d(8), tg.nn.Linear(8, 3))
        optimizer = tg.optim.Adam(model.parameters(), lr=0.01)

        def step(x, y):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            return loss, model[0].weight.grad.clone()
        return step

    eager, traced = learner(), tg.trace(learner())
    for n in (6, 10, 14, 3, 29, 14):
        x, y = tg.randn(n, 4), tg.randint(0, 3, (n,))
        compare(traced(x, y), eager(x, y))
    assert traced.stats.recordings == 2 and traced.stats.replays == 4


def test_random_numbers_are_those_that_python_would_draw() -> None:
    def f(x):
        return F.dropout(x, 0.5) + tg.randn(x.shape[0], 4) * tg.rand(x.shape[0])[:, None]

    traced = tg.trace(f)
    for n in (5, 9, 12, 4, 33):
        x = tg.randn(n, 4)
        tg.manual_seed(n)
        found = traced(x), tg.rand(3)
        tg.manual_seed(n)
        compare(found, (f(x), tg.rand(3)))
    assert traced.stats.recordings == 2


def test_arguments_and_captured_tensors_are_written_in_place() -> None:
    def twin() -> Callable:
        state = {"h": tg.zeros(5, 4)}

        def f(x):
            if state["h"].shape != x.shape:
                state["h"] = tg.zeros_like(x)
            with tg.no_grad():
                x[1:] *= 0.5
                x += x.shape[0]
            state["h"] = tg.tanh(state["h"] + x)
            return state["h"].sum(axis=0), x
        return f

    eager, traced = twin(), tg.trace(twin())
    for n in (5, 9, 12, 12, 4, 12, 33):
        x = tg.randn(n, 4)
        y = x.clone()
        compare(traced(x), eager(y))
        compare(x, y)


def test_state_that_changes_is_seen_at_new_sizes() -> None:
    state = {"scale": 2.0, "w": tg.randn(4)}

    def f(x):
        return x * state["scale"] + state["w"]

    traced = tg.trace(f)
    for k, n in enumerate((5, 9, 12, 4, 33, 6, 8)):
        if k == 3:
            state["scale"] = 3.0
        if k == 5:
            state["w"] = tg.randn(4)
        x = tg.randn(n, 4)
        compare(traced(x), f(x))


def test_no_number_of_the_run_outlives_it() -> None:
    kept: list[Any] = []

    def f(x):
        y = x * 2
        kept[:] = [x.shape[0], y.shape, {"n": x.shape[0] + 1}, y]
        return y

    traced = tg.trace(f)
    for n in (5, 9, 12):
        x = tg.randn(n, 4)
        compare(traced(x), x * 2)
        assert [type(part) for part in (kept[0], *kept[1], *kept[2].values())] == [int] * 4
        assert kept[0] == n and kept[1] == (n, 4) and type(kept[3]) is type(x) is tg.Tensor


def test_another_thread_sees_plain_sizes() -> None:
    seen: list[tuple] = []
    x = tg.randn(9, 4)

    def look() -> None:
        seen.append((type(x) is Sized, x.shape, x.size, len(x), x.nbytes, x.array.shape))

    recorder = Recorder()
    recorder.symbols = symbols = Symbols([(x, (symbol("b0"), 4))], {"b0": 9})
    token = ACTIVE.set(recorder)
    try:
        symbols.begin()
        assert [type(n) for n in x.shape] == [SizeInt, int] and type(x.size) is SizeInt
        thread = threading.Thread(target=look)
        thread.start()
        thread.join()
        assert not symbols.assumptions.made and x.memory.shape == x.array.shape == (9, 4)
        assert [*symbols.assumptions.known] == ["b0"] and not symbols.hold         # since who has the array can see it
    finally:
        symbols.end()
        ACTIVE.reset(token)
    assert seen == [(True, (9, 4), 36, 9, 144, (9, 4))] and type(x) is tg.Tensor


CLASS_OF = type

ASKS: dict[str, Callable] = {
    "type": lambda x: type(x) is tg.Tensor and type(x.shape[0]) is int,
    "by another name": lambda x: CLASS_OF(x) is tg.Tensor and CLASS_OF(x.shape[0]) is int,
    "a default": lambda x, kind=type: kind(x) is tg.Tensor and kind(x.shape[0]) is int,
    "C code": lambda x: attrgetter("__class__")(x) is tg.Tensor and [*map(CLASS_OF, x.shape)] == [int, int],
    "an attribute": lambda x: x.__class__ is tg.Tensor and x.shape[0].__class__ is int,
}


@pytest.mark.parametrize("name", ASKS)
def test_code_that_asks_for_types_finds_those_of_users(name: str) -> None:
    at_sizes(lambda x: x * (2.0 if ASKS[name](x * 1.0) else 3.0), rows)


def test_an_error_at_another_size_is_that_of_python() -> None:
    w = tg.randn(12, 3)

    def f(x):
        try:
            return x @ w
        except TypeError:
            return x * 2

    at_sizes(f, lambda n: (tg.randn(2, n),))
    with pytest.raises(TypeError, match="12"):
        traced = tg.trace(lambda x: x @ w if x.shape[1] > 8 else x)
        for n in (4, 6, 8, 12, 10):
            traced(tg.randn(2, n))


def test_a_number_that_c_code_does_not_take_is_given_plain() -> None:
    def f(x):
        return x * int.bit_length(x.shape[0])

    at_sizes(f, rows)


def test_a_language_model_s_step_where_a_size_less_one_could_be_one() -> None:
    def learner() -> Callable:
        tg.manual_seed(3)
        embedding = tg.nn.Embedding(11, 8)
        layer = tg.nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
        optimizer = tg.optim.SGD([*embedding.parameters(), *layer.parameters()], lr=0.1)

        def step(tokens):
            optimizer.zero_grad()
            x = layer(embedding(tokens[:, :-1]) + embedding(tg.arange(tokens.shape[1] - 1)))
            loss = F.cross_entropy((x @ embedding.weight.mT).reshape(-1, 11), tokens[:, 1:].reshape(-1))
            loss.backward()
            optimizer.step()
            return loss
        return step

    eager, traced, compiled = learner(), tg.trace(learner()), []
    for b, n in ((3, 7), (3, 9), (3, 5), (3, 12), (3, 3), (2, 9), (4, 5), (5, 11), (2, 4)):
        tokens, before = tg.randint(0, 11, (b, n)), traced.stats.kernels_compiled
        compare(traced(tokens), eager(tokens))
        compiled.append(traced.stats.kernels_compiled - before)
    assert traced.stats.recordings == 3 and traced.stats.replays == 6       # the third for other batches, too
    assert not any(compiled[2:5]) and not any(compiled[6:])


def test_captured_state_that_grows_by_one_at_each_call() -> None:
    def decoder() -> Callable:
        state = {"keys": tg.zeros(1, 4)}

        def step(x):
            state["keys"] = tg.concat([state["keys"], tg.tanh(x)])
            return tg.softmax(x @ state["keys"].T) @ state["keys"], state["keys"].shape[0]
        return step

    tg.manual_seed(0)
    eager, traced = decoder(), tg.trace(decoder())
    for _ in range(9):
        x = tg.randn(1, 4)
        compare(traced(x), eager(x))
    assert traced.stats.recordings == 3 and traced.stats.replays == 6       # 1 is a size of its own


def test_calls_of_another_kind_are_recorded_for_all_sizes_too() -> None:
    traced = tg.trace(lambda x: tg.tanh(x).sum())
    for requires_grad in (True, False):
        for n in (5, 9, 12, 4, 7):
            traced(tg.randn(n, 4, requires_grad=requires_grad))
    assert traced.stats.recordings == 4 and traced.stats.replays == 6 and not traced.stats.follows


VIEWS_AT_SOME_SIZES: dict[str, tuple[Callable, Callable[[int], tuple[int, ...]]]] = {
    "columns": (lambda x: x[:, 1:].reshape(-1), lambda n: (4, n)),
    "columns of half": (lambda x: x[:, :x.shape[1] // 2].reshape(-1), lambda n: (4, n)),
    "every second, even or odd": (lambda x: x[:, ::2].reshape(-1), lambda n: (4, n)),
    "columns of all": (lambda x: x[:, :3].reshape(-1), lambda n: (4, n + 1)),
    "columns of as many": (lambda x: x[:, :x.shape[0]].reshape(-1), lambda n: (n, max(n, 5))),
    "a transpose": (lambda x: x[:-1].T.reshape(-1), lambda n: (n, 4)),
    "steps": (lambda x: x[::x.shape[0] - 1].T.flatten(), lambda n: (n, 4)),
    "one row, repeated": (lambda x: tg.broadcast_to(x[:1], (x.shape[0] - 1, 4)).reshape(-1), lambda n: (n, 4)),
    "kept apart": (lambda x: x[:, 1:].T.reshape(x.shape[1] - 1, 2, 2), lambda n: (4, n)),
    "a flipped axis": (lambda x: x[1:].flip(0).reshape(-1), lambda n: (n, 4)),
    "a diagonal": (lambda x: tg.diagonal(x[1:]).reshape(-1, 1), lambda n: (n, 4)),
    "a view of a view": (lambda x: x[1:, None].reshape(-1, 2, 2).swapaxes(0, 2).reshape(-1), lambda n: (n, 4)),
}


def in_x(x, f):
    y = f(x)
    y *= 3
    return y


def in_what_was_made(x, f):
    x = x * 2
    y = f(x)
    y += 1
    return x.sum(axis=0), y * 2


@pytest.mark.parametrize("name", VIEWS_AT_SOME_SIZES)
@pytest.mark.parametrize("order", ((9, 12, 2, 5, 3, 4), (9, 2, 12, 5, 3)))
def test_views_are_copies_at_the_sizes_where_numpy_copies(name: str, order: tuple[int, ...]) -> None:
    f, shape = VIEWS_AT_SOME_SIZES[name]
    writing = lambda x: in_x(x, f)                          # noqa: E731
    inside = lambda x: in_what_was_made(x, f)               # noqa: E731
    for function in (writing, inside, f, lambda x: f(x * 2)):
        traced = tg.trace(function)
        for n in order:
            given = tg.randn(*shape(n))
            x, y = given.clone(), given.clone()
            found, expected = traced(x), function(y)
            compare((found, x), (expected, y))
            if function is f:
                found += 1
                expected += 1
                compare((found, x), (expected, y))
        assert not traced.stats.aborts


def test_a_size_that_is_one_does_not_say_how_a_result_lies() -> None:
    traced = tg.trace(lambda x: x[1:].T * 2)
    for n in (9, 2, 12, 5):
        x = tg.randn(n, 4)
        found, expected = traced(x).array, (x[1:].T * 2).array
        assert found.flags.c_contiguous == expected.flags.c_contiguous, n


def test_a_copy_whatever_the_sizes_are_is_one_path() -> None:
    def f(x):
        y = (x[:, 1:].reshape(-1) + 1, x.T.reshape(-1), x.reshape(-1, 2, 2)[1:].swapaxes(1, 2).flatten())
        y[1][0] += 5
        return y

    assert at_sizes(f, lambda n: (tg.randn(4, 2 * n),)).stats.recordings == 2


def test_explain_says_why_a_path_is_for_one_size() -> None:
    def f(x):
        return x.sum(axis=0) / len(x)

    line = f"test_all_sizes.py:{f.__code__.co_firstlineno + 1}"
    assert f"no, {line}: Python asked for a size as a number" in str(at_sizes(f, rows, (5, 9)).explain())


def test_results_with_gaps_in_memory_have_those_of_their_sizes() -> None:
    def f(x):
        y = x * 2
        return y.flip(0), y[::2], y[:, 1:], tg.broadcast_to(y[:, None, :], (x.shape[0], 3, 4)), y.T[::-1]

    def strides(n: int, function: Callable) -> list:
        return [[s for size, s in zip(t.shape, t.numpy().strides) if size > 1] for t in function(*rows(n))]

    traced = at_sizes(f, rows)
    assert all(strides(n, traced) == strides(n, f) for n in (5, 21, 3, 2)) and traced.stats.recordings == 2


def test_numbers_that_change_with_the_sizes_are_inputs() -> None:
    def f(x, rate, *, k):
        return (x * rate + k).sum(axis=0) / x.shape[0] if x.sum() > 0 else x * rate * x.shape[0]

    traced = tg.trace(f)
    for turn, n in enumerate((5, 5, 9, 9, 12, 7, 30, 7, 30, 8)):
        x = tg.full((n, 4), 1.0 if turn % 2 else -1.0)
        if turn == 6:
            recordings = traced.stats.recordings
        compare(traced(x, 0.1 * turn, k=turn % 3), f(x, 0.1 * turn, k=turn % 3))
    assert traced.stats.recordings <= recordings + 2, traced.explain()


HIST: list[Any] = []


def note(n: int) -> None:
    HIST.append(n)


def test_numbers_that_code_nobody_knew_has_kept_are_plain() -> None:
    def f(x):
        if x.shape[0] > 10:
            note(x.shape[0])
        return x * 2

    def g(x):
        return x * (x.shape[0] - HIST[-1])

    HIST.clear()                # what was there before the suite is frozen: the collector does not know who holds it
    traced, other = tg.trace(f), tg.trace(g)
    for n in (9, 12, 12, 33):
        x = tg.randn(n, 4)
        compare(traced(x), x * 2)
        if HIST:
            compare(other(x), g(x))
            assert [type(one) for one in HIST] == [int] * len(HIST)
    assert HIST == [12, 12, 33]


def catching(n: Any) -> float:
    try:
        return float(timedelta(days=n).days)        # which takes no stand-in
    except TypeError:
        return -1.0


def test_code_nobody_knew_is_given_plain_numbers() -> None:
    def f(x):
        n = x.shape[0]
        later, pair = (catching(k) for k in (n, n + 1)), (n, "a pair")
        return x * (catching(n) + next(later) + next(later) + catching(pair[0] * 2) if n > 10 else 1.0)

    at_sizes(f, rows, sizes=(9, 12, 12, 33, 12))


def kinds_in(value: Any) -> set[type]:
    parts: Any = ()
    if isinstance(value, dict):
        parts = [*value, *value.values()]
    elif isinstance(value, set | deque | tuple):
        parts = value
    elif isinstance(value, SimpleNamespace):
        parts = vars(value).values()
    return {type(value)}.union(*map(kinds_in, parts))


KEEPERS: dict[str, Callable] = {
    "a set": lambda state, n: state.setdefault("set", set()).add(n),
    "a key": lambda state, n: state.update({n: 1, (n, 2): 3}),
    "a deque": lambda state, n: state.setdefault("deque", deque()).append((n, n + 1)),
    "an attribute": lambda state, n: setattr(state.setdefault("object", SimpleNamespace()), "n", n),
}


@pytest.mark.parametrize("name", KEEPERS)
def test_what_keeps_numbers_keeps_plain_ones(name: str) -> None:
    eager: dict[Any, Any] = {}
    state: dict[Any, Any] = {}
    keep = KEEPERS[name]

    def f(x, into):
        if x.shape[0] > 10:
            keep(into, x.shape[0])
        return x * 2

    traced = tg.trace(f)
    for n in (9, 12, 15, 12):
        x = tg.randn(n, 4)
        traced(x, state)
        f(x, eager)
        assert repr(state) == repr(eager) and kinds_in(state).isdisjoint((SizeInt, SizeFloat))


FAILS: dict[str, Callable] = {
    "divided by 0": lambda n: 1 / (n - 5),
    "rest of 0": lambda n: 7 % (n - 5),
    "a root of what is below 0": lambda n: abs((n - 6) ** 0.5),
    "a power that is an int here": lambda n: 2 ** (n - 9),
    "a large power": lambda n: 2.0 ** (n * 40),
    "a type": lambda n: float(isinstance(n * 1.0, float) + 2 * isinstance(n // 2, int)),
    "C code": lambda n: timedelta(days=n).days,
    "a modulus": lambda n: pow(n, 2, 5),
    "an index": lambda n: float(hasattr(n / 2, "__index__") + 2 * hasattr(n, "__index__") + 4 * hasattr(n, "hex")),
    "an array": lambda n: float(hasattr(n, "__array__")),
    "its class": lambda n: float(attrgetter("__class__")(n) is int),
    "a product of floats": lambda n: n * 1.0 - 0.5 * n + (n - 1.0) / 4.0,
}


@pytest.mark.parametrize("caught", [False, True])
@pytest.mark.parametrize("name", FAILS)
def test_what_fails_at_some_sizes_fails_at_those(name: str, caught: bool) -> None:
    compute = FAILS[name]

    def f(x):
        return x * compute(x.shape[0]), compute(x.shape[0]) * 1

    def g(x):
        try:
            return x * compute(x.shape[0])
        except (ArithmeticError, TypeError):
            return x - 1

    function = g if caught else f
    traced = tg.trace(function)
    for n in (9, 12, 5, 4, 12, 7, 33, 5, 6):
        x = tg.randn(n, 4)
        try:
            expected = function(x)
        except ArithmeticError as error:
            with pytest.raises(type(error)):
                traced(x)
        else:
            compare(traced(x), expected)


def test_an_error_says_plain_numbers() -> None:
    def f(x):
        with tg.no_grad():
            x += 1
        if x.shape[0] > 10:
            raise KeyError(x.shape[0], (x.shape, (x.shape[0] + 1,)))
        return x

    traced = tg.trace(f)
    for n in (5, 9, 12, 7):
        try:
            traced(tg.zeros(n, 4))
        except KeyError as error:
            assert repr(error.args) == "(12, ((12, 4), (13,)))" and SizeInt not in kinds_in(error.args)


def test_numbers_beside_numpy_s_keep_its_dtypes() -> None:
    def f(x):
        return tg.tensor(np.ones(4, np.float32) * x.shape[0]) + x, np.float32(2) * (x.shape[0] / 2)

    at_sizes(f, rows)


# ---- the numbers themselves ------------------------------------------------------------------------------------------


def test_numbers_are_what_they_are_computed_from() -> None:
    x = tg.randn(12)
    recorder = Recorder()
    recorder.symbols = symbols = Symbols([(x, (symbol("b0"),))], {"b0": 12})
    token = ACTIVE.set(recorder)
    try:
        check_numbers(SizeNumber(12, symbol("b0"), symbols.assumptions), symbols.assumptions)
    finally:
        ACTIVE.reset(token)
    n = SizeNumber(12, symbol("b0"), symbols.assumptions)       # beside its run it is a number
    assert [type(m) for m in (n + 1, n * n, n / 4, n - n, -n)] == [int, int, float, int, int] and n == 12


def check_numbers(n: SizeNumber, assumed: Assumptions) -> None:
    assert (n + 1, 1 + n, n - 2, 20 - n, n * 3, n // 5, n % 5, 7 // n, -n, n / 4, n ** 2, 2.0 * n) == (
        13, 13, 10, 8, 36, 2, 2, 0, -12, 3.0, 144, 24.0)
    assumed.made.clear()
    assert n > 1 and n >= 2 and n != 0 and n + 1 != n and n // 1 == n and n * 2 > n and not n < 0 and n
    assert not assumed.made
    assert n > 8 and not n > 20 and [*assumed.made.values()] == [True, False]
    assert not assumed.known
    assert [*range(n)] == [*range(12)] and [*assumed.known] == ["b0"]


MAY_BE_SMALL: dict[str, Callable] = {
    "zeros up to 20": lambda x: tg.pad(x, ((20 - x.shape[0], 0), (0, 0))) * 2,
    "a quarter of it": lambda x: tg.pad(x[:x.shape[0] // 4], ((0, 2), (0, 0)))[:2] * 2,
}


@pytest.mark.parametrize("name", MAY_BE_SMALL)
def test_what_sizes_come_to_may_be_0_or_1(name: str) -> None:
    """Kernels are given the sizes of windows, their beginnings and lengths as numbers, which may be any."""
    stats = at_sizes(MAY_BE_SMALL[name], rows, (9, 12, 6, 4, 5, 7, 13, 4)).stats
    assert stats.recordings == 2 and stats.replays == 6


def test_the_second_derivative_of_moved_rows() -> None:
    """Where they come from goes below 0."""
    def twice(function: Callable, x: tg.Tensor) -> tuple:
        x = x.clone().requires_grad_()
        y = function(x)
        (first,) = tg.autograd.grad((y * y).sum(), [x], create_graph=True)
        (second,) = tg.autograd.grad((first * first).sum(), [x])
        return y, first, second

    def moved(x: tg.Tensor) -> tg.Tensor:
        return tg.roll(x, 2, axis=0)

    traced = tg.trace(moved)
    for n in (9, 12, 5, 33, 7, 3):
        (x,) = rows(n)
        compare(twice(traced, x), twice(moved, x))
    assert traced.stats.recordings == 2 and not traced.stats.aborts
