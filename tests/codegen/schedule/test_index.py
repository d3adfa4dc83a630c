"""Index algebra: composed views find the elements that NumPy's views find, in canonical form, within their bounds."""
from __future__ import annotations

from itertools import product
from math import prod

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codegen.schedule.index import (
    ZERO,
    add,
    axis,
    bounds,
    coefficient,
    constant,
    flatten,
    index_text,
    index_values,
    quotient,
    remainder,
    scale,
    shift,
    substitute,
    unflatten,
)
from codegen.schedule.kernel import Index

SHAPES = st.lists(st.sampled_from([1, 2, 3, 4, 6]), min_size=1, max_size=3).map(tuple)


def axes(shape: tuple[int, ...]) -> tuple[tuple[Index, ...], dict[str, int]]:
    names = [f"a{k}" for k in range(len(shape))]
    return tuple(map(axis, names, shape)), dict(zip(names, shape))


@settings(deadline=None, max_examples=300)
@given(SHAPES, st.data())
def test_views(shape: tuple[int, ...], data: st.DataObject) -> None:
    """From the last view of a chain back to the first array: transposes, flips and reshapes."""
    point, extents = axes(shape)
    now, undo = shape, []
    for op in data.draw(st.lists(st.sampled_from(["transpose", "flip", "reshape"]), max_size=5)):
        match op:
            case "transpose":
                order = data.draw(st.permutations(range(len(now))))
                point, now = (tuple(p for _, p in sorted(zip(order, x))) for x in (point, now))
                undo.append(lambda x, order=order: x.transpose(order))
            case "flip":
                k = data.draw(st.integers(0, len(now) - 1))
                point = tuple(shift(scale(p, -1), now[k] - 1) if j == k else p for j, p in enumerate(point))
                undo.append(lambda x, k=k: np.flip(x, k))
            case "reshape":
                before, sizes = now, []
                left = prod(now)
                while len(sizes) < 2:
                    sizes.append(data.draw(st.sampled_from([n for n in range(1, left + 1) if left % n == 0])))
                    left //= sizes[-1]
                now = (*sizes, left)
                point = unflatten(flatten(point, before), now, extents)
                undo.append(lambda x, shape=before: x.reshape(shape))
    expected = np.arange(prod(shape)).reshape(now)
    for step in reversed(undo):
        expected = step(expected)
    place = flatten(point, now)
    low, high = bounds(place, extents)
    for at in product(*map(range, shape)):
        value = int(index_values(place, dict(zip(extents, map(np.asarray, at)))))
        assert value == expected[at] and low <= value <= high


@settings(deadline=None, max_examples=200)
@given(SHAPES, st.integers(1, 12), st.integers(0, 30), st.lists(st.integers(0, 12), min_size=3, max_size=3))
def test_quotient_and_remainder(shape: tuple[int, ...], divisor: int, start: int, steps: list[int]) -> None:
    point, extents = axes(shape)
    index = constant(start)
    for p, step in zip(point, steps):
        index = add(index, scale(p, step))
    whole, rest = quotient(index, divisor, extents), remainder(index, divisor, extents)
    grid = dict(zip(extents, np.indices(shape)))
    at = index_values(index, grid)
    np.testing.assert_array_equal(index_values(whole, grid) - at // divisor, 0)
    np.testing.assert_array_equal(index_values(rest, grid) - at % divisor, 0)
    assert add(scale(whole, divisor), rest) == index


def test_canonical_forms() -> None:
    (i, j), extents = axes((6, 4))
    assert unflatten(flatten((i, j), (6, 4)), (6, 4), extents) == (i, j)
    assert unflatten(flatten((i, j), (6, 4)), (3, 2, 4), extents)[2] == j
    assert remainder(add(scale(i, 4), j), 4, extents) == j
    assert quotient(quotient(i, 2, extents), 2, extents) == quotient(i, 4, extents)
    assert add(i, scale(i, -1)) == ZERO
    assert axis("k", 1) == ZERO


@pytest.mark.parametrize("text, index", [
    ("0", ZERO),
    ("7", constant(7)),
    ("1024*i+j", add(scale(axis("i", 9), 1024), axis("j", 9))),
    ("-i+5", shift(scale(axis("i", 6), -1), 5)),
    ("(i//4)", quotient(axis("i", 9), 4, {"i": 9})),
    ("((i+3)%4)", remainder(shift(axis("i", 9), 3), 4, {"i": 9})),
    ("((i//2)%3)", remainder(quotient(axis("i", 30), 2, {"i": 30}), 3, {"i": 30})),
])
def test_text(text: str, index: Index) -> None:
    assert index_text(index) == text


def test_coefficient() -> None:
    index = add(scale(axis("i", 9), 3), quotient(axis("j", 9), 2, {"j": 9}))
    assert (coefficient(index, "i"), coefficient(index, "j"), coefficient(index, "k")) == (3, None, 0)


def test_substitute_simplifies() -> None:
    index = quotient(axis("i", 32), 8, {"i": 32})
    parts = add(scale(axis("k", 4), 8), axis("l", 8))
    assert substitute(index, lambda _: parts, {"k": 4, "l": 8}) == axis("k", 4)
