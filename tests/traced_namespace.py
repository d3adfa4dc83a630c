"""The namespace of tracegrad with every function traced: what the Array API's test suite is run on a second time.

    ARRAY_API_TESTS_MODULE=traced_namespace pytest array_api_tests/

A call of a function here is the call of a fresh traced function, made again until it is replayed, at most MOST_CALLS
times; the last result counts. COUNTS says of each function how many calls ended in a replay and how many ran eagerly to
the last, with the reasons. Where the environment has TRACED_NAMESPACE_COUNTS, they are written to that file at the end.
"""
from __future__ import annotations

import atexit
import functools
import json
import os
import warnings
from collections import Counter
from collections.abc import Callable
from types import FunctionType, ModuleType
from typing import Any

import tracegrad as tg

MOST_CALLS = 3
COUNTS: dict[str, Counter[str]] = {}

_NOT_ON_TENSORS = frozenset({"trace", "eager", "no_grad", "enable_grad", "__array_namespace_info__", "from_dlpack"})
"""Functions that are not of Tensors, or are about memory, which a replay may renew."""


def traced(name: str, function: Callable) -> Callable:
    """The function, called as the module's docstring says."""
    counts = COUNTS.setdefault(name, Counter())

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        one = tg.trace(function)
        for _ in range(MOST_CALLS):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", tg.NotReplayed)
                result = one(*args, **kwargs)
            if one.stats.replays:
                counts["replayed"] += 1
                return result
        counts["eager"] += 1
        counts.update(one.stats.aborts.keys())
        return result

    return call


def namespace(module: ModuleType, prefix: str = "") -> dict[str, Any]:
    """The public names of a module, its functions traced."""
    names = {name: getattr(module, name) for name in dir(module) if not name.startswith("_")}
    return {name: traced(prefix + name, value)
            if isinstance(value, FunctionType) and name not in _NOT_ON_TENSORS else value
            for name, value in names.items()}


globals().update(namespace(tg))
for _name in ("linalg", "fft"):
    if hasattr(tg, _name):
        _part = ModuleType(f"traced_namespace.{_name}")
        vars(_part).update(namespace(getattr(tg, _name), f"{_name}."))
        globals()[_name] = _part
__array_api_version__ = tg.__array_api_version__
__array_namespace_info__ = tg.__array_namespace_info__
__version__ = tg.__version__

if path := os.environ.get("TRACED_NAMESPACE_COUNTS"):
    def _write(path: str = path) -> None:
        with open(path, "w") as file:
            json.dump(COUNTS, file)

    atexit.register(_write)
