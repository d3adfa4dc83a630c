"""Methods that end in an underscore: each writes to its tensor what the function of its name gives."""
from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tracegrad import updates

X = np.random.default_rng(0).uniform(0.2, 0.9, (2, 3))
Y = np.random.default_rng(1).uniform(0.2, 0.9, (2, 3))
BITS = {"bitwise_and_", "bitwise_or_", "bitwise_xor_", "bitwise_not_", "bitwise_left_shift_", "bitwise_right_shift_"}
ONE = {name for name in updates.IN_PLACE if name[:-1] in """abs absolute neg negative sign exp log sqrt square tanh relu
    sigmoid sin cos tan asin acos atan sinh cosh asinh acosh atanh arcsin arccos arctan arcsinh arccosh arctanh expm1
    exp2 log1p log2 log10 floor ceil trunc fix round reciprocal rsqrt frac erf erfc erfinv lgamma digamma deg2rad
    rad2deg nan_to_num logit sinc bitwise_not logical_not""".split()}
ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "clamp_": (0.3, 0.6), "clip_": (0.3, 0.6), "lerp_": (Y, 0.25), "addcmul_": (Y, Y), "addcdiv_": (Y, Y)}
SAME = {"sub": tg.subtract, "mul": tg.multiply, "div": tg.divide, "true_divide": tg.divide, "neg": tg.negative,
        "bitwise_not": tg.bitwise_invert, "eq": tg.equal, "ne": tg.not_equal, "lt": tg.less, "le": tg.less_equal,
        "gt": tg.greater, "ge": tg.greater_equal}


def operands(name: str) -> tuple[tg.Tensor, tuple[Any, ...]]:
    shift = 1.0 if name in ("acosh_", "arccosh_") else 0.0
    x = tg.tensor((X * 10).astype(int)) if name in BITS else tg.tensor(X + shift)
    others = ARGUMENTS.get(name, () if name in ONE else ((Y * 3).astype(int) if name in BITS else Y,))
    return x, tuple(tg.tensor(k) if isinstance(k, np.ndarray) else k for k in others)


@pytest.mark.parametrize("name", sorted(updates.IN_PLACE))
def test_a_method_in_place_is_its_function(name: str) -> None:
    x, others = operands(name)
    function = SAME.get(name[:-1]) or getattr(tg, name[:-1])
    expected = function(x, *others)
    whole = tg.zeros(2, 2, 3, dtype=x.dtype)
    whole[1] = x
    part = whole[1]
    assert getattr(part, name)(*others) is part
    np.testing.assert_array_equal(whole[1].array, expected.array.astype(x.dtype))
    assert not whole[0].array.any()
    traced = tg.trace(lambda x, *others: getattr(x, name)(*others) * 1)
    for _ in range(2):
        x, others = operands(name)
        traced(x, *others)
        np.testing.assert_allclose(x.array, expected.array.astype(x.dtype), rtol=1e-12)
    assert traced.stats.replays == 1


def test_factors_of_the_other_operand() -> None:
    x = tg.ones(2)
    assert x.add_(tg.tensor([1.0, 2.0]), alpha=3).tolist() == [4, 7]
    assert x.sub_(1.0, alpha=0.5).tolist() == [3.5, 6.5]
    assert x.addcmul_(tg.tensor(2.0), tg.tensor(3.0), value=0.5).tolist() == [6.5, 9.5]


@pytest.mark.parametrize("text,expected", [
    ("x //= 2.0", [0, 1, 2]), ("x %= 2.0", [1, 0.5, 1]), ("x **= 2", [1, 6.25, 25]), ("x @= w", [17, 2, 2.5]),
    ("n <<= 2", [4, 8, 20]), ("n >>= 1", [0, 1, 2]), ("n &= 5", [1, 0, 5]), ("n |= 2", [3, 2, 7]),
    ("n ^= 1", [0, 3, 4]), ("x /= 2.0", [0.5, 1.25, 2.5]), ("x -= 1.0", [0, 1.5, 4]),
    ("x *= x", [1, 6.25, 25]), ("x += n", [2, 4.5, 10]),
])
def test_operators_in_place(text: str, expected: list[float]) -> None:
    names: dict[str, Any] = {
        "x": tg.tensor([1.0, 2.5, 5.0]), "n": tg.tensor([1, 2, 5]), "w": tg.tensor([[2.0, 2, 0], [0, 0, 1], [3, 0, 0]])}
    before = dict(names)
    exec(text, names)
    assert names[text[0]] is before[text[0]] and names[text[0]].tolist() == expected
