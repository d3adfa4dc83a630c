"""Programs written for NumPy, traced without a change: they give what NumPy gives, replayed or with their reason."""
from __future__ import annotations

import copy
import inspect

import numpy as np
import pytest
from traced_numpy import check_equal

import tracegrad as tg
from examples.numpy_programs import grids, images, matrices, models
from examples.numpy_programs.catalog import PROGRAMS, Program

LARGEST = 16            # compared at small sizes: the programs are the same

EXACT = frozenset({"heat", "wave", "life", "escape_times", "floyd_warshall", "histogram", "convolve", "resize"})
"""Programs of arithmetic, comparisons and data movement alone: equal to the last bit."""


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.name)
def test_programs(program: Program) -> None:
    f = tg.trace(program.function)
    with pytest.warns(tg.NotReplayed) if program.reason or program.made else np.errstate():
        for seed in (0, 1, 2, 3, 0, 1, 2, 3):
            if seed == 0:
                before = f.stats.replays
            arguments = program.arguments(np.random.default_rng(seed), min(program.size, LARGEST))
            mine = copy.deepcopy(arguments)
            np.random.seed(seed)
            expected = program.function(*arguments)
            np.random.seed(seed)
            check_equal(f(*mine), expected, exact=program.name in EXACT)
            check_equal(mine, arguments, exact=program.name in EXACT)
    if program.reason is None:
        assert f.stats.replays == before + 4, f.explain().aborts
        assert set(f.stats.aborts) == ({"RESULT_TYPE"} if program.made else set())
    else:
        assert f.stats.replays == 0 and program.reason.name in f.stats.aborts


def test_most_are_replayed() -> None:
    assert len(PROGRAMS) >= 20 and sum(program.reason is None for program in PROGRAMS) >= 15


def test_the_programs_know_of_numpy_alone() -> None:
    for module in (grids, images, matrices, models):
        assert [line for line in inspect.getsource(module).splitlines() if "import" in line] == ["import numpy as np"]
