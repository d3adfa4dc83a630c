"""Under autocast every function gives the dtype that PyTorch's CUDA rules give, and products PyTorch's numbers.

PyTorch's dtypes are those of tensors without memory that say they are on a GPU, so no GPU is needed.
"""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from call_cases import Case
from layer_cases import ACTIVATIONS, CONVOLUTIONS, LAYERS, LOSSES
from layer_cases import Case as LayerCase
from torch_cases import TORCH_CASES

import tracegrad as tg

torch = pytest.importorskip("torch", reason="compares with PyTorch, which is not installed")
fake = pytest.importorskip("torch._subclasses.fake_tensor", reason="this PyTorch has no tensors without memory")
pytestmark = pytest.mark.peers

OURS = {**vars(tg), "F": tg.nn.functional}
THEIRS = {**vars(torch), "F": torch.nn.functional}

WE_DIFFER = {
    "1 / x": "a quotient, not a reciprocal and a product",
    "trapezoid(x)": "no division by a reciprocal in float32",
    "ldexp(x, y)": "exp2 of the default dtype",
    "linalg.cross(x, y)": "promotion, not the dtype of the first operand",
    **dict.fromkeys((
        "linalg.cholesky(x)", "linalg.det(x)", "linalg.solve(x, y)", "linalg.solve_triangular(x, y, upper=False)",
        "linalg.qr(x)[0]", "linalg.qr(x)[1]", "linalg.svdvals(x)", "linalg.eigvalsh(x)", "linalg.eigh(x)[0]",
        "linalg.matrix_exp(x)", "linalg.expm(x)", "cholesky_solve(x, tril(y))"),
        "float32, as PyTorch's rules for the CPU: on a GPU it refuses 16 bits"),
}
"""Calls whose dtype is another on purpose, and why."""

ON_THE_CPU_ONLY = ("F.pad", "F.max_pool3d", "inner", "tensordot", "linalg.pinv", "linalg.trace")
"""What PyTorch casts on the CPU for want of kernels, and not on a GPU."""

WIDTHS: dict[str, Callable[[int], str]] = {
    "float32": lambda k: "float32", "bfloat16": lambda k: "bfloat16",
    "mixed": lambda k: "float32" if k else "bfloat16"}
"""The dtype of the operand number k."""


def kinds(value: Any) -> Any:
    """The dtypes of what a call gave."""
    if isinstance(value, tuple | list):
        return [kinds(part) for part in value]
    return str(getattr(value, "dtype", type(value).__name__)).removeprefix("torch.")


def in_torch(call: str) -> str:
    dim = "dims" if call.startswith(("flip(", "roll(")) else "dim"
    return call.replace("axis=", f"{dim}=").replace("keepdims=", "keepdim=")


def their_kinds(call: Callable[[Callable[[np.ndarray, str | None], Any]], Any]) -> Any:
    """The dtypes that a call gives in PyTorch under CUDA's autocast; skips where it needs numbers or a GPU."""
    def make(array: np.ndarray, dtype: str | None) -> Any:
        return torch.zeros(array.shape, dtype=getattr(torch, dtype or str(array.dtype)), device="cuda")

    with fake.FakeTensorMode():
        torch.set_autocast_dtype("cuda", torch.bfloat16)
        torch.set_autocast_enabled("cuda", True)
        try:
            return kinds(call(make))
        except Exception as error:          # noqa: BLE001 - of many kinds
            pytest.skip(f"PyTorch needs a GPU or numbers for it: {str(error)[:60]}")
        finally:
            torch.set_autocast_enabled("cuda", False)


@pytest.mark.parametrize("width", WIDTHS)
def test_dtypes_of_calls(width: str) -> None:
    """One test for all calls of one width: pytest takes longer for a test than the call does."""
    wrong, compared = [], 0
    for case in TORCH_CASES:
        if case.ours in WE_DIFFER:
            continue
        try:
            expected = their_kinds(lambda make, case=case: eval(in_torch(case.theirs), {**THEIRS, **operands(
                case, width, make)}))
        except pytest.skip.Exception:
            continue
        with tg.autocast("bfloat16"):
            found = kinds(eval(case.ours, {**OURS, **operands(case, width, ours)}))
        compared += 1
        if found != expected:
            wrong.append((str(case), found, expected))
    assert not wrong and compared > 350


def operands(case: Case, width: str, make: Callable[[np.ndarray, str | None], Any]) -> dict[str, Any]:
    return {name: make(a, WIDTHS[width](k) if a.dtype.kind == "f" else None)
            for k, (name, a) in enumerate(case.arrays().items())}


def ours(array: np.ndarray, dtype: str | None) -> tg.Tensor:
    return tg.tensor(array, dtype=dtype)


def test_dtypes_of_layers() -> None:
    wrong, compared = [], 0
    for case in (*ACTIVATIONS, *CONVOLUTIONS, *LAYERS, *LOSSES):
        try:
            expected = their_kinds(lambda make, case=case: case.make(torch.nn).to("cuda").train(case.training)(
                *(make(a, "float32" if a.dtype.kind == "f" else None) for a in case.arrays()),
                **{k: make(v, None) if isinstance(v, np.ndarray) else v for k, v in case.options}))
        except pytest.skip.Exception:
            continue
        with tg.autocast("bfloat16"):
            found = kinds(layer_result(case))
        compared += 1
        if found != expected:
            wrong.append((str(case), found, expected))
    assert not wrong and compared > 70


def layer_result(case: LayerCase) -> Any:
    given = [tg.tensor(a, dtype="float32" if a.dtype.kind == "f" else None) for a in case.arrays()]
    return case.make(tg.nn).train(case.training)(
        *given, **{k: tg.tensor(v) if isinstance(v, np.ndarray) else v for k, v in case.options})


def test_what_the_rules_of_the_cpu_cast_is_cast() -> None:
    """PyTorch casts less on the CPU; what it does cast there, to either width, we cast, too."""
    wrong, compared = [], 0
    for case in TORCH_CASES:
        for width in WIDTHS if not case.ours.startswith(ON_THE_CPU_ONLY) else ():
            def theirs(array: np.ndarray, dtype: str | None) -> Any:
                t = torch.tensor(array)
                return t if dtype is None else t.to(getattr(torch, dtype))
            try:
                plain = kinds(eval(in_torch(case.theirs), {**THEIRS, **operands(case, width, theirs)}))
                with torch.autocast("cpu", torch.bfloat16):
                    expected = kinds(eval(in_torch(case.theirs), {**THEIRS, **operands(case, width, theirs)}))
            except RuntimeError:            # no kernel for such operands
                continue
            if plain == expected:
                continue
            with tg.autocast("bfloat16"):
                found = kinds(eval(case.ours, {**OURS, **operands(case, width, ours)}))
            compared += 1
            if found != expected:
                wrong.append((str(case), width, found, expected))
    assert not wrong and compared > 50


def test_a_step_has_pytorchs_numbers() -> None:
    """Loss and gradients of a small network under autocast, as PyTorch computes them on the CPU in bfloat16."""
    rng = np.random.default_rng(0)
    x, w, v, y = (rng.standard_normal(shape).astype(np.float32) for shape in ((16, 24), (32, 24), (8, 32), (16, 8)))

    def losses(lib: Any, functional: Any, leaf: Callable[[np.ndarray], Any], context: Any) -> list[np.ndarray]:
        weights = leaf(w), leaf(v)
        with context:
            hidden = functional.relu(functional.linear(lib.asarray(x), weights[0]))
            out = functional.linear(hidden, weights[1])
            loss = functional.mse_loss(out, lib.asarray(y))
        assert "bfloat16" in str(out.dtype) and "float32" in str(loss.dtype)
        loss.backward()
        assert all("float32" in str(p.grad.dtype) for p in weights)
        return [np.asarray(t.detach()) for t in (loss, weights[0].grad, weights[1].grad)]

    mine = losses(tg, tg.nn.functional, lambda a: tg.tensor(a, requires_grad=True), tg.autocast("bfloat16"))
    other = losses(torch, torch.nn.functional, lambda a: torch.tensor(a, requires_grad=True),
                   torch.autocast("cpu", torch.bfloat16))
    for a, b in zip(mine, other):
        assert np.linalg.norm(a - b) <= 2.0**-7 * np.linalg.norm(b)
