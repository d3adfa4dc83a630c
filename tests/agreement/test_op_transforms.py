"""Generated from the op table: of every op that has a derivative, forward mode, second derivatives in each mode, and
all of it for many examples. An op without a rule for one of them fails here.

With v a cotangent and t a tangent, F(x) = Re <v, f(x)>, G its gradient and H its Hessian:

    Re <v, jvp f t> = Re <G, t>      jvp G t = grad Re <G, t> = H t      Re <v, jvp (jvp f t) t> = Re <t, H t>
"""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from op_cases import HERMITIAN, cases, complex_cases, has_free_phases

import tracegrad as tg
from codegen.ir.ops import OPS
from tracegrad import func
from tracegrad.derivatives import VJPS
from tracegrad.dispatch import dispatch
from tracegrad.dtypes import INEXACT

PICKED = 3
"""Cases of each op in real numbers, and in complex ones."""


def picked(name: str) -> list[tuple[list[np.ndarray], dict[str, Any]]]:
    found = []
    for source in (cases(OPS[name]), complex_cases(OPS[name])):
        fits = []
        for operands, attrs in source:
            active = [x for x in operands if x.dtype in INEXACT]
            if (active and all(x.dtype in (np.float64, np.complex128) for x in active)
                    and attrs.get("dtype", "f64") in ("f64", "c128") and 0 < sum(x.size for x in active) <= 24
                    and not has_free_phases(OPS[name], operands, attrs)):
                fits.append((operands, attrs))
        step = max(1, len(fits) // PICKED)
        found += fits[::-step][:PICKED]
    return found


def hermitian(x: tg.Tensor) -> tg.Tensor:
    return (x + x.mH) / 2


def drawn(rng: np.random.Generator, like: tg.Tensor) -> tg.Tensor:
    v = rng.standard_normal(like.shape)
    return tg.tensor((v + 1j * rng.standard_normal(like.shape) if like.dtype.kind == "c" else v).astype(like.dtype))


def inner(a: Any, b: Any) -> tg.Tensor:
    """Re <a, b>, summed over pairs."""
    total = 0.0
    for x, y in zip(a, b):
        product = (x.conj() * y).sum() if x.dtype.kind == "c" else (x * y).sum()
        total = total + (product.real if product.dtype.kind == "c" else product)
    return total


def close(a: Any, b: Any) -> None:
    for x, y in zip(a, b):
        np.testing.assert_allclose(x.numpy(), y.numpy(), 1e-7, 1e-9)


def function_of(name: str, operands: list[np.ndarray], attrs: dict[str, Any]) -> tuple[Callable[..., Any], list[Any]]:
    """The op as a function of the operands that are differentiated, and these."""
    given = [tg.tensor(x) for x in operands]
    active = [k for k, x in enumerate(operands) if x.dtype in INEXACT]

    def f(*points: tg.Tensor) -> tg.Tensor:
        xs = list(given)
        for k, p in zip(active, points):
            xs[k] = hermitian(p) if name in HERMITIAN else p
        return dispatch(name, *xs, **attrs)
    return f, [given[k] for k in active]


def pulled(f: Callable[..., Any], v: tg.Tensor) -> Callable[..., tuple[tg.Tensor, ...]]:
    def gradient(*points: tg.Tensor) -> tuple[tg.Tensor, ...]:
        found = func.vjp(f, *points)[1](v)
        return found if isinstance(found, tuple) else (found,)
    return gradient


def differentiated(name: str, operands: list[np.ndarray], attrs: dict[str, Any], rng: np.random.Generator) -> bool:
    """The identities above, at one case. False if it has no derivative."""
    f, xs = function_of(name, operands, attrs)
    points, ts = tuple(xs), tuple(drawn(rng, x) for x in xs)
    y, pushed = func.jvp(f, points, ts)
    if y.dtype not in INEXACT:
        return False
    v = drawn(rng, y)
    gradient = pulled(f, v)
    close([inner([v], [pushed])], [inner(gradient(*points), ts)])
    along = func.jvp(gradient, points, ts)[1]
    back = func.grad(lambda *xs: inner(gradient(*xs), ts), tuple(range(len(xs))))(*points)
    close(along, back)
    twice = func.jvp(lambda *xs: func.jvp(f, xs, ts)[1], points, ts)[1]
    close([inner([v], [twice])], [inner(ts, along)])
    return True


def done_for_many(name: str, operands: list[np.ndarray], attrs: dict[str, Any], rng: np.random.Generator) -> None:
    """The first and the second derivatives, for three examples at once and for each."""
    f, xs = function_of(name, operands, attrs)
    y = f(*xs)
    if y.dtype not in INEXACT:
        return
    ts = tuple(drawn(rng, x) for x in xs)
    gradient = pulled(f, drawn(rng, y))

    def both(*points: tg.Tensor) -> Any:
        return (*gradient(*points), *func.jvp(gradient, points, ts)[1])

    examples = [tuple(x * (1 - 0.01 * k) for x in xs) for k in range(3)]
    many = tg.vmap(both)(*map(tg.stack, zip(*examples)))
    for k, example in enumerate(examples):
        close([g[k] for g in many], both(*example))


@pytest.mark.parametrize("name", sorted(set(VJPS) - {"eig"}))
def test_forward_mode_and_second_derivatives(name: str) -> None:
    rng = np.random.default_rng(0)
    assert sum(differentiated(name, operands, attrs, rng) for operands, attrs in picked(name))


@pytest.mark.parametrize("name", sorted(set(VJPS) - {"eig"}))
def test_derivatives_of_many_examples(name: str) -> None:
    rng = np.random.default_rng(1)
    for operands, attrs in picked(name)[::2]:
        done_for_many(name, operands, attrs, rng)
