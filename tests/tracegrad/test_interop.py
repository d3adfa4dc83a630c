"""NumPy's functions and operators on Tensors, DLPack, the array namespace."""
from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from recordings import recording

import tracegrad as tg
from tracegrad.interop import FUNCTIONS, UFUNCS
from tracegrad.tensors import Tensor

POSITIVE = np.array([[0.5, 2.0, 3.5], [1.5, 4.0, 0.25]])
INTEGERS = np.array([[5, 2, 3], [1, 4, 2]])
BITWISE = {np.bitwise_and, np.bitwise_or, np.bitwise_xor, np.invert, np.right_shift}


@pytest.mark.parametrize("ufunc", UFUNCS, ids=lambda f: f.__name__)
def test_ufuncs(ufunc: np.ufunc) -> None:
    a = INTEGERS if ufunc in BITWISE else POSITIVE
    b = {np.power: 2, np.matmul: a.T}.get(ufunc, a[::-1].copy())
    operands = [a, b][:ufunc.nin]
    found = ufunc(tg.tensor(a), *operands[1:])
    assert isinstance(found, Tensor)
    np.testing.assert_allclose(found.array, ufunc(*operands), rtol=1e-15)
    if ufunc.nin == 2 and ufunc is not np.power:
        np.testing.assert_allclose(ufunc(a, tg.tensor(b)).array, ufunc(a, b))


CALLS: dict[Callable, Callable] = {
    np.sum: lambda x: np.sum(x, axis=0), np.max: lambda x: np.max(x, axis=1, keepdims=True), np.min: np.min,
    np.mean: lambda x: np.mean(x, axis=-1), np.var: np.var, np.std: lambda x: np.std(x, axis=0), np.argmax: np.argmax,
    np.any: np.any, np.all: lambda x: np.all(x, axis=0), np.where: lambda x: np.where(x > 1, x, 0.0),
    np.clip: lambda x: np.clip(x, 1.0, 2.0), np.reshape: lambda x: np.reshape(x, (3, 2)), np.transpose: np.transpose,
    np.swapaxes: lambda x: np.swapaxes(x, 0, 1), np.squeeze: lambda x: np.squeeze(x[:1]),
    np.expand_dims: lambda x: np.expand_dims(x, 0), np.broadcast_to: lambda x: np.broadcast_to(x, (2, 2, 3)),
    np.flip: lambda x: np.flip(x, 1), np.take_along_axis: lambda x: np.take_along_axis(x, INTEGERS[:, :1] % 3, 1),
    np.concatenate: lambda x: np.concatenate([x, x]), np.stack: lambda x: np.stack([x, x], axis=1),
    np.shape: np.shape, np.ndim: np.ndim, np.size: np.size,
}


def test_every_function_has_a_call() -> None:
    assert CALLS.keys() == FUNCTIONS.keys()


@pytest.mark.parametrize("function", CALLS, ids=lambda f: f.__name__)
def test_functions(function: Callable) -> None:
    found = CALLS[function](tg.tensor(POSITIVE))
    expected = CALLS[function](POSITIVE)
    np.testing.assert_allclose(found.array if isinstance(found, Tensor) else found, expected, rtol=1e-15)


def test_numpy_code_is_differentiated_and_recorded() -> None:
    x = tg.tensor(POSITIVE, requires_grad=True)
    with recording() as recorder:
        loss = np.sum(np.tanh(x) * POSITIVE[0], axis=None)
    loss.backward()
    assert x.grad is not None
    np.testing.assert_allclose(x.grad.array, (1 - np.tanh(POSITIVE) ** 2) * POSITIVE[0])
    assert [a.reason.name for a in recorder.aborts] == ["FOREIGN_ARRAY"]
    with recording() as recorder:
        np.sum(np.tanh(x) * 2.0)
    assert [op.op for op in recorder.ops] == ["tanh", "mul", "sum"] and not recorder.aborts


@pytest.mark.parametrize("call,message", [
    (lambda x: np.sin(x), r"tracegrad has no numpy\.sin on tensors yet; np\.asarray\(x\.detach\(\)\) gives the array"),
    (lambda x: np.add.reduce(x), r"tracegrad has no numpy\.add\.reduce on tensors yet"),
    (lambda x: np.add(x, 1, out=np.zeros(3)), r"tracegrad has no numpy\.add with out= on tensors yet"),
    (lambda x: np.linalg.norm(x), r"tracegrad has no numpy\.norm on tensors yet"),
    (lambda x: np.sort(x), r"tracegrad has no numpy\.sort on tensors yet"),
])
def test_what_is_absent_is_named(call: Callable, message: str) -> None:
    with pytest.raises(TypeError, match=rf"^test_interop\.py:\d+: {message}"):
        call(tg.ones(3))


def test_arrays_and_dlpack_share_memory() -> None:
    x = tg.tensor([1.0, 2.0])
    for array in (np.asarray(x), x.numpy(), np.from_dlpack(x)):
        assert np.shares_memory(array, x.array)
    assert np.asarray(x, dtype=np.float64).dtype == np.float64
    assert not np.shares_memory(np.array(x), x.array)
    source = np.array([1, 2, 3])
    y = tg.from_dlpack(source)
    source[0] = 9
    assert y.tolist() == [9, 2, 3] and tg.from_dlpack(x).tolist() == [1, 2]


def test_array_namespace() -> None:
    x = tg.ones(2)
    xp = x.__array_namespace__()
    assert xp is tg and xp.sum(xp.astype(x, xp.int32)).item() == 2 and xp.newaxis is None and xp.pi == np.pi
