"""compile_program agrees with the interpreter, declines in sentences, and trusts no cache that it cannot check."""
from __future__ import annotations

import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from graph_strategies import arrays_for, graphs
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import codegen
from codegen import finish_compiling, targets
from codegen.cache import Cache, DiskCache
from codegen.compiler import CompileError, compile_program
from codegen.executable import DONE, Executable
from codegen.ir.builder import Builder
from codegen.ir.dims import symbol
from codegen.ir.graph import Graph
from codegen.ir.interpret import interpret
from codegen.ir.ops import OPS
from codegen.ir.program import Exit, program_of
from codegen.ir.text import parse
from codegen.ir.types import DTYPES, TensorType
from codegen.schedule.plan import CannotLower
from codegen.targets import TARGETS, Target

ROOT = Path(__file__).parents[2]
SIZES = (0, 1, 2, 3, 5, 40)

ROUNDED = {
    "exp", "exp2", "expm1", "log", "log1p", "log2", "log10", "logaddexp", "sin", "cos", "tan", "asin", "acos", "atan",
    "atan2", "sinh", "cosh", "tanh", "asinh", "acosh", "atanh", "pow", "cbrt", "hypot", "erf", "erfc", "erfinv",
    "lgamma", "polygamma", "sum", "prod", "cumsum", "cumprod", "matmul"}
"""Ops whose last bit is the implementation's choice."""

SMOOTH = tuple(name for name in (
    "add", "sub", "mul", "neg", "exp", "tanh", "sum", "max", "matmul", "broadcast", "reshape", "transpose", "slice",
    "pad", "concat", "flip", "gather", "scatter_add", "iota", "constant", "maximum", "minimum", "abs") if name in OPS)
"""Ops through which a difference in the last bit stays small."""


def run(executable: Executable, inputs: list[np.ndarray]) -> list[np.ndarray] | Exit:
    """As `interpret` gives it."""
    outputs = [np.empty(type.shape, DTYPES[type.dtype]) for type in executable.outputs()]
    left_at = executable.run((*inputs, *outputs))
    return outputs if left_at == DONE else Exit(left_at)


def compiled(graph: Graph) -> Executable:
    return compile_program(graph, cache=Cache(None))


@settings(deadline=None, max_examples=200, derandomize=True, suppress_health_check=list(HealthCheck))
@given(graphs(tuple(name for name in OPS if name not in ROUNDED), sizes=SIZES), st.integers(0, 2**32 - 1))
def test_exact_ops_agree_with_the_interpreter_to_the_bit(graph: Graph, seed: int) -> None:
    inputs = arrays_for(graph, seed)
    expected, actual = interpret(graph, inputs), run(compiled(graph), inputs)
    if isinstance(expected, Exit):
        assert actual == expected
    else:
        for a, e in zip(actual, expected, strict=True):
            np.testing.assert_array_equal(a, e)


@settings(deadline=None, max_examples=150, derandomize=True, suppress_health_check=list(HealthCheck))
@given(graphs(SMOOTH, ("f64",), sizes=SIZES), st.integers(0, 2**32 - 1))
def test_smooth_ops_agree_with_the_interpreter(graph: Graph, seed: int) -> None:
    assume(all(node.type.dtype != "f32" for node in graph.nodes))       # its last bit is too coarse to compare by
    inputs = [np.asarray(np.tanh(np.nan_to_num(x))) if x.dtype.kind == "f" else x for x in arrays_for(graph, seed)]
    expected, actual = interpret(graph, inputs), run(compiled(graph), inputs)
    if isinstance(expected, Exit):
        assert actual == expected
    else:
        for a, e in zip(actual, expected, strict=True):
            if np.isfinite(e).all():
                np.testing.assert_allclose(a, e, rtol=1e-9, atol=1e-9 * max(1.0, float(np.abs(e).max(initial=0))))


def small(name: str = "small", factor: float = 2.0) -> Graph:
    b = Builder(name)
    x = b.input(TensorType("f32", (7,)))
    return b.graph([x * factor + 1.0])


def right(executable: Executable, factor: float = 2.0) -> bool:
    x = np.arange(7, dtype=np.float32)
    return bool(np.array_equal(executable(x)[0], factor * x + 1))


@pytest.mark.usefixtures("oracle_device")
@pytest.mark.parametrize("target", TARGETS)
def test_every_target_compiles_a_graph_and_a_program_of_one_block(target: str) -> None:
    assert right(compile_program(small(), target))
    assert right(compile_program(program_of(small()), target))


def test_a_program_whose_blocks_meet_is_declined() -> None:
    program = parse("""program diamond {
      block0(%0: f32[], %1: bool[]):
        branch %1 -> block1(%0), block1(%0)
      block1(%0: f32[]):
        return %0
    }""")
    with pytest.raises(CannotLower, match="diamond is no tree, since not one way leads to block1"):
        compile_program(program, "interpret")


def test_symbols_are_declined_in_a_sentence() -> None:
    b = Builder("any")
    x = b.input(TensorType("f32", (symbol("b"),)))
    with pytest.raises(CannotLower) as info:
        compile_program(b.graph([x + x]))
    assert len(str(info.value).split()) > 3


def test_what_has_no_kernel_is_computed_by_the_host() -> None:
    b = Builder("complex")
    x = b.input(TensorType("c64", (2, 2)))
    array = np.array([[1, 2j], [3, 4]], np.complex64)
    (found,) = compile_program(b.graph([x.emit("matmul", x + x)]))(array)
    np.testing.assert_array_equal(found, array @ (array + array))


@pytest.mark.parametrize("dtype", ["i8", "u16", "i32", "i64", "f16", "bf16"])
def test_matmul_of_every_dtype_is_right(dtype: str) -> None:
    b = Builder("integers")
    x = b.input(TensorType(dtype, (3, 40, 40)))
    array = np.arange(3 * 1600).reshape(3, 40, 40).astype(DTYPES[dtype]) % DTYPES[dtype].type(7)
    product, = compile_program(b.graph([x.emit("matmul", x)]))(array)
    assert product.dtype == array.dtype
    np.testing.assert_array_equal(product, (array.astype("f8") @ array.astype("f8")).astype("i8").astype(array.dtype))


@pytest.mark.parametrize("aliases", [((0, 0), (0, 1)), ((0, 0), (1, 0)), ((2, 0),), ((0, 2),), ((-1, 0),), ((0, 1),)])
def test_wrong_aliases_are_refused(aliases: tuple[tuple[int, int], ...]) -> None:
    b = Builder("wrong")
    x, y = b.input(TensorType("f32", (3,))), b.input(TensorType("f32", (4,)))
    with pytest.raises(ValueError, match="alias|share"):
        compile_program(b.graph([x + x, y + y]), aliases=aliases)


def test_an_unknown_target_is_refused() -> None:
    with pytest.raises(ValueError, match="there is no target 'gpu'; the targets are llvm_cpu, triton_gpu, interpret"):
        compile_program(small(), "gpu")


def test_a_defect_in_a_target_is_a_compile_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(*_: object) -> Executable:
        raise KeyError("lost")

    monkeypatch.setitem(targets.TARGETS, "broken", Target("broken", "", breaks))
    with pytest.raises(CompileError, match="small: KeyError: 'lost'") as info:
        compile_program(small(), "broken")
    assert isinstance(info.value.__cause__, KeyError)


def test_a_graph_with_wrong_types_is_a_compile_error() -> None:
    graph = small()
    first = replace(graph.nodes[0], type=TensorType("f32", (7_000_000,)))
    wrong = replace(graph, nodes=(first, *graph.nodes[1:]))
    for program in (wrong, program_of(wrong)):
        with pytest.raises(CompileError, match="says f32"):
            compile_program(program)


def test_what_a_failed_compilation_leaves_behind_does_no_harm(monkeypatch: pytest.MonkeyPatch) -> None:
    from codegen.llvm_cpu import build

    cache, right_build = Cache(None), build.build
    with monkeypatch.context() as broken:
        broken.setattr(build, "build", lambda plan, cache, **_: right_build(plan, cache, emit=lambda *_: "no text"))
        with pytest.raises(CompileError, match="LinkError"):
            compile_program(small(), cache=cache)
    assert right(compile_program(small(), cache=cache))


# ---- the cache -------------------------------------------------------------------------------------------------------


def counts(executable: Executable) -> tuple[int, int]:
    return executable.kernels_compiled, executable.kernels_reused


def test_a_kernel_is_compiled_once(tmp_path: Path) -> None:
    first, again = Cache(DiskCache(tmp_path)), Cache(DiskCache(tmp_path))
    assert counts(compile_program(small(), cache=first)) == (1, 0)
    assert counts(compile_program(small("another_name"), cache=first)) == (0, 1)
    finish_compiling()
    assert counts(compile_program(small(), cache=again)) == (0, 1)
    assert counts(compile_program(small(), cache=Cache(None))) == (1, 0)


@pytest.mark.parametrize("damage", [
    lambda data: b"", lambda data: data[:-7], lambda data: data[:-1] + bytes([data[-1] ^ 1]),
    lambda data: bytes(len(data)),
], ids=["empty", "truncated", "flipped", "zeros"])
def test_a_damaged_entry_is_compiled_anew(tmp_path: Path, damage) -> None:
    assert right(compile_program(small(), cache=Cache(DiskCache(tmp_path))))
    finish_compiling()
    for file in tmp_path.iterdir():
        file.write_bytes(damage(file.read_bytes()))
    executable = compile_program(small(), cache=Cache(DiskCache(tmp_path)))
    assert right(executable)
    assert counts(executable) == (1, 0)
    finish_compiling()
    assert counts(compile_program(small(), cache=Cache(DiskCache(tmp_path)))) == (0, 1)


def test_an_entry_that_is_whole_but_no_object_is_compiled_anew(tmp_path: Path) -> None:
    compile_program(small(), cache=Cache(DiskCache(tmp_path)))
    finish_compiling()
    keys = [file.stem for file in tmp_path.iterdir()]
    assert len(keys) == 2, "the kernel, and the program"
    for key in keys:
        DiskCache(tmp_path).put(key, b"not an object")
    executable = compile_program(small(), cache=Cache(DiskCache(tmp_path)))
    assert right(executable)
    assert counts(executable) == (1, 0)


def test_another_process_reuses_what_one_compiled(tmp_path: Path) -> None:
    program = """
import numpy as np
from codegen import Builder, compile_program, default_cache
from codegen.ir.types import TensorType
b = Builder("f")
x = b.input(TensorType("f32", (100, 100)))
executable = compile_program(b.graph([x.emit("matmul", x).emit("tanh")]))
ones = np.ones((100, 100), np.float32)
assert np.allclose(executable(ones)[0], np.tanh(100 * ones))
print(executable.kernels_compiled, executable.kernels_reused)
"""
    environment = {"TRACEGRAD_CACHE_DIR": str(tmp_path), "PATH": ""}
    command = [sys.executable, "-c", program]
    outputs = [subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
               for _ in range(2)]
    (first, none), (zero, second) = (map(int, output.stdout.split()) for output in outputs)
    assert (none, zero) == (0, 0)
    assert first == second > 0


def test_threads_compile_at_once(tmp_path: Path) -> None:
    cache = Cache(DiskCache(tmp_path))
    good: list[float] = []

    def call(number: int) -> None:
        for k in range(4):
            factor = float(2 + (number + k) % 4)
            if right(compile_program(small(factor=factor), cache=cache), factor):
                good.append(factor)

    callers = [threading.Thread(target=call, args=(number,)) for number in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert sorted(good) == sorted([2.0, 3.0, 4.0, 5.0] * 4)


# ---- the package -----------------------------------------------------------------------------------------------------


def test_importing_codegen_brings_no_compiler_along() -> None:
    program = "import sys, codegen; print(sorted({'llvmlite', 'scipy', 'triton', 'cupy'} & set(sys.modules)))"
    command = [sys.executable, "-c", program]
    output = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert output.strip() == "[]"


def test_the_host_is_described() -> None:
    described = codegen.describe_host()
    assert [*described] == ["processor", "features", "compiler", "matmul", "threads", "entry", "profiles", "cache"]
    assert all(isinstance(text, str) and text for text in described.values())
    assert described["threads"].startswith(f"{codegen.get_num_threads()}, ")


def test_public_names_exist() -> None:
    assert sorted(codegen.__all__) == sorted(set(codegen.__all__))
    assert all(hasattr(codegen, name) for name in codegen.__all__)


def test_an_executable_tells_what_it_cost() -> None:
    executable = compile_program(small(), cache=Cache(None))
    assert executable.compile_seconds > 0
    assert executable.plan is not None
    assert replace(executable, measured=None).inputs == (TensorType("f32", (7,)),)
