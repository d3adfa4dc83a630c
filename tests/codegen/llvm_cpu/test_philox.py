"""RandomWord against the reference random_bits, however the words are laid out over lanes."""
from __future__ import annotations

import numpy as np
import pytest
from native_kernels import compile_kernel, each_features, index

from codegen.ir.references import random_bits
from codegen.schedule.kernel import Axis, Index, Kernel, Load, Param, Pass, Quotient, RandomWord, Store

WORDS = 1500


def draw(features, extent: int, where: Index, vector: str | None, key: int, counter: int) -> np.ndarray:
    """out[i] = word `where` under key and counter, for i < extent."""
    params = (Param("u64", 1, "in"), Param("u64", 1, "in"), Param("u32", extent, "out"))
    body = (Load(0, index()), Load(1, index()), RandomWord(0, 1, where), Store(2, index(i=1), 2))
    kernel = Kernel(params, (Axis("i", extent),), (Pass((), body),), vector, 48)
    result = np.zeros(extent, np.uint32)
    compile_kernel(kernel, features)([np.array([key], np.uint64), np.array([counter], np.uint64), result])
    return result


@each_features
@pytest.mark.parametrize("vector", ["i", None])
@pytest.mark.parametrize("key, counter", [(0, 0), (0x0123456789ABCDEF, 0xFFFFFFF0), (2**64 - 1, 2**64 - 7)])
def test_random_words(key, counter, vector, features):
    with np.errstate(over="ignore"):
        words = random_bits(np.uint64(key), np.uint64(counter), shape=(4 * WORDS,))
    layouts = {"in order": (index(i=1), 1, 0), "shifted": (index(5, i=1), 1, 5),
               "shifted by two blocks": (index(8, i=1), 1, 8), "every third": (index(i=3), 3, 0)}
    for name, (where, step, first) in layouts.items():
        for extent in (1, 3, 4, 64, WORDS):
            result = draw(features, extent, where, vector, key, counter)
            np.testing.assert_array_equal(result, words[first:first + step * extent:step], f"{name} {extent}")
    repeated = draw(features, 300, Index(((Quotient(index(i=1), 3), 1),)), vector, key, counter)
    np.testing.assert_array_equal(repeated, np.repeat(words[:100], 3))
    np.testing.assert_array_equal(draw(features, 70, index(9), vector, key, counter), np.full(70, words[9]))
