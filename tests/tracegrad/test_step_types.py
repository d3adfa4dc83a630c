"""Step types: the strides of what is put off are those that NumPy gives."""
from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from codegen.ir.ops import OPS
from tracegrad.step_types import input_of, result_of


@st.composite
def slices(draw: st.DrawFn) -> tuple[np.ndarray, dict[str, tuple[int, ...]]]:
    """An array, in any order, and what a slice of it takes; axes may be empty or have one element."""
    shape = draw(st.lists(st.integers(0, 5), min_size=1, max_size=3))
    x = np.zeros(shape, np.float32).transpose(draw(st.permutations(range(len(shape)))))
    starts = [draw(st.integers(0, size)) for size in x.shape]
    stops = [draw(st.integers(start, size)) for start, size in zip(starts, x.shape)]
    steps = [draw(st.integers(1, 3)) for _ in shape]
    return x, {"start": tuple(starts), "stop": tuple(stops), "step": tuple(steps)}


@given(slices())
def test_a_slice_lies_where_numpy_has_it(case: tuple[np.ndarray, dict[str, tuple[int, ...]]]) -> None:
    x, attrs = case
    expected = OPS["slice"].reference(x, **attrs)
    found = result_of("slice", False, (input_of(x),), tuple(attrs.items()))
    assert found is not None
    step_type, is_view = found
    assert is_view and step_type.shape == expected.shape and step_type.strides == expected.strides


@given(slices())
def test_what_backward_needs_of_it_says_how_it_lies(case: tuple[np.ndarray, dict[str, tuple[int, ...]]]) -> None:
    x, _ = case
    like = input_of(x).like
    assert (like.shape, like.dtype) == (x.shape, x.dtype)
    assert like.by_columns == (x.ndim > 1 and x.strides[-2] == x.itemsize < x.strides[-1])
