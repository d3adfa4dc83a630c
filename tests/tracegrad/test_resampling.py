"""Resampling: against what it means, traced as eager, and (peers) against PyTorch."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
import tracegrad.nn.functional as F
from codegen.ir.type_rules import TypeRuleError

CASES: list[tuple[str, tuple[int, ...], dict[str, Any]]] = [
    ("interpolate", (2, 3, 4, 5), {"size": (7, 3), "mode": mode, **options})
    for mode, options in (("nearest", {}), ("nearest-exact", {}), ("bilinear", {}), ("area", {}),
                          ("bilinear", {"align_corners": True}))]
CASES += [("interpolate", (2, 3, 4, 5), {"scale_factor": factor, "mode": mode})
          for factor in (2, 0.5, (1.5, 2.3)) for mode in ("nearest", "bilinear")]
CASES += [("interpolate", (1, 2, 5), {"size": 8, "mode": "linear"}),
          ("interpolate", (1, 2, 2, 3, 4), {"size": (3, 3, 1), "mode": "trilinear", "align_corners": True}),
          ("interpolate", (1, 2, 7), {"scale_factor": 1.6, "mode": "linear", "recompute_scale_factor": True}),
          ("pixel_shuffle", (2, 8, 3, 2), {"upscale_factor": 2}),
          ("pixel_unshuffle", (8, 6, 4), {"downscale_factor": 2}),
          ("unfold", (2, 3, 6, 7), {"kernel_size": (3, 2), "padding": 1, "stride": 2, "dilation": (1, 2)}),
          ("fold", (2, 12, 20), {"output_size": (5, 6), "kernel_size": 2}),
          ("fold", (2, 12, 12), {"output_size": (6, 8), "kernel_size": 2, "stride": 2}),
          ("fold", (2, 12, 12), {"output_size": (6, 7), "kernel_size": (3, 2), "padding": 1, "stride": 2,
                                 "dilation": (1, 2)})]


@pytest.mark.parametrize("name,shape,options", CASES, ids=str)
def test_traced_as_eager_and_differentiated(name: str, shape: tuple[int, ...], options: dict[str, Any]) -> None:
    x = tg.tensor(np.random.default_rng(0).normal(size=shape), requires_grad=True)
    function = getattr(F, name)     # a name computed in the traced function would have it watch all that is in reach
    f = tg.trace(lambda x: function(x, **options) * 1.0, strict=True)
    expected = function(x, **options).detach().numpy()
    for _ in range(2):
        np.testing.assert_allclose(f(x.detach()).numpy(), expected, atol=1e-12)
    tg.autograd.gradcheck(lambda x: function(x, **options), [x])


@pytest.mark.peers
@pytest.mark.parametrize("name,shape,options", CASES, ids=str)
def test_the_function_of_pytorch(name: str, shape: tuple[int, ...], options: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    for dtype, exact in (("float64", 1e-9), ("float32", 1e-5)):
        x = np.random.default_rng(0).normal(size=shape).astype(dtype)
        ours, theirs = tg.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
        y, z = getattr(F, name)(ours, **options), getattr(torch.nn.functional, name)(theirs, **options)
        np.testing.assert_allclose(y.detach().numpy(), z.detach().numpy(), atol=exact)
        (y * y).sum().backward()
        (z * z).sum().backward()
        np.testing.assert_allclose(ours.grad.numpy(), theirs.grad.numpy(), atol=exact * 10)


def test_what_is_shuffled_is_unshuffled_and_folded_what_is_unfolded() -> None:
    x = tg.tensor(np.random.default_rng(0).normal(size=(2, 8, 4, 6)))
    assert np.array_equal(F.pixel_unshuffle(F.pixel_shuffle(x, 2), 2).numpy(), x.numpy())
    assert np.array_equal(F.fold(F.unfold(x, 2, stride=2), (4, 6), 2, stride=2).numpy(), x.numpy())


@pytest.mark.parametrize("call,error", [
    (lambda: F.interpolate(tg.ones(1, 2, 3), size=2, mode="bilinear"), TypeRuleError),
    (lambda: F.interpolate(tg.ones(1, 2, 3)), ValueError),
    (lambda: F.interpolate(tg.ones(1, 2, 3), size=2, mode="cubic"), ValueError),
    (lambda: F.interpolate(tg.ones(1, 2, 3), size=2, align_corners=True), ValueError),
    (lambda: F.pixel_shuffle(tg.ones(1, 6, 3, 3), 2), TypeRuleError),
    (lambda: F.pixel_unshuffle(tg.ones(1, 6, 3, 3), 2), TypeRuleError),
    (lambda: F.unfold(tg.ones(6, 3, 3), 2), TypeRuleError),
    (lambda: F.fold(tg.ones(1, 6, 5), 3, 2), TypeRuleError),
])
def test_errors(call: Callable, error: type) -> None:
    with pytest.raises(error, match=r"^test_resampling\.py:\d+: \w+: "):
        call()
