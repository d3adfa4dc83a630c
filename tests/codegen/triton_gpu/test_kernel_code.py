"""The code of kernels of real sizes, compiled for GPUs that are not here: no spills, wide accesses.

By default for capability 9.0. TRACEGRAD_ALL_GPU_KERNELS=1 compiles for 8.0 as well.
"""
from __future__ import annotations

import os

import pytest
import training_graphs
from gpu_extra import needs_triton
from machine_code import instructions, registers_and_stack

from codegen.cache import Cache
from codegen.ir.builder import Builder
from codegen.ir.types import TensorType
from codegen.optimize.pipeline import optimize
from codegen.schedule.pipeline import schedule
from codegen.schedule.plan import Launch, Matmul, Spliced, Step
from codegen.triton_gpu.compile import compile_specs, shared_limit
from codegen.triton_gpu.kernels import kernel_launch, kernel_launches
from codegen.triton_gpu.spec import KernelSpec
from codegen.triton_gpu.target import gpu_machine

CAPABILITIES = ((8, 0), (9, 0)) if os.environ.get("TRACEGRAD_ALL_GPU_KERNELS") == "1" else ((9, 0),)
STEPS = {
    "softmax": training_graphs.softmax(4096, 1024),
    "softmax of long rows": training_graphs.softmax(256, 16384),
    "softmax of the longest rows": training_graphs.softmax(1024, 50304),
    "log softmax": training_graphs.log_softmax(4096, 1024),
    "layer norm": training_graphs.layer_norm(4096, 768),
    "batch norm": training_graphs.batch_norm(8192, 512),
    "cross entropy": training_graphs.cross_entropy(4096, 1024),
    "cross entropy of the longest rows": training_graphs.cross_entropy(1024, 50257),
    "Adam": training_graphs.adam_step((1024, 1024)),
    "GELU": training_graphs.gelu(1 << 20),
    "dropout": training_graphs.dropout(1024, 1024),
    "attention": training_graphs.attention(8, 12, 256, 64),
    "embedding": training_graphs.embedding(5000, 768, 4096),
    "embedding of halves": training_graphs.embedding(5000, 768, 4096, "bf16"),
    "rows written": training_graphs.rows_written(5000, 768, 4096),
    "running sum": training_graphs.running_sum(1 << 22),
}
LARGE = 1 << 16
"""Elements of a buffer whose accesses are to be wide."""


def specs_of(name: str) -> dict[KernelSpec, set[bool]]:
    """The kernels of a step; and which buffers each has, large ones or others. None is known of checked kernels."""
    step = STEPS[name]
    plan = schedule(optimize(step.graph), step.aliases, gpu_machine())
    found = {}
    for k, made in kernel_launches(plan, (9, 0)).items():
        if isinstance(launch := plan.steps[k], Launch):
            found[made.spec] = set() if launch.kernel.checked else {p.size >= LARGE for p in launch.kernel.params}
    return found


@needs_triton
@pytest.mark.parametrize("capability", CAPABILITIES, ids=str)
@pytest.mark.parametrize("name", STEPS)
def test_the_code_of_kernels(name, capability):
    specs = specs_of(name)
    code = compile_specs(specs, capability, Cache(None), (True,))
    for spec, large in specs.items():
        cubin = code[spec, True]
        assert registers_and_stack(cubin.code)[1] == 0, f"{spec.name} spills registers"
        assert cubin.shared <= shared_limit(capability)
        accesses = [i.endswith(".128") for i in instructions(cubin.code) if i.startswith(("LDG", "STG"))]
        assert any(accesses) or True not in large, f"{spec.name} accesses large buffers in small pieces"
        assert all(accesses) or large != {True}, f"{spec.name} accesses some large buffer in small pieces"


def stack_of_spliced(step: Step, capability: tuple[int, int]) -> int:
    """Bytes of stack that a product takes with all that is done in its tiles."""
    made = kernel_launch(step, capability)
    assert isinstance(step, Spliced) and made is not None
    code = compile_specs([made.spec], capability, Cache(None), (True,))[made.spec, True]
    return registers_and_stack(code.code)[1]


@needs_triton
@pytest.mark.parametrize("capability", CAPABILITIES, ids=str)
def test_an_update_behind_a_product_does_not_spill(capability):
    """A weight of a step in mixed precision: all of Adam is done in the tiles of the product that is its gradient."""
    b = Builder("update")
    x, g = b.input(TensorType("bf16", (1024, 768))), b.input(TensorType("bf16", (1024, 3072)))
    p, mean, square = (b.input(TensorType("f32", (768, 3072))) for _ in range(3))
    gradient = x.emit("transpose", axes=(1, 0)).emit("matmul", g).emit("cast", dtype="f32") + p * 0.01
    mean = mean * 0.9 + gradient * 0.1
    square = square * 0.999 + gradient * gradient * 0.001
    new = p - mean / (square.emit("sqrt") + 1e-8) * (1e-3 / (square.emit("exp") + 1.0))
    plan = schedule(optimize(b.graph([new, mean, square])), ((0, 2), (1, 3), (2, 4)), gpu_machine())
    step, = plan.steps
    assert stack_of_spliced(step, capability) == 0


@needs_triton
@pytest.mark.parametrize("capability", CAPABILITIES, ids=str)
def test_a_gelu_behind_a_large_product_does_not_spill(capability):
    """An error function has many values of its own: the tile of a product that nothing is done with is too large."""
    b = Builder("gelu")
    x, w, bias = (b.input(TensorType("bf16", shape)) for shape in ((2048, 768), (768, 3072), (3072,)))
    y = x.emit("matmul", w)
    z = y + bias.emit("reshape", shape=(1, 3072)).emit("broadcast", shape=(2048, 3072))
    gelu = z * 0.5 * ((z * 0.7071).emit("erf") + 1.0)
    step, = schedule(optimize(b.graph([y, gelu])), (), gpu_machine()).steps
    assert stack_of_spliced(step, capability) == 0


@needs_triton
@pytest.mark.parametrize("capability", CAPABILITIES, ids=str)
def test_products_of_rows_that_are_no_whole_lines_read_whole_lines(capability):
    """What is computed for them is stored in longer rows (see whole_lines), so that nothing is read in halves."""
    b = Builder("rows")
    x, table = b.input(TensorType("f32", (2048, 50257))), b.input(TensorType("f32", (50257, 768)))
    rows, words = (y.emit("exp").emit("cast", dtype="bf16").emit("cast", dtype="f32") for y in (x, table))
    product = rows.emit("matmul", words).emit("cast", dtype="bf16")
    plan = schedule(optimize(b.graph([product])), (), gpu_machine())
    made = kernel_launch(plan.steps[-1], capability)
    assert isinstance(plan.steps[-1], Matmul) and made is not None
    found = instructions(compile_specs([made.spec], capability, Cache(None), (True,))[made.spec, True].code)
    assert any(i.startswith("LDGSTS") and i.endswith(".128") for i in found)
    assert not any(i.startswith("LDG.E") and not i.endswith(".128") for i in found)
