"""The examples in docstrings run and give what they say."""
from __future__ import annotations

import doctest
from types import ModuleType

import pytest

import tracegrad as tg
from tracegrad import (
    autodiff,
    autograd,
    convolution,
    creation,
    diagonals,
    dtypes,
    functional,
    io,
    losses,
    manipulation,
    movement,
    pooling,
    random,
    splitting,
    windows,
)

WITH_EXAMPLES = (autodiff, autograd, creation, diagonals, dtypes, functional, losses, manipulation, movement, random,
                 splitting, convolution, pooling, windows)


@pytest.mark.parametrize("module", [*WITH_EXAMPLES, io], ids=lambda module: module.__name__)
def test_examples(module: ModuleType) -> None:
    found = doctest.testmod(module, extraglobs={"tg": tg})
    assert found.failed == 0
    assert found.attempted > 0 or module not in WITH_EXAMPLES
