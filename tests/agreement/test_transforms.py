"""Transforms of hundreds of calls: a call for many examples is one call each; forward mode fits reverse mode."""
from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from call_cases import Case
from numpy_cases import NUMPY_CASES
from torch_cases import TORCH_CASES

import tracegrad as tg

OURS = {**vars(tg), "F": tg.nn.functional}
CASES = (*TORCH_CASES, *NUMPY_CASES)
N = 3
DEPENDS_ON_VALUES = ("unique", "masked_select(", "bincount(", "x[c]", "nonzero(", "flatnonzero(", "argwhere(",
                     "compress(", "extract(", "union1d(", "intersect1d(", "setdiff1d(", "setxor1d(")
"""How many elements there are depends on the values: there is one shape for each example."""

RNG = np.random.default_rng(0)


def differentiable(x: tg.Tensor) -> bool:
    return x.dtype.kind in "fc"


def ours(case: Case) -> Any:
    return eval(f"lambda {', '.join(case.arrays())}: {case.ours}", OURS)


def like(x: tg.Tensor) -> tg.Tensor:
    v = RNG.standard_normal(x.shape)
    return tg.tensor((v + 1j * RNG.standard_normal(x.shape) if x.dtype.kind == "c" else v).astype(x.dtype))


def close(a: tg.Tensor, b: tg.Tensor) -> None:
    a, b = (np.array(x.detach().numpy()) for x in (a, b))
    assert a.shape == b.shape and a.dtype == b.dtype
    np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("case", [c for c in CASES if c.operands and not c.ours.startswith(DEPENDS_ON_VALUES)],
                         ids=str)
def test_vmap_is_one_call_for_each_example(case: Case) -> None:
    f = ours(case)
    xs = [np.stack([a * (1 - 0.05 * k) if a.dtype.kind in "fc" else a for k in range(N)])
          for a in case.arrays().values()]
    xs = [x.astype(a.dtype) for x, a in zip(xs, case.arrays().values())]
    runs = []

    def counted(*args):
        runs.append(1)
        return f(*args)

    given = [tg.tensor(x, requires_grad=x.dtype.kind in "fc") for x in xs]
    many = tg.vmap(counted)(*given)
    assert len(runs) == 1, "it ran for each example"
    each = [f(*(x[k] for x in given)) for k in range(N)]
    for k, y in enumerate(each):
        close(many[k], y)
    wrt = [x for x in given if x.requires_grad]
    if wrt and case.orders and many.requires_grad:
        v = like(many)
        found = tg.autograd.grad(many, wrt, v, allow_unused=True)
        expected = tg.autograd.grad(list(each), wrt, [v[k] for k in range(N)], allow_unused=True)
        for a, b in zip(found, expected):
            if a is not None and b is not None:
                close(a, b)
            else:
                assert not (a if b is None else b) or not (a if b is None else b).any()


@pytest.mark.parametrize("case", [c for c in CASES if c.orders], ids=str)
def test_forward_mode_is_the_transpose_of_reverse_mode(case: Case) -> None:
    f, arrays = ours(case), case.arrays()
    xs = [tg.tensor(a) for a in arrays.values()]
    wrt = [k for k, x in enumerate(xs) if differentiable(x)]

    def g(*active):
        given = list(xs)
        for k, x in zip(wrt, active):
            given[k] = x
        return f(*given)

    points = tuple(xs[k] for k in wrt)
    tangents = tuple(map(like, points))
    y, pushed = tg.func.jvp(g, points, tangents)
    close(y, f(*xs))
    y, pull = tg.func.vjp(g, *points)
    v = like(y)
    pulled = pull(v)
    pulled = pulled if isinstance(pulled, tuple) else (pulled,)

    def dot(a, b):
        return np.vdot(a.numpy().astype(complex), b.numpy().astype(complex)).real

    forward, reverse = dot(v, pushed), sum(dot(a, t) for a, t in zip(pulled, tangents))
    np.testing.assert_allclose(forward, reverse, rtol=1e-6, atol=1e-7)
