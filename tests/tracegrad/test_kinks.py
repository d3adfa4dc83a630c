"""What a gradient is where there is none: at ties, at corners, at the ends of domains. docs/autograd.md has the table.

Each case has a row there. It is checked eagerly, traced and in forward mode, and against PyTorch where that is
installed: it has the same gradient, or the one that the case says.
"""
from __future__ import annotations

import re
from collections.abc import Callable
from math import inf, nan
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

import tracegrad as tg

try:
    import torch
except ImportError:
    torch = None                    # type: ignore[assignment]

T: Any = tg
"""The library that a case runs in."""

DOCS = Path(__file__).parents[2] / "docs" / "autograd.md"
Points = list[list[float]]


class Case(NamedTuple):
    """`gradients`: one for each point. `torchs`: PyTorch's, where it differs."""

    program: Callable[..., Any]
    points: Points
    gradients: Points
    torchs: Points | None = None


def weighted(x: Any) -> Any:
    return (x * T.tensor([1.0, 2.0, 4.0, 8.0], dtype=T.float64)[:x.shape[0]]).sum()


def values(found: Any) -> Any:
    """Without the places, which PyTorch gives beside."""
    return found[0] if isinstance(found, tuple) else found


def norm(ord: float) -> Callable[..., Any]:
    return lambda x: T.linalg.vector_norm(x, ord=ord)


ROWS: dict[tuple[str, str], list[Case]] = {
    # ties
    ("`maximum`, `minimum`", "a tie"): [
        Case(lambda x, y: T.maximum(x, y) + 2 * T.minimum(x, y), [[1.0, 1.0], [1.0, 2.0]], [[1.5, 2.0], [1.5, 1.0]]),
    ],
    ("`maximum`, `minimum`", "NaN"): [
        Case(lambda x, y: T.maximum(x, y), [[nan, 1.0], [1.0, nan]], [[1, 1], [1, 1]]),
    ],
    ("`fmax`, `fmin`", "a tie"): [
        Case(lambda x, y: T.fmax(x, y), [[1.0, nan], [1.0, 1.0]], [[0.5, 0], [0.5, 1]], [[1, 0], [0, 1]]),
    ],
    ("`max`, `min`", "ties"): [
        Case(lambda x: x.max(), [[3.0, 3.0, 1.0]], [[0.5, 0.5, 0]]),
        Case(lambda x: values(T.max(x, 0)), [[3.0, 3.0, 1.0]], [[0.5, 0.5, 0]], [[1, 0, 0]]),
    ],
    ("`max`, `min`", "NaN"): [
        Case(lambda x: x.max(), [[nan, 3.0, nan]], [[nan, nan, nan]], [[0.5, 0, 0.5]]),
    ],
    ("`sort`, `topk`", "ties"): [
        Case(lambda x: weighted(values(T.sort(x))), [[2.0, 1.0, 1.0]], [[4, 1, 2]]),
        Case(lambda x: T.topk(x, 1)[0], [[2.0, 2.0, 1.0]], [[1, 0, 0]]),
    ],
    ("`cummax`, `cummin`", "ties"): [
        Case(lambda x: weighted(values(T.cummax(x, 0))), [[1.0, 1.0, 2.0, 2.0]], [[1, 2, 4, 8]]),
    ],
    ("`median`, `quantile`", "ties"): [
        Case(lambda x: T.median(x), [[1.0, 1.0, 2.0]], [[0, 1, 0]], [[0.5, 0.5, 0]]),
    ],
    ("`median`, `quantile`", "an even number"): [
        Case(lambda x: T.median(x), [[1.0, 2.0, 3.0, 4.0]], [[0, 0.5, 0.5, 0]], [[0, 1, 0, 0]]),
    ],
    ("`max_pool1d` to `3d`", "ties"): [
        Case(lambda x: T.nn.functional.max_pool1d(x.reshape(1, 1, 4), 2), [[1.0, 1.0, 0.0, 0.0]], [[1, 0, 1, 0]]),
    ],
    # 0
    ("`abs`", "0"): [
        Case(lambda x: T.abs(x), [[0.0, -0.0, 2.0]], [[0, 0, 1]]),
        Case(lambda x: T.abs(T.complex(x, x)), [[0.0]], [[0]]),
    ],
    ("`sign`, `floor`, `ceil`, `trunc`, `round`", "everywhere"): [
        Case(lambda x: T.sign(x) + T.floor(x) + T.ceil(x) + T.trunc(x) + T.round(x), [[0.0, 0.5, 1.0]], [[0, 0, 0]]),
    ],
    ("`remainder`, `fmod`", "whole quotients"): [
        Case(lambda x, y: T.remainder(x, y) + 10 * T.fmod(x, y), [[3.0, 4.0], [3.0, -3.0]], [[11, 11], [-11, 12]]),
    ],
    ("`sqrt`", "0"): [
        Case(lambda x: T.sqrt(x), [[0.0, -1.0]], [[inf, nan]]),
    ],
    ("`linalg.vector_norm`, `matrix_norm`, `std`", "0"): [
        Case(lambda x: T.linalg.vector_norm(x), [[0.0, 0.0]], [[0, 0]]),
        Case(norm(1), [[0.0, 2.0]], [[0, 1]]),
        Case(norm(3), [[0.0, 0.0]], [[0, 0]]),
        Case(norm(0.5), [[0.0, 1.0]], [[0, 1]]),
        Case(lambda x: T.linalg.matrix_norm(x.reshape(2, 2)), [[0.0, 0.0, 0.0, 0.0]], [[0, 0, 0, 0]]),
        Case(lambda x: x.std(), [[3.0, 3.0]], [[0, 0]]),
    ],
    ("`linalg.vector_norm`, `ord=inf`", "ties"): [
        Case(norm(inf), [[1.0, -1.0, 0.5]], [[0.5, -0.5, 0]]),
    ],
    ("`x ** n`", "x = 0"): [
        Case(lambda x: x ** 3 + x ** 2 + 10 * x ** 1 + 100 * x ** 0, [[0.0]], [[10]]),
        Case(lambda x: T.stack([x ** 0.5, x ** -1.0]), [[0.0]], [[nan]]),
    ],
    ("`x ** y`, by y", "x = 0"): [
        Case(lambda x, y: x ** y, [[0.0, 0.0, 0.0], [0.0, 1.0, 0.5]], [[0, 1, inf], [0, 0, 0]]),
        Case(lambda y: 0.0 ** y, [[-1.0]], [[0]], [[-inf]]),
    ],
    ("`x ** y`, by y", "x < 0"): [
        Case(lambda x, y: x ** y, [[-2.0], [2.0]], [[-4], [nan]]),
    ],
    ("`prod`, `cumprod`", "0"): [
        Case(lambda x: x.prod(), [[0.0, 2.0, 3.0]], [[6, 0, 0]]),
        Case(lambda x: x.prod(), [[0.0, 0.0, 3.0]], [[0, 0, 0]]),
        Case(lambda x: T.cumprod(x, 0), [[0.0, 2.0, 0.0]], [[3, 0, 0]]),
    ],
    ("`atan2`, `angle`", "0, 0"): [
        Case(lambda x, y: T.atan2(x, y), [[0.0], [0.0]], [[0], [0]]),
        Case(lambda x, y: T.complex(x, y).angle(), [[0.0], [0.0]], [[0], [0]]),
    ],
    ("`hypot`", "0, 0"): [
        Case(lambda x, y: T.hypot(x, y), [[0.0], [0.0]], [[nan], [nan]]),
    ],
    ("`xlogy`", "0, 0"): [
        Case(lambda x, y: T.xlogy(x, y), [[0.0, 0.0], [0.0, 1.0]], [[0, 0], [0, 0]], [[0, 0], [nan, 0]]),
    ],
    ("`sinc`", "0"): [
        Case(lambda x: T.sinc(x), [[0.0]], [[0]]),
    ],
    # bounds
    ("`clamp`", "a bound"): [
        Case(lambda x: T.clamp(x, -1.0, 1.0), [[-1.0, 1.0, 0.0, 2.0]], [[1, 1, 1, 0]]),
        Case(lambda x, y: T.clamp(x, y, y + 1), [[0.0, 1.0, 2.0], [0.0, 0.0, 0.0]], [[1, 1, 0], [0, 0, 1]]),
    ],
    ("`clamp`", "NaN"): [
        Case(lambda x: T.clamp(x, -1.0, 1.0), [[nan]], [[1]], [[0]]),
    ],
    ("`nan_to_num`", "NaN, inf"): [
        Case(lambda x: T.nan_to_num(x), [[nan, inf, -inf, 1.0]], [[0, 0, 0, 1]]),
    ],
    ("`log`, `acosh`, `atanh`, `asin`, `acos`, `erfinv`", "the end"): [
        Case(lambda x: T.log(x), [[0.0]], [[inf]]),
        Case(lambda x: T.acosh(x) + T.atanh(x) + T.asin(x) + T.erfinv(x), [[1.0]], [[inf]]),
        Case(lambda x: T.acos(x), [[1.0, -1.0]], [[-inf, -inf]]),
    ],
    ("`logsumexp`, `logaddexp`", "all -inf"): [
        Case(lambda x: T.logsumexp(x, 0), [[-inf, -inf]], [[nan, nan]]),
        Case(lambda x, y: T.logaddexp(x, y), [[-inf], [-inf]], [[nan], [nan]]),
    ],
    ("`softmax`", "-inf"): [
        Case(lambda x: T.softmax(x, 0)[1], [[-inf, 0.0, 0.0]], [[0, 0.25, -0.25]]),
    ],
    # branches
    ("`where`", "NaN or inf in the branch not taken"): [
        Case(lambda x: T.where(x > 0, T.sqrt(x), x), [[0.0, -1.0, 4.0]], [[nan, nan, 0.25]]),
        Case(lambda x: T.where(x > 0, T.sqrt(T.where(x > 0, x, 1.0)), x), [[0.0, -1.0, 4.0]], [[1, 1, 0.25]]),
    ],
    # activations and losses
    ("`relu`", "0"): [
        Case(lambda x: T.relu(x), [[0.0, -0.0, 1.0, nan]], [[0, 0, 1, 1]]),
    ],
    ("`leaky_relu`, `prelu`, `selu`", "0"): [
        Case(lambda x: T.nn.functional.leaky_relu(x, 0.25), [[0.0]], [[0.25]]),
        Case(lambda x, y: T.nn.functional.prelu(x, y), [[0.0], [0.25]], [[0.25], [0]]),
        Case(lambda x: T.nn.functional.selu(x), [[0.0]], [[1.7580993408473766]]),
    ],
    ("`elu`, `celu`", "0"): [
        Case(lambda x: T.nn.functional.elu(x) + T.nn.functional.celu(x), [[0.0]], [[2]]),
    ],
    ("`relu6`, `hardtanh`, `hardsigmoid`", "a bound"): [
        Case(lambda x: T.nn.functional.relu6(x), [[0.0, 6.0]], [[0, 0]]),
        Case(lambda x: T.nn.functional.hardtanh(x), [[-1.0, 1.0]], [[0, 0]]),
        Case(lambda x: T.nn.functional.hardsigmoid(x), [[-3.0, 3.0]], [[0, 0]]),
    ],
    ("`hardswish`", "-3, 3"): [
        Case(lambda x: T.nn.functional.hardswish(x), [[-3.0, 3.0]], [[0, 1]]),
    ],
    ("`softshrink`, `hardshrink`, `threshold`", "the threshold"): [
        Case(lambda x: T.nn.functional.softshrink(x, 0.5), [[0.5, -0.5]], [[0, 0]]),
        Case(lambda x: T.nn.functional.hardshrink(x, 0.5), [[0.5, -0.5]], [[0, 0]]),
        Case(lambda x: T.nn.functional.threshold(x, 1.0, 0.0), [[1.0, 2.0]], [[0, 1]]),
    ],
    ("`l1_loss`, `smooth_l1_loss`, `huber_loss`", "equality"): [
        Case(lambda x, y: T.nn.functional.l1_loss(x, y), [[1.0, 2.0], [1.0, 1.0]], [[0, 0.5], [0, -0.5]]),
        Case(lambda x, y: T.nn.functional.smooth_l1_loss(x, y), [[2.0, 1.0], [1.0, 1.0]], [[0.5, 0], [-0.5, 0]]),
        Case(lambda x, y: T.nn.functional.huber_loss(x, y), [[2.0, 1.0], [1.0, 1.0]], [[0.5, 0], [-0.5, 0]]),
    ],
    ("`binary_cross_entropy`", "a logarithm below -100"): [
        Case(lambda x, y: T.nn.functional.binary_cross_entropy(x, y), [[0.0, 0.0], [0.0, 1.0]],
             [[0.5, 0], [50, 50]], [[0, -5e11], [inf, inf]]),
    ],
}
"""By the first two columns of its row: of, at."""

CASES = [(" at ".join(row), case) for row, cases in ROWS.items() for case in cases]


def gradients_of(library: Any, case: Case) -> list[np.ndarray]:
    global T
    xs = [library.tensor(p, dtype=library.float64, requires_grad=True) for p in case.points]
    T = library
    try:
        return [np.array(g.numpy()) for g in library.autograd.grad(case.program(*xs).sum(), xs)]
    finally:
        T = tg


@pytest.mark.parametrize("case", [case for _, case in CASES], ids=[name for name, _ in CASES])
def test_the_gradient_there(case: Case) -> None:
    def gradients(*xs: tg.Tensor) -> Any:
        return tg.func.grad(lambda *xs: case.program(*xs).sum(), argnums=tuple(range(len(xs))))(*xs)

    traced, points = tg.trace(gradients), [tg.tensor(p, dtype=tg.float64) for p in case.points]
    for found in (gradients_of(tg, case), *([g.numpy() for g in traced(*points)] for _ in range(3))):
        for g, expected in zip(found, case.gradients):
            np.testing.assert_allclose(g, expected, 1e-12)
    assert traced.stats.replays
    if torch is not None:
        for g, expected in zip(gradients_of(torch, case), case.gradients if case.torchs is None else case.torchs):
            np.testing.assert_allclose(g, expected, 1e-6)


@pytest.mark.parametrize("case", [case for _, case in CASES], ids=[name for name, _ in CASES])
def test_forward_mode_agrees(case: Case) -> None:
    """Of each input by itself, where nothing is added to a NaN or an inf."""
    points = [tg.tensor(p, dtype=tg.float64) for p in case.points]
    for k, (x, expected) in enumerate(zip(points, case.gradients)):
        for at in range(x.size):
            if not np.isfinite(np.concatenate(case.gradients)).all():
                continue
            direction = tg.zeros_like(x)
            direction[at] = 1.0
            tangents = tuple(direction if j == k else tg.zeros_like(p) for j, p in enumerate(points))
            found = tg.func.jvp(lambda *xs: case.program(*xs).sum(), tuple(points), tangents)[1].item()
            np.testing.assert_allclose(found, expected[at], 1e-12)


def test_every_row_of_the_table_is_checked() -> None:
    section = DOCS.read_text().split("## Where there is no derivative")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (.+?) \| (.+?) \| .+ \|$", section, re.MULTILINE)
    assert {row for row in rows if row[0] != "of"} == set(ROWS)


def test_the_determinant_of_a_singular_matrix() -> None:
    x = tg.tensor([[1.0, 2.0], [2.0, 4.0]], dtype=tg.float64, requires_grad=True)
    with pytest.raises(np.linalg.LinAlgError, match="Singular matrix"):
        tg.linalg.det(x).backward()
