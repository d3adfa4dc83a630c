"""Derivatives and transforms of tensors on a GPU, on a stand-in of CuPy: those of every call are the CPU's.

Of the calls every ninth by default; with TRACEGRAD_ALL_GPU_CALLS=1 in the environment all of them.
"""
from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import stub_cupy
from call_cases import Case
from device_values import close, leaves, on
from numpy_cases import NUMPY_CASES
from torch_cases import TORCH_CASES

import tracegrad as tg
from codegen import TARGETS

CALLS = [case for case in (*NUMPY_CASES, *TORCH_CASES) if case.orders == 2]
NAMES = {**vars(tg), "F": tg.nn.functional}


@pytest.fixture(autouse=True)
def gpu() -> Iterator[Any]:
    with stub_cupy.installed() as cupy:
        yield cupy


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs for the GPU are compiled for the CPU, and run on the arrays that stand for CuPy's."""
    monkeypatch.setitem(TARGETS, "triton_gpu", stub_cupy.on_numpy(TARGETS["llvm_cpu"]))


# ---- of every call --------------------------------------------------------------------------------------------------


def number_of(result: Any) -> tg.Tensor:
    """A real number that depends on each of the results, in no linear way."""
    parts = [part for part in leaves(result) if isinstance(part, tg.Tensor) and part.dtype.kind in "fc"]
    return sum(((part.abs() ** 2).sum() if part.dtype.kind == "c" else (part * part.cos()).sum() for part in parts),
               start=tg.zeros((), dtype=tg.float64, device=parts[0].device))


def as_function(case: Case, device: str) -> tuple[Callable[..., tg.Tensor], tuple[tg.Tensor, ...]]:
    """The call as a function, to a number, of the operands that are differentiated; and these."""
    operands = {name: tg.tensor(a, device=device) for name, a in case.arrays().items()}
    active = [name for name, x in operands.items() if x.dtype.kind in "fc"]

    def f(*points: tg.Tensor) -> tg.Tensor:
        return number_of(eval(case.ours, {**NAMES, **operands, **dict(zip(active, points))}))
    return f, tuple(operands[name] for name in active)


def twice_backward(f: Callable[..., tg.Tensor], points: tuple[tg.Tensor, ...]) -> list[Any]:
    wrt = [x.requires_grad_() for x in points]
    first = tg.autograd.grad(f(*wrt), wrt, create_graph=True, materialize_grads=True)
    if (number := number_of(first)).requires_grad:
        number.backward()
    return [first, [x.grad for x in wrt if x.grad is not None]]


def examples(points: tuple[tg.Tensor, ...]) -> list[tg.Tensor]:
    return [tg.stack([x, x * 0.95]) for x in points]


DERIVED: dict[str, Callable[[Callable[..., tg.Tensor], tuple[tg.Tensor, ...]], Any]] = {
    "backward twice": twice_backward,
    "jvp": lambda f, points: tg.func.jvp(f, points, tuple(x.cos() for x in points)),
    "hvp": lambda f, points: tg.func.hvp(f, points, tuple(x.cos() for x in points)),
    "vmap": lambda f, points: tg.vmap(f)(*examples(points)),
    "vmap of gradients": lambda f, points: tg.vmap(tg.func.grad(f, tuple(range(len(points)))))(*examples(points)),
}
CHOSEN = CALLS if os.environ.get("TRACEGRAD_ALL_GPU_CALLS") else CALLS[::9]


@pytest.mark.parametrize("case", CHOSEN, ids=str)
def test_derivatives_of_a_call_are_the_cpus(case: Case) -> None:
    for name, derive in DERIVED.items():
        expected = on("cpu", derive(*as_function(case, "cpu")))
        found = on("cuda", derive(*as_function(case, "cuda")))
        assert len(found) == len(expected), name
        close(found, expected)


# ---- of functions ---------------------------------------------------------------------------------------------------


class Square(tg.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: tg.Tensor) -> tg.Tensor:
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx: Any, g: tg.Tensor) -> tg.Tensor:
        x, = ctx.saved_tensors
        return 2 * x * g


TRANSFORMS: dict[str, Any] = {
    "grad": lambda x, w: tg.func.grad(lambda a: (a @ w).tanh().sum())(x),
    "vjp": lambda x, w: tg.func.vjp(lambda a: a @ w, x)[1](x @ w),
    "jvp": lambda x, w: tg.func.jvp(lambda a: (a @ w).tanh(), (x,), (x,)),
    "vmap": lambda x, w: tg.vmap(lambda row: (row @ w).sum())(x),
    "vmap, empty": lambda x, w: tg.vmap(lambda row: (row @ w).sum())(x[:0]),
    "jacrev": lambda x, w: tg.func.jacrev(lambda a: (a @ w).sum(0))(x),
    "jacfwd": lambda x, w: tg.func.jacfwd(lambda a: (a @ w).sum(0))(x),
    "hessian": lambda x, w: tg.func.hessian(lambda a: (a ** 3).sum())(x[0]),
    "hvp": lambda x, w: tg.func.hvp(lambda a: (a ** 3).sum(), (x,), (x,)),
    "Function": lambda x, w: tg.func.grad(lambda a: Square.apply(a).sum())(x),
    "checkpoint": lambda x, w: tg.func.grad(lambda a: tg.checkpoint(lambda b: (b @ w).tanh(), a).sum())(x),
    "an RNN": lambda x, w: tg.func.grad(lambda a: tg.linear_recurrence(a, a, axis=0).sum())(x),
}


@pytest.mark.parametrize("name", TRANSFORMS)
def test_transforms(compiled: None, name: str) -> None:
    function, rng = TRANSFORMS[name], np.random.default_rng(0)
    x, w = rng.normal(size=(4, 3)), rng.normal(size=(3, 2))
    expected = on("cpu", function(tg.tensor(x), tg.tensor(w)))
    traced = tg.trace(function)
    tg.cuda.synchronize()
    for f in (function, traced, traced):
        close(on("cuda", f(tg.tensor(x, device="cuda"), tg.tensor(w, device="cuda"))), expected, 1e-12)
    assert traced.stats.replays == 1


MADE_THERE: list[Callable[[tg.Tensor], tg.Tensor]] = [
    lambda row: tg.ones(2, device="cuda"), lambda row: tg.zeros_like(row), lambda row: tg.arange(3, device="cuda"),
    lambda row: row + tg.tensor([1.0, 2.0, 3.0], device="cuda"), lambda row: row * tg.ones(3, device="cuda").cumsum(0),
    lambda row: tg.arange(3.0, dtype=tg.float64).to("cuda") @ row, lambda row: row * tg.tensor(2.0),
]


@pytest.mark.parametrize("function", MADE_THERE)
def test_what_a_function_of_one_example_makes_is_there_for_all(compiled: None, function: Any) -> None:
    x = tg.arange(6.0, dtype=tg.float64, device="cuda").reshape(2, 3)
    for y in (tg.vmap(function)(x), tg.trace(tg.vmap(function))(x)):
        close(on("cuda", y), on("cuda", tg.stack([function(x[0]), function(x[1])])))


def test_examples_that_go_to_the_cpu_go_one_by_one() -> None:
    calls = []
    x = tg.arange(6.0, device="cuda").reshape(2, 3)
    y = tg.vmap(lambda row: calls.append(1) or row.cpu() * 2)(x)
    assert on("cpu", y)[0].tolist() == [[0.0, 2.0, 4.0], [6.0, 8.0, 10.0]] and len(calls) == 3


def test_gradients_are_checked_there() -> None:
    x = tg.randn(3, dtype=tg.float64, device="cuda", requires_grad=True)
    assert tg.autograd.gradcheck(lambda a: (a * a).tanh(), x, check_forward_ad=True)
    assert tg.autograd.gradgradcheck(lambda a: tg.exp(a) * a, x)
