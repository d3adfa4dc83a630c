"""What JAX's users expect: forward mode, batches and Hessians over the table of ops, eager and traced."""
from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import Any

import numpy as np
import pytest
from op_cases import cases

import tracegrad as tg
from codegen.ir.ops import OPS
from tracegrad.derivatives import VJPS
from tracegrad.dispatch import dispatch

jax = pytest.importorskip("jax", reason="compares with JAX, which is not installed")
pytestmark = pytest.mark.peers
jnp = jax.numpy if jax else None
special = jax.scipy.special

NAMED = {"sub": "subtract", "mul": "multiply", "div": "divide", "neg": "negative", "asin": "arcsin", "acos": "arccos",
         "atan": "arctan", "atan2": "arctan2", "asinh": "arcsinh", "acosh": "arccosh", "atanh": "arctanh",
         "pow": "power", "floor_div": "floor_divide", "rem": "remainder"}
"""Ops that JAX has under another name than ours."""

SAME = ("add", "maximum", "minimum", "abs", "sign", "sqrt", "exp", "log", "tanh", "where", "sin", "cos", "tan", "sinh",
        "cosh", "expm1", "exp2", "log1p", "log2", "log10", "cbrt", "hypot", "logaddexp", "fmod", "floor", "ceil",
        "trunc", "round", "copysign", "sum", "max", "min", "prod", "cumsum", "cumprod", "transpose", "matmul", "sort")

THEIRS: dict[str, Callable[..., Any]] = {
    **{op: getattr(jnp, op) for op in SAME},
    **{op: getattr(jnp, name) for op, name in NAMED.items()},
    **{op: getattr(special, name) for op, name in (("erf", "erf"), ("erfc", "erfc"), ("erfinv", "erfinv"),
                                                   ("lgamma", "gammaln"))},
    "polygamma": lambda x, order: special.polygamma(order, x),
    "cummax": lambda x, axis: jax.lax.cummax(x, axis),
    "cummin": lambda x, axis: jax.lax.cummin(x, axis),
    "broadcast": lambda x, shape: jnp.broadcast_to(x, shape),
    "reshape": lambda x, shape: jnp.reshape(x, shape),
    "flip": lambda x, axes: jnp.flip(x, axes),
    "slice": lambda x, start, stop, step: x[tuple(map(slice, start, stop, step))],
    "pad": lambda x, low, high, interior: jax.lax.pad(x, 0.0, list(zip(low, high, interior))),
    "concat": lambda x, y, axis: jnp.concatenate([x, y], axis),
    "gather": lambda x, i, axis: jnp.take_along_axis(x, i, axis),
    "cholesky": lambda x: jnp.linalg.cholesky(x),
    "solve": lambda a, b: jnp.linalg.solve(a, b),
    "det": lambda x: jnp.linalg.det(x),
    "expm": lambda x: jax.scipy.linalg.expm(x),
}
NOT_IN_JAX = {
    # other names, or other forms, for what JAX has; test_linalg, test_fft and test_torch hold them against others
    "cast", "complex", "real", "imag", "conj", "triangular_solve", "slogdet", "qr", "svd", "svdvals", "eigh",
    "eigvalsh", "eig", "eigvals", "pinv", "fft", "rfft", "irfft", "scatter", "scatter_add",
    # what JAX has no function for
    "recurrence", "shear", "unshear", "after", "nextafter",
}
"""Ops with a derivative that test_jax does not compare."""

NO_SECOND = ("cummax", "cummin", "expm", "polygamma")
"""Where JAX has no second derivative, or none at every order, or ours is not held against it."""


def operands(op: str) -> tuple[list[np.ndarray], dict[str, Any]]:
    """Of the table's float64 operands those with about nine elements: a Hessian is small, and has something in it."""
    fits = [(xs, attrs) for xs, attrs in islice(cases(OPS[op]), 200)
            if all(x.dtype != np.float32 and x.dtype.itemsize >= 4 or x.dtype == bool for x in xs)
            and any(x.dtype == np.float64 for x in xs) and 0 < sum(x.size for x in xs) <= 24]
    return min(fits, key=lambda case: abs(sum(x.size for x in case[0]) - 9))


def functions(op: str, xs: list[np.ndarray], attrs: dict[str, Any]) -> tuple[Any, Any, list[np.ndarray]]:
    """Ours and theirs, as functions of the operands that are differentiated, and these."""
    active = [k for k, x in enumerate(xs) if x.dtype == np.float64]

    def with_others(call: Callable[..., Any], of: Callable[[np.ndarray], Any]) -> Callable[..., Any]:
        def f(*points):
            given = [of(x) for x in xs]
            for k, p in zip(active, points):
                given[k] = p
            return call(*given)
        return f

    return (with_others(lambda *a: dispatch(op, *a, **attrs), tg.tensor),
            with_others(lambda *a: THEIRS[op](*a, **attrs), jnp.asarray), [xs[k] for k in active])


def same(found: Any, expected: Any) -> None:
    leaves, other = tg.pytrees.tree_leaves(found), jax.tree_util.tree_leaves(expected)
    assert len(leaves) == len(other)
    for a, b in zip(leaves, other):
        a, b = a.numpy(), np.asarray(b)
        assert a.shape == b.shape and a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-9)


@pytest.fixture(autouse=True)
def double_precision():
    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", before)


@pytest.mark.parametrize("op", sorted(THEIRS))
def test_forward_mode_batches_and_hessians(op: str) -> None:
    xs, attrs = operands(op)
    ours, theirs, points = functions(op, xs, attrs)
    rng = np.random.default_rng(0)
    along = [rng.standard_normal(p.shape) for p in points]
    ts, vs = tuple(map(tg.tensor, points)), tuple(map(tg.tensor, along))
    ps, us = tuple(map(jnp.asarray, points)), tuple(map(jnp.asarray, along))
    same(tg.func.jvp(ours, ts, vs), jax.jvp(theirs, ps, us))
    many = [np.stack([p, p * 0.99, p * 0.98]) for p in points]
    if op not in ("cholesky",):
        same(tg.vmap(ours)(*map(tg.tensor, many)), jax.vmap(theirs)(*map(jnp.asarray, many)))
    if op in NO_SECOND:
        return

    def weighted(call: Any, sine: Any) -> Any:
        return lambda *points: sine(call(*points)).sum()

    everything = tuple(range(len(points)))
    expected = jax.hessian(weighted(theirs, jnp.sin), everything)(*ps)
    hessian = tg.func.hessian(weighted(ours, tg.sin), everything)
    same(hessian(*ts), expected)
    traced = tg.trace(hessian)
    for _ in range(2):
        same(traced(*ts), expected)
    assert traced.stats.replays == 1, traced.explain().aborts


def test_every_op_with_a_derivative_is_held_against_jax_or_said_not_to_be() -> None:
    assert set(VJPS) == set(THEIRS) & set(VJPS) | NOT_IN_JAX
    assert not NOT_IN_JAX & set(THEIRS)
