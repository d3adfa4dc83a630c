"""linear: its history leads to the weight, not to the transpose that multiplies, and all else is as if it did not."""
from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import tracegrad as tg
from tracegrad.nn.functional import linear
from tracegrad.recorder import ACTIVE, Recorder

RNG = np.random.default_rng(0)


def leaf(*shape: int, dtype: type = np.float64, requires_grad: bool = True) -> tg.Tensor:
    return tg.tensor(RNG.standard_normal(shape).astype(dtype), requires_grad=requires_grad)


def by_hand(x: tg.Tensor, w: tg.Tensor) -> tg.Tensor:
    return x @ w.T


@pytest.mark.parametrize("shape", [(4, 3), (3,), (2, 4, 3), (0, 3)], ids=str)
@pytest.mark.parametrize(("of_x", "of_w"), [(True, True), (True, False), (False, True)])
def test_gradients_are_those_of_the_product(shape: tuple[int, ...], of_x: bool, of_w: bool) -> None:
    x, w = leaf(*shape, requires_grad=of_x), leaf(5, 3, requires_grad=of_w)
    wrt = [t for t in (x, w) if t.requires_grad]
    g = leaf(*shape[:-1], 5, requires_grad=False)
    found = [tg.autograd.grad(f(x, w), wrt, g) for f in (linear, by_hand)]
    for ours, theirs in zip(*found):
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), 1e-13)


@pytest.mark.parametrize("dtypes", [(np.float32, np.float64), (np.float64, np.float32)])
def test_gradients_have_the_dtypes_of_operands_that_differ(dtypes: tuple[type, type]) -> None:
    x, w = leaf(4, 3, dtype=dtypes[0]), leaf(5, 3, dtype=dtypes[1])
    gradients = tg.autograd.grad(linear(x, w).sum(), [x, w])
    assert [g.dtype for g in gradients] == [*map(np.dtype, dtypes)]
    np.testing.assert_allclose(gradients[1].numpy(), np.broadcast_to(x.detach().numpy().sum(0), (5, 3)), 1e-5)


@pytest.mark.parametrize("f", [linear, lambda x, w: linear(x, w * 2), lambda x, w: tg.trace(linear)(x, w)])
def test_second_derivatives(f: Callable[[tg.Tensor, tg.Tensor], tg.Tensor]) -> None:
    assert tg.autograd.gradcheck(lambda x, w: f(x, w).tanh(), (leaf(4, 3), leaf(5, 3)))
    assert tg.autograd.gradgradcheck(lambda x, w: f(x, w).tanh(), (leaf(2, 3), leaf(2, 3)))


def test_complex_operands() -> None:
    x, w = (tg.tensor(RNG.standard_normal(shape) + 1j * RNG.standard_normal(shape), requires_grad=True)
            for shape in ((4, 3), (5, 3)))
    g = tg.tensor(RNG.standard_normal((4, 5)) + 1j)
    for ours, theirs in zip(*(tg.autograd.grad(f(x, w), [x, w], g) for f in (linear, by_hand))):
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), 1e-13)


def test_backward_transposes_neither_the_weight_nor_its_gradient() -> None:
    x, w, ones = leaf(4, 3), leaf(5, 3), tg.ones(4, 5, dtype=tg.float64)
    recorder = Recorder()
    token = ACTIVE.set(recorder)
    try:
        y = linear(x, w)
        first = len(recorder.ops)
        _, gradient = tg.autograd.grad(y, [x, w], ones)
    finally:
        ACTIVE.reset(token)
    assert sorted(recorded.op for recorded in recorder.ops[first:]) == ["matmul", "matmul", "transpose"]
    assert gradient.array.flags.c_contiguous
    assert [function.variable for function, _ in linear(x, w).grad_fn.next_functions] == [x, w]


def test_a_weight_written_since_is_differentiated_as_it_was() -> None:
    x, w = leaf(4, 3), leaf(5, 3)
    before = w.detach().numpy().copy()
    y = linear(x, w)
    with tg.no_grad():
        w *= 2
    gradient, = tg.autograd.grad(y.sum(), [x])
    np.testing.assert_allclose(gradient.numpy(), np.broadcast_to(before.sum(0), (4, 3)), 1e-13)


def test_what_notes_lines_and_what_packs_values_see_the_product() -> None:
    x, w, packed = leaf(4, 3), leaf(5, 3), list[tuple[int, ...]]()
    with tg.autograd.detect_anomaly():
        tg.autograd.grad(linear(x, w).sum(), [x, w])
    with tg.autograd.saved_tensors_hooks(lambda t: packed.append(t.shape) or t, lambda t: t):
        y = linear(x, w)
    assert packed == [(4, 3), (3, 5)]
    gradient, = tg.autograd.grad(y.sum(), [w])
    np.testing.assert_allclose(gradient.numpy(), np.broadcast_to(x.detach().numpy().sum(0), (5, 3)))
