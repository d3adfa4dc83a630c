"""Replays: results have the memory that eager ones have, grads are met or the path is off, nothing recycled is seen."""
from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tracegrad.made import POOLED_BYTES, laid_out
from tracegrad.source_lines import is_inside


def vector(*values: float, requires_grad: bool = False) -> tg.Tensor:
    return tg.tensor(np.array(values, np.float64), requires_grad=requires_grad)


def matrix() -> tg.Tensor:
    return tg.tensor(np.arange(12.0).reshape(3, 4))


VIEWS: dict[str, Callable[[tg.Tensor], tg.Tensor]] = {
    "transposed": lambda x: (x * 2.0).T, "every other": lambda x: (x * 2.0)[:, ::2],
    "reversed": lambda x: (x * 2.0)[::-1],
    "broadcast": lambda x: (x * 2.0)[0].broadcast_to(5, 4), "whole": lambda x: x * 2.0,
    "of nothing": lambda x: (x * 2.0)[3:].T, "one row": lambda x: (x * 2.0)[1:2].T,
    "a number, repeated": lambda x: x.sum().broadcast_to(3),
}


@pytest.mark.parametrize("view", VIEWS)
def test_results_are_laid_out_as_eager_ones(view: str) -> None:
    traced = tg.trace(VIEWS[view])
    traced(matrix())
    expected, found = VIEWS[view](matrix()), traced(matrix())
    assert traced.stats.replays == 1
    for e, f in ((expected, found), (expected.reshape(-1), found.reshape(-1))):
        np.testing.assert_array_equal(e.numpy(), f.numpy())
        assert e.numpy().flags.writeable == f.numpy().flags.writeable
        assert e.numpy().flags.c_contiguous == f.numpy().flags.c_contiguous
    assert (np.shares_memory(expected.numpy(), expected.reshape(-1).numpy())
            == np.shares_memory(found.numpy(), found.reshape(-1).numpy()))


@pytest.mark.parametrize("strides", [(8, 24), (-8, 32), (0, 8), (64, -8), (0, 0)])
def test_any_strides_can_be_laid_out(strides: tuple[int, int]) -> None:
    values = np.full((3, 2), 7.0) if 0 in strides else np.arange(6.0).reshape(3, 2)
    made = laid_out(values, strides)
    np.testing.assert_array_equal(made, values)
    assert made.strides == strides


def large(value: float) -> tg.Tensor:
    """So many numbers that the memory of a result is worth keeping."""
    return tg.tensor(np.full(POOLED_BYTES // 8, float(value)))


HOLDERS: dict[str, Callable[[tg.Tensor], Any]] = {
    "the tensor": lambda y: y, "its array": lambda y: y.numpy(), "a view of its array": lambda y: y.numpy()[1:],
    "a memoryview": lambda y: memoryview(y.numpy()), "DLPack": lambda y: np.from_dlpack(y),
    "a view": lambda y: y[::-1], "detached": lambda y: y.detach(), "an iterator": lambda y: y.numpy().flat,
}


@pytest.mark.parametrize("holder", HOLDERS)
def test_memory_that_anything_holds_is_not_used_again(holder: str) -> None:
    def read(held: Any) -> list[float]:
        return np.asarray(held.detach() if isinstance(held, tg.Tensor) else held).tolist()

    traced = tg.trace(lambda x: x * 2.0)
    held = []
    for k in range(8):
        made = HOLDERS[holder](traced(large(k)))
        held.append((made, read(made)))
    assert traced.stats.replays == 7
    for made, before in held:
        assert read(made) == before


def test_memory_that_nothing_holds_is_used_again() -> None:
    traced = tg.trace(lambda x: x * 2.0)
    places = {traced(large(k)).array.ctypes.data for k in range(20)}
    assert len(places) <= 3


def test_small_results_have_memory_of_their_own() -> None:
    traced = tg.trace(lambda x: x * 2.0)
    results = [traced(vector(k, 1)) for k in range(20)]
    assert [y.tolist() for y in results] == [[2.0 * k, 2.0] for k in range(20)]
    assert not any(np.shares_memory(a.array, b.array) for k, a in enumerate(results) for b in results[:k])


def test_the_code_of_a_replay_is_no_line_of_the_users() -> None:
    traced = tg.trace(lambda x: x * 2.0)
    traced(vector(1)), traced(vector(2))
    (root,) = traced._tree.roots
    assert is_inside(root.replay.__code__.co_filename)


@pytest.mark.parametrize("change", [
    lambda a: setattr(a, "shape", (2, -1)), lambda a: setattr(a, "dtype", np.int64), lambda a: a.setflags(write=False),
], ids=["shape", "dtype", "read-only"])
def test_an_array_that_was_changed_before_it_was_let_go_is_not_used_again(change: Callable[[np.ndarray], Any]) -> None:
    traced = tg.trace(lambda x: x * 2.0)
    x = large(3)
    for _ in range(6):
        array = traced(x).numpy()
        np.testing.assert_array_equal(array, np.full(x.shape, 6.0))
        assert array.flags.writeable
        change(array)
        del array


GRADS: dict[str, Callable[[tg.Tensor, tg.Tensor], Any]] = {
    "none": lambda w, u: None,
    "of their own": lambda w, u: (setattr(w, "grad", vector(1, 1)), setattr(u, "grad", vector(2, 2))),
    "one": lambda w, u: setattr(w, "grad", vector(1, 1)),
    "shared": lambda w, u: (setattr(w, "grad", vector(1, 1)), setattr(u, "grad", w.grad)),
    "views of one array": lambda w, u: (setattr(w, "grad", vector(1, 1, 2, 2)[:2]), setattr(u, "grad", w.grad[::1])),
    "the other parameter": lambda w, u: setattr(w, "grad", u.detach()),
    "strided": lambda w, u: setattr(w, "grad", vector(1, 1, 2, 2)[::2]),
    "read-only": lambda w, u: setattr(w, "grad", vector(3).broadcast_to(2)),
    "differentiable": lambda w, u: setattr(w, "grad", u * 2.0),
}


@pytest.mark.filterwarnings("ignore::tracegrad.NotReplayed")
@pytest.mark.parametrize("first", ["none", "of their own", "shared"])
def test_grads_that_are_not_as_they_were_take_another_path(first: str) -> None:
    def make(trace: bool) -> tuple[tg.Tensor, tg.Tensor, Callable[[tg.Tensor], tg.Tensor]]:
        w, u = vector(1, 2, requires_grad=True), vector(3, 4, requires_grad=True)

        def f(x: tg.Tensor) -> tg.Tensor:
            (w * u * x).sum().backward()
            return w.grad + u.grad          # type: ignore[operator]

        return w, u, tg.trace(f) if trace else f

    twins = make(False), make(True)
    for case in (first, first, *GRADS, first, "of their own", "of their own", *reversed(GRADS)):
        for x in (1.0, 2.0):
            seen = []
            for w, u, f in twins:
                if x == 1.0:
                    w.grad = u.grad = None
                    GRADS[case](w, u)
                try:
                    seen.append([t.detach().numpy().tolist() for t in (f(vector(x, 1)), w, u, w.grad, u.grad)])
                except ValueError:          # a grad that cannot be written to
                    seen.append([t.detach().numpy().tolist() for t in (w, u)])
            assert seen[0] == seen[1], case
    assert twins[1][2].stats.replays > 2    # type: ignore[attr-defined]


def test_an_argument_that_the_run_makes_require_grad_is_left_to_python() -> None:
    @tg.trace
    def f(x: tg.Tensor) -> tg.Tensor | None:
        x.requires_grad_()
        (x * x).sum().backward()
        return x.grad

    with pytest.warns(tg.NotReplayed, match="EFFECT"):
        for _ in range(3):
            x = vector(1, 2)
            f(x)
            assert x.requires_grad and x.grad is not None


def halves(a: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Two arrays whose memory is apart, overlaps, touches, is the same, is interleaved, is the same reversed."""
    return [(a[:4].copy(), a[4:].copy()), (a[:4], a[2:6]), (a[:4], a[4:]), (a[:4], a[:4]), (a[::2], a[1::2]),
            (a[:4], a[3::-1])]


@pytest.mark.filterwarnings("ignore::tracegrad.NotReplayed")
@pytest.mark.parametrize("first", range(6))
def test_arrays_that_come_to_overlap_take_another_path(first: int) -> None:
    def f(x: tg.Tensor, y: tg.Tensor) -> tg.Tensor:
        x += 1.0
        y *= 2.0
        return x + y

    traced = tg.trace(f)
    for case in (first, first, *range(6), *range(6), first):
        seen = []
        for run in (f, traced):
            memory = np.arange(8.0)
            x, y = halves(memory)[case]
            result = run(tg.from_numpy(x), tg.from_numpy(y)).numpy()
            seen.append([numbers.tolist() for numbers in (result, x, y, memory)])
        assert seen[0] == seen[1], case


@pytest.mark.filterwarnings("ignore::tracegrad.NotReplayed")
def test_a_container_that_something_else_holds_is_returned_as_itself() -> None:
    items, shared = [vector(1)], {"x": vector(2)}
    for f in (lambda x: (items, x * 2.0), lambda x: {"a": shared, "b": x * 2.0}):
        traced = tg.trace(f)
        for _ in range(3):
            found, expected = traced(vector(1)), f(vector(1))
            key = 0 if isinstance(found, tuple) else "a"
            assert found[key] is expected[key]

    @tg.trace
    def twice(x: tg.Tensor) -> tuple[list, list]:
        made = [x * 2.0]
        return made, made

    for _ in range(3):
        a, b = twice(vector(1))
        assert a is b


def test_what_eager_takes_and_the_types_do_not_runs_eagerly() -> None:
    traced = tg.trace(lambda x: x > -1)
    with pytest.warns(tg.NotReplayed, match="-1 beside u8, which cannot hold it"):
        for _ in range(3):
            assert traced(tg.tensor([0, 255], dtype=tg.uint8)).tolist() == [True, True]


W = tg.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], requires_grad=True)


def without_grad(x: tg.Tensor) -> tg.Tensor:
    with tg.no_grad():
        return W[1]


def a_part_and_the_whole(x: tg.Tensor) -> tuple[tg.Tensor, ...]:
    y = W * x
    return y[1], y, y.T, y.detach()


def written(x: tg.Tensor) -> tg.Tensor:
    x += 1.0
    return x[0]


@pytest.mark.parametrize("function", [
    lambda x: x.T, lambda x: x[1, ::2], lambda x: x.reshape(3, 2)[None], lambda x: W.T, lambda x: W.detach()[1:],
    lambda x: tuple(x * 2.0), lambda x: (x * 2.0)[1], lambda x: tg.broadcast_to(x[0], (4, 3)),
    without_grad, a_part_and_the_whole, written])
def test_results_that_are_views_are_views_after_a_replay(function: Callable) -> None:
    """Of the argument, of captured state and of each other, with the same history."""
    traced = tg.trace(function)
    for _ in range(3):
        x, other = (tg.tensor([[0.5, -1.0, 2.0], [3.0, 0.0, 1.0]]) for _ in range(2))
        expected, found = function(x), traced(other)
        expected, found = (r if isinstance(r, tuple) else (r,) for r in (expected, found))
        for a, b in zip(expected, found, strict=True):
            assert a.tolist() == b.tolist() and a.array.strides == b.array.strides
            assert a.array.flags.writeable == b.array.flags.writeable
            assert (a.requires_grad, a.is_leaf) == (b.requires_grad, b.is_leaf)
            for mine, yours in [(x, other), (W, W), *zip(expected, found)]:
                assert np.shares_memory(a.array, mine.array) == np.shares_memory(b.array, yours.array)
            if a.grad_fn is not None:
                grads = [tg.autograd.grad(t.sum(), W, retain_graph=True)[0].tolist() for t in (a, b)]
                assert grads[0] == grads[1]
    assert traced.stats.replays == 2, traced.explain()


def test_a_path_does_not_keep_what_its_run_gave():
    traced = tg.trace(lambda x: x * 2.0 if x.sum() > 0 else x * 3.0, target="interpret")
    results = [weakref.ref(traced(x)) for x in (tg.ones(3), -tg.ones(3), tg.ones(3))]
    gc.collect()
    assert [r() for r in results] == [None] * 3


def test_what_is_saved_of_memory_that_others_may_write_to():
    """It is copied; the copy is the value itself to the recording."""
    def product(x, w, g):
        y = x * w
        return y.detach(), *tg.autograd.grad(y, (x, w), g)

    traced = tg.trace(product, target="interpret")
    arrays = [np.arange(n, dtype=np.float32).reshape(shape) for n, shape in ((6, (2, 3)), (3, (3,)), (6, (2, 3)))]
    for _ in range(3):
        x, w, g = map(tg.from_numpy, arrays)
        x.requires_grad_()
        w.requires_grad_()
        for found, expected in zip(traced(x, w, g), product(x, w, g), strict=True):
            assert found.tolist() == expected.tolist()
        arrays[1][:] += 1
    assert traced.stats.replays == 2, traced.explain()
