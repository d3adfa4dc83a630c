"""Numbers among the arguments: whatever Python does with one, a call gives what the plain number gives."""
from __future__ import annotations

import datetime
import math
import warnings
from collections.abc import Callable
from fractions import Fraction
from numbers import Real
from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tracegrad.lifted import LiftedNumber

NUMBERS = (1, 2, 3, 0.5, 1.5, 2.5, 2, -0.0, 0.0, True, 1, 1.0, float("inf"), 3, 2.5)
ARRAY = np.array([1, 2], np.float32)


def by_type(x: tg.Tensor, n: Any) -> tg.Tensor:
    return x * (2.0 if type(n) is float else 3.0) * n


def by_match(x: tg.Tensor, n: Any) -> tg.Tensor:
    match n:
        case 1:
            return x
        case int(k):
            return x * k
        case _:
            return x * n * 0.5


def by_error(x: tg.Tensor, n: Any) -> tg.Tensor:
    if n > 2:
        raise ValueError(n)
    return x * n


def in_a_closure(x: tg.Tensor, n: Any) -> tg.Tensor:
    def inner(y: tg.Tensor) -> tg.Tensor:
        return y * n + (lambda: n)()

    return inner(x)


USES: dict[str, Callable[[tg.Tensor, Any], Any]] = {
    "beside a tensor": lambda x, n: x * n + n,
    "on its left": lambda x, n: (n - x) * (n - x),
    "in a comparison": lambda x, n: tg.where(x > n, x, n),
    "as a ufunc's operand": lambda x, n: np.multiply(x, n) + np.multiply(n, x),
    "float": lambda x, n: x * float(n) if n < 9 else x,
    "int": lambda x, n: x * int(n) if n < 9 else x,
    "bool": lambda x, n: x if n else -x,
    "reflected": lambda x, n: x * (1.5 - n) * (2 / (n + 1)) * (7 % (n + 1)) * (2**n if n < 9 else 1),
    "pow": lambda x, n: x * (pow(n, 2, 7) if isinstance(n, int) else pow(n, 2)),
    "math": lambda x, n: x * math.sqrt(n + 1) * math.hypot(n, 1) * math.copysign(1, n),
    "rounding": lambda x, n: x * (round(n) + math.floor(n) + math.ceil(n) + math.trunc(n)) if n < 9 else x,
    "choice": lambda x, n: x * max(n, 1) * min(n, 2) * sorted([n, 1.5])[0] * sum([n, n]) * abs(-n),
    "divmod": lambda x, n: x * divmod(n, 2)[1] * divmod(3, n + 1)[1] * (n // 2) if n < 9 else x,
    "text": lambda x, n: {f"{n:.1f}": x * n, str(n): 1, format(n, "g"): 2, repr(n): 3},
    "returned": lambda x, n: (n, [n, {"n": (n, n)}], x * n),
    "index": lambda x, n: [x, x * 2, x * 3, x * 4][n] * {1: 1, 2: 5, 3: 6}[n] if isinstance(n, int) else x,
    "shape": lambda x, n: tg.zeros(n, 2) + tg.arange(0, n).sum() if isinstance(n, int) else x,
    "power": lambda x, n: (x * x + 1) ** n,
    "clip": lambda x, n: x.clip(-n, n),
    "full": lambda x, n: tg.full((2,), n) * x,
    "tensor": lambda x, n: tg.tensor(n) * x,
    "isinstance": lambda x, n: x * (2.0 if isinstance(n, float) else 3.0) * (1.0 if isinstance(n, Real) else 0.0),
    "numpy scalar": lambda x, n: x * np.float64(n) * np.sqrt(n + 1),
    "captured array": lambda x, n: (ARRAY * n).tolist(),
    "method": lambda x, n: x * n.real * (1.0 if float(n).is_integer() else 2.0),
    "refused by C code": lambda x, n: (datetime.timedelta(n).days if n < 9 else 0, x * n),
    "fraction": lambda x, n: x * float(Fraction(n)) if n < 9 else x,
    "type": by_type, "match": by_match, "error": by_error, "closure": in_a_closure,
}


def seen(function: Callable[..., Any], x: tg.Tensor, n: Any) -> str:
    """What a call gives, as text; zeros and numbers of different types differ."""
    try:
        return repr(function(x, n))
    except (ValueError, ArithmeticError, TypeError, NotImplementedError) as error:
        return f"{type(error).__name__} {[type(a).__name__ for a in error.args]}"


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("dtype", ["float32", "int64", "uint8"])
def test_any_use_gives_what_the_plain_number_gives(use: str, dtype: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        traced = tg.trace(USES[use])
        x = tg.tensor([1, 2], dtype=dtype)
        for n in (*NUMBERS, *NUMBERS[::-1]):
            assert seen(traced, x, n) == seen(USES[use], x, n), n


def test_a_number_that_only_computes_records_twice() -> None:
    for use in ("beside a tensor", "on its left", "in a comparison", "as a ufunc's operand"):
        traced = tg.trace(USES[use])
        for k in range(8):
            traced(tg.tensor([1.0, 2.0]), 0.5 * k + 0.25)
        assert (traced.stats.recordings, traced.stats.replays) == (2, 6), use


def test_ints_beyond_the_range_of_an_input_are_constants() -> None:
    traced = tg.trace(lambda x, n: x * n)
    x = tg.tensor([1.0, 2.0])
    for n in (1, 2, 2**70, 3, -2**70, 4, 2**53 + 1, 2**70, 5):
        assert traced(x, n).tolist() == (x * n).tolist(), n


@pytest.mark.filterwarnings("ignore::tracegrad.NotReplayed")
def test_no_stand_in_is_left_in_python_state() -> None:
    class Box:
        rate: Any = None
        parts: Any = None

    box, log = Box(), []
    keeps = [True]

    @tg.trace
    def f(x: tg.Tensor, rate: float) -> tg.Tensor:
        if keeps[0]:
            log.append(rate)
            box.rate = rate
            box.parts = {"rate": [rate, (rate, 1)]}
        return x * rate

    x = tg.tensor([1.0])
    keeps[0] = False
    f(x, 0.25), f(x, 0.5)
    keeps[0] = True
    for k in range(4):
        f(x, 0.5 * k)
    found = [*log, box.rate, *box.parts["rate"][:1], *box.parts["rate"][1]]
    assert found == [0.0, 0.5, 1.0, 1.5, 1.5, 1.5, 1.5, 1]
    assert not any(type(n) is LiftedNumber for n in found)


def test_what_a_run_prints_before_it_raises_is_printed_once(capsys: pytest.CaptureFixture[str]) -> None:
    @tg.trace
    def f(x: tg.Tensor, n: float) -> tg.Tensor:
        if n == 2.0:
            print("two")
            raise ValueError(n)
        return x * n

    x = tg.tensor([1.0])
    f(x, 1.0)
    with pytest.raises(ValueError, match="2.0"):
        f(x, 2.0)
    assert capsys.readouterr().out == "two\n"


def test_numbers_are_numbers_to_code_that_asks_for_types() -> None:
    def scaled(x: tg.Tensor, s: float, helper: Callable) -> tg.Tensor:
        return helper(x, s)

    traced, x = tg.trace(scaled), tg.ones(3)
    for helper in (lambda x, s: x * s, lambda x, s: x * s if type(s) is float else x * 0,
                   lambda x, s: x * s if [*map(type, [s])] == [float] else x * 0):
        for k in range(1, 5):
            assert traced(x, k + 0.5, helper).tolist() == [k + 0.5] * 3
    assert traced.stats.replays >= 2
    kinds = tg.trace(lambda x, s, kind: x * s if kind(s) is float else x * 0)
    for k in range(1, 5):
        assert kinds(x, k + 0.5, type).tolist() == [k + 0.5] * 3
