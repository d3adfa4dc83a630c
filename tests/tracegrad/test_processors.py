"""How many threads compute."""
from __future__ import annotations

import numpy as np
import pytest

import tracegrad as tg


@pytest.fixture(autouse=True)
def threads():
    before = tg.get_num_threads()
    yield
    tg.set_num_threads(before)


@pytest.mark.parametrize("count", [0, -3, 1025, 2 ** 40])
def test_so_many_threads_are_refused(count):
    said = rf"test_processors.py:\d+: set_num_threads: {count} threads: it takes 1 to 1024"
    with pytest.raises(ValueError, match=said):
        tg.set_num_threads(count)


@pytest.mark.parametrize("count", [1.5, "2", None, True])
def test_what_is_no_number_of_threads(count):
    with pytest.raises(TypeError, match=f"the number of threads is a {type(count).__name__}, not an int"):
        tg.set_num_threads(count)


def test_a_traced_function_sets_and_reads_it_at_every_call():
    def sets(x):
        tg.set_num_threads(np.int64(1))
        return x * 2

    def reads(x):
        return x * tg.get_num_threads()

    x = tg.ones(4)
    for traced in (tg.trace(sets), tg.trace(reads)):
        with pytest.warns(tg.Followed, match="the number of threads"):
            for count in (2, 3, 3, 4):
                tg.set_num_threads(count)
                result = traced(x).tolist()
                now = tg.get_num_threads()
                assert (result, now) in (([2.0] * 4, 1), ([float(count)] * 4, count))
