"""Steps that the host runs inside one native call: results, refusals, interruptions, threads, other steps."""
from __future__ import annotations

import threading

import numpy as np
import pytest

from codegen import compile_program, parse
from codegen.ir import ops
from codegen.ir.builder import Builder, Value
from codegen.ir.graph import Graph
from codegen.ir.interpret import interpret
from codegen.ir.types import TensorType
from codegen.schedule.plan import Check, Host

REFUSED = 0
"""The exit of a check that fails."""


def complex_product(n: int = 5) -> Graph:
    """Complex matrices between real ones: kernels, the host, kernels again."""
    b = Builder("products")
    x, y = b.input(TensorType("f32", (n, n))), b.input(TensorType("f32", (n, n)))

    def wide(v: Value) -> Value:
        return v.emit("tanh").emit("complex", v)

    z = wide(x).emit("matmul", wide(y)).emit("imag") * 2.0
    return b.graph([z + x])


def test_kernels_and_the_host_take_turns() -> None:
    graph = complex_product()
    executable = compile_program(graph)
    assert executable.plan is not None
    assert sum(isinstance(step, Host) for step in executable.plan.steps) >= 1
    assert "host matmul of" in executable.describe()
    rng = np.random.default_rng(0)
    for _ in range(3):
        arrays = [rng.normal(size=(5, 5)).astype(np.float32) for _ in range(2)]
        (expected,) = interpret(graph, arrays)      # type: ignore[misc]
        np.testing.assert_allclose(executable(*arrays)[0], expected, rtol=1e-4)


def test_a_value_written_in_place_waits_for_the_host() -> None:
    graph = complex_product()
    executable = compile_program(graph, aliases=((0, 0),))
    assert executable.plan is not None
    kinds = [type(step) for step in executable.plan.steps]
    assert kinds.index(Check) > max(k for k, kind in enumerate(kinds) if kind is Host)
    x, y = np.eye(5, dtype=np.float32), np.ones((5, 5), np.float32)
    (expected,) = interpret(graph, [x, y])          # type: ignore[misc]
    assert executable.run((x, y)) == -1
    np.testing.assert_allclose(x, expected, rtol=1e-4)


@pytest.fixture
def raising(monkeypatch: pytest.MonkeyPatch) -> list[BaseException]:
    """What the reference of matmul raises, if anything is put here."""
    pending: list[BaseException] = []
    row = ops.OPS["matmul"]

    def reference(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        if pending:
            raise pending[0]
        return row.reference(a, b)

    changed = ops.Op(row.name, row.arity, row.type_rule, reference, row.attrs, row.traits, row.dtypes, row.domain)
    monkeypatch.setitem(ops.OPS, "matmul", changed)
    return pending


@pytest.mark.parametrize("error", [np.linalg.LinAlgError("singular"), MemoryError(), RuntimeError("a defect")])
def test_a_refusal_leaves_with_everything_as_it_was(raising: list[BaseException], error: Exception) -> None:
    executable = compile_program(complex_product(), aliases=((0, 0),))
    raising.append(error)
    x, y = np.eye(5, dtype=np.float32), np.ones((5, 5), np.float32)
    assert executable.run((x, y)) == REFUSED
    np.testing.assert_array_equal(x, np.eye(5))
    raising.clear()
    assert executable.run((x, y)) == -1


def test_an_interruption_is_raised_once_the_run_has_left(raising: list[BaseException]) -> None:
    executable = compile_program(complex_product(), aliases=((0, 0),))
    x, y = np.eye(5, dtype=np.float32), np.ones((5, 5), np.float32)
    raising.append(KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        executable.run((x, y))
    np.testing.assert_array_equal(x, np.eye(5))
    raising.clear()
    assert executable.run((x, y)) == -1


def test_many_threads_at_once() -> None:
    graph = complex_product(16)
    executable = compile_program(graph)
    rng = np.random.default_rng(1)
    arrays = [[rng.normal(size=(16, 16)).astype(np.float32) for _ in range(2)] for _ in range(4)]
    expected = [interpret(graph, pair)[0] for pair in arrays]       # type: ignore[index]
    wrong: list[int] = []

    def work(k: int) -> None:
        for _ in range(50):
            if not np.allclose(executable(*arrays[k])[0], expected[k], rtol=1e-4, atol=1e-5):
                wrong.append(k)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_complex_constants_are_storage_and_no_calls():
    text = """graph f(%0: c64[3]) {
      %1 = constant value=0.5+2.0j dtype=c64 : c64[]
      %2 = mul %0, %1 : c64[3]
      %3 = constant value=1.0+0.0j dtype=c64 : c64[]
      %4 = constant value=0.0078125 dtype=f64 : f64[]
      %5 = add %2, %3 : c64[3]
      return %5, %1, %4
    }"""
    executable = compile_program(parse(text))
    x = np.array([1.0, 2.0j, 3.0 - 1.0j], np.complex64)
    y, c, d = executable(x)
    assert (y == x * np.complex64(0.5 + 2j) + np.complex64(1)).all() and c == 0.5 + 2j and d == 0.0078125
    summaries = [step.summary for step in executable.steps[0]]
    assert sum(s.startswith("constant on the host") for s in summaries) == 1, summaries      # the one that is returned


def test_a_call_sees_the_memory_of_each_run():
    executable = compile_program(parse("graph f(%0: c128[4]) {\n %1 = conj %0 : c128[4]\n return %1\n}"))
    kept = []
    for k in range(100):                        # more than are remembered; those before must not be written again
        x = np.full(4, k + 1j)
        y, = executable(x)
        kept.append(y)
        assert (y == k - 1j).all()
    assert all((y == k - 1j).all() for k, y in enumerate(kept))
