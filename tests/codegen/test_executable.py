"""An Executable called safely: wrong arguments are TypeErrors, odd ones work, inputs stay as they are."""
from __future__ import annotations

import threading

import numpy as np
import pytest

from codegen.compiler import compile_program
from codegen.executable import Executable, ExitTaken
from codegen.ir.builder import Builder
from codegen.ir.types import TensorType
from codegen.targets import TARGETS

pytestmark = pytest.mark.usefixtures("oracle_device")


@pytest.fixture(params=TARGETS)
def target(request: pytest.FixtureRequest) -> str:
    return request.param


def rows_less_max(target: str) -> Executable:
    """(x - max of each row, 2 * step), where the second is written over step."""
    b = Builder("rows")
    x, step = b.input(TensorType("f32", (3, 4))), b.input(TensorType("f32"))
    graph = b.graph([x - x.emit("max", axis=(1,), keepdims=True), step * 2.0])
    return compile_program(graph, target, aliases=((1, 1),))


X = np.arange(12, dtype=np.float32).reshape(3, 4)
EXPECTED = X - X.max(axis=1, keepdims=True)
STEP = np.asarray(3, np.float32)


def read_only(x: np.ndarray) -> np.ndarray:
    x = x.copy()
    x.flags.writeable = False
    return x


def misaligned(x: np.ndarray) -> np.ndarray:
    room = np.zeros(x.nbytes + 1, np.uint8)[1:].view(x.dtype).reshape(x.shape)
    room[...] = x
    assert not room.flags.aligned
    return room


class Subclass(np.ndarray):
    """An array of a class of one's own."""


@pytest.mark.parametrize("x", [
    X, X.T.copy().T, X[::-1].copy()[::-1], np.repeat(X, 2, axis=1)[:, ::2], read_only(X), misaligned(X),
    X.view(Subclass),
], ids=["contiguous", "by columns", "reversed", "strided", "read-only", "misaligned", "subclass"])
def test_any_layout_of_an_input_works(target: str, x: np.ndarray) -> None:
    y, step = rows_less_max(target)(x, STEP)
    assert type(y) is np.ndarray
    assert np.array_equal(y, EXPECTED)
    assert step == 6


def test_inputs_stay_as_they_are(target: str) -> None:
    x, step = X.copy(), STEP.copy()
    rows_less_max(target)(x, step)
    assert np.array_equal(x, X)
    assert step == 3


def test_run_writes_over_an_aliased_input(target: str) -> None:
    executable = rows_less_max(target)
    x, step, y = X.copy(), STEP.copy(), np.zeros_like(X)
    assert executable.run((x, step, y)) == -1
    assert np.array_equal(y, EXPECTED)
    assert step == 6


@pytest.mark.parametrize(("inputs", "message"), [
    ((), "2 inputs are needed, 0 were given"),
    ((X,), "2 inputs are needed, 1 were given"),
    ((X, STEP, STEP), "2 inputs are needed, 3 were given"),
    ((X[0], STEP), r"input 0 is f32\[4\], not f32\[3,4\]"),
    ((X.astype(np.float64), STEP), r"input 0 is f64\[3,4\], not f32\[3,4\]"),
    ((X, X[0, :1]), r"input 1 is f32\[1\], not f32\[\]"),
    ((X, 3.0), "input 1 is 3.0, not an array"),
    ((None, STEP), "input 0 is None, not an array"),
    ((X.tolist(), STEP), "not an array"),
    ((X.astype(">f4"), STEP), "not supported"),
    ((np.full((3, 4), "a"), STEP), "not supported"),
    ((np.full((3, 4), None), STEP), "not supported"),
])
def test_wrong_inputs_are_type_errors(target: str, inputs: tuple[object, ...], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        rows_less_max(target)(*inputs)


def taken(target: str) -> Executable:
    b = Builder("taken")
    x, indices = b.input(TensorType("f32", (4,))), b.input(TensorType("i64", (2,)))
    return compile_program(b.graph([x.emit("gather", indices, axis=0)]), target)


def test_an_index_out_of_bounds_is_an_exit(target: str) -> None:
    executable = taken(target)
    x = np.arange(4, dtype=np.float32)
    for indices, good in (([0, -1], True), ([0, 4], False), ([3, 1], True), ([-5, 0], False)):
        if good:
            assert np.array_equal(executable(x, np.asarray(indices))[0], x[indices])
        else:
            with pytest.raises(ExitTaken, match="exit 0: an index is out of bounds") as info:
                executable(x, np.asarray(indices))
            assert info.value.exit == 0


def test_the_same_array_twice_and_as_aliased_input(target: str) -> None:
    type = TensorType("f32", (8,))
    b = Builder("both")
    x, y = b.input(type), b.input(type)
    executable = compile_program(b.graph([x + y, x * y]), target, aliases=((0, 0), (1, 1)))
    a = np.arange(8, dtype=np.float32)
    total, product = executable(a, a)
    assert np.array_equal(total, a + a)
    assert np.array_equal(product, a * a)
    assert np.array_equal(a, np.arange(8))


@pytest.mark.parametrize("shape", [(), (0,), (1,), (3, 0, 2)], ids=str)
def test_small_and_empty_arrays(target: str, shape: tuple[int, ...]) -> None:
    b = Builder("small")
    x = b.input(TensorType("f64", shape))
    total = x.emit("sum", axis=tuple(range(len(shape))), keepdims=False)
    executable = compile_program(b.graph([x + 1.0, x, total]), target)
    given = np.ones(shape)
    plus, same, total = executable(given)
    assert plus.shape == same.shape == shape
    assert np.array_equal(plus, given + 1)
    assert np.array_equal(same, given)
    assert not np.shares_memory(same, given)
    assert total == given.size


def test_several_threads_run_one_executable(target: str) -> None:
    size = 50_000
    b = Builder("threads")
    x = b.input(TensorType("f32", (size,)))
    centered = x - x.emit("max", axis=(0,), keepdims=True)
    executable = compile_program(b.graph([centered, centered.emit("min", axis=(0,), keepdims=False)]), target)
    wrong: list[int] = []

    def call(seed: int) -> None:
        given = np.random.default_rng(seed).random(size, np.float32)
        for _ in range(20):
            y, least = executable(given)
            if not np.array_equal(y, given - given.max()) or least != y.min():
                wrong.append(seed)

    callers = [threading.Thread(target=call, args=(seed,)) for seed in range(6)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert not wrong
