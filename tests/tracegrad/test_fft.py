"""tg.fft: values are NumPy's, derivatives the numerical ones and PyTorch's."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tracegrad as tg

F = tg.fft


def drawn(*shape: int, dtype: Any = np.complex128) -> np.ndarray:
    rng = np.random.default_rng(0)
    x = rng.normal(size=shape)
    return (x + 1j * rng.normal(size=shape) if np.dtype(dtype).kind == "c" else x).astype(dtype)


COMPLEX: dict[str, Callable] = {
    "fft": lambda m, x: m.fft(x), "ifft": lambda m, x: m.ifft(x),
    "fft short": lambda m, x: m.fft(x, 3), "fft long": lambda m, x: m.fft(x, 9, 0),
    "ifft ortho": lambda m, x: m.ifft(x, norm="ortho"),
    "fft forward": lambda m, x: m.fft(x, norm="forward"), "ifft forward": lambda m, x: m.ifft(x, norm="forward"),
    "fftn": lambda m, x: m.fftn(x), "ifftn": lambda m, x: m.ifftn(x, (3, 7), (-2, -1)), "fft2": lambda m, x: m.fft2(x),
    "ifft2": lambda m, x: m.ifft2(x, norm="ortho"), "irfft": lambda m, x: m.irfft(x),
    "irfft odd": lambda m, x: m.irfft(x, 5),
    "irfft long": lambda m, x: m.irfft(x, 16, 0, "forward"), "irfftn": lambda m, x: m.irfftn(x),
    "irfft2": lambda m, x: m.irfft2(x, (3, 6), norm="ortho"), "hfft": lambda m, x: m.hfft(x),
    "hfft forward": lambda m, x: m.hfft(x, 7, norm="forward"),
    "fftshift": lambda m, x: m.fftshift(x), "ifftshift": lambda m, x: m.ifftshift(x),
}
REAL: dict[str, Callable] = {
    "rfft": lambda m, x: m.rfft(x), "rfft ortho": lambda m, x: m.rfft(x, 7, 0, "ortho"),
    "rfftn": lambda m, x: m.rfftn(x, (6, 3), (0, 1)), "rfft2": lambda m, x: m.rfft2(x, norm="forward"),
    "ihfft": lambda m, x: m.ihfft(x), "ihfft ortho": lambda m, x: m.ihfft(x, 4, norm="ortho"),
    "fft of reals": lambda m, x: m.fft(x), "irfft of reals": lambda m, x: m.irfft(x),
}
CASES = [*(pytest.param(f, np.complex128, id=name) for name, f in COMPLEX.items()),
         *(pytest.param(f, np.float64, id=name) for name, f in REAL.items())]


@pytest.mark.parametrize(("f", "dtype"), CASES)
@pytest.mark.parametrize("shape", [(4, 5), (5, 4), (2, 3, 6)], ids=str)
def test_values_are_numpys(f: Callable, dtype: Any, shape: tuple[int, ...]) -> None:
    x = drawn(*shape, dtype=dtype)
    y, z = f(F, tg.tensor(x)), f(np.fft, x)
    assert y.dtype == z.dtype and y.shape == z.shape
    np.testing.assert_allclose(y.numpy(), z, 1e-12, 1e-12)


@pytest.mark.parametrize(("f", "dtype"), CASES)
def test_derivatives_to_second_order(f: Callable, dtype: Any) -> None:
    x = tg.tensor(drawn(4, 5, dtype=dtype), requires_grad=True)
    assert tg.autograd.gradcheck(lambda x: f(F, x), x)
    assert tg.autograd.gradgradcheck(lambda x: f(F, x * x), x)


@pytest.mark.peers
@pytest.mark.parametrize(("f", "dtype"), CASES)
def test_values_and_derivatives_are_pytorchs(f: Callable, dtype: Any) -> None:
    torch = pytest.importorskip("torch")
    found = []
    for m in (tg, torch):
        x = m.tensor(drawn(4, 5, dtype=dtype), requires_grad=True)
        y = f(m.fft, x)
        g, = m.autograd.grad((abs(y) ** 2 + m.real(y)).sum(), x, create_graph=True)
        h, = m.autograd.grad((abs(g) ** 2).sum(), x)
        found.append([y.detach(), g.detach(), h])
    for ours, theirs in zip(*found):
        np.testing.assert_allclose(ours.tolist(), theirs.tolist(), 1e-9, 1e-9)


@pytest.mark.parametrize(("dtype", "expected"), [
    ("float32", "complex64"), ("float64", "complex128"), ("complex64", "complex64"), ("int64", "complex64"),
    ("float16", "complex64"), ("bfloat16", "complex64")])
def test_precision_is_that_of_the_operand(dtype: str, expected: str) -> None:
    x = tg.ones(6, dtype=getattr(tg, dtype))
    assert F.fft(x).dtype.name == F.fftn(x).dtype.name == expected
    if "complex" not in dtype:
        assert F.rfft(x).dtype.name == expected and F.irfft(F.rfft(x)).dtype.itemsize * 2 == F.rfft(x).dtype.itemsize


@pytest.mark.parametrize("n", [1, 2, 5, 8])
def test_frequencies(n: int) -> None:
    np.testing.assert_array_equal(F.fftfreq(n, 0.25, dtype=tg.float64).numpy(), np.fft.fftfreq(n, 0.25))
    np.testing.assert_array_equal(F.rfftfreq(n, d=0.5, dtype=tg.float64).numpy(), np.fft.rfftfreq(n, 0.5))
    assert F.fftfreq(n).dtype == tg.float32
    np.testing.assert_array_equal(F.fftshift(tg.arange(n)).numpy(), np.fft.fftshift(np.arange(n)))


@pytest.mark.parametrize(("call", "error", "message"), [
    (lambda x: F.rfft(x * 1j), TypeError, r"rfft: c64\[4\] is not real"),
    (lambda x: F.fft(x, norm="unit"), ValueError, "fft: norm 'unit' is none of"),
    (lambda x: F.fft(x, axis=1), TypeError, r"fft: axis 1 is out of range"),
    (lambda x: F.fft(x, n=0), ValueError, "fft: 0 is no number of points"),
    (lambda x: F.fftn(x, axes=(0, 0)), TypeError, r"fft: axes \[0, 0\] name an axis twice"),
    (lambda x: F.fft(x[:0]), TypeError, "no element along axis 0"),
    (lambda x: F.irfft(x[:1]), ValueError, "irfft: 0 is no number of points"),
])
def test_what_does_not_fit(call: Callable, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=rf"^test_fft\.py:\d+: .*{message}"):
        call(tg.ones(4))


def test_a_spectral_step_is_one_call() -> None:
    """Burgers' equation: derivatives by multiplying the spectrum; the initial values are fitted through the steps."""
    n = 32
    k = 2 * tg.pi * F.rfftfreq(n, d=1 / n, dtype=tg.float64)
    start = tg.tensor(np.sin(2 * np.pi * np.arange(n) / n), requires_grad=True)

    @tg.trace
    def loss(u: tg.Tensor) -> tg.Tensor:
        for _ in range(3):
            spectrum = F.rfft(u)
            slope = F.irfft(1j * k * spectrum)
            bend = F.irfft(-k * k * spectrum)
            u = u + 1e-3 * (0.05 * bend - u * slope)
        return (u * u).sum()

    def run(f: Callable) -> tuple[float, np.ndarray]:
        start.grad = None
        value = f(start)
        value.backward()
        assert start.grad is not None
        return value.item(), start.grad.numpy().copy()

    expected, slope = run(loss.eager)
    for _ in range(4):
        value, gradient = run(loss)
        assert value == pytest.approx(expected, rel=1e-12)
        np.testing.assert_allclose(gradient, slope, 1e-10, 1e-12)
    assert loss.stats.replays >= 2, loss.explain()
