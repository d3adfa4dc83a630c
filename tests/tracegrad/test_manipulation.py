"""Rearranging, splitting, joining, diagonals: values against NumPy, traced runs against eager ones, derivatives."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from codegen.ir.type_rules import TypeRuleError

X = np.arange(24.0).reshape(2, 3, 4) % 7 - 2.5
ROW = np.array([3.0, -1.0, 2.0])
OFFSETS = (-4, -2, -1, 0, 1, 2, 3, 4)

CASES: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any], np.ndarray]] = {
    **{f"{name}-{k}": (lambda x, name=name, k=k: getattr(tg, name)(x, k=k),
                       lambda x, name=name, k=k: getattr(np, name)(x, k), X)
       for name in ("tril", "triu") for k in OFFSETS},
    **{f"diagonal-{k}-{axes}": (lambda x, k=k, axes=axes: tg.diagonal(x, k, *axes),
                                lambda x, k=k, axes=axes: np.diagonal(x, k, *axes), X)
       for k in OFFSETS for axes in ((0, 1), (2, 1))},
    **{f"diag-{k}": (lambda x, k=k: tg.diag(x, k), lambda x, k=k: np.diag(x, k), ROW) for k in OFFSETS},
    "diag-of-a-matrix": (lambda x: tg.diag(x, 1), lambda x: np.diag(x, 1), X[0]),
    "diagflat": (lambda x: tg.diagflat(x, 1), lambda x: np.diagflat(x, 1), X[0]),
    **{f"rot90-{k}": (lambda x, k=k: tg.rot90(x, k, axes=(1, 2)), lambda x, k=k: np.rot90(x, k, axes=(1, 2)), X)
       for k in (-1, 0, 1, 2, 3)},
    **{f"roll-{shift}-{axis}": (lambda x, s=shift, axis=axis: tg.roll(x, s, axis=axis),
                                lambda x, s=shift, axis=axis: np.roll(x, s, axis), X)
       for shift, axis in ((2, None), (-30, None), (1, 0), (-1, 2), ((1, -2), (0, 2)), (1, (0, 1)), ((1, 2), 1))},
    **{f"tile-{n}": (lambda x, n=n: tg.tile(x, n), lambda x, n=n: np.tile(x, n), X)
       for n in ((2,), (2, 1, 3), (2, 1, 1, 2), (0, 1))},
    **{f"repeat-{axis}": (lambda x, k=axis: tg.repeat(x, 3, axis=k), lambda x, k=axis: np.repeat(x, 3, k), X)
       for axis in (None, 0, -1)},
    **{f"moveaxis-{a}-{b}": (lambda x, a=a, b=b: tg.moveaxis(x, a, b), lambda x, a=a, b=b: np.moveaxis(x, a, b), X)
       for a, b in (((0, 1), (2, 0)), (0, -1), (2, 0), ((-1, 0), (0, 1)))},
    **{f"rollaxis-{a}-{b}": (lambda x, a=a, b=b: tg.rollaxis(x, a, b), lambda x, a=a, b=b: np.rollaxis(x, a, b), X)
       for a in range(3) for b in range(4)},
    **{name: (lambda x, name=name: getattr(tg, name)(x), lambda x, name=name: getattr(np, name)(x), x)
       for name in ("fliplr", "flipud", "ravel", "atleast_1d", "atleast_2d", "atleast_3d") for x in (X, X[0])},
    **{f"{name}-of-a-row": (lambda x, name=name: getattr(tg, name)(x), lambda x, name=name: getattr(np, name)(x), ROW)
       for name in ("atleast_1d", "atleast_2d", "atleast_3d")},
    **{f"{name}-{x.ndim}": (lambda x, name=name: getattr(tg, name)([x, x * 2]),
                            lambda x, name=name: getattr(np, name)([x, x * 2]), x)
       for name in ("hstack", "vstack", "dstack", "column_stack") for x in (ROW, X[0])},
    **{f"array_split-{p}": (lambda x, p=p: tg.array_split(x, p, axis=2), lambda x, p=p: np.array_split(x, p, 2), X)
       for p in (2, 3, 5, (1, 3), (0, 5, 2), (-1,))},
    **{name: (lambda x, name=name: getattr(tg, name)(x, 2), lambda x, name=name: getattr(np, name)(x, 2), X[:, :2])
       for name in ("hsplit", "vsplit", "dsplit")},
    "unstack": (lambda x: tg.unstack(x, axis=1), lambda x: np.unstack(x, axis=1), X),
    "meshgrid": (lambda x: tg.meshgrid(x, x[:2], x * 2), lambda x: np.meshgrid(x, x[:2], x * 2), ROW),
    "meshgrid-ij": (
        lambda x: tg.meshgrid(x, x[:2], indexing="ij"), lambda x: np.meshgrid(x, x[:2], indexing="ij"), ROW),
    "broadcast_arrays": (lambda x: tg.broadcast_arrays(x, x[0]), lambda x: np.broadcast_arrays(x, x[0]), X),
    "split": (lambda x: tg.split(x, 3, axis=2), lambda x: np.split(x, [3], 2), X),
    "split-sizes": (lambda x: tg.split(x, (1, 0, 3), axis=2), lambda x: np.split(x, [1, 1], 2), X),
    "chunk": (lambda x: tg.chunk(x, 3, axis=-1), lambda x: np.split(x, [2], 2), X),
    "narrow": (lambda x: tg.narrow(x, 1, 1, 2), lambda x: x[:, 1:3], X),
    "select": (lambda x: tg.select(x, 1, -1), lambda x: x[:, -1], X),
    "unflatten": (lambda x: tg.unflatten(x, 2, (2, -1)), lambda x: x.reshape(2, 3, 2, 2), X),
}


def parts(result: Any) -> list[Any]:
    return list(result) if isinstance(result, tuple | list) else [result]


@pytest.mark.parametrize("name", CASES)
def test_values_are_those_of_numpy_eager_and_traced(name: str) -> None:
    ours, numpys, x = CASES[name]
    expected = parts(numpys(x))
    for found, e in zip(parts(ours(tg.tensor(x))), expected, strict=True):
        np.testing.assert_array_equal(found.numpy(), e)
    traced = tg.trace(lambda x: [part.clone() for part in parts(ours(x))], strict=True)
    for _ in range(3):
        for found, e in zip(traced(tg.tensor(x)), expected, strict=True):
            np.testing.assert_array_equal(found.numpy(), e)
    assert traced.stats.replays


@pytest.mark.parametrize("name", CASES)
def test_derivatives(name: str) -> None:
    ours, _, x = CASES[name]
    for k in range(len(parts(ours(tg.tensor(x))))):
        assert tg.autograd.gradcheck(lambda x, k=k: parts(ours(x))[k], tg.tensor(x, requires_grad=True))


@pytest.mark.parametrize("name", ["tril", "triu", "diag", "roll", "tile", "repeat"])
@pytest.mark.parametrize("dtype", [tg.bool, tg.int8, tg.uint64, tg.bfloat16], ids=str)
def test_dtypes_stay(name: str, dtype: Any) -> None:
    x = tg.ones(2, 2, dtype=dtype)
    assert getattr(tg, name)(x, *{"roll": (1,), "tile": (2,), "repeat": (2,)}.get(name, ())).dtype == dtype


@pytest.mark.parametrize("joined", (tg.concat, tg.stack, tg.vstack, tg.column_stack, lambda xs: tg.concat(xs, None)))
def test_what_is_joined_is_a_copy_of_one_part_too(joined: Callable) -> None:
    def f(x):
        y = joined([x])
        y += 1
        return y

    for call in (f, *[tg.trace(f)] * 3):
        for x in (tg.zeros(3, 2), tg.zeros(3, 2, requires_grad=True) * 1):
            y = call(x)
            assert not x.any() and y.all() and y.requires_grad == x.requires_grad
    w = tg.ones(3, 2, requires_grad=True)
    np.testing.assert_array_equal(tg.autograd.grad((f(w * 1) ** 2).sum(), w)[0], 4.0 * np.ones((3, 2)))


def test_repeats_of_their_own() -> None:
    x = tg.tensor(X, requires_grad=True)
    for counts in ([2, 0, 1], [3]):
        for repeats in (tg.tensor(counts), np.array(counts), counts):
            np.testing.assert_array_equal(tg.repeat(x, repeats, axis=1).detach(), np.repeat(X, counts, 1))
    assert tg.autograd.gradcheck(lambda x: tg.repeat_interleave(x, tg.tensor([2, 0, 1]), axis=1), x)


def test_parts_are_views() -> None:
    x = tg.zeros(2, 6)
    for k, part in enumerate((*tg.split(x, 2, axis=1), *tg.unstack(x), tg.narrow(x, 1, 0, 3), tg.diagonal(x, 1)), 1):
        part.fill_(k)
        assert (x.numpy() == k).sum() == part.numel()


@pytest.mark.parametrize("f", [
    tg.tril, tg.diag, tg.diagonal, tg.diag_embed, tg.roll, tg.repeat, tg.tile, lambda x, k: tg.split(x, k)[0] * 1,
    lambda x, k: tg.narrow(x, 0, k, 1) * 1, lambda x, k: tg.chunk(x, k)[0] * 1, lambda x, k: tg.rot90(x, k) * 1])
def test_an_int_argument_that_varies(f: Callable) -> None:
    x = tg.tensor(X[0])
    traced = tg.trace(lambda x, k: f(x, k).clone())
    for k in (1, 2, 1, 2, 1):
        np.testing.assert_array_equal(traced(x, k).numpy(), f(x, k).numpy())


def test_triangles_of_indices() -> None:
    for name in ("tril_indices", "triu_indices"):
        for args in ((3,), (3, 1), (3, -1, 5)):
            for found, e in zip(getattr(tg, name)(*args), getattr(np, name)(*args), strict=True):
                assert found.dtype == tg.int64
                np.testing.assert_array_equal(found.numpy(), e)


@pytest.mark.parametrize("call, error, message", [
    (lambda x: tg.tril(x[0]), TypeRuleError, r"tril: f64\[3\] has fewer than 2 axes"),
    (lambda x: tg.moveaxis(x, (0, 1), (0, 0)), TypeRuleError, "moveaxis: .* not as many different axes"),
    (lambda x: tg.moveaxis(x, 2, 0), TypeRuleError, "moveaxis: axis 2 is out of range"),
    (lambda x: tg.split(x, (1, 1), axis=1), ValueError, r"split: sizes \[1, 1\] do not add up to 3"),
    (lambda x: tg.hsplit(x, 2), ValueError, r"hsplit: axis 1 of f64\[2,3\] is not 2 equal parts"),
    (lambda x: tg.narrow(x, 1, 1, 3), IndexError, "narrow: 3 elements from 1 are out of bounds for axis 1 of size 3"),
    (lambda x: tg.repeat(x, 2, 2), TypeError, "repeat: .* PyTorch's repeat of sizes is tile"),
    (lambda x: tg.repeat(x, tg.tensor([1, 2]), axis=1), ValueError, "repeat: "),
    (lambda x: tg.repeat(x, -1), ValueError, "repeat: -1 repeats"),
    (lambda x: tg.roll(x, (1, 2), axis=(0, 1, 0)), ValueError, "roll: 2 shifts for 3 axes"),
    (lambda x: tg.rot90(x, axes=(0, -2)), TypeRuleError, "rot90: axes 0 and 0 are one"),
    (lambda x: tg.meshgrid(x, indexing="yx"), ValueError, "meshgrid: indexing 'yx'"),
    (lambda x: tg.diag(x[None]), TypeRuleError, "diag: .* neither 1 axis nor 2"),
    (lambda x: tg.chunk(x, 2, dim=1), TypeError, "chunk: there is no argument dim=: write axis="),
])
def test_errors(call: Callable, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call(tg.tensor(X[0, :2, :3]))
