"""Values that a pass leaves for later passes over the same axes."""
from __future__ import annotations

import threading

import numpy as np
import pytest
from native_kernels import compile_kernel, each_features

from codegen.ir.dims import evaluate
from codegen.ir.types import DTYPES
from codegen.llvm_cpu.emit import emit_kernel
from codegen.llvm_cpu.features import AVX2, AVX512, Features
from codegen.llvm_cpu.prefetch import PAGE, ROWS, ahead_in_strips, ahead_of
from codegen.schedule.kernel import Kernel
from codegen.schedule.kernel_interpret import run_kernel
from codegen.schedule.kernel_text import parse_kernel
from codegen.schedule.kernel_verify import KernelError, verify_kernel
from codegen.schedule.shelves import shelved_values


def softmax(rows: int, columns: int, dtype: str) -> Kernel:
    return parse_kernel(f"""kernel (b0: {dtype}[{rows * columns}] in, b1: {dtype}[{rows * columns}] out) {{
      for i < {rows} parallel grain 8:
        pass j < {columns} vector:
          v0 = load b0[{columns}*i+j]
          v1 = exp v0
          v2 = accumulate sum v1
        pass j < {columns} vector:
          v3 = div v1 v2
          store b1[{columns}*i+j] v3
    }}""")


def above_the_mean(axes: str, inner: str, place: str, size: int, count: int) -> Kernel:
    """1 where a number is above 0 and the mean of its line is, too: what is shelved is a bool."""
    return parse_kernel(f"""kernel (b0: f32[{size}] in, b1: f32[{size}] out) {{
      {axes}
        pass {inner}:
          v0 = const 0.0 f32
          v1 = load b0[{place}]
          v2 = gt v1 v0
          v3 = accumulate sum v1
        pass:
          v4 = const {count} f32
          v5 = div v3 v4
        pass {inner}:
          v6 = const 0.0 f32
          v7 = gt v5 v6
          v8 = and v2 v7
          v9 = cast v8 f32
          store b1[{place}] v9
    }}""")


KERNELS = {
    **{f"softmax of {columns} {dtype}": softmax(37, columns, dtype)
       for dtype in ("f32", "f64", "f16") for columns in (3, 64, 1001)},
    "bools, rows": above_the_mean("for i < 5:", "j < 70 vector", "70*i+j", 350, 70),
    "bools, two inner axes": above_the_mean("for i < 5:", "j < 3, k < 70 vector", "210*i+70*j+k", 1050, 210),
    "bools, columns": above_the_mean("for i < 77 vector:", "j < 9", "77*j+i", 693, 9),
    "bools, one lane": above_the_mean("for i < 7:", "j < 9", "9*i+j", 63, 9),
}


@each_features
@pytest.mark.parametrize("name", KERNELS)
def test_what_is_shelved_is_taken_from_there(name: str, features) -> None:
    kernel = KERNELS[name]
    verify_kernel(kernel)
    assert shelved_values(kernel)
    dtype, size = DTYPES[kernel.params[0].dtype], kernel.params[0].size
    x = np.random.default_rng(0).normal(size=size).astype(dtype)
    found, expected = np.empty_like(x), np.empty_like(x)
    assert not compile_kernel(kernel, features)([x, found])
    assert run_kernel(kernel, [x, expected])
    np.testing.assert_allclose(found.astype(np.float64), expected.astype(np.float64), rtol=8 * np.finfo(dtype).eps)


@each_features
def test_shelves_are_not_on_a_small_stack(features) -> None:
    kernel = softmax(9, 16_000, "f64")
    x = np.random.default_rng(0).normal(size=9 * 16_000)
    found, run = np.empty_like(x), compile_kernel(kernel, features)
    before = threading.stack_size(1 << 16)
    try:
        thread = threading.Thread(target=run, args=([x, found],))
        thread.start()
    finally:
        threading.stack_size(before)
    thread.join()
    e = np.exp(x.reshape(9, -1))
    np.testing.assert_allclose(found.reshape(9, -1), e / e.sum(axis=1, keepdims=True), rtol=1e-12)


def test_over_other_axes_nothing_is_shelved() -> None:
    kernel = parse_kernel("""kernel (b0: f32[8] in, b1: f32[4] out) {
      pass i < 8 vector:
        v0 = load b0[i]
        v1 = accumulate sum v0
      pass i < 4 vector:
        store b1[i] v0
    }""")
    with pytest.raises(KernelError, match="v0 is not seen here"):
        verify_kernel(kernel)


def columns(rows: int, count: int) -> Kernel:
    return parse_kernel(f"""kernel (b0: f32[{rows * count}] in, b1: f32[{count}] out) {{
      for i < {count} vector parallel grain 64:
        pass j < {rows}:
          v0 = load b0[i+{count}*j]
          v1 = accumulate sum v0
        pass:
          store b1[i] v1
    }}""")


def test_what_is_fetched_ahead() -> None:
    """The next row, in the pass that computes most; some rows down where rows are far apart; else nothing."""
    kernel = softmax(37, 1001, "f32")
    ahead = ahead_of(kernel, AVX2)
    assert ahead is not None and ahead.number == 0
    ((buffer, index),) = ahead.places
    assert buffer == 0 and index.constant == 1001
    assert ahead_of(softmax(4, 1 << 17, "f32"), AVX2) is None
    down = ahead_of(columns(50, 1000), AVX2)
    assert down is not None and [index.constant for _, index in down.places] == [1000 * ROWS]
    assert ahead_of(columns(50, 100), AVX2) is None


@pytest.mark.parametrize(("count", "offsets", "further"), [
    (4096, (0, 4095, 4096, 4097, 8192), 8192 + 2 * 4096), (4096, (0, 4096), None), (4096, (4095, 4096, 4097), None),
    (512, (0, 4095, 4096, 4097, 8192), None)])
def test_what_stencils_fetch_ahead(count: int, offsets: tuple[int, ...], further: int | None) -> None:
    """Two rows after the last of three or more, where they are not in a cache anyway."""
    loads = "\n".join(f"v{k} = load b0[4096*i+j+{offset}]" for k, offset in enumerate(offsets))
    kernel = parse_kernel(f"""kernel (b0: f32[{count * 4096}] in, b1: f32[{(count - 2) * 4094}] out) {{
      for i < {count - 2}:
        for j < 4094 vector:
          pass:
            {loads}
            store b1[4094*i+j] v1
    }}""")
    ahead = ahead_of(kernel, AVX2)
    assert (ahead and [index.constant for _, index in ahead.places]) == (None if further is None else [further])


@pytest.mark.parametrize(("features", "size", "further"), [
    (AVX512, 1 << 24, PAGE // 4), (AVX512, 1 << 12, None), (AVX2, 1 << 24, None)])
def test_long_arrays_ask_for_the_next_page(features: Features, size: int, further: int | None) -> None:
    kernel = parse_kernel(f"""kernel (b0: f32[{size}] in, b1: f32[{size}] out) {{
      for i < {size} vector:
        pass:
          v0 = load b0[i]
          v1 = tanh v0
          store b1[i] v1
    }}""")
    ahead = ahead_of(kernel, features)
    assert (ahead and [index.constant for _, index in ahead.places]) == (None if further is None else [further])


def test_what_strips_fetch_ahead() -> None:
    """As many rows as they take together, of arrays that no cache of one processor holds."""
    large, small = columns(500, 1000), columns(50, 1000)
    ((_, index),) = ahead_in_strips(large, large.passes[0], 8)
    assert index.constant == 8 * 1000
    assert not ahead_in_strips(small, small.passes[0], 8)


def test_strips_of_any_size_fetch_ahead() -> None:
    """What is not known to be small may be far."""
    kernel = parse_kernel("""kernel (b0: f32[n0] in, b1: f32[n1] out) given 3 {
      for i < n1 vector:
        pass j < n2:
          v0 = load b0[i+n1*j]
          v1 = accumulate sum v0
        pass:
          store b1[i] v1
    }""")
    ((_, index),) = ahead_in_strips(kernel, kernel.passes[0], 8)
    assert evaluate(index.constant, {"n0": 30, "n1": 10, "n2": 3}) == 80


@each_features
@pytest.mark.parametrize("count", [500, 503])
def test_strips_that_fetch_past_the_end(count: int, features) -> None:
    x = np.random.default_rng(0).normal(size=(count, 1000)).astype(np.float32)
    y = np.empty(1000, np.float32)
    assert "prefetch" in emit_kernel(columns(count, 1000), "kernel", features)
    assert not compile_kernel(columns(count, 1000), features)([x.reshape(-1), y])
    np.testing.assert_allclose(y, x.astype(np.float64).sum(axis=0), rtol=1e-6, atol=1e-5)


@each_features
def test_fetching_past_the_end_does_no_harm(features) -> None:
    x = np.random.default_rng(0).normal(size=(5, 1000)).astype(np.float32)
    y = np.empty(1000, np.float32)
    assert not compile_kernel(columns(5, 1000), features)([x.reshape(-1), y])
    np.testing.assert_allclose(y, x.sum(axis=0), rtol=1e-5, atol=1e-6)
