"""Programs kept on disk: what an earlier process scheduled is run without scheduling it, or not at all."""
from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from codegen import (
    Builder,
    Cache,
    DiskCache,
    Executable,
    Graph,
    Program,
    compile_program,
    finish_compiling,
    parse,
    planning,
)
from codegen.ir.interpret import interpret
from codegen.ir.text import print_graph
from codegen.ir.types import TensorType
from codegen.llvm_cpu import elf

BRANCHING = """
program p {
  block0(%0: f32[70], %1: i64[]):
    %2 = iota axis=0 dtype=i64 shape=[70] : i64[70]
    %3 = cast %2 dtype=f32 : f32[70]
    %4 = add %0, %3 : f32[70]
    switch %1 {0: block1(%4), 7: block2(%4)}, exit1
  block1(%0: f32[70]):
    %1 = exp %0 : f32[70]
    %2 = constant value=3.5 dtype=f32 : f32[]
    return %1, %2
  block2(%0: f32[70]):
    %1 = sum %0 axis=[0] keepdims=false : f32[]
    return %0, %1
}
"""


def products(factor: str = "0.5", layout: str = "f32") -> Graph:
    b = Builder("products")
    x, w = b.input(TensorType(layout, (33, 65))), b.input(TensorType(layout, (65, 65)))
    half = b.emit("constant", value=factor, dtype=layout)
    y = b.emit("tanh", b.emit("mul", b.emit("matmul", x, w), b.emit("broadcast", half, shape=(33, 65))))
    return b.graph([y, b.emit("sum", y, axis=(0,), keepdims=False)])


def updates() -> Graph:
    """Launches that wait for nothing of each other: they are one, whose table has the addresses of the kernels."""
    b = Builder("updates")
    xs = [b.input(TensorType("f32", (n,))) for n in (1 << 14, (1 << 14) + 7)]
    return b.graph([b.emit("mul", x, b.emit("tanh", x)) for x in xs])


def arrays(graph: Graph) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.standard_normal(type.shape).astype(type.dtype.replace("f", "float")) for type in graph.inputs]


def kept(tmp_path: Path) -> dict[str, Path]:
    """The entries of programs by key: those whose content is JSON."""
    return {file.stem: file for file in tmp_path.iterdir() if b'"arena_bytes"' in file.read_bytes()}


def compiled(program: Graph | Program, tmp_path: Path, **options) -> Executable:
    """As another process would compile it, which has ended."""
    executable = compile_program(program, cache=Cache(DiskCache(tmp_path)), **options)
    finish_compiling()
    return executable


@pytest.mark.parametrize("graph", [products(), updates()], ids=lambda graph: graph.name)
def test_what_was_scheduled_once_is_run_again(tmp_path: Path, graph: Graph) -> None:
    inputs = arrays(graph)
    first = compiled(graph, tmp_path)
    entry, = (DiskCache(tmp_path).get(key) for key in kept(tmp_path))
    assert entry is not None and (b'"together"' in entry) == (graph.name == "updates")
    text = first.describe()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(planning, "schedule_tree", None)
        again = compiled(graph, tmp_path)
        for mine, theirs, right in zip(again(*inputs), first(*inputs), interpret(graph, inputs), strict=True):
            np.testing.assert_array_equal(mine, theirs)
            np.testing.assert_allclose(mine, right, rtol=1e-5, atol=1e-5)
        assert again.kernels_compiled == 0 and again.kernels_reused == first.kernels_compiled
        assert (again.inputs, again.slots, again.ends) == (first.inputs, first.slots, first.ends)
        assert again.arena_bytes == first.arena_bytes
    assert again.describe() == text and len(again.steps[0]) == len(first.steps[0])


def test_branches_exits_and_constants_are_kept(tmp_path: Path) -> None:
    program = parse(BRANCHING)
    assert isinstance(program, Program)
    first = compiled(program, tmp_path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(planning, "schedule_tree", None)
        again = compiled(program, tmp_path)
    x = np.linspace(-1, 1, 70, dtype=np.float32)
    for number in (0, 7, 5):
        inputs = x, np.array(number, np.int64)
        results = []
        for executable in (first, again):
            given = [*inputs, *(np.zeros(t.shape, t.dtype.replace("f", "float")) for t in executable.slots)]
            results.append((executable.run(tuple(given)), *given[2:]))
        assert results[0][0] == results[1][0] == {0: -1, 7: -2, 5: 1}[number]
        for mine, theirs in zip(results[1][1:], results[0][1:], strict=True):
            np.testing.assert_array_equal(mine, theirs)


def test_another_program_is_another_entry(tmp_path: Path) -> None:
    def entries(program: Graph, **options) -> int:
        compiled(program, tmp_path, **options)
        return len(kept(tmp_path))

    b = Builder("update")
    x = b.input(TensorType("f32", (9,)))
    update = b.graph([x + x])
    assert [entries(products()), entries(products("0.25")), entries(products(layout="f64"))] == [1, 2, 3]
    assert [entries(update), entries(update, aliases=((0, 0),)), entries(update, fast_math=True)] == [4, 5, 6]
    assert entries(products()) == 6


def test_an_entry_that_does_not_fit_is_replaced(tmp_path: Path) -> None:
    graph = products()
    inputs = arrays(graph)
    expected = compiled(graph, tmp_path)(*inputs)
    (key, file), = kept(tmp_path).items()
    whole = DiskCache(tmp_path).get(key)
    assert whole is not None
    for wrong in (b"", b"[]", b"{}", whole[:-9], json.dumps({**json.loads(whole), "words": "x"}).encode()):
        DiskCache(tmp_path).put(key, wrong)
        np.testing.assert_array_equal(compiled(graph, tmp_path)(*inputs)[0], expected[0])
        assert DiskCache(tmp_path).get(key) == whole
    damaged = bytearray(file.read_bytes())
    damaged[-20] ^= 1
    file.write_bytes(damaged)
    np.testing.assert_array_equal(compiled(graph, tmp_path)(*inputs)[0], expected[0])
    assert DiskCache(tmp_path).get(key) == whole


def test_a_program_whose_kernels_are_gone_is_scheduled_again(tmp_path: Path) -> None:
    graph = products()
    inputs = arrays(graph)
    expected = compiled(graph, tmp_path)(*inputs)
    for file in set(tmp_path.iterdir()) - set(kept(tmp_path).values()):
        file.unlink()
    again = compiled(graph, tmp_path)
    assert again.kernels_compiled > 0
    np.testing.assert_array_equal(again(*inputs)[0], expected[0])


FRESH = """
import sys
import numpy as np
from codegen import compile_program, finish_compiling, parse
graph = parse(sys.stdin.read())
x, w = (np.linspace(-1, 1, n, dtype=np.float32).reshape(-1, 65) for n in (33 * 65, 65 * 65))
y, total = compile_program(graph)(x, w)
print(y.tobytes().hex(), total.tobytes().hex(), "codegen.schedule.pipeline" in sys.modules, "llvmlite" in sys.modules,
      "codegen.llvm_cpu.llvm" in sys.modules)
"""


def test_a_process_that_finds_all_it_needs_loads_no_compiler(tmp_path: Path) -> None:
    environment = {**os.environ, "TRACEGRAD_CACHE_DIR": str(tmp_path)}
    text = print_graph(products())
    first, again = (subprocess.run([sys.executable, "-c", FRESH], input=text, env=environment, text=True,
                                   capture_output=True, check=True).stdout.split() for _ in range(2))
    assert first[2:] == ["True"] * 3
    assert again == [*first[:2], "False", *["False" if elf.is_known_here() else "True"] * 2]


EXP = """
import sys
import numpy as np
from codegen import compile_program, parse
text = "graph f(%0: f32[7]) { %1 = exp %0 : f32[7] return %1 }"
np.testing.assert_allclose(compile_program(parse(text))(np.ones(7, np.float32))[0], np.e, 1e-6)
print(*(name.removeprefix("codegen.llvm_cpu.") for name in sys.modules if name.startswith("codegen.llvm_cpu.")))
"""


def test_a_program_imports_the_formulas_and_products_that_it_has(tmp_path: Path) -> None:
    environment = {**os.environ, "TRACEGRAD_CACHE_DIR": str(tmp_path)}
    imported = subprocess.run([sys.executable, "-c", EXP], env=environment, text=True, capture_output=True, check=True
                              ).stdout.split()
    assert "vector_exponentials" in imported
    assert not {"vector_logarithms", "vector_trigonometry", "vector_special", "matmul", "gemm_panels"} & {*imported}


def test_what_calls_python_is_not_kept(tmp_path: Path) -> None:
    b = Builder("solved")
    a, x = b.input(TensorType("f64", (3, 3))), b.input(TensorType("f64", (3, 1)))
    graph = b.graph([b.emit("solve", a, x)])
    for _ in range(2):
        y, = compiled(graph, tmp_path)(np.eye(3) * 2, np.ones((3, 1)))
        np.testing.assert_array_equal(y, np.full((3, 1), 0.5))
    assert not kept(tmp_path)
