"""Loads and stores through any index and any guards, in memory whose surroundings must not be touched."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from guarded_memory import guarded
from hypothesis import given, settings
from hypothesis import strategies as st
from native_kernels import compile_kernel, each_features, elementwise_kernel, index, runnable

from codegen.ir.types import DTYPES
from codegen.llvm_cpu import memory, prefetch
from codegen.llvm_cpu.emit import emit_kernel
from codegen.llvm_cpu.features import Features
from codegen.llvm_cpu.memory import BEYOND_CACHES, LINE, PIECE, STREAMED
from codegen.schedule.kernel import (
    Axis,
    Binary,
    Const,
    Gather,
    Index,
    Kernel,
    Load,
    Param,
    Pass,
    Position,
    Quotient,
    Remainder,
    Scatter,
    Store,
    Unary,
    Within,
)
from codegen.schedule.kernel_text import parse_kernel

FORMS = ("outer vector", "pass vector", "scalar")


def value(i: Index, at: Mapping[str, int]) -> int:
    """An index at a point."""
    return i.constant + sum(c * term_value(t, at) for t, c in i.terms)


def term_value(term: str | Quotient | Remainder, at: Mapping[str, int]) -> int:
    match term:
        case str():
            return at[term]
        case Quotient():
            return value(term.index, at) // term.divisor
        case Remainder():
            return value(term.index, at) % term.divisor


def nest(form: str, params: tuple[Param, ...], rows: int, columns: int, body: tuple, grain: int = 0) -> Kernel:
    """A kernel over i < rows and j < columns, of one of the FORMS."""
    i, j = Axis("i", rows), Axis("j", columns)
    if form == "pass vector":
        return Kernel(params, (i,), (Pass((j,), body),), "j", grain)
    return Kernel(params, (i, j), (Pass((), body),), None if form == "scalar" else "j", grain)


def ramp(dtype: str, size: int) -> np.ndarray:
    """Numbers that tell their place, none of them 0 but in bool."""
    if dtype == "bool":
        return np.arange(size) % 3 == 0
    return (np.arange(size) % 97 + 1).astype(DTYPES[dtype])


@st.composite
def indices(draw, depth: int = 2) -> Index:
    """Indices over i and j, never negative."""
    terms = {}
    for axis in draw(st.sets(st.sampled_from("ij"))):
        terms[axis] = draw(st.sampled_from([1, 1, 1, 2, 3, 16, 64, 130]))
    if depth and draw(st.booleans()):
        kind = draw(st.sampled_from([Quotient, Remainder]))
        divisor = draw(st.sampled_from([2, 3, 7, 16, 32, 64, 128, 192]))
        terms[kind(draw(indices(depth - 1)), divisor)] = draw(st.sampled_from([1, 1, 2, 5]))
    return Index(tuple(sorted(terms.items(), key=lambda item: str(item[0]))), draw(st.sampled_from([0, 0, 1, 64])))


@st.composite
def guards(draw) -> tuple[Within, ...]:
    """Up to two guards that may hold nowhere, somewhere or everywhere."""
    found = []
    for _ in range(draw(st.integers(0, 2))):
        inner, below = draw(indices(1)), draw(st.integers(0, 9))
        low = draw(st.integers(-5, 40))
        found.append(Within(Index(inner.terms, inner.constant - below), low, low + draw(st.integers(0, 90))))
    return tuple(found)


@settings(deadline=None, max_examples=200, derandomize=True)
@given(st.data())
def test_a_load_reads_what_its_index_says_and_touches_nothing_else(data):
    rows, columns = data.draw(st.sampled_from([1, 2, 5])), data.draw(st.sampled_from([1, 3, 16, 64, 77, 130, 200]))
    i, within = data.draw(indices()), data.draw(guards())
    if data.draw(st.booleans()):       # also downwards
        i = Index(tuple((t, -c) for t, c in i.terms))
    points = [dict(i=r, j=c) for r, c in product(range(rows), range(columns))]
    held = [all(g.low <= value(g.index, p) < g.high for g in within) for p in points]
    reached = [value(i, p) for p, h in zip(points, held) if h]
    i = Index(i.terms, i.constant - min(reached, default=0))
    size = max(reached, default=0) - min(reached, default=0) + 1
    dtype = data.draw(st.sampled_from(["f32", "f64", "bool", "i16", "u8", "i64"]))
    source = guarded(ramp(dtype, size), data.draw(st.booleans()))
    expected = np.array([source[value(i, p)] if h else 0 for p, h in zip(points, held)], source.dtype)
    grain = data.draw(st.sampled_from([0, 1, 3]))
    features = data.draw(st.sampled_from(list(runnable().values())))
    for form in FORMS:
        body = (Load(0, i, within), Store(1, index(i=columns, j=1), 0))
        kernel = nest(form, (Param(dtype, size, "in"), Param(dtype, rows * columns, "out")), rows, columns, body, grain)
        result = guarded(np.zeros(rows * columns, source.dtype), True)
        compile_kernel(kernel, features)([source, result])
        np.testing.assert_array_equal(result, expected, f"{form} {features.cpu}")


REVERSED = Index((("i", 130), ("j", -1)), 129)
SWAPPED = Index(((Quotient(index(j=1), 26), 1), (Remainder(index(j=1), 26), 5), ("i", 130)))


@each_features
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", ["f32", "f64", "bool", "u8", "i16", "i64"])
@pytest.mark.parametrize("where", [index(i=130, j=1), index(i=1, j=3), REVERSED, SWAPPED],
                         ids=["contiguous", "strided", "reversed", "permuted"])
def test_a_store_writes_where_its_index_says_and_nowhere_else(where, dtype, form, features):
    rows, columns = 3, 130
    source = ramp(dtype, rows * columns)
    body = (Load(0, index(i=columns, j=1)), Store(1, where, 0))
    params = (Param(dtype, source.size, "in"), Param(dtype, source.size, "out"))
    expected = np.empty_like(source)
    for r, c in product(range(rows), range(columns)):
        expected[value(where, dict(i=r, j=c))] = source[r * columns + c]
    for at_end in (True, False):
        result = guarded(np.zeros_like(source), at_end)
        compile_kernel(nest(form, params, rows, columns, body, 2), features)([source, result])
        np.testing.assert_array_equal(result, expected)


@each_features
def test_chunks_run_apart_and_together(features):
    size, grain = 1000, 96
    params = (Param("f32", size, "in"), Param("f32", size, "out"))
    body = (Load(0, index(i=1)), Store(1, index(i=1), 0))
    kernel = Kernel(params, (Axis("i", size),), (Pass((), body),), "i", grain)
    run, source = compile_kernel(kernel, features), ramp("f32", size)
    assert kernel.chunks == 11
    for first, last in [(0, 1), (3, 5), (10, 11), (0, 11), (4, 4)]:
        result = np.zeros_like(source)
        run([source, result], first, last)
        inside = slice(first * grain, last * grain)
        np.testing.assert_array_equal(result[inside], source[inside])
        assert not result[:first * grain].any() and not result[last * grain:].any()


@each_features
@pytest.mark.parametrize("dtype", ["bool", "i16", "f32", "f64"])
@pytest.mark.parametrize("step", [1, 2, 3, 20, -1])
def test_vectors_that_end_where_chunks_do_touch_only_what_is_in_them(step, dtype, features):
    """How many lanes exist is known only at run time; reading, and writing, by a step."""
    size, grain = 300, 73
    where = index((size - 1) * max(-step, 0), i=step)
    spread = Param(dtype, (size - 1) * abs(step) + 1, "in")
    line = Param(dtype, size, "in")
    for source, target, (read, write) in ((spread, line, (where, index(i=1))), (line, spread, (index(i=1), where))):
        params = (source, replace(target, access="out"))
        kernel = Kernel(params, (Axis("i", size),), (Pass((), (Load(0, read), Store(1, write, 0))),), "i", grain)
        run = compile_kernel(kernel, features)
        for at_end in (True, False):
            x, y = guarded(ramp(dtype, source.size), at_end), guarded(np.zeros(target.size, DTYPES[dtype]), at_end)
            run([x, y], 1, 4)
            expected = np.zeros_like(y)
            for k in range(grain, 4 * grain):
                expected[value(write, {"i": k})] = x[value(read, {"i": k})]
            np.testing.assert_array_equal(y, expected)


@each_features
def test_a_param_that_is_read_and_written_is_read_anew_after_it_is_written(features):
    size, i = 300, index(i=1)
    body = (Load(0, i), Binary("add", 0, 0), Store(0, i, 1), Load(0, i), Store(1, i, 2))
    params = (Param("f32", size, "inout"), Param("f32", size, "out"))
    kernel = Kernel(params, (Axis("i", size),), (Pass((), body),), "i", 0)
    x, y = ramp("f32", size), np.zeros(size, np.float32)
    before = x.copy()
    compile_kernel(kernel, features)([x, y])
    np.testing.assert_array_equal(x, 2 * before)
    np.testing.assert_array_equal(y, 2 * before)


# ---- indirect accesses ----------------------------------------------------------------------------------------------


def take(indices: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Where indices point to, counting negative ones from the end, and which are in bounds."""
    wide = [int(k) for k in indices]
    good = np.array([-size <= k < size for k in wide])
    return np.array([k % size if g else 0 for k, g in zip(wide, good)]), good


@each_features
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", ["i32", "i64", "u8", "u32"])
@pytest.mark.parametrize("broken", [False, True])
@pytest.mark.parametrize("element", ["f32", "bool"])
def test_a_gather_reads_by_index_and_refuses_what_is_out_of_bounds(element, broken, dtype, form, features):
    rows, columns, size = 3, 77, 60
    generator = np.random.default_rng(1)
    limits = np.iinfo(DTYPES[dtype])
    k = generator.integers(-size if limits.min else 0, size, (rows, columns)).astype(DTYPES[dtype])
    if broken:
        k[1, 4], k[2, 76], k[0, 0] = limits.max, limits.min if limits.min else size, size
    source = guarded(ramp(element, size * rows), broken)
    params = (Param(element, source.size, "in"), Param(dtype, k.size, "in"), Param(element, k.size, "out"))
    body = (Load(1, index(i=columns, j=1)), Gather(0, index(i=1), 0, rows, size), Store(2, index(i=columns, j=1), 1))
    result = np.ones(k.size, source.dtype)
    failed = compile_kernel(nest(form, params, rows, columns, body), features)([source, k, result])
    where, good = take(k.reshape(-1), size)
    row = np.repeat(np.arange(rows), columns)
    np.testing.assert_array_equal(result, np.where(good, source[where * rows + row], 0))
    assert failed == broken


@each_features
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("bad", [None, -8, 7])
def test_a_gather_of_rows_reads_whole_rows(bad, form, features):
    rows, columns, size = 5, 70, 7
    k = np.array([0, -7, 3, 6, -1])
    if bad is not None:
        k[2] = bad
    source = guarded(ramp("f32", size * columns), False)
    params = (Param("f32", source.size, "in"), Param("i64", rows, "in"), Param("f32", rows * columns, "out"))
    body = (Load(1, index(i=1)), Gather(0, index(j=1), 0, columns, size), Store(2, index(i=columns, j=1), 1))
    result = np.ones(rows * columns, np.float32)
    failed = compile_kernel(nest(form, params, rows, columns, body), features)([source, k, result])
    where, good = take(k, size)
    np.testing.assert_array_equal(result.reshape(rows, columns), source.reshape(size, columns)[where] * good[:, None])
    assert failed == (bad is not None)


@each_features
@pytest.mark.parametrize("form", FORMS)
def test_a_gather_checks_only_where_its_guards_hold(form, features):
    rows, columns, size = 2, 100, 10
    k = np.full(rows * columns, 99)
    k.reshape(rows, columns)[:, 20:50] = 3
    within = (Within(index(j=1), 20, 50),)
    params = (Param("f32", size, "in"), Param("i64", k.size, "in"), Param("f32", k.size, "out"))
    body = (Load(1, index(i=columns, j=1)), Gather(0, index(), 0, 1, size, within), Store(2, index(i=columns, j=1), 1))
    source, result = ramp("f32", size), np.ones(k.size, np.float32)
    assert not compile_kernel(nest(form, params, rows, columns, body), features)([source, k, result])
    np.testing.assert_array_equal(result, np.where(k == 3, source[3], 0))


@each_features
@pytest.mark.parametrize("form", FORMS)
def test_a_gather_does_not_check_lanes_that_do_not_exist(form, features):
    """k is j itself: in the last vector the lanes past the axis would be out of bounds."""
    columns = 77
    params = (Param("f32", columns, "in"), Param("f32", columns, "out"))
    body = (Position(index(j=1), "i64"), Gather(0, index(), 0, 1, columns), Store(1, index(j=1), 1))
    source, result = guarded(ramp("f32", columns), True), np.zeros(columns, np.float32)
    assert not compile_kernel(nest(form, params, 1, columns, body), features)([source, result])
    np.testing.assert_array_equal(result, source)


@each_features
@pytest.mark.parametrize("form", FORMS)
def test_a_gather_from_nothing_is_refused(form, features):
    params = (Param("f32", 0, "in"), Param("i64", 70, "in"), Param("f32", 70, "out"))
    body = (Load(1, index(j=1)), Gather(0, index(), 0, 1, 0), Store(2, index(j=1), 1))
    result = np.ones(70, np.float32)
    run = compile_kernel(nest(form, params, 1, 70, body), features)
    assert run([np.empty(0, np.float32), np.zeros(70, np.int64), result])
    assert not result.any()


@each_features
@pytest.mark.parametrize("dtype", ["f32", "f64", "i32"])
@pytest.mark.parametrize("broken", [False, True])
@pytest.mark.parametrize("kind", ["add", "set"])
def test_a_scatter_writes_in_order_and_refuses_what_is_out_of_bounds(kind, broken, dtype, features):
    rows, columns, size = 4, 30, 9
    generator = np.random.default_rng(2)
    k = generator.integers(-size, size, (rows, columns))
    if broken:
        k[1, 3], k[3, 29] = size, np.iinfo(np.int64).min
    updates = (generator.normal(size=(rows, columns)) * 100).astype(DTYPES[dtype])
    target = guarded(ramp(dtype, size * columns), True)
    expected = target.copy()
    params = (Param(dtype, target.size, "inout"), Param("i64", k.size, "in"), Param(dtype, k.size, "in"))
    at = index(i=columns, j=1)
    body = (Load(1, at), Load(2, at), Scatter(kind, 0, index(j=1), 0, columns, size, 1))
    failed = compile_kernel(nest("scalar", params, rows, columns, body), features)([target, k, updates])
    for r, c in product(range(rows), range(columns)):
        if -size <= k[r, c] < size:
            place = k[r, c] % size * columns + c
            expected[place] = updates[r, c] + (expected[place] if kind == "add" else 0)
    np.testing.assert_array_equal(target, expected)
    assert failed == broken


@each_features
@pytest.mark.parametrize("dtype", ["i64", "i32", "u8"])
def test_rows_to_come_are_asked_for(dtype: str, features: Features, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the numbers none is read past the last; one may be of a row that is not there."""
    numbers, rows, columns = 13, 20, 70
    kernel = parse_kernel(f"""kernel (b0: {dtype}[{numbers}] in, b1: f32[{rows * columns}] in, b2: f32[910] out) {{
      for i < {numbers}:
        for j < {columns} vector:
          pass:
            v0 = load b0[i]
            v1 = gather b1[j] at v0*{columns} of {rows}
            store b2[{columns}*i+j] v1
    }}""")
    assert "prefetch" not in emit_kernel(kernel, "f", features)
    monkeypatch.setattr(prefetch, "LARGE", 1)
    assert "prefetch" in emit_kernel(kernel, "f", features)
    k = guarded(np.random.default_rng(0).integers(0, rows, numbers).astype(DTYPES[dtype]), True)
    x, y = ramp("f32", rows * columns), np.empty(910, np.float32)
    assert not compile_kernel.__wrapped__(kernel, features)([k, x, y])
    np.testing.assert_array_equal(y.reshape(numbers, columns), x.reshape(rows, columns)[k])
    k[-1] = 200
    assert compile_kernel.__wrapped__(kernel, features)([k, x, y])


@each_features
@pytest.mark.parametrize("offset", [0, 1])
def test_what_is_large_is_streamed_where_it_lies_well(offset: int, features: Features) -> None:
    """A tail that is no whole vector, and chunks, are stored as ever."""
    size = BEYOND_CACHES // 8 + 5
    kernel = replace(elementwise_kernel("neg", {}, ("f32",), size), grain=1 << 20)
    assert "!nontemporal" in emit_kernel(kernel, "f", features)
    room = np.zeros(size + 9, np.float32)
    first = -room.ctypes.data % PIECE // 4 + offset
    x, y = np.arange(size, dtype=np.float32), room[first:first + size]
    compile_kernel(kernel, features)([x, y])
    assert np.array_equal(y, -x)
    assert not room[:first].any() and not room[first + size:].any()


@each_features
@pytest.mark.parametrize("offset", [0, PIECE])
def test_what_is_streamed_may_be_narrower_than_a_line(offset: int, features: Features) -> None:
    """A vector of bools is less than a line of memory when it is made of f64s."""
    size, i = STREAMED + 5, index(i=1)
    params = (Param("f64", size, "in"), Param("bool", size, "out"))
    body = (Load(0, i), Const("0.5", "f64"), Binary("lt", 0, 1), Store(1, i, 2))
    kernel = Kernel(params, (Axis("i", size),), (Pass((), body),), "i", 1 << 20)
    assert ("!nontemporal" in emit_kernel(kernel, "f", features)) == (features.vector_bytes > PIECE)
    room = np.zeros(size + 2 * LINE, np.bool_)
    first = -room.ctypes.data % LINE + offset
    x, y = np.random.default_rng(0).random(size), room[first:first + size]
    compile_kernel(kernel, features)([x, y])
    assert np.array_equal(y, x < 0.5)


@each_features
@pytest.mark.parametrize("given", [False, True])
@pytest.mark.parametrize("columns", [20, 96, 100])
def test_rows_that_are_short_are_streamed_where_they_lie_well(columns: int, given: bool, features: Features,
                                                              monkeypatch: pytest.MonkeyPatch) -> None:
    """Of known sizes, and of those that turn out to be large enough or not; rows of 20 and 100 begin here and there:
    those of 100 are streamed by lines if that is known, and those of 20 not at all."""
    monkeypatch.setattr(memory, "BEYOND_CACHES", 1 << 12)
    monkeypatch.setattr(memory, "STREAMED", 1 << 11)
    rows, n0, n1, n2, words = (9, "n0", "n1", "n2", "given 3 ") if given else (9, 9 * columns, 9, columns, "")
    kernel = parse_kernel(f"""kernel (b0: f32[{n0}] in, b1: f32[{n0}] out) {words}{{
      for i < {n1}:
        pass j < {n2} vector:
          v0 = load b0[{n2}*i+j]
          v1 = neg v0
          store b1[{n2}*i+j] v1
    }}""")
    streamed = {16: 1, 32: 6, 64: 10}[features.vector_bytes] if given or columns == 96 else int(columns == 100)
    assert emit_kernel(kernel, "f", features).count("!nontemporal") == streamed
    run = compile_kernel.__wrapped__(kernel, features)
    for count in (rows, 4) if given else (rows,):
        x = np.arange(1, count * columns + 1, dtype=np.float32)
        for offset in (0, 1, 4, 8):
            room = np.zeros(x.size + 24, np.float32)
            first = -room.ctypes.data % LINE // 4 + offset
            y = room[first:first + x.size]
            run([x, y], words=(x.size, count, columns) if given else ())
            assert np.array_equal(y, -x) and np.count_nonzero(room) == x.size


@each_features
def test_what_fits_the_caches_or_is_small_or_is_read_again_is_not_streamed(features: Features) -> None:
    def streams(bytes_read: int, bytes_written: int) -> bool:
        kernel = elementwise_kernel("neg", {}, ("f32",), bytes_written // 4)
        params = (Param("f32", bytes_read // 4, "in"), kernel.params[1])
        return "!nontemporal" in emit_kernel(replace(kernel, params=params), "f", features)

    assert streams(BEYOND_CACHES - STREAMED, STREAMED)
    assert not streams(BEYOND_CACHES - STREAMED - 4, STREAMED) and not streams(BEYOND_CACHES, STREAMED - 4)
    size = BEYOND_CACHES // 4
    again = Kernel((Param("f32", size, "inout"),), (Axis("i", size),), (
        Pass((), (Load(0, index(i=1)), Unary("neg", 0), Store(0, index(i=1), 1))),), "i", 0)
    assert "!nontemporal" not in emit_kernel(again, "f", features)
