"""numpy_programs: programs written for NumPy, traced without a change, against NumPy; those that are replayed.

Calls go on from the arrays that the call before has left, as in a simulation or in training.
"""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.frame import Benchmark, Work, sample
from examples.numpy_programs.catalog import PROGRAMS

REPLAYED = {program.name: program for program in PROGRAMS if program.reason is None}


def work(case: str, prepared: Callable[[Callable[..., Any]], Callable[..., Any]]) -> Work:
    """Calls of one program, and the numbers of the first."""
    program = REPLAYED[case]
    call = prepared(program.function)
    arguments = program.arguments(np.random.default_rng(0), program.size)
    numbers = first_array((call(*arguments), arguments))
    return Work(lambda: call(*arguments), sample(numbers))


def first_array(value: Any) -> np.ndarray:
    """The first array of a result; of one without any, of the arguments, which it changed."""
    if isinstance(value, np.ndarray | np.generic):
        return np.atleast_1d(np.asarray(value)).astype(float)
    return next(first_array(part) for part in value if part is not None)


def tracegrad(case: str) -> Work:
    import tracegrad as tg
    return work(case, tg.trace)


def numpy(case: str) -> Work:
    return work(case, lambda function: function)


BENCHMARK = Benchmark(
    question="programs written for NumPy, unchanged",
    cases=tuple(REPLAYED),
    contenders={"tracegrad": tracegrad, "numpy": numpy},
)
