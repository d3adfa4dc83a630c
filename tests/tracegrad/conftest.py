"""Every test of tracegrad starts from the settings of a fresh process."""
from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

import tracegrad as tg


@pytest.fixture(autouse=True)
def settings_restored() -> Iterator[None]:
    """What a test sets for the process, the default dtype and the default generator's stream, does not outlive it."""
    tg.manual_seed(0)
    yield
    tg.set_default_dtype(tg.float32)


@pytest.fixture
def heard() -> Iterator[None]:
    """Ctrl-C raises, also where a shell has started the tests with it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
