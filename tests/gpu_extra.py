"""Tests that need a part of the gpu extra are skipped where it is not installed; nothing is imported to find out.

With TRACEGRAD_TEST_GPU=1 in the environment none is skipped for that: where the extra is missing, they fail.
"""
from __future__ import annotations

import os
from importlib.util import find_spec

import pytest

REASON = "the gpu extra is not installed"


def needs(module: str) -> pytest.MarkDecorator:
    """The mark of tests that need this module of the extra."""
    return pytest.mark.skipif(find_spec(module) is None and "TRACEGRAD_TEST_GPU" not in os.environ, reason=REASON)


needs_triton, needs_cupy = needs("triton"), needs("cupy")
