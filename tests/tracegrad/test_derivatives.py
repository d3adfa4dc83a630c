"""Generated from the op table: every derivative against numerical ones, to second order; the table is total."""
from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from op_cases import HERMITIAN, cases, complex_cases, has_free_phases, strided

from codegen.ir.ops import OPS
from tracegrad.autograd import GradcheckError, grad, gradcheck, gradgradcheck
from tracegrad.derivatives import NON_DIFFERENTIABLE, VJPS
from tracegrad.dispatch import dispatch, used_values
from tracegrad.dtypes import INEXACT
from tracegrad.tensors import Tensor

NUMERIC = sorted(set(VJPS) - {"eig"})
"""Ops whose results vary as numbers; eigenvectors are known up to phases, so what they span is in test_linalg."""

LARGEST = 40        # operands of more elements are left out: numerical derivatives cost their square


def f64_cases(name: str) -> Iterator[tuple[list[np.ndarray], dict[str, Any]]]:
    """The cases of the op in float64 and complex128 whose result has double precision too."""
    for operands, attrs in (*cases(OPS[name]), *complex_cases(OPS[name])):
        floats = [x for x in operands if x.dtype in INEXACT]
        small = all(x.dtype in (np.float64, np.complex128) and x.size <= LARGEST for x in floats)
        if has_free_phases(OPS[name], operands, attrs):
            continue
        if floats and small and attrs.get("dtype", "f64") in ("f64", "c128"):
            yield operands, attrs


def hermitian(x: Tensor) -> Tensor:
    return (x + x.mH) / 2


def tensors(operands: list[np.ndarray]) -> list[Tensor]:
    return [Tensor(x, requires_grad=x.dtype in INEXACT) for x in operands]


def test_every_op_has_a_row_or_is_declared_to_have_none() -> None:
    assert set(VJPS) | NON_DIFFERENTIABLE == set(OPS)
    assert not set(VJPS) & NON_DIFFERENTIABLE


@pytest.mark.parametrize("name", VJPS)
def test_one_rule_for_each_operand(name: str) -> None:
    assert len(VJPS[name]) == OPS[name].arity


@pytest.mark.parametrize("name", NUMERIC)
def test_first_and_second_derivatives_are_the_numerical_ones(name: str) -> None:
    count = 0
    for operands, attrs in f64_cases(name):
        def f(*xs: Tensor, attrs: dict[str, Any] = attrs) -> Tensor:
            return dispatch(name, *map(hermitian, xs) if name in HERMITIAN else xs, **attrs)

        gradcheck(f, tensors(operands))
        gradgradcheck(f, tensors(operands))
        gradcheck(f, tensors([strided(x) for x in operands]))
        count += 1
    assert count


FLAT = {"sign", "floor", "ceil", "trunc", "round", "floor_div"}
"""Ops whose derivative is 0, and twice that."""


@pytest.mark.parametrize("name", sorted(set(NUMERIC) - FLAT))
def test_a_wrong_derivative_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    doubled = tuple(rule and (lambda *xs, rule=rule, **attrs: rule(*xs, **attrs) * 2) for rule in VJPS[name])
    monkeypatch.setitem(VJPS, name, doubled)
    with pytest.raises(GradcheckError):
        for operands, attrs in f64_cases(name):
            gradcheck(lambda *xs, attrs=attrs: dispatch(name, *xs, **attrs), tensors(operands))


@pytest.mark.parametrize("name", NUMERIC)
def test_what_a_rule_reads_does_not_depend_on_shapes(name: str) -> None:
    """What is saved for backward is found from the first call and held for all."""
    found: dict[tuple[int, str], set[tuple[bool, ...]]] = {}
    for operands, attrs in f64_cases(name):
        args = tuple(tensors(operands))
        result = dispatch(name, *args, **attrs)
        for wanted in range(1, 1 << len(args)):
            if all(rule is not None for k, rule in enumerate(VJPS[name]) if wanted >> k & 1):
                found.setdefault((wanted, result.dtype.kind), set()).add(used_values(name, wanted, args, attrs, result))
    assert found and all(len(uses) == 1 for uses in found.values())


@pytest.mark.parametrize("name", sorted(NON_DIFFERENTIABLE - {"detach"}))
def test_results_without_a_derivative_have_no_history(name: str) -> None:
    for operands, attrs in cases(OPS[name]):
        if all(x.dtype in (np.float64, np.bool_) for x in operands):
            assert not dispatch(name, *tensors(operands), **attrs).requires_grad


@pytest.mark.parametrize("op", ["add", "sub", "mul", "div", "maximum", "minimum"])
@pytest.mark.parametrize("number", [0, 2, 0.5])
def test_numbers_beside_tensors(op: str, number: float) -> None:
    x = Tensor(np.array([-1.5, 0.75, 3.0]), True)
    gradcheck(lambda a: dispatch(op, a, number), x) if number or op != "div" else None
    gradcheck(lambda a: dispatch(op, number, a), x)
    gradcheck(lambda a: dispatch("where", Tensor(np.array([True, False, True])), a, number), x)


@pytest.mark.parametrize("op", ["maximum", "minimum"])
def test_operands_that_tie_get_half_each_and_nan_goes_to_both(op: str) -> None:
    a = Tensor(np.array([1.0, 1.0, 2.0, np.nan]), True)
    b = Tensor(np.array([1.0, 2.0, 1.0, 1.0]), True)
    ga, gb = grad(dispatch(op, a, b), (a, b), Tensor(np.full(4, 8.0)))
    first, second = (0.0, 8.0) if op == "maximum" else (8.0, 0.0)
    np.testing.assert_array_equal(ga.array, [4.0, first, second, 8.0])
    np.testing.assert_array_equal(gb.array, [4.0, second, first, 8.0])


@pytest.mark.parametrize("op", ["max", "min"])
def test_elements_that_tie_share_equally(op: str) -> None:
    x = Tensor(np.array([[3.0, 3.0, 3.0], [1.0, 5.0, 1.0]]), True)
    g, = grad(dispatch(op, x, axis=(1,), keepdims=False), x, Tensor(np.array([6.0, 6.0])))
    np.testing.assert_array_equal(g.array, [[2, 2, 2], [0, 6, 0] if op == "max" else [3, 0, 3]])


def test_cast_goes_back_in_the_dtype_of_the_operand() -> None:
    x = Tensor(np.array([1.0, 2.0]), True)
    g, = grad(dispatch("cast", x, dtype="f32"), x, Tensor(np.array([0.5, 3.0], np.float32)))
    assert g.dtype == np.float64
    np.testing.assert_array_equal(g.array, [0.5, 3.0])
    assert not dispatch("cast", x, dtype="i64").requires_grad


@pytest.mark.parametrize("batch", [(), (2,)], ids=str)
@pytest.mark.parametrize("f", [lambda x, w: x @ w, lambda x, w: x @ w.mT, lambda x, w: w @ x, lambda x, w: w.mT @ x])
def test_the_gradient_of_a_matrix_lies_in_memory_as_the_matrix_does(f: Any, batch: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    x, w = Tensor(rng.normal(size=(*batch, 3, 3))), Tensor(rng.normal(size=(*batch, 3, 3)), True)
    g, = grad(f(x, w).sum(), w)
    assert g is not None and g.array.flags.c_contiguous
    assert gradcheck(f, (x, w))
