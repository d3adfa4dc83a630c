"""Padding: every mode against NumPy's, eager and traced, its derivatives, and PyTorch's form of it."""
from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from codegen.ir.type_rules import TypeRuleError

CASES: list[tuple[str, Any, dict[str, Any]]] = [
    (mode, width, {}) for mode in ("constant", "edge", "reflect", "symmetric", "wrap", "linear_ramp", "maximum",
                                   "minimum", "mean")
    for width in (0, 1, (2, 1), ((0, 3), (5, 0)), ((7, 9), (1, 12)))]
CASES += [("constant", 2, {"constant_values": 7}), ("constant", 1, {"constant_values": ((1, 2), (3, 4))}),
          ("linear_ramp", (3, 2), {"end_values": (5, -4)}), ("maximum", 2, {"stat_length": 2}),
          ("mean", 2, {"stat_length": ((1, 2), (3, 99))}), ("reflect", 2, {"reflect_type": "odd"}),
          ("symmetric", 3, {"reflect_type": "odd"})]


@pytest.mark.parametrize("mode,width,options", CASES, ids=str)
def test_modes(mode: str, width: Any, options: dict[str, Any]) -> None:
    x = np.random.default_rng(0).normal(size=(3, 4))
    expected = np.pad(x, width, mode, **options)
    f = tg.trace(lambda x: tg.pad(x, width, mode, **options) * 1.0, strict=True)
    for run in (f.eager, f, f):
        np.testing.assert_allclose(run(tg.tensor(x)).numpy(), expected, atol=1e-12)
    if mode not in ("linear_ramp", "mean"):
        whole = (x * 9).astype(int)
        assert np.array_equal(tg.pad(tg.tensor(whole), width, mode, **options).numpy(),
                              np.pad(whole, width, mode, **options))
    tg.autograd.gradgradcheck(lambda x: tg.pad(x, width, mode, **options), [tg.tensor(x, requires_grad=True)])


def test_widths_and_empty_axes() -> None:
    x = tg.ones(2, 3)
    assert tg.pad(x, {-1: (1, 2)}).shape == (2, 6) and tg.pad(x, ((1, 2),)).shape == (5, 6)
    assert tg.pad(x, 1, mode="empty").shape == (4, 5)
    assert tg.pad(tg.ones(0, 2), ((1, 1), (0, 0))).tolist() == [[0, 0], [0, 0]]
    assert tg.pad(tg.ones(1), 2, mode="reflect").tolist() == np.pad(np.ones(1), 2, mode="reflect").tolist()


@pytest.mark.parametrize("given,error,message", [
    (((1, 1),) * 3, TypeRuleError, "3 pad_width for the 2 axes"), (-1, ValueError, "must not be negative"),
    ((1, 2, 3), ValueError, "neither one number nor a pair")])
def test_wrong_widths(given: Any, error: type, message: str) -> None:
    with pytest.raises(error, match=rf"^test_padding\.py:\d+: pad: .*{message}"):
        tg.pad(tg.ones(2, 3), given)


def test_wrong_modes() -> None:
    with pytest.raises(ValueError, match="there is no mode 'median'"):
        tg.pad(tg.ones(2), 1, mode="median")
    with pytest.raises(TypeError, match="there is no argument end_values"):
        tg.pad(tg.ones(2), 1, mode="edge", end_values=1)
    with pytest.raises(ValueError, match="has nothing to be padded with"):
        tg.pad(tg.ones(0), 1, mode="edge")


@pytest.mark.parametrize("pad,mode,value", [
    ((1, 2), "constant", 3.0), ((1, -1, 0, 2), "constant", None), ((-1, -2), "constant", None),
    ((2, 1, 1, 0), "reflect", None), ((2, 3, 1, 4), "replicate", None), ((3, 1, 2, 0), "circular", None)])
@pytest.mark.peers
def test_the_form_of_pytorch(pad: tuple[int, ...], mode: str, value: float | None) -> None:
    torch = pytest.importorskip("torch")
    x = np.random.default_rng(0).normal(size=(2, 2, 3, 4))
    ours, theirs = tg.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    y, z = tg.nn.functional.pad(ours, pad, mode, value), torch.nn.functional.pad(theirs, pad, mode, value)
    np.testing.assert_allclose(y.detach().numpy(), z.detach().numpy())
    (y * y * y).sum().backward()
    (z * z * z).sum().backward()
    np.testing.assert_allclose(ours.grad.numpy(), theirs.grad.numpy())


def test_refusals_of_the_form_of_pytorch() -> None:
    for pad, mode, value in (((4, 0), "reflect", None), ((5, 0), "circular", None), ((-1, 0), "replicate", None),
                             ((1,), "constant", None), ((0, -5), "constant", None), ((1, 1), "edge", None),
                             ((1, 1), "reflect", 1.0)):
        with pytest.raises(ValueError, match=r"^test_padding\.py:\d+: pad: "):
            tg.nn.functional.pad(tg.ones(1, 4), pad, mode, value)
