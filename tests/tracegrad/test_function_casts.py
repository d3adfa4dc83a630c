"""custom_fwd and custom_bwd: what forward is given, and whether autocast is on in it and in backward; PyTorch's too."""
from __future__ import annotations

from collections.abc import Callable
from itertools import product
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import tracegrad as tg


def product_of(module: Any, cast_inputs: Any, note: Callable[..., object], device_type: str = "cpu") -> Any:
    """A custom product in tracegrad or PyTorch, which notes what it is given."""
    class Product(module.autograd.Function):
        @staticmethod
        @module.amp.custom_fwd(device_type=device_type, cast_inputs=cast_inputs)
        def forward(ctx: Any, x: Any, y: Any, scale: float) -> Any:
            note(x, y)
            ctx.save_for_backward(x, y)
            ctx.scale = scale
            return x @ y * scale

        @staticmethod
        @module.amp.custom_bwd(device_type=device_type)
        def backward(ctx: Any, g: Any) -> Any:
            x, y = ctx.saved_tensors
            note(g)
            return g.to(x.dtype) @ y.T * ctx.scale, x.T @ g.to(x.dtype) * ctx.scale, None
    return Product


def told(module: ModuleType, width: str, cast: str | None, enabled: bool, device_type: str) -> list[str]:
    """All that is seen of a call and its derivative."""
    x = module.ones(3, 4, dtype=getattr(module, width), requires_grad=True)
    y = module.ones(4, 5, dtype=getattr(module, width), requires_grad=True)
    seen: list[str] = []

    def note(*tensors: Any) -> None:
        seen.extend(str(t.dtype).removeprefix("torch.") for t in tensors)
        seen.append(str(module.is_autocast_enabled("cpu")))

    made = product_of(module, cast and getattr(module, cast), note, device_type)
    with module.autocast("cpu", dtype=module.bfloat16, enabled=enabled):
        z = made.apply(x, y, 2.0)
    z.sum().backward()
    seen += [str(t.dtype).removeprefix("torch.") for t in (z, x.grad, y.grad)]
    return [*seen, str(float(x.grad.sum()))]


CASES = list(product(("float32", "bfloat16", "float64"), (None, "float32", "bfloat16"), (False, True), ("cpu", "cuda")))


@pytest.mark.parametrize(("width", "cast", "enabled", "device_type"), CASES)
def test_it_is_as_in_pytorch(width: str, cast: str | None, enabled: bool, device_type: str) -> None:
    torch = pytest.importorskip("torch")
    assert told(tg, width, cast, enabled, device_type) == told(torch, width, cast, enabled, device_type)


@pytest.mark.parametrize("cast", [None, tg.float32])
def test_a_traced_call_is_as_an_eager_one(cast: Any) -> None:
    made, rng = product_of(tg, cast, lambda *tensors: None), np.random.default_rng(0)

    def f(x: tg.Tensor, y: tg.Tensor) -> tuple[tg.Tensor, ...]:
        with tg.autocast("cpu"):
            z = made.apply(x, y, 2.0)
        return (z, *tg.autograd.grad(z.sum(), (x, y)))

    traced = tg.trace(f)
    for _ in range(4):
        x, y = (tg.tensor(rng.normal(size=shape), dtype=tg.float32, requires_grad=True) for shape in ((3, 4), (4, 5)))
        for found, expected in zip(traced(x, y), f(x, y), strict=True):
            assert found.dtype == expected.dtype
            np.testing.assert_allclose(found.float().tolist(), expected.float().tolist(), 1e-2)
    assert traced.stats.replays == 3


def test_misuse_is_told() -> None:
    with pytest.raises(ValueError, match=r"test_function_casts.py:\d+: custom_fwd: 'xpu' is no type of device"):
        tg.amp.custom_fwd(device_type="xpu")
    with pytest.raises(ValueError, match=r"custom_bwd: None is no type of device"):
        tg.amp.custom_bwd(device_type=None)

    class Square(tg.autograd.Function):
        @staticmethod
        @tg.amp.custom_fwd(device_type="cpu")
        def forward(x: tg.Tensor) -> tg.Tensor:
            return x * x

        @staticmethod
        def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
            pass

    with pytest.raises(TypeError, match=r"casts.py:\d+: custom_fwd decorates a forward that is given ctx"):
        Square.apply(tg.ones(3))
