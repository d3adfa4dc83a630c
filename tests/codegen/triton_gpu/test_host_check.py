"""host_check: kernels in Triton's interpreter compute what a GPU computes, and go wrong with a name and a line."""
from __future__ import annotations

import os
import threading

import numpy as np
import pytest
from gpu_extra import needs_triton

from codegen.ir.dims import Size, ceil_div, symbol
from codegen.ir.types import DTYPES
from codegen.triton_gpu import host_check
from codegen.triton_gpu.host_check import run
from codegen.triton_gpu.spec import KernelError, KernelSpec

HEAD = """import triton
import triton.language as tl
from triton.language.extra import libdevice


@triton.jit
def larger(a, b):
    return tl.where((a >= b) | (a != a), a, b)


@triton.jit
def kernel({arguments}X: tl.constexpr):
    x = tl.program_id(0) * X + tl.arange(0, X)
"""


def spec(body: str, *pointers: str, checked: bool = False, words: int = 0, grid: Size = 1, block: int = 8,
         word_type: str = "i32") -> KernelSpec:
    arguments = [*(f"b{k}" for k in range(len(pointers))), *(("failed",) if checked else ()),
                 *(f"n{k}" for k in range(words))]
    source = HEAD.format(arguments="".join(f"{a}, " for a in arguments))
    source += "".join(f"    {line}\n" for line in body.splitlines())
    return KernelSpec("kernel", source, pointers, checked, words, (("X", block),), grid, 4, word_type=word_type)


COPY = "tl.store(b1 + x, tl.load(b0 + x, mask=x < n0), mask=x < n0)"


def copy(element: str = "fp32") -> KernelSpec:
    return spec(COPY, element, element, words=1, grid=ceil_div(symbol("n0"), 8))


def test_the_error_without_triton_names_what_to_install(monkeypatch):
    monkeypatch.setattr(host_check, "find_spec", lambda name: None)
    assert not host_check.has_triton()
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'tracegrad\[gpu\]'"):
        run(copy(), [np.zeros(3, "f4"), np.zeros(3, "f4")], [3])


@needs_triton
@pytest.mark.parametrize("dtype, element", [("f32", "fp32"), ("bool", "i1"), ("bf16", "bf16"), ("u64", "u64"),
                                            ("i8", "i8"), ("f64", "fp64"), ("f16", "fp16")])
def test_a_launch_writes_in_place_what_is_inside(dtype, element):
    x, out = np.arange(21).astype(DTYPES[dtype]), np.zeros(21, DTYPES[dtype])
    assert run(copy(element), [x, out], [20])
    assert np.array_equal(out[:20], x[:20]) and not out[20]


@needs_triton
def test_an_empty_launch_runs_nothing():
    assert run(copy(), [np.zeros(0, "f4"), np.zeros(0, "f4")], [0])


@needs_triton
@pytest.mark.parametrize("buffers, words, said", [
    ([np.zeros(3, "f8"), np.zeros(3, "f4")], [3], "buffer 0 of kernel kernel is of fp32, not of float64"),
    ([np.zeros((3, 1), "f4"), np.zeros(3, "f4")], [3], "buffer 0 of kernel kernel is no flat array"),
    ([np.zeros(3, "f4")], [3], "takes 2 buffers and 1 words, not 1 and 1"),
])
def test_what_a_kernel_does_not_take_is_refused(buffers, words, said):
    with pytest.raises(TypeError, match=said):
        run(copy(), buffers, words)


@needs_triton
@pytest.mark.parametrize("body, said", [
    ("tl.store(b1 + x, tl.load(b0 + x))", "load out of bounds: element 5 of buffer 0, which has 5"),
    ("tl.store(b1 - 1 + x, 0.0, mask=x < 3)", "store out of bounds: element -1 of buffer 1, which has 8"),
    ("tl.load(b0 + 5)", "load out of bounds: element 5 of buffer 0, which has 5"),
    ("tl.atomic_add(b0 + 4 + x, 1.0)", "atomic access out of bounds: element 5 of buffer 0, which has 5"),
    ("tl.store(b0 + x * 1000000, 0.0)", "store out of bounds: element 1000000 of buffer 0"),
    ("tl.store(b2 + x, 0.0)", "store to buffer 2, which is only read"),
])
def test_an_access_out_of_bounds_names_kernel_line_and_buffer(body, said):
    read_only = np.zeros(8, "f4")
    read_only.flags.writeable = False
    arrays = [np.zeros(5, "f4"), np.ones(8, "f4"), read_only]
    with pytest.raises(IndexError) as caught:
        run(spec(f"y = x\n{body}", "fp32", "fp32", "fp32"), arrays)
    assert str(caught.value).startswith(f"kernel kernel, program 0 of 1, line 15: {body}\n{said}")
    assert np.array_equal(arrays[1], np.ones(8))


@needs_triton
@pytest.mark.parametrize("body, said", [
    ("tl.load(b0 + y)", "NameError: name 'y' is not defined"),
    ("v = tl.load(b0 + x).to(tl.bfloat16)\nv + v", "arithmetic on bfloat16: generated code computes in fp32"),
    ("tl.sum(tl.load(b0 + x).to(tl.bfloat16), 0)", "bfloat16: generated code computes in fp32"),
    ("x // (x - 3)", "ZeroDivisionError"),
    ("libdevice.yn(x, x)", "libdevice.yn is not known"),
    ("libdevice.tanh(x)", "it takes one of fp32 and fp64"),
])
def test_an_error_in_a_kernel_names_its_line(body, said):
    with pytest.raises(KernelError) as caught:
        run(spec(body, "fp32"), [np.zeros(8, "f4")])
    assert said in str(caught.value) and f": {body.splitlines()[-1]}\n" in str(caught.value)


def results(body: str, *operands: np.ndarray, out: str = "f4", elements: str = "fp32", block: int = 8) -> np.ndarray:
    result = np.zeros(block, out)
    assert run(spec(body, *("fp32",) * len(operands), elements, block=block), [*operands, result])
    return result


@needs_triton
def test_bfloat16_rounds_to_nearest_even():
    x = np.array([1.0117, 3.4e38, 1e-40, np.nan, -np.inf, 1.00390625, 1.01171875, -0.0], np.float32)
    body = "tl.store(b1 + x, tl.load(b0 + x).to(tl.bfloat16))"
    assert np.array_equal(results(body, x, out="u2", elements="bf16").view(DTYPES["bf16"]).astype("f4"),
                          x.astype(DTYPES["bf16"]).astype("f4"), equal_nan=True)


@needs_triton
def test_a_double_is_rounded_to_bfloat16_once():
    x = np.array([1.00390625 + 1e-12, 1.00390625 - 1e-12, 1e300, -1e-300, 3.0, np.nan, np.inf, 1.01171875 - 1e-13])
    out = np.zeros(8, DTYPES["bf16"])
    assert run(spec("tl.store(b1 + x, tl.load(b0 + x).to(tl.bfloat16))", "fp64", "bf16"), [x, out])
    assert out[:2].astype("f4").tolist() == [1.0078125, 1.0] and out[7] == np.float32(1.0078125)


@needs_triton
@pytest.mark.parametrize("precision, least, most", [("ieee", 0.0, 1e-6), ("tf32", 1e-5, 1e-3)])
def test_a_dot_of_fp32_is_as_precise_as_it_says(precision, least, most):
    rng = np.random.default_rng(0)
    a, b, out = rng.normal(size=(3, 256)).astype("f4")
    body = f"""p = x[:, None] * X + x[None, :]
tl.store(b2 + p, tl.dot(tl.load(b0 + p), tl.load(b1 + p), input_precision={precision!r}))"""
    assert run(spec(body, "fp32", "fp32", "fp32", block=16), [a, b, out])
    exact = a.astype("f8").reshape(16, 16) @ b.astype("f8").reshape(16, 16)
    assert least <= np.linalg.norm(out.reshape(16, 16) - exact) / np.linalg.norm(exact) < most


@needs_triton
def test_a_dot_of_bfloat16_multiplies_what_the_bits_stand_for():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 256)).astype(DTYPES["bf16"])
    out = np.zeros(256, "f4")
    body = "p = x[:, None] * X + x[None, :]\ntl.store(b2 + p, tl.dot(tl.load(b0 + p), tl.load(b1 + p)))"
    assert run(spec(body, "bf16", "bf16", "fp32", block=16), [a, b, out])
    exact = a.astype("f4").reshape(16, 16) @ b.astype("f4").reshape(16, 16)
    assert np.allclose(out.reshape(16, 16), exact, rtol=1e-6, atol=1e-6)


@needs_triton
def test_the_maximum_of_a_number_and_nan():
    x = np.array([np.nan, 1, 2, 3, 4, 5, 6, np.nan], np.float32)
    assert results("tl.store(b1 + x, tl.maximum(tl.load(b0 + x), 3.0))", x).tolist() == [3, 3, 3, 3, 4, 5, 6, 3]
    kept = results("tl.store(b1 + x, tl.maximum(tl.load(b0 + x), 3.0, propagate_nan=tl.PropagateNan.ALL))", x)
    assert np.isnan(kept[[0, 7]]).all()
    assert np.isnan(results("tl.store(b1 + x, tl.reduce(tl.load(b0 + x), 0, larger))", x)).all()


@needs_triton
def test_scans_and_reductions_of_a_function_combine_what_is_there():
    x = np.array([3, 1, 4, 1, 5, 9, 2, 6], np.float32)
    running = results("tl.store(b1 + x, tl.associative_scan(tl.load(b0 + x), 0, larger))", x)
    assert running.tolist() == [3, 3, 4, 4, 5, 9, 9, 9]
    assert results("tl.store(b1 + x, tl.reduce(tl.load(b0 + x), 0, larger))", x).tolist() == [9] * 8


@needs_triton
def test_the_device_library_computes():
    x = np.linspace(-0.9, 0.9, 8, dtype=np.float32)
    for name, exact in (("tanh", np.tanh), ("expm1", np.expm1), ("asin", np.arcsin)):
        assert np.allclose(results(f"tl.store(b1 + x, libdevice.{name}(tl.load(b0 + x)))", x), exact(x), rtol=1e-6)


@needs_triton
def test_a_loop_to_a_number_known_at_run_time():
    out = np.zeros(8, np.int64)
    body = "s = tl.zeros([X], dtype=tl.int64)\nfor i in range(0, n0, 2):\n    s += i\ntl.store(b0 + x, s + n1)"
    assert run(spec(body, "i64", words=2, word_type="i64"), [out], [7, 1 << 40])
    assert (out == 12 + (1 << 40)).all()


@needs_triton
def test_nothing_undefined_comes_out_as_if_it_were_defined():
    x = np.array([np.nan, 1e10, -1e10, 1, 2, 3, 4, 5], np.float32)
    whole = results("tl.store(b1 + x, tl.load(b0 + x).to(tl.int32))", x, out="i4", elements="i32")
    assert whole[3:].tolist() == [1, 2, 3, 4, 5] and (whole[:3] == -1515870811).all()
    shifted = results("tl.store(b1 + x, 1 << (x + 28))", x, out="i4", elements="i32")
    assert shifted[3] == np.int32(-1 << 31) and (shifted[4:] == -1515870811).all()
    assert np.isnan(results("tl.store(b1 + x, tl.load(b0 + x, mask=x < 3))", x)[3:]).all()


@needs_triton
def test_a_check_of_the_kernel_is_told():
    body = "tl.store(failed, 1, mask=tl.sum((tl.load(b0 + x) > 5).to(tl.int32), 0) > 0)"
    assert run(spec(body, "fp32", checked=True), [np.zeros(8, "f4")])
    assert not run(spec(body, "fp32", checked=True), [np.full(8, 6, "f4")])


@needs_triton
def test_a_kernel_that_ends_the_process_is_an_error_and_the_next_has_another():
    with pytest.raises(KernelError, match="kernel kernel ended Triton's interpreter: it ended with signal 11"):
        run(spec("import ctypes\nctypes.string_at(0)", "fp32"), [np.zeros(8, "f4")])
    x, out = np.arange(8, dtype="f4"), np.zeros(8, "f4")
    assert run(copy(), [x, out], [8]) and np.array_equal(out, x)


@needs_triton
def test_a_child_of_fork_has_a_process_of_its_own():
    x, out = np.arange(8, dtype="f4"), np.zeros(8, "f4")
    assert run(copy(), [x, out], [8])
    child = os.fork()
    if child == 0:
        os._exit(0 if run(copy(), [x, out], [8]) else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert run(copy(), [x, out], [8])


@needs_triton
def test_threads_take_turns():
    outs = [np.zeros(8, "f4") for _ in range(8)]

    def work(k: int) -> None:
        for _ in range(5):
            run(copy(), [np.full(8, k, "f4"), outs[k]], [8])

    threads = [threading.Thread(target=work, args=(k,)) for k in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert all((out == k).all() for k, out in enumerate(outs))


RACES = {
    "tl.store(b0 + 4 * p + y, y + 1.0)\ntl.load(b0 + 12 - 12 * p)":
        "it reads element 0 of buffer 0, which was changed by program 0",
    "tl.store(b0 + 4 * p + y, tl.load(b0 + 4 + 8 * p) + 1)":
        "it writes element 4 of buffer 0, which was read by program 0",
    "tl.store(b0 + y, y + 1.0 + p)": "it writes element 0 of buffer 0, which was changed by program 0",
    "tl.store(b0 + y, y + 1.0)\ntl.load(b0 + 3 - y)":
        "it reads element 3 of buffer 0, which was written by itself, with no barrier in between",
    "tl.store(b0 + x % 4, x + 1.0)": "lanes of one store write different values to an element of buffer 0",
    "tl.atomic_add(b0 + y, 1.0)\ntl.load(b0)":
        "it reads element 0 of buffer 0, which was changed by atomic accesses",
    "tl.store(b0 + p, tl.load(b0 + p) + 1)":
        "it writes element 0 of buffer 0, which was read by several of its threads, with no barrier in between",
    "tl.load(b0 + 4 * p)\ntl.atomic_add(b0 + 12 - 12 * p + y, 1.0)":
        "it changes, atomically, element 0 of buffer 0, which was read by program 0",
}
NEAR_RACES = {
    "a barrier": "tl.store(b0 + 4 * p + y, y + 1.0)\ntl.debug_barrier()\ntl.load(b0 + 4 * p + 3 - y)",
    "one value": "tl.store(b0 + y, y + 1.0)",
    "atomic": "tl.atomic_add(b0 + y, 1.0)",
    "its own": "w = 128 * p + tl.arange(0, 128)\ntl.store(b0 + w, tl.load(b0 + w) + 1.0)\ntl.store(b0 + w, 5.0)",
    "threads that wait": "v = tl.load(b0 + p)\ntl.debug_barrier()\ntl.store(b0 + p, v + 1)",
}


def raced(body: str) -> bool:
    return run(spec(f"p, y = tl.program_id(0), tl.arange(0, 4)\n{body}", "fp32", grid=2), [np.zeros(256, "f4")])


@needs_triton
@pytest.mark.parametrize("body", RACES)
def test_an_order_that_a_gpu_does_not_keep_is_an_error(body):
    with pytest.raises(KernelError) as caught:
        raced(body)
    assert str(caught.value).endswith(f"Race: {RACES[body]}")


@needs_triton
@pytest.mark.parametrize("body", NEAR_RACES.values(), ids=NEAR_RACES)
def test_what_no_order_changes_is_no_race(body):
    assert raced(body)
