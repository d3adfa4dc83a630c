"""pytest --tracegrad-no-fallback: a test in which a traced function runs eagerly fails, and says why."""
from __future__ import annotations

import pytest

pytest_plugins = ["pytester"]

PROGRAM = """
import threading
import numpy as np
import pytest
import tracegrad as tg

X = np.ones(3)                     # NumPy code that prints is neither replayed nor followed

@tg.trace
def printing(x):
    print("called")
    return x * 2.0

@tg.trace
def clean(x):
    return x * 2.0

@pytest.fixture
def made():
    return printing(X)

def test_clean():
    assert clean(X).sum() == clean(X).sum() == 6.0

def test_first():
    printing(X)

def test_again():                  # no warning is given this time
    printing(X)

def test_in_a_thread():
    thread = threading.Thread(target=printing, args=(X,))
    thread.start()
    thread.join()

def test_in_a_fixture(made):
    pass

def test_that_is_eager():
    with tg.eager():
        printing(X)

@pytest.mark.tracegrad_may_fall_back
def test_that_may():
    printing(X)

def test_that_fails_by_itself():
    printing(X)
    raise KeyError("mine")
"""


@pytest.fixture
def run(pytester, monkeypatch):
    """Runs the program above with the plugin, which may also be installed."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("COLUMNS", "400")        # so that summaries are not cut
    pytester.makepyfile(PROGRAM)
    return lambda *options: pytester.runpytest("-p", "tracegrad.pytest_plugin", "--strict-markers", "-ra", *options)


def test_without_the_option_nothing_fails(run):
    run("-W", "ignore").assert_outcomes(passed=7, failed=1)


def test_with_the_option_each_fallback_fails_its_test(run):
    result = run("--tracegrad-no-fallback")
    result.assert_outcomes(passed=3, failed=4, errors=1, warnings=1)
    for name in ("test_first", "test_again", "test_in_a_thread"):
        result.stdout.re_match_lines([rf"FAILED .*::{name} - Failed: printing: .*not compiled: .*"])
    result.stdout.re_match_lines([r"ERROR .*::test_in_a_fixture - Failed: printing: .*not compiled: .*"])
    result.stdout.re_match_lines([r"FAILED .*::test_that_fails_by_itself - KeyError: 'mine'"])
