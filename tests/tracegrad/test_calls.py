"""Every public function is called: its value is NumPy's, its derivatives are right, a trace replays it.

`docs/functions.md` lists them all and how each runs when traced; a test holds it to what is found here
(`pytest --update-golden` writes it).
"""
from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from call_cases import Arrays, Case
from numpy_cases import NUMPY_CASES
from torch_cases import TORCH_CASES

import tracegrad as tg
from codegen.schedule.plan import Host

NAMESPACES: dict[str, ModuleType] = {"": tg, "linalg.": tg.linalg, "fft.": tg.fft, "F.": tg.nn.functional}
NAMES = {**vars(tg), "F": tg.nn.functional}
CASES = (*NUMPY_CASES, *TORCH_CASES)
PAGE = Path(__file__).parents[2] / "docs" / "functions.md"

SETTINGS = {
    "trace", "eager", "profile", "no_grad", "enable_grad", "is_grad_enabled", "is_autocast_enabled",
    "get_autocast_dtype", "set_default_dtype", "get_default_dtype",
    "get_num_threads", "set_num_threads", "save", "load", "get_printoptions", "set_printoptions", "printoptions",
}
DTYPES = {"can_cast", "finfo", "iinfo", "isdtype", "is_complex", "is_floating_point", "promote_types", "result_type"}
DATA = {"tensor", "asarray", "as_tensor", "from_numpy", "from_dlpack", "astype", "empty", "empty_like", "allclose"}
RANDOM = {
    "manual_seed", "get_rng_state", "set_rng_state", "bernoulli", "multinomial", "normal", "rand", "rand_like",
    "randint", "randint_like", "randn", "randn_like", "randperm", "F.dropout", "F.dropout1d", "F.dropout2d",
    "F.dropout3d", "F.alpha_dropout", "F.gumbel_softmax",
}
OWN = {"put", "put_along_axis", "linear_recurrence"}
TRANSFORMS = {"checkpoint", "vmap"}
ELSEWHERE = SETTINGS | DTYPES | DATA | RANDOM | OWN | TRANSFORMS
"""What the namespaces have besides functions from tensors to tensors; tests of their own call them."""


def public(prefix: str) -> dict[str, Callable]:
    """The functions that a namespace offers, by name."""
    namespace = NAMESPACES[prefix]
    names = getattr(namespace, "__all__", vars(namespace))
    return {name: value for name in names if callable(value := getattr(namespace, name)) and not name.startswith("_")
            and not isinstance(value, type) and prefix + name not in ELSEWHERE}


def evaluated(case: Case, operands: dict[str, Any]) -> tg.Tensor:
    return tg.asarray(eval(case.ours, {**NAMES, **operands}))


def operands_of(arrays: Arrays, requires_grad: bool) -> dict[str, tg.Tensor]:
    return {name: tg.tensor(a, requires_grad=requires_grad and a.dtype.kind in "fc") for name, a in arrays.items()}


@pytest.mark.parametrize("case", NUMPY_CASES, ids=str)
def test_the_value_is_numpys(case: Case) -> None:
    arrays = case.arrays()
    found = np.asarray(evaluated(case, operands_of(arrays, False)).numpy())
    expected = np.asarray(eval(case.theirs, {**vars(np), **arrays}))
    assert found.shape == expected.shape and found.dtype.kind == expected.dtype.kind
    tolerance = 1e-6 if found.dtype.itemsize == 4 else 1e-12
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)


@cache
def steps(case: Case) -> str:
    """How a traced call of the case runs: `kernels`, `view`, the ops that the host does, or what made it eager.

    It is called three times on other numbers each; the result must be that of plain Python.
    """
    arrays = case.arrays()
    names = ", ".join(arrays)
    function = eval(f"lambda {names}: {case.ours}", NAMES)
    traced = tg.trace(function)
    for _ in range(3):
        expected, found = (np.asarray(tg.asarray(f(*operands_of(arrays, False).values())).numpy())
                           for f in (function, traced))
        assert found.dtype == expected.dtype and found.shape == expected.shape
        np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12)
    if traced.stats.replays != 2:
        return "eager: " + ", ".join(sorted(traced.stats.aborts))
    (root,) = traced._tree.roots
    hosts = sorted({step.op for step in root.executable.plan.steps if isinstance(step, Host)})
    return ", ".join(hosts) or ("kernels" if root.traces[0].made else "view")


VALUES_READ = ("unique", "masked_select(", "bincount(", "x[c]", "nonzero(", "flatnonzero(", "argwhere(", "compress(",
               "extract(", "union1d(", "intersect1d(", "setdiff1d(", "setxor1d(")
"""What gives as many elements as the values say: Python has to read them."""


@pytest.mark.filterwarnings("ignore::tracegrad.NotReplayed")
@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_traced_call_replays(case: Case) -> None:
    found = steps(case)
    if case.ours.startswith(VALUES_READ):
        assert found == "eager: HOST_READ"
    else:
        assert not found.startswith("eager"), found


@pytest.mark.parametrize("case", [case for case in NUMPY_CASES if case.orders], ids=str)
def test_the_derivative_is_the_slope(case: Case) -> None:
    """Along one random direction, by central differences in float64."""
    arrays = case.arrays()
    rng = np.random.default_rng(case.number)
    directions = {name: rng.normal(size=a.shape) for name, a in arrays.items() if a.dtype.kind in "fc"}
    operands = operands_of(arrays, True)
    value = evaluated(case, operands)
    weights = rng.normal(size=value.shape) + (1j * rng.normal(size=value.shape) if value.dtype.kind == "c" else 0.0)
    wrt = [operands[name] for name in directions]
    grads = tg.autograd.grad(value, wrt, tg.tensor(weights.astype(value.dtype)), allow_unused=True)
    slope = sum(float(np.sum(d * np.asarray(g.detach().numpy()).real))
                for d, g in zip(directions.values(), grads) if g is not None)
    step = 1e-6

    def at(t: float) -> float:
        moved = {name: a + t * directions[name] if name in directions else a for name, a in arrays.items()}
        result = np.asarray(evaluated(case, operands_of(moved, False)).numpy())
        return float(np.sum(np.conj(weights) * result).real)

    assert slope == pytest.approx((at(step) - at(-step)) / (2 * step), rel=1e-5, abs=1e-6)


@cache
def callers() -> dict[int, list[Case]]:
    """The cases that call each function, by the function's id: a function may have several names."""
    found: dict[int, list[Case]] = defaultdict(list)
    for case in CASES:
        for name in case.names:
            prefix, _, own = name.rpartition(".")
            function = getattr(NAMESPACES.get(f"{prefix}." if prefix else ""), own, None)
            if function is not None and case not in found[id(function)]:
                found[id(function)].append(case)
    return found


def test_every_public_function_is_called() -> None:
    missing = {prefix + name for prefix in NAMESPACES for name, function in public(prefix).items()
               if not callers().get(id(function))}
    assert not missing, f"no case calls {', '.join(sorted(missing))}"


HEADING = """# Functions

Every public function of tensors, as the test suite calls it. A traced call runs it as `kernels` (native code, fused
with what is around it), through the `host` (NumPy or SciPy, called on the buffers inside the one native call; the ops
that are), or it `reads values`, because the shape of its result depends on them: then the whole traced call runs
eagerly. A `view` costs nothing. Derivatives exist to every order wherever a function has them."""

TITLES = {"": "tracegrad", "linalg.": "tracegrad.linalg", "fft.": "tracegrad.fft", "F.": "tracegrad.nn.functional"}


def page() -> str:
    """The text of docs/functions.md."""
    lines = [HEADING]
    for prefix, title in TITLES.items():
        lines += ["", f"## {title}", "", "| function | traced | derivatives |", "|---|---|---|"]
        for name, function in sorted(public(prefix).items(), key=lambda item: item[0].lower()):
            cases = callers()[id(function)]
            own = [case for case in cases if case.ours.startswith((name, prefix + name))] or cases
            lines.append(f"| `{name}` | {described(list(map(steps, own)))} | "
                         f"{'yes' if any(case.orders for case in own) else ''} |")
    return "\n".join(lines) + "\n"


def described(runs: list[str]) -> str:
    """How the cases of a function ran, in a few words."""
    hosts = sorted({op for run in runs if run not in ("kernels", "view") and not run.startswith("eager")
                    for op in run.split(", ")})
    words = [word for word in ("view", "kernels") if word in runs]
    words += [f"host: {', '.join(hosts)}"] if hosts else []
    words += ["reads values"] if any(run.startswith("eager") for run in runs) else []
    return "; ".join(words)


@pytest.mark.filterwarnings("ignore::tracegrad.NotReplayed")
def test_the_page_of_functions_is_true(request: pytest.FixtureRequest) -> None:
    text = page()
    if request.config.getoption("--update-golden"):
        PAGE.parent.mkdir(exist_ok=True)
        PAGE.write_text(text)
    assert PAGE.read_text() == text, "pytest tests/tracegrad/test_calls.py --update-golden writes the page anew"
