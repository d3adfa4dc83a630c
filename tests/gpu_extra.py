"""Tests that need a part of the gpu extra are skipped where it is not installed; nothing is imported to find out."""
from __future__ import annotations

from importlib.util import find_spec

import pytest

REASON = "the gpu extra is not installed"

needs_triton = pytest.mark.skipif(find_spec("triton") is None, reason=REASON)
needs_cupy = pytest.mark.skipif(find_spec("cupy") is None, reason=REASON)
