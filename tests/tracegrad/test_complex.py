"""Complex tensors: creation, promotion, parts, printing, text, derivatives in PyTorch's convention."""
from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import tracegrad as tg
from codegen.ir.builder import Builder
from codegen.ir.references import literal, literal_text
from codegen.ir.text import parse, print_graph
from codegen.ir.verify import verify
from codegen.optimize.pipeline import optimize

Z = np.array([[1 + 2j, -0.5j], [3 - 4j, -1.5 + 0.25j]])


def drawn(*shape: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(size=shape) + 1j * rng.normal(size=shape)


# ---- dtypes -----------------------------------------------------------------------------------------------------


def test_python_complex_numbers_take_the_default_complex_dtype() -> None:
    assert tg.tensor(1j).dtype == tg.tensor([1.0, 2j]).dtype == tg.asarray(1 + 0j).dtype == tg.complex64
    assert tg.full((2,), 1j).dtype == tg.zeros(2, dtype=complex).dtype == tg.complex64
    assert tg.tensor(Z).dtype == tg.complex128 and tg.tensor(Z, dtype=tg.complex64).dtype == tg.complex64
    tg.set_default_dtype(tg.float64)
    try:
        assert tg.tensor(1j).dtype == tg.complex128
    finally:
        tg.set_default_dtype(tg.float32)


@pytest.mark.parametrize(("a", "b", "expected"), [
    ("float32", "complex64", "complex64"), ("float64", "complex64", "complex128"),
    ("float16", "complex64", "complex64"), ("bfloat16", "complex128", "complex128"),
    ("int64", "complex64", "complex64"), ("bool", "complex128", "complex128"),
    ("complex64", "complex128", "complex128"),
])
def test_promotion(a: str, b: str, expected: str) -> None:
    x, y = tg.ones(2, dtype=getattr(tg, a)), tg.ones(2, dtype=getattr(tg, b))
    for result in (x + y, y * x, x / y, tg.where(tg.tensor([True, False]), x, y)):
        assert result.dtype.name == expected
    assert tg.result_type(x, y).name == expected


@pytest.mark.parametrize(("dtype", "expected"), [
    ("float32", "complex64"), ("float64", "complex128"), ("float16", "complex64"), ("int32", "complex64"),
    ("complex64", "complex64"), ("complex128", "complex128")])
@pytest.mark.parametrize("number", [2j, np.complex128(2j)])
def test_complex_numbers_are_weak(dtype: str, expected: str, number: complex) -> None:
    x = tg.ones(2, dtype=getattr(tg, dtype))
    for result in (x * number, number * x, x - number, number / x):
        assert result.dtype.name == expected
    assert (x * number).tolist() == [2j, 2j] and (tg.ones(2, dtype=tg.complex64) * 0.5).dtype == tg.complex64


def test_complex_numbers_do_not_become_real_silently() -> None:
    x, z = tg.ones(2), tg.tensor([1j, 2j])
    for call in (lambda: z.float(), lambda: tg.astype(z, tg.int64), lambda: tg.tensor(1j, dtype=tg.float32),
                 lambda: x.copy_(z), lambda: tg.maximum(z, z), lambda: z < z, lambda: float(z[0]), lambda: z.max()):
        with pytest.raises(TypeError):
            call()
    assert z.bool().tolist() == [True, True] and complex(z[1]) == 2j and z[1].item() == 2j


# ---- values -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("f", [
    lambda m, z: m.real(z), lambda m, z: m.imag(z), lambda m, z: m.conj(z), lambda m, z: m.angle(z),
    lambda m, z: abs(z), lambda m, z: m.isreal(z),
    lambda m, z: m.iscomplex(z), lambda m, z: m.sign(z), lambda m, z: m.exp(z) * m.sqrt(z),
    lambda m, z: m.tanh(z) - m.log(z), lambda m, z: z @ z, lambda m, z: m.mean(z, axis=0), lambda m, z: m.var(z),
    lambda m, z: m.sum(z * z.real), lambda m, z: z == z.conj(), lambda m, z: z ** 3, lambda m, z: m.std(z, axis=1),
])
def test_values_are_numpys(f: Callable) -> None:
    np.testing.assert_allclose(f(tg, tg.tensor(Z)).numpy(), f(np, Z), rtol=1e-13, atol=1e-13)


def test_parts_of_real_tensors() -> None:
    x = tg.tensor([-1.0, 2.0, float("nan")])
    assert tg.real(x) is x and tg.conj(x) is x and tg.imag(x).tolist() == [0.0] * 3
    np.testing.assert_allclose(tg.angle(x).numpy(), np.angle(x.numpy()))
    assert not tg.is_complex(x) and tg.is_complex(tg.complex64) and not tg.is_floating_point(tg.complex64)


def test_views_of_the_parts() -> None:
    z = tg.tensor(Z)
    pairs = tg.view_as_real(z)
    np.testing.assert_array_equal(pairs.numpy(), np.stack([Z.real, Z.imag], -1))
    np.testing.assert_array_equal(tg.view_as_complex(pairs).numpy(), Z)
    np.testing.assert_array_equal(z.mH.numpy(), Z.conj().T)
    np.testing.assert_array_equal(z.H.numpy(), Z.conj().T)
    np.testing.assert_allclose(tg.polar(abs(z), z.angle()).numpy(), Z)
    with pytest.raises(TypeError, match="does not have size 2"):
        tg.view_as_complex(tg.ones(3))


def test_parts_are_assigned_to() -> None:
    z = tg.tensor(Z)
    z.real = 7.0
    z.imag += 1
    np.testing.assert_array_equal(z.numpy(), 7 + 1j * (Z.imag + 1))
    with pytest.raises(TypeError, match="has no imaginary part"):
        tg.ones(2).imag = 1.0


def test_parts_are_views() -> None:
    z = tg.tensor(Z)
    part = z.real
    part[0] = 9.0
    z.imag[:, 1] *= 2
    z *= 1j
    expected = Z.copy()
    expected.real[0] = 9
    expected.imag[:, 1] *= 2
    np.testing.assert_array_equal(z.numpy(), expected * 1j)
    np.testing.assert_array_equal(part.numpy(), (expected * 1j).real)


def test_writes_to_parts_are_differentiated() -> None:
    def f(z: tg.Tensor, x: tg.Tensor) -> tg.Tensor:
        y = z * 1
        y.real[0] = x
        y.imag *= x
        return abs(y * y)

    z, x = tg.tensor(drawn(2, 3), requires_grad=True), tg.tensor(drawn(3, seed=2).real.copy(), requires_grad=True)
    assert tg.autograd.gradcheck(f, (z, x)) and tg.autograd.gradgradcheck(f, (z, x))
    traced = tg.trace(f)
    for _ in range(3):
        np.testing.assert_allclose(traced(z, x).tolist(), f(z, x).tolist())
    assert traced.stats.replays >= 1, traced.explain()


def test_infinite_parts_stay_apart() -> None:
    z = tg.complex(tg.tensor([1.0, -0.0]), tg.tensor([float("inf"), float("nan")]))
    assert str(z.tolist()) == "[(1+infj), (-0+nanj)]"
    assert str(z.conj().tolist()) == "[(1-infj), (-0+nanj)]"


@pytest.mark.parametrize(("data", "text"), [
    ([1 + 2j, -3j], "tensor([ 1.+2.j, -0.-3.j])"), ([0.5 + 1e-3j], "tensor([0.5000+0.0010j])"),
    ([complex("nan+infj")], "tensor([nan+infj])"), ([], "tensor([])"),
])
def test_printing(data: list, text: str) -> None:
    assert repr(tg.tensor(data)) == text
    assert repr(tg.tensor(1j, dtype=tg.complex128)) == "tensor(0.+1.j, dtype=complex128)"
    assert repr(tg.tensor(1j, requires_grad=True)) == "tensor(0.+1.j, requires_grad=True)"


# ---- constants in the IR ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [
    0j, complex(-0.0, -0.0), 1.5 - 2j, complex("nan+infj"), complex("-inf-1e-40j"), 1e30j])
@pytest.mark.parametrize("dtype", ["c64", "c128"])
def test_text_of_constants(number: complex, dtype: str) -> None:
    text = literal_text(number, dtype)
    assert literal_text(literal(text), dtype) == text
    b = Builder("constants")
    graph = b.graph([b.constant(number, dtype)])
    verify(graph)
    assert parse(print_graph(graph)) == graph and f"value={text}" in print_graph(graph)


def test_folding_of_complex_constants() -> None:
    b = Builder("folding")
    i = b.constant(1j, "c64")
    after = optimize(b.graph([i * i, i.emit("abs"), i / 2]))
    assert [dict(node.attrs)["value"] for node in after.nodes] == ["-1.0+0.0j", "1.0", "0.0+0.5j"]


# ---- derivatives ------------------------------------------------------------------------------------------------

FUNCTIONS: dict[str, Callable] = {
    "product with a real": lambda m, z, x: abs(z * x),
    "quotient": lambda m, z, x: m.real(z / (x + 2j)),
    "real over complex": lambda m, z, x: m.real(x / z),
    "exp and log": lambda m, z, x: m.imag(m.exp(z) * m.log(z)),
    "matmul": lambda m, z, x: m.real(z @ m.conj(z) @ (x + 0j)),
    "sqrt and tanh": lambda m, z, x: m.angle(m.sqrt(z)) + m.real(m.tanh(z * x)),
    "parts": lambda m, z, x: m.abs(m.complex(x, m.imag(z))) * m.real(z),
    "power": lambda m, z, x: m.real(z ** 3 - x * z),
    "where": lambda m, z, x: m.abs(m.where(x > 0, z, x * 1j)),
    "mean": lambda m, z, x: m.abs((z * x).mean()),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_derivatives(name: str) -> None:
    f = FUNCTIONS[name]
    z = tg.tensor(drawn(3, 3) + 0.5, requires_grad=True)
    x = tg.tensor(np.random.default_rng(1).normal(size=(3, 3)), requires_grad=True)
    assert tg.autograd.gradcheck(lambda z, x: f(tg, z, x), (z, x))
    assert tg.autograd.gradgradcheck(lambda z, x: f(tg, z, x), (z, x))
    f(tg, z, x).sum().backward()
    assert z.grad is not None and z.grad.dtype == tg.complex128
    assert x.grad is None or x.grad.dtype == tg.float64


@pytest.mark.peers
@pytest.mark.parametrize("name", FUNCTIONS)
def test_derivatives_are_pytorchs(name: str) -> None:
    torch = pytest.importorskip("torch")
    f = FUNCTIONS[name]
    zs, xs = drawn(3, 3) + 0.5, np.random.default_rng(1).normal(size=(3, 3))
    seconds = []
    for m, make in ((tg, tg.tensor), (torch, torch.tensor)):
        z, x = make(zs, requires_grad=True), make(xs, requires_grad=True)
        gz, gx = m.autograd.grad(f(m, z, x).sum(), (z, x), create_graph=True, allow_unused=True)
        size = (abs(gz) ** 2).sum() + (0 if gx is None else (gx * gx).sum())
        seconds.append([gz, gx, *m.autograd.grad(size, (z, x), allow_unused=True)])
    for ours, theirs in zip(*seconds):
        assert (ours is None) == (theirs is None)
        if ours is not None:
            np.testing.assert_allclose(ours.detach().numpy(), theirs.detach().numpy(), rtol=1e-9, atol=1e-9)


def test_a_complex_loss_needs_a_gradient() -> None:
    z = tg.tensor(1 + 2j, requires_grad=True)
    with pytest.raises(RuntimeError, match="complex64: only a real loss goes without a gradient"):
        (z * z).backward()
    (z * z).backward(tg.tensor(1j))
    assert z.grad is not None and z.grad.item() == 1j * np.conj(2 * (1 + 2j))


def test_a_wrong_complex_derivative_is_found() -> None:
    from tracegrad.derivatives import VJPS
    z = tg.tensor(drawn(2), requires_grad=True)
    rule = VJPS["exp"]
    VJPS["exp"] = (lambda g, y, x: g * y,)          # without the conjugate
    try:
        with pytest.raises(tg.autograd.GradcheckError):
            tg.autograd.gradcheck(tg.exp, z)
    finally:
        VJPS["exp"] = rule


def test_training_with_complex_weights() -> None:
    w = tg.tensor(drawn(4), requires_grad=True)
    target = tg.tensor(drawn(4, seed=1))
    for _ in range(50):
        w.grad = None
        loss = (abs(w - target) ** 2).sum()
        loss.backward()
        with tg.no_grad():
            w -= 0.3 * w.grad
    assert loss.item() < 1e-12


# ---- traced -----------------------------------------------------------------------------------------------------


def test_traced_functions_of_complex_numbers() -> None:
    @tg.trace
    def f(z: tg.Tensor, x: tg.Tensor) -> tg.Tensor:
        return abs(z * x + 1j).sum() * tg.exp(x)

    z, x = tg.tensor(drawn(5)), tg.tensor(np.arange(5.0))
    for _ in range(3):
        np.testing.assert_allclose(f(z, x).numpy(), f.eager(z, x).numpy(), rtol=1e-13)
    assert f.stats.replays == 2 and f.stats.kernels_compiled, f.explain()


def test_a_traced_step_of_complex_weights_is_one_call() -> None:
    w = tg.tensor(drawn(4), requires_grad=True)
    target = tg.tensor(drawn(4, seed=1))

    @tg.trace
    def step() -> tg.Tensor:
        w.grad = None
        loss = (abs(w - target) ** 2).sum()
        loss.backward()
        with tg.no_grad():
            w.sub_(w.grad * 0.3)
        return loss

    losses = [step().item() for _ in range(50)]
    assert losses[-1] < 1e-12 and step.stats.replays >= 48, step.explain()


def test_the_angle_of_nothing_is_a_constant() -> None:
    z = tg.tensor([0j, 2j], requires_grad=True)
    tg.angle(z).sum().backward()
    assert z.grad is not None and z.grad.tolist() == [0j, -0.5 + 0j]
    assert tg.dot(tg.tensor([1j]), tg.tensor([1j])).item() == -1
