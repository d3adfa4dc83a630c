"""What PyTorch's users expect: values, gradients and second gradients of hundreds of calls, eager and traced."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from call_cases import Arrays, Case
from torch_cases import TORCH_CASES

import tracegrad as tg

torch = pytest.importorskip("torch", reason="compares with PyTorch, which is not installed")
pytestmark = pytest.mark.peers

OURS = {**vars(tg), "F": tg.nn.functional}
THEIRS = {**vars(torch), "F": torch.nn.functional, }


def in_torch(call: str) -> str:
    """The call with PyTorch's names for axes."""
    dim = "dims" if call.startswith(("flip(", "roll(")) else "dim"
    return call.replace("axis=", f"{dim}=").replace("keepdims=", "keepdim=")


def weights(shape: Sequence[int], dtype: np.dtype, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    w = rng.normal(size=shape)
    return (w + 1j * rng.normal(size=shape) if dtype.kind == "c" else w).astype(dtype)


def differentiable(array: np.ndarray) -> bool:
    return array.dtype.kind in "fc"


def results(call: Callable[..., Any], make: Callable[[np.ndarray, bool], Any], grad: Callable[..., Any],
            read: Callable[[Any], np.ndarray], arrays: Arrays, orders: int) -> list[np.ndarray | None]:
    """The value, and the gradients of a weighted sum of it, and of one of those, with respect to the operands."""
    operands = {name: make(a, orders > 0 and differentiable(a)) for name, a in arrays.items()}
    value = call(**operands)
    found: list[np.ndarray | None] = [read(value)]
    wrt = [operands[name] for name, a in arrays.items() if differentiable(a)]
    outputs = [value]
    for order in range(orders):
        outputs = [y for y in outputs if y is not None and y.requires_grad]
        if not outputs:
            break
        seeds = [make(weights(read(y).shape, read(y).dtype, 10 * order + k), False) for k, y in enumerate(outputs)]
        outputs = list(grad(outputs, wrt, seeds))
        found += [None if g is None else read(g) for g in outputs]
    return found


def read_ours(t: tg.Tensor) -> np.ndarray:
    return np.array(t.detach().numpy())


def read_theirs(t: Any) -> np.ndarray:
    return np.array(t.detach().numpy(force=True))


def ours(case: Case, call: Callable[..., Any], arrays: Arrays) -> list[np.ndarray | None]:
    return results(
        call, lambda a, wanted: tg.tensor(a, requires_grad=wanted),
        lambda ys, xs, gs: tg.autograd.grad(ys, xs, gs, create_graph=True, allow_unused=True),
        read_ours, arrays, case.orders)


def theirs(case: Case, arrays: Arrays) -> list[np.ndarray | None]:
    return results(
        lambda **operands: eval(in_torch(case.theirs), {**THEIRS, **operands}),
        lambda a, wanted: torch.tensor(a, requires_grad=wanted),
        lambda ys, xs, gs: torch.autograd.grad(ys, xs, gs, create_graph=True, allow_unused=True),
        read_theirs, arrays, case.orders)


def same(found: Sequence[np.ndarray | None], expected: Sequence[np.ndarray | None]) -> None:
    for k in range(max(len(found), len(expected))):
        a, e = (list[k] if k < len(list) else None for list in (found, expected))
        if a is None or e is None:              # no path and zeros are the same
            other = a if e is None else e
            assert other is None or not other.any(), (k, a, e)
        else:
            assert a.shape == e.shape and a.dtype.kind == e.dtype.kind, (k, a.dtype, a.shape, e.dtype, e.shape)
            np.testing.assert_allclose(a, e, rtol=1e-6, atol=1e-8, err_msg=f"result {k}")


@pytest.mark.parametrize("case", TORCH_CASES, ids=str)
def test_value_and_derivatives(case: Case) -> None:
    arrays = case.arrays()
    same(ours(case, lambda **operands: eval(case.ours, {**OURS, **operands}), arrays), theirs(case, arrays))


SHAPE_IN_DATA = ("unique(", "masked_select(", "bincount(", "x[c]", "nonzero(")
"""What gives as many elements as the values say is read by Python, so it runs eagerly."""


@pytest.mark.parametrize("case", TORCH_CASES, ids=str)
def test_traced(case: Case) -> None:
    """The second call replays, and its derivatives are those of the eager call."""
    arrays = case.arrays()
    names = ", ".join(arrays)
    traced = tg.trace(eval(f"lambda {names}: {case.ours}", OURS))

    def call(**operands: tg.Tensor) -> tg.Tensor:
        return traced(*operands.values())

    expected = ours(case, lambda **operands: eval(case.ours, {**OURS, **operands}), arrays)
    for _ in range(2):
        same(ours(case, call, arrays), expected)
    if case.ours.startswith(SHAPE_IN_DATA):
        assert traced.stats.aborts["HOST_READ"]
    else:
        assert traced.stats.replays == 1, traced.explain().aborts
