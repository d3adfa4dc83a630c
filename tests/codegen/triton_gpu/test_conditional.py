"""Kernels that write nothing where a check has failed before: in the interpreter, and in the code they become."""
from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from gpu_extra import needs_triton
from machine_code import instructions, registers_and_stack

from codegen.cache import Cache
from codegen.compiler import compile_program
from codegen.executable import Executable, ExitTaken
from codegen.ir.builder import Builder
from codegen.ir.graph import Graph
from codegen.ir.types import DTYPES, TensorType
from codegen.optimize.pipeline import optimize
from codegen.schedule.pipeline import schedule
from codegen.triton_gpu import host_check
from codegen.triton_gpu.compile import compile_specs
from codegen.triton_gpu.kernels import KernelLaunch, kernel_launch
from codegen.triton_gpu.target import gpu_machine


def pointwise() -> Graph:
    b = Builder("pointwise")
    x, y = b.input(TensorType("f32", (30, 48))), b.input(TensorType("f32", (30, 48)))
    return b.graph([x * 0.5 + y])


def rows() -> Graph:
    b = Builder("rows")
    x = b.input(TensorType("f32", (3, 5000)))
    return b.graph([x / x.emit("sum", axis=(1,), keepdims=True)])


def product() -> Graph:
    b = Builder("product")
    w, x, y = (b.input(TensorType("bf16", shape)) for shape in ((64, 48), (64, 128), (128, 48)))
    return b.graph([w - x.emit("matmul", y)])


def launched(graph: Graph, conditional: bool) -> KernelLaunch:
    """The one launch that computes a graph over its first input."""
    step, = schedule(optimize(graph), ((0, 0),), gpu_machine()).steps
    launch = kernel_launch(step, (9, 0), conditional=conditional)
    assert launch is not None
    return launch


GRAPHS = pytest.mark.parametrize("graph", [pointwise, rows, product])


@needs_triton
@GRAPHS
def test_nothing_is_written_where_a_check_has_failed(graph) -> None:
    launch, rng = launched(graph(), True), np.random.default_rng(0)
    inputs = [rng.normal(size=type.shape).astype(DTYPES[type.dtype]) for type in graph().inputs]
    arrays = [x.copy().reshape(-1) for x in inputs]
    given = [arrays[b] for b in launch.buffers]
    assert not host_check.run(launch.spec, given, launch.words, failed=True)
    assert all(np.array_equal(x.reshape(-1), array) for x, array in zip(inputs, arrays))
    assert host_check.run(launch.spec, given, launch.words)
    assert not np.array_equal(inputs[0].reshape(-1), arrays[0])


@needs_triton
def test_nothing_is_written_by_launches_in_one() -> None:
    step, = schedule(optimize(pointwise()), ((0, 0),), gpu_machine()).steps
    launch = kernel_launch(step, (9, 0), beside=[step], conditional=True)
    assert launch is not None and launch.spec.name.endswith("_of_2")
    arrays = [np.full(30 * 48, k, np.float32) for k in range(4)]
    assert not host_check.run(launch.spec, arrays, failed=True)
    assert [x[0] for x in arrays] == [0, 1, 2, 3]
    assert host_check.run(launch.spec, arrays)
    assert [{*x} for x in arrays] != [{0}, {1}, {2}, {3}]


@needs_triton
@GRAPHS
def test_their_code_is_what_it_would_be(graph) -> None:
    """Wide accesses and tensor cores, no spills, one load more."""
    specs = [launched(graph(), is_conditional).spec for is_conditional in (True, False)]
    codes = compile_specs(specs, (9, 0), Cache(None), (True,))
    found = [instructions(codes[spec, True].code) for spec in specs]
    assert all(registers_and_stack(codes[spec, True].code)[1] == 0 for spec in specs)
    with_flag, without = [Counter(name for name in one.elements() if name.startswith(("LDG", "STG", "HGMMA", "HMMA")))
                          for one in found]
    assert with_flag == without + Counter(["LDG.E"])
    assert any("128" in name for name in without)


def embedding_step() -> Executable:
    """table[places], summed by columns, and the table with a row of ones taken off at each place."""
    b = Builder("step")
    table, places = b.input(TensorType("f32", (20, 8))), b.input(TensorType("i64", (6,)))
    wide = places.emit("reshape", shape=(6, 1)).emit("broadcast", shape=(6, 8))
    picked = table.emit("gather", wide, axis=0)
    zeros = b.emit("constant", value="0.0", dtype="f32").emit("broadcast", shape=(20, 8))
    ones = b.emit("constant", value="1.0", dtype="f32").emit("broadcast", shape=(6, 8))
    graph = b.graph([picked.emit("sum", axis=(0,), keepdims=False),
                     table - zeros.emit("scatter_add", wide, ones, axis=0)])
    return compile_program(graph, "triton_gpu", aliases=((1, 0),))


@needs_triton
def test_a_step_in_the_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    executable = embedding_step()
    table, total = np.ones((20, 8), np.float32), np.empty(8, np.float32)
    assert executable.run((table, np.array([0, 3, 3, -1, 20, 1]), total)) == 0
    assert np.all(table == 1)
    with pytest.raises(ExitTaken, match="out of bounds"):
        executable(table, np.array([0, 3, 3, -1, -21, 1]))
    assert executable.run((table, np.array([0, 3, 3, -1, 19, 1]), total)) == -1
    assert table[:, 0].tolist() == [0, 0, 1, -1, *15 * [1], -1] and total.tolist() == 8 * [6]
