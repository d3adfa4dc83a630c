"""Attention in the interpreter, beside the references, within its buffers; and its code, for GPUs that are not here.

TRACEGRAD_ALL_ATTENTION=1 runs every case at every size and dtype, and compiles every tile (some 20 minutes).
"""
from __future__ import annotations

import os
from collections import Counter

import numpy as np
import pytest
from attention_graphs import SCORES, WEIGHTS, Sizes, attention, inputs_of, special, trained
from gpu_extra import needs_triton
from machine_code import instructions, registers_and_stack
from plan_runs import run

from codegen.cache import Cache
from codegen.ir.dims import symbol
from codegen.ir.graph import Graph
from codegen.ir.interpret import interpret
from codegen.schedule.binding import plan_at
from codegen.schedule.pipeline import schedule
from codegen.schedule.plan import Attention, Input, Plan
from codegen.triton_gpu import host_check
from codegen.triton_gpu.attention import attention_launch
from codegen.triton_gpu.attention_tiles import WIDEST, AttentionTile, tiles
from codegen.triton_gpu.compile import compile_specs, shared_limit
from codegen.triton_gpu.kernels import kernel_launch
from codegen.triton_gpu.target import gpu_machine

ALL = os.environ.get("TRACEGRAD_ALL_ATTENTION") == "1"
ROUNDINGS = {"f64": 1e-12, "f32": 2e-6, "bf16": 2e-2, "f16": 2e-3}


def planned(graph: Graph) -> Plan:
    plan = schedule(graph, machine=gpu_machine())
    assert [type(step) for step in plan.steps] == [Attention]
    return plan


def agree(found: list[np.ndarray], graph: Graph, inputs: list[np.ndarray], bound: float) -> None:
    for a, b in zip(found, interpret(graph, inputs), strict=True):
        assert a.dtype == b.dtype
        x, y = a.astype(np.float64), b.astype(np.float64)
        assert np.array_equal(np.isnan(x), np.isnan(y))
        assert np.linalg.norm(np.nan_to_num(x - y)) <= bound * max(np.linalg.norm(np.nan_to_num(y)), 1e-30)


SIZES = (Sizes(6, 40, 56, 16, 24), Sizes(1, 130, 200, 64, 64), Sizes(2, 16, 16, 5, 3), Sizes(3, 7, 300, 80, 2),
         Sizes(2, 33, 2, 2, 100))
CASES = [(scores, weights, dtype, sizes) for sizes in SIZES for dtype in ROUNDINGS for weights in WEIGHTS
         for scores in SCORES if max(sizes.k, sizes.v) <= WIDEST[dtype]]


@needs_triton
@pytest.mark.parametrize("scores, weights, dtype, sizes", CASES if ALL else CASES[::47])
def test_attention_in_the_interpreter(scores, weights, dtype, sizes):
    graph = attention(scores, weights, dtype, sizes)
    inputs = inputs_of(graph)
    agree(run(planned(graph), inputs), graph, inputs, ROUNDINGS[dtype])


@needs_triton
@pytest.mark.parametrize("weights", WEIGHTS)
def test_rows_of_scores_that_are_not_finite(weights):
    graph = attention("biased", weights, "f32", Sizes(2, 20, 90, 16, 16))
    agree(run(planned(graph), special(graph)), graph, special(graph), ROUNDINGS["f32"])


@needs_triton
@pytest.mark.parametrize("scores", ["causal", "ahead"])
def test_what_is_not_finite_where_weights_are_0(scores):
    """0 times infinity is NaN, also where no score is looked at."""
    graph = attention(scores, "changed", "f32", Sizes(2, 80, 230, 16, 16))
    q, k, v = inputs_of(graph)
    v[0, 200, 3], v[1, 100, 0], v[1, 229, 5] = np.inf, np.nan, -np.inf
    agree(run(planned(graph), [q, k, v]), graph, [q, k, v], ROUNDINGS["f32"])


@needs_triton
def test_sizes_given_as_words():
    """A size that is new compiles nothing."""
    plan = planned(attention("causal", "divided_late", "f32", Sizes(symbol("b"), symbol("m"), symbol("n"), 20, 12)))
    specs = set()
    for batch, m, n in ((2, 40, 70), (7, 2, 2), (3, 64, 128)):
        graph = attention("causal", "divided_late", "f32", Sizes(batch, m, n, 20, 12))
        bound = plan_at(plan, {"b": batch, "m": m, "n": n})
        agree(run(bound, inputs_of(graph)), graph, inputs_of(graph), ROUNDINGS["f32"])
        specs.add(kernel_launch(bound.steps[0], (9, 0)).spec)
    assert len(specs) == 1


@needs_triton
def test_what_is_computed_again_for_derivatives():
    graph = trained(2, "bf16", Sizes(2, 20, 20, 16, 16))
    plan = schedule(graph, machine=gpu_machine())
    assert sum(isinstance(step, Attention) for step in plan.steps) == 2
    agree(run(plan, inputs_of(graph)), graph, inputs_of(graph), ROUNDINGS["bf16"])


@needs_triton
def test_nothing_is_written_where_a_check_has_failed():
    graph = attention("causal", "divided", "f32", Sizes(2, 20, 20, 16, 16))
    plan = planned(graph)
    launch = kernel_launch(plan.steps[0], (9, 0), conditional=True)
    inputs, result = inputs_of(graph), np.zeros(2 * 20 * 16, np.float32)
    given = [inputs[place.index].reshape(-1) if isinstance(place := plan.buffers[b].place, Input) else result
             for b in launch.buffers]
    assert not host_check.run(launch.spec, given, failed=True) and not result.any()
    assert host_check.run(launch.spec, given)
    agree([result.reshape(2, 20, 16)], graph, inputs, ROUNDINGS["f32"])


@needs_triton
def test_indices_of_64_bits():
    graph = attention("biased", "changed", "f32", Sizes(2, 40, 56, 16, 24))
    step, = planned(graph).steps
    wide = attention_launch(step, wide=True)
    assert wide.spec.word_type == "i64"
    agree(run(planned(graph), inputs_of(graph), wide), graph, inputs_of(graph), ROUNDINGS["f32"])


def test_only_what_is_in_memory_makes_indices_wide():
    types = []
    for scores in ("causal", "biased"):
        step, = planned(attention(scores, "divided", "bf16", Sizes(64, 8192, 8192, 64, 64))).steps
        types.append(attention_launch(step).spec.word_type)
    assert types == ["i32", "i64"]


def test_source(golden):
    for name, case in (("causal_bf16", ("causal", "guarded", "bf16", Sizes(32, 4096, 4096, 64, 64))),
                       ("late_f32", ("scaled", "divided_late", "f32", Sizes(12, 200, 300, 80, 40)))):
        step, = planned(attention(*case)).steps
        spec = attention_launch(step, (9, 0)).spec
        head = f"# {spec.constants}, {spec.grid} programs of {spec.warps} warps, {spec.stages} stages"
        golden(f"{name}.triton", f"{head}\n{spec.source}")
    words = planned(attention("masked", "logsum", "f16", Sizes(symbol("b"), symbol("m"), symbol("n"), 64, 64))).steps[0]
    golden("words_f16.triton", attention_launch(words, (8, 0)).spec.source)


KINDS = (("bf16", "ieee"), ("f16", "ieee"), ("f32", "tf32"), ("f32", "ieee"), ("f64", "ieee"))
CAPABILITIES = ((8, 0), (9, 0))
TILES = [(*kind, capability, wide, row) for kind in KINDS for capability in CAPABILITIES for wide in (64, 128, 256)
         if wide <= WIDEST[kind[0]] for row in tiles(*kind, capability, wide)]
DEAR = ("capped", "causal", "biased")


def code_of(step: Attention, capability: tuple[int, int], precision: str, aligned: bool = True,
            tile: AttentionTile | None = None) -> Counter[str]:
    """The instructions of a launch, which has to fit into registers and what a program shares."""
    launch = attention_launch(step, capability, precision, tile=tile)
    cubin = compile_specs([launch.spec], capability, Cache(None), (aligned,))[launch.spec, aligned]
    assert registers_and_stack(cubin.code)[1] == 0, "registers are spilled"
    assert cubin.shared <= shared_limit(capability)
    return instructions(cubin.code)


@needs_triton
@pytest.mark.parametrize("number", range(len(TILES)) if ALL else range(0, len(TILES), 19))
def test_code_of_tiles(number):
    dtype, precision, capability, wide, row = TILES[number]
    m, n, k, warps, stages = row
    tile = AttentionTile(m, n, k, wide, warps, stages)
    for scores in DEAR if ALL else (DEAR[number % 3],):
        step, = planned(attention(scores, "guarded", dtype, Sizes(32, 4096, 4096, wide, wide))).steps
        code = code_of(step, capability, precision, tile=tile)
        units = {name.split(".")[0] for name in code} & {"HGMMA", "HMMA", "DMMA"}
        in_groups = "HGMMA" if capability == (9, 0) and m >= 64 else "HMMA"
        expected = {"DMMA"} if dtype == "f64" else {in_groups}
        assert units == (set() if (dtype, precision) == ("f32", "ieee") else expected)
        assert {name for name in code if name.startswith("STG")} == {"STG.E.128"}
        if dtype in ("bf16", "f16") and scores != "biased":         # a bias lies as the scores do, in narrow pieces
            assert all("128" in name for name in code if name.startswith("LDGSTS"))


@needs_triton
def test_code_of_any_sizes():
    step, = planned(attention("masked", "logsum", "bf16", Sizes(symbol("b"), symbol("m"), symbol("n"), 64, 64))).steps
    for aligned in (True, False):
        code_of(step, (9, 0), "ieee", aligned)
