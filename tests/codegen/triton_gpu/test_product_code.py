"""The code of products, compiled for GPUs that are not here: tensor cores, no spills, wide accesses.

TRACEGRAD_ALL_PRODUCTS=1 compiles every tile in every form, and every case with more in the tiles (some 15 minutes).
"""
from __future__ import annotations

import os
from collections import Counter
from itertools import product

import pytest
from gpu_extra import needs_triton
from machine_code import instructions, registers_and_stack
from plan_oracle import SPLICING
from product_graphs import text_of

from codegen.cache import Cache
from codegen.ir.text import parse
from codegen.optimize.pipeline import optimize
from codegen.schedule.pipeline import schedule
from codegen.schedule.plan import Matmul, Spliced
from codegen.triton_gpu import products
from codegen.triton_gpu.compile import compile_specs, shared_limit
from codegen.triton_gpu.compile_worker import stack_of
from codegen.triton_gpu.product_tiles import ProductTile, tiles
from codegen.triton_gpu.products import ProductLaunch, product_launch

ALL = os.environ.get("TRACEGRAD_ALL_PRODUCTS") == "1"
DTYPES = (("f64", "ieee"), ("f32", "ieee"), ("f32", "tf32"), ("bf16", "ieee"), ("f16", "ieee"))
CAPABILITIES = ((8, 0), (9, 0))


def code_of(launch: ProductLaunch, capability: tuple[int, int]) -> Counter[str]:
    """The instructions of a launch, which has to fit into registers and what a program shares."""
    cubin = compile_specs([launch.spec], capability, Cache(None), (True,))[launch.spec, True]
    assert registers_and_stack(cubin.code)[1] == 0, "registers are spilled"
    assert cubin.shared <= shared_limit(capability)
    return instructions(cubin.code)


def multiplies_with(code: Counter[str]) -> set[str]:
    """The kinds of instructions that multiply matrices."""
    return {name.split(".")[0] for name in code} & {"HGMMA", "HMMA", "DMMA"}


def expected_units(dtype: str, precision: str, capability: tuple[int, int], rows: int) -> set[str]:
    if dtype == "f64":
        return {"DMMA"}
    if (dtype, precision) == ("f32", "ieee"):
        return set()
    return {"HGMMA"} if capability == (9, 0) and rows >= 64 else {"HMMA"}


TILES = [(*kind, capability, tile) for kind, capability in product(DTYPES, CAPABILITIES)
         for tile in tiles(*kind, capability)]
FORMS = list(product((False, True), (False, True)))
SAMPLE = [(TILES[number], FORMS[number % 4]) for number in range(0, len(TILES), 17)]


@needs_triton
@pytest.mark.parametrize("case, form", list(product(TILES, FORMS)) if ALL else SAMPLE)
def test_code_of_tiles(monkeypatch, case, form):
    dtype, precision, capability, tile = case
    monkeypatch.setattr(products, "tile_of", lambda *_: tile)
    code = code_of(product_launch(Matmul(0, 1, 2, dtype, 1, 4096, 4096, 4096, *form), capability, precision),
                   capability)
    assert multiplies_with(code) == expected_units(dtype, precision, capability, tile.m)
    stores = {name for name in code if name.startswith("STG")}
    assert stores == {"STG.E.128"}
    if dtype in ("bf16", "f16") or precision == "ieee" and dtype == "f32":
        loads = {name for name in code if name.startswith("LDGSTS")}
        assert loads and all("128" in name for name in loads)


def spliced(name: str, dtype: str, sizes: tuple[int, int, int]) -> Spliced:
    step, = schedule(optimize(parse(text_of(name, dtype, sizes))), machine=SPLICING).steps
    assert isinstance(step, Spliced)
    return step


LARGE, MIDDLE = (4096, 4096, 1024), (1024, 1024, 1024)
SPLICED = [(name, kind, sizes, capability) for name in ("linear", "gelu", "heads", "casts")
           for kind in (("bf16", "ieee"), ("f32", "tf32"), ("f32", "ieee")) for sizes in (LARGE, MIDDLE)
           for capability in CAPABILITIES
           if not (name == "casts" and (kind[0] == "f32" or sizes == LARGE))]
FEW_SPLICED = [case for case in SPLICED if case in (
    ("linear", ("bf16", "ieee"), LARGE, (9, 0)), ("gelu", ("f32", "tf32"), MIDDLE, (8, 0)),
    ("casts", ("bf16", "ieee"), MIDDLE, (9, 0)))]


@needs_triton
@pytest.mark.parametrize("name, kind, sizes, capability", SPLICED if ALL else FEW_SPLICED)
def test_code_of_spliced_products(name, kind, sizes, capability):
    launch = product_launch(spliced(name, kind[0], sizes), capability, kind[1])
    code = code_of(launch, capability)
    rows = dict(launch.spec.constants)["BM"]
    assert multiplies_with(code) == expected_units(*kind, capability, rows)
    assert {name for name in code if name.startswith("STG")} == {"STG.E.128"}


@needs_triton
def test_a_tile_that_does_not_fit_is_seen(monkeypatch):
    monkeypatch.setattr(products, "tile_of", lambda *_: ProductTile(128, 128, 64, 2, 3))
    launch = product_launch(Matmul(0, 1, 2, "bf16", 1, 4096, 4096, 4096, False, False), (9, 0))
    with pytest.raises(AssertionError, match="spilled"):
        code_of(launch, (9, 0))
    cubin = compile_specs([launch.spec], (9, 0), Cache(None), (True,))[launch.spec, True]
    assert stack_of(cubin.code) == registers_and_stack(cubin.code)[1] > 0
