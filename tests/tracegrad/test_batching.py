"""The batched form of each op does for every example what the op does for one: over the table of ops."""
from __future__ import annotations

from itertools import islice, product

import numpy as np
import pytest
from op_cases import cases, complex_cases

import tracegrad as tg
from codegen.ir.ops import OPS
from codegen.ir.type_rules import TypeRuleError
from tracegrad.batching import RULES
from tracegrad.dispatch import dispatch

N = 3
ROUNDED = ("matmul", "sum", "prod", "fft", "rfft", "irfft", "recurrence")
"""Ops of which the sums add up in another order."""


def test_every_op_has_a_rule():
    assert RULES.keys() == OPS.keys()


def examples(x, k):
    """Another operand like x: its elements in another order, or its matrices scaled."""
    if x.dtype.kind in "biu" or x.ndim < 2:
        return np.roll(x, k).reshape(x.shape)
    return (x * (1 + k / 8)).astype(x.dtype)


@pytest.mark.parametrize("op", [name for name, op in OPS.items() if op.arity])
def test_a_rule_does_for_each_example_what_the_op_does(op):
    row = OPS[op]
    found = 0
    for operands, attrs in islice((*cases(row), *complex_cases(row)), 0, 400):
        if op in ("searchsorted", "random_bits"):
            many = [[x for _ in range(N)] for x in operands]
        else:
            many = [[examples(x, k) for k in range(N)] for x in operands]
        for batched in product((True, False), repeat=row.arity):
            if not any(batched):
                continue
            each = [[m[k] if b else m[0] for m, b in zip(many, batched)] for k in range(N)]
            try:
                expected = [dispatch(op, *(tg.Tensor(x) for x in xs), **attrs).numpy() for xs in each]
            except (TypeRuleError, np.linalg.LinAlgError):
                continue
            given = [tg.Tensor(np.stack(m) if b else m[0]) for m, b in zip(many, batched)]
            result = RULES[op](op, given, batched, N, **attrs)
            assert result.shape == (N, *expected[0].shape) and result.dtype == expected[0].dtype
            exact = op not in ROUNDED and result.dtype.kind != "V"
            for k in range(N):
                one = result.numpy()[k]
                if exact:
                    np.testing.assert_array_equal(one, expected[k])
                else:
                    eps = 2e-2 if one.dtype.itemsize == 2 else 1e-5
                    np.testing.assert_allclose(one.astype(complex), expected[k].astype(complex), rtol=eps, atol=eps)
            found += 1
    assert found
