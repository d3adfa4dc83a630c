"""tg.linalg: values are NumPy's, derivatives the numerical ones and PyTorch's, failures have a sentence and a line."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.linalg

import tracegrad as tg

L = tg.linalg


def drawn(*shape: int, dtype: Any = np.float64, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=shape)
    return (x + 1j * rng.normal(size=shape) if np.dtype(dtype).kind == "c" else x).astype(dtype)


def near_diagonal(*shape: int, dtype: Any = np.float64) -> np.ndarray:
    """Square matrices with distinct eigenvalues, far from singular."""
    return drawn(*shape, dtype=dtype) / 3 + np.diag(np.arange(1, shape[-1] + 1)).astype(dtype) * 2


def hermitian(x: Any) -> Any:
    return (x + x.mH) / 2


def size(m: Any, x: Any) -> Any:
    """|x|^2, in either framework."""
    return m.real(x * m.conj(x))


SQUARE: dict[str, Callable] = {
    "inv": lambda m, x: m.linalg.inv(x),
    "det": lambda m, x: m.linalg.det(x),
    "slogdet": lambda m, x: m.linalg.slogdet(x).logabsdet,
    "sign of slogdet": lambda m, x: m.real(m.linalg.slogdet(x)[0] * (2 - 1j)) * m.linalg.slogdet(x)[1],
    "solve": lambda m, x: m.linalg.solve(x, x[..., :2] * 2),
    "solve a vector": lambda m, x: m.linalg.solve(x, x[..., 0]) if x.ndim == 2 else x,
    "cholesky": lambda m, x: m.linalg.cholesky(x @ x.mH),
    "cholesky upper": lambda m, x: m.linalg.cholesky(x @ x.mH, upper=True),
    "cholesky_solve": lambda m, x: m.cholesky_solve(x, m.linalg.cholesky(x @ x.mH)),
    "solve_triangular": lambda m, x: m.linalg.solve_triangular(x, x.mH, upper=True),
    "solve_triangular right": lambda m, x: m.linalg.solve_triangular(x, x.mH, upper=False, left=False),
    "solve_triangular unit": lambda m, x: m.linalg.solve_triangular(x, x.mH, upper=False, unitriangular=True),
    "eigvalsh": lambda m, x: m.linalg.eigvalsh(hermitian(x)),
    "eigvalsh upper": lambda m, x: m.linalg.eigvalsh(hermitian(x), UPLO="U"),
    "eigh": lambda m, x: size(m, m.linalg.eigh(hermitian(x))[1]) + m.linalg.eigh(hermitian(x))[0][..., None],
    "eig": lambda m, x: size(m, m.linalg.eig(x)[1]).sum() + size(m, m.linalg.eig(x)[0]).sum(),
    "eigvals": lambda m, x: size(m, m.linalg.eigvals(x)).sum(),
    "matrix_power": lambda m, x: m.linalg.matrix_power(x, 3),
    "matrix_power inverse": lambda m, x: m.linalg.matrix_power(x, -2),
    "matrix_exp": lambda m, x: m.linalg.matrix_exp(x / 4),
    "cond": lambda m, x: m.linalg.cond(x),
    "cond fro": lambda m, x: m.linalg.cond(x, "fro") if m is tg else (       # PyTorch's own has no derivative
        m.linalg.matrix_norm(x) * m.linalg.matrix_norm(m.linalg.inv(x))),
}

ANY: dict[str, Callable] = {
    "qr": lambda m, x: m.linalg.qr(x)[0] * 2 if x.shape[-2] <= x.shape[-1] else m.linalg.qr(x)[0],
    "qr r": lambda m, x: m.linalg.qr(x)[1],
    "svd": lambda m, x: size(m, m.linalg.svd(x, full_matrices=False)[0][..., :1]),
    "svd right": lambda m, x: size(m, m.linalg.svd(x, full_matrices=False)[2][..., :1]),
    "svd rebuilt": lambda m, x: rebuilt(m, x),
    "svdvals": lambda m, x: m.linalg.svdvals(x),
    "pinv": lambda m, x: m.linalg.pinv(x),
    "lstsq": lambda m, x: m.linalg.lstsq(x, x[..., :1] ** 2)[0],
    "matrix_norm fro": lambda m, x: m.linalg.matrix_norm(x),
    "matrix_norm nuc": lambda m, x: m.linalg.matrix_norm(x, "nuc"),
    "matrix_norm 2": lambda m, x: m.linalg.matrix_norm(x, 2),
    "matrix_norm -2": lambda m, x: m.linalg.matrix_norm(x, -2),
    "matrix_norm 1": lambda m, x: m.linalg.matrix_norm(x, 1),
    "matrix_norm inf": lambda m, x: m.linalg.matrix_norm(x, float("inf")),
    "vector_norm": lambda m, x: m.linalg.vector_norm(x),
    "vector_norm 3": lambda m, x: m.linalg.vector_norm(x, 3),
    "vector_norm inf": lambda m, x: m.linalg.vector_norm(x, float("inf")),
    "norm": lambda m, x: m.linalg.norm(x),
    "multi_dot": lambda m, x: m.linalg.multi_dot([x, x.mT, x]) if x.ndim == 2 else x,
}


def rebuilt(m: Any, x: Any) -> Any:
    """A function of singular values and vectors that does not depend on phases."""
    u, s, vh = m.linalg.svd(x, full_matrices=False)
    return (u * (s * s)[..., None, :]) @ vh


CASES = [
    *(pytest.param(f, shape, id=f"{name}-{shape}") for name, f in SQUARE.items() for shape in ((3, 3), (2, 2, 2))),
    *(pytest.param(f, shape, id=f"{name}-{shape}") for name, f in ANY.items() for shape in ((3, 2), (2, 3), (2, 2, 2))),
]
DTYPES = pytest.mark.parametrize("dtype", [np.float64, np.complex128])


def matrix(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    return near_diagonal(*shape, dtype=dtype) if shape[-1] == shape[-2] else drawn(*shape, dtype=dtype)


@DTYPES
@pytest.mark.parametrize(("f", "shape"), CASES)
def test_derivatives_to_second_order(f: Callable, shape: tuple[int, ...], dtype: Any) -> None:
    x = tg.tensor(matrix(shape, dtype), requires_grad=True)
    assert tg.autograd.gradcheck(lambda x: f(tg, x), x, atol=1e-5)
    if len(shape) == 2 and dtype == np.float64:         # the rest is compared with PyTorch, and op by op
        assert tg.autograd.gradgradcheck(lambda x: f(tg, x), x, atol=1e-3, rtol=1e-3)


@pytest.mark.peers
@DTYPES
@pytest.mark.parametrize(("f", "shape"), CASES)
def test_values_and_derivatives_are_pytorchs(f: Callable, shape: tuple[int, ...], dtype: Any) -> None:
    torch = pytest.importorskip("torch")
    found = []
    for m in (tg, torch):
        x = m.tensor(matrix(shape, dtype), requires_grad=True)
        y = f(m, x)
        g, = m.autograd.grad(size(m, y).sum(), x, create_graph=True)
        h, = m.autograd.grad(size(m, g).sum(), x)
        found.append([y.detach(), g.detach(), h])
    for ours, theirs in zip(*found):
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-7, atol=1e-7 * max(1, abs(theirs).max()))


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex64, np.complex128])
@pytest.mark.parametrize("shape", [(3, 3), (4, 2), (2, 4), (2, 3, 3), (0, 2), (2, 0), (0, 3, 3)], ids=str)
def test_values_are_numpys(dtype: Any, shape: tuple[int, ...]) -> None:
    a = matrix(shape, dtype)
    x = tg.tensor(a)
    tolerance = 1e-4 if a.real.dtype == np.float32 else 1e-11

    def same(ours: Any, theirs: Any) -> None:
        for y, z in zip(ours if isinstance(ours, tuple) else [ours], theirs if isinstance(theirs, tuple) else [theirs]):
            assert y.dtype == z.dtype and y.shape == z.shape
            np.testing.assert_allclose(y.numpy(), z, tolerance, tolerance)

    same(L.svd(x), np.linalg.svd(a))
    same(L.svd(x, full_matrices=False), np.linalg.svd(a, full_matrices=False))
    same(L.svdvals(x), np.linalg.svdvals(a))
    same(L.qr(x), np.linalg.qr(a))
    same(L.qr(x, mode="complete"), np.linalg.qr(a, "complete"))
    same(L.qr(x, mode="r"), np.linalg.qr(a, "r"))
    same(L.matrix_norm(x), np.linalg.matrix_norm(a))
    if a.size:
        same(L.pinv(x), np.linalg.pinv(a, rtol=None))
        for order in (1, -1, 2, -2, np.inf, -np.inf, "nuc"):
            same(L.matrix_norm(x, ord=order, keepdims=True), np.linalg.matrix_norm(a, ord=order, keepdims=True))
        np.testing.assert_array_equal(L.matrix_rank(x).numpy(), np.linalg.matrix_rank(a))
    if shape[-1] != shape[-2]:
        return
    same(L.inv(x), np.linalg.inv(a))
    same(L.det(x), np.asarray(np.linalg.det(a)))
    same(L.slogdet(x), tuple(map(np.asarray, np.linalg.slogdet(a))))
    same(L.eigh(hermitian(x)), np.linalg.eigh((a + a.conj().swapaxes(-1, -2)) / 2))
    same(L.matrix_power(x, 5), np.linalg.matrix_power(a, 5))
    same(L.solve(x, x[..., 0:1]), np.linalg.solve(a, a[..., 0:1]))
    np.testing.assert_allclose(L.expm(x / 4).numpy(), scipy.linalg.expm(a / 4) if a.size else a, tolerance, tolerance)
    w = np.sort_complex(L.eig(x).eigenvalues.numpy())
    np.testing.assert_allclose(w, np.sort_complex(np.linalg.eigvals(a)), tolerance, tolerance)


def test_vectors_and_products() -> None:
    a, b = drawn(4, 3), drawn(4, 3, seed=1)
    x, y = tg.tensor(a), tg.tensor(b)
    np.testing.assert_allclose(L.cross(x, y).numpy(), np.linalg.cross(a, b))
    np.testing.assert_allclose(L.cross(x.T, y.T, axis=0).numpy(), np.linalg.cross(a.T, b.T, axis=0))
    np.testing.assert_allclose(L.vecdot(x, y).numpy(), np.linalg.vecdot(a, b))
    np.testing.assert_allclose(L.trace(x, offset=-1).numpy(), np.linalg.trace(a, offset=-1))
    np.testing.assert_allclose(L.diagonal(x).numpy(), np.linalg.diagonal(a))
    np.testing.assert_allclose(L.multi_dot([x[0], y.T, x, y[1]]).numpy(), np.linalg.multi_dot([a[0], b.T, a, b[1]]))
    for order in (None, 1, 2, 0, 3, np.inf, -np.inf, -1):
        np.testing.assert_allclose(L.norm(x, order, axis=1).numpy(), np.linalg.norm(a, order, axis=1))
    np.testing.assert_allclose(L.norm(x).numpy(), np.linalg.norm(a))
    for p in (None, 1, -1, 2, -2, np.inf, "fro"):
        np.testing.assert_allclose(L.cond(x[:3], p).numpy(), np.linalg.cond(a[:3], p))
    assert L.inv(tg.tensor([[2, 0], [0, 4]])).dtype == tg.float32


@pytest.mark.parametrize("shape", [(5, 3), (3, 3), (3, 5)], ids=str)
def test_least_squares(shape: tuple[int, int]) -> None:
    a, b = drawn(*shape), drawn(shape[0], 2, seed=1)
    ours, theirs = L.lstsq(tg.tensor(a), tg.tensor(b)), np.linalg.lstsq(a, b, rcond=None)
    for y, z in zip(ours, theirs):
        np.testing.assert_allclose(y.numpy(), z, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(L.lstsq(tg.tensor(a), tg.tensor(b[:, 0]))[0].numpy(), theirs[0][:, 0])


def test_batches_broadcast() -> None:
    a, b = near_diagonal(2, 1, 3, 3), drawn(4, 3, 2)
    np.testing.assert_allclose(L.solve(tg.tensor(a), tg.tensor(b)).numpy(), np.linalg.solve(a, b))
    x = tg.tensor(a, requires_grad=True)
    assert tg.autograd.gradcheck(lambda x: L.solve(x, tg.tensor(b)), x)


def test_gradients_at_zero_and_of_equal_eigenvalues() -> None:
    x = tg.zeros(3, requires_grad=True)
    L.norm(x).backward()
    assert x.grad is not None and x.grad.tolist() == [0.0, 0.0, 0.0]
    eye = tg.eye(3).requires_grad_()
    L.eigh(eye).eigenvalues.sum().backward()
    np.testing.assert_allclose(eye.grad.numpy(), np.eye(3), atol=1e-6)
    eye.grad = None
    L.svd(eye).S.sum().backward()
    np.testing.assert_allclose(eye.grad.numpy(), np.eye(3), atol=1e-6)


@pytest.mark.parametrize(("call", "message"), [
    (lambda x: L.inv(x * 0), r"solve: Singular matrix"),
    (lambda x: L.cholesky(-x), r"cholesky: Matrix is not positive definite"),
    (lambda x: L.solve_triangular(x * 0, x, upper=True), r"triangular_solve: "),
    (lambda x: L.svd(x * float("nan")), r"svd: SVD did not converge"),
])
def test_values_that_cannot_be_used(call: Callable, message: str) -> None:
    x = tg.tensor(near_diagonal(2, 2))
    with pytest.raises(L.LinAlgError, match=rf"^test_linalg\.py:\d+: {message}"):
        call(x)


@pytest.mark.parametrize(("call", "message"), [
    (lambda x: L.inv(x[:1]), r"inv: f64\[1,2\] is not square"),
    (lambda x: L.det(x[0]), r"det: f64\[2\] is no matrix"),
    (lambda x: L.solve(x, tg.ones(3, 1)), r"solve: operands f64\[2,2\] and f64\[3,1\] do not fit"),
    (lambda x: L.cholesky(x.to(tg.float16)), r"cholesky: f16\[2,2\] is not f32, f64, c64 or c128"),
    (lambda x: L.norm(x, dim=0), r"norm: there is no argument dim=: write axis="),
    (lambda x: L.cross(x, x), r"cross: axis -1 of f64\[2,2\] does not have size 3"),
])
def test_operands_that_do_not_fit(call: Callable, message: str) -> None:
    with pytest.raises(TypeError, match=rf"^test_linalg\.py:\d+: {message}"):
        call(tg.tensor(near_diagonal(2, 2)))


def test_arguments_that_do_not_exist() -> None:
    x = tg.tensor(near_diagonal(2, 2), requires_grad=True)
    for call in (lambda: L.qr(x, mode="full"), lambda: L.eigh(x, "X"), lambda: L.norm(x, "max"),
                 lambda: L.multi_dot([x]), lambda: L.matrix_norm(x, ord=3), lambda: L.vector_norm(x, "fro")):
        with pytest.raises(ValueError, match=r"^test_linalg\.py"):
            call()
    with pytest.raises(NotImplementedError, match=r"'complete' of f32\[3,2\] has no derivative"):
        L.qr(tg.ones(3, 2, requires_grad=True), mode="complete")


# ---- traced -----------------------------------------------------------------------------------------------------


def test_a_gaussian_process_is_fitted_in_one_call_a_step() -> None:
    inputs = tg.linspace(0.0, 1.0, 12, dtype=tg.float64)
    targets = tg.sin(inputs * 6.0)
    logs = tg.tensor([-1.0, -2.0], dtype=tg.float64, requires_grad=True)
    optimizer = tg.optim.SGD([logs], lr=0.01)

    @tg.trace
    def step() -> tg.Tensor:
        optimizer.zero_grad()
        length, noise = tg.exp(logs[0]), tg.exp(logs[1])
        away = (inputs[:, None] - inputs) / length
        covariance = tg.exp(-0.5 * away * away) + noise * tg.eye(12, dtype=tg.float64)
        factor = L.cholesky(covariance)
        weights = tg.cholesky_solve(targets[:, None], factor)
        loss = 0.5 * (targets * weights[:, 0]).sum() + tg.log(L.diagonal(factor)).sum()
        loss.backward()
        optimizer.step()
        return loss

    losses = [step().item() for _ in range(20)]
    assert losses[-1] < losses[0] - 0.1 and step.stats.replays >= 17, step.explain()


def test_a_replay_that_cannot_raises_as_eager_does() -> None:
    f = tg.trace(lambda x: L.inv(x).sum())
    good, bad = tg.tensor(near_diagonal(3, 3)), tg.zeros(3, 3, dtype=tg.float64)
    for _ in range(3):
        np.testing.assert_allclose(f(good).numpy(), f.eager(good).numpy())
    assert f.stats.replays >= 1
    with pytest.raises(L.LinAlgError, match="Singular matrix"):
        f(bad)
    np.testing.assert_allclose(f(good).numpy(), f.eager(good).numpy())


@pytest.mark.parametrize("f", [
    lambda x: (tg.linalg.eigvalsh(x + x.mT) ** 3).sum(), lambda x: (tg.linalg.svdvals(x) ** 3).sum(),
    lambda x: tg.linalg.matrix_norm(x, ord="nuc"),
])
def test_the_hessian_of_values_that_are_not_known_in_closed_form(f: Any) -> None:
    """Forward mode differentiates their rules where the cotangents are 0."""
    x = tg.tensor(np.random.default_rng(0).normal(size=(3, 3)))
    t = tg.tensor(np.random.default_rng(1).normal(size=(3, 3)))
    slope, step = tg.func.grad(f), 1e-5
    expected = (slope(x + t * step).numpy() - slope(x - t * step).numpy()) / (2 * step)
    for found in (tg.func.jvp(slope, (x,), (t,))[1], (tg.func.hessian(f)(x) * t).sum((-2, -1)), tg.func.hvp(f, x, t)):
        np.testing.assert_allclose(found.numpy(), expected, 1e-6, 1e-8)


def test_the_hessian_where_eigenvalues_repeat() -> None:
    """Their sum is linear, whatever they are."""
    found = tg.func.hessian(lambda x: tg.linalg.eigvalsh((x + x.mT) / 2).sum())(tg.eye(3, dtype=tg.float64))
    np.testing.assert_allclose(found.numpy(), 0, atol=1e-12)
