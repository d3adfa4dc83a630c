"""Dtypes: names, promotion as a table of laws, the default."""
from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from codegen.ir.types import DTYPES
from tracegrad.dtypes import FLOATING, INTEGRAL, canonical, dtype_of, promote

REAL = [DTYPES["bool"], *sorted(INTEGRAL, key=str), *sorted(FLOATING, key=str)]


def promoted(a: np.dtype, b: np.dtype) -> np.dtype | None:
    try:
        return promote(a, b)
    except TypeError:
        return None


def test_promotion_is_commutative_idempotent_and_associative_on_floats() -> None:
    for a, b in product(REAL, REAL):
        assert promoted(a, b) == promoted(b, a)
    assert all(promote(a, a) == a for a in REAL)
    for a, b, c in product(sorted(FLOATING, key=str), repeat=3):
        assert promote(promote(a, b), c) == promote(a, promote(b, c))


def test_promotion() -> None:
    for a, b in product(REAL, REAL):
        found = promoted(a, b)
        if a in FLOATING and b not in FLOATING:
            assert found == a
        elif a in FLOATING:
            assert found in FLOATING and found is not None and found.itemsize >= max(a.itemsize, b.itemsize)
        elif a == tg.bool:
            assert found == b
        elif b in INTEGRAL:
            assert found == np.promote_types(a, b) or found is None and tg.uint64 in (a, b)
    assert promote(tg.float16, tg.bfloat16) == tg.float32


@pytest.mark.parametrize("given,expected", [
    (float, tg.float32), (int, tg.int64), (bool, tg.bool), ("float64", tg.float64), (np.float16, tg.float16),
    (np.dtype(">i4"), tg.int32), (tg.bfloat16, tg.bfloat16),
], ids=str)
def test_what_means_a_dtype(given: Any, expected: np.dtype) -> None:
    assert dtype_of(given) is expected


@pytest.mark.parametrize("given", ["nothing", object, "datetime64", np.longdouble, "S3"], ids=str)
def test_what_does_not(given: Any) -> None:
    with pytest.raises(TypeError, match="is not a dtype|are not supported"):
        dtype_of(given)


def test_the_default() -> None:
    assert tg.get_default_dtype() == tg.float32
    tg.set_default_dtype(tg.float64)
    assert tg.tensor(1.0).dtype == tg.zeros(1).dtype == (tg.tensor(1) / 2).dtype == tg.rand(1).dtype == tg.float64
    assert tg.tensor([1, 2]).mean().dtype == tg.float64 and repr(tg.tensor(1.0)) == "tensor(1.)"
    with pytest.raises(TypeError, match="the default dtype must be a floating-point dtype, not int64"):
        tg.set_default_dtype(int)


def test_canonical_arrays() -> None:
    plain = np.zeros(2)
    assert canonical(plain) is plain
    foreign = np.zeros(2, np.dtype(np.float32).newbyteorder("=").newbyteorder("S").newbyteorder("S"))
    assert canonical(foreign).dtype is tg.float32 and np.shares_memory(canonical(foreign), foreign)
    assert type(canonical(np.zeros(2).view(np.recarray))) is np.ndarray
    assert canonical(np.array([1], ">i8")).tolist() == [1]


def test_result_type_and_is_floating_point() -> None:
    assert tg.result_type(tg.zeros(1), tg.int64, tg.bool) == tg.float32
    assert tg.is_floating_point(tg.zeros(1)) and not tg.is_floating_point(tg.int32)


def test_none_is_no_dtype() -> None:
    with pytest.raises(TypeError, match="None is not a dtype"):
        tg.ones(2).astype(None)
