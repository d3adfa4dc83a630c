"""Ranges against NumPy's, and tensors of nested lists of tensors."""
from __future__ import annotations

import numpy as np
import pytest

import tracegrad as tg


@pytest.mark.parametrize("args", [(5,), (2, 9), (9, 2, -3), (0, 1, 0.125), (1.0, -1.0, -0.5), (3, 3), (5, 2),
                                  (-2**40, -2**40 + 3), (0.1, 0.7, 0.2)], ids=str)
@pytest.mark.parametrize("dtype", [None, tg.float64, tg.int16, tg.bfloat16, tg.uint64], ids=str)
def test_arange(args: tuple, dtype: np.dtype | None) -> None:
    if dtype in (tg.int16, tg.uint64) and any(isinstance(a, float) or a < 0 or a > 100 for a in args):
        return
    expected = np.arange(*args)
    found = tg.arange(*args, dtype=dtype)
    target = dtype or (tg.float32 if expected.dtype.kind == "f" else tg.int64)
    assert found.dtype == target
    np.testing.assert_allclose(found.numpy().astype("f8"), expected.astype(target).astype("f8"), rtol=1e-6)


@pytest.mark.parametrize("endpoint", [True, False])
@pytest.mark.parametrize("num", [0, 1, 2, 7])
@pytest.mark.parametrize("start, stop", [(0, 1), (-3.5, 2.25), (5, -5), (1e-3, 1e9), (1 + 2j, 3 - 1j)])
def test_linspace(start: complex, stop: complex, num: int, endpoint: bool) -> None:
    dtype = tg.complex128 if isinstance(start, complex) else tg.float64
    found = tg.linspace(start, stop, num, dtype=dtype, endpoint=endpoint)
    np.testing.assert_allclose(found.numpy(), np.linspace(start, stop, num, endpoint=endpoint, dtype=dtype), rtol=1e-14)
    assert tg.linspace(start, stop, num).dtype == (tg.complex64 if isinstance(start, complex) else tg.float32)
    if not isinstance(start, complex):
        expected = np.linspace(start, stop, num, endpoint=endpoint, dtype=np.int64)
        assert tg.linspace(start, stop, num, dtype=tg.int64, endpoint=endpoint).tolist() == expected.tolist()


@pytest.mark.parametrize("endpoint", [True, False])
def test_logspace_and_geomspace(endpoint: bool) -> None:
    for ours, theirs in ((tg.logspace(-2, 3, 11, dtype=tg.float64, endpoint=endpoint),
                          np.logspace(-2, 3, 11, endpoint=endpoint)),
                         (tg.geomspace(-2, -3000, 11, dtype=tg.float64, endpoint=endpoint),
                          np.geomspace(-2, -3000, 11, endpoint=endpoint))):
        np.testing.assert_allclose(ours.numpy(), theirs, rtol=1e-13)
    with pytest.raises(ValueError, match="both above or both below"):
        tg.geomspace(-1, 1)


def test_traced_ranges_are_the_same() -> None:
    def f(x: tg.Tensor) -> tg.Tensor:
        return x * tg.linspace(0, 1, 5) + tg.arange(0.0, 2.5, 0.5) + tg.geomspace(1, 16, 5)

    traced = tg.trace(f)
    x = tg.ones(5)
    for _ in range(3):
        np.testing.assert_allclose(traced(x).numpy(), f(x).numpy(), rtol=1e-6)
    assert traced.stats.replays == 2


def test_lists_of_tensors_are_stacked() -> None:
    w = tg.ones(2, requires_grad=True)
    x = tg.asarray([w * 2, [3, 4.5]])
    assert x.tolist() == [[2.0, 2.0], [3.0, 4.5]]
    x.sum().backward()
    assert w.grad.tolist() == [2.0, 2.0]
    assert tg.asarray([tg.arange(2), tg.zeros(2, dtype=tg.int8)]).dtype == tg.int64
    made = tg.tensor([w[0], w[1]])
    assert not made.requires_grad and made.tolist() == [1.0, 1.0]
    with pytest.raises(ValueError, match="copy is needed"):
        tg.asarray([w], copy=False)


def test_asarray_of_what_has_memory() -> None:
    buffer = bytearray(b"\x01\x02\x03")
    x = tg.asarray(buffer)
    buffer[0] = 9
    assert x.tolist() == [9, 2, 3] and x.dtype == tg.uint8
    array = np.arange(3.0)
    assert tg.asarray(array, copy=False).array.base is None or np.shares_memory(tg.asarray(array).array, array)
    assert not np.shares_memory(tg.asarray(array, copy=True).array, array)
    assert tg.asarray(1 + 2j).dtype == tg.complex64 and tg.asarray(np.float64(1.0)).dtype == tg.float64
    with pytest.raises(ValueError, match="a copy is needed to convert float64 to float32"):
        tg.asarray(array, dtype=tg.float32, copy=False)
    with pytest.raises(ValueError, match="a copy is needed to make a tensor of float"):
        tg.asarray(1.0, copy=False)
    assert tg.as_tensor([1, 2], tg.float64, "cpu").dtype == tg.float64
    assert tg.zeros(shape=(2, 0)).shape == (2, 0)
    assert tg.full_like(x, 7, dtype=tg.int8, device="cpu").tolist() == [7, 7, 7]


def test_reshape_copies_as_told() -> None:
    x = tg.arange(6.0).reshape(2, 3)
    assert np.shares_memory(tg.reshape(x, (3, 2), copy=False).array, x.array)
    assert not np.shares_memory(tg.reshape(x, (3, 2), copy=True).array, x.array)
    assert not np.shares_memory(x.T.reshape(6, copy=True).array, x.array)
    with pytest.raises(ValueError, match="a copy is needed to reshape"):
        tg.reshape(x.T, shape=(6,), copy=False)
    w = tg.ones(2, 3, requires_grad=True)
    (tg.reshape(w, (6,), copy=True) * tg.arange(6.0)).sum().backward()
    assert w.grad.tolist() == [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]
