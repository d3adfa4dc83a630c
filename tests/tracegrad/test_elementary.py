"""Elementary functions and activations: values against NumPy and SciPy, dtypes, special cases, derivatives; and against
PyTorch in value, gradient and second gradient where it is installed."""
from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import special

import tracegrad as tg
from codegen.ir.type_rules import TypeRuleError
from tracegrad.autograd import grad, gradcheck, gradgradcheck

RNG = np.random.default_rng(0)
SPECIAL = [0.0, -0.0, 0.5, -0.5, 1.0, -1.0, 2.5, -3.5, 1e-30, 30.0, -100.0, np.inf, -np.inf, np.nan]

UNARY: dict[str, Callable] = {
    **{name: getattr(np, name) for name in (
        "sin", "cos", "tan", "arcsin", "arccos", "arctan", "sinh", "cosh", "arcsinh", "arccosh", "arctanh", "exp2",
        "expm1", "log1p", "log2", "log10", "cbrt", "floor", "ceil", "trunc", "fix", "round", "reciprocal", "sinc",
        "deg2rad", "rad2deg", "degrees", "radians", "signbit", "isnan", "isinf", "isfinite", "isposinf", "isneginf",
        "nan_to_num", "absolute", "fabs", "rint")},
    **{name: getattr(np, f"arc{name[1:]}") for name in ("asin", "acos", "atan", "asinh", "acosh", "atanh")},
    **{name: getattr(special, name) for name in ("erf", "erfc", "erfinv", "digamma", "logit")},
    "lgamma": lambda x: np.where(x == -np.inf, -x, special.gammaln(x)),         # SciPy: -inf; C, PyTorch: inf
    "rsqrt": lambda x: 1 / np.sqrt(x), "frac": lambda x: x - np.trunc(x),
}
BINARY: dict[str, Callable] = {
    **{name: getattr(np, name) for name in (
        "hypot", "logaddexp", "logaddexp2", "copysign", "nextafter", "floor_divide", "remainder", "mod", "fmod", "pow",
        "power", "heaviside", "fmax", "fmin", "isclose", "arctan2", "true_divide")},
    "atan2": np.arctan2, "xlogy": special.xlogy,
}
INTEGERS = ("floor_divide", "remainder", "fmod", "bitwise_left_shift", "bitwise_right_shift")


def close(found: tg.Tensor, expected: Any) -> None:
    expected = np.asarray(expected)
    assert isinstance(found, tg.Tensor) and found.dtype == expected.dtype, (found.dtype, expected.dtype)
    assert found.shape == expected.shape
    eps = np.finfo(expected.dtype).eps if expected.dtype.kind == "f" else 0
    np.testing.assert_allclose(found.numpy(), expected, rtol=4 * eps, atol=2 * eps)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", UNARY)
def test_of_one(name: str, dtype: str) -> None:
    for x in (np.array(SPECIAL, dtype), RNG.normal(size=(3, 4)).astype(dtype), np.zeros((2, 0), dtype),
              np.asarray(0.25, dtype)):
        with np.errstate(all="ignore"):
            expected = UNARY[name](x)
        close(getattr(tg, name)(tg.asarray(x)), expected)
        if hasattr(tg.Tensor, name):
            close(getattr(tg.asarray(x), name)(), expected)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", BINARY)
def test_of_two(name: str, dtype: str) -> None:
    xs, ys = (np.array(column, dtype) for column in zip(*[(a, b) for a in SPECIAL for b in SPECIAL]))
    for x, y in ((xs, ys), (RNG.normal(size=(3, 1)).astype(dtype), RNG.normal(size=(4,)).astype(dtype))):
        with np.errstate(all="ignore"):
            expected = BINARY[name](x, y)
        close(getattr(tg, name)(tg.asarray(x), tg.asarray(y)), expected)
    with np.errstate(all="ignore"):
        close(getattr(tg, name)(tg.asarray(xs), 2.5), BINARY[name](xs, np.asarray(2.5, dtype)))
        close(getattr(tg, name)(0.75, tg.asarray(xs)), BINARY[name](np.asarray(0.75, dtype), xs))


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "uint32", "int64", "uint64"])
@pytest.mark.parametrize("name", INTEGERS)
def test_integers_stay_integers(name: str, dtype: str) -> None:
    limits = np.iinfo(dtype)
    values = [limits.min, limits.max, 0, 1, 2, 5] + [-1, -2, -7] * (limits.min < 0)
    x, y = (np.array(column, dtype) for column in zip(*[(a, b) for a in values for b in values]))
    with np.errstate(all="ignore"):
        if "shift" in name:
            inside = (y >= 0) & (y < 8 * y.itemsize)
            x, y = x[inside], y[inside]
        close(getattr(tg, name)(tg.asarray(x), tg.asarray(y)), getattr(np, name)(x, y))
        close(getattr(tg, name)(tg.asarray(x), 3), getattr(np, name)(x, np.asarray(3, dtype)))


@pytest.mark.parametrize("name", ["floor", "ceil", "trunc", "round"])
def test_rounding_integers_gives_them(name: str) -> None:
    x = tg.tensor([3, -4])
    found = getattr(tg, name)(x)
    assert found.dtype == tg.int64 and found.tolist() == [3, -4] and found is not x
    with pytest.raises(TypeRuleError, match="bool"):
        getattr(tg, name)(tg.tensor([True]))


def test_round_to_decimals() -> None:
    x = np.array([1.255, -2.345, 1234.5])
    for decimals in (0, 1, 2, -2):
        close(tg.round(tg.asarray(x), decimals), np.round(x, decimals))
    assert tg.round(tg.tensor([1250, 1349]), -2).tolist() == [1200, 1300]
    assert round(tg.tensor(2.5)).item() == 2.0
    assert tg.round(tg.tensor([1.5 - 2.6j])).tolist() == [2 - 3j]


@pytest.mark.parametrize("n", [0, 1, 2, 3, 4, 5, 13, -1, -2, -7, 0.5, -0.5, 1.5, -2.25, 1e3, math.inf, math.nan])
def test_powers_with_a_number(n: float) -> None:
    x = np.array([0.5, 2.0, 3.0, -1.5, 0.0, 1.0, np.inf, np.nan])
    with np.errstate(all="ignore"):
        np.testing.assert_allclose((tg.asarray(x) ** n).numpy(), x ** n, rtol=1e-15)
        np.testing.assert_allclose((n ** tg.asarray(x)).numpy(), n ** x, rtol=1e-15)


def test_powers_of_integers() -> None:
    x = tg.tensor([2, -3, 0])
    assert (x ** 5).tolist() == [32, -243, 0] and (x ** 5).dtype == tg.int64
    assert (x ** tg.tensor([3, 2, 0])).tolist() == [8, 9, 1]
    assert (2 ** tg.tensor([3, 10])).tolist() == [8, 1024]
    assert (x ** tg.tensor([-1, -1, -1])).tolist() == [0, 0, 0]
    assert (x ** 0.5).dtype == tg.float32 and (tg.tensor([2]) ** -1).tolist() == [0.5]
    assert tg.float_power(tg.tensor([2]), 3).dtype == tg.float64


def test_operators() -> None:
    x = tg.tensor([7.0, -7.0])
    assert (x // 2).tolist() == [3.0, -4.0] and (x % 4).tolist() == [3.0, 1.0]
    assert (15 // x).tolist() == [2.0, -3.0] and (15 % x).tolist() == [1.0, -6.0]
    assert [part.tolist() for part in divmod(x, 2)] == [[3.0, -4.0], [1.0, 1.0]]
    assert [part.tolist() for part in divmod(15, x)] == [[2.0, -3.0], [1.0, -6.0]]
    n = tg.tensor([1, 3])
    assert (n << 2).tolist() == [4, 12] and (1 << n).tolist() == [2, 8] and (64 >> n).tolist() == [32, 8]


def test_operators_in_place() -> None:
    x = tg.tensor([7.0, -7.0])
    seen = x[:1]
    x //= 2
    assert x.tolist() == [3.0, -4.0] and seen.tolist() == [3.0]
    x **= 2
    x %= 5
    assert x.tolist() == [4.0, 1.0]
    n = tg.tensor([1, 3])
    n <<= 3
    n >>= 1
    assert n.tolist() == [4, 12]
    assert x.sqrt_().log1p_() is x
    with pytest.raises(TypeRuleError, match="sin_"):
        n.sin_()


def test_in_place_is_differentiated() -> None:
    w = tg.tensor([0.5, 2.0], dtype=tg.float64, requires_grad=True)
    gradcheck(lambda w: (w * 2).sin_().exp_() , w)
    gradcheck(lambda w: (w * 2).pow_(2.5).remainder_(1.7), w)


def test_classification_of_integers_and_bools() -> None:
    for x in (tg.tensor([1, 0]), tg.tensor([True, False])):
        assert tg.isfinite(x).all() and not tg.isnan(x).any() and not tg.isinf(x).any() and not tg.signbit(x).any()
    assert tg.signbit(tg.tensor([-1, 1])).tolist() == [True, False]


def test_integers_are_computed_in_the_default_dtype() -> None:
    for name in ("sin", "atan2", "hypot", "erf", "lgamma", "logaddexp", "copysign"):
        operands = (tg.tensor([1, 2]),) * (2 if name in BINARY else 1)
        assert getattr(tg, name)(*operands).dtype == tg.float32


def test_closeness() -> None:
    x = tg.tensor([1.0, math.nan, math.inf])
    assert tg.isclose(x, x).tolist() == [True, False, True]
    assert tg.allclose(x, x, equal_nan=True) is True and tg.allclose(x, x) is False
    assert tg.tensor([1.0]).allclose(tg.tensor([1.0 + 1e-7]))


def test_nan_to_num() -> None:
    x = np.array([np.nan, np.inf, -np.inf, 1.0], np.float32)
    close(tg.nan_to_num(tg.asarray(x)), np.nan_to_num(x))
    close(tg.nan_to_num(tg.asarray(x), 1.0, 2.0, 3.0), np.nan_to_num(x, nan=1.0, posinf=2.0, neginf=3.0))


def test_modf() -> None:
    x = np.array([1.5, -2.25, np.inf, -np.inf, -0.0])
    for found, expected in zip(tg.modf(tg.asarray(x)), np.modf(x)):
        close(found, expected)
        assert np.array_equal(np.signbit(found.numpy()), np.signbit(expected))


@pytest.mark.parametrize("order", [0, 1, 2, 3])
def test_polygamma(order: int) -> None:
    x = np.array([0.3, 1.0, 2.5, 40.0, -0.5, -1.75, -3.2])
    above = x > 0
    found = tg.polygamma(order, tg.asarray(x)).numpy()
    np.testing.assert_allclose(found[above], special.polygamma(order, x[above]), rtol=1e-13)
    # psi_n(x + 1) = psi_n(x) + (-1)^n n! / x^(n+1)
    next = tg.polygamma(order, tg.asarray(x + 1)).numpy()
    np.testing.assert_allclose(next - found, (-1) ** order * math.factorial(order) / x ** (order + 1), rtol=1e-10)
    with pytest.raises(TypeRuleError, match="order -1 is negative"):
        tg.polygamma(-1, tg.asarray(x))


AT = [-2.9, -1.2, -0.3, 0.4, 0.9, 2.2]
DIFFERENTIATED: dict[str, Callable[[tg.Tensor], tg.Tensor]] = {
    **{name: getattr(tg, name) for name in (
        "softplus", "logsigmoid", "silu", "mish", "gelu", "elu", "celu", "selu", "leaky_relu", "hardtanh", "relu6",
        "hardsigmoid", "hardswish", "softsign", "tanhshrink", "softshrink", "hardshrink", "sinc", "frac")},
    "glu": tg.glu, "gelu of tanh": lambda x: tg.gelu(x, "tanh"), "softplus of 2": lambda x: tg.softplus(x, 2.0, 3.0),
    "logit": lambda x: tg.logit(tg.sigmoid(x)), "logit within": lambda x: tg.logit(tg.sigmoid(x), 0.2),
    "prelu": lambda x: tg.prelu(x, x[:1] * 0.1), "threshold": lambda x: tg.threshold(x, 0.5, 7.0),
    "lerp": lambda x: tg.lerp(x, x * x, tg.cos(x)), "addcmul": lambda x: tg.addcmul(x, x, tg.sin(x), value=3),
    "addcdiv": lambda x: tg.addcdiv(x, x, tg.cosh(x)), "xlogy": lambda x: tg.xlogy(x, x * x),
    "heaviside": lambda x: tg.heaviside(x, x), "fmax": lambda x: tg.fmax(x, x * x),
    "pow of a base": lambda x: (x * x) ** 1.7, "pow of a number": lambda x: 2.5 ** x,
    "pow of both": lambda x: (x * x) ** x, "quotient": lambda x: x % 0.7 + x // 0.7 + tg.fmod(x, 0.7),
    "round": lambda x: tg.round(x * x, 1) * x, "logaddexp2": lambda x: tg.logaddexp2(x, 1.0),
    "nan_to_num": lambda x: tg.nan_to_num(x) * x, "ldexp": lambda x: tg.ldexp(x, x * 2),
}


@pytest.mark.parametrize("name", DIFFERENTIATED)
def test_derivatives(name: str) -> None:
    x = tg.tensor(AT, dtype=tg.float64, requires_grad=True)
    gradcheck(DIFFERENTIATED[name], x)
    gradgradcheck(DIFFERENTIATED[name], x)


@pytest.mark.parametrize("name", DIFFERENTIATED)
def test_traced(name: str) -> None:
    x = tg.tensor(AT, dtype=tg.float64, requires_grad=True)

    def f(x: tg.Tensor) -> tuple[tg.Tensor, tg.Tensor]:
        y = DIFFERENTIATED[name](x)
        return y, grad(y.sum(), x)[0]

    traced = tg.trace(f)
    for _ in range(3):
        for found, expected in zip(traced(x), f(x)):
            np.testing.assert_allclose(found.detach().numpy(), expected.detach().numpy(), rtol=1e-12, atol=1e-13)
    assert traced.stats.replays == 2, traced.explain()


@pytest.mark.parametrize("x,y,at_x,at_y", [
    (0.0, 0.0, 0.0, 0.0), (0.0, 2.0, 0.0, 0.0), (0.0, 1.0, 1.0, 0.0), (-2.0, 2.0, -4.0, math.nan)])
def test_derivatives_of_powers_at_the_border(x: float, y: float, at_x: float, at_y: float) -> None:
    a, b = (tg.tensor(v, dtype=tg.float64, requires_grad=True) for v in (x, y))
    found = grad(a ** b, (a, b))
    np.testing.assert_array_equal([g.item() for g in found], [at_x, at_y])


def test_derivatives_stay_finite() -> None:
    x = tg.tensor([-200.0, 0.0, 200.0], requires_grad=True)
    for f in (tg.softplus, tg.logsigmoid, tg.elu, tg.celu, tg.selu, tg.mish, tg.silu, tg.gelu):
        first, = grad(f(x).sum(), x, create_graph=True)
        second, = grad(first.sum(), x)
        assert tg.isfinite(first).all() and tg.isfinite(second).all(), f.__name__
    y = tg.tensor([0.0, 0.0], requires_grad=True)
    assert grad(tg.xlogy(y, tg.tensor([0.0, 2.0])).sum(), y)[0].tolist() == [0.0, pytest.approx(math.log(2))]


def test_numpy_functions_on_tensors_are_ours() -> None:
    x = tg.tensor(AT, requires_grad=True)
    for f in (np.sin, np.arctan, np.floor, np.isnan, np.exp2, np.cbrt, np.round, np.sinc, np.nan_to_num, np.rint):
        assert isinstance(f(x), tg.Tensor)
    assert np.allclose(x, x) is True and isinstance(np.power(x, 2.5), tg.Tensor) and isinstance(x % x, tg.Tensor)
    assert all(isinstance(part, tg.Tensor) for part in np.divmod(x, 2))


def test_scipy_is_imported_when_it_is_needed() -> None:
    code = """if True:
        import sys, tracegrad as tg
        from codegen.ir import elementary
        before = tg.erf(tg.ones(1)).item(), tg.digamma(tg.ones(1)).item()
        print('scipy.special' in sys.modules)
        import scipy.special
        elementary._scipy_alone = lambda: None
        elementary._scipy.cache_clear()
        print((tg.erf(tg.ones(1)).item(), tg.digamma(tg.ones(1)).item()) == before)
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]        # erf needs no import of all of SciPy, nor relies on that


def test_what_is_refused() -> None:
    with pytest.raises(ValueError, match="approximate"):
        tg.gelu(tg.ones(1), "sigmoid")
    with pytest.raises(ValueError, match="glu: axis -1 has 3 elements"):
        tg.glu(tg.ones(3))
    with pytest.raises(TypeError, match="sin: str is neither"):
        tg.sin("x")


TORCH = {
    **{name: (name, AT) for name in (
        "sin", "cos", "tan", "atan", "sinh", "cosh", "asinh", "expm1", "exp2", "erf", "erfc", "digamma", "sinc",
        "floor", "ceil", "trunc", "round", "frac", "deg2rad", "rad2deg", "reciprocal", "nan_to_num")},
    **{name: (name, [0.3, 0.5, 0.9]) for name in ("asin", "acos", "atanh", "erfinv", "logit", "lgamma", "rsqrt",
                                                  "log2", "log10", "log1p")},
    **{f"nn.functional.{name}": (name, [*AT, 25.0, -20.0]) for name in (
        "softplus", "logsigmoid", "silu", "mish", "gelu", "elu", "celu", "selu", "leaky_relu", "hardtanh", "relu6",
        "hardsigmoid", "hardswish", "softsign", "tanhshrink", "softshrink", "hardshrink")},
}
TORCH_BINARY = ("atan2", "hypot", "logaddexp", "logaddexp2", "pow", "fmod", "remainder", "xlogy", "fmax", "fmin",
                "float_power", "copysign", "true_divide", "ldexp")


@pytest.mark.peers
@pytest.mark.parametrize("name", TORCH)
def test_torch_of_one(name: str) -> None:
    torch = pytest.importorskip("torch")
    theirs: Any = torch
    for part in name.split("."):
        theirs = getattr(theirs, part)
    ours, at = getattr(tg, TORCH[name][0]), TORCH[name][1]
    _compare(torch, lambda x: ours(x), lambda x: theirs(x), [at])


@pytest.mark.peers
@pytest.mark.parametrize("name", TORCH_BINARY)
def test_torch_of_two(name: str) -> None:
    torch = pytest.importorskip("torch")
    _compare(torch, getattr(tg, name), getattr(torch, name), [[0.7, 1.9, 2.4, 3.3], [2.5, 0.8, 1.3, 0.45]])


def _compare(torch: Any, ours: Callable, theirs: Callable, values: list[list[float]]) -> None:
    """Value, gradient and second gradient."""
    xs = [tg.tensor(v, dtype=tg.float64, requires_grad=True) for v in values]
    ys = [torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in values]
    a, b = ours(*xs), theirs(*ys)
    for _ in range(3):
        np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-7, atol=1e-11)
        if not (a.requires_grad and b.requires_grad):
            break
        a = sum(weighted(grad(a.sum(), xs, create_graph=True, allow_unused=True)))
        b = sum(weighted(torch.autograd.grad(b.sum(), ys, create_graph=True, allow_unused=True)))


def weighted(gradients: Any) -> list[Any]:
    """Sums, each with a weight of its own, so that none takes another's place."""
    return [g.sum() * (k + 2) for k, g in enumerate(gradients) if g is not None]
