"""Calls of a NumPy function, traced and as it is, on equal arguments."""
from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import tracegrad as tg

TOLERANCE = {2: 2e-3, 4: 1e-5, 8: 1e-11}     # by bytes of a real number


def flat(value: Any) -> Iterator[Any]:
    """The leaves of nested tuples, lists and dicts."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, tuple | list):
        for part in value:
            yield from flat(part)
    else:
        yield value


def check_equal(actual: Any, expected: Any, exact: bool = False) -> None:
    """The same types, dtypes, shapes; values the same, or within the precision of the dtype."""
    for a, b in zip(flat(actual), flat(expected), strict=True):
        assert type(a) is type(b), (type(a), type(b))
        if not isinstance(a, np.ndarray | np.generic):
            assert a == b
            continue
        assert a.dtype == b.dtype and a.shape == b.shape
        if exact or a.dtype.kind not in "fc":
            np.testing.assert_array_equal(a, b)
        else:
            tolerance = TOLERANCE.get(a.real.itemsize, 1e-11)
            np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


def traced(function: Callable[..., Any], *calls: tuple[Any, ...], exact: bool = False) -> Any:
    """Trace `function` and call it with each of these arguments, both ways on copies; gives the traced function.

    Results, exceptions and what became of the arguments are compared.
    """
    f = tg.trace(function)
    for arguments in calls:
        mine, theirs = copy.deepcopy(arguments), copy.deepcopy(arguments)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            expected, error = outcome(function, theirs)
            actual, mistake = outcome(f, mine)
        assert type(mistake) is type(error) and str(mistake) == str(error)
        check_equal(actual, expected, exact)
        check_equal(mine, theirs, exact)
    return f


def outcome(function: Callable[..., Any], arguments: tuple[Any, ...]) -> tuple[Any, Exception | None]:
    """The result, or what was raised."""
    try:
        return function(*arguments), None
    except Exception as error:  # noqa: BLE001 - compared with the other's
        return None, error


def replayed(function: Callable[..., Any], *arguments: Any, exact: bool = False) -> Any:
    """`traced` with these arguments thrice; and the last two calls are replays."""
    f = traced(function, arguments, arguments, arguments, exact=exact)
    assert f.stats.replays >= 2 and f.stats.eager_calls == 0, "\n".join(map(str, f.explain().aborts))
    return f
