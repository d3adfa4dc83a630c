"""Order, writes at indices and manipulation: value, gradient and second gradient are PyTorch's."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tracegrad.autograd import grad

X = (np.random.default_rng(0).permutation(24) * 0.37 - 4.1).reshape(2, 3, 4)
ZEROS = np.array([[1.5, 0.0, -2.0, 0.5], [0.0, 3.0, 0.0, 1.0]])
PLACES = np.array([[[0, 2, 1, 1], [2, 0, 0, 1]]])
SQUARE = X.reshape(4, 6)[:, :4]


def updates(x: Any) -> Any:
    return x[:1, 1:] * 1.5 + 1


Case = tuple[Callable[[Any], Any], Callable[[Any, Any], Any], np.ndarray]

CASES: dict[str, Case] = {
    "sort": (lambda x: tg.sort(x, 1), lambda t, x: t.sort(x, 1).values, X),
    "sort-descending": (lambda x: tg.sort(x, descending=True), lambda t, x: t.sort(x, descending=True).values, X),
    "topk": (lambda x: tg.topk(x, 3).values, lambda t, x: t.topk(x, 3).values, X),
    "topk-places": (lambda x: tg.topk(x, 2, axis=1, largest=False).indices,
                    lambda t, x: t.topk(x, 2, dim=1, largest=False).indices, X),
    "kthvalue": (lambda x: tg.kthvalue(x, 2).values, lambda t, x: t.kthvalue(x, 2).values, X),
    "mode": (lambda x: tg.mode(x.long()), lambda t, x: tuple(t.mode(x.long())), X),
    "cummax": (lambda x: tg.cummax(x, 1).values, lambda t, x: t.cummax(x, 1).values, X),
    "cummin-places": (lambda x: tg.cummin(x, 2), lambda t, x: tuple(t.cummin(x, 2)), np.round(X)),
    "cumsum": (lambda x: tg.cumsum(x, 1), lambda t, x: t.cumsum(x, 1), X),
    "cumprod": (lambda x: tg.cumprod(x, 1), lambda t, x: t.cumprod(x, 1), X),
    "cumprod-zeros": (lambda x: tg.cumprod(x, 1), lambda t, x: t.cumprod(x, 1), ZEROS[:1]),
    "prod": (lambda x: tg.prod(x, 1), lambda t, x: t.prod(x, 1), X),
    "prod-zeros": (lambda x: tg.prod(x, 1), lambda t, x: t.prod(x, 1), ZEROS),
    "logcumsumexp": (lambda x: tg.logcumsumexp(x, 1), lambda t, x: t.logcumsumexp(x, 1), X),
    "diff": (lambda x: tg.diff(x, 2, axis=1), lambda t, x: t.diff(x, 2, dim=1), X),
    "trapezoid": (lambda x: tg.trapezoid(x, dx=0.3), lambda t, x: t.trapezoid(x, dx=0.3), X),
    "quantile": (lambda x: tg.quantile(x, 0.3, axis=1), lambda t, x: t.quantile(x, 0.3, dim=1), X),
    "nanquantile": (lambda x: tg.nanquantile(x, 0.6), lambda t, x: t.nanquantile(x, 0.6), X),
    "nanmean": (lambda x: tg.nanmean(x, 1), lambda t, x: t.nanmean(x, 1), X),
    "cov": (lambda x: tg.cov(x), lambda t, x: t.cov(x), SQUARE),
    "corrcoef": (lambda x: tg.corrcoef(x), lambda t, x: t.corrcoef(x), SQUARE[:2]),
    **{f"norm-{p}": (lambda x, p=p: tg.norm(x, p, axis=1), lambda t, x, p=p: t.linalg.vector_norm(x, p, dim=1), X)
       for p in (1, 2, 3, float("inf"))},
    "scatter": (lambda x: tg.scatter(x, 1, tg.tensor([[[0, 2, 1, 1]]]), x[:1, 2:] ** 2),
                lambda t, x: t.scatter(x, 1, t.tensor([[[0, 2, 1, 1]]]), x[:1, 2:] ** 2), X),
    "scatter_add": (lambda x: tg.scatter_add(x, 1, tg.tensor(PLACES.tolist()), x[:1, 1:] ** 2),
                    lambda t, x: t.scatter_add(x, 1, t.tensor(PLACES), x[:1, 1:] ** 2), X),
    **{f"scatter_reduce-{reduce}-{own}": (
        lambda x, r=reduce, s=own: tg.scatter_reduce(x, 1, tg.tensor(PLACES.tolist()), updates(x), r, include_self=s),
        lambda t, x, r=reduce, s=own: t.scatter_reduce(x, 1, t.tensor(PLACES), updates(x), r, include_self=s), X)
       for reduce in ("sum", "mean", "prod", "amax", "amin") for own in (True, False)},
    "gather": (lambda x: tg.gather(x, 1, tg.tensor(PLACES.tolist())), lambda t, x: t.gather(x, 1, t.tensor(PLACES)), X),
    "index_add": (lambda x: tg.index_add(x, 1, tg.tensor([0, 0]), x[:, 1:] ** 2, alpha=2),
                  lambda t, x: t.index_add(x, 1, t.tensor([0, 0]), x[:, 1:] ** 2, alpha=2), X),
    "index_copy": (lambda x: tg.index_copy(x, 1, tg.tensor([2, 0]), x[:, 1:] ** 2),
                   lambda t, x: t.index_copy(x, 1, t.tensor([2, 0]), x[:, 1:] ** 2), X),
    "index_fill": (lambda x: tg.index_fill(x, 2, tg.tensor([3]), 2.0),
                   lambda t, x: t.index_fill(x, 2, t.tensor([3]), 2.0), X),
    "masked_fill": (lambda x: tg.masked_fill(x, x > 0.1, 3.0), lambda t, x: t.masked_fill(x, x > 0.1, 3.0), X),
    "masked_select": (lambda x: tg.masked_select(x, x > 0.1), lambda t, x: t.masked_select(x, x > 0.1), X),
    "searchsorted": (lambda x: tg.searchsorted(tg.sort(x), x, right=True),
                     lambda t, x: t.searchsorted(t.sort(x).values, x, right=True), X),
    "bucketize": (lambda x: tg.bucketize(x, tg.tensor([-2.0, 0.0, 1.0], tg.float64)),
                  lambda t, x: t.bucketize(x, t.tensor([-2.0, 0.0, 1.0], dtype=t.float64)), X),
    "histc": (lambda x: tg.histc(x, 5), lambda t, x: t.histc(x, 5), X),
    "diag_embed": (lambda x: tg.diag_embed(x, -1), lambda t, x: t.diag_embed(x, -1), X),
    "diagonal": (lambda x: tg.diagonal(x, 1, 1, 2), lambda t, x: t.diagonal(x, 1, 1, 2), X),
    "tril": (lambda x: tg.tril(x, -1), lambda t, x: t.tril(x, -1), X),
    "roll": (lambda x: tg.roll(x, (1, -1), (0, 2)), lambda t, x: t.roll(x, (1, -1), (0, 2)), X),
    "split": (lambda x: tg.split(x, 3, axis=2), lambda t, x: t.split(x, 3, dim=2), X),
    "chunk": (lambda x: tg.chunk(x, 3, axis=2), lambda t, x: t.chunk(x, 3, dim=2), X),
    "tensor_split": (lambda x: tg.tensor_split(x, 3, axis=2), lambda t, x: t.tensor_split(x, 3, dim=2), X),
    "repeat_interleave": (lambda x: tg.repeat_interleave(x, 2, axis=1),
                          lambda t, x: t.repeat_interleave(x, 2, dim=1), X),
    "tile": (lambda x: tg.tile(x, 2, 1), lambda t, x: t.tile(x, (2, 1)), X),
    "rot90": (lambda x: tg.rot90(x, 1, (1, 2)), lambda t, x: t.rot90(x, 1, (1, 2)), X),
    "dstack": (lambda x: tg.dstack([x[0], x[1]]), lambda t, x: t.dstack([x[0], x[1]]), X),
}


def parts(result: Any) -> list[Any]:
    return list(result) if isinstance(result, tuple | list) else [result]


@pytest.mark.peers
@pytest.mark.parametrize("name", CASES)
def test_torch(name: str) -> None:
    torch = pytest.importorskip("torch")
    ours, theirs, x = CASES[name]
    for k, _ in enumerate(parts(ours(tg.tensor(x)))):
        a, b = tg.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
        y, z = parts(ours(a))[k], parts(theirs(torch, b))[k]
        for _ in range(3):
            np.testing.assert_allclose(y.detach().numpy(), z.detach().numpy(force=True), 1e-9, 1e-11)
            if not y.requires_grad or not z.requires_grad:
                break
            weights = np.random.default_rng(1).normal(size=y.shape)         # so that no two elements count alike
            y, = grad((y * tg.tensor(weights)).sum(), [a], create_graph=True)
            z, = torch.autograd.grad((z * torch.tensor(weights)).sum(), [b], create_graph=True)


@pytest.mark.peers
def test_torch_order_of_nans() -> None:
    torch = pytest.importorskip("torch")
    x = [2.0, float("nan"), 1.0, float("nan")]
    ours, theirs = tg.tensor(x), torch.tensor(x)
    for descending in (False, True):
        np.testing.assert_array_equal(tg.sort(ours, descending=descending).numpy(),
                                      torch.sort(theirs, descending=descending).values.numpy())
    for name in ("cummax", "cummin"):
        for a, b in zip(getattr(tg, name)(ours, 0), getattr(torch, name)(theirs, 0), strict=True):
            np.testing.assert_array_equal(a.numpy(), b.numpy())
