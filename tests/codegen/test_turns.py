"""While a program is compiled, threads take short turns, and long ones again afterwards, whatever happens."""
from __future__ import annotations

import sys
import threading
from collections.abc import Iterator

import pytest

from codegen.turns import SECONDS, short_turns


@pytest.fixture(autouse=True)
def interval() -> Iterator[float]:
    before = sys.getswitchinterval()
    yield before
    sys.setswitchinterval(before)


def test_turns_are_short_meanwhile(interval: float) -> None:
    assert short_turns(short_turns(sys.getswitchinterval))() == pytest.approx(SECONDS) != interval
    assert sys.getswitchinterval() == interval
    with pytest.raises(ZeroDivisionError):
        short_turns(lambda: 1 / 0)()
    assert sys.getswitchinterval() == interval


def test_who_sets_another_time_has_the_last_word() -> None:
    short_turns(lambda: sys.setswitchinterval(0.25))()
    assert sys.getswitchinterval() == pytest.approx(0.25)
    sys.setswitchinterval(0.0001)
    assert short_turns(sys.getswitchinterval)() == pytest.approx(0.0001, rel=0.02)


def test_two_threads_that_overlap_leave_what_there_was(interval: float) -> None:
    inside, leave = threading.Event(), threading.Event()
    thread = threading.Thread(target=short_turns(lambda: inside.set() or leave.wait(20)))
    thread.start()

    def overlap() -> None:
        inside.wait(20)
        leave.set()
        thread.join()

    short_turns(overlap)()
    assert sys.getswitchinterval() == interval
