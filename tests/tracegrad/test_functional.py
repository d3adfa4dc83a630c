"""Operations: values against NumPy, promotion, arguments, errors."""
from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from codegen.ir.type_rules import TypeRuleError
from tracegrad.tensors import Tensor

RNG = np.random.default_rng(0)
A = RNG.normal(size=(3, 4)).astype(np.float32)
B = RNG.normal(size=(3, 4)).astype(np.float32)
POSITIVE = np.abs(A) + np.float32(0.5)
SHAPES = ((), (0,), (1,), (4,), (2, 0), (3, 4), (2, 1, 3))


def same(found: Any, expected: Any, **tolerance: float) -> None:
    assert isinstance(found, Tensor)
    assert found.shape == np.shape(expected)
    np.testing.assert_allclose(found.array, expected, **{"rtol": 1e-6, "atol": 1e-6, **tolerance})


UNARY = {
    tg.exp: np.exp, tg.log: np.log, tg.tanh: np.tanh, tg.sqrt: np.sqrt, tg.abs: np.abs, tg.sign: np.sign,
    tg.negative: np.negative, tg.positive: np.positive, tg.square: np.square,
    tg.relu: lambda x: np.maximum(x, 0), tg.sigmoid: lambda x: 1 / (1 + np.exp(-x)),
}
BINARY = {
    tg.add: np.add, tg.subtract: np.subtract, tg.multiply: np.multiply, tg.divide: np.divide,
    tg.maximum: np.maximum, tg.minimum: np.minimum, tg.equal: np.equal, tg.not_equal: np.not_equal, tg.less: np.less,
    tg.less_equal: np.less_equal, tg.greater: np.greater, tg.greater_equal: np.greater_equal,
}
REDUCTIONS = {tg.sum: np.sum, tg.mean: np.mean, tg.var: np.var, tg.std: np.std}


@pytest.mark.parametrize("ours,numpys", UNARY.items(), ids=lambda f: f.__name__)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_unary(ours: Callable, numpys: Callable, shape: tuple[int, ...]) -> None:
    x = np.abs(RNG.normal(size=shape)).astype(np.float32) + np.float32(0.1)
    same(ours(tg.tensor(x)), numpys(x))
    assert ours(tg.tensor(x)).dtype == tg.float32


@pytest.mark.parametrize("ours,numpys", BINARY.items(), ids=lambda f: f.__name__)
@pytest.mark.parametrize("shapes", [((), ()), ((3,), ()), ((0,), (1,)), ((3, 1), (4,)), ((3, 4), (3, 4))], ids=str)
def test_binary(ours: Callable, numpys: Callable, shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    x, y = (RNG.normal(size=shape).astype(np.float32) for shape in shapes)
    same(ours(tg.tensor(x), tg.tensor(y)), numpys(x, y))
    same(ours(tg.tensor(x), 2), numpys(x, np.float32(2)))
    same(ours(0.5, tg.tensor(y)), numpys(np.float32(0.5), y))


@pytest.mark.parametrize("ours,numpys", REDUCTIONS.items(), ids=lambda f: f.__name__)
@pytest.mark.parametrize("axis", [None, 0, -1, (0, 2), ()], ids=str)
@pytest.mark.parametrize("keepdims", [False, True])
def test_reductions(ours: Callable, numpys: Callable, axis: Any, keepdims: bool) -> None:
    x = RNG.normal(size=(2, 3, 4))
    same(ours(tg.tensor(x), axis, keepdims=keepdims), numpys(x, axis=axis, keepdims=keepdims))
    same(getattr(tg.tensor(x), ours.__name__)(axis=axis, keepdims=keepdims), numpys(x, axis=axis, keepdims=keepdims))


@pytest.mark.parametrize("ours,numpys", {tg.max: np.max, tg.min: np.min, tg.any: np.any, tg.all: np.all}.items(),
                         ids=lambda f: f.__name__)
@pytest.mark.parametrize("axis", [None, 0, (0, 1)], ids=str)
def test_extrema_and_truth(ours: Callable, numpys: Callable, axis: Any) -> None:
    x = RNG.integers(0, 3, (4, 5))
    same(ours(tg.tensor(x), axis), numpys(x, axis=axis))
    same(ours(tg.tensor(x), axis, keepdims=True), numpys(x, axis=axis, keepdims=True))


def test_truth_of_nothing() -> None:
    assert not tg.any(tg.zeros(0)) and tg.all(tg.zeros(0))
    assert tg.all(tg.zeros(0, 3), axis=0).tolist() == [True] * 3


def test_argmax() -> None:
    same(tg.argmax(tg.tensor(A)), np.argmax(A))
    same(tg.argmax(tg.tensor(A), axis=1), np.argmax(A, 1))
    same(tg.argmax(tg.tensor(A), axis=-2, keepdims=True), np.argmax(A, 0, keepdims=True))
    assert tg.argmax(tg.tensor(A), keepdims=True).shape == (1, 1)


def test_corrections() -> None:
    same(tg.tensor(A).var(correction=1), np.var(A, ddof=1))
    same(tg.tensor(A).std(axis=0, correction=1), np.std(A, axis=0, ddof=1))
    assert np.isnan(tg.tensor([1.0]).var(correction=1).item())
    assert np.isnan(tg.mean(tg.zeros(0)).item())


# ---- promotion ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("x,y,expected", [
    (tg.int32, tg.int64, tg.int64), (tg.uint8, tg.int8, tg.int16), (tg.int64, tg.float32, tg.float32),
    (tg.float32, tg.float64, tg.float64), (tg.bool, tg.int8, tg.int8), (tg.bool, tg.float16, tg.float16),
    (tg.float16, tg.int32, tg.float16), (tg.bfloat16, tg.float32, tg.float32),
], ids=str)
def test_dtypes_of_two_tensors(x: Any, y: Any, expected: Any) -> None:
    for rank in ((), (1,)):                         # arrays of any rank keep their dtype
        assert (tg.ones(rank, dtype=x) + tg.ones(1, dtype=y)).dtype == expected
        assert (tg.ones(rank, dtype=y) * tg.ones(1, dtype=x)).dtype == expected


@pytest.mark.parametrize("dtype,number,expected", [
    (tg.float64, 2, tg.float64), (tg.float16, 2.5, tg.float16), (tg.int32, 2, tg.int32), (tg.int32, 2.5, tg.float32),
    (tg.int64, 2.5, tg.float32), (tg.bool, 2, tg.int64), (tg.bool, 2.5, tg.float32), (tg.uint8, 3, tg.uint8),
    (tg.float32, np.float64(2.5), tg.float32), (tg.int32, np.int64(2), tg.int32),
], ids=str)
def test_numbers_are_weak(dtype: Any, number: Any, expected: Any) -> None:
    x = tg.ones(2, dtype=dtype)
    assert (x + number).dtype == (number + x).dtype == expected
    assert tg.where(tg.tensor([True, False]), x, number).dtype == expected


@pytest.mark.parametrize("dtype", [tg.bfloat16, tg.float16, tg.float64], ids=str)
def test_numbers_are_weak_beside_every_float(dtype: Any) -> None:
    x = tg.ones(2, dtype=dtype, requires_grad=True)
    results = [x * 2.5, 1 - x, x / 3, tg.relu(x), x.mean(), x.softmax(), tg.where(x > 0.5, x, 0.0), x.clip(0.0, 1),
               x ** 2, x.exp(), x.sum(), x.max(), tg.maximum(x, 0.5), x @ x, tg.ones(3, 2, dtype=dtype) @ x]
    assert {r.dtype for r in results} == {np.dtype(dtype)}
    for r in results:
        g, = tg.autograd.grad(r.sum(), x)
        assert g is not None and g.dtype == dtype
    with tg.no_grad():
        x *= 0.5
        x += 1
    assert x.dtype == dtype and x.tolist() == [1.5, 1.5]
    assert tg.rand(2, dtype=dtype).dtype == tg.randn(2, dtype=dtype).dtype == dtype


def test_division_and_functions_of_integers_are_floating() -> None:
    x = tg.tensor([1, 4])
    assert (x / x).dtype == (x / 2).dtype == (1 / x).dtype == x.mean().dtype == tg.exp(x).dtype == tg.float32
    assert (x / 2).tolist() == [0.5, 2.0]
    assert tg.sqrt(x).tolist() == [1.0, 2.0]
    assert x.sum().dtype == tg.int64
    assert tg.ones(3, dtype=tg.int32).sum().dtype == tg.ones(3, dtype=tg.bool).sum().dtype == tg.int64
    assert tg.ones(3, dtype=tg.uint8).sum().dtype == tg.uint64
    assert tg.ones(3, dtype=tg.float16).sum().dtype == tg.float16
    assert tg.ones(3, dtype=tg.int32).sum(dtype=tg.float64).dtype == tg.float64


def test_unsigned_and_signed_64_bits_have_no_common_dtype() -> None:
    with pytest.raises(TypeError, match="have no common integer dtype"):
        tg.ones(1, dtype=tg.uint64) + tg.ones(1, dtype=tg.int64)


def test_numpy_arrays_and_scalars_are_operands() -> None:
    x = tg.tensor(A)
    same(x + B, A + B)
    same(B - x, B - A)
    assert isinstance(np.float32(2) * x, Tensor) and (np.float64(2) * x).dtype == tg.float32


# ---- matmul ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shapes", [
    ((3, 4), (4, 5)), ((4,), (4,)), ((4,), (4, 5)), ((3, 4), (4,)), ((2, 3, 4), (4, 5)), ((2, 3, 4), (2, 4, 5)),
    ((3, 4), (2, 4, 5)), ((2, 1, 3, 4), (5, 4, 2)), ((4,), (2, 4, 5)), ((2, 3, 4), (4,)), ((0, 4), (4, 5)),
    ((3, 0), (0, 5)), ((2, 0, 3, 4), (4, 1)),
], ids=str)
def test_matmul(shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    x, y = (RNG.normal(size=shape) for shape in shapes)
    same(tg.tensor(x) @ tg.tensor(y), x @ y)
    if 0 not in (*shapes[0], *shapes[1]):
        tg.autograd.gradcheck(tg.matmul, (tg.tensor(x, requires_grad=True), tg.tensor(y, requires_grad=True)))


def test_matmul_promotes() -> None:
    assert (tg.ones(2, 2, dtype=tg.int64) @ tg.ones(2, 2)).dtype == tg.float32


# ---- composed -------------------------------------------------------------------------------------------------------


def test_softmax_family() -> None:
    x = RNG.normal(size=(3, 4)) * 5
    e = np.exp(x - x.max(-1, keepdims=True))
    soft = e / e.sum(-1, keepdims=True)
    same(tg.softmax(tg.tensor(x)), soft)
    same(tg.log_softmax(tg.tensor(x)), np.log(soft))
    same(tg.softmax(tg.tensor(x), axis=0).sum(axis=0), np.ones(4))
    same(tg.logsumexp(tg.tensor(x), axis=1), np.log(np.exp(x).sum(1)))
    same(tg.logsumexp(tg.tensor(x)), np.log(np.exp(x).sum()))
    assert tg.logsumexp(tg.tensor(x), axis=(0, 1), keepdims=True).shape == (1, 1)
    for f in (tg.softmax, tg.log_softmax, lambda x: tg.logsumexp(x, axis=1)):
        tg.autograd.gradcheck(f, tg.tensor(x, requires_grad=True))
        tg.autograd.gradgradcheck(f, tg.tensor(x, requires_grad=True))


def test_softmax_family_at_the_ends() -> None:
    huge = tg.tensor([1e30, 1e30])
    assert tg.softmax(huge).tolist() == [0.5, 0.5]
    assert tg.logsumexp(tg.tensor([-np.inf, -np.inf])).item() == -np.inf
    assert tg.logsumexp(tg.tensor([np.inf, 1.0])).item() == np.inf
    assert tg.softmax(tg.zeros(0, 2)).shape == (0, 2)


def test_cross_entropy() -> None:
    x, labels = RNG.normal(size=(5, 3)), np.array([0, 2, 1, 1, 0])
    logs = x - np.log(np.exp(x).sum(1, keepdims=True))
    losses = -logs[np.arange(5), labels]
    same(tg.cross_entropy(tg.tensor(x), tg.tensor(labels)), losses.mean())
    same(tg.cross_entropy(tg.tensor(x), tg.tensor(labels), reduction="sum"), losses.sum())
    same(tg.cross_entropy(tg.tensor(x), tg.tensor(labels), reduction="none"), losses)
    same(tg.cross_entropy(tg.tensor(x[0]), tg.tensor(0)), losses[0])
    same(tg.cross_entropy(tg.tensor(x), tg.tensor(labels.astype(np.uint8))), losses.mean())
    chances = tg.softmax(tg.tensor(RNG.normal(size=(5, 3))))
    same(tg.cross_entropy(tg.tensor(x), chances, reduction="none"), -(chances.array * logs).sum(1))
    tg.autograd.gradcheck(lambda x: tg.cross_entropy(x, tg.tensor(labels)), tg.tensor(x, requires_grad=True))


def test_losses_refuse() -> None:
    with pytest.raises(TypeRuleError, match=r"cross_entropy: labels i64\[2\] are not one class for each row of "):
        tg.cross_entropy(tg.tensor(A), tg.tensor([0, 1]))
    with pytest.raises(ValueError, match="cross_entropy: reduction 'avg' is none of mean, sum, none"):
        tg.cross_entropy(tg.tensor(A), tg.tensor([0, 1, 2]), reduction="avg")
    with pytest.raises(IndexError, match=r"^test_functional\.py:\d+: cross_entropy: a label is none of the classes "):
        tg.cross_entropy(tg.tensor(A), tg.tensor([0, 7, 2]))


def test_mse_loss_and_one_hot() -> None:
    same(tg.mse_loss(tg.tensor(A), tg.tensor(B)), np.mean((A - B) ** 2))
    same(tg.mse_loss(tg.tensor(A), B, reduction="none"), (A - B) ** 2)
    same(tg.one_hot(tg.tensor([[0, 2]]), 3), [[[1, 0, 0], [0, 0, 1]]])


@pytest.mark.parametrize("n", [0, 1, 2, 3, 5, 13, -1, -2, 2.0, 0.5, -0.5])
def test_powers(n: float) -> None:
    same(tg.tensor(POSITIVE) ** n, POSITIVE.astype(np.float64) ** n, rtol=1e-5)
    same(tg.pow(tg.tensor([2, 3]), n), np.array([2.0, 3.0]) ** n)


def test_clip_and_where() -> None:
    same(tg.clip(tg.tensor(A), -0.5, 0.5), np.clip(A, -0.5, 0.5))
    same(tg.tensor(A).clamp(min=0.1), np.maximum(A, np.float32(0.1)))
    same(tg.where(tg.tensor(A) > 0, 1.0, tg.tensor(B)), np.where(A > 0, np.float32(1), B))
    assert tg.where(tg.tensor([True, False]), 1, 2).dtype == tg.int64
    assert tg.where(tg.tensor([True, False]), 1.0, 2).tolist() == [1.0, 2.0]


@pytest.mark.parametrize("n", [0, 1, 2, 0.0, 1.0])
def test_a_power_is_a_tensor_of_its_own(n: float) -> None:
    data = np.array([-2.0, 0.0, 3.0, np.inf, np.nan], np.float32)
    x = tg.tensor(data, requires_grad=True)
    y = x ** n
    same(y.detach(), data ** np.float32(n))
    g, = tg.autograd.grad(y.sum(), x)
    assert g is not None and g.tolist()[:3] == [n * v ** (n - 1) if n else 0 for v in (-2.0, 0.0, 3.0)]
    z = x.detach() ** n
    z += 1.0
    same(x.detach(), data)


@pytest.mark.parametrize("dtype", [tg.float16, tg.bfloat16], ids=str)
def test_means_of_half_precision_do_not_overflow(dtype: Any) -> None:
    x = tg.ones(50_000, dtype=dtype) * 4
    assert x.mean().item() == 4 and x.var().item() == 0 and x.mean().dtype == x.var().dtype == dtype
    assert abs(tg.arange(1000.0).astype(dtype).std().item() / 288.7 - 1) < 0.01


def test_bools() -> None:
    x = np.array([[True, False], [True, True]])
    for axis in (None, 0, 1):
        same(tg.max(tg.tensor(x), axis), np.max(x, axis))
        same(tg.min(tg.tensor(x), axis, keepdims=True), np.min(x, axis, keepdims=True))
        same(tg.argmax(tg.tensor(x), axis), np.argmax(x, axis))
    for op in (tg.square, lambda b: b @ b, lambda b: b ** 2):
        with pytest.raises(TypeRuleError, match=r"bool\[2,2\] is not a (real )?number"):
            op(tg.tensor(x))


def test_clip_without_bounds_is_a_tensor_of_its_own() -> None:
    x = tg.tensor([1.0])
    y = x.clip()
    y += 1.0
    assert x.tolist() == [1.0] and y.tolist() == [2.0]


@pytest.mark.parametrize("label", [-1, 3, -3, -101])
@pytest.mark.parametrize("dtype", [tg.int8, tg.int32, tg.int64], ids=str)
def test_cross_entropy_refuses_what_is_no_class(label: int, dtype: Any) -> None:
    with pytest.raises(IndexError, match="cross_entropy: a label is none of the classes 0 to 2"):
        tg.cross_entropy(tg.zeros(2, 3), tg.tensor([0, label], dtype=dtype))


def test_bits_and_logic() -> None:
    x, y = np.array([5, 3, -2]), np.array([6, 1, 7])
    same(tg.tensor(x) & tg.tensor(y), x & y)
    same(tg.tensor(x) | 1, x | 1)
    same(tg.tensor(x) ^ tg.tensor(y), x ^ y)
    same(~tg.tensor(x), ~x)
    same(tg.tensor(x) >> 1, x >> 1)
    same(tg.logical_and(tg.tensor([0.0, 2.0]), tg.tensor([True, True])), [False, True])
    same(tg.logical_or(tg.tensor([0, 2]), False), [False, True])
    same(tg.logical_xor(tg.tensor([0, 2]), True), [True, False])
    same(tg.logical_not(tg.tensor([0.0, 2.0])), [True, False])
    same(~tg.tensor([True, False]), [False, True])


def test_casts() -> None:
    x = tg.tensor([1.9, -1.9, np.nan, 1e30])
    assert x.astype(tg.int32).tolist() == [1, -1, 0, 2**31 - 1]
    assert x.to(tg.float64).dtype == x.double().dtype == tg.float64
    assert x.to("cpu") is x and x.to(tg.float32) is x
    assert x.astype(tg.float32) is not x and x.astype(tg.float32, copy=False) is x
    assert x.long().dtype == tg.int64 and x.bool().tolist() == [True] * 4 and x.int().dtype == tg.int32
    with pytest.raises(ValueError, match=r"^test_functional\.py:\d+: tracegrad has no device 'gpu:0'; .* 'cuda'$"):
        tg.ones(2).to("gpu:0")
    with pytest.raises(ValueError, match="tracegrad has no device 'mps'"):
        x.to("mps")


# ---- movement -------------------------------------------------------------------------------------------------------


def test_movement() -> None:
    x = np.arange(24.0).reshape(2, 3, 4)
    t = tg.tensor(x)
    same(t.reshape(4, -1), x.reshape(4, 6))
    same(t.reshape((6, 4)), x.reshape(6, 4))
    same(t.view(24), x.ravel())
    same(t.flatten(), x.ravel())
    same(t.flatten(1), x.reshape(2, 12))
    same(t.flatten(0, 1), x.reshape(6, 4))
    assert tg.tensor(1.0).flatten().shape == (1,)
    same(t.permute(2, 0, 1), x.transpose(2, 0, 1))
    same(tg.permute_dims(t, (1, 0, 2)), x.transpose(1, 0, 2))
    same(t.transpose(0, -1), np.swapaxes(x, 0, -1))
    same(t.mT, np.swapaxes(x, -1, -2))
    same(t[0].T, x[0].T)
    same(t[0].t(), x[0].T)
    same(t[:, :1].squeeze(1), x[:, 0])
    same(t[:1, :1].squeeze(), x[0, 0])
    same(t.unsqueeze(-1), x[..., None])
    same(tg.expand_dims(t, 1), x[:, None])
    same(tg.broadcast_to(t[:, :1], (2, 5, 4)), np.broadcast_to(x[:, :1], (2, 5, 4)))
    same(t[:, :1].expand(3, -1, 5, -1), np.broadcast_to(x[:, :1], (3, 2, 5, 4)))
    same(tg.flip(t), np.flip(x))
    same(t.flip((0, -1)), np.flip(x, (0, -1)))
    same(tg.pad(t, ((0, 1), (2, 0), (0, 0))), np.pad(x, ((0, 1), (2, 0), (0, 0))))
    same(tg.pad(t, 1), np.pad(x, 1))
    same(tg.concat((t, t[:1]), 0), np.concatenate((x, x[:1]), 0))
    same(tg.concat((t, t), None), np.concatenate((x, x), None))
    same(tg.stack((t, t + 1), -1), np.stack((x, x + 1), -1))
    indices = RNG.integers(-3, 3, (2, 5, 4))
    same(tg.take_along_axis(t, tg.tensor(indices), 1), np.take_along_axis(x, indices, 1))
    same(tg.take_along_axis(t, tg.tensor([[[0, 1]]]), -1), np.take_along_axis(x, np.array([[[0, 1]]]), -1))
    same(t.gather(1, tg.tensor(indices[:1, :, :2])), np.take_along_axis(x[:1, :, :2], indices[:1, :, :2], 1))
    assert t.contiguous() is t and t.is_contiguous() and t.cpu() is t
    assert not t.mT.is_contiguous() and t.mT.contiguous().is_contiguous() and t.mT.clone().is_contiguous()
    same(tg.take(t, tg.tensor([[2, 0], [1, 1]]), axis=1), np.take(x, [[2, 0], [1, 1]], axis=1))


def test_concat_is_exact_and_differentiable() -> None:
    parts = [tg.tensor([np.nan, -0.0], requires_grad=True), tg.tensor([-np.inf], requires_grad=True)]
    joined = tg.concat(parts)
    assert np.array_equal(joined.array, [np.nan, -0.0, -np.inf], equal_nan=True) and np.signbit(joined.array[1])
    joined.sum().backward()
    assert [p.grad is not None and p.grad.tolist() for p in parts] == [[1, 1], [1]]
    assert tg.concat((tg.zeros(2, dtype=tg.int64), tg.zeros(1))).dtype == tg.float32


# ---- errors ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("call,message", [
    (lambda x: x @ tg.ones(3), r"matmul: operands f32\[3,4\] and f32\[3\] do not contract \(4 vs 3\)"),
    (lambda x: x @ x, r"matmul: operands f32\[3,4\] and f32\[3,4\] do not contract \(4 vs 3\)"),
    (lambda x: tg.ones(2, 3, 4) @ x, r"matmul: operands f32\[2,3,4\] and f32\[3,4\] do not contract \(4 vs 3\)"),
    (lambda x: x @ tg.tensor(2.0), r"matmul: operands f32\[3,4\] and f32\[\] must have at least 1 axis"),
    (lambda x: tg.ones(2, 3, 4) @ tg.ones(5, 4, 3), r"matmul: shapes \[2\] and \[5\] do not broadcast"),
    (lambda x: x + tg.ones(3), r"add: shapes \[3,4\] and \[3\] do not broadcast \(4 vs 3\)"),
    (lambda x: x.sum(axis=2), r"sum: axis 2 is out of range for f32\[3,4\]"),
    (lambda x: x.sum(axis=-3), r"sum: axis -3 is out of range for f32\[3,4\]"),
    (lambda x: x.sum(axis=(0, 0)), r"sum: axis \[0, 0\] names an axis twice"),
    (lambda x: x.softmax(5), r"softmax: axis 5 is out of range for f32\[3,4\]"),
    (lambda x: x.reshape(5), r"reshape: f32\[3,4\] does not reshape to \[5\] \(12 vs 5 elements\)"),
    (lambda x: x.reshape(-1, 5), r"reshape: f32\[3,4\] does not reshape to \[-1, 5\]"),
    (lambda x: x.permute(0, 0), r"transpose: axes \[0, 0\] are not a permutation of the 2 axes of f32\[3,4\]"),
    (lambda x: x.swapaxes(0, 2), r"swapaxes: axis 2 is out of range for f32\[3,4\]"),
    (lambda x: x.squeeze(0), r"squeeze: axis 0 of f32\[3,4\] does not have size 1"),
    (lambda x: x.broadcast_to(4, 4), r"broadcast: (f32\[3,4\] does not broadcast to|shapes .* do not broadcast)"),
    (lambda x: tg.zeros(0).max(), r"max: f32\[0\] has no element along axis \[0\]"),
    (lambda x: tg.concat((x, x[:, 1:]), 0), r"concat: f32\[3,4\] and f32\[3,3\] differ in an axis other than 0"),
    (lambda x: x & 1, r"and: f32\[3,4\] is not an integer or bool"),
    (lambda x: tg.tensor([True]) + tg.tensor([True]), r"add: bool\[1\] is not a number"),
    (lambda x: x.gather(0, tg.tensor([[0, 1, 2, 3, 0]])),
     r"gather: f32\[3,4\] and indices i64\[1,5\] differ in an axis other than 0"),
    (lambda x: tg.take(x, tg.tensor([0.5])), r"take: indices f32\[1\] are not integers"),
], ids=lambda p: p if isinstance(p, str) else "")
def test_errors_are_sentences_with_the_users_line(call: Callable, message: str) -> None:
    with pytest.raises(TypeRuleError, match=rf"^test_functional\.py:\d+: {message}"):
        call(tg.tensor(A))


@pytest.mark.parametrize("call,message", [
    (lambda x: x.sum(dim=1), "sum: there is no argument dim=: write axis="),
    (lambda x: x.mean(axis=1, keepdim=True), "mean: there is no argument keepdim=: write keepdims="),
    (lambda x: tg.softmax(x, dim=1), "softmax: there is no argument dim=: write axis="),
    (lambda x: tg.stack([x], dim=1), "stack: there is no argument dim=: write axis="),
    (lambda x: x.max(initial=x), "max: there is no argument initial="),
    (lambda x: x + "a", "add: str is neither a tensor nor a number"),
    (lambda x: x * None, "mul: NoneType is neither a tensor nor a number"),
    (lambda x: tg.matmul(x, [[1.0]]), "matmul: list is neither a tensor nor a number"),
    (lambda x: x + b"a", "add: bytes is neither a tensor nor a number"),
    (lambda x: tg.ones(2.5), r"\(2.5\) is not a shape: a size is an int"),
    (lambda x: x.reshape("ab"), r"\('a', 'b'\) is not a shape: a size is an int"),
    (lambda x: tg.ones(2, dtype="flot32"), "'flot32' is not a dtype; the dtypes are bool, int8, .*, complex128"),
    (lambda x: tg.rand(2, generator=3), "generator=3: a tg.Generator is asked for"),
    (lambda x: tg.manual_seed("a"), "manual_seed: 'a' is not a seed: a seed is an int"),
    (lambda x: tg.autograd.grad(3, [x]), "int is neither a tensor nor a list of tensors"),
])
def test_wrong_arguments(call: Callable, message: str) -> None:
    with pytest.raises(TypeError, match=rf"^test_functional\.py:\d+: {message}$"):
        call(tg.tensor(A))


def test_numbers_that_do_not_fit() -> None:
    with pytest.raises(OverflowError, match=r"^test_functional\.py:\d+: add: "):
        tg.zeros(2, dtype=tg.uint8) + 300


@pytest.mark.parametrize("errors", ["raise", "warn", "ignore"])
def test_floating_point_exceptions_are_silent_and_change_nothing(errors: Any) -> None:
    x = tg.tensor([0.0, -1.0, 1e30, np.nan])
    with np.errstate(all=errors), warnings.catch_warnings():
        warnings.simplefilter("error")
        results = [1 / x, tg.log(x), tg.sqrt(x), x * x, tg.exp(x), x[0] / 0.0, tg.mean(tg.zeros(0)), x.astype(tg.int32),
                   tg.tensor([1e300], dtype=tg.float64).astype(tg.float32), x @ x, x.sum()]
        assert np.geterr()["divide"] == errors
    for r, e in zip(results[:4], ([np.inf, -1, 1e-30, np.nan], [-np.inf, np.nan, np.log(1e30), np.nan],
                                  [0, np.nan, 1e15, np.nan], [0, 1, np.inf, np.nan]), strict=True):
        np.testing.assert_allclose(r.array, e, rtol=1e-6)


def test_absent_names_say_so() -> None:
    with pytest.raises(AttributeError, match="^tracegrad.autograd has no forward_ad: tg.func.jvp is forward mode$"):
        tg.autograd.forward_ad
    with pytest.raises(AttributeError, match="has no attribute 'sinn'"):
        tg.sinn


def test_the_derivative_of_clip_at_a_bound_is_that_of_x():
    x = tg.tensor([-1.0, 0.0, 0.5, 1.0, 2.0, float("nan")], requires_grad=True)
    y = tg.clip(x, 0.0, 1.0)
    y.sum().backward()
    np.testing.assert_array_equal(y.detach().numpy(), [0.0, 0.0, 0.5, 1.0, 1.0, np.nan])
    np.testing.assert_array_equal(x.grad.numpy(), [0.0, 1.0, 1.0, 1.0, 0.0, 1.0])
