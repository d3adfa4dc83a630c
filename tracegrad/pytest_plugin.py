"""A plugin of pytest: `pytest --tracegrad-no-fallback` fails each test in which a traced function runs eagerly.

    FAILED test_model.py::test_step - step: model.py:42: not compiled: the run read a tensor's value ...

1. A call counts when it ran as plain Python because it could not be compiled, in the test or in its fixtures, whichever
   thread it was in, and as often as it did: also where the warning was given long before.
2. A call that records does not count, nor one that follows (its tensor work is compiled), is audited, or runs under
   `tg.eager()`.
3. A test that means to fall back says so: `@pytest.mark.tracegrad_may_fall_back`.
"""
from __future__ import annotations

from collections.abc import Generator

import pytest

from tracegrad.fallbacks import watched_fallbacks

MARK = "tracegrad_may_fall_back"


def pytest_addoption(parser: pytest.Parser) -> None:
    """The option."""
    parser.getgroup("tracegrad").addoption(
        "--tracegrad-no-fallback", action="store_true",
        help="fail tests in which a function traced by tracegrad runs eagerly because it cannot be compiled")


def pytest_configure(config: pytest.Config) -> None:
    """Without the option nothing happens."""
    config.addinivalue_line("markers", f"{MARK}: --tracegrad-no-fallback does not fail this test")
    if config.getoption("--tracegrad-no-fallback"):
        config.pluginmanager.register(NoFallback(), "tracegrad-no-fallback")


class NoFallback:
    """Watches each phase of each test."""

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Generator[None, object, object]:
        return (yield from self._watch(item))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, object, object]:
        return (yield from self._watch(item))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Generator[None, object, object]:
        return (yield from self._watch(item))

    @staticmethod
    def _watch(item: pytest.Item) -> Generator[None, object, object]:
        with watched_fallbacks() as seen:
            outcome = yield                                     # a test that fails by itself says that
        if seen and item.get_closest_marker(MARK) is None:
            pytest.fail("\n".join(dict.fromkeys(map(str, seen))), pytrace=False)
        return outcome
