"""Plans made by hand, with kernels written in LLVM, through the driver."""
from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator

import numpy as np
import pytest

from codegen.cache import Cache
from codegen.ir.types import TensorType
from codegen.llvm_cpu import driver, encode, entry
from codegen.llvm_cpu.blas import OWN
from codegen.llvm_cpu.build import build, unsupported
from codegen.llvm_cpu.link import compile_object, link
from codegen.llvm_cpu.runtime import runtime
from codegen.llvm_cpu.threads import get_num_threads, set_num_threads
from codegen.schedule.blocks import program_of_plan
from codegen.schedule.kernel import Axis, Gather, Index, Kernel, Param, Pass
from codegen.schedule.plan import Arena, Buffer, Check, Copy, Input, Launch, Matmul, Output, Plan

N, GRAIN = 10_000, 512

KERNELS = f"""
declare i64 @llvm.umin.i64(i64, i64)

; y = 2 x
define void @twice(ptr %buffers, i64 %first, i64 %last, ptr %failed) {{
entry:
  %y.at = getelementptr ptr, ptr %buffers, i64 1
  %x = load ptr, ptr %buffers
  %y = load ptr, ptr %y.at
  %begin = mul i64 %first, {GRAIN}
  %end.whole = mul i64 %last, {GRAIN}
  %end = call i64 @llvm.umin.i64(i64 %end.whole, i64 {N})
  br label %loop
loop:
  %i = phi i64 [ %begin, %entry ], [ %next, %loop ]
  %from = getelementptr float, ptr %x, i64 %i
  %to = getelementptr float, ptr %y, i64 %i
  %value = load float, ptr %from
  %double = fadd float %value, %value
  store float %double, ptr %to
  %next = add i64 %i, 1
  %more = icmp ult i64 %next, %end
  br i1 %more, label %loop, label %out
out:
  ret void
}}

; fails if the first element of x is negative
define void @check_sign(ptr %buffers, i64 %first, i64 %last, ptr %failed) {{
  %x = load ptr, ptr %buffers
  %value = load float, ptr %x
  %bad = fcmp olt float %value, 0.0
  br i1 %bad, label %fail, label %out
fail:
  store i32 1, ptr %failed
  br label %out
out:
  ret void
}}
"""
ROW = Param("f32", N, "in"), Param("f32", N, "out")
TWICE = Kernel(ROW, (Axis("i", N),), (Pass((), ()),), None, GRAIN)
CHECK_SIGN = Kernel(ROW[:1], (), (Pass((), (Gather(0, Index(), 0, 1, N),)),), None, 0)
TYPE = TensorType("f32", (N,))


@pytest.fixture(scope="module")
def kernels() -> dict[Kernel, int]:
    symbols = link(compile_object(KERNELS), ["twice", "check_sign"])
    return {TWICE: symbols["twice"], CHECK_SIGN: symbols["check_sign"]}


@pytest.fixture(params=["enter", "enter_table"])
def symbols(request: pytest.FixtureRequest) -> dict[str, int]:
    """The runtime, once as it is and once without reading objects natively."""
    found = runtime().symbols
    if request.param not in found:
        pytest.skip("objects are not laid out as expected by this Python")
    return {name: at for name, at in found.items() if name != "enter" or request.param == "enter"}


@pytest.fixture(params=[1, 3], autouse=True)
def threads(request: pytest.FixtureRequest) -> Iterator[None]:
    before = get_num_threads()
    set_num_threads(request.param)
    yield
    set_num_threads(before)


def row(place: Input | Output | Arena) -> Buffer:
    return Buffer("f32", N, place)


EIGHT_TIMES = Plan(
    (TYPE,), (TYPE,), (), (row(Input(0)), row(Arena(0)), row(Arena(4 * N + 64 - 4 * N % 64)), row(Output(0))),
    (Launch(TWICE, (0, 1)), Launch(TWICE, (1, 2)), Launch(TWICE, (2, 3))), 8 * N + 128)


def ready(plan: Plan, kernels: dict[Kernel, int], symbols: dict[str, int]) -> entry.Run:
    by_id = {id(kernel): address for kernel, address in kernels.items()}
    words = encode.encode(program_of_plan(plan), by_id, symbols, runtime().blas)
    return entry.make_run(words, plan.arena_bytes, symbols)


def numbers(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random(N, np.float32)


def test_launches_follow_each_other_through_the_arena(kernels, symbols) -> None:
    run = ready(EIGHT_TIMES, kernels, symbols)
    for seed in range(3):
        x, y = numbers(seed), np.zeros(N, np.float32)
        assert run((x, y)) == -1
        assert np.array_equal(y, 8 * x)


def test_an_aliased_output_is_its_input(kernels, symbols) -> None:
    plan = Plan((TYPE, TYPE), (TYPE, TYPE), ((0, 1),), (row(Input(0)), row(Output(0)), row(Output(1))),
                (Launch(TWICE, (0, 1)), Launch(TWICE, (0, 2))), 0)
    x, state, y = numbers(), np.zeros(N, np.float32), np.zeros(N, np.float32)
    assert ready(plan, kernels, symbols)((x, state, y)) == -1
    assert np.array_equal(state, 2 * x)
    assert np.array_equal(y, 2 * x)


def test_a_failed_check_leaves_before_what_follows(kernels, symbols) -> None:
    plan = Plan((TYPE,), (TYPE,), (), (row(Input(0)), row(Output(0))),
                (Launch(CHECK_SIGN, (0,)), Check(), Launch(TWICE, (0, 1))), 0)
    run = ready(plan, kernels, symbols)
    x, y = numbers(), np.zeros(N, np.float32)
    for sign in (1, -1, 1, -1):
        y[:] = 7
        assert run((sign * x, y)) == (-1 if sign > 0 else driver.CHECK_EXIT)
        assert np.array_equal(y, 2 * x if sign > 0 else np.full(N, 7, np.float32))


def test_a_check_sees_every_launch_before_it(kernels, symbols) -> None:
    plan = Plan((TYPE,), (TYPE,), (), (row(Input(0)), row(Output(0))),
                (Launch(CHECK_SIGN, (0,)), Launch(TWICE, (0, 1)), Check()), 0)
    run = ready(plan, kernels, symbols)
    x, y = numbers(), np.zeros(N, np.float32)
    assert [run((sign * x, y)) for sign in (-1, 1)] == [driver.CHECK_EXIT, -1]


@pytest.mark.parametrize("size", [0, 1, 1 << 16, 3_000_001])
def test_copies(size: int, symbols) -> None:
    type = TensorType("u8", (size,))
    plan = Plan((type,), (type,), (), (Buffer("u8", size, Input(0)), Buffer("u8", size, Output(0))), (Copy(0, 1),), 0)
    x, y = np.random.default_rng(0).integers(0, 256, size, np.uint8), np.zeros(size, np.uint8)
    assert ready(plan, {}, symbols)((x, y)) == -1
    assert np.array_equal(x, y)


def test_a_plan_without_steps(symbols) -> None:
    plan = Plan((TYPE,), (TYPE,), ((0, 0),), (row(Input(0)),), (), 0)
    x = numbers()
    assert ready(plan, {}, symbols)((x,)) == -1
    assert np.array_equal(x, numbers())


def test_arena_buffers_that_start_together_are_one_slot(kernels, symbols) -> None:
    """Storage that is reused: two buffers at one offset, one after the other."""
    plan = Plan((TYPE,), (TYPE,), (), (row(Input(0)), row(Arena(64)), Buffer("f64", N // 2, Arena(64)), row(Output(0))),
                (Launch(TWICE, (0, 1)), Launch(TWICE, (2, 3))), 64 + 4 * N)
    x, y = numbers(), np.zeros(N, np.float32)
    assert ready(plan, kernels, symbols)((x, y)) == -1
    assert np.array_equal(y, 4 * x)


def test_a_large_arena_is_aligned_to_huge_pages() -> None:
    offsets = (0, 1 << 22)
    buffers = (row(Input(0)), *(row(Arena(offset)) for offset in offsets), row(Output(0)))
    steps = tuple(Copy(k, k + 1) for k in range(3))
    plan = Plan((TYPE,), (TYPE,), (), buffers, steps, 1 << 23)
    program = encode.encode(program_of_plan(plan), {}, runtime().symbols, OWN)
    frame = entry.Frame(program, 1 << 23)
    start = frame.memory.ctypes.data
    words = frame.memory[frame.address - start:][:8 * program.frame_words].view(np.int64)
    arenas = [int(words[driver.FRAME_SLOTS + slot]) for slot, _ in program.arena_slots]
    assert [at % (1 << 21) for at in arenas] == [0, 0]
    assert all(start <= at and at + 4 * N <= start + frame.memory.size for at in arenas)
    assert frame.address + 8 * program.frame_words <= start + frame.memory.size


def test_runs_that_overlap_have_arenas_of_their_own(kernels, symbols) -> None:
    run = ready(EIGHT_TIMES, kernels, symbols)
    wrong: list[int] = []

    def call(seed: int) -> None:
        x, y = numbers(seed), np.zeros(N, np.float32)
        for _ in range(200):
            y[:] = 0
            if run((x, y)) != -1 or not np.array_equal(y, 8 * x):
                wrong.append(seed)

    callers = [threading.Thread(target=call, args=(seed,)) for seed in range(8)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert not wrong


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_runs(kernels, symbols) -> None:
    size = 200
    matrix = TensorType("f32", (1, size, size))
    places = Input(0), Input(1), Output(0)
    product = Plan((matrix, matrix), (matrix,), (), tuple(Buffer("f32", size * size, place) for place in places),
                   (Matmul(0, 1, 2, "f32", 1, size, size, size, False, False),), 0)
    run, multiply = ready(EIGHT_TIMES, kernels, symbols), build(program_of_plan(product), Cache(None)).run
    a = np.eye(size, dtype=np.float32)[None]

    def right() -> bool:
        x, y, c = numbers(), np.zeros(N, np.float32), np.zeros_like(a)
        done = run((x, y)) == -1 and multiply((a, 2 * a, c)) == -1
        return done and np.array_equal(y, 8 * x) and np.array_equal(c, 2 * a)

    assert right()
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(20)
        os._exit(0 if all(right() for _ in range(20)) else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert right()


def test_matmul_of_integers_is_declined() -> None:
    step = Matmul(0, 1, 2, "i32", 1, 2, 2, 2, False, False)
    assert unsupported(step) == "matmul of i32 is not compiled; the dtypes are f32, f64, bf16"
    assert unsupported(Copy(0, 1)) is None
