"""out=: the result is written where it is wanted, with all that a write in place means."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tracegrad as tg

ONE = """exp log sqrt tanh sin cos tan sinh cosh asinh atan expm1 exp2 log1p log2 log10 erf floor ceil trunc round
    square reciprocal rsqrt abs negative sign""".split()
TWO = """add subtract multiply divide maximum minimum pow atan2 hypot logaddexp copysign floor_divide remainder fmod
    fmax fmin matmul""".split()
ALONG = "sum prod max min mean var std".split()
BOOLS = "equal not_equal less less_equal greater greater_equal logical_and logical_or logical_xor".split()
ELSE: dict[str, Callable] = {
    "clip": lambda x, y, **o: tg.clip(x, 0.5, 1.0, **o), "cumsum": lambda x, y, **o: tg.cumsum(x, 1, **o),
    "cumprod": lambda x, y, **o: tg.cumprod(x, 0, **o), "concat": lambda x, y, **o: tg.concat([x, y], **o),
    "stack": lambda x, y, **o: tg.stack([x, y], 1, **o),
    "take": lambda x, y, **o: tg.take(x, tg.tensor([2, 0]), 1, **o),
    "dot": lambda x, y, **o: tg.dot(x, y, **o), "argmax": lambda x, y, **o: tg.argmax(x, 1, **o),
    "any": lambda x, y, **o: tg.any(x > y, 1, **o), "all": lambda x, y, **o: tg.all(x > y, 1, **o),
    "logical_not": lambda x, y, **o: tg.logical_not(x > 1.0, **o),
    "bitwise_and": lambda x, y, **o: tg.bitwise_and(x > 1.0, y > 1.0, **o),
}
CALLS: dict[str, Callable] = {
    **{name: lambda x, y, name=name, **o: getattr(tg, name)(x, **o) for name in ONE},
    **{name: lambda x, y, name=name, **o: getattr(tg, name)(x, y, **o) for name in (*TWO, *BOOLS)},
    **{name: lambda x, y, name=name, **o: getattr(tg, name)(x, 1, **o) for name in ALONG},
    **ELSE,
}


def operands() -> tuple[tg.Tensor, tg.Tensor]:
    rng = np.random.default_rng(0)
    return tg.tensor(rng.uniform(0.2, 2.0, (3, 3))), tg.tensor(rng.uniform(0.2, 2.0, (3, 3)))


@pytest.mark.parametrize("name", CALLS)
def test_the_result_is_written_to_out(name: str) -> None:
    call, (x, y) = CALLS[name], operands()
    expected = call(x, y)
    whole = tg.zeros(2, *expected.shape, dtype=expected.dtype)
    out = whole[1]
    assert call(x, y, out=out) is out
    np.testing.assert_array_equal(whole[1].array, expected.array)
    assert not whole[0].array.any()
    with pytest.raises(TypeError, match=r"^test_outputs\.py:\d+: \w+: the result .* does not fit"):
        call(x, y, out=tg.zeros(7, dtype=expected.dtype))


@pytest.mark.parametrize("name", ["add", "exp", "sum", "matmul", "clip", "concat", "prod", "pow"])
def test_a_recording_writes_it_too_and_a_gradient_comes_through(name: str) -> None:
    call, (x, y) = CALLS[name], operands()
    expected = call(x, y)

    @tg.trace
    def f(x: tg.Tensor, y: tg.Tensor, out: tg.Tensor) -> tg.Tensor:
        return call(x, y, out=out) * 2.0

    for _ in range(4):
        out = tg.zeros(*expected.shape, dtype=tg.float64)
        np.testing.assert_allclose(f(x, y, out).array, expected.array * 2.0, rtol=1e-14)
        np.testing.assert_allclose(out.array, expected.array, rtol=1e-14)
    assert f.stats.replays >= 2         # a name that is computed in the call is found by the second run
    w = tg.tensor(x.array, requires_grad=True)
    made = call(w, y, out=tg.zeros(*expected.shape, dtype=tg.float64))
    g, = tg.autograd.grad(made.sum(), w)
    h, = tg.autograd.grad(call(w, y).sum(), w)
    assert g is not None and h is not None
    np.testing.assert_array_equal(g.array, h.array)


@pytest.mark.parametrize("out,error,message", [
    (tg.zeros(3, 3, dtype=tg.int64), TypeError, r"add: f64\[3,3\] cannot be written to i64\[3,3\] in place; cast it"),
    (np.zeros((3, 3)), TypeError, "add: out is a ndarray, not a Tensor"),
    (tg.ones(3, dtype=tg.float64).broadcast_to(3, 3), ValueError, "is a broadcast or a read-only array"),
    (tg.zeros(3, 3, dtype=tg.float64, requires_grad=True), RuntimeError, "a leaf that requires grad is written to"),
], ids=range(4))
def test_errors(out: Any, error: type[Exception], message: str) -> None:
    x, y = operands()
    with pytest.raises(error, match=rf"^test_outputs\.py:\d+: .*{message}"):
        tg.add(x, y, out=out)


def test_out_may_be_an_operand_and_of_another_dtype() -> None:
    x, y = operands()
    expected = x.array + y.array
    assert tg.add(x, y, out=x) is x
    np.testing.assert_array_equal(x.array, expected)
    single = tg.zeros(3, 3)
    tg.add(x, y, out=single)
    np.testing.assert_array_equal(single.array, (x.array + y.array).astype(np.float32))
