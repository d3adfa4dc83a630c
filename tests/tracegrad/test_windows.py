"""Windows, convolution and pooling: against loops over NumPy arrays, traced as eager, and (peers) against PyTorch."""
from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from codegen.ir.type_rules import TypeRuleError
from tracegrad.windows import spread, windows

RNG = np.random.default_rng(0)


def drawn(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape)


# ---- windows ----------------------------------------------------------------------------------------------------


def looped(x: np.ndarray, size: int, step: int, dilation: int) -> np.ndarray:
    places = (x.shape[-1] - (size - 1) * dilation - 1) // step + 1
    return np.stack([x[..., i * step:i * step + (size - 1) * dilation + 1:dilation] for i in range(places)], -2)


@pytest.mark.parametrize("size,step,dilation", [
    (3, 1, 1), (2, 2, 1), (2, 2, 2), (1, 3, 1), (3, 2, 2), (4, 5, 1), (8, 1, 1)])
def test_windows_and_their_adjoint(size: int, step: int, dilation: int) -> None:
    x = drawn(2, 8)
    w = windows("f", tg.tensor(x), (1,), (size,), (step,), (dilation,))
    assert np.array_equal(w.numpy().transpose(1, 2, 0), looped(x, size, step, dilation))
    g = drawn(*w.shape)
    back = spread(tg.tensor(g), (1,), (8,), (step,), (dilation,))
    assert np.isclose((back.numpy() * x).sum(), (g * w.numpy()).sum())


def test_windows_are_views_of_what_they_are_windows_of() -> None:
    x = tg.zeros(5)
    w = tg.sliding_window_view(x, 2)
    x[2] = 1.0
    assert w.tolist() == [[0, 0], [0, 1], [1, 0], [0, 0]]
    with pytest.raises(ValueError, match="read-only"):
        w[0, 0] = 1.0


@pytest.mark.parametrize("shape,axis", [(3, 1), ((2, 3), None), ((2, 2), (1, 0)), ((0,), 0)])
def test_sliding_window_view(shape: Any, axis: Any) -> None:
    x = drawn(4, 5)
    expected = np.lib.stride_tricks.sliding_window_view(x, shape, axis)
    assert np.array_equal(tg.sliding_window_view(tg.tensor(x), shape, axis).numpy(), expected)


def test_unfold() -> None:
    assert tg.arange(7).unfold(0, 3, 2).tolist() == [[0, 1, 2], [2, 3, 4], [4, 5, 6]]
    assert tg.tensor(drawn(3, 6, 2)).unfold(-2, 2, 2).shape == (3, 3, 2, 2)


# ---- convolution ------------------------------------------------------------------------------------------------


def looped_conv(x: np.ndarray, w: np.ndarray, stride: int, padding: int, dilation: int, groups: int) -> np.ndarray:
    x = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    out, fan, kh, kw = w.shape
    h, v = ((n - dilation * (k - 1) - 1) // stride + 1 for n, k in zip(x.shape[2:], (kh, kw)))
    y = np.zeros((x.shape[0], out, h, v))
    for o, i, j in product(range(out), range(h), range(v)):
        c = o // (out // groups) * fan
        part = x[:, c:c + fan, i * stride:i * stride + dilation * (kh - 1) + 1:dilation,
                 j * stride:j * stride + dilation * (kw - 1) + 1:dilation]
        y[:, o, i, j] = (part * w[o]).sum((1, 2, 3))
    return y


@pytest.mark.parametrize("stride,padding,dilation,groups", [
    (1, 0, 1, 1), (2, 1, 1, 1), (1, 2, 2, 2), (3, 1, 1, 4), (1, 1, 1, 4)])
def test_conv2d(stride: int, padding: int, dilation: int, groups: int) -> None:
    x, w = drawn(2, 4, 7, 8), drawn(8, 4 // groups, 3, 2)
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    expected = looped_conv(x, w, **options)
    f = tg.trace(lambda x, w: tg.conv2d(x, w, **options), strict=True)
    for conv in (f.eager, f, f):
        np.testing.assert_allclose(conv(tg.tensor(x), tg.tensor(w)).numpy(), expected, atol=1e-9)
    one = tg.conv2d(tg.tensor(x[0]), tg.tensor(w), **options)
    np.testing.assert_allclose(one.numpy(), expected[0], atol=1e-9)


@pytest.mark.parametrize("stride,padding,dilation,groups", [(1, 0, 1, 1), (2, 1, 1, 2), (1, 1, 2, 4), (3, 0, 1, 1)])
def test_conv_transpose2d_is_the_adjoint(stride: int, padding: int, dilation: int, groups: int) -> None:
    options: dict[str, Any] = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    x, w = tg.tensor(drawn(2, 4, 7, 10)), tg.tensor(drawn(8, 4 // groups, 3, 2))
    y = tg.conv2d(x, w, **options)
    g = tg.tensor(drawn(*y.shape))
    places = [(n - 1) * stride - 2 * padding + dilation * (k - 1) + 1 for n, k in zip(y.shape[2:], (3, 2))]
    more = tuple(n - k for n, k in zip((7, 10), places))
    back = tg.conv_transpose2d(g, w, output_padding=more, **options)
    assert back.shape == x.shape
    assert np.isclose((back * x).sum().item(), (g * y).sum().item())


def test_same_padding_and_bias() -> None:
    x, w, b = tg.tensor(drawn(1, 2, 6)), tg.tensor(drawn(3, 2, 4)), tg.tensor(drawn(3))
    y = tg.conv1d(x, w, b, padding="same")
    assert y.shape == (1, 3, 6)
    wide = tg.conv1d(x, w, padding=2)
    np.testing.assert_allclose(y.numpy(), (wide[:, :, 1:] + b.reshape(3, 1)).numpy())


@pytest.mark.parametrize("call,error,message", [
    (lambda: tg.conv2d(tg.ones(1, 3, 5, 5), tg.ones(4, 2, 3, 3)), TypeRuleError, "has 3 channels; weight"),
    (lambda: tg.conv2d(tg.ones(1, 2, 5, 5), tg.ones(4, 2, 7, 3)), TypeRuleError, "do not fit into axis 2"),
    (lambda: tg.conv2d(tg.ones(5, 5), tg.ones(4, 2, 3, 3)), TypeRuleError, "must have 3 or 4 axes"),
    (lambda: tg.conv2d(tg.ones(1, 2, 5, 5), tg.ones(4, 2, 3, 3), stride=2, padding="same"), ValueError, "stride 1"),
    (lambda: tg.conv1d(tg.ones(1, 2, 5), tg.ones(4, 2, 3), stride=0), ValueError, "at least 1"),
    (lambda: tg.conv_transpose1d(tg.ones(1, 2, 5), tg.ones(2, 4, 3), output_padding=1), ValueError, "not smaller"),
    (lambda: tg.max_pool2d(tg.ones(1, 2, 5, 5), 2, padding=2), ValueError, "more than half"),
    (lambda: tg.max_pool2d(tg.ones(1, 2, 5, 5), 7), TypeRuleError, "do not fit"),
    (lambda: tg.avg_pool1d(tg.ones(5), 2), TypeRuleError, "must have 2 or 3 axes"),
])
def test_errors_name_the_function_and_the_line(call: Callable, error: type, message: str) -> None:
    with pytest.raises(error, match=rf"^test_windows\.py:\d+: \w+: .*{message}"):
        call()


# ---- pooling ----------------------------------------------------------------------------------------------------


def test_max_pool_gives_ties_to_the_first() -> None:
    x = tg.zeros(1, 1, 4, 4, requires_grad=True)
    for y in (tg.max_pool2d(x, 2), tg.max_pool2d(x, 2, stride=1)):
        g, = tg.autograd.grad(y.sum(), [x])
        expected = np.kron(np.ones((2, 2)), [[1, 0], [0, 0]]) if y.shape[-1] == 2 else np.pad(np.ones((3, 3)), (0, 1))
        assert np.array_equal(g[0, 0].numpy(), expected)


def test_max_pool_of_nan_and_integers() -> None:
    x = tg.tensor([[1.0, float("nan"), 3.0, 4.0]], requires_grad=True)
    assert str(tg.max_pool1d(x, 2).tolist()) == "[[nan, 4.0]]"
    assert tg.max_pool1d(tg.tensor([[-5, -7, 3]]), 2, stride=1, padding=1).tolist() == [[-5, -5, 3, 3]]


def test_pooling_is_traced() -> None:
    def loss(x: tg.Tensor) -> tg.Tensor:
        a, b = tg.max_pool2d(x, 3, stride=2, padding=1), tg.avg_pool2d(x, 2, stride=2, padding=1, ceil_mode=True)
        return (a * a).sum() + (b * b * b).sum() + (tg.adaptive_avg_pool2d(x, (2, 3)) * a[:, :, :2, :3]).sum()

    x = tg.tensor(drawn(2, 3, 7, 8), requires_grad=True)
    f = tg.trace(loss, strict=True)
    expected, = tg.autograd.grad(loss(x), [x])
    for _ in range(3):
        y = f(x)
        g, = tg.autograd.grad(y, [x])
        np.testing.assert_allclose(y.item(), loss(x).item())
        np.testing.assert_allclose(g.numpy(), expected.numpy(), atol=1e-9)


# ---- PyTorch ----------------------------------------------------------------------------------------------------

CONVS = [(name, options) for name in ("conv2d", "conv_transpose2d") for options in (
    {}, {"stride": 2, "padding": 1}, {"padding": (1, 2), "dilation": 2}, {"groups": 2, "stride": (2, 1)},
    {"groups": 4, "padding": 1}, {"dilation": (1, 2), "groups": 4, "stride": 3})]
CONVS += [("conv2d", {"padding": "same"}), ("conv2d", {"padding": "valid"}),
          ("conv_transpose2d", {"stride": 2, "output_padding": (1, 0)})]
POOLS = [(name, {"kernel_size": size, **options})
         for name in ("max_pool2d", "avg_pool2d") for size in (2, (3, 2)) for options in (
             {}, {"stride": 1}, {"padding": 1, "stride": 2}, {"ceil_mode": True, "padding": 1},
             {"ceil_mode": True, "stride": 3})]
POOLS += [("max_pool2d", {"kernel_size": 2, "dilation": 2, "stride": 1}),
          ("avg_pool2d", {"kernel_size": 3, "padding": 1, "count_include_pad": False}),
          ("avg_pool2d", {"kernel_size": 2, "divisor_override": 3})]
POOLS += [("lp_pool2d", {"norm_type": norm, "kernel_size": 2, "ceil_mode": norm == 4}) for norm in (2, 4)]
POOLS += [(f"adaptive_{kind}_pool2d", {"output_size": size})
          for kind in ("avg", "max") for size in (1, (2, 4), (3, 5), (None, 2))]


def same_to_second_order(name: str, options: dict[str, Any], *arrays: np.ndarray) -> None:
    """Value, gradient and gradient of the gradient are PyTorch's."""
    torch = pytest.importorskip("torch")

    def derivatives(library: Any, f: Callable, tensors: list[Any]) -> list[Any]:
        y = f(*tensors, **options)
        first = library.autograd.grad((y * y * y).sum(), tensors, create_graph=True)
        second = library.autograd.grad(sum((g * g).sum() for g in first), tensors)
        return [x.detach().numpy() for x in (y, *first, *second)]

    ours = derivatives(tg, getattr(tg.nn.functional, name), [tg.tensor(a, requires_grad=True) for a in arrays])
    theirs = derivatives(torch, getattr(torch.nn.functional, name),
                         [torch.tensor(a, requires_grad=True) for a in arrays])
    for mine, other in zip(ours, theirs):
        np.testing.assert_allclose(mine, other, rtol=1e-8, atol=1e-7)


@pytest.mark.peers
@pytest.mark.parametrize("name,options", CONVS, ids=str)
@pytest.mark.filterwarnings("ignore:Using padding")
def test_convolution_is_that_of_pytorch(name: str, options: dict[str, Any]) -> None:
    groups = options.get("groups", 1)
    shape = (8, 4 // groups, 3, 2) if name == "conv2d" else (4, 8 // groups, 3, 2)
    same_to_second_order(name, options, drawn(2, 4, 7, 8), drawn(*shape), drawn(8))


@pytest.mark.peers
@pytest.mark.parametrize("name,options", POOLS, ids=str)
def test_pooling_is_that_of_pytorch(name: str, options: dict[str, Any]) -> None:
    x = drawn(2, 3, 7, 8)
    same_to_second_order(name, options, x if name == "lp_pool2d" else x.round())


@pytest.mark.peers
def test_places_of_the_largest_are_those_of_pytorch() -> None:
    torch = pytest.importorskip("torch")
    x = drawn(2, 3, 7, 8).round()
    for options in ({"kernel_size": 2}, {"kernel_size": 3, "padding": 1, "stride": 2, "dilation": 2}):
        _, mine = tg.max_pool2d(tg.tensor(x), return_indices=True, **options)
        _, other = torch.nn.functional.max_pool2d(torch.tensor(x), return_indices=True, **options)
        assert np.array_equal(mine.numpy(), other.numpy())


@pytest.mark.parametrize("dtype", [tg.float32, tg.float64, tg.int32, tg.bool])
@pytest.mark.parametrize("step", [2, 3, 4, 5])
def test_elements_a_few_apart_are_read_as_they_are(step: int, dtype: Any) -> None:
    x = tg.tensor(RNG.integers(0, 9, (5, 301))).astype(dtype)
    f = tg.trace(lambda x: (x[:, ::step] == x[:, step - 1::step][:, :1]) & (x[:, 0::step] != x[0, 0]), strict=True)
    for _ in range(2):
        assert np.array_equal(f(x).numpy(), f.eager(x).numpy())


def test_a_stencil_reads_beyond_no_edge() -> None:
    x = tg.tensor(drawn(2, 3, 20, 70).astype(np.float32), requires_grad=True)
    w = tg.tensor(drawn(4, 3, 3, 3).astype(np.float32), requires_grad=True)
    options = {"padding": 2, "dilation": 2}
    f = tg.trace(lambda x, w: tg.max_pool2d(tg.conv2d(x, w, **options), 3, stride=2, padding=1), strict=True)
    expected = tg.autograd.grad((f.eager(x, w) ** 2).sum(), [x, w])
    for _ in range(2):
        for mine, other in zip(tg.autograd.grad((f(x, w) ** 2).sum(), [x, w]), expected):
            np.testing.assert_allclose(mine.numpy(), other.numpy(), rtol=1e-3, atol=1e-3)
