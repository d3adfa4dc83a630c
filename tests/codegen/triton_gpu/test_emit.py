"""The Triton of the kernels of known graphs, at sizes that people have, kept as golden files; and that it compiles.

With TRACEGRAD_ALL_GPU_KERNELS=1 all of it, for the capabilities 8.0 and 9.0, in both variants; else two files for 9.0.
"""
from __future__ import annotations

import os
from collections.abc import Callable

import pytest
import training_graphs
from gpu_extra import needs_triton
from training_graphs import Step

from codegen.cache import Cache
from codegen.ir.builder import Builder
from codegen.ir.types import TensorType
from codegen.optimize.pipeline import optimize
from codegen.schedule.pipeline import schedule
from codegen.triton_gpu.compile import compile_specs
from codegen.triton_gpu.kernels import KernelLaunch, kernel_launches
from codegen.triton_gpu.operations import HEADER
from codegen.triton_gpu.target import gpu_machine

CAPABILITY = (9, 0)


def one(op: str, shape: tuple[int, ...], **attrs: object) -> Step:
    b = Builder(op)
    return Step(b.graph([b.input(TensorType("f32", shape)).emit(op, **attrs)]))


STEPS: dict[str, Step] = {
    "softmax": training_graphs.softmax(4096, 1000),
    "softmax_long": training_graphs.softmax(512, 50257),
    "layer_norm": training_graphs.layer_norm(4096, 768),
    "cross_entropy": training_graphs.cross_entropy(4096, 1024),
    "perceptron_step": training_graphs.perceptron_step(64, 784, 512, 10),
    "adam_step": training_graphs.adam_step((512, 784), (512,)),
    "attention": training_graphs.attention(8, 12, 256, 64),
    "gelu": training_graphs.gelu(1 << 20),
    "dropout": training_graphs.dropout(1024, 768),
    "convolution": training_graphs.convolution(16, 3, 32, 32),
    "embedding": training_graphs.embedding(5000, 768, 4096),
    "embedding_halves": training_graphs.embedding(5000, 768, 4096, "bf16"),
    "rows_written": training_graphs.rows_written(5000, 768, 4096),
    "transpose": one("transpose", (1000, 2000), axes=(1, 0)),
    "sum": one("sum", (1 << 24,), axis=(0,), keepdims=False),
    "column_sum": one("sum", (4096, 1024), axis=(0,), keepdims=False),
    "cumsum": one("cumsum", (64, 5000), axis=1),
    "running_sum": training_graphs.running_sum(1 << 22),
}


def launches(name: str) -> list[KernelLaunch]:
    """What the plan of a step launches, each kernel once."""
    step = STEPS[name]
    plan = schedule(optimize(step.graph), step.aliases, gpu_machine())
    return list({made.spec: made for made in kernel_launches(plan, CAPABILITY).values()}.values())


def text_of(launch: KernelLaunch) -> str:
    """The source of a kernel without its imports, and how it is launched."""
    spec = launch.spec
    constants = ", ".join(f"{name}={number}" for name, number in spec.constants)
    return (f"# {', '.join(spec.signature)}; {constants}; {spec.grid} programs of {spec.warps} warps, "
            f"{spec.stages} stages, indices {spec.word_type}\n{spec.source.removeprefix(HEADER).lstrip()}")


@pytest.mark.parametrize("name", STEPS)
def test_source(name: str, golden: Callable[[str, str], None]) -> None:
    golden(f"{name}.triton", "\n\n".join(map(text_of, launches(name))))


ALL = os.environ.get("TRACEGRAD_ALL_GPU_KERNELS") == "1"


@needs_triton
@pytest.mark.parametrize("capability", [(8, 0), (9, 0)] if ALL else [(9, 0)], ids=str)
@pytest.mark.parametrize("name", STEPS if ALL else ("softmax", "perceptron_step"))
def test_it_compiles(name: str, capability: tuple[int, int]) -> None:
    specs = [launch.spec for launch in launches(name)]
    variants = (True, False) if ALL else (True,)
    assert len(compile_specs(specs, capability, Cache(None), variants)) == len(specs) * len(variants)
