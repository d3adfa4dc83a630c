"""What is compiled quickly computes the same bits as what takes its place, in every program that calls it."""
from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from graph_strategies import graphs
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from native_kernels import compile_kernel, runnable

from codegen import Builder, Cache, DiskCache, Graph, compile_program, finish_compiling
from codegen.ir.interpret import interpret
from codegen.ir.ops import OPS
from codegen.ir.types import DTYPES, TensorType
from codegen.llvm_cpu import drafts, jobs
from codegen.llvm_cpu.executables import product_key
from codegen.llvm_cpu.features import host_features
from codegen.llvm_cpu.link import COLD, HOT, PLAIN, LinkError, compile_object
from codegen.llvm_cpu.operations import computes
from codegen.schedule.kernel import Param
from codegen.schedule.machine import Machine
from codegen.schedule.pipeline import schedule
from codegen.schedule.plan import Launch

pytestmark = pytest.mark.usefixtures("drafts")
SPECIAL = (0.0, -0.0, np.inf, -np.inf, np.nan, 1e-45, -1e-40, 3e38, 1e-310, 1.0)


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """No draft is replaced before this is set."""
    go, run = threading.Event(), drafts.run_later
    finish_compiling()
    monkeypatch.setattr(drafts, "run_later", lambda work: go.wait(60) and run(work))
    yield go
    go.set()
    finish_compiling()


def softened() -> Graph:
    """A product, a reduction, and launches that are one, so that addresses are in the program and in a table."""
    b = Builder("softened")
    shapes = ((33, 65), (65, 65), (1 << 14,), ((1 << 14) + 7,))
    x, w, *others = (b.input(TensorType("f32", shape)) for shape in shapes)
    y = b.emit("tanh", b.emit("matmul", x, w))
    products = (b.emit("mul", z, b.emit("exp", z)) for z in others)
    return b.graph([y, b.emit("sum", y, axis=(0,), keepdims=False), *products])


def arrays(graph: Graph) -> list[np.ndarray]:
    return [np.random.default_rng(k).normal(size=t.shape).astype(np.float32) for k, t in enumerate(graph.inputs)]


def test_a_program_runs_as_draft_and_then_as_what_takes_its_place(tmp_path: Path, held: threading.Event) -> None:
    cache, graph = Cache(DiskCache(tmp_path)), softened()
    inputs = arrays(graph)
    executable = compile_program(graph, cache=cache)
    quick, drafted = executable(*inputs), dict(cache.addresses)
    assert cache.callers.keys() == drafted.keys() and len(drafted) == executable.kernels_compiled >= 3
    again = compile_program(graph, cache=cache)             # a program that the disk has, whose functions it has not
    calls = [place for places in cache.callers.values() for place in places]
    assert again.kernels_compiled == 0 and all(len(places) >= 2 for places in cache.callers.values())
    assert {words[at] for words, at in calls} == set(drafted.values())
    held.set()
    finish_compiling()
    assert not cache.callers and not set(drafted.values()) & set(cache.addresses.values())
    assert {words[at] for words, at in calls} == set(cache.addresses.values())
    for run in (executable, again):
        for mine, theirs in zip(run(*inputs), quick, strict=True):
            np.testing.assert_array_equal(mine, theirs)
    for mine, right in zip(quick, interpret(graph, inputs), strict=True):
        np.testing.assert_allclose(mine, right, rtol=1e-5, atol=1e-5)
    assert compile_program(graph, cache=Cache(DiskCache(tmp_path))).kernels_compiled == 0


def test_a_wide_product_is_multiplied_by_the_usual_function_until_it_has_its_own(held: threading.Event) -> None:
    features = host_features()
    if features.vector_bytes != 32 or not features.fma:
        pytest.skip("nothing is wide here")
    b = Builder("products")
    x, w, v = (b.input(TensorType("f32", shape)) for shape in ((512, 512), (512, 512), (512, 40)))
    graph, cache, compiled = b.graph([b.emit("matmul", x, w), b.emit("matmul", x, v)]), Cache(None), []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jobs, "compile_object", lambda text, level: compiled.append(level) or compile_object(text, level))
        executable = compile_program(graph, cache=cache)
    inputs, wide, usual = arrays(graph), product_key("gemm_wide_f32"), product_key("gemm_f32")
    assert [level for level in compiled if level != COLD] == [PLAIN]
    quick, (draft, other) = executable(*inputs), (cache.addresses[wide], cache.addresses[usual])
    assert draft != other and cache.callers.keys() == {wide}
    held.set()
    finish_compiling()
    assert cache.addresses[usual] == other and cache.addresses[wide] != draft
    for mine, theirs in zip(executable(*inputs), quick, strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_a_fork_has_no_drafts(held: threading.Event) -> None:
    cache = Cache(None)
    compile_program(softened(), cache=cache)
    assert cache.callers
    threading.Timer(0.2, held.set).start()
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        os._exit(len(cache.callers))
    assert os.waitpid(child, 0)[1] == 0


def test_where_there_are_no_more_threads_drafts_are_replaced_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    cache = Cache(None)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        executable = compile_program(softened(), cache=cache)
    assert not cache.callers
    inputs = arrays(softened())
    for mine, right in zip(executable(*inputs), interpret(softened(), inputs), strict=True):
        np.testing.assert_allclose(mine, right, rtol=1e-5, atol=1e-5)


def test_a_draft_that_compiles_only_quickly_stays(monkeypatch: pytest.MonkeyPatch, held: threading.Event) -> None:
    def refuse(text: str, level: int) -> bytes:
        raise LinkError("not well")

    cache = Cache(None)
    executable = compile_program(softened(), cache=cache)
    monkeypatch.setattr(jobs, "compile_object", refuse)
    held.set()
    finish_compiling()
    inputs = arrays(softened())
    for mine, right in zip(executable(*inputs), interpret(softened(), inputs), strict=True):
        np.testing.assert_allclose(mine, right, rtol=1e-5, atol=1e-5)


@settings(deadline=None, max_examples=40, derandomize=True, suppress_health_check=list(HealthCheck))
@given(graphs(tuple(name for name in OPS if name != "matmul"), sizes=(1, 2, 5, 33, 70)), st.integers(0, 2**32 - 1),
       st.sampled_from(list(runnable().values())))
def test_bits_do_not_depend_on_the_level(graph, seed, features):
    generator = np.random.default_rng(seed)
    plan = schedule(graph, machine=Machine(computes=computes))
    for kernel in dict.fromkeys(step.kernel for step in plan.steps if isinstance(step, Launch)):
        quick = [contents(p, generator) for p in kernel.params]
        well = [x.copy() for x in quick]
        failed = compile_kernel(kernel, features, COLD)(quick)
        assert compile_kernel(kernel, features, HOT)(well) == failed
        if not failed:
            for mine, theirs in zip(quick, well):
                np.testing.assert_array_equal(mine, theirs)
                if mine.dtype.kind == "f":
                    there = ~np.isnan(mine)
                    np.testing.assert_array_equal(np.signbit(mine[there]), np.signbit(theirs[there]))


def contents(param: Param, generator: np.random.Generator) -> np.ndarray:
    """Numbers for a param: small ones that are also good indices, or all kinds of floats."""
    dtype = DTYPES[param.dtype]
    if dtype.kind in "biu":
        return generator.integers(0, 2, param.size).astype(dtype)
    drawn = generator.normal(size=param.size) * 10.0 ** generator.integers(-8, 8, param.size)
    special = generator.choice(SPECIAL, param.size)
    with np.errstate(all="ignore"):
        return np.where(generator.random(param.size) < 0.2, special, drawn).astype(dtype)
